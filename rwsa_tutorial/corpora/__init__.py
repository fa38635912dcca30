"""Corpora: pairs of clean and noisy speech, in the box, by download, or from any folder."""

from importlib import import_module

# name -> the module that loads it
KNOWN = {
    "mini-vb": "mini",
    "mini-dns": "mini",
    "mini-ears": "mini",
    "vb-demandex": "vb_demandex",
    "dns2020": "dns2020",
    "ears-wham": "ears_wham",
}


def load_corpus(name):
    """A corpus by its name: the mini corpora of the box, or one of the paper's after a download.

    Returns:
        corpus.Corpus: its `pairs(split)` are read one by one by `Pair.read`.

    Raises:
        ValueError: the name is not one of `KNOWN`.
        FileNotFoundError: the corpus is not on this machine; says how to get it.
    """
    if name not in KNOWN:
        raise ValueError(f"there is no corpus {name!r}; there are {', '.join(KNOWN)}.")
    module = import_module(f"{__name__}.{KNOWN[name]}")
    return module.load(name) if KNOWN[name] == "mini" else module.load()
