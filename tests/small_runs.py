"""Runs small enough to be repeated in tests: a second of speech a file, a tiny network."""

import errno
import os
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from rwsa_tutorial import audio
from rwsa_tutorial.training import RunFolder, trainer
from rwsa_tutorial.training.folder import LOGS

EXAMPLES = Path(__file__).resolve().parent.parent / "data" / "examples"
SEMAPHORE = "multiprocessing.synchronize._multiprocessing.SemLock"
NETWORK = {"channels": 4, "levels": 2, "heads": 2, "middle_heads": 2, "d_state": 2, "expand": 1}
SMALL = {
    "network": NETWORK,
    "samples": 1320,
    "steps": 4,
    "batch": 1,
    "lr": 2e-3,
    "discriminator": False,
    "log_every": 1,
    "valid_every": 2,
    "valid_pairs": 1,
    "checkpoint_every": 2,
    "pesq_workers": 1,
}


def pairs_of_a_second(folder):
    """Six pairs, cut out of the examples, as the `data` of a Config."""
    for kind in ("clean", "noisy"):
        (folder / kind).mkdir(parents=True)
        for source in (EXAMPLES / kind).glob("*.flac"):
            wave, rate = audio.read(source)
            audio.write(folder / kind / source.name, wave[rate : 2 * rate], rate)
    return {"clean": str(folder / "clean"), "noisy": str(folder / "noisy")}


class DirectScorer:
    """A made-up score in place of PESQ, in this process: starting another takes a second."""

    def __init__(self, workers):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, clean, enhanced):
        future = Future()
        future.set_result(-float(np.abs(np.asarray(clean) - np.asarray(enhanced)).mean()))
        return future

    def results(self, futures):
        return [future.result() for future in futures]


def bare_curves(rows):
    """A small picture in place of the curves, which take half a second; other rows, other bits."""
    fig = Figure(figsize=(0.2, 0.2))
    fig.set_facecolor((len(rows) / 100, rows[-1]["step"] / 100, 0))
    return fig, ()


def quick(monkeypatch):
    """Leave out of training what takes long and has tests of its own: PESQ and the curves."""
    monkeypatch.setattr(trainer, "Scorer", DirectScorer)
    monkeypatch.setattr("rwsa_tutorial.plotting.results.training_curves", bare_curves)


def refuse_shared_memory(monkeypatch, name=SEMAPHORE):
    """Let what is called so fail as it does where /dev/shm is missing."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(name, refuse)


def same(one, other):
    """Whether two nested states are equal to the last bit, but for the time that they took."""
    if torch.is_tensor(one):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            k == "seconds" or same(one[k], other[k]) for k in one
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def products(path):
    """All that a run leaves, but for run.json: name -> what it holds."""
    folder, found = RunFolder(path), {}
    for file in sorted(folder.path.rglob("*")):
        name = file.relative_to(folder.path).as_posix()
        if name in LOGS:
            found[name] = folder.rows(name)
        elif file.suffix == ".pt":
            found[name] = folder.load(file)
        elif file.is_file() and name not in (".lock", "run.json"):
            found[name] = file.read_bytes()
    return found
