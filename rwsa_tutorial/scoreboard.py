"""Models x corpora: many recordings scored in processes; what is scored is kept at once.

The body of `rwsa evaluate`. A script of your own that calls `score_all` with more than one job must
begin with ``if __name__ == "__main__":``, since it starts processes.
"""

import copy
import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from .evaluation import evaluate, write_csv
from .metrics import METRICS
from .scoring import end_with_parent

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


def score_all(tasks, jobs=1, progress=True):
    """Score every recording of every task and write the CSV files.

    Until all is done, scores are kept in hidden files beside the CSV files. The same call again,
    with the same weights and recordings, goes on from there; other weights begin anew.

    Args:
        tasks: list of `Task`.
        jobs: how many recordings at a time, each in a process of its own with its share of the
            threads; 1: in this process.
        progress: show a bar, which counts recordings.

    Returns:
        (rows, problems): a list of rows as of `evaluation.evaluate` for each task, and a line for
        each pair that cannot be scored.

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


class _Kept:
    """The rows of a task that are there already: a line of JSON for each pair."""

    def __init__(self, task):
        self.task = task
        self.path = task.csv.with_name(f".{task.csv.stem}.{_fingerprint(task)}.part")
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1] if self.path.exists() else []
        self.rows = dict(map(json.loads, lines))  # a line that was cut short has no end: left out
        if lines:
            text = "".join(line + "\n" for line in lines)
            self.path.write_text(text, encoding="utf-8")

    def add(self, name, rows):
        self.rows[name] = rows
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps([name, rows]) + "\n")

    def all_rows(self):
        return [row for pair in self.task.pairs for row in self.rows.get(pair.name, [])]


def _fingerprint(task):
    """Another one for other weights, recordings or scores."""
    recordings = [(pair.name, str(pair.clean), str(pair.noisy)) for pair in task.pairs]
    digest = hashlib.sha256(repr((task.name, task.metrics, recordings)).encode())
    if isinstance(task.model, torch.nn.Module):
        for value in task.model.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _here(tasks, todo, _):
    for i, pair in todo:
        yield i, pair, *_score(tasks[i].model, pair, tasks[i].metrics)


def _in_processes(tasks, todo, jobs):
    distinct = {id(task.model): task.model for task in tasks}  # one for many tasks is sent once
    for key, model in distinct.items():
        if isinstance(model, torch.nn.Module):
            distinct[key] = copy.deepcopy(model).cpu()
    models = [distinct[id(task.model)] for task in tasks]
    threads = max(1, torch.get_num_threads() // jobs)
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _begin, (models, threads)
    )
    try:
        futures = {pool.submit(_in_worker, i, p, tasks[i].metrics): (i, p) for i, p in todo}
        for future in as_completed(futures):
            yield *futures[future], *future.result()
    except BrokenProcessPool:
        raise ValueError(
            "a process that scores ended by itself. If this is your own script, begin it with "
            '`if __name__ == "__main__":`; otherwise look for a lack of memory, or ask for fewer '
            "jobs. What is scored is kept: the same again goes on."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(models, threads):
    end_with_parent()
    torch.set_num_threads(threads)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    _models[:] = [m.to(where) if isinstance(m, torch.nn.Module) else m for m in models]


def _in_worker(i, pair, metrics):
    return _score(_models[i], pair, metrics)


def _score(model, pair, metrics):
    """(rows, problems) of one pair."""
    problems = []
    return evaluate([pair], model, metrics, problems=problems, progress=False), problems
