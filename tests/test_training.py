"""Mixing and the trainer, on a folder of noise small enough to train in seconds."""

import json

import numpy as np
import pytest
import torch

from rwsa_tutorial import training
from rwsa_tutorial.corpora.packing import sounds
from rwsa_tutorial.weights import load_weights

RATE = 16_000
QUICK = {"frames": 12, "steps": 4, "outer_steps": 2, "every": 2, "valid": 1, "warmup": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten clips of each kind as the packing lays them out, every fifth for validation."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    clips = []
    for kind in ("speech", "noise"):
        waves = rng.integers(-20_000, 20_000, 10 * RATE, dtype=np.int16)
        np.save(folder / f"{kind}.npy", waves)
        for i in range(10):
            clips.append(
                {
                    "set": kind,
                    "package": "made-up",
                    "file": f"{kind}{i % 3}#{i}",
                    "speaker": f"voice{i % 3}",
                    "split": "valid" if i % 5 == 0 else "train",
                    "start": i * RATE,
                    "length": RATE,
                }
            )
    (folder / "index.json").write_text(json.dumps({"clips": clips}))
    return folder


def test_splits_do_not_share_a_clip(data):
    clips = {split: sounds(data, split)["speech"] for split in ("train", "valid")}
    starts = {split: {clip.start for clip in some} for split, some in clips.items()}
    assert len(starts["train"]) == 8 and len(starts["valid"]) == 2
    assert not starts["train"] & starts["valid"]
    assert {clip.group for clip in clips["train"]} == {f"made-up/voice{i}" for i in range(3)}


def test_packed_clips_are_read_out_of_the_flat_array(data):
    flat = np.load(data / "noise.npy") / 32768
    clip = sounds(data, "train")["noise"][2]
    assert (clip.start, clip.stop) == (3 * RATE, 4 * RATE)
    assert np.array_equal(clip.read(), flat[3 * RATE : 4 * RATE])
    assert np.array_equal(clip.read(100, 200), flat[3 * RATE + 100 : 3 * RATE + 200])
    assert len(clip.read(RATE - 10, RATE + 10)) == 10


def test_batch_is_levelled_and_meets_the_range_of_snrs(data):
    mixtures = training.mixtures(data, "train", 40, 8000)
    clean, noisy = training.batch_of(mixtures, range(40))
    assert clean.shape == (40, 8000)
    torch.testing.assert_close(noisy.square().mean(1), torch.ones(40))
    snr = 10 * torch.log10(clean.square().mean(1) / (noisy - clean).square().mean(1))
    assert -5.01 < snr.min() < 0 and 10 < snr.max() < 15.01


def weights_of(path):
    return [p.clone() for p in load_weights(path).parameters()]


def test_interrupted_and_resumed_is_the_same_run(data, tmp_path, monkeypatch):
    straight = weights_of(training.train(data, tmp_path / "straight", **QUICK))
    batch_of = training.batch_of

    def killed(examples, indices):
        if list(indices) == [3] and examples.samples != 4 * RATE:
            raise KeyboardInterrupt
        return batch_of(examples, indices)

    with monkeypatch.context() as patch:
        patch.setattr(training, "batch_of", killed)
        with pytest.raises(KeyboardInterrupt):
            training.train(data, tmp_path / "broken", **QUICK)
    assert len((tmp_path / "broken" / "log.jsonl").read_text().splitlines()) == 1
    resumed = weights_of(training.train(data, tmp_path / "broken", **QUICK))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
    rows = [json.loads(x) for x in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    left = {path.name for path in (tmp_path / "broken").iterdir()}
    assert left == {"config.json", "log.jsonl", "checkpoint.pt", "model.safetensors"}


def test_other_settings_continue_a_run_only_when_asked_and_are_kept(data, tmp_path):
    run = tmp_path / "run"
    training.train(data, run, **QUICK)
    longer = {**QUICK, "steps": 6, "si_sdr_weight": 0.1}
    with pytest.raises(ValueError, match="other settings"):
        training.train(data, run, **longer)
    training.train(data, run, **longer, change=True)
    history = json.loads((run / "config.json").read_text())
    assert [(h["from_step"], h["steps"], h["si_sdr_weight"]) for h in history] == [
        (0, 4, 0.0),
        (4, 6, 0.1),
    ]


def test_a_loss_that_is_not_finite_stops_with_its_name(data, tmp_path, monkeypatch):
    honest = training.enhancement_losses
    monkeypatch.setattr(
        training,
        "enhancement_losses",
        lambda *a: {**honest(*a), "wave": torch.tensor(float("nan"))},
    )
    with pytest.raises(ValueError, match=r"not finite at step 0 \(wave\)"):
        training.train(data, tmp_path / "run", **QUICK)


def test_command_says_what_is_missing(tmp_path, capsys):
    assert training.main([str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    assert "gather data first: python -m rwsa_tutorial.corpora.recorded" in capsys.readouterr().err
