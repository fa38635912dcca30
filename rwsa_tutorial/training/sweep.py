"""Many runs that differ in a setting and in the seed, trained and scored: the body of `rwsa sweep`.

One run proves little: two that differ in nothing but their seed do not score alike. So each kind
is trained with several seeds, and the table keeps every run. A script of your own that calls
`sweep` must begin with ``if __name__ == "__main__":``, since it starts processes.
"""

import csv
import itertools
import multiprocessing
import shutil
import statistics
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from tqdm.auto import tqdm

from .. import inside
from ..corpora import load_corpus
from ..corpora.pairs import evenly
from ..evaluation import evaluate, read_csv, summary, write_csv
from ..metrics import METRICS
from ..model import count_parameters
from ..paths import short_name, whole_file
from ..scoring import end_with_parent
from ..weights import load_weights
from .config import Config
from .folder import RunFolder
from .trainer import train

POLL = 0.5  # seconds between two looks at how far the runs are
PARTS = (
    "has base (settings), kinds (a name, then its settings) or grid (a setting, then a list of "
    "values), seeds (a list), test (a corpus, or a list), pairs (how many of each), and without "
    f"(a list of {' and '.join(inside.SILENCED)})"
)


@dataclass
class Plan:
    """What a sweep does, as its YAML file says.

    base: settings of every run, as for `Config.of`.
    kinds: name -> settings of this kind on top of base, "loss.phase" style.
    grid: instead of kinds: setting -> values; every combination is a kind.
    seeds: whole numbers; each kind is trained with each of them.
    test: the corpus whose test split scores the runs, or a list of them.
    pairs: how many pairs of each, evenly out of all; None: all of them.
    without: on the first corpus, each run is scored again with one of these parts silenced, as
        `inside.without` does it: a comparison of what a network does not use says nothing.

    Raises ValueError in words.
    """

    base: dict
    kinds: dict = field(default_factory=dict)
    grid: dict = field(default_factory=dict)
    seeds: list = field(default_factory=lambda: [0])
    test: str | list = "mini-vb"
    pairs: int | None = None
    without: list = field(default_factory=list)

    def __post_init__(self):
        self.test = [self.test] if isinstance(self.test, str) else self.test
        for name, kind in (
            ("base", dict),
            ("kinds", dict),
            ("grid", dict),
            ("seeds", list),
            ("test", list),
            ("without", list),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; a plan {PARTS}.")
        if bool(self.kinds) == bool(self.grid):
            raise ValueError("a plan has either kinds (each with its settings) or a grid.")
        if self.pairs is not None and not (isinstance(self.pairs, int) and self.pairs > 0):
            raise ValueError(f"pairs is {self.pairs!r}; it must be a whole number above 0.")
        if not self.seeds or not self.test:
            empty = "test" if self.seeds else "seeds"
            raise ValueError(f"{empty} is empty; a plan {PARTS}.")
        if unknown := set(self.without) - set(inside.SILENCED):
            raise ValueError(f"without has {', '.join(map(str, unknown))}; a plan {PARTS}.")
        if self.grid:
            combinations = itertools.product(*self.grid.values())
            rows = [dict(zip(self.grid, values, strict=True)) for values in combinations]
            self.kinds = {",".join(f"{k}={v}" for k, v in row.items()): row for row in rows}
        self.runs()

    @classmethod
    def read(cls, path):
        """From a YAML file. Raises FileNotFoundError, or ValueError with the file's name."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no plan {path}.")
        try:
            plan = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(plan, dict):
                raise ValueError(f"a plan {PARTS}.")
            for name in plan:
                if name not in cls.__dataclass_fields__:
                    raise ValueError(f"there is no part {name!r}; a plan {PARTS}.")
            if "base" not in plan:
                raise ValueError(f"base is missing; a plan {PARTS}.")
            return cls(**plan)
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from None

    def tests(self):
        """(corpus, part silenced or None) -> the pairs that score the runs.

        Raises ValueError for an unknown corpus.
        """
        found = {name: load_corpus(name).pairs("test") for name in map(str, self.test)}
        tests = {(name, None): evenly(p, self.pairs or len(p)) for name, p in found.items()}
        first = str(self.test[0])
        return tests | {(first, part): tests[first, None] for part in self.without}

    def runs(self):
        """name of the run -> (kind, seed, `Config`); the name is that of its folder."""
        return {
            f"{kind}-seed{seed}": (kind, seed, self._config(settings or {}, seed))
            for kind, settings in self.kinds.items()
            for seed in self.seeds
        }

    def _config(self, settings, seed):
        changes = [f"{name}={yaml.safe_dump(value)}" for name, value in settings.items()]
        return Config.of(self.base).changed([*changes, f"seed={seed}"])


def sweep(plan, folder, jobs=1, device=None, progress=True):
    """Train and score every run of a plan; what is done already is not done again.

    The last weights of a run are scored, not the best: choosing by validation would favour the
    kind that was lucky there.

    Args:
        plan: `Plan`.
        folder: where the run folders go; each gets a scores_CORPUS.csv for each test corpus, and a
            scores_CORPUS_without_PART.csv for each part that the plan silences.
        jobs: how many runs at a time, each in a process of its own with its share of the threads.
            On one GPU several small runs side by side are faster than one after the other.
        device: as for `train`.
        progress: show a bar, which counts the steps of all runs.

    Returns:
        list of dict, a row for each run and test: "kind", "seed", "test", "without" (None where
        nothing is silenced; only if the plan has some), the settings of a grid, "steps",
        "parameters", "files", each score of the enhanced recordings, and "noisy_..." ones.

    Raises:
        ValueError: in words, with the names of the runs that failed; the others are done first.
    """
    folder, runs = Path(folder), plan.runs()
    tests = plan.tests()  # better told now than after an hour
    todo = [n for n in runs if not all(_scores(folder / n, *test).is_file() for test in tests)]
    running, failed, total = {}, [], sum(config.steps for _, _, config in runs.values())
    far = {name: run[2].steps for name, run in runs.items() if name not in todo}  # steps done
    with tqdm(total=total, desc="sweep", unit="step", disable=not progress) as bar:
        try:
            while todo or running:
                while todo and len(running) < jobs:
                    name = todo.pop(0)
                    threads = max(1, torch.get_num_threads() // jobs)
                    running[name] = _start(runs[name][2], folder / name, tests, device, threads)
                for name, (process, words) in list(running.items()):
                    process.join(POLL / len(running))
                    if process.exitcode is not None:
                        del running[name]
                        if process.exitcode:
                            failed.append(f"{name}: {_reason(words)}")
                    if rows := RunFolder(folder / name).rows("metrics.jsonl"):
                        far[name] = rows[-1]["step"]
                bar.update(sum(far.values()) - bar.n)
        finally:
            for process, _ in running.values():
                process.terminate()
    if failed:
        raise ValueError(f"{len(failed)} of {len(runs)} runs failed. {' '.join(failed)}")
    return [_row(plan, folder / name, *t, *run) for name, run in runs.items() for t in tests]


def table(rows):
    """What each kind scored, as text: the mean over its seeds, and their standard deviation."""
    rows = [row | {"test": _test_words(row["test"], row.get("without"))} for row in rows]
    groups = list(dict.fromkeys((row["test"], row["kind"]) for row in rows))
    first, second = (max(map(len, names)) for names in zip(("test", "kind"), *groups, strict=True))
    head = f"{'test':{first}}  {'kind':{second}}  runs"
    lines = [head + "".join(f"{name:>16}" for name in METRICS)]
    for test, kind in groups:
        some = [row for row in rows if (row["test"], row["kind"]) == (test, kind)]
        line = f"{test:{first}}  {kind:{second}}  {len(some):4}"
        for name in METRICS:
            scores = [row[name] for row in some if row[name] is not None]
            spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
            line += f"{f'{statistics.fmean(scores):.3f}{spread}' if scores else 'missing':>16}"
        lines.append(line)
    return "\n".join(lines)


def write_results(path, rows):
    """The rows of `sweep` as CSV; whole, or not at all."""
    with whole_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_results(path):
    """The rows of a CSV of `sweep`; what looks like a number is one (None if it is missing)."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{k: yaml.safe_load(v) for k, v in row.items()} for row in csv.DictReader(file)]


def keep_examples(plan, folder, target):
    """Copy what each run made of one validation recording: target/RUN.flac, noisy and clean too."""
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name in plan.runs():
        example = Path(folder) / name / "example"
        shutil.copyfile(max(example.glob("step-*.flac")), target / f"{name}.flac")
    for kind in ("clean", "noisy"):  # the same in every run
        shutil.copyfile(example / f"{kind}.flac", target / f"{kind}.flac")


def _start(*work):
    """A process that trains and scores one run; returns it and where it tells of an error."""
    context = multiprocessing.get_context("spawn")
    words, tell = context.Pipe(duplex=False)
    process = context.Process(target=_one, args=(tell, *work))
    process.start()
    tell.close()
    return process, words


def _reason(words):
    try:
        return words.recv()
    except EOFError:
        return "its process ended by itself; look for a lack of memory."


def _one(tell, config, run, tests, device, threads):
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        train(config, run, resume=True, progress=False, device=device)
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = load_weights(RunFolder(run).last).to(where)
        for (test, part), some in tests.items():
            if not _scores(run, test, part).is_file():
                with inside.without(model, part) if part else nullcontext():
                    write_csv(_scores(run, test, part), evaluate(some, model, progress=False))
    except (ValueError, OSError) as error:
        tell.send(" ".join(str(error).split()))
        sys.exit(2)


def _test_words(test, part):
    return f"{test} without {part}" if part else test


def _scores(run, test, part):
    """Where a run's scores of every recording of a corpus are."""
    return run / f"scores_{_test_words(short_name(test), part).replace(' ', '_')}.csv"


def _row(plan, run, test, part, kind, seed, config):
    means = summary(read_csv(_scores(run, test, part)))
    return {
        "kind": kind,
        "seed": seed,
        "test": short_name(test),
        **({"without": part} if plan.without else {}),
        **(plan.kinds[kind] if plan.grid else {}),
        "steps": config.steps,
        "parameters": count_parameters(config.build_model()),
        "files": means["enhanced"]["files"],
        **{name: means["enhanced"][name][0] for name in METRICS},
        **{f"noisy_{name}": means["noisy"][name][0] for name in METRICS},
    }
