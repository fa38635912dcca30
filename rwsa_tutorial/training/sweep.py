"""Many runs that differ in a setting and in the seed, trained and scored: the body of `rwsa sweep`.

One run proves little: two that differ in nothing but their seed do not score alike. So each kind
is trained with several seeds, and the table keeps every run. A script of your own that calls
`sweep` must begin with `if __name__ == "__main__":`, since it starts processes.
"""

import multiprocessing
import shutil
import statistics
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import torch
import yaml
from tqdm.auto import tqdm

from .. import inside, tables
from ..model import count_parameters
from ..paths import short_name, whole_file
from ..processes import ENDED, end_with_parent
from ..scores import digests
from ..scores.evaluation import pesq_note, read_csv, summary
from ..scores.many import Task, is_done, score_all
from ..scores.metrics import METRICS, shown
from ..weights import load_weights
from .config import differences
from .folder import HARMLESS, RunFolder
from .plan import Plan
from .trainer import train

POLL = 0.5  # seconds between two looks at how far the runs are
NAMES = ("kind", "test", "without", "settings", "recordings", "network")  # columns of words


def sweep(
    plan: Plan, folder: str | Path, jobs: int = 1, device: str | None = None, progress: bool = True
) -> list[dict]:
    """Train and score every run of a plan; what is done already is not done again.

    Done is what has the plan's settings and steps, and scores that its last weights got on the test
    pairs as they are now: what the files hold is compared. Other scores are made again; a folder
    with a run of other settings is refused.

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
        "parameters", "files", each score of the enhanced recordings, "noisy_..." ones, and digests
        of what they come from: "settings" (of what the plan says of the run), "recordings" and
        "network".

    Raises:
        ValueError: in words, with the names of the runs that failed; the others are done first.
    """
    folder, runs = Path(folder), plan.runs()
    tests = plan.tests()  # better told now than after an hour
    recordings = {test: digests.of_pairs(some) for test, some in tests.items()}
    todo = [n for n, run in runs.items() if not _is_done(folder / n, run[2], tests, recordings)]
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
                    with suppress(ValueError):  # a log that is damaged: its run tells
                        far[name] = _steps_done(folder / name)
                bar.update(sum(far.values()) - bar.n)
        finally:
            for process, _ in running.values():
                process.terminate()
    if failed:
        raise ValueError(f"{len(failed)} of {len(runs)} runs failed. {' '.join(failed)}")
    return [_row(plan, folder / name, *t, *run) for name, run in runs.items() for t in tests]


def table(rows: list[dict]) -> str:
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
            mean = statistics.fmean(scores) if scores else None
            line += f"{shown(mean, 3) + spread:>16}"
        lines.append(line)
    return "\n".join([*lines, *pesq_note(rows)])


def write_results(path: str | Path, rows: list[dict]) -> None:
    """The rows of `sweep`, or of `comparison.by_voice`, as CSV; whole, or not at all."""
    tables.write(path, list(rows[0]), rows)


def read_results(path: str | Path) -> list[dict]:
    """The rows of a CSV of `sweep`: names as text, what looks like a number is one, or None."""
    return [
        {k: v or None if k in NAMES else _value(v) for k, v in row.items()}
        for row in tables.read(path)
    ]


def _value(text):
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def keep_examples(plan: Plan, folder: str | Path, target: str | Path) -> None:
    """Copy what each run made of one validation recording: target/RUN.flac, noisy and clean too.

    Raises ValueError where a run has kept none.
    """
    sources = {}
    for name in plan.runs():
        made = RunFolder(Path(folder) / name).examples()
        if not made:
            raise ValueError(f"{Path(folder) / name} kept nothing that it made: train it again.")
        sources[name] = made[-1]
    # the same in every run
    sources |= {kind: made[-1].with_name(f"{kind}.flac") for kind in ("clean", "noisy")}
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        with whole_file(target / f"{name}.flac") as part:
            shutil.copyfile(source, part)


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
        return f"its process {ENDED}."


def _one(tell, config, run, tests, device, threads):
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        if (steps := _steps_done(run)) > config.steps:
            raise ValueError(
                f"{run} holds a run of {steps} steps, the plan asks for {config.steps}: choose "
                "another folder."
            )
        train(config, run, resume=True, progress=False, device=device)
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = load_weights(RunFolder(run).last).to(where)
        for (test, part), some in tests.items():
            task = _task(run, model, test, part, some)
            if is_done(task, digests.of_pairs(some)):
                continue
            with inside.without(model, part) if part else nullcontext():
                _, problems = score_all([task], progress=False)
            if problems:
                raise ValueError(f"{len(problems)} of {len(some)} not scored: {problems[0]}")
    except (ValueError, OSError, MemoryError) as error:
        tell.send(" ".join(str(error).split()))
        sys.exit(2)


def _is_done(run, config, tests, recordings):
    """Whether all scores of a run are there, of its last weights, trained as the plan says."""
    try:
        model, before = load_weights(RunFolder(run).last), RunFolder(run).config()
        steps = _steps_done(run)
    except (ValueError, OSError):  # not there, or not to be read: training tells
        return False
    return (
        not differences(before, config, HARMLESS)
        and steps == config.steps
        and all(
            is_done(_task(run, model, *test, some), recordings[test])
            for test, some in tests.items()
        )
    )


def _steps_done(run):
    rows = RunFolder(run).rows("metrics.jsonl")
    return rows[-1]["step"] if rows else 0


def _task(run, model, test, part, some):
    return Task(scores_file(run, test, part), run.name, model, tuple(some))


def _test_words(test, part):
    return f"{test} without {part}" if part else test


def scores_file(run: Path, test: str, part: str | None) -> Path:
    """Where a run's scores of every recording of a corpus are; part: the one that is silenced."""
    return run / f"scores_{_test_words(short_name(test), part).replace(' ', '_')}.csv"


def _row(plan, run, test, part, kind, seed, config):
    scored = read_csv(scores_file(run, test, part))
    means = summary(scored)
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
        "settings": digests.of_value(plan.settings(kind, seed)),
        "recordings": digests.of_value([r["recordings"] for r in scored if r["signal"] == "noisy"]),
        "network": scored[-1]["network"],
    }
