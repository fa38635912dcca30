"""The example pairs in data/examples: complete, level, mixed as their index says, licensed."""

import json

import numpy as np
import pytest
import soundfile

from rwsa_tutorial.making import examples, noises, spoken
from rwsa_tutorial.paths import data_path

FOLDER = data_path("examples")
INDEX = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
PAIRS = {pair["name"]: pair for pair in INDEX["pairs"]}


def read(kind, name):
    path = FOLDER / kind / f"{name}.flac"
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    return soundfile.read(path)[0]


def test_index_and_files_name_each_other():
    assert 4 <= len(PAIRS) == len(INDEX["pairs"])
    for kind in ("clean", "noisy"):
        assert sorted(path.stem for path in (FOLDER / kind).iterdir()) == sorted(PAIRS)
    assert [pair["name"] for pair in INDEX["pairs"]] == [e.name for e in examples.EXAMPLES]


def test_index_says_what_the_recipe_says():
    for example in examples.EXAMPLES:
        pair = PAIRS[example.name]
        for key in ("voice", "language", "text", "noise", "snr_db", "seed"):
            assert pair[key] == getattr(example, key), (example.name, key)


@pytest.mark.parametrize("name", PAIRS)
def test_pair_is_mixed_as_the_index_says(name):
    pair, clean, noisy = PAIRS[name], read("clean", name), read("noisy", name)
    assert clean.shape == noisy.shape
    assert len(clean) / 16000 == pytest.approx(pair["seconds"], abs=1e-3)
    assert 3.5 <= pair["seconds"] <= 7
    snr = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
    assert snr == pytest.approx(pair["snr_db"], abs=0.1)
    assert 0 <= pair["snr_db"] <= 10


@pytest.mark.parametrize("name", PAIRS)
def test_levels_are_healthy(name):
    clean, noisy = read("clean", name), read("noisy", name)
    assert 10 * np.log10(np.mean(clean**2)) == pytest.approx(-26, abs=0.1)
    assert max(np.abs(clean).max(), np.abs(noisy).max()) < 0.95
    frames = clean[: len(clean) // 320 * 320].reshape(-1, 320)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    # Speech with pauses: loud and quiet frames lie far apart, and most frames are speech.
    assert np.percentile(level, 95) - np.percentile(level, 5) > 30
    assert np.mean(level > -45) > 0.6


@pytest.mark.parametrize(
    "name", [name for name, pair in PAIRS.items() if pair["noise"] not in ("cafe", "babble")]
)
def test_noise_can_be_made_again_from_its_seed(name):
    pair, clean, noisy = PAIRS[name], read("clean", name), read("noisy", name)
    rng = np.random.default_rng(pair["seed"])
    made = examples.background(pair["noise"], len(clean), None, rng)
    got = noises.unit(noisy - clean)
    # What is left is the rounding of two files to 16 bit.
    assert np.sqrt(np.mean((got - made) ** 2)) < 2e-3


def test_no_voice_of_the_examples_is_a_training_voice():
    assert {pair["voice"] for pair in PAIRS.values()} <= set(spoken.EXAMPLE_VOICES)
    assert not set(examples.TALKERS) & set(spoken.EXAMPLE_VOICES)


def test_a_mixture_that_would_clip_is_refused():
    rng = np.random.default_rng(0)
    speech, click = rng.standard_normal(16000), np.zeros(16000)
    click[500] = 1.0
    with pytest.raises(ValueError, match="would clip at 0.0 dB"):
        examples.mix_pair(speech, click, 0.0)


def test_unknown_noise_is_refused_in_words():
    with pytest.raises(ValueError, match="there is no noise 'jungle'.*cafe"):
        examples.background("jungle", 100, None, np.random.default_rng(0))


def test_licence_is_named_and_the_folder_is_small():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "Apache License 2.0" in text and "Kokoro-82M" in text
    assert INDEX["licence"] == "Apache-2.0"
    total = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert total < 1_000_000
