"""Are corpora different domains? Each measure on signals whose answer is known."""

import csv
import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.linalg

from rwsa_tutorial import audio, plotting
from rwsa_tutorial.commands import data
from rwsa_tutorial.corpora.corpus import Corpus, Pair
from rwsa_tutorial.domains import comparing, distance, measures
from rwsa_tutorial.making import likeness
from rwsa_tutorial.paths import data_path
from rwsa_tutorial.plotting import corpora as corpora_figures

RATE = 16_000


def white(seconds=4.0, seed=0):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)


def time(seconds=4.0):
    return np.arange(round(seconds * RATE)) / RATE


def voice(pitch, seconds=3.0, wobble=0.0, syllables=None):
    """A buzz of that pitch in Hz, moved by a sine of `wobble` semitones, cut into syllables."""
    t = time(seconds)
    hertz = pitch * 2 ** (wobble * np.sin(2 * np.pi * 0.7 * t) / 12)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 20))
    if syllables:
        wave = wave * (1e-3 + np.sin(np.pi * syllables * t) ** 2)
    return (0.1 * wave).astype(np.float32)


# --- one recording ---------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 17.5])
def test_the_ratio_of_energies_is_the_snr_that_was_mixed(snr_db):
    speech, noise = voice(120), white(3)
    noise *= np.sqrt(np.sum(speech**2) / np.sum(noise**2)) * 10 ** (-snr_db / 20)
    assert measures.ratio_db(speech, noise) == pytest.approx(snr_db, abs=1e-3)
    assert measures.ratio_db(speech, 0 * noise) is None
    assert measures.ratio_db(0 * speech, noise) is None


def test_loudness_counts_what_is_heard_and_not_the_rumble():
    tone, rumble = (0.1 * np.sin(2 * np.pi * f * time()) for f in (1000, 25))
    assert measures.loudness_ratio_db(tone, 0.5 * tone) == pytest.approx(6.02, abs=0.01)
    assert measures.ratio_db(tone, rumble) == pytest.approx(0, abs=0.01)
    assert measures.loudness_ratio_db(tone, rumble) > 10  # K-weighting cuts below 40 Hz
    assert measures.loudness_ratio_db(tone, 0 * tone) is None


def test_the_spectrum_puts_a_tone_into_its_band_and_noise_by_bandwidth():
    assert measures.THIRD_OCTAVES[17] == 1000
    tone = measures.spectrum(np.sin(2 * np.pi * 1000 * time()))
    assert tone[17] == pytest.approx(0, abs=0.01)
    assert np.delete(tone, 17).max() < -60
    noise = measures.spectrum(white(20))
    # Of white noise a third octave holds its share of the 8 kHz.
    width = measures.THIRD_OCTAVES * (2 ** (1 / 6) - 2 ** (-1 / 6))
    np.testing.assert_allclose(noise[10:], 10 * np.log10(width[10:] / 8000), atol=0.5)
    # A gain changes nothing; a running sum divides by 2 sin(pi f / rate).
    np.testing.assert_allclose(measures.spectrum(0.01 * white(20)), noise, atol=1e-3)
    steeper = measures.spectrum(np.cumsum(white(20))) - noise
    slope = -20 * np.log10(np.sin(np.pi * measures.THIRD_OCTAVES / RATE))
    assert steeper[25] - steeper[15] == pytest.approx(slope[25] - slope[15], abs=0.3)
    assert np.isnan(measures.spectrum(np.zeros(RATE))).all()


def test_envelopes_hold_the_energy_of_their_band():
    t = time()
    bands = measures.envelopes(0.5 * np.sin(2 * np.pi * 500 * t) * (t < 2))
    assert bands.shape == (7, 800)
    assert measures.OCTAVES[3] == 500
    # Mean square of the sine while it sounds, without the ripple at twice its frequency.
    np.testing.assert_allclose(bands[3, 20:380], 0.125, rtol=0.02)
    assert bands[3, 420:].max() < 0.002
    assert np.delete(bands, 3, axis=0)[:, 20:380].max() < 0.002


def test_steady_noise_is_steady_and_impulses_are_not():
    t = time(8)
    steady = measures.unsteadiness(white(8))
    expected = np.mean(4.34 / np.sqrt(measures.OCTAVES / np.sqrt(2) * measures.SHORT_TIME))
    assert steady == pytest.approx(expected, abs=0.25)
    assert measures.unsteadiness(np.sin(2 * np.pi * 440 * t)) < 0.1
    # A level that swings by a sine of 6 dB has a standard deviation of 4.24 dB.
    swinging = white(8) * 10 ** (6 * np.sin(2 * np.pi * 0.5 * t) / 20)
    assert measures.unsteadiness(swinging) == pytest.approx(np.hypot(4.24, steady), abs=0.4)
    clicks = np.zeros(8 * RATE)
    clicks[::RATE] = 1
    assert measures.unsteadiness(clicks + 1e-4 * white(8)) > 10
    # Neither level nor a silent band has a say; nor has silence an answer.
    assert measures.unsteadiness(0.001 * white(8)) == pytest.approx(steady, abs=1e-3)
    assert measures.unsteadiness(np.zeros(RATE)) is None
    assert measures.unsteadiness(white(0.2)) is None


@pytest.mark.parametrize(("hertz", "place"), [(1.0, 1), (4.0, 3), (16.0, 5)])
def test_modulation_is_found_at_its_frequency_and_depth(hertz, place):
    t = time(8)
    # Intensity 1 + 0.8 cos: modulation index 0.8, on top of the noise's own.
    carrier = white(8) * np.sqrt(1 + 0.8 * np.cos(2 * np.pi * hertz * t))
    found, plain = measures.modulation(carrier), measures.modulation(white(8))
    assert measures.MODULATIONS[place] == hertz
    own = 10 ** (plain[place] / 10)
    assert found[place] == pytest.approx(10 * np.log10(0.64 + own), abs=0.7)
    others = np.abs(np.arange(7) - place) > 1
    np.testing.assert_allclose(found[others], plain[others], atol=2.5)


def test_modulation_needs_two_periods():
    assert list(np.isnan(measures.modulation(white(3)))) == [True] + 6 * [False]
    assert np.isnan(measures.modulation(np.zeros(RATE))).all()
    assert np.isnan(measures.modulation(white(0.001))).all()


@pytest.mark.parametrize("hertz", [85, 130, 240, 420])
def test_pitch_is_that_of_the_voice(hertz):
    median, spread = measures.pitch(voice(hertz))
    assert median == pytest.approx(hertz, rel=0.02)  # the grid is a quarter semitone, 1.5 %
    assert spread < 0.3


def test_pitch_spread_is_the_movement_of_the_voice():
    _, spread = measures.pitch(voice(150, 3 / 0.7, wobble=5))
    # Of a sine, 68 % of the time lies within sin(0.68 * pi / 2) = 0.88 of its amplitude.
    assert spread == pytest.approx(5 * 0.88, abs=0.35)


def test_noise_and_silence_have_no_pitch():
    assert measures.pitch(white(2)) == (None, None)
    assert measures.pitch(np.zeros(2 * RATE, np.float32)) == (None, None)


@pytest.mark.parametrize("rate", [2, 4, 6])
def test_syllables_are_counted(rate):
    assert measures.speaking_rate(voice(140, 5, syllables=rate)) == pytest.approx(rate, rel=0.1)


def test_speaking_rate_leaves_out_pauses_and_does_not_mind_noise_floor_or_level():
    spoken = voice(140, 4, syllables=4)
    pause = np.zeros(2 * RATE, np.float32)
    quiet = 0.01 * np.concatenate([pause, spoken, pause, spoken]) + 1e-5 * white(12)
    assert measures.speaking_rate(quiet) == pytest.approx(4, rel=0.1)
    assert measures.speaking_rate(voice(140, 4)) < 1  # one held vowel is one nucleus
    assert measures.speaking_rate(pause) is None


def test_most_syllables_of_real_sentences_are_found():
    # Counted by hand in the sentences of data/examples/index.json.
    spoken = {"cafe": 18, "street": 17, "fan": 19, "rain": 18, "keyboard": 15, "babble": 15}
    shares = []
    for name, there in spoken.items():
        wave, rate = audio.read(data_path("examples", "clean", f"{name}.flac"))
        assert rate == RATE
        found, seconds = measures.syllables(wave)
        assert 0.7 * len(wave) < seconds * RATE < len(wave)
        shares.append(found / there)
    assert np.mean(shares) == pytest.approx(0.95, abs=0.01)  # as the docstring says
    assert np.std(shares) == pytest.approx(0.08, abs=0.01)


def test_log_mel_levels_do_not_know_the_gain_and_have_a_floor():
    wave = white()
    wave[RATE : 2 * RATE] = 0
    levels = measures.log_mel(wave)
    assert levels.shape[1] == measures.MEL_BANDS
    np.testing.assert_allclose(measures.log_mel(0.01 * wave), levels, atol=1e-2)
    assert levels.min() == pytest.approx(measures.FLOOR_DB, abs=1e-3)
    assert measures.log_mel(np.zeros(RATE, np.float32)) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [1, 79, 400, 1500])
def test_clips_too_short_to_measure_have_missing_values(samples):
    wave = white()[:samples]
    assert measures.pitch(wave) == (None, None)
    assert measures.speaking_rate(wave) is None
    assert measures.unsteadiness(wave) is None
    assert np.isnan(measures.modulation(wave)[:3]).all()
    assert np.isfinite(measures.log_mel(wave)).all()
    assert measures.ratio_db(2 * wave, wave) == pytest.approx(6.02, abs=0.01)


# --- distances -------------------------------------------------------------------------------


def gaussian(d, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, d))
    return rng.standard_normal(d), root @ root.T


def test_frechet_distance_by_two_other_formulas():
    # One dimension: the means' and the deviations' difference.
    one = distance.frechet_distance(np.array([1.0]), np.eye(1) * 4, np.array([4.0]), np.eye(1) * 36)
    assert one == pytest.approx(5)
    # Commuting covariances: the same, along each common axis.
    turn, _ = np.linalg.qr(gaussian(6, 0)[1])
    a, b = np.arange(1, 7.0), np.array([3, 0, 2, 1, 5, 0.5])
    found = distance.frechet_distance(np.ones(6), turn * a @ turn.T, np.zeros(6), turn * b @ turn.T)
    assert found**2 == pytest.approx(6 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rel=1e-7)
    # Any covariances: the root of the product as a matrix.
    (mean_a, cov_a), (mean_b, cov_b) = gaussian(8, 1), gaussian(8, 2)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    square = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * root).real
    found = distance.frechet_distance(mean_a, cov_a, mean_b, cov_b)
    assert found**2 == pytest.approx(square, rel=1e-7)


def test_frechet_distance_is_a_distance():
    gaussians = [gaussian(5, seed) for seed in range(4)]
    for a, b in itertools.product(gaussians, repeat=2):
        there, back = distance.frechet_distance(*a, *b), distance.frechet_distance(*b, *a)
        assert there == pytest.approx(back, abs=1e-5)
        assert there < 1e-5 if a is b else there > 0.1
        for c in gaussians:
            around = distance.frechet_distance(*a, *c) + distance.frechet_distance(*c, *b)
            assert there <= around + 1e-5
    # A covariance without an inverse does no harm.
    flat = np.diag([1.0, 0, 0])
    assert distance.frechet_distance(np.zeros(3), flat, np.zeros(3), 0 * flat) == pytest.approx(1)


def synthetic(name, count, seed, tilt_db=0.0):
    """A description whose log-mel frames are Gaussian, raised by `tilt_db` in every band."""
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((count, 200, 32)) * 3 + tilt_db
    frames += rng.standard_normal((count, 1, 32))  # what a recording has of its own
    moments = frames.mean(axis=1), frames.transpose(0, 2, 1) @ frames / 200
    means, squares = ({s: m for s in distance.SIGNALS} for m in moments)
    return comparing.Description(name, "test", [], {}, np.zeros((count, 7)), means, squares)


def test_distance_is_in_decibels_a_band_and_beyond_chance_where_corpora_differ():
    same, other = synthetic("same", 40, 0), synthetic("other", 40, 1)
    shifted = synthetic("shifted", 40, 2, tilt_db=3.0)
    found = distance.distances([same, other, shifted, same], draws=60)
    np.testing.assert_allclose(found.between, found.between.T)
    assert found.between[0, 3] == pytest.approx(0, abs=1e-5)
    assert found.between[0, 2] == pytest.approx(3, abs=0.3)
    assert found.between[0, 2] > 2 * found.chance[0, 2]
    assert found.between[0, 1] < 1.15 * found.chance[0, 1]  # drawn alike
    # Halves are fewer recordings, and so lie further apart than the wholes.
    assert found.between[0, 1] < found.halves[0] < found.between[0, 2] / 2
    text = distance.distance_table([found]).splitlines()
    assert len(text) == 1 + 6
    assert next(line for line in text if "same / shifted" in line).endswith(" differ")
    assert next(line for line in text if "shifted / same" in line).endswith(" differ")
    assert next(line for line in text if "same / same" in line).endswith("not told apart")


def test_the_same_draw_gives_the_same_chance():
    pair = [synthetic("a", 12, 0), synthetic("b", 9, 1)]
    one, two, three = (distance.distances(pair, draws=20, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.chance, two.chance)
    assert one.chance[0, 1] != three.chance[0, 1]
    # Nor does it matter who else is compared.
    more = distance.distances([synthetic("c", 5, 2), *pair], draws=20, seed=5)
    assert more.chance[1, 2] == one.chance[0, 1] and more.halves[1] == one.halves[0]


def test_distances_say_what_they_cannot_do():
    with pytest.raises(ValueError, match="no signal 'echo'.*clean, noise, noisy"):
        distance.distances([], "echo")
    with pytest.raises(ValueError, match="lonely has 1 recording.*at least 2"):
        distance.distances([synthetic("lonely", 1, 0), synthetic("b", 4, 1)])
    silent = synthetic("silent", 3, 0)
    silent.means["noise"][1:] = np.nan
    with pytest.raises(ValueError, match=r"silent has 1 recording.*noise signal"):
        distance.distances([silent, synthetic("b", 4, 1)], "noise")


# --- corpora ---------------------------------------------------------------------------------


def corpus(folder, name, pitch, noise, count=6, rate=RATE, snr_db=5.0):
    """Pairs on disk: syllables at a pitch, in a kind of noise."""
    pairs = []
    for i in range(count):
        clean = voice(pitch * (1 + 0.02 * i), 2.0, syllables=4)
        added = noise(2.0, i)
        added *= np.sqrt(np.mean(clean**2) / np.mean(added**2)) * 10 ** (-snr_db / 20)
        paths = [folder / f"{name}_{role}_{i}.flac" for role in ("clean", "noisy")]
        for path, wave in zip(paths, (clean, clean + added), strict=True):
            audio.write(path, audio.resample(0.3 * wave, RATE, rate), rate)
        pairs.append(Pair(f"{i:02}", *paths))
    return Corpus(name, rate, "none", {"test": tuple(pairs), "empty": ()})


def rumble(seconds, seed):
    return np.cumsum(white(seconds, seed)) - np.cumsum(white(seconds, seed)).mean()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    corpora = [corpus(folder, "low", 110, white), corpus(folder, "high", 220, rumble, rate=24_000)]
    return corpora, *comparing.compare(corpora, progress=False, draws=40)


def test_describe_measures_every_pair_at_16_khz(compared):
    _, (low, high), _ = compared
    assert [row["file"] for row in high.rows] == [f"{i:02}" for i in range(6)]
    for description, pitch in ((low, 110), (high, 220)):
        means = comparing.summary(description)
        assert means["snr_db"][:1] == pytest.approx((5.0,), abs=0.1)
        assert means["pitch_hz"][0] == pytest.approx(1.05 * pitch, rel=0.03)
        assert means["syllables_per_second"][0] == pytest.approx(4, rel=0.15)
        assert all(missing == 0 for _, _, missing in means.values())
        assert description.rows[0]["seconds"] == pytest.approx(2)
        assert description.spectra["noise"].shape == (6, len(measures.THIRD_OCTAVES))
        assert description.modulations.shape == (6, len(measures.MODULATIONS))


def test_other_speech_and_other_noise_are_far_apart(compared):
    _, _, results = compared
    assert [r.signal for r in results] == ["clean", "noise", "noisy"]
    for result in results:
        assert result.between[0, 1] > result.chance[0, 1] > 0
        assert result.between[0, 1] > 2 * result.halves.max()


def test_limit_spreads_over_the_split_and_bad_wishes_are_refused(compared):
    (low, _), _, _ = compared
    chosen = comparing.describe(low, limit=3, progress=False)
    assert [row["file"] for row in chosen.rows] == ["00", "02", "05"]
    assert len(comparing.describe(low, limit=99, progress=False).rows) == 6
    with pytest.raises(ValueError, match="limit is 0"):
        comparing.describe(low, limit=0)
    with pytest.raises(ValueError, match="no pairs in its split 'empty'"):
        comparing.describe(low, "empty")
    with pytest.raises(ValueError, match="no split 'valid'"):
        comparing.describe(low, "valid")


def test_missing_values_are_said_and_left_out(tmp_path):
    quiet = corpus(tmp_path, "quiet", 120, white, count=3)
    first = quiet.splits["test"][0]
    audio.write(first.noisy, audio.read(first.clean)[0], RATE)  # nothing was added
    found = comparing.describe(quiet, progress=False)
    assert found.rows[0]["snr_db"] is None and found.rows[0]["unsteadiness_db"] is None
    assert np.isnan(found.means["noise"][0]).all() and np.isfinite(found.means["noisy"]).all()
    mean, _, missing = comparing.summary(found)["snr_db"]
    assert mean == pytest.approx(5, abs=0.1) and missing == 1
    assert "SNR (dB): missing for 1 of 3 in quiet." in comparing.table([found])
    comparing.write_csv(tmp_path / "rows.csv", [found])
    rows = list(csv.DictReader(open(tmp_path / "rows.csv", encoding="utf-8")))
    assert [row["snr_db"] for row in rows][0] == "" and float(rows[1]["snr_db"]) > 4.9
    plt.close(plotting.corpora_compared([found])[0])


def test_run_prints_tables_and_writes_rows_and_figure(compared, tmp_path, capsys):
    corpora, _, _ = compared
    files = tmp_path / "rows.csv", tmp_path / "figure.png"
    data.compare(corpora, *files, limit=2, progress=False, draws=20)
    text = capsys.readouterr().out
    header, split, pairs, *_ = text.splitlines()
    assert header.split() == ["low", "high"] and split.split() == ["split", "test", "test"]
    assert pairs.split() == ["pairs", "2", "2"]
    assert "5.0 ± 0.0" in text and text.count("low / high") == 3
    rows = list(csv.DictReader(open(tmp_path / "rows.csv", encoding="utf-8")))
    assert [(row["corpus"], row["file"]) for row in rows] == [
        ("low", "00"),
        ("low", "05"),
        ("high", "00"),
        ("high", "05"),
    ]
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


# --- figures ---------------------------------------------------------------------------------


def test_the_figure_shows_every_recording_with_units(compared):
    _, descriptions, results = compared
    fig, axes = plotting.corpora_compared(descriptions, results)
    drawn = axes["pitch_hz"].lines[0]
    assert sorted(drawn.get_ydata()) == sorted(row["pitch_hz"] for row in descriptions[0].rows)
    for ax in axes.values():
        units = ("(dB)", "(Hz)", "a second")
        words = (ax.get_ylabel(), ax.get_title())
        assert any(unit in word for unit in units for word in words)
    numbers = [text.get_text() for text in axes["distance noise"].texts]
    assert f"{results[1].between[0, 1]:.1f}" in "".join(numbers)
    assert any(text.get_weight() == "bold" for text in axes["distance noise"].texts)
    assert f"{results[1].halves[1]:.1f}\nhalves" in numbers
    plt.close(fig)
    with pytest.raises(ValueError, match="at least one"):
        plotting.corpora_compared([])


def test_corpora_keep_apart_up_to_sixteen():
    assert len({corpora_figures._corpus_style(place) for place in range(16)}) == 16


def test_noises_are_drawn_against_the_others_range(tmp_path, capsys):
    ours, recorded = tmp_path / "mini" / "a" / "noise", tmp_path / "recorded"
    for folder, waves in (
        (ours, {"hiss": white(), "rumble": rumble(4, 0)}),
        (recorded, {"rain": white(4, 1), "wind": rumble(4, 1), "hall": rumble(4, 2)}),
    ):
        folder.mkdir(parents=True)
        for name, wave in waves.items():
            audio.write(folder / f"{name}.flac", 0.5 * wave / np.abs(wave).max(), RATE)
    wishes = ["--ours", str(tmp_path / "mini"), "--out", str(tmp_path / "noises.png")]
    likeness.main([*wishes, "--recorded", str(recorded)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["ours", "hiss"],
        ["ours", "rumble"],
        ["recorded", "hall"],
        ["recorded", "rain"],
        ["recorded", "wind"],
    ]
    assert (tmp_path / "noises.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit) as stop:
        likeness.main([*wishes, "--recorded", str(tmp_path / "absent")])
    assert stop.value.code == 2
    assert "absent holds no noise" in capsys.readouterr().err
    audio.write(recorded / "blip.flac", white(1) / 10, RATE)
    with pytest.raises(SystemExit):
        likeness.main([*wishes, "--recorded", str(recorded)])
    assert "blip.flac is silent or under 4 s" in capsys.readouterr().err

    named = [("hiss", white(4, 0)), ("hiss", white(4, 1)), ("rumble", rumble(4, 0))]
    fig, axes = plotting.noises_compared(named, [("rain", white(4, 2))])
    assert [len(ax.lines) for ax in axes.flat] == [2, 2, 1, 1]
    mean = np.mean([measures.spectrum(wave) for _, wave in named[:2]], axis=0)
    np.testing.assert_allclose(axes[0, 0].lines[0].get_ydata(), mean)
    plt.close(fig)
    with pytest.raises(ValueError, match="both kinds"):
        plotting.noises_compared(named, [])
