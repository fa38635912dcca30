"""A run becomes shipped weights with a measured story."""

import json

import numpy as np
import pytest

import rwsa_tutorial as rt
from rwsa_tutorial import audio, shipping


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    rt.save_weights(rt.build_model("nano"), folder / "model.safetensors")
    (folder / "config.json").write_text(
        '[{"from_step": 0, "variant": "nano", "seed": 7}, {"from_step": 5, "seed": 7, "lr": 1}]'
    )
    rows = [
        {"step": 5, "hours": 0.1, "si_sdr_gain": 1},
        {"step": 9, "hours": 0.2, "si_sdr_gain": 2},
    ]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
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
    assert shipping.main([str(run), str(data), "--name", "n", "--test", "toy", *pair]) == 0
    story = json.loads((tmp_path / "shipped" / "weights" / "n.json").read_text())
    assert story["steps"] == 9 and story["hours"] == 0.2 and story["seed"] == 7
    first, second = story["command"]
    assert first.startswith("python -m") and first.endswith("--variant nano --seed 7")
    assert second.startswith("from step 5: python") and second.endswith("--lr 1 --change")
    assert story["data"] == [
        {"package": "a", "set": "speech", "minutes": 1.0, "licence": "CC0"},
        {"package": "b", "set": "noise", "minutes": 0.5, "licence": "GPL-2"},
    ]
    expected = 10 * np.log10(np.sum(clean**2) / np.sum((0.1 * rng.standard_normal(8000)) ** 2))
    assert story["scores"]["toy"]["files"] == 1
    assert abs(story["scores"]["toy"]["noisy"]["si_sdr"] - expected) < 0.5
    assert "si_sdr" in story["scores"]["toy"]["enhanced"]
    assert rt.load_pretrained("n").config == rt.VARIANTS["nano"]


def test_an_unfinished_run_is_refused_in_words(data, tmp_path, capsys):
    assert shipping.main([str(tmp_path / "none"), str(data), "--name", "n"]) == 2
    assert "no weights file" in capsys.readouterr().err
