"""Settings, data and the training loop, on runs of a few steps."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml
from matplotlib import pyplot
from small_runs import (
    EXAMPLES,
    NETWORK,
    SEMAPHORE,
    SMALL,
    DirectScorer,
    pairs_of_a_second,
    quick,
    refuse_shared_memory,
)

import rwsa_tutorial as rt
from rwsa_tutorial import audio, cli, losses, plotting
from rwsa_tutorial.corpora.packed import sounds
from rwsa_tutorial.scores.metrics import pesq
from rwsa_tutorial.training import (
    Config,
    NotFinite,
    RunFolder,
    folder,
    learner,
    overfit,
    train,
    trainer,
    validation,
)
from rwsa_tutorial.training.data import (
    batches_of,
    check_data,
    corpus_of,
    examples,
    validation_pairs,
)
from rwsa_tutorial.training.scorer import Scorer

RATE = 16_000


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return pairs_of_a_second(tmp_path_factory.mktemp("pairs"))


def weights_of(path):
    return list(rt.load_weights(path).parameters())


# -- settings ------------------------------------------------------------------------------------


def test_settings_survive_yaml_and_the_papers_recipe_is_the_default(tmp_path):
    config = Config(data={"speech": "a", "noise": "b"}, epoch_steps=7, loss={"metric": 0})
    path = tmp_path / "settings.yaml"
    path.write_text(config.to_yaml())
    assert Config.read(path) == config and config.loss["phase"] == 0.3
    paper = Config()
    assert (paper.lr, paper.betas, paper.weight_decay) == (5e-4, (0.8, 0.99), 0.01)
    assert (paper.lr_decay, paper.batch, paper.samples, paper.clip) == (0.99, 8, 30_600, 0)
    path.write_text("lr: 5e-4\nsteps: 1e3\n")  # YAML itself takes both for words
    assert Config.read(path, ["loss.si_sdr=0.1", "snr_db=[0, 5]"]) == Config(
        steps=1000, loss={"si_sdr": 0.1}, snr_db=(0.0, 5.0)
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stepps: 3", "there is no setting 'stepps'; did you mean 'steps'?"),
        ("loss: {fase: 1}", "no weight of the loss 'fase'; did you mean 'phase'?"),
        ("network: {chanels: 8}", "no part of the network 'chanels'; did you mean 'channels'?"),
        (
            "variant: nanoo",
            "choose from nano, xs, s, m, lab; did you mean 'nano'?",
        ),
        ("zebra: 3", "there is no setting 'zebra'; there are variant, sharing"),
        ("steps: many", "steps is 'many'; it must be a whole number"),
        ("steps: 2.5", "steps is 2.5; it must be a whole number"),
        ("steps: true", "steps is True; it must be a whole number"),
        ("attention: 1", "attention is 1; it must be true or false"),
        ("lr: fast", "lr is 'fast'; it must be a number"),
        ("lr: 0", "lr is 0.0; it must be above 0"),
        ("lr: .inf", "lr is inf; it must be a finite number"),
        ("network: {channels: 1000000000}", "channels must be a whole number up to 1024"),
        ("ema: 1", "ema is 1.0; it must be from 0 below 1"),
        ("keep_noise: 1", "keep_noise is 1.0; it must be from 0 below 1"),
        ("betas: [0.9]", "betas is [0.9]; it must be 2 numbers in brackets"),
        ("loss: 3", "loss is 3; it must be lines of `name: value`"),
        ("loss: {wave: -1}", "loss.wave is -1.0; a weight cannot be negative"),
        ("samples: 1000", "PESQ, which the discriminator learns from, needs 4000"),
        ("sharing: all", "sharing must be one of rwsa, block, none"),
        ("data: {speech: a}", "data has the folders speech; give speech and noise, or"),
        ("- steps", "settings are lines of `name: value`"),
        ("steps: [", "settings.yaml: while parsing"),
    ],
)
def test_settings_that_make_no_sense_are_told_in_words(tmp_path, line, words):
    path = tmp_path / "settings.yaml"
    path.write_text(line)
    with pytest.raises(ValueError) as caught:
        Config.read(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


# -- data ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
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


def test_splits_do_not_share_a_clip(packed):
    clips = {split: sounds(packed, split)["speech"] for split in ("train", "valid")}
    starts = {split: {clip.start for clip in some} for split, some in clips.items()}
    assert len(starts["train"]) == 8 and len(starts["valid"]) == 2
    assert not starts["train"] & starts["valid"]
    assert {clip.group for clip in clips["train"]} == {f"made-up/voice{i}" for i in range(3)}


def test_packed_clips_are_read_out_of_the_flat_array(packed):
    flat = np.load(packed / "noise.npy") / 32768
    clip = sounds(packed, "train")["noise"][2]
    assert (clip.start, clip.stop) == (3 * RATE, 4 * RATE)
    assert np.array_equal(clip.read(), flat[3 * RATE : 4 * RATE])
    assert np.array_equal(clip.read(100, 200), flat[3 * RATE + 100 : 3 * RATE + 200])
    assert len(clip.read(RATE - 10, RATE + 10)) == 10


def test_every_kind_of_data_gives_examples_and_other_pairs_to_validate_on(packed, pairs):
    kinds = (str(packed), pairs, {"speech": pairs["clean"], "noise": pairs["noisy"]})
    for data, epoch in zip(kinds, (8, 5, 5), strict=True):
        config = Config(**SMALL | {"data": data, "valid_pairs": 2, "snr_db": [0, 0]})
        corpus = corpus_of(config)
        dataset, length = examples(corpus, config, 6)
        assert len(dataset) == 6 and length == epoch
        clean, noisy = dataset[5]
        assert clean.shape == noisy.shape == (1320,)
        if data != pairs:  # mixed anew, so at the SNR that was asked for
            snr = clean.square().sum() / (noisy - clean).square().sum()
            assert snr.item() == pytest.approx(1, abs=1e-3)
        for pair in validation_pairs(corpus, config):
            clean, noisy, rate = pair.read()
            assert clean.shape == noisy.shape and rate == RATE
    train_part, valid = corpus_of(Config(data=pairs)).splits.values()
    assert not {p.name for p in train_part} & {p.name for p in valid}


def test_rooms_are_heard_in_speech_and_noise_alike():
    settings = Config.of({**SMALL, "data": "mini-vb", "snr_db": [0, 0]})
    dry, wet = (
        examples(corpus_of(settings), settings.changed([f"rooms={share}"]), 4)[0]
        for share in (0, 1)
    )
    for number in range(4):
        (clean, noisy), (clean_wet, noisy_wet) = dry[number], wet[number]
        assert clean.shape == clean_wet.shape
        for plain, roomy in ((clean, clean_wet), (noisy - clean, noisy_wet - clean_wet)):
            alike = torch.corrcoef(torch.stack([plain, roomy]))[0, 1]
            assert alike < 0.999


def test_a_corpus_that_could_be_mixed_gives_its_ready_pairs_when_asked():
    config = Config(mix_anew=False, samples=4000)
    corpus = corpus_of(config)
    assert len(validation_pairs(corpus, config)) == config.valid_pairs
    dataset, length = examples(corpus, config, 3)
    assert length == len(corpus.pairs("train")) and type(dataset).__name__ == "Segments"
    assert type(examples(corpus, Config(), 3)[0]).__name__ == "Mixtures"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("mini-vbb", "there is no corpus 'mini-vbb'"),
        ("mini-dns", "has no split 'train'"),
        ({"speech": "nowhere", "noise": "nowhere"}, "There is no folder nowhere"),
    ],
)
def test_data_that_are_not_there_are_told_in_words(tmp_path, data, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        train(Config(**SMALL | {"data": data}), tmp_path / "run")


def write_wave(path, wave, rate=RATE):
    audio.write(path, np.asarray(wave), rate, "FLOAT")


SOUND = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
BAD = {
    "slow": (lambda path: write_wave(path, SOUND[:8000], 8000), "has 8000 Hz, not 16000"),
    "wide": (lambda path: write_wave(path, np.stack([SOUND, SOUND], 1)), "2 channels"),
    "text": (lambda path: path.write_text("dear all"), "cannot be read as audio"),
    "short": (lambda path: write_wave(path, SOUND[:99]), "99 samples"),
}
DAMAGED = np.arange(RATE) == 9999
BAD_INSIDE = {
    "nan": (lambda path: write_wave(path, np.where(DAMAGED, np.nan, SOUND)), "NaN"),
    "loud": (lambda path: write_wave(path, np.where(DAMAGED, 1e30, SOUND)), "holds 1e+30"),
}


def no_samples(path):
    soundfile.SoundFile(path, "w", RATE, 1, "FLOAT").close()


def folders(path, count):
    for kind in ("clean", "noisy"):
        (path / kind).mkdir(parents=True)
        for number in range(count):
            write_wave(path / kind / f"{number:02}.wav", SOUND)
    return {"clean": str(path / "clean"), "noisy": str(path / "noisy")}


def spoil_unchecked(write, path, monkeypatch):
    with monkeypatch.context() as patch:  # our own writer refuses NaN
        for room in ("waves", "writing"):
            patch.setattr(f"rwsa_tutorial.audio.{room}.check_finite", lambda *_: None)
        write(path)


@pytest.mark.parametrize(
    ("places", "bad"),
    [((19, 39), BAD | BAD_INSIDE), ((3, 4), BAD)],
    ids=["to validate", "to learn"],
)
def test_all_bad_files_are_named_before_the_first_step(tmp_path, monkeypatch, places, bad):
    data = folders(tmp_path, 41)  # of which every twentieth is to validate on
    noisy, clean = (
        tmp_path / kind / f"{place:02}.wav"
        for kind, place in zip(("noisy", "clean"), places, strict=True)
    )
    no_samples(clean)
    for name, (write, words) in bad.items():
        spoil_unchecked(write, noisy, monkeypatch)
        with pytest.raises(ValueError) as caught:
            train(Config(**SMALL | {"data": data, "valid_pairs": 9}), tmp_path / "run")
        told = str(caught.value)
        assert told.startswith("2 of the data cannot be used: "), name
        assert str(noisy) in told and words in told and str(clean) in told, name
        assert not (tmp_path / "run").exists()


def test_clips_without_samples_are_no_examples(tmp_path, packed):
    data = folders(tmp_path, 3)
    no_samples(tmp_path / "noisy" / "00.wav")
    mixed = {"speech": data["clean"], "noise": data["noisy"]}
    with pytest.raises(ValueError, match="1 of the data cannot be used: .*noisy.00.wav"):
        train(Config(**SMALL | {"data": mixed}), tmp_path / "run", progress=False)
    corpus = corpus_of(Config(**SMALL | {"data": str(packed)}))
    (clip, *more) = corpus.sounds["train"]["noise"]
    corpus.sounds["train"]["noise"] = (dataclasses.replace(clip, stop=clip.start), *more)
    with pytest.raises(ValueError, match="noise.npy has no samples between 16000 and 16000"):
        check_data(corpus, Config(**SMALL | {"data": str(packed)}))


@pytest.mark.parametrize(("what", "workers"), [("nan", 0), ("loud", 0), ("loud", 1)])
def test_damage_inside_a_training_file_is_named_when_it_comes_up(
    tmp_path, monkeypatch, what, workers
):
    quick(monkeypatch)
    write, words = BAD_INSIDE[what]
    data = folders(tmp_path, 4)
    config = Config(**SMALL | {"data": data, "checkpoint_every": 9, "workers": workers})
    dataset, _ = examples(corpus_of(config), config, 4)
    path = dataset.pairs[dataset._number(0, 2)].noisy  # of the third step
    spoil_unchecked(write, path, monkeypatch)
    with pytest.raises(ValueError) as caught:
        train(config.changed(["valid_every=9"]), tmp_path / "run", progress=False)
    told = str(caught.value)
    assert told.startswith(f"no example for step 3: {path} ") and words in told
    assert "The last good checkpoint is" in told and "step-0000002.pt" in told


def test_processes_share_the_examples_of_a_doubled_batch():
    half, whole = Config(**SMALL | {"accumulate": 3}), Config(**SMALL | {"batch": 2})
    shares = [batches_of(half, 2, 2, rank) for rank in (0, 1)]
    together = sorted(i for share in shares for batch in share for i in batch)
    assert together == list(range(12, 24))  # of steps 2 and 3, six examples each
    alone = batches_of(whole, 0, 1, 0)
    both = [batches_of(Config(**SMALL), 0, 2, rank) for rank in (0, 1)]
    assert [list(b) for b in alone] == [[*a, *b] for a, b in zip(*both, strict=True)]


# -- the loop ------------------------------------------------------------------------------------


def test_a_run_leaves_the_folder_it_promises(pairs, tmp_path):
    seen = []
    config = Config(**SMALL | {"data": pairs, "ema": 0.5})
    best = train(config, tmp_path / "run", callback=lambda *x: seen.append(x), progress=False)
    folder = RunFolder(tmp_path / "run")
    names = {str(p.relative_to(folder.path)) for p in folder.path.rglob("[!.]*") if p.is_file()}
    assert names == {
        *("config.yaml", "run.json", "metrics.jsonl", "validation.jsonl", "curves.png"),
        *("best.safetensors", "last.safetensors"),
        *("checkpoints/step-0000002.pt", "checkpoints/step-0000004.pt"),
        *("example/clean.flac", "example/noisy.flac"),
        *("example/step-0000002.flac", "example/step-0000004.flac"),
    }
    assert folder.config() == config and best == folder.best
    (start,) = folder.starts()
    assert start["from_step"] == 0 and start["versions"]["torch"] and start["data"]["name"]
    metrics = folder.rows("metrics.jsonl")
    assert [row["step"] for row in metrics] == [1, 2, 3, 4]
    expected = sum(config.loss[n] * metrics[-1][n] for n in config.loss if n != "metric")
    assert metrics[-1]["loss"] == pytest.approx(expected, rel=1e-5)
    assert "metric" not in metrics[0] and metrics[0]["lr"] == config.lr
    kept = [row for row in folder.rows("validation.jsonl") if row["best"]]
    assert kept and all(row["noisy_pesq"] for row in kept)
    assert [step for step, _ in seen] == [1, 2, 2, 3, 4, 4] and seen[1][1] == metrics[1]
    fig, axes = plotting.training_curves(folder.rows())
    assert len(axes[0].lines) >= 6 and all(len(ax.lines) >= 2 for ax in axes[1:])
    pyplot.close(fig)
    state = folder.load(folder.checkpoints()[-1])["networks"]  # the average is what is kept
    mean, now = state["mean"]["mask_decoder.slope"], state["model"]["mask_decoder.slope"]
    last = rt.load_weights(folder.last).mask_decoder.slope
    assert torch.equal(last, mean) and not torch.equal(mean, now)


def test_validation_scores_are_those_of_the_metrics(pairs, tmp_path):
    config = Config(**SMALL | {"data": pairs, "steps": 2, "valid_pairs": 3})
    train(config, tmp_path / "run", progress=False)
    (row,) = RunFolder(tmp_path / "run").rows("validation.jsonl")
    clean, noisy, rate = validation_pairs(corpus_of(config), config)[0].read()
    assert row["noisy_pesq"] == pytest.approx(pesq(clean, noisy), abs=0.01)
    scores = rt.score(clean, noisy, rate, ["si_sdr"])
    assert row["noisy_si_sdr"] == pytest.approx(scores["si_sdr"], abs=1e-4)
    enhanced = rt.enhance(noisy, rate, rt.load_weights(tmp_path / "run" / "best.safetensors"))
    assert row["si_sdr"] == pytest.approx(rt.score(clean, enhanced, rate, ["si_sdr"])["si_sdr"])


def test_a_batch_or_as_many_accumulated_teach_the_same(pairs, tmp_path):
    losses, lengths = [], []
    for settings in ({"batch": 2}, {"accumulate": 2}):
        # Adam lets differences of rounding grow by as much as the rate
        config = Config(**SMALL | {"data": pairs, "steps": 3, "lr": 2e-5} | settings)
        train(config, tmp_path / next(iter(settings)), progress=False)
        rows = RunFolder(tmp_path / next(iter(settings))).rows("metrics.jsonl")
        losses.append([row["loss"] for row in rows])
        lengths.append([row["gradient"] for row in rows])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert lengths[0] == pytest.approx(lengths[1], rel=0.03)  # a mean, not a sum


def test_workers_that_prepare_examples_change_nothing(pairs, tmp_path):
    losses = []
    for workers in (0, 1):
        data = {"speech": pairs["clean"], "noise": pairs["noisy"]}
        config = Config(**SMALL | {"data": data, "steps": 2, "workers": workers})
        train(config, tmp_path / str(workers), progress=False)
        rows = RunFolder(tmp_path / str(workers)).rows("metrics.jsonl")
        losses.append([row["loss"] for row in rows])
    assert losses[0] == losses[1]


def test_the_unet_waits_for_the_outer_part_and_the_precision_can_be_halved(pairs, tmp_path):
    config = Config(**SMALL | {"data": pairs, "outer_steps": 2, "precision": "bfloat16"})
    train(config, tmp_path / "run", progress=False)
    state = torch.load(tmp_path / "run" / "checkpoints" / "step-0000002.pt", weights_only=True)
    torch.manual_seed(config.seed)
    fresh = config.build_model().state_dict()
    for name, value in state["networks"]["model"].items():
        if name.startswith("after_"):
            assert not value.any()
        else:
            outer = name.startswith(("encoder", "mask_decoder", "phase_decoder"))
            assert outer or torch.equal(value, fresh[name]), name
    end = rt.load_weights(tmp_path / "run" / "last.safetensors")
    assert end.after_mag.weight.any()
    rows = RunFolder(tmp_path / "run").rows("metrics.jsonl")
    assert all(math.isfinite(row["loss"]) for row in rows)


def test_a_run_can_begin_with_the_weights_of_another(pairs, tmp_path):
    config = {**SMALL, "data": pairs, "steps": 2}
    first = train(Config.of(config), tmp_path / "first", progress=False)
    again = {**config, "start": str(first), "lr": 1e-12, "weight_decay": 0.0}
    second = train(Config.of(again), tmp_path / "second", progress=False)
    for before, after in zip(weights_of(first), weights_of(second), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=1e-9)
    other = {**again, "network": {**NETWORK, "channels": 8}}
    with pytest.raises(ValueError, match="another network than the settings ask for"):
        train(Config.of(other), tmp_path / "third", progress=False)
    with pytest.raises(FileNotFoundError, match="no weights are shipped for 'nona'"):
        train(Config.of({**again, "start": "nona"}), tmp_path / "fourth", progress=False)


def test_noise_may_be_left_in_what_the_network_is_to_give(pairs, tmp_path, monkeypatch):
    seen = []

    def watch(output, mag, phase, wave):
        seen.append(wave)
        return losses.enhancement_losses(output, mag, phase, wave)

    monkeypatch.setattr(learner, "enhancement_losses", watch)
    for share in (0, 0.25):
        config = Config(**SMALL | {"data": pairs, "steps": 1, "keep_noise": share})
        train(config, tmp_path / str(share), progress=False)
    clean, noisy = examples(corpus_of(config), config, count=1)[0][0]
    torch.testing.assert_close(seen[0][0], clean, rtol=0, atol=0)
    torch.testing.assert_close(seen[1][0], 0.75 * clean + 0.25 * noisy)


def test_the_rate_falls_and_warms_up_as_written():
    paper = Config(lr=1.0, lr_decay=0.5)
    assert [learner.rate(paper, step, 10) for step in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]
    ours = Config(lr=1.0, schedule="cosine", warmup=4, outer_steps=50, steps=100)
    rates = [learner.rate(ours, step, 10) for step in range(100)]
    assert rates[0] == 0.25 and rates[3] == pytest.approx(0.998, abs=1e-3)
    assert rates[50] == pytest.approx(0.125) and rates[99] < 1e-3
    assert all(a > b for a, b in zip(rates[54:], rates[55:], strict=False))


def test_the_discriminator_learns_from_pesq_and_a_failed_one_is_left_out(
    pairs, tmp_path, monkeypatch
):
    asked = []

    class Direct(DirectScorer):
        """PESQ of the first example always fails, that of the others is 2.75."""

        def submit(self, clean, enhanced):
            asked.append((clean.shape, enhanced.shape))
            return None if len(asked) % 2 else 2.75

        def results(self, futures):
            return futures

    goals = []
    honest = learner.discriminator_loss
    monkeypatch.setattr(trainer, "Scorer", Direct)
    monkeypatch.setattr(
        learner, "discriminator_loss", lambda a, b, goal: goals.append(goal) or honest(a, b, goal)
    )
    settings = {"data": pairs, "discriminator": True, "samples": 4000, "batch": 2, "steps": 3}
    train(Config(**SMALL | settings | {"valid_every": 9}), tmp_path / "run", progress=False)
    rows = RunFolder(tmp_path / "run").rows("metrics.jsonl")
    assert rows[0]["discriminator"] is None  # always one step late
    assert rows[1]["discriminator"] > 0 and rows[1]["metric"] > 0
    assert len(goals) == 2  # of the last step, nobody learns any more
    for goal in goals:
        assert goal[0].isnan() and goal[1].item() == pytest.approx(0.5)


def test_pesq_in_another_process_is_pesq():
    clean, noisy = (audio.read(EXAMPLES / kind / "fan.flac")[0] for kind in ("clean", "noisy"))
    with Scorer(1) as scorer:
        waves = [(3 * clean, 3 * noisy), (clean, np.zeros_like(clean)), (clean, noisy * np.nan)]
        futures = [scorer.submit(*pair) for pair in waves]
        found = scorer.results(futures)
        processes = list(scorer._pool._processes.values())
    assert found[0] == pytest.approx(pesq(clean, noisy), abs=0.01)
    assert found[1:] == [None, None]
    assert processes and not any(process.is_alive() for process in processes)


def test_where_pesq_is_missing_the_si_sdr_decides(pairs, tmp_path, monkeypatch, capsys):
    quick(monkeypatch)
    scores = iter([9.0, 5.0, 7.0, 6.0])  # the first are those of the noisy recordings
    monkeypatch.setattr(validation, "si_sdr", lambda *_: next(scores))
    monkeypatch.setattr(trainer.Scorer, "submit", lambda *_: None)
    monkeypatch.setattr(trainer.Scorer, "results", lambda self, futures: futures)
    monkeypatch.setattr(validation, "pesq_is_installed", lambda: False)
    config = Config(**SMALL | {"data": pairs, "steps": 3, "valid_every": 1})
    train(config, tmp_path / "run", progress=True)
    rows = RunFolder(tmp_path / "run").rows("validation.jsonl")
    assert [row["best"] for row in rows] == [True, True, False]
    assert [row["pesq"] for row in rows] == [None] * 3
    told = capsys.readouterr()
    assert "PESQ is not installed here: SI-SDR decides which weights are the best." in told.err
    assert "step 2: PESQ – (noisy –), SI-SDR 7.00 (noisy 9.00); the best so far" in told.out
    needs = {"data": pairs, "discriminator": True, "samples": 4000}
    with pytest.raises(ValueError, match="learns from PESQ, which is not installed.*pip install"):
        train(Config(**SMALL | needs), tmp_path / "other", progress=False)


def test_versions_of_what_is_not_installed_are_none(monkeypatch):
    monkeypatch.setattr(folder, "VERSIONS", ("torch", "no-such-package"))
    found = folder.provenance()["versions"]
    assert found["torch"] == torch.__version__ and found["no-such-package"] is None


# torch's loader stumbles, where it could not begin, over its own end
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("scorer", "refused", "words"),
    [
        (Scorer, SEMAPHORE, "processes that compute PESQ cannot be started"),
        (DirectScorer, "torch.Tensor.share_memory_", "what is known of the pairs cannot be shared"),
        (DirectScorer, SEMAPHORE, "processes for examples cannot be started; workers: 0"),
    ],
)
def test_without_shared_memory_the_error_says_what_for(
    pairs, tmp_path, monkeypatch, scorer, refused, words
):
    quick(monkeypatch)
    monkeypatch.setattr(trainer, "Scorer", scorer)
    refuse_shared_memory(monkeypatch, refused)
    with pytest.raises(ValueError, match=rf"{words}.*\(.*Read-only.*that processes.*/dev/shm"):
        train(Config(**SMALL | {"data": pairs, "workers": 1}), tmp_path / "run", progress=False)


def test_a_scoring_process_that_ends_is_told_in_words():
    with Scorer(1) as scorer:
        future = scorer._pool.submit(os._exit, 1)
        with pytest.raises(ValueError, match="ended by itself.*if __name__ =="):
            scorer.results([future])


@pytest.mark.parametrize(
    ("where", "words"), [("wave", r"the loss \(wave\)"), ("slope", "the gradient")]
)
def test_nan_stops_with_step_term_and_last_good_checkpoint(
    pairs, tmp_path, monkeypatch, capsys, where, words
):
    honest, calls = learner.enhancement_losses, []

    def poisoned(*arguments):
        calls.append(1)
        terms = honest(*arguments)
        if len(calls) == 4:
            # a finite loss of infinite slope spoils the weights, not the loss
            bad = math.nan if where == "wave" else 0 * (terms["wave"] * 0).sqrt()
            terms["wave"] = terms["wave"] + bad
        return terms

    monkeypatch.setattr(learner, "enhancement_losses", poisoned)
    path = tmp_path / "settings.yaml"
    path.write_text(Config(**SMALL | {"data": pairs, "log_every": 10}).to_yaml())
    command = ["train", "--config", str(path), "--run", str(tmp_path / "run"), "--device", "cpu"]
    assert cli.main(command) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(NotFinite, match=f"{words} is not finite at step 4.*step-0000002.pt"):
        raise NotFinite(told)
    assert not (tmp_path / "run" / "checkpoints" / "step-0000004.pt").exists()


def test_a_term_without_weight_may_be_infinite(pairs, tmp_path, monkeypatch):
    quick(monkeypatch)
    honest = learner.enhancement_losses
    monkeypatch.setattr(
        learner, "enhancement_losses", lambda *x: honest(*x) | {"snr": torch.tensor(math.inf)}
    )
    train(Config(**SMALL | {"data": pairs, "steps": 1}), tmp_path / "run", progress=False)
    (row,) = RunFolder(tmp_path / "run").rows("metrics.jsonl")
    assert row["snr"] is None and math.isfinite(row["loss"])
    config = Config(**SMALL | {"data": pairs, "steps": 1, "loss": {"snr": 1}})
    with pytest.raises(NotFinite, match=r"the loss \(snr\) is not finite at step 1"):
        train(config, tmp_path / "other", progress=False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give the folder of the run: --run DIR."),
        (["--run", "r"], "give the settings: --config FILE"),
        (["--run", "r", "--config", "none.yaml"], "There is no settings file none.yaml."),
        (["--run", "r", "--set", "loss.fase=1"], "did you mean 'phase'?"),
        (["--run", "r", "--set", "steps"], "'steps' is no name=value."),
        (["--run", "r", "--set", "steps.x=1"], "steps holds no further settings."),
        (["--run", "r", "--set", "data=mini-vbb"], "there is no corpus 'mini-vbb'"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *words]) == 2
    assert told in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_the_command_prints_settings_to_begin_with(tmp_path, capsys):
    assert cli.main(["train", "--defaults", "--set", "variant=xs", "--set", "loss.metric=0"]) == 0
    path = tmp_path / "settings.yaml"
    path.write_text(capsys.readouterr().out)
    assert Config.read(path) == Config(variant="xs", loss={"metric": 0})


# -- many processes, and by heart ----------------------------------------------------------------


def test_two_processes_learn_what_one_learns_from_a_doubled_batch(pairs, tmp_path):
    settings = SMALL | {"data": pairs, "steps": 6, "valid_every": 6, "valid_pairs": 2}
    settings |= {"lr": 2e-5}  # Adam lets differences of rounding grow by as much
    train(Config(**settings | {"batch": 2}), tmp_path / "one", progress=False)
    path = tmp_path / "half.yaml"
    path.write_text(yaml.safe_dump(settings))
    launch = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1"
    launch += " --mixed_precision no --dynamo_backend no --main_process_port 0"
    command = [sys.executable, *launch.split(), "-m", "rwsa_tutorial.cli", "train"]
    command += ["--config", path, "--run", tmp_path / "two", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    assert [start["processes"] for start in two.starts()] == [2]
    for log, names in (
        ("metrics.jsonl", ("loss", "magnitude", "phase", "wave", "lr")),
        ("validation.jsonl", ("pesq", "noisy_si_sdr")),
    ):
        alone, together = one.rows(log), two.rows(log)
        assert len(alone) == len(together) > 0
        for a, b in zip(alone, together, strict=True):
            assert [a[n] for n in names] == pytest.approx([b[n] for n in names], abs=1e-4)
    # Adam does not mind whether gradients were averaged or added up; their length shows it
    lengths = [[row["gradient"] for row in folder.rows("metrics.jsonl")] for folder in (one, two)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.03)


def test_nano_learns_half_a_second_by_heart():
    part = slice(RATE, RATE + RATE // 2)
    clean, noisy = (audio.read(EXAMPLES / k / "keyboard.flac")[0][part] for k in ("clean", "noisy"))
    torch.manual_seed(0)
    model = rt.build_model("nano")
    rows = overfit(model, clean, noisy, steps=60, progress=False)
    assert rows[0]["si_sdr"] < 5 and rows[-1]["si_sdr"] > 15
    assert [row["step"] for row in rows] == list(range(len(rows)))
    with pytest.raises(ValueError, match="of one shape"):
        overfit(model, clean, noisy[:-1])


def test_the_small_network_is_small():
    assert Config(network=NETWORK).build_model().config.levels == 2
    count = sum(p.numel() for p in Config(network=NETWORK).build_model().parameters())
    assert count < 15_000
