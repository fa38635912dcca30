"""All that `rwsa bench` measures, table by table."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from tqdm import tqdm

from .. import scan
from ..model import NETWORKS
from .networks import network_rows
from .scans import LOOP, cannot_run, level_rows, scan_rows
from .timing import PATIENCE


def measure(
    shape: tuple[int, ...] = (128, 64, 256, 16),
    engines: Sequence[str] | None = None,
    device: str | None = None,
    threads: int | None = None,
    rounds: int = 5,
    patience: float = PATIENCE,
    only: str | None = None,
    levels: str | None = None,
    batches: Sequence[int] = (1,),
) -> Iterator[list[dict]]:
    """All that `rwsa bench` measures, with bars: gives the rows of one table after the other.

    shape: B, D, L, N of the scan. engines: names; by default all for the scan and auto for the
    network. device: "cpu" or "cuda", by default CUDA if it is there. threads: of the CPU. only:
    "scan" or "network". levels: a variant whose scans are measured instead, for each of `batches`.
    rounds, patience: as for `compare_scans`.
    Raises ValueError for an engine, a variant or a device that there is none of.
    """
    known = scan.scan_backends()
    for name in engines or ():
        if name not in known:
            raise ValueError(f"There is no scan engine {name!r}; there are {', '.join(known)}.")
    if levels is not None and levels not in NETWORKS:
        raise ValueError(f"There is no network {levels!r}; there are {', '.join(NETWORKS)}.")
    if levels is not None and only is not None:
        raise ValueError("The scans of the levels are measured alone: leave out --only.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA GPU here, or this torch cannot use it.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    chosen = {"rounds": rounds, "device": device, "patience": patience}
    compared = sum(cannot_run(name) is None for name in {*(engines or known), LOOP})
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        if levels is not None:
            steps = len(batches) * 2 * NETWORKS[levels].levels * (rounds + compared)
            with _bar("scans of each level", steps) as tick:
                rows = level_rows(engines or known, NETWORKS[levels], batches, **chosen, tick=tick)
            yield rows
            return
        if only != "network":
            with _bar("scan engines", rounds + 2 * compared) as tick:
                rows = scan_rows(engines or known, shape, **chosen, tick=tick)
            yield rows
        if only != "scan":
            engines = engines or ["auto"]
            with _bar("whole network", 3 * len(engines)) as tick:
                rows = network_rows(engines, **chosen, tick=tick)
            yield rows
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _bar(words, steps):
    """A bar on the terminal that is gone at the end; gives the function that moves it on."""

    with tqdm(total=steps, desc=words, unit="step", leave=False) as bar:
        yield bar.update
