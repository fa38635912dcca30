"""A run becomes shipped weights with a measured story."""

import json
import sys

import numpy as np
import pytest
import torch

import rwsa_tutorial as rt
from rwsa_tutorial import audio
from rwsa_tutorial.making import shipping
from rwsa_tutorial.training import Config, RunFolder


@pytest.fixture
def run(tmp_path, data):
    folder = RunFolder(tmp_path / "run")
    rt.save_weights(rt.build_model("nano"), folder.best)
    facts = {"from_step": 0, "processes": 1, "data": {"name": "data", "licence": "many"}}
    folder.begin(Config(data=str(data), seed=7, discriminator=False), facts)
    scores = {"pesq": 2.0, "si_sdr": 9.0, "noisy_pesq": 1.5, "noisy_si_sdr": 5.0}
    for step, best in ((5, True), (9, True), (12, False)):
        row = {"step": step, "best": best, "seconds": 360.0 * step}
        folder.append("validation.jsonl", row | scores)
    return folder


@pytest.fixture
def data(tmp_path):
    clips = [
        {"set": "speech", "package": "a", "split": "train", "length": 16_000 * 60},
        {"set": "speech", "package": "a", "split": "valid", "length": 16_000 * 60},
        {"set": "noise", "package": "b", "split": "train", "length": 16_000 * 30},
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    index = {"sample_rate": 16_000, "licences": {"a": "CC0", "b": "GPL-2"}, "clips": clips}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_the_story_is_read_and_measured(run, data, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    clean = rng.standard_normal(8000) * 0.1
    for kind, wave in (("clean", clean), ("noisy", clean + 0.1 * rng.standard_normal(8000))):
        (tmp_path / kind).mkdir()
        audio.write(tmp_path / kind / "x.wav", wave.astype(np.float32), 16_000, "FLOAT")
    monkeypatch.setenv("RWSA_DATA", str(tmp_path / "shipped"))
    pair = [str(tmp_path / "clean"), str(tmp_path / "noisy")]
    assert shipping.main([str(run.path), "--name", "n", "--test", "toy", *pair]) == 0
    story = json.loads((tmp_path / "shipped" / "weights" / "n.json").read_text())
    assert story["steps"] == 9 and story["hours"] == 0.9 and story["seed"] == 7
    assert Config.of({**story["settings"], "data": str(data)}) == run.config()
    assert story["settings"]["data"] == "data"
    assert str(tmp_path) not in json.dumps(story)
    assert "torch" in story["machine"] and story["versions"]["torch"] == torch.__version__
    assert story["validation"]["noisy_si_sdr"] == 5.0
    assert story["data"] == [
        {"package": "a", "set": "speech", "minutes": 1.0, "licence": "CC0"},
        {"package": "b", "set": "noise", "minutes": 0.5, "licence": "GPL-2"},
    ]
    expected = 10 * np.log10(np.sum(clean**2) / np.sum((0.1 * rng.standard_normal(8000)) ** 2))
    assert story["scores"]["toy"]["files"] == 1
    assert abs(story["scores"]["toy"]["noisy"]["si_sdr"] - expected) < 0.5
    assert "si_sdr" in story["scores"]["toy"]["enhanced"]
    assert rt.load_pretrained("n").config == rt.VARIANTS["nano"]


@pytest.mark.filterwarnings("ignore:PESQ is not installed")
def test_a_score_that_no_file_has_is_shipped_as_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    for kind, level in (("clean", 0.1), ("noisy", 0.2)):
        (tmp_path / kind).mkdir()
        wave = level * np.sin(np.arange(8000) / 5) + 0.01 * np.cos(np.arange(8000) * level)
        audio.write(tmp_path / kind / "x.wav", wave, 16_000)
    (scores,) = shipping.test_scores(
        None, [("toy", tmp_path / "clean", tmp_path / "noisy")]
    ).values()
    assert scores["files"] == 1 and scores["noisy"]["pesq"] is None
    assert 10 < scores["noisy"]["si_sdr"] < 30


def test_a_corpus_is_named_with_its_licence(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    rt.save_weights(rt.build_model("nano"), folder.best)
    facts = {"processes": 1, "data": {"name": "mini-vb", "licence": "Apache-2.0"}}
    folder.begin(Config(), facts)
    row = {"step": 1, "best": True, "seconds": 1.0, "pesq": None, "si_sdr": 1.0}
    folder.append("validation.jsonl", row | {"noisy_pesq": None, "noisy_si_sdr": 0.0})
    story = shipping.provenance(folder, [], rt.load_weights(folder.best))
    assert story["data"] == [facts["data"]] and story["scores"] == {}


def test_the_runs_before_are_told_of(run, data, tmp_path, monkeypatch):
    later = RunFolder(tmp_path / "later")
    config = Config(data=str(data), start=str(run.best), seed=8)
    rt.save_weights(rt.build_model("nano"), later.best)
    later.begin(config, {"processes": 1, "data": {"name": "data", "licence": ""}})
    row = {"step": 2, "best": True, "seconds": 360.0, "pesq": 1.5, "si_sdr": 1.0}
    later.append("validation.jsonl", row | {"noisy_pesq": None, "noisy_si_sdr": 0.0})
    monkeypatch.setenv("RWSA_DATA", str(tmp_path / "shipped"))
    assert shipping.main([str(later.path), "--name", "n", "--before", str(run.path)]) == 0
    story = json.loads((tmp_path / "shipped" / "weights" / "n.json").read_text())
    assert (story["steps"], story["seed"], story["hours"]) == (2, 8, 0.1)
    (earlier,) = story["before"]
    assert (earlier["steps"], earlier["seed"], earlier["hours"]) == (9, 7, 0.9)
    assert story["settings"]["start"] == "best.safetensors"


def test_the_last_weights_are_shipped_when_asked_for(run, tmp_path, monkeypatch):
    torch.manual_seed(5)
    rt.save_weights(rt.build_model("nano"), run.last)
    row = {"step": 12, "best": False, "seconds": 4320.0, "pesq": 1.0, "si_sdr": 2.0}
    run.append("validation.jsonl", row | {"noisy_pesq": 1.0, "noisy_si_sdr": 5.0})
    monkeypatch.setenv("RWSA_DATA", str(tmp_path / "shipped"))
    for words, weights, steps in ((["--last"], run.last, 12), ([], run.best, 9)):
        assert shipping.main([str(run.path), "--name", "n", *words]) == 0
        shipped = tmp_path / "shipped" / "weights" / "n.safetensors"
        assert shipped.read_bytes() == weights.read_bytes()
        story = json.loads(shipped.with_suffix(".json").read_text())
        assert (story["steps"], story["validation"]["si_sdr"] == 2.0) == (steps, steps == 12)
    assert run.last.read_bytes() != run.best.read_bytes()


def test_an_unfinished_run_is_refused_in_words(run, tmp_path, capsys):
    assert shipping.main([str(tmp_path / "none"), "--name", "n"]) == 2
    assert "no weights file" in capsys.readouterr().err
    (run.path / "run.json").rename(tmp_path / "kept.json")
    assert shipping.main([str(run.path), "--name", "n"]) == 2
    assert "has no run.json" in capsys.readouterr().err
    (tmp_path / "kept.json").rename(run.path / "run.json")
    (run.path / "validation.jsonl").unlink()
    assert shipping.main([str(run.path), "--name", "n"]) == 2
    assert "has not been validated yet" in capsys.readouterr().err


def test_paths_are_cut_down_to_names():
    story = {
        "command": ["cli.py train --config=/a/b/x.yaml --run runs/a/n --set lr=0.1", "~/d/e.py"],
        "data": {"speech": "/data/speech", "noise": r"C:\data\noise", "more": "mini-vb"},
        "steps": 3,
    }
    assert shipping.without_folders(story) == {
        "command": ["cli.py train --config=x.yaml --run runs/a/n --set lr=0.1", "e.py"],
        "data": {"speech": "speech", "noise": "noise", "more": "mini-vb"},
        "steps": 3,
    }
