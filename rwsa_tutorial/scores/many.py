"""Models x corpora: many recordings scored in processes; what is scored is kept at once.

The body of `rwsa evaluate`. A script of your own that calls `score_all` with more than one job must
begin with `if __name__ == "__main__":`, since it starts processes.

Every row says what it was made from, by two digests: "recordings" of what the clean and the noisy
file hold, "network" of the weights (None where no network took part). A row is used again only
where both are those of now.
"""

import copy
import json
import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from tqdm import tqdm

from .. import audio, processes
from . import digests
from .evaluation import SIGNALS, evaluate, read_csv, write_csv
from .metrics import METRICS, PESQ_MISSING, pesq_is_installed

_models = []  # in a worker: the network of each task


@dataclass(frozen=True)
class Task:
    """One model on one corpus.

    csv: where the scores go. name: the model's, as the user gave it. model: the network, or None to
    score the recordings as they are. pairs: of `corpora.corpus.Pair`. metrics: any of `METRICS`.
    """

    csv: Path
    name: str
    model: object
    pairs: tuple
    metrics: tuple = METRICS

    @cached_property
    def network(self) -> str | None:
        """The digest of the network; None for none, and for a function, which has no digest."""
        known = isinstance(self.model, torch.nn.Module)
        return digests.of_network(self.model) if known else None

    def fit(self, rows: object, name: str, recordings: str | None) -> bool:
        """Whether these rows are this task's of this pair, made from the same recordings."""
        signals = SIGNALS if self.model is not None else SIGNALS[:1]
        known = self.model is None or self.network is not None
        return (
            known
            and recordings is not None
            and isinstance(rows, list)
            and len(rows) == len(signals)
            and all(
                isinstance(row, dict)
                and (row.get("file"), row.get("signal")) == (name, signal)
                and row.get("recordings") == recordings
                and row.get("network") == (self.network if signal == "enhanced" else None)
                and all(isinstance(row.get(m, ""), float | None) for m in self.metrics)
                for row, signal in zip(rows, signals, strict=True)
            )
        )


def score_all(
    tasks: Sequence[Task], jobs: int = 1, progress: bool = True
) -> tuple[list, list[str]]:
    """Score every recording of every task and write the CSV files.

    Until all is done, scores are kept in hidden files beside the CSV files. The same call again
    goes on from there; what was scored with other weights, or of files that hold something else
    now, is scored again.

    Args:
        tasks: list of `Task`.
        jobs: how many recordings at a time, each in a process of its own with its share of the
            threads; 1: in this process.
        progress: show a bar, which counts recordings.

    Returns:
        (rows, problems): for each task a list of rows as of `evaluation.evaluate`, with the digests
        "recordings" and "network"; and a line for each pair that cannot be scored.

    Raises ValueError when processes could not start or were killed, OSError for a full disk.
    """
    kept = [_Kept(task) for task in tasks]
    todo = [
        (i, p) for i, task in enumerate(tasks) for p in task.pairs if p.name not in kept[i].rows
    ]
    total, problems = sum(len(task.pairs) for task in tasks), []
    with tqdm(
        total=total,
        initial=total - len(todo),
        desc="scoring",
        unit="pair",
        disable=not progress,
    ) as bar:
        for i, pair, rows, words in (_here if jobs == 1 else _in_processes)(tasks, todo, jobs):
            problems += words
            if rows:
                kept[i].add(pair.name, rows)
            bar.update()
    result = [keeper.all_rows() for keeper in kept]
    for task, keeper, rows in zip(tasks, kept, result, strict=True):
        if rows:
            write_csv(task.csv, rows)
        keeper.path.unlink(missing_ok=True)
    return result, problems


def is_done(task: Task, recordings: Mapping[str, str | None]) -> bool:
    """Whether the task's CSV holds its scores, all of them, made from what is there now.

    recordings: of its pairs, as `digests.of_pairs` gives them.
    """
    try:
        rows = read_csv(task.csv)
    except (ValueError, OSError):  # not there, or no such table
        return False
    each = len(SIGNALS) if task.model is not None else 1
    return (
        len(rows) == each * len(task.pairs)
        and all(
            task.fit(rows[each * i : each * (i + 1)], pair.name, recordings[pair.name])
            for i, pair in enumerate(task.pairs)
        )
        and not _lack_pesq(rows)
    )


def _lack_pesq(rows):
    """Whether PESQ could be had for rows that were made where it was not installed."""
    lacking = all(row.get("pesq", 0) is None for row in rows)
    return lacking and pesq_is_installed()


class _Kept:
    """The rows of a task that are there already: a line of JSON, a list of rows, for each pair.

    What is garbled, cut short, or made from something else is as if it were not there.
    """

    def __init__(self, task):
        self.task, self.rows = task, {}
        # short, so that whatever name the system takes for the CSV will do for this one as well
        name = f".{zlib.crc32(task.csv.name.encode(errors='surrogateescape')):08x}.scored"
        self.path = task.csv.with_name(name)
        if not self.path.is_file():
            return
        text = self.path.read_text(encoding="utf-8", errors="replace")
        if not text.endswith("\n"):  # a kill in the middle of writing
            self._append("\n")
        found = {}
        for line in text.splitlines():
            try:
                rows = json.loads(line)
                found[rows[0]["file"]] = rows
            except (ValueError, TypeError, LookupError, RecursionError):
                continue
        pairs = [pair for pair in task.pairs if pair.name in found]
        for name, recordings in digests.of_pairs(pairs).items():
            if task.fit(found[name], name, recordings) and not _lack_pesq(found[name]):
                self.rows[name] = found[name]

    def add(self, name, rows):
        self.rows[name] = rows
        self._append(json.dumps(rows) + "\n")

    def all_rows(self):
        return [row for pair in self.task.pairs for row in self.rows.get(pair.name, [])]

    def _append(self, text):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)


def _here(tasks, todo, _):
    for i, pair in todo:
        yield i, pair, *_score(tasks[i].model, tasks[i].network, pair, tasks[i].metrics)


def _in_processes(tasks, todo, jobs):
    jobs = max(1, min(jobs, len(todo)))
    distinct = {id(task.model): task.model for task in tasks}  # one for many tasks is sent once
    for key, model in distinct.items():
        if isinstance(model, torch.nn.Module):
            distinct[key] = copy.deepcopy(model).cpu()
    models = [distinct[id(task.model)] for task in tasks]
    threads = max(1, torch.get_num_threads() // jobs)
    pool = processes.pool(jobs, "processes that score", _begin, (models, threads))
    left = dict(enumerate(todo))
    try:
        futures = {
            pool.submit(_in_worker, i, tasks[i].network, p, tasks[i].metrics): n
            for n, (i, p) in left.items()
        }
        for future in as_completed(futures):
            *done, notes = future.result()
            for words in notes:
                audio.note(words)
            yield *left.pop(futures[future]), *done
    except BrokenProcessPool:
        at = ", ".join(pair.name for _, pair in list(left.values())[:jobs])
        raise ValueError(
            f"a process that scores {processes.ENDED}, or ask for fewer jobs. What is scored is "
            f"kept: the same again goes on. It was probably at {at}."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(models, threads):
    torch.set_num_threads(threads)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    _models[:] = [m.to(where) if isinstance(m, torch.nn.Module) else m for m in models]


def _in_worker(i, network, pair, metrics):
    """(rows, problems, notes): what is known of the recordings is to be said where others read."""
    notes = []
    with audio.notes_to(notes.append):
        return *_score(_models[i], network, pair, metrics), notes


def _score(model, network, pair, metrics):
    """(rows, problems) of one pair."""
    recordings, problems = digests.of_pairs([pair])[pair.name], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", PESQ_MISSING)  # the table says so
        rows = evaluate([pair], model, metrics, problems=problems, progress=False)
    for row in rows:
        row["recordings"] = recordings
        row["network"] = network if row["signal"] == "enhanced" else None
    return rows, problems
