"""The scores, against independent formulations and against published figures."""

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pesq as pesq_package
import pystoi
import pytest
from fuzzing import some
from hypothesis import given
from hypothesis import strategies as st

from rwsa_tutorial import audio
from rwsa_tutorial.scores import metrics
from rwsa_tutorial.training.scorer import Scorer

EVAL = Path(os.environ.get("RWSA_EVAL") or Path(__file__).resolve().parents[2] / "shared" / "eval")
# set -> mean PESQ, SSNR, ESTOI, SI-SDR of its noisy recordings
NOISY = {
    "dns2020": (30, 1.4398, 4.8331, 0.7638, 7.7407),
    "vbdemand": (12, 2.0123, 2.0788, 0.7688, 6.4828),
    "ears_wham_v2": (5, 1.3443, -0.8499, 0.6085, 4.3008),
}


def speechlike(seconds=2.0, seed=0):
    """Harmonics of a gliding pitch in syllables, (n,) at 16 kHz."""
    t = np.arange(round(16_000 * seconds)) / 16_000
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t + seed)) / 16_000
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 2.3 * t + seed) + 0.3, 0, None)


def noisy(clean, level=0.05, seed=1):
    return clean + level * np.random.default_rng(seed).normal(size=clean.shape)


def ssnr_frame_by_frame(clean, enhanced):
    values = []
    for frame in range(int(len(clean) / 120 - 480 / 120)):
        signal = error = 0.0
        for k in range(1, 481):
            window = 0.5 * (1 - np.cos(2 * np.pi * k / 481))
            at = frame * 120 + k - 1
            signal += (window * clean[at]) ** 2
            error += (window * (clean[at] - enhanced[at])) ** 2
        value = 10 * np.log10(signal / error) if signal else -10.0
        values.append(min(max(value, -10.0), 35.0))
    return np.mean(values)


def si_sdr_by_projection(clean, enhanced):
    (scale,), *_ = np.linalg.lstsq(clean[:, None], enhanced, rcond=None)
    return 10 * np.log10(np.sum((scale * clean) ** 2) / np.sum((enhanced - scale * clean) ** 2))


@pytest.mark.parametrize("name", NOISY)
def test_noisy_recordings_have_the_published_scores(name):
    if not (EVAL / name).is_dir():
        pytest.skip(f"the test pairs are not at {EVAL}; set RWSA_EVAL to their folder")
    count, *expected = NOISY[name]
    scores = []
    for path in sorted((EVAL / name / "clean").glob("*.flac")):
        clean, rate = audio.read(path)
        degraded, _ = audio.read(EVAL / name / "noisy" / path.name)
        scores.append(list(metrics.score(clean, degraded, rate).values()))
    assert len(scores) == count
    assert np.mean(scores, axis=0) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("n", [600, 719, 720, 2_345])
def test_ssnr_equals_a_loop_over_frames(n):
    clean = speechlike()[:n]
    clean[100:700] = 0  # a silent frame in the longer ones
    degraded = noisy(clean, 0.1)
    got, wanted = metrics.ssnr(clean, degraded), ssnr_frame_by_frame(clean, degraded)
    assert got == pytest.approx(wanted, abs=1e-9)


def test_ssnr_keeps_to_its_range():
    clean = speechlike()
    clean[clean == 0] = 1e-3
    assert metrics.ssnr(clean, clean) == 35
    assert metrics.ssnr(clean, clean + 100) == -10
    assert metrics.ssnr(clean[:599], clean[:599]) is None


@some(25)
@given(seed=st.integers(0, 10**6), level=st.floats(1e-3, 10), gain=st.floats(1e-3, 1e3))
def test_si_sdr_is_a_projection_and_ignores_level(seed, level, gain):
    clean = np.random.default_rng(seed).normal(size=500)
    degraded = noisy(clean, level, seed + 1)
    value = metrics.si_sdr(clean, degraded)
    assert value == pytest.approx(si_sdr_by_projection(clean, degraded), abs=1e-8)
    assert metrics.si_sdr(clean, gain * degraded) == pytest.approx(value, abs=1e-8)
    assert metrics.si_sdr(gain * clean, degraded) == pytest.approx(value, abs=1e-8)


def test_si_sdr_keeps_the_mean_in():
    clean = speechlike() + 0.5
    degraded = noisy(clean) - 0.2
    centred = metrics.si_sdr(clean - clean.mean(), degraded - degraded.mean())
    assert metrics.si_sdr(clean, degraded) == pytest.approx(si_sdr_by_projection(clean, degraded))
    assert abs(metrics.si_sdr(clean, degraded) - centred) > 1


def test_si_sdr_of_equal_and_of_unrelated_signals():
    assert metrics.si_sdr([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == np.inf
    assert metrics.si_sdr([1.0, 0.0], [0.0, 1.0]) == -np.inf


def test_pesq_and_estoi_are_those_of_their_packages():
    clean = speechlike(3.0)
    degraded = noisy(clean, 0.02)
    scores = metrics.score(clean, degraded, 16_000)
    assert list(scores) == ["pesq", "ssnr", "estoi", "si_sdr"]
    assert scores["pesq"] == pytest.approx(pesq_package.pesq(16_000, clean, degraded, "wb"))
    extended = pystoi.stoi(clean, degraded, 16_000, extended=True)
    assert scores["estoi"] == pytest.approx(extended, abs=1e-5)  # float32 against float64
    # resampling casts to float32 even where the rate is right
    assert scores["ssnr"] == pytest.approx(metrics.ssnr(clean, degraded), abs=1e-4)
    assert all(type(value) is float for value in scores.values())
    assert scores["si_sdr"] == pytest.approx(metrics.si_sdr(clean, degraded), abs=1e-4)


def test_identical_speech_reaches_the_top():
    clean = speechlike(3.0)
    scores = metrics.score(clean, clean, 16_000)
    assert scores["pesq"] == pytest.approx(4.6439, abs=1e-3)
    assert scores["estoi"] == pytest.approx(1, abs=1e-6)
    assert scores["si_sdr"] == np.inf


def test_other_rates_are_resampled_first():
    clean = speechlike(3.0)
    degraded = noisy(clean, 0.02)
    at_48k = [audio.resample(wave, 16_000, 48_000) for wave in (clean, degraded)]
    wanted, got = metrics.score(clean, degraded, 16_000), metrics.score(*at_48k, 48_000)
    for name, tolerance in {"pesq": 0.05, "ssnr": 0.3, "estoi": 0.01, "si_sdr": 0.3}.items():
        assert got[name] == pytest.approx(wanted[name], abs=tolerance)


def test_integers_score_like_floats():
    clean = (speechlike() * 20_000).astype(np.int16)
    degraded = (noisy(speechlike()) * 20_000).astype(np.int16)
    got = metrics.score(clean, degraded, 16_000, metrics=("ssnr", "si_sdr"))
    wanted = metrics.score(clean / 32768, degraded / 32768, 16_000, metrics=("ssnr", "si_sdr"))
    assert got == pytest.approx(wanted)


@pytest.mark.filterwarnings("error")
def test_silence_and_short_clips_are_missing_not_numbers():
    speech, silence = speechlike(), np.zeros(32_000)
    assert set(metrics.score(silence, speech, 16_000).values()) == {None}
    silenced = metrics.score(speech, silence, 16_000)
    assert (silenced["pesq"], silenced["estoi"], silenced["si_sdr"]) == (None, None, None)
    assert silenced["ssnr"] == pytest.approx(metrics.ssnr(speech, silence))
    short = metrics.score(speech[:2_000], noisy(speech[:2_000]), 16_000)
    assert (short["pesq"], short["estoi"]) == (None, None)
    assert np.isfinite([short["ssnr"], short["si_sdr"]]).all()
    single = metrics.score([0.5], [0.25], 16_000)
    assert single == {"pesq": None, "ssnr": None, "estoi": None, "si_sdr": np.inf}


def test_noise_without_an_utterance_still_has_the_other_scores(monkeypatch):
    def refuse(*_):
        raise pesq_package.NoUtterancesError("No utterances detected")

    monkeypatch.setattr(pesq_package, "pesq", refuse)
    scores = metrics.score(speechlike(), noisy(speechlike()), 16_000)
    assert scores.pop("pesq") is None
    assert np.isfinite(list(scores.values())).all()


@pytest.mark.parametrize(
    ("clean", "enhanced", "words"),
    [
        (np.ones(10), np.ones(11), "10 samples, enhanced 11"),
        (np.ones((10, 2)), np.ones((10, 2)), "mono"),
        (np.ones(10), [np.nan] * 10, "enhanced holds NaN"),
        ([], [], "clean is empty"),
        (np.ones(10), "text", "enhanced is not audio"),
    ],
)
def test_what_cannot_be_scored_is_said(clean, enhanced, words):
    with pytest.raises(ValueError, match=words):
        metrics.score(clean, enhanced, 16_000)
    with pytest.raises(ValueError, match="'stoi'; choose from pesq"):
        metrics.score(np.ones(10), np.ones(10), 16_000, metrics=("stoi",))


def bursts(seconds, on, period, seed=0):
    """Noise that comes and goes, (n,): `on` out of `period` of PESQ's windows of 64 samples."""
    n = round(16_000 * seconds)
    wave = np.random.default_rng(seed).normal(size=n) / 10
    return wave * (np.arange(n) % (64 * period) < 64 * on)


def test_long_speech_is_scored_in_pieces_and_nothing_ends_the_process():
    # 48 utterances, as close to each other as they can be; twice as long, for which the package has
    # no room: in a process of its own, which it would end
    densest = bursts(metrics.PESQ_LONGEST / 16_000, 48, 100)
    longer = bursts(36, 48, 101)
    longer[: 9 * 16_000] = 0  # the first piece has no speech, so it has no say
    assert len(densest) == metrics.PESQ_LONGEST
    waves = [(wave, noisy(wave, 0.01)) for wave in (densest, longer)]
    with Scorer(1) as scorer:
        got = scorer.results([scorer.submit(*pair) for pair in waves])
    assert got[0] == pytest.approx(pesq_package.pesq(16_000, *waves[0], "wb"), abs=0.02)
    edges = metrics.pesq_edges(longer)
    assert len(edges) == 4
    scores = [metrics.pesq(*(x[a:b] for x in waves[1])) for a, b in itertools.pairwise(edges)]
    assert scores[0] is None
    expected = np.average(scores[1:], weights=np.diff(edges)[1:])
    assert metrics.pesq(*waves[1]) == pytest.approx(expected, abs=1e-6)
    assert got[1] == pytest.approx(expected, abs=0.02)  # scored at another level


@some(20)
@given(n=st.integers(metrics.PESQ_LONGEST + 1, 3_000_000), seed=st.integers(0, 99))
def test_pieces_are_never_too_long_for_pesq_nor_too_short(n, seed):
    wave = np.random.default_rng(seed).normal(size=n).cumsum()
    edges = metrics.pesq_edges(wave)
    assert edges[0] == 0 and edges[-1] == n
    assert min(np.diff(edges)) >= 16_000 and max(np.diff(edges)) <= metrics.PESQ_LONGEST
    assert metrics.pesq_edges(wave[: metrics.PESQ_LONGEST]) == [0, metrics.PESQ_LONGEST]


def test_speech_is_cut_in_its_pauses():
    wave = speechlike(40) + 1.0
    for second in (11.5, 21.0, 28.2):
        wave[round(16_000 * second) :][:3200] = 0
    edges = np.array(metrics.pesq_edges(wave)) / 16_000
    assert np.allclose(edges, [0, 11.6, 21.1, 28.3, 40], atol=0.06)


def test_without_the_package_pesq_is_missing_and_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    clean = speechlike()
    with pytest.warns(UserWarning, match="PESQ is not installed.*pip install pesq"):
        scores = metrics.score(clean, noisy(clean), 16_000)
    assert scores.pop("pesq") is None
    assert np.isfinite(list(scores.values())).all()


def test_workers_without_the_package_have_no_scores(monkeypatch, tmp_path):
    (tmp_path / "pesq.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)  # processes that are started take it over
    monkeypatch.delitem(sys.modules, "pesq")
    clean = speechlike()
    with pytest.warns(UserWarning, match="PESQ is not installed") as told, Scorer(1) as scorer:
        assert scorer.results([scorer.submit(clean, noisy(clean))]) == [None]
    assert len(told) == 1


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (1.234, "1.23"), (np.inf, "inf")])
def test_what_is_shown_of_a_score_and_what_counts(value, text):
    assert metrics.shown(value) == text
    assert metrics.is_finite(value) == (text == "1.23")
