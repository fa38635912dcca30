"""Killed, resumed, refused: what a run folder is after whatever happened to it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from small_runs import SMALL, pairs_of_a_second, products, quick, same

import rwsa_tutorial as rt
from rwsa_tutorial import cli
from rwsa_tutorial.training import Config, RunFolder, stopping, train, validation

# with everything that has a state of its own: discriminator, PESQ on its way, average, dropout
FULL = SMALL | {"discriminator": True, "samples": 4000, "ema": 0.9, "steps": 20}
FULL |= {"log_every": 3, "valid_every": 10, "checkpoint_every": 5}

# kills itself when half of a file is written, which would get this name
KILLED = """
import multiprocessing, os, signal, sys
from rwsa_tutorial.training import Config, train

honest = os.replace
def replace(part, path):
    if path.name == sys.argv[3]:
        os.truncate(part, os.path.getsize(part) // 2)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(part, path)

if __name__ == "__main__":
    os.replace = replace
    train(Config.read(sys.argv[1]), sys.argv[2], resume=True, progress=False)
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return pairs_of_a_second(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def quickly(monkeypatch):
    quick(monkeypatch)


@pytest.fixture(scope="module")
def four_steps(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        train(Config(**SMALL | {"data": pairs}), folder, progress=False)
    return folder


@pytest.fixture
def finished(four_steps, tmp_path, quickly):
    """A run of four steps, to be spoilt."""
    return RunFolder(shutil.copytree(four_steps, tmp_path / "run"))


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

    def killed(file):
        command = [sys.executable, script, settings, broken.path, file]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        return [int(pid) for pid in done.stdout.split()]

    workers = killed("step-0000015.pt")
    # the steps after 10 are lost, and nothing else; all there is can be read
    assert [path.stem for path in broken.checkpoints()] == ["step-0000005", "step-0000010"]
    assert [row["step"] for row in broken.rows("metrics.jsonl")] == [3, 6, 9, 12, 15]
    assert any(broken.path.glob("checkpoints/.*.part.pt"))
    for weights in (broken.best, broken.last):
        assert rt.load_weights(weights).config.channels == 4
    assert workers
    for _ in range(300):  # they find out by themselves
        if not any(map(is_running, workers)):
            break
        time.sleep(0.1)
    assert not any(map(is_running, workers))

    killed("last.safetensors")  # while it goes on
    train(None, broken.path, resume=True, progress=False)
    assert [start["from_step"] for start in broken.starts()] == [0, 10, 10]
    train(Config.read(settings), straight.path, progress=False)
    found, expected = products(broken.path), products(straight.path)
    assert found.keys() == expected.keys()
    for name in expected:
        assert same(found[name], expected[name]), name
    assert [row["step"] for row in broken.rows("metrics.jsonl")] == [3, 6, 9, 12, 15, 18, 20]
    end = found["checkpoints/step-0000020.pt"]
    assert end["step"] == 20 and {"model", "critic", "mean"} == set(end["networks"])


def test_resuming_makes_every_file_what_the_checkpoint_says(finished):
    before = products(finished.path)
    for weights in (finished.best, finished.last):
        weights.write_bytes(b"of another step")
    (finished.path / "metrics.jsonl").write_text('{"step": 5, "loss": 1.0}\n')
    (finished.path / "validation.jsonl").write_text("null\n")
    (finished.path / "curves.png").unlink()
    (finished.path / "example" / "clean.flac").rename(finished.path / "example/step-0000005.flac")
    strangers = [finished.path / "checkpoints/step-final.pt", finished.path / "example/step-x.flac"]
    for stranger in strangers:
        stranger.write_text("not of this run")
    train(None, finished.path, resume=True, progress=False)
    for stranger in strangers:
        assert stranger.read_text() == "not of this run"
        stranger.unlink()
    after = products(finished.path)
    assert before.keys() - after.keys() == {"example/clean.flac"}  # nothing else has it
    assert all(same(before[name], after[name]) for name in after)


def test_a_longer_run_begins_like_a_shorter_one(pairs, finished, tmp_path):
    longer = Config(**SMALL | {"data": pairs, "steps": 6})
    train(longer, finished.path, resume=True, progress=False)
    train(longer, tmp_path / "straight", progress=False)
    straight = RunFolder(tmp_path / "straight")
    assert finished.last.read_bytes() == straight.last.read_bytes()
    assert finished.config().steps == 6
    assert [path.stem for path in finished.checkpoints()] == ["step-0000004", "step-0000006"]


def test_resuming_what_was_never_begun_begins_it(pairs, tmp_path, quickly):
    config = Config(**SMALL | {"data": pairs, "steps": 1})
    assert train(config, tmp_path / "run", resume=True, progress=False).is_file()


def test_a_run_that_fails_while_it_validates_has_lost_no_step(
    pairs, tmp_path, monkeypatch, quickly
):
    config = Config(**SMALL | {"data": pairs, "steps": 3, "checkpoint_every": 9})
    train(config, tmp_path / "straight", progress=False)
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="it went away"):
        patch.setattr(
            validation, "enhance", lambda *_, **__: exec('raise ValueError("it went away")')
        )
        train(config, folder.path, progress=False)
    assert [path.stem for path in folder.checkpoints()] == ["step-0000002"]
    assert not folder.rows("validation.jsonl")
    train(None, folder.path, resume=True, progress=False)
    assert same(products(folder.path), products(tmp_path / "straight"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_state_and_says_how_to_go_on(pairs, tmp_path, capsys, number, quickly):
    class Terminated(BaseException):
        pass

    def ask(step, row):
        if step == 1:
            signal.raise_signal(number)

    def end(*_):
        raise Terminated

    config, folder = Config(**FULL | {"data": pairs, "steps": 3}), RunFolder(tmp_path / "run")
    config = config.changed(["log_every=1"])
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Terminated if number == signal.SIGTERM else KeyboardInterrupt):
            train(config, folder.path, progress=False, callback=ask)
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    told = capsys.readouterr().err
    assert "stopped at step 1. The last good checkpoint is" in told and "go on by --resume" in told
    assert [path.stem for path in folder.checkpoints()] == ["step-0000001"]
    # saving changes nothing: neither in the network nor in what the discriminator learns from
    train(None, folder.path, resume=True, progress=False)
    train(config, tmp_path / "straight", progress=False)
    straight = RunFolder(tmp_path / "straight")
    ends = [run.load(run.checkpoints()[-1]) for run in (folder, straight)]
    assert same(*ends) and ends[0]["step"] == 3 and ends[0]["processes"][0]["unscored"]


def test_a_second_ctrl_c_acts_at_once():
    with stopping.Stopping() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.noted == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with stopping.Stopping(patient=True):  # what launches many processes passes it on again
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.Stopping() as asked:
            signal.raise_signal(signal.SIGINT)
            assert not asked.noted
    finally:
        signal.signal(signal.SIGINT, ignored)


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
    state = torch.load(newest, weights_only=True)
    torch.save(state | {"processes": 2 * state["processes"]}, newest)
    with pytest.raises(ValueError, match="was trained by 2 processes; go on with as many, not 1"):
        train(None, finished.path, resume=True, progress=False)


# -- damage --------------------------------------------------------------------------------------


def changed(change):
    """How to spoil a checkpoint: by a change of its state."""

    def spoil(path):
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)

    return spoil


def flipped(path):
    content = bytearray(path.read_bytes())
    at = content.index(torch.load(path, weights_only=True)["best_file"].numpy().tobytes()) + 99
    content[at] ^= 1
    path.write_bytes(content)


def first(state, part):
    """The first tensor's place: (dict, key)."""
    inner = state[part]["model"]
    return (inner[0], "exp_avg") if part == "optimisers" else (inner, next(iter(inner)))


SPOILT = {
    "nonsense": (lambda path: path.write_bytes(b"nonsense"), "File is not a zip file"),
    "cut": (lambda path: os.truncate(path, path.stat().st_size // 2), "File is not a zip file"),
    "emptied": (lambda path: os.truncate(path, 0), "File is not a zip file"),
    "a flipped bit": (flipped, "the checksum of archive/data/"),
    "renamed": (lambda path: shutil.copyfile(path.with_stem("step-0000002"), path), "at step 4"),
    "a list": (lambda path: torch.save([1], path), "at step 4"),
    "no optimiser": (changed(lambda s: s["optimisers"].pop("model")), "it has no 'model'"),
    "no moment": (
        changed(lambda s: s["optimisers"]["model"].pop(3)),
        r"knows \d+ of \d+ parameters",
    ),
    "another moment": (
        changed(lambda s: first(s, "optimisers")[0].update(exp_avg=torch.ones(9))),
        r"exp_avg of the optimiser's parameter 0 is \(9,\)",
    ),
    "no networks": (changed(lambda s: s.pop("networks")), "it has no 'networks'"),
    "no tensor": (changed(lambda s: s["networks"]["model"].pop("after_mag.weight")), "Missing key"),
    "another shape": (
        changed(lambda s: s["networks"]["model"].update({"after_mag.weight": torch.ones(2)})),
        "size mismatch for after_mag.weight",
    ),
    "a text": (changed(lambda s: s.update(seconds="many")), "seconds is 'many'"),
    "a step of text": (changed(lambda s: s.update(step="4")), "at step 4"),
    "a null row": (changed(lambda s: s["rows"]["metrics.jsonl"].append(None)), "it is None"),
    "no best": (changed(lambda s: s.update(best=None)), "NoneType"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(finished, capsys, spoil):
    spoil, words = spoil
    before, newest = products(finished.path), finished.checkpoints()[-1]
    spoil(newest)
    content = newest.read_bytes()
    train(None, finished.path, resume=True, progress=False)
    told = capsys.readouterr().err
    assert re.search(
        rf"step-0000004.pt is damaged \(.*{words}.*: put aside. Going on from .*02.pt", told
    )
    aside = newest.with_suffix(".damaged")
    assert aside.read_bytes() == content
    aside.unlink()
    assert same(products(finished.path), before)
    assert [start["from_step"] for start in finished.starts()] == [0, 2]


def test_without_a_whole_checkpoint_nothing_is_begun_anew(finished):
    for path in finished.checkpoints():
        path.write_bytes(b"nonsense")
    before = {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="04.pt is damaged.*02.pt is damaged.*no checkpoint to go"):
        train(None, finished.path, resume=True, progress=False)
    assert before == {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    for path in finished.checkpoints():
        path.unlink()
    with pytest.raises(ValueError, match="holds weights but no checkpoint to go on from"):
        train(None, finished.path, resume=True, progress=False)


@pytest.mark.parametrize("end", ["variant:", "data:", "lr: "])
def test_settings_that_were_cut_are_refused_and_may_be_given_anew(pairs, finished, end):
    path, before = finished.path / "config.yaml", products(finished.path)
    text = path.read_text()
    path.write_text(text[: text.index(end)])
    left = path.read_bytes()
    with pytest.raises(ValueError, match="config.yaml: a run's own settings.*lr, betas.*missing"):
        train(None, finished.path, resume=True, progress=False)
    own = {**SMALL, "data": pairs}
    with pytest.raises(ValueError, match=r"04.pt is of a run with other settings \(lr\)"):
        train(Config(**own | {"lr": 1e-5}), finished.path, resume=True, progress=False)
    assert path.read_bytes() == left
    train(Config(**own), finished.path, resume=True, progress=False)
    assert same(products(finished.path), before)


def test_settings_that_were_changed_by_hand_are_refused(finished):
    path = finished.path / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.002", "lr: 0.003"))
    with pytest.raises(ValueError, match=r"04.pt is of a run with other settings \(lr\)"):
        train(None, finished.path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("log", "line", "words"),
    [
        ("metrics.jsonl", "null", "it is None"),
        ("metrics.jsonl", "[1]", r"it is \[1\]"),
        ("metrics.jsonl", '{"step": 3, "loss', "Unterminated string"),
        ("metrics.jsonl", '{"step": "3", "loss": 1.0, "seconds": 1.0}', "its step is '3'"),
        ("metrics.jsonl", '{"loss": 1.0, "seconds": 1.0}', "its step is None"),
        (
            "metrics.jsonl",
            '{"step": 3, "loss": 1.0, "seconds": 1.0, "wave": "x"}',
            "its wave is 'x'",
        ),
        ("validation.jsonl", '{"step": 3, "best": null, "seconds": 1.0}', "its best is None"),
    ],
)
def test_a_damaged_row_of_a_log_is_named(finished, log, line, words):
    rows = finished.rows(log)
    finished.append(log, rows[-1])
    with open(finished.path / log, "a") as file:
        file.write(line)
    # a last line cut short, as a full disk leaves it, does not count
    assert finished.rows(log) == [*rows, rows[-1]]
    with open(finished.path / log, "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=f"{log}, line {len(rows) + 2}, is damaged \\({words}"):
        finished.rows()


@pytest.mark.parametrize("text", ["", "[", "{}", "[null]"])
def test_a_damaged_story_is_named(finished, text):
    (finished.path / "run.json").write_text(text)
    with pytest.raises(ValueError, match="run.json is damaged: mend it, or delete it"):
        train(None, finished.path, resume=True, progress=False)


# -- full disks ----------------------------------------------------------------------------------


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
