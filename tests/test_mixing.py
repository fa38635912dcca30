"""Mixing meets the SNR, never clips, knows silence and nonsense; loudness is that of BS.1770."""

import warnings

import numpy as np
import pyloudnorm
import pytest
from fuzzing import some
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from rwsa_tutorial.corpora.mixing import loudness, mix

RATE = 16_000


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def speechlike(rng, n=RATE, pauses=True):
    """Noise of changing loudness, with pauses of every depth down to digital silence."""
    level = 10 ** rng.uniform(-4, 0, -(-n // 800)) * (rng.random(-(-n // 800)) > 0.2 * pauses)
    return rng.standard_normal(n) * np.repeat(level, 800)[:n]


def power_db(wave):
    return 10 * np.log10(np.mean(np.square(wave)))


def k_weighted_db(wave):
    """-0.691 + 10 lg of the K-weighted mean square, by BS.1770-4's own table for 48 kHz."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    wave = lfilter(shelf, [1, -1.69065929318241, 0.73248077421585], wave)
    wave = lfilter([1, -2, 1], [1, -1.99004745483398, 0.99007225036621], wave)
    return -0.691 + power_db(wave)


def test_loudness_of_the_standard_sine():
    sine = np.sin(2 * np.pi * 997 * np.arange(5 * 48_000) / 48_000)
    assert k_weighted_db(sine) == pytest.approx(-3.01, abs=0.005)
    assert loudness(sine, 48_000) == pytest.approx(-3.01, abs=0.1)
    assert loudness(0.1 * sine, 48_000) == pytest.approx(loudness(sine, 48_000) - 20, abs=1e-6)


def test_loudness_of_steady_noise_is_that_of_the_standards_own_filters():
    noise = 0.1 * np.random.default_rng(0).standard_normal(10 * 48_000)
    assert loudness(noise, 48_000) == pytest.approx(k_weighted_db(noise), abs=0.1)


def test_loudness_leaves_out_pauses():
    sine = 0.1 * np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)
    halved = np.concatenate([sine, np.zeros(8 * RATE)])
    # one second's blocks in two reach over the edge, so a little of the pause counts
    assert loudness(halved, RATE) == pytest.approx(loudness(sine, RATE), abs=0.3)
    assert power_db(halved) < power_db(sine) - 4


def test_loudness_of_short_clips_and_of_silence():
    sine = 0.1 * np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)
    for n in (1600, 3200, 6399, 6400, 6401):
        assert loudness(sine[:n], RATE) == pytest.approx(loudness(sine, RATE), abs=0.3), n
    assert np.isfinite(loudness([0.5], RATE))
    for silence in (np.zeros(1), np.zeros(2 * RATE), 1e-5 * sine):
        assert loudness(silence, RATE) == -np.inf


SNRS = st.floats(-40, 60)
LEVELS = st.floats(-3, 2).map(lambda x: 10**x)
SIGNALS = {"seed": st.integers(0, 2**32), "snr_db": SNRS, "level": LEVELS, "other": LEVELS}


@some(100)
@given(**SIGNALS, n=st.integers(1, 8000))
def test_the_power_ratio_is_met_and_nothing_clips(seed, snr_db, level, other, n):
    rng = np.random.default_rng(seed)
    speech, noise = level * (rng.standard_normal(n) + 0.01), other * speechlike(rng, n, False)
    clean, noisy = mix(speech, noise, snr_db)
    assert power_db(clean) - power_db(noisy - clean) == pytest.approx(snr_db, abs=0.01)
    assert max(np.abs(clean).max(), np.abs(noisy).max()) <= 0.99 + 1e-12
    # one factor for both: the shapes are those of speech and noise
    factor = clean @ speech / (speech @ speech)
    np.testing.assert_allclose(clean, factor * speech, atol=1e-12)
    assert factor <= 1 + 1e-12
    if max(np.abs(noisy).max(), np.abs(clean).max()) < 0.98:
        assert factor == pytest.approx(1, abs=1e-12)


@some(60)
@given(**SIGNALS, n=st.integers(6400, 3 * RATE))
def test_the_loudness_ratio_is_met_as_pyloudnorm_measures_it(seed, snr_db, level, other, n):
    rng = np.random.default_rng(seed)
    clean, noisy = mix(level * speechlike(rng, n), other * speechlike(rng, n), snr_db, "loudness")
    assert np.isfinite(noisy).all() and max(abs(clean).max(), abs(noisy).max()) <= 0.99 + 1e-12
    meter, added = pyloudnorm.Meter(RATE), noisy - clean
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyloudnorm on what is below its gate
        loud = [float(meter.integrated_loudness(wave)) for wave in (clean, added)]
    if not abs(loud[0] - loud[1] - snr_db) <= 0.01:
        assert min(loud) < -60  # only near the gate or below it: then as if their peaks were 1
        peaks = [abs(wave).max() for wave in (clean, added)]
        loud = [
            20 * np.log10(peak) + meter.integrated_loudness(wave / peak)
            for wave, peak in zip((clean, added), peaks, strict=True)
        ]
    assert loud[0] - loud[1] == pytest.approx(snr_db, abs=0.01)


@some(100)
@given(
    waves=st.integers(1, 50).flatmap(
        lambda n: st.tuples(*2 * [st.lists(st.floats(-1e300, 1e300), min_size=n, max_size=n)])
    ),
    snr_db=st.floats(-200, 200),
    ratio=st.sampled_from(["power", "loudness"]),
)
def test_whatever_is_finite_stays_finite(waves, snr_db, ratio):
    clean, noisy = mix(*waves, snr_db, ratio)
    assert np.isfinite(clean).all() and np.isfinite(noisy).all()
    assert max(np.abs(clean).max(), np.abs(noisy).max()) <= 0.99 + 1e-12


@pytest.mark.parametrize("ratio", ["power", "loudness"])
def test_the_widest_ratios_are_met(ratio):
    tones = np.sin(np.arange(RATE)[:, None] * [0.1, 0.3]).T
    for snr_db in (-200, 200):
        clean, noisy = mix(*tones, snr_db, ratio)
        rare, common = (clean, noisy) if snr_db < 0 else (noisy - clean, clean)
        # 1e-10 is next to nothing, and all that float64 can still tell
        assert 20 * np.log10(abs(rare).max() / abs(common).max()) == pytest.approx(-200, abs=3)


@pytest.mark.parametrize("ratio", ["power", "loudness"])
def test_silence_leaves_the_noise_as_it_is(ratio):
    noise, silence = 0.1 * np.random.default_rng(0).standard_normal(RATE), np.zeros(RATE)
    for speech, background in ((silence, noise), (noise, silence), (silence, silence)):
        clean, noisy = mix(speech, background, 5, ratio)
        assert np.array_equal(clean, speech) and np.array_equal(noisy, speech + background)


def test_float32_stays_float32_and_meets_the_ratio():
    rng = np.random.default_rng(0)
    speech, noise = rng.standard_normal((2, RATE)).astype(np.float32) / 8
    for snr_db in (-20, 0, 20, 40):
        clean, noisy = mix(speech, noise, snr_db)
        assert clean.dtype == noisy.dtype == np.float32
        got = power_db(clean) - power_db(noisy.astype(float) - clean)
        assert got == pytest.approx(snr_db, abs=0.01)
    assert mix(speech, noise.astype(float), 0)[1].dtype == np.float64


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("differ in length", (np.ones(9), np.ones(10), 5)),
        (r"noise has shape \(10, 2\)", (np.ones(10), np.ones((10, 2)), 5)),
        ("speech holds NaN", ([1, float("nan")], [1.0, 2.0], 5)),
        ("noise holds infinity", ([1.0, 2.0], [1, float("inf")], 5)),
        ("speech is empty", (np.zeros(0), np.zeros(0), 5)),
        ("snr_db is inf", (np.ones(9), np.ones(9), float("inf"))),
        ("snr_db is nan", (np.ones(9), np.ones(9), float("nan"))),
        ("snr_db is -201", (np.ones(9), np.ones(9), -201)),
        ("no ratio 'volume'; choose power or loudness", (np.ones(9), np.ones(9), 5, "volume")),
        ("sample_rate is 0", (np.ones(9), np.ones(9), 5, "loudness", 0)),
    ],
)
def test_nonsense_is_refused_in_words(words, arguments):
    with pytest.raises(ValueError, match=words):
        mix(*arguments)
