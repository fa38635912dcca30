"""`rwsa evaluate`."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import common
from .common import CORPUS, complain, count, new_file

HELP = "score noisy recordings and what the model makes of them"
EXAMPLES = """examples:
  rwsa evaluate --clean test/clean --noisy test/noisy --csv scores.csv
  rwsa evaluate --clean test/clean --noisy test/noisy --csv scores.csv --model xs
  rwsa evaluate --clean test/clean --noisy enhanced --csv scores.csv --model none
  rwsa evaluate --corpus mini-ears --csv scores.csv      of the box; or a CSV that lists pairs
  rwsa evaluate --corpus mini-vb mini-dns mini-ears --model nano xs --csv scores/ --jobs 2

Several corpora or models: DIR gets MODEL_CORPUS.csv for each model and corpus. The same command
again goes on where it was stopped; what files hold by then is looked at, not how they are called.

Scores (PESQ, SSNR in dB, ESTOI, SI-SDR in dB) need mono pairs of equal name, rate and length.
A score that is not defined for a pair is shown as – and left out of the means, and so is an
infinite one. Of more than 18.8 s of speech, PESQ is the mean over pieces of about 12 s. Each line
of the CSV ends with digests of what it was made from: the recordings and the network.
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    parser.add_argument("--clean", metavar="DIR", help="folder of references")
    parser.add_argument("--noisy", metavar="DIR", help="folder of recordings")
    parser.add_argument(
        "--corpus", nargs="+", metavar="NAME", help=f"instead of folders: {CORPUS}; or several"
    )
    parser.add_argument("--split", default="test", help="of the corpus (default: test)")
    parser.add_argument(
        "--model",
        nargs="+",
        default=["nano"],
        help="name or weights file; none scores the recordings as they are (default: nano)",
    )
    parser.add_argument(
        "--csv", required=True, metavar="FILE", help="where the scores go; of several: a folder"
    )
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="recordings at a time (default: 1)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")


def run(options: Namespace) -> int:
    """Score what is asked for, print and write it; returns the exit status."""
    from tqdm import tqdm

    from ..audio import notes_to
    from ..scores.evaluation import table
    from ..scores.many import score_all

    def told(words):
        with tqdm.external_write_mode():
            complain("evaluate", words)

    tasks = _tasks(options)
    with notes_to(told):
        results, problems = score_all(tasks, options.jobs)
    for words in problems:
        complain("evaluate", words)
    for task, rows in zip(tasks, results, strict=True):
        if rows and len(tasks) > 1:
            print(task.csv.stem)
        if rows:
            print(table(rows, files=len(tasks) == 1))
            print(f"Written to {task.csv}.")
    return 2 if problems else 0


def _tasks(options):
    """Each model on each corpus, and where the scores go."""
    from ..corpora import load_corpus
    from ..paths import short_name
    from ..scores.evaluation import as_pairs, pair_folders
    from ..scores.many import Task

    folders = [name for name in ("clean", "noisy") if getattr(options, name) is not None]
    if len(folders) != (0 if options.corpus else 2):
        raise ValueError("give either --clean and --noisy, or --corpus.")
    corpora = options.corpus or [options.noisy]
    names = [f"{short_name(m)}_{short_name(c)}" for m in options.model for c in corpora]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two of the results would be called {min(twice)}.csv.")
    target = Path(options.csv)
    if len(names) == 1:
        files = [new_file(target, options.force)]
    elif target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; several corpora or models need a folder.")
    else:
        new_file(target, force=True).mkdir(exist_ok=True)
        files = [new_file(target / f"{name}.csv", options.force) for name in names]
    if options.corpus:
        pairs = [load_corpus(corpus).pairs(options.split) for corpus in corpora]
    else:
        pairs = [as_pairs(pair_folders(options.clean, options.noisy))]
    models = [None if model == "none" else common.load_model(model) for model in options.model]
    each = [(m, model, p) for m, model in zip(options.model, models, strict=True) for p in pairs]
    return [
        Task(file, name, model, tuple(some))
        for file, (name, model, some) in zip(files, each, strict=True)
    ]
