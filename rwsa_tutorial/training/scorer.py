"""Scores in processes of their own: PESQ takes time, and nobody should wait for it."""

import warnings
from collections.abc import Iterable
from concurrent.futures import Future

import numpy as np
from numpy.typing import ArrayLike

from .. import processes
from ..scores import metrics

LEVEL = 0.9  # of full scale: PESQ rounds to 16 bit


class Scorer:
    """PESQ in worker processes. Close it, or use it in a `with` block.

    The workers import NumPy and the score alone. They end with the process that started them, even
    when it is killed. Where PESQ is not installed, a warning says so, and every score is missing.

    Raises ValueError, in words, when no processes can be started here.
    """

    def __init__(self, workers: int = 1):
        if not metrics.pesq_is_installed():
            warnings.warn(metrics.PESQ_MISSING + ".", stacklevel=2)
        self._pool = processes.pool(workers, "processes that compute PESQ")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def submit(self, clean: ArrayLike, enhanced: ArrayLike) -> Future:
        """Begin to score one pair of waves (n,) at 16 kHz, any level; returns its `Future`.

        Raises ValueError when the workers could not start or were killed.
        """
        with processes.told("a process that computes PESQ"):
            return self._pool.submit(pesq, np.asarray(clean), np.asarray(enhanced))

    def results(self, futures: Iterable[Future]) -> list[float | None]:
        """The scores of these futures, in order: float, or None where PESQ has no answer.

        Raises ValueError when the workers could not start or were killed.
        """
        with processes.told("a process that computes PESQ"):
            return [future.result() for future in futures]

    def close(self) -> None:
        """End the workers; what was not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)


def pesq(clean: np.ndarray, enhanced: np.ndarray) -> float | None:
    """`metrics.pesq` of waves of any level; None also for NaN or infinity, and without a word."""
    if not (np.isfinite(clean).all() and np.isfinite(enhanced).all()):
        return None
    peak = max(np.abs(clean).max(), np.abs(enhanced).max())
    if not peak or not metrics.pesq_is_installed():
        return None
    return metrics.pesq(clean * (LEVEL / peak), enhanced * (LEVEL / peak))
