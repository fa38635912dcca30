"""Is it clean speech? How loud, how noisy; silence cut off; short words joined."""

from __future__ import annotations

import numpy as np

from ..rates import SAMPLE_RATE

FRAME = SAMPLE_RATE // 50


def levels(wave: np.ndarray) -> np.ndarray:
    """Level in dB of each 20 ms frame of a wave (n,)."""
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    return 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)


def estimated_snr(wave: np.ndarray) -> float:
    """Loud frames over quiet frames (95th and 8th percentile of 20 ms levels), in dB.

    A rough measure of how clean a recording with pauses is; without pauses it reads too low.
    """
    level = levels(wave)
    return float(np.percentile(level, 95) - np.percentile(level, 8)) if len(level) else 0.0


def treble_db(wave: np.ndarray) -> float:
    """Share of the power that lies above 5 kHz, in dB: very low for narrow-band recordings."""
    frames = wave[: len(wave) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).sum(axis=0)
    return float(10 * np.log10(power[160:].sum() / (power.sum() + 1e-20) + 1e-12))


def trim(wave: np.ndarray, keep: float = 0.2) -> np.ndarray:
    """Shorten silences: `keep` seconds stay on each side of the speech, (n,) -> (m,).

    A frame is silent when it lies 40 dB below the loud ones, or within the lowest quarter of
    the recording's own range in dB if that is higher.
    """
    level = levels(wave)
    if not len(level):
        return wave
    loud, floor = np.percentile(level, 95), np.percentile(level, 5)
    active = level > max(loud - 40, floor + 0.25 * (loud - floor))
    reach = int(keep * SAMPLE_RATE / FRAME)
    near = np.convolve(active, np.ones(2 * reach + 1))[reach : reach + len(active)] > 0.5
    # Joins fall between frames that both hold the noise floor, so they need no cross-fade.
    return wave[: len(level) * FRAME].reshape(-1, FRAME)[near].ravel()


def fade(wave: np.ndarray, seconds: float = 0.01) -> np.ndarray:
    """Fade the two ends of a wave (n,) in and out."""
    n = min(int(seconds * SAMPLE_RATE), len(wave) // 2)
    ramp = np.ones(len(wave))
    ramp[:n] = np.linspace(0, 1, n, endpoint=False)
    ramp[len(wave) - n :] = ramp[:n][::-1]
    return wave * ramp


def join_words(
    words: list[tuple[str, np.ndarray]], seconds: float, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    """Join short utterances of one speaker or language into ones of at least `seconds`.

    words: (name, wave (n,)) in order. Words get equal levels and gaps of 0.1 to 0.35 s. A
    remainder shorter than a third of `seconds` is dropped. The new name is the first word's.
    """
    joined, run, name = [], [], ""
    for word_name, wave in words:
        name = name or word_name
        run += [fade(wave) / (np.sqrt(np.mean(wave**2)) + 1e-9)]
        run += [np.zeros(rng.integers(SAMPLE_RATE // 10, SAMPLE_RATE * 35 // 100))]
        if sum(map(len, run[:-1])) >= seconds * SAMPLE_RATE:
            joined.append((name, np.concatenate(run[:-1])))
            run, name = [], ""
    if sum(map(len, run[:-1])) >= seconds * SAMPLE_RATE / 3:
        joined.append((name, np.concatenate(run[:-1])))
    return joined
