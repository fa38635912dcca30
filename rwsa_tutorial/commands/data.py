"""`rwsa data`: fetch the paper's corpora, say which are here, compare them."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .common import CORPUS, count, new_figure, new_file

if TYPE_CHECKING:
    from ..corpora.corpus import Corpus

HELP = "fetch the paper's corpora, say which are here, compare them"
EXAMPLES = """examples:
  rwsa data status
  rwsa data get dns2020
  rwsa data get vb-demandex --yes              in a script: you agree to the licence
  rwsa data get vb-demandex --from ~/Downloads      archives that are here already
  rwsa data get vb-demandex --from https://mirror.example/vb/ --to /big/disk
  rwsa data get ears-wham --from EARS WHAM48kHz --recipe test.csv
  rwsa data compare mini-vb mini-dns my/recordings --plot domains.png

A run that was cut short goes on with the same command. The corpora lie in the folder that
RWSA_CORPORA names, or in your own data folder; status shows it. A file SHA256SUMS beside the
archives of a mirror is checked against. What --from does not have is fetched from its own address.
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    what = parser.add_subparsers(dest="what", required=True, metavar="get|compare|status")
    get = what.add_parser("get", help="fetch a corpus: vb-demandex, dns2020 or ears-wham")
    get.add_argument("name", metavar="NAME", help="vb-demandex, dns2020 or ears-wham")
    get.add_argument(
        "--from",
        dest="given",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="archives, folders, or addresses; one that ends in / is a mirror",
    )
    get.add_argument(
        "--sha256", nargs="+", default=[], metavar="FILE=SUM", help="checksums of archives"
    )
    get.add_argument("--yes", action="store_true", help="agree to the licence without being asked")
    get.add_argument(
        "--splits",
        nargs="+",
        choices=("train", "valid", "test"),
        help="of ears-wham, which to mix (default: test)",
    )
    get.add_argument("--recipe", metavar="CSV", help="of ears-wham, mixtures to rebuild: test.csv")
    compare = what.add_parser(
        "compare", help="measure how corpora differ, and how far apart they are"
    )
    compare.add_argument("names", nargs="+", metavar="NAME", help=CORPUS)
    compare.add_argument("--split", default="test", help="of each corpus (default: test)")
    compare.add_argument("--limit", type=count, metavar="N", help="pairs of each (default: all)")
    compare.add_argument("--csv", metavar="FILE", help="write what was measured of each pair")
    compare.add_argument("--plot", metavar="FILE", help="draw it (png, pdf, svg)")
    compare.add_argument("--force", action="store_true", help="replace an existing FILE")
    compare.set_defaults(run=_compare)
    status = what.add_parser("status", help="say which corpora are here, whole or in part")
    for part, run in ((get, _get), (status, _status)):
        part.add_argument("--to", metavar="DIR", help="folder of the corpora (see above)")
        part.set_defaults(run=run)


def _get(options):
    more = {key: value for key in ("splits", "recipe") if (value := getattr(options, key))}
    if more and options.name != "ears-wham":
        raise ValueError(f"--{' and --'.join(more)} is for ears-wham alone.")
    get(
        options.name,
        to=options.to,
        given=options.given,
        sha256=options.sha256,
        yes=options.yes,
        **more,
    )
    return 0


def _compare(options):
    from ..corpora import load_corpus

    csv = options.csv and new_file(options.csv, options.force)
    plot = options.plot and new_figure(options.plot, options.force)
    corpora = [load_corpus(name) for name in options.names]
    compare(corpora, csv, plot, options.split, options.limit)
    for words, path in (("Written to", csv), ("Drawn in", plot)):
        if path:
            print(f"{words} {path}.")
    return 0


def _status(options):
    print(status(options.to))
    return 0


def get(
    name: str,
    *,
    to: str | Path | None = None,
    given: Sequence[str | Path] = (),
    sha256: Sequence[str | Path] = (),
    yes: bool = False,
    **more: object,
) -> None:
    """Show the licence, ask, fetch; going on where an earlier run stopped.

    Args:
        name: of a corpus of `KNOWN`.
        to: folder that is to hold the corpus's own folder; by default `store.home`.
        given, sha256: see `Sources`.
        yes: do not ask.
        more: for the corpus's own `get`; None is left out.

    Raises ValueError and OSError, in words.
    """
    from ..corpora.paper import store
    from ..corpora.paper.sources import Sources

    module = _module(name)
    sources = Sources(given, sha256)
    folder = _outside(store.home() if to is None else to) / name
    more = {key: value for key, value in more.items() if value is not None}
    state, files, size = store.state(folder)
    if state == "damaged":
        raise ValueError(
            f"{folder} was complete, but files have gone or changed since. Delete the folder, and "
            f"run rwsa data get {name} again."
        )
    if state == "complete" and not more:
        print(f"{name} is complete: {files} files, {store.amount(size)}, in {folder}.")
        return
    print(f"{module.LICENCE}\n\n{module.SIZE}; into {folder}.")
    if state == "partial":
        print("An earlier run has begun; this one goes on from there.")
    if not (yes or _agreed()):
        print("Nothing was fetched.")
        return
    module.get(folder, sources, **more)
    _, files, size = store.state(folder)
    print(f"{name} is complete: {files} files, {store.amount(size)}, in {folder}.")
    if folder.parent != store.home():
        print(f"For load_corpus to find it, set RWSA_CORPORA to {folder.parent}.")


def status(to: str | Path | None = None) -> str:
    """A table of all corpora as text: what is there, how much of it, where, under which licence."""
    from .. import tables
    from ..corpora import KNOWN, mini, module_of
    from ..corpora.paper import store
    from ..paths import data_path

    lines = [("corpus", "state", "files", "size", "licence", "folder")]
    for name, known in KNOWN.items():
        if known == "mini":
            folder = data_path("mini", name, must_exist=False)
            files, size = store.contents(folder)
            try:
                state, licence = "complete", mini.load(name).licence
            except (OSError, ValueError, KeyError):  # a recording or the manifest is not there
                state, licence = ("damaged" if files else "absent"), ""
        else:
            folder = (store.home() if to is None else Path(to)) / name
            state, files, size = store.state(folder)
            licence = module_of(name).LICENCE_NAME
        lines.append((name, state, str(files), store.amount(size), licence, str(folder)))
    return tables.aligned(lines, left=len(lines[0]))


def compare(
    corpora: "Sequence[Corpus]",
    csv: str | Path | None = None,
    plot: str | Path | None = None,
    split: str = "test",
    limit: int | None = None,
    progress: bool = True,
    draws: int = 500,
) -> None:
    """Print the tables of `comparing.compare`, and write the rows to `csv`, the figure to `plot`.

    csv, plot: file names, or None for none of it. Raises as `comparing.compare` does.
    """
    from ..domains import comparing
    from ..domains.distance import distance_table

    descriptions, results = comparing.compare(corpora, split, limit, progress, draws)
    print(comparing.table(descriptions))
    if results:
        print("\n" + distance_table(results))
    if csv is not None:
        comparing.write_csv(csv, descriptions)
    if plot is not None:
        from ..paths import whole_file
        from ..plotting.corpora import corpora_compared

        fig, _ = corpora_compared(descriptions, results)
        with whole_file(plot) as part:
            fig.savefig(part, dpi=110)


def _module(name):
    from ..corpora import KNOWN, module_of

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
