"""Killed, resumed, refused: what a run folder is after whatever happened to it."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from small_runs import SMALL, pairs_of_a_second, without_seconds

import rwsa_tutorial as rt
from rwsa_tutorial import cli
from rwsa_tutorial.training import Config, RunFolder, train
from rwsa_tutorial.training.folder import LOGS

# with everything that has a state of its own: discriminator, PESQ on its way, average, dropout
FULL = SMALL | {"discriminator": True, "samples": 4000, "ema": 0.9, "steps": 20}
FULL |= {"log_every": 3, "valid_every": 10, "checkpoint_every": 5}

# kills itself while the checkpoint of step 15 is half written
KILLED = """
import multiprocessing, os, pathlib, signal, sys
from rwsa_tutorial.training import Config, train

honest = pathlib.Path.write_bytes
def half(path, content):
    if "0000015" in path.name:
        honest(path, bytes(content)[: len(content) // 2])
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(path, content)

if __name__ == "__main__":
    pathlib.Path.write_bytes = half
    train(Config.read(sys.argv[1]), sys.argv[2], progress=False)
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return pairs_of_a_second(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def four_steps(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(Config(**SMALL | {"data": pairs}), folder, progress=False)
    return folder


@pytest.fixture
def finished(four_steps, tmp_path):
    """A run of four steps, to be spoilt."""
    return RunFolder(shutil.copytree(four_steps, tmp_path / "run"))


def same(one, other):
    """Whether two nested states are equal to the last bit."""
    if torch.is_tensor(one):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def tensors(path):
    """What a weights file holds; its bytes may be in another order each time."""
    return dict(rt.load_weights(path).named_parameters())


def is_running(pid):
    """Whether this process is there and not only waiting to be buried."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_killed_and_resumed_is_bit_for_bit_the_run_that_was_not(pairs, tmp_path):
    settings, script = tmp_path / "settings.yaml", tmp_path / "killed.py"
    settings.write_text(Config(**FULL | {"data": pairs}).to_yaml())
    script.write_text(KILLED)
    straight, broken = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "broken")
    command = [sys.executable, script, settings, broken.path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr

    # the steps after 10 are lost, and nothing else; all there is can be read
    assert [path.stem for path in broken.checkpoints()] == ["step-0000005", "step-0000010"]
    assert [row["step"] for row in broken.rows("metrics.jsonl")] == [3, 6, 9, 12, 15]
    assert any(broken.path.glob("checkpoints/.*.part.pt"))
    for weights in (broken.best, broken.last):
        assert rt.load_weights(weights).config.channels == 4
    workers = [int(pid) for pid in done.stdout.split()]
    assert workers
    for _ in range(300):  # they find out by themselves
        if not any(map(is_running, workers)):
            break
        time.sleep(0.1)
    assert not any(map(is_running, workers))

    train(Config.read(settings), straight.path, progress=False)
    train(None, broken.path, resume=True, progress=False)
    for log in LOGS:
        assert without_seconds(broken.rows(log)) == without_seconds(straight.rows(log))
    assert [row["step"] for row in broken.rows("metrics.jsonl")] == [3, 6, 9, 12, 15, 18, 20]
    one, other = (folder.load(folder.checkpoints()[-1]) for folder in (straight, broken))
    assert one["step"] == 20 and {"model", "critic", "mean"} == set(one["networks"])
    for name in ("networks", "optimisers", "best"):
        assert same(one[name], other[name]), name
    assert same(tensors(straight.best), tensors(broken.best))
    assert same(tensors(straight.last), tensors(broken.last))
    assert [start["from_step"] for start in broken.starts()] == [0, 10]
    assert not [*broken.path.rglob(".*.part*")]


def test_resuming_puts_the_best_weights_back_and_cuts_the_logs(finished):
    before = finished.best.read_bytes()
    rows = {log: finished.rows(log) for log in LOGS}
    finished.best.write_bytes(b"of a step that will be done again")
    for log in LOGS:
        with open(finished.path / log, "a") as file:
            file.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
    train(None, finished.path, resume=True, progress=False)
    assert finished.best.read_bytes() == before
    assert {log: finished.rows(log) for log in LOGS} == rows


def test_a_longer_run_begins_like_a_shorter_one(pairs, finished, tmp_path):
    longer = Config(**SMALL | {"data": pairs, "steps": 6})
    train(longer, finished.path, resume=True, progress=False)
    train(longer, tmp_path / "straight", progress=False)
    straight = RunFolder(tmp_path / "straight")
    assert same(tensors(finished.last), tensors(straight.last))
    assert finished.config().steps == 6
    assert [path.stem for path in finished.checkpoints()] == ["step-0000004", "step-0000006"]


def test_resuming_what_was_never_begun_begins_it(pairs, tmp_path):
    config = Config(**SMALL | {"data": pairs, "steps": 1})
    assert train(config, tmp_path / "run", resume=True, progress=False).is_file()


def test_another_run_is_neither_overwritten_nor_continued_with_other_settings(
    finished, pairs, tmp_path
):
    def refused(folder, words, **settings):
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        resume = settings.pop("resume", False)
        with pytest.raises(ValueError, match=words):
            train(Config(**SMALL | {"data": pairs} | settings), folder, resume, progress=False)
        assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    refused(finished.path, r"already holds a run \(at step 4\): go on with it by --resume")
    refused(
        finished.path,
        r"other settings \(lr, loss.metric\)",
        resume=True,
        lr=1e-5,
        loss={"metric": 0},
        workers=3,
    )
    refused(
        finished.path,
        r"other settings \(steps, schedule\)",
        resume=True,
        schedule="cosine",
        steps=9,
    )
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear all")
    refused(tmp_path / "home", "is not empty and holds no run")
    with finished.held(), pytest.raises(ValueError, match="another process is training"):
        train(None, finished.path, resume=True, progress=False)


def test_another_number_of_processes_is_refused(finished):
    newest = finished.checkpoints()[-1]
    torch.save(torch.load(newest, weights_only=True) | {"processes": 2}, newest)
    with pytest.raises(ValueError, match="was trained by 2 processes; go on with as many, not 1"):
        train(None, finished.path, resume=True, progress=False)


def test_an_unreadable_checkpoint_is_named(finished):
    finished.checkpoints()[-1].write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="step-0000004.pt cannot be read.*the one before"):
        train(None, finished.path, resume=True, progress=False)


def test_a_full_disk_is_told_in_words_and_keeps_what_was_there(pairs, tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text(Config(**SMALL | {"data": pairs, "steps": 2}).to_yaml())
    command = [sys.executable, "-m", "rwsa_tutorial.cli", "train", "--run", tmp_path / "run"]
    # no file may grow beyond this; the small ones fit, a checkpoint does not
    limit = "import resource, runpy, signal, sys;"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000));"
    limit += "sys.argv = sys.argv[1:];"
    limit += "runpy.run_module('rwsa_tutorial.cli', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", limit, *map(str, command[2:]), "--config", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "NUMBA_CACHE_DIR": ""}
    )
    assert done.returncode == 2, done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.startswith("rwsa train: step-0000002.pt could not be written to")
    assert "File too large. There is no checkpoint yet: make room and go on by --resume." in told
    folder = RunFolder(tmp_path / "run")
    assert folder.begun() and not folder.checkpoints() and folder.rows("metrics.jsonl")
    assert cli.main(["train", "--run", str(folder.path), "--resume", "--device", "cpu"]) == 0
    assert "best weights are in" in capsys.readouterr().out
    assert len(folder.checkpoints()) == 1
