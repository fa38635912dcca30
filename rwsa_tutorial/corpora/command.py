"""What `rwsa data get` and `rwsa data status` do."""

import sys
from importlib import import_module
from pathlib import Path

from ..paths import data_path
from . import KNOWN, fetching, mini
from .sources import Sources


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
    for name, module in KNOWN.items():
        if module == "mini":
            folder = data_path("mini", name, must_exist=False)
            files, size = fetching.contents(folder)
            try:
                state, licence = "complete", mini.load(name).licence
            except (OSError, ValueError, KeyError):  # a recording or the manifest is not there
                state, licence = ("damaged" if files else "absent"), ""
        else:
            folder = (fetching.home() if to is None else Path(to)) / name
            state, files, size = fetching.state(folder)
            licence = import_module(f".{module}", __package__).LICENCE_NAME
        lines.append((name, state, str(files), fetching.amount(size), licence, str(folder)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(rows)


def _module(name):
    if name not in KNOWN:
        raise ValueError(f"there is no corpus {name!r}; there are {', '.join(KNOWN)}.")
    if KNOWN[name] == "mini":
        raise ValueError(f"{name} is in the box: load_corpus({name!r}) needs no download.")
    return import_module(f".{KNOWN[name]}", __package__)


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
