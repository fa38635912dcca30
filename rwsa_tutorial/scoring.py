"""Scores in processes of their own: PESQ takes time, and nobody should wait for it."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from . import metrics

LEVEL = 0.9  # of full scale: PESQ rounds to 16 bit


class Scorer:
    """PESQ in worker processes. Close it, or use it in a `with` block.

    The workers are started anew (never forked, since a fork of a process that has used OpenMP may
    hang) and import NumPy and the score alone. They end with the process that started them, even
    when it is killed.
    """

    def __init__(self, workers=1):
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, end_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def submit(self, clean, enhanced):
        """Begin to score one pair of waves (n,) at 16 kHz, any level; returns its `Future`."""
        return self._pool.submit(pesq, np.asarray(clean), np.asarray(enhanced))

    def results(self, futures):
        """The scores of these futures, in order: float, or None where PESQ has no answer.

        Raises ValueError when the workers could not start or were killed.
        """
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool:
            raise ValueError(
                "a process that computes PESQ ended by itself. If this is your own script, begin "
                'it with `if __name__ == "__main__":`, as every script that starts processes must; '
                "otherwise look for a lack of memory."
            ) from None

    def close(self):
        """End the workers; what was not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)


def pesq(clean, enhanced):
    """`metrics.pesq` of waves of any level; None also for NaN or infinity."""
    if not (np.isfinite(clean).all() and np.isfinite(enhanced).all()):
        return None
    peak = max(np.abs(clean).max(), np.abs(enhanced).max())
    if not peak:
        return None
    return metrics.pesq(clean * (LEVEL / peak), enhanced * (LEVEL / peak))


def end_with_parent():
    """In a process that was started by another: end as soon as that one has, even by a kill."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end():
    multiprocessing.parent_process().join()
    os._exit(1)
