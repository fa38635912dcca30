"""Examples to train with: the same for every number of workers, level, short clips, long files."""

import os

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from rwsa_tutorial import audio
from rwsa_tutorial.corpora.corpus import Clip, Pair, Recipe
from rwsa_tutorial.corpora.mixing import loudness, mix
from rwsa_tutorial.training import datasets
from rwsa_tutorial.training.datasets import Mixtures, Segments, throughput

RATE = 16_000
SAMPLES = 4_000


def sound(path, seconds, seed, level=0.1, **how):
    """A file of noise that is another one everywhere, so that a place in it can be told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = level * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE))
    soundfile.write(path, wave, RATE, **how)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Six clips of speech by three voices as Opus, three noises as FLAC; one of each is short."""
    root = tmp_path_factory.mktemp("sounds")
    opus = {"format": "OGG", "subtype": "OPUS"}
    speech = [
        Clip(sound(root / f"{i}.ogg", 0.2 if i == 5 else 0.6, i, **opus), f"voice{i % 3}")
        for i in range(6)
    ]
    noise = [
        Clip(sound(root / f"{i}.flac", 0.1 if i == 2 else 1.0, 10 + i), f"kind{i}")
        for i in range(3)
    ]
    return {"speech": speech, "noise": noise}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Seven pairs of files, the last shorter than a crop, and one by recipe."""
    root = tmp_path_factory.mktemp("pairs")
    found = []
    for i in range(7):
        seconds = 0.1 if i == 6 else 0.5 + 0.1 * i
        clean = sound(root / "clean" / f"{i}.wav", seconds, i, level=0.05)
        noisy = sound(root / "noisy" / f"{i}.flac", seconds, 20 + i, level=0.05 * (i + 1))
        found.append(Pair(str(i), clean, noisy))
    noise = sound(root / "noise.flac", 2, 99)
    return (*found, Pair("mixed", found[3].clean, Recipe(noise, 500, 5.0)))


def same(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second) > 0
    return all(
        torch.equal(a, b)
        for x, y in zip(first, second, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def both(sounds, pairs, seed):
    rooms = [np.ones(1), 0.5 ** np.arange(20)]
    yield Mixtures(
        **sounds,
        examples=24,
        samples=SAMPLES,
        seed=seed,
        second_noise=0.5,
        speech_tilt_db=3,
        noise_tilt_db=6,
        speech_rooms=rooms,
    )
    yield Segments(pairs, SAMPLES, seed, examples=24)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
def test_the_sequence_is_the_same_on_every_number_of_workers_and_after_resuming(sounds, pairs):
    for number, dataset in enumerate(both(sounds, pairs, seed=3)):
        straight = list(DataLoader(dataset, batch_size=4))
        assert [x.shape for x in straight[0]] == 2 * [(4, SAMPLES)]
        assert straight[0][0].dtype == straight[0][1].dtype == torch.float32
        again = list(both(sounds, pairs, seed=3))[number]
        for workers in (1, 4):
            loader = DataLoader(again, batch_size=4, num_workers=workers)
            assert same(straight, loader), workers
        resumed = DataLoader(again, batch_size=4, sampler=range(8, 24), num_workers=2)
        assert same(straight[2:], resumed)
        other = list(both(sounds, pairs, seed=4))[number]
        assert not any(torch.equal(dataset[i][1], other[i][1]) for i in range(24))


def test_the_order_of_access_and_the_length_do_not_matter(sounds, pairs):
    for number, dataset in enumerate(both(sounds, pairs, seed=5)):
        forth = [dataset[i] for i in range(24)]
        other = list(both(sounds, pairs, seed=5))[number]
        assert same(forth, [other[i] for i in range(23, -1, -1)][::-1])
        assert len({noisy.numpy().tobytes() for _, noisy in forth}) == 24
        with pytest.raises(IndexError, match="no example 24; there are 24"):
            dataset[24]
        with pytest.raises(IndexError):
            dataset[-1]
    assert same(forth[:8], Segments(pairs, SAMPLES, 5))


def test_mixtures_have_the_networks_level_and_snrs_over_the_whole_range(sounds):
    dataset = Mixtures(**sounds, examples=60, samples=SAMPLES, snr_db=(-3, 12))
    clean, noisy = (torch.stack(x).double() for x in zip(*dataset, strict=True))
    assert noisy.square().mean(1).numpy() == pytest.approx(1, abs=1e-5)
    snr = 10 * torch.log10(clean.square().mean(1) / (noisy - clean).square().mean(1))
    assert -3.01 < snr.min() < 0 and 9 < snr.max() < 12.01


def test_mixtures_by_loudness(sounds):
    dataset = Mixtures(**sounds, examples=3, samples=RATE, snr_db=(4, 4), ratio="loudness")
    for clean, noisy in dataset:
        clean, noisy = clean.double().numpy() / 50, noisy.double().numpy() / 50
        got = loudness(clean, RATE) - loudness(noisy - clean, RATE)
        assert got == pytest.approx(4, abs=0.05)


def test_groups_are_drawn_by_the_root_of_their_amount(tmp_path):
    path = sound(tmp_path / "a.wav", 4, 0)
    known = [
        Clip(path, "long", 0, 3 * RATE),
        Clip(path, "long", 0, RATE),
        Clip(path, "short", 0, RATE),
    ]
    by_count = [Clip(path, "many")] * 9 + [Clip(path, "one")]
    dataset = Mixtures(known, by_count, 1)
    assert dataset.shares["speech"] == pytest.approx([2 / 3, 1 / 3])
    assert dataset.shares["noise"] == pytest.approx([3 / 4, 1 / 4])


def test_short_clips_lie_anywhere_in_the_crop(tmp_path):
    speech = Clip(sound(tmp_path / "s.wav", 0.1, 0, level=1), "s")
    noise = Clip(sound(tmp_path / "n.wav", 2, 1), "n", RATE // 2, RATE)
    dataset = Mixtures([speech], [noise], 30, SAMPLES)
    firsts = []
    for clean, _ in dataset:
        heard = clean.nonzero()[:, 0]
        assert heard[-1] - heard[0] < 1600
        firsts.append(int(heard[0]))
    assert min(firsts) < 600 and max(firsts) > 1800


def test_a_crop_lies_within_its_clip(tmp_path):
    wave = np.concatenate([np.zeros(RATE), 0.5 * np.ones(RATE), np.zeros(RATE)])
    audio.write(tmp_path / "a.wav", wave, RATE)
    noise = Clip(sound(tmp_path / "n.wav", 2, 1), "n")
    for last in (2 * RATE, None):
        dataset = Mixtures([Clip(tmp_path / "a.wav", "a", RATE, last)], [noise], 20, SAMPLES)
        whole = [bool((clean > 0).all()) for clean, _ in dataset]
        assert all(whole) if last else not all(whole)


def test_pauses_are_drawn_again_and_pure_silence_ends(tmp_path):
    wave = np.zeros(20 * RATE)
    wave[10 * RATE :] = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * RATE)
    audio.write(tmp_path / "half.wav", wave, RATE)
    audio.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    noise = [Clip(sound(tmp_path / "n.wav", 2, 1), "n")]
    for clean, _ in Mixtures([Clip(tmp_path / "half.wav", "half")], noise, 40, SAMPLES):
        assert clean.abs().max() > 0.01
    silent = [Clip(tmp_path / "silent.wav", "silent")]
    clean, noisy = Mixtures(silent, noise, 1, SAMPLES)[0]
    assert not clean.any() and noisy.square().mean() == pytest.approx(1)
    clean, noisy = Mixtures(silent, silent, 1, SAMPLES)[0]
    assert not clean.any() and not noisy.any()


def test_rooms_reverberate_speech_and_target_alike_and_keep_their_place(tmp_path):
    click = np.zeros(RATE)
    click[::SAMPLES] = 0.9
    audio.write(tmp_path / "click.wav", click, RATE, "PCM_24")
    room = np.concatenate([np.zeros(50), [1.0], np.zeros(99), [0.5]])  # an echo 100 samples later
    noise = Clip(sound(tmp_path / "n.wav", 2, 1), "n")
    plain = Mixtures(
        [Clip(tmp_path / "click.wav", "c")], [noise], 5, SAMPLES, snr_db=(60, 60), pause_db=-60
    )
    roomy = Mixtures(
        [Clip(tmp_path / "click.wav", "c")],
        [noise],
        5,
        SAMPLES,
        snr_db=(60, 60),
        pause_db=-60,
        speech_rooms=[room],
    )
    for i in range(5):
        dry, wet = plain[i][0], roomy[i][0]
        place = int(dry.argmax())
        assert int(wet.argmax()) == place or place >= SAMPLES - 100
        if place < SAMPLES - 100:
            assert wet[place + 100] / wet[place] == pytest.approx(0.5, abs=1e-4)
        noisy = roomy[i][1]
        assert (noisy - wet).square().mean() / wet.square().mean() == pytest.approx(1e-6, rel=0.01)


def test_segments_are_crops_of_their_pair_with_the_gain_of_the_whole(pairs):
    dataset = Segments(pairs, SAMPLES, seed=1, examples=3 * len(pairs))
    seen = []
    for clean, noisy in dataset:
        for number, pair in enumerate(pairs):
            whole, loud, _ = pair.read()
            level = np.sqrt(len(loud) / np.sum(loud.astype(float) ** 2))
            whole, loud = level * whole, level * loud
            at = np.flatnonzero(np.isclose(whole, clean[clean != 0][0], rtol=1e-5))
            first = int(clean.nonzero()[0])
            for place in at:
                n = min(len(whole) - place, SAMPLES - first)
                if np.allclose(whole[place : place + n], clean[first : first + n], atol=1e-5):
                    np.testing.assert_allclose(
                        loud[place : place + n], noisy[first : first + n], atol=1e-5
                    )
                    assert n == SAMPLES or (len(whole) < SAMPLES and n >= len(whole) - 2)
                    if isinstance(pair.noisy, Recipe) == np.isnan(float(dataset.gains[number])):
                        seen.append(number)
    passes = [sorted(seen[i : i + len(pairs)]) for i in range(0, len(seen), len(pairs))]
    assert passes == 3 * [list(range(len(pairs)))]
    assert seen[: len(pairs)] != seen[len(pairs) : 2 * len(pairs)]


def test_workers_share_the_gains_they_have_found(pairs):
    dataset = Segments(pairs, SAMPLES)
    list(DataLoader(dataset, num_workers=2, batch_size=None))
    assert dataset.gains.isnan().tolist() == 7 * [False] + [True]  # the last is mixed whole


def long_file(path, hours=1):
    """An hour of a WAV file that takes no room: all but 10 s at the start is a hole."""
    soundfile.write(path, 0.1 * np.ones(10 * RATE), RATE)
    n = hours * 3600 * RATE
    header = bytearray(path.read_bytes()[:44])
    header[4:8], header[40:44] = (36 + 2 * n).to_bytes(4, "little"), (2 * n).to_bytes(4, "little")
    with open(path, "r+b") as file:
        file.write(header)
        file.truncate(44 + 2 * n)
    return path


def bytes_read():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="bytes are counted by Linux")
def test_of_long_files_only_the_crop_is_read(tmp_path):
    path = long_file(tmp_path / "long.wav")
    assert soundfile.info(path).frames == 3600 * RATE
    dataset = Mixtures([Clip(path, "a")], [Clip(path, "b")], 5, pause_db=-np.inf)
    dataset[0]
    before = bytes_read()
    for i in range(1, 5):
        dataset[i]
    assert bytes_read() - before < 4 * 2 * 100_000 < path.stat().st_size / 100

    segments = Segments([Pair("long", path, path)], examples=5)
    before = bytes_read()
    segments[0]
    assert bytes_read() - before > path.stat().st_size  # once, for the gain
    before = bytes_read()
    segments[1]
    assert bytes_read() - before < 2 * 100_000


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("no clips of speech", {"speech": []}),
        ("no clips of noise", {"noise": []}),
        ("examples is 0", {"examples": 0}),
        ("samples is -1", {"samples": -1}),
        ("seed is -1", {"seed": -1}),
        (r"snr_db is \(5, -5\)", {"snr_db": (5, -5)}),
    ],
)
def test_settings_that_make_no_sense_are_refused(sounds, words, settings):
    with pytest.raises(ValueError, match=words):
        Mixtures(**{**sounds, "examples": 3, **settings})


def test_other_rates_and_no_pairs_are_refused(tmp_path, sounds):
    soundfile.write(tmp_path / "a.wav", np.ones(9), 8_000)
    with pytest.raises(ValueError, match="a.wav has 8000 Hz, not 16000"):
        Mixtures([Clip(tmp_path / "a.wav", "a")], sounds["noise"], 1)[0]
    with pytest.raises(ValueError, match="a.wav has 8000 Hz, the examples 16000"):
        Segments([Pair("a", tmp_path / "a.wav", tmp_path / "a.wav")])[0]
    with pytest.raises(ValueError, match="no pairs"):
        Segments([])


def test_throughput_counts_examples_and_the_command_prints_it(sounds, capsys):
    assert throughput(Mixtures(**sounds, examples=20, samples=SAMPLES), 60) > 0
    with pytest.raises(ValueError, match="at least two"):
        throughput(Mixtures(**sounds, examples=1))
    folder = str(sounds["speech"][0].path.parent)
    assert datasets.main([folder, folder, "--seconds", "0.1", "--workers", "0"]) == 0
    assert capsys.readouterr().out.startswith("0 workers: ")
    assert datasets.main([folder, folder + "-absent"]) == 2
    assert "no folder" in capsys.readouterr().err


def test_a_mixed_noise_is_the_sum_of_two(sounds):
    one, two = (Mixtures(**sounds, examples=9, samples=SAMPLES, second_noise=x) for x in (0, 1))
    rng = np.random.default_rng([0, 4])
    speech, first = one._speech(rng), one._noise(rng)
    rng.random()
    noise = mix(first, one._noise(rng), rng.uniform(-6, 6))[1]
    clean, noisy = two[4]
    level = float(clean[clean != 0][0] / speech[speech != 0][0])
    added = (noisy - clean).double().numpy()
    assert np.corrcoef(added, noise)[0, 1] > 1 - 1e-6
    np.testing.assert_allclose(clean, level * speech, atol=1e-5)
