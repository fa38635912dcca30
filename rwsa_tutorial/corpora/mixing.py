"""Speech and noise mixed at a signal-to-noise ratio."""

import math

import numpy as np
from numpy.typing import ArrayLike

from .. import audio
from ..rates import SAMPLE_RATE

BLOCK_SECONDS = 0.4  # what BS.1770 calls a gating block
HIGHEST = 0.99  # of full scale, in any mixture
MOST_DB = 200  # beyond it float64 itself would be the noise
SILENCE = 1e-10  # a peak, -200 dB re full scale
RATIOS = ("power", "loudness")


def loudness(wave: ArrayLike, sample_rate: int) -> float:
    """Integrated loudness in LUFS after ITU-R BS.1770-4, by pyloudnorm: gated, K-weighted.

    A clip shorter than one block of 0.4 s is repeated until it fills one. Silence, and whatever
    stays below the gate of -70 LUFS throughout, is -inf.

    Args:
        wave: (n,) mono, full scale 1.
        sample_rate: Hz.

    Raises:
        ValueError: in words: not a mono wave, empty, NaN or infinity inside.
    """
    import pyloudnorm

    wave, rate = _mono(wave, "wave").astype(np.float64), audio.check_rate(sample_rate)
    shortest = math.ceil(BLOCK_SECONDS * rate)
    if len(wave) < shortest:
        wave = np.resize(wave, shortest)
    # Silence has no loud block to average: NumPy would warn, the answer -inf is right.
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(pyloudnorm.Meter(rate).integrated_loudness(wave))


def mix(
    speech: ArrayLike,
    noise: ArrayLike,
    snr_db: float,
    ratio: str = "power",
    sample_rate: int = SAMPLE_RATE,
) -> tuple[np.ndarray, np.ndarray]:
    """Clean speech, and the same with the noise added at a signal-to-noise ratio.

    The noise is scaled. Only if the speech or the mixture would exceed 0.99 of full scale, both
    signals are turned down by one factor, which leaves the ratio as it is.

    Where there is no ratio, since speech or noise is silent (its peak below -200 dB re full scale),
    the noise stays as it is.

    Args:
        speech, noise: (n,), full scale 1.
        snr_db: dB, at most 200 either way.
        ratio: "power", of the mean squares of the whole clip; or "loudness", the difference of the
            integrated loudness in LUFS. BS.1770 leaves out what lies below an absolute gate, so
            the loudness of scaled noise is measured again until the ratio is met; where all of a
            signal is below the gate (-70 LUFS), both are measured as if their peaks were 1.
        sample_rate: Hz; matters for "loudness" alone.

    Returns:
        (clean, noisy): (n,) each; float32 unless one of the signals is float64.

    Raises:
        ValueError: in words: not mono waves, unequal lengths, NaN or infinity inside, another
            ratio, or an SNR that is not a number in this range.
    """
    speech, noise = _mono(speech, "speech"), _mono(noise, "noise")
    if len(speech) != len(noise):
        raise ValueError(
            f"speech {speech.shape} and noise {noise.shape} differ in length: cut or pad one."
        )
    if ratio not in RATIOS:
        raise ValueError(f"there is no ratio {ratio!r}; choose {' or '.join(RATIOS)}.")
    if not abs(snr_db) <= MOST_DB:
        raise ValueError(f"snr_db is {snr_db}; give decibels between -{MOST_DB} and {MOST_DB}.")
    kind = np.result_type(speech, noise, np.float32)
    speech, noise = speech.astype(np.float64), noise.astype(np.float64)
    # Nothing above full scale is kept, and so no square can overflow below.
    speech, noise = (wave / max(1.0, np.abs(wave).max()) for wave in (speech, noise))

    # Measured as they are; if the gate leaves no loudness, or none that fits, by their shape alone.
    audible = min(np.abs(speech).max(), np.abs(noise).max()) > SILENCE
    for raised in (False, True) if audible else ():
        gain = 1.0
        for _ in range(10):
            clean, added = _turned_down(speech, gain * noise)
            speech_db, noise_db = (_level(w, ratio, sample_rate, raised) for w in (clean, added))
            excess = speech_db - noise_db - snr_db
            if not math.isfinite(excess):
                break
            if abs(excess) < 1e-3:
                return clean.astype(kind), (clean + added).astype(kind)
            gain *= 10 ** (excess / 20)
    clean, added = _turned_down(speech, noise)
    return clean.astype(kind), (clean + added).astype(kind)


def _mono(wave, name):
    wave = audio.to_float(audio.as_wave(wave, name))
    if wave.ndim != 1:
        raise ValueError(f"{name} has shape {wave.shape}; mixing takes mono waves (n,).")
    return wave


def _turned_down(clean, added):
    peak = max(np.abs(clean).max(), np.abs(clean + added).max())
    return (clean, added) if peak <= HIGHEST else (clean * HIGHEST / peak, added * HIGHEST / peak)


def _level(wave, ratio, sample_rate, raised):
    """The level of a wave (n,) in dB or LUFS; `raised`: as if its peak were 1, above any gate."""
    peak = np.abs(wave).max()
    if ratio == "power":
        return 20 * math.log10(peak) + 10 * math.log10(np.mean(np.square(wave / peak)))
    if raised:
        return 20 * math.log10(peak) + loudness(wave / peak, sample_rate)
    return loudness(wave, sample_rate)
