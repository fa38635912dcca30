"""Corpora: pairs of clean and noisy speech, in the box, by download, or from any folder."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from .corpus import Corpus

# name -> the module that loads it
KNOWN = {
    "mini-vb": "mini",
    "mini-dns": "mini",
    "mini-ears": "mini",
    "vb-demandex": "paper.vb_demandex",
    "dns2020": "paper.dns2020",
    "ears-wham": "paper.ears_wham",
}


def load_corpus(name: str | Path) -> Corpus:
    """A corpus by its name: of the box, one of the paper's after a download, or any folder.

    Args:
        name: one of `KNOWN`; or a folder that holds the folders clean and noisy; or a CSV file
            that lists pairs (both as `pairs.pairs` reads them).

    Returns:
        corpus.Corpus: its `pairs(split)` are read one by one by `Pair.read`.

    Raises:
        ValueError: it is none of these, or what is in the folder or file makes no pairs.
        FileNotFoundError: the corpus is not on this machine; says how to get it.
    """
    if name in KNOWN:
        return module_of(name).load(name) if KNOWN[name] == "mini" else module_of(name).load()
    from .pairs import pairs

    path = Path(name)
    if path.suffix.lower() == ".csv" and path.is_file():
        return pairs(path)
    if (path / "clean").is_dir() and (path / "noisy").is_dir():
        return pairs(path / "clean", path / "noisy", name=path.resolve().name)
    raise ValueError(
        f"there is no corpus {str(name)!r}; there are {', '.join(KNOWN)}; or give a folder that "
        "holds the folders clean and noisy, or a CSV file that lists pairs."
    )


def module_of(name: str) -> ModuleType:
    """The module that knows the corpus of this name, one of `KNOWN`."""
    return import_module(f"{__name__}.{KNOWN[name]}")
