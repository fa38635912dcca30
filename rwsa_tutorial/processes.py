"""Processes beside this one, and words for what can go wrong with them."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

ENDED = (
    'ended by itself. If this is your own script, begin it with `if __name__ == "__main__":`, as '
    "every script that starts processes must; otherwise look for a lack of memory"
)


def pool(
    workers: int, what: str, begin: Callable | None = None, arguments: tuple = ()
) -> ProcessPoolExecutor:
    """A ProcessPoolExecutor whose processes end with this one, even by a kill.

    They are started anew, never forked, since a fork of a process that has used OpenMP may hang.

    Args:
        workers: how many processes.
        what: they are for, for the error: "processes that score".
        begin, arguments: a module's function that each process calls first, and with what.

    Raises ValueError, in words, where the system gives processes nothing to share.
    """
    context = multiprocessing.get_context("spawn")
    with shared_memory(f"{what} cannot be started"):
        return ProcessPoolExecutor(workers, context, _begin, (begin, arguments))


def in_fresh_process(
    function: Callable[..., dict], *arguments: object, preload: Sequence[str] = ()
) -> dict:
    """The dict that a module's function returns in a new process, with as many threads as here.

    Where it fails: {"not_measured": the reason in words}. preload: modules that it finds loaded,
    where the system can start it from a bare copy; those of the first call hold for all later ones.
    """
    import torch  # here, since processes that score do without it

    # the server has loaded modules and computed nothing, so that its copies start at once
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(list(preload))
    threads = torch.get_num_threads()
    try:
        with shared_memory("a fresh process cannot be started"):
            pool = ProcessPoolExecutor(1, context, torch.set_num_threads, (threads,))
        with pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool:
        return {"not_measured": "the process was stopped, perhaps for want of memory"}
    except Exception as error:  # whatever went wrong there is told in the table
        return {"not_measured": reason(error)}


@contextlib.contextmanager
def shared_memory(what: str) -> Iterator[None]:
    """ValueError in words where the system has none; what: "processes that score cannot start"."""
    try:
        yield
    except (OSError, ImportError, RuntimeError) as error:  # by the system, and by who asks for it
        raise ValueError(
            f"{what} ({error}): there is no memory that processes could share. On Linux /dev/shm "
            "must be there, be writable and have room; a container gets one by "
            "docker run --shm-size=1g."
        ) from None


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """ValueError in words where a process of a pool ends; what: "a process that scores"."""
    try:
        yield
    except BrokenProcessPool:
        raise ValueError(f"{what} {ENDED}.") from None


def reason(error: BaseException) -> str:
    """An exception in words, in one line; ours are in words already."""
    words = " ".join(str(error).split()).rstrip(".")
    return words if isinstance(error, ValueError) else f"{type(error).__name__}: {words}"


def end_with_parent() -> None:
    """In a process that was started by another: end as soon as that one has, even by a kill."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _begin(begin, arguments):
    end_with_parent()
    if begin:
        begin(*arguments)


def _wait_for_the_end():
    multiprocessing.parent_process().join()
    os._exit(1)
