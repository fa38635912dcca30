"""Killed at any moment: what resumes is the run that was never stopped, to the last bit.

A run is watched while it trains. Before each operation that changes a file its folder is copied:
as a kill at this moment would have left it. Each copy is then resumed.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from small_runs import SMALL, pairs_of_a_second, products, quick, same

from rwsa_tutorial.model import VARIANTS
from rwsa_tutorial.training import Config, RunFolder, train

watch = None  # what is called before each operation


def _before(event, arguments):
    if watch is not None and event in ("open", "os.rename", "os.remove", "os.mkdir"):
        watch(event, arguments)


sys.addaudithook(_before)  # Python has no way to take it back, thus the variable


class Watched:
    """While entered, `folder` is copied to `copies`/NUMBER before it changes."""

    def __init__(self, folder, copies):
        self.folder, self.copies, self.operations = Path(folder), Path(copies), []

    def __enter__(self):
        global watch
        watch = self._look
        return self

    def __exit__(self, *error):
        global watch
        watch = None
        self._copy("end")

    def _look(self, event, arguments):
        if not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return  # an open file
        path = Path(os.fsdecode(arguments[-3] if event == "os.rename" else arguments[0]))
        if self.folder not in (path, *path.parents):
            return
        # what is written beside its place counts when it is renamed
        adds = event == "open" and arguments[2] & os.O_APPEND
        if event == "os.rename" or adds or path.exists() == (event == "os.remove"):
            if event != "open" or adds:
                self._copy(f"{event} {path.relative_to(self.folder)}")

    def _copy(self, operation):
        global watch
        watch, before = None, watch
        if self.folder.exists():
            shutil.copytree(self.folder, self.copies / str(len(self.operations)))
            self.operations.append(operation)
        watch = before

    def all_copies(self):
        """(operation, folder as it was before it) for each."""
        return [(name, self.copies / str(i)) for i, name in enumerate(self.operations)]


class TwoNumbers(torch.nn.Module):
    """A network that is quick to make, to train and to write: a gain, and a turn of the phase."""

    config = VARIANTS["nano"]

    def __init__(self):
        super().__init__()
        self.gain, self.turn = (torch.nn.Parameter(torch.rand(())) for _ in range(2))

    def forward(self, mag, phase):
        mag, phase = mag * self.gain, phase + self.turn
        return mag, phase, torch.stack([mag * phase.cos(), mag * phase.sin()], dim=-1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quick(monkeypatch)
    monkeypatch.setattr(Config, "build_model", lambda config: TwoNumbers())


@pytest.fixture
def config(tmp_path):
    # a validation beside a checkpoint and one at the end, an average, a checkpoint let go
    settings = {"steps": 3, "valid_every": 2, "checkpoint_every": 1, "ema": 0.9}
    return Config(**SMALL | settings | {"data": pairs_of_a_second(tmp_path / "pairs")})


def resumed(config, folder, expected, operation):
    train(config, folder, resume=True, progress=False)
    found = products(folder)
    assert found.keys() == expected.keys(), operation
    for name in expected:
        assert same(found[name], expected[name]), f"{name}, killed before {operation}"


def test_killed_before_any_operation_a_run_resumes_to_the_same_bits(config, tmp_path):
    with Watched(tmp_path / "run", tmp_path / "copies") as watched:
        train(config, tmp_path / "run", progress=False)
    expected = products(tmp_path / "run")
    assert {"best.safetensors", "last.safetensors", "curves.png", "config.yaml"} < set(expected)
    assert {"example/clean.flac", "example/noisy.flac"} < set(expected)
    copies = watched.all_copies()
    assert len(copies) > 30
    for operation, folder in copies:
        if not RunFolder(folder).begun():
            RunFolder(folder).check(config, resume=False)  # a new run may begin here, too
        resumed(config, folder, expected, operation)


def test_killed_while_it_resumes_it_resumes_again(config, tmp_path):
    class Killed(BaseException):
        pass

    def kill(step, row):
        if step == 3:
            raise Killed

    train(config, tmp_path / "straight", progress=False)
    run = tmp_path / "run"
    with pytest.raises(Killed):
        train(config, run, callback=kill, progress=False)
    # of a later step, and of a process that is gone: all of it is to be put right
    (run / "last.safetensors").write_bytes(b"newer")
    (run / "best.safetensors").write_bytes(b"newer")
    shutil.copyfile(run / "example" / "clean.flac", run / "example" / "step-0000003.flac")
    shutil.copyfile(run / "run.json", run / ".0.0.part.json")
    with pytest.raises(Killed), Watched(run, tmp_path / "copies") as watched:
        train(config, run, resume=True, callback=kill, progress=False)
    expected = products(tmp_path / "straight")
    copies = watched.all_copies()
    assert len(copies) > 8
    for operation, folder in copies:
        resumed(config, folder, expected, operation)
