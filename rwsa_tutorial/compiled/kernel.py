"""Compile a kernel once, say so, keep it on disk, and run it on as many threads as torch uses."""

import contextlib
import functools
import os
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
from numba.core import event
from torch import Tensor

from . import in_child, why_not
from .simd import LANES

# Numba recompiles when a kernel's own file changes; this makes it notice simd.py as well
VERSION = zlib.crc32(Path(__file__).with_name("simd.py").read_bytes())
NOTICE = "Compiling for this processor: some ten seconds in all, and only this once ..."
_running = threading.RLock()  # not every threading layer of Numba lets two callers in


class Kernel:
    """A function with `prange` loops, compiled at its first call for the types it is called with.

    The result is kept on disk beside the package, or in the user's cache folder.
    """

    def __init__(self, function: Callable):
        self.__doc__ = function.__doc__
        function.__qualname__ += f"_{VERSION:08x}"  # part of the cache's file name
        try:
            self.compiled = numba.njit(parallel=True, cache=True)(function)
        except RuntimeError:  # no folder to keep it in: compiled anew in every process
            self.compiled = numba.njit(parallel=True)(function)

    def __call__(self, *arguments: object) -> object:
        if reason := why_not():
            raise RuntimeError(f"A compiled kernel cannot run: {reason}.")
        _mind_forks()
        with _running, event.install_listener("numba:compile", _Listener()):
            self._run(*arguments)

    def _run(self, *arguments):
        threads = torch.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        self.compiled(*arguments)
        if torch.get_num_threads() != threads:  # Numba resets the OpenMP pool that both share
            torch.set_num_threads(threads)


class _Listener(event.Listener):
    """Hears of compiling, and of nothing where a kernel comes from the disk."""

    def on_start(self, event):
        _say_once()

    def on_end(self, event):
        pass


@functools.cache
def _say_once():
    """The notice, on the terminal: in a notebook it would be kept among what a cell prints."""
    # what Jupyter's kernel keeps of the terminal that it was started from
    terminal = getattr(sys.stderr, "_original_stdstream_copy", None)
    with contextlib.suppress(OSError, ValueError):  # closed
        if terminal is not None:
            os.write(terminal, f"{NOTICE}\n".encode())
        elif sys.stderr is not None and "ipykernel" not in type(sys.stderr).__module__:
            print(NOTICE, file=sys.stderr, flush=True)


@functools.cache
def _mind_forks():
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)


def working_type(*tensors: Tensor | None) -> torch.dtype:
    """The type to compute in: float32, or float64 where any tensor is."""
    double = any(x is not None and x.dtype == torch.float64 for x in tensors)
    return torch.float64 if double else torch.float32


def flat(x: Tensor) -> np.ndarray:
    """The memory of a tensor from its first to its last element, as a flat numpy array."""
    length = sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True)) + 1
    return x.detach().as_strided((length,), (1,)).numpy()


def strides_of(*tensors: Tensor) -> np.ndarray:
    """Strides along (B, L, D) of tensors (B, D, L), a row each: what the kernels index with."""
    return np.array([(x.stride(0), x.stride(2), x.stride(1)) for x in tensors])


def groups_for(batch: int, blocks: int) -> int:
    """In how many groups to share out the channel blocks so that all threads are busy."""
    return min(blocks, max(1, -(-2 * torch.get_num_threads() // batch)))


def padded(x: Tensor | None, size: int, kind: torch.dtype) -> Tensor:
    """x (size, ...) with zeros up to a multiple of LANES; all zeros, (size,), where x is None."""
    out = torch.zeros(-(-size // LANES) * LANES, *(() if x is None else x.shape[1:]), dtype=kind)
    if x is not None:
        out[:size] = x.detach()
    return out
