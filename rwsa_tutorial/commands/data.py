"""What `rwsa data get`, `rwsa data status` and `rwsa data compare` do."""

import sys
from pathlib import Path

from .. import tables
from ..corpora import KNOWN, mini, module_of
from ..corpora.paper import fetching
from ..corpora.paper.sources import Sources
from ..domains import comparing
from ..domains.distance import distance_table
from ..paths import data_path, whole_file


def get(name, *, to=None, given=(), sha256=(), yes=False, **more):
    """Show the licence, ask, fetch; going on where an earlier run stopped.

    Args:
        name: of a corpus of `KNOWN`.
        to: folder that is to hold the corpus's own folder; by default `fetching.home`.
        given, sha256: see `Sources`.
        yes: do not ask.
        more: for the corpus's own `get`; None is left out.

    Raises ValueError and OSError, in words.
    """
    module = _module(name)
    sources = Sources(given, sha256)
    folder = _outside(fetching.home() if to is None else to) / name
    more = {key: value for key, value in more.items() if value is not None}
    state, files, size = fetching.state(folder)
    if state == "damaged":
        raise ValueError(
            f"{folder} was complete, but files have gone or changed since. Delete the folder, and "
            f"run rwsa data get {name} again."
        )
    if state == "complete" and not more:
        print(f"{name} is complete: {files} files, {fetching.amount(size)}, in {folder}.")
        return
    print(f"{module.LICENCE}\n\n{module.SIZE}; into {folder}.")
    if state == "partial":
        print("An earlier run has begun; this one goes on from there.")
    if not (yes or _agreed()):
        print("Nothing was fetched.")
        return
    module.get(folder, sources, **more)
    _, files, size = fetching.state(folder)
    print(f"{name} is complete: {files} files, {fetching.amount(size)}, in {folder}.")
    if folder.parent != fetching.home():
        print(f"For load_corpus to find it, set RWSA_CORPORA to {folder.parent}.")


def status(to=None):
    """A table of all corpora as text: what is there, how much of it, where, under which licence."""
    lines = [("corpus", "state", "files", "size", "licence", "folder")]
    for name, known in KNOWN.items():
        if known == "mini":
            folder = data_path("mini", name, must_exist=False)
            files, size = fetching.contents(folder)
            try:
                state, licence = "complete", mini.load(name).licence
            except (OSError, ValueError, KeyError):  # a recording or the manifest is not there
                state, licence = ("damaged" if files else "absent"), ""
        else:
            folder = (fetching.home() if to is None else Path(to)) / name
            state, files, size = fetching.state(folder)
            licence = module_of(name).LICENCE_NAME
        lines.append((name, state, str(files), fetching.amount(size), licence, str(folder)))
    return tables.aligned(lines, left=len(lines[0]))


def compare(corpora, csv=None, plot=None, split="test", limit=None, progress=True, draws=500):
    """Print the tables of `comparing.compare`, and write the rows to `csv`, the figure to `plot`.

    csv, plot: file names, or None for none of it. Raises as `comparing.compare` does.
    """
    descriptions, results = comparing.compare(corpora, split, limit, progress, draws)
    print(comparing.table(descriptions))
    if results:
        print("\n" + distance_table(results))
    if csv is not None:
        comparing.write_csv(csv, descriptions)
    if plot is not None:
        from ..plotting import corpora_compared

        fig, _ = corpora_compared(descriptions, results)
        with whole_file(plot) as part:
            fig.savefig(part, dpi=110)


def _module(name):
    if name not in KNOWN:
        raise ValueError(f"there is no corpus {name!r}; there are {', '.join(KNOWN)}.")
    if KNOWN[name] == "mini":
        raise ValueError(f"{name} is in the box: load_corpus({name!r}) needs no download.")
    return module_of(name)


def _outside(folder):
    """The folder, unless it is in the project's checkout, where data would get into git."""
    folder = Path(folder).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / ".git").exists() and folder.resolve().is_relative_to(checkout):
        raise ValueError(f"{folder} is inside the project's checkout: choose a folder elsewhere.")
    return folder


def _agreed():
    if not sys.stdin.isatty():
        raise ValueError("nobody is there to agree to the licence: add --yes if you do.")
    return input("Do you agree, and shall it be fetched? [y/N] ").strip().lower() in ("y", "yes")
