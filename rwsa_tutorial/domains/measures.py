"""What can be measured of one recording: level, spectrum, pitch, speaking rate, unsteadiness.

Every function takes a mono wave (n,) at 16 kHz, full scale 1. What is not defined for a wave
(silence, no voice in it, too short) is None or NaN: missing, never a made-up number.
"""

import math

import numpy as np

from ..corpora.mixing import loudness
from ..features import SAMPLE_RATE

# Third-octave bands around 1 kHz, 20 Hz to 6.3 kHz: the highest that fits below 8 kHz.
THIRD_OCTAVES = 1000 * 2.0 ** (np.arange(-17, 9) / 3)
OCTAVES = 1000 * 2.0 ** np.arange(-4, 3)  # 63 Hz to 4 kHz
MODULATIONS = 2.0 ** np.arange(-1, 6)  # octave bands of modulation, 0.5 to 32 Hz
ENVELOPE_RATE = 200  # of the bands' intensities, in Hz
SHORT_TIME = 0.125  # s, over which a level is called short-time
PITCH_RANGE = (60.0, 600.0)
MEL_BANDS = 32
FLOOR_DB = -60.0  # of log-mel levels, against the recording's own level


def ratio_db(signal: np.ndarray, noise: np.ndarray) -> float | None:
    """10 log10 of the signal's energy over the noise's, both (n,); None if either is silent."""
    energy, noise_energy = (float(np.sum(np.square(x, dtype=np.float64))) for x in (signal, noise))
    if not energy > 0 or not noise_energy > 0:
        return None
    return 10 * np.log10(energy / noise_energy)


def loudness_ratio_db(signal: np.ndarray, noise: np.ndarray) -> float | None:
    """How much louder the signal is than the noise, in dB: the difference of loudness in LUFS.

    See `mixing.loudness`: weighted by frequency as the ear is, pauses left out. None where either
    is silent or below -70 LUFS throughout.
    """
    ratio = loudness(signal, SAMPLE_RATE) - loudness(noise, SAMPLE_RATE)
    return ratio if math.isfinite(ratio) else None


def spectrum(wave: np.ndarray) -> np.ndarray:
    """Long-term average spectrum: each third-octave band's share of the whole energy, in dB.

    One transform of the whole wave (n,); the bands are `THIRD_OCTAVES`, exact to the bin. A band
    without energy, or a whole wave without, is NaN. Returns (26,).
    """
    power, frequencies = _power(wave)
    edges = 2 ** (1 / 6)
    shares = np.array(
        [power[(frequencies >= f / edges) & (frequencies < f * edges)].sum() for f in THIRD_OCTAVES]
    )
    return _db(shares, power.sum())


def _power(wave):
    """Energy by frequency: its sum over the bins is that of the wave; (bins,) and Hz (bins,)."""
    from scipy import fft

    n = fft.next_fast_len(len(wave), real=True)
    power = np.abs(fft.rfft(np.asarray(wave, dtype=np.float64), n)) ** 2
    power[1 : (n + 1) // 2] *= 2  # every bin but 0 and n/2 stands for its mirror image too
    return power / n, fft.rfftfreq(n, 1 / SAMPLE_RATE)


def _db(values, reference):
    with np.errstate(divide="ignore", invalid="ignore"):
        result = 10 * np.log10(np.asarray(values) / reference)
    return np.where(np.isfinite(result), result, np.nan)


def envelopes(wave: np.ndarray) -> np.ndarray:
    """The intensity of seven octave bands over time.

    Each band is cut out in the frequency domain with its negative frequencies left out, so that
    the square of what remains is its intensity, without the ripple of the carrier.

    Returns:
        (7, n // 80): mean square of the band `OCTAVES` in steps of 5 ms (`ENVELOPE_RATE`).
    """
    from scipy import fft

    size = fft.next_fast_len(len(wave) + SAMPLE_RATE // 10)  # so that the end is far from the start
    spec = fft.fft(np.asarray(wave, dtype=np.float64), size)
    frequencies = fft.fftfreq(size, 1 / SAMPLE_RATE)
    step = SAMPLE_RATE // ENVELOPE_RATE
    bands = []
    for f in OCTAVES:
        inside = (frequencies >= f / np.sqrt(2)) & (frequencies < f * np.sqrt(2))
        intensity = 2 * np.abs(fft.ifft(np.where(inside, spec, 0))) ** 2
        bands.append(intensity[: len(wave) // step * step].reshape(-1, step).mean(axis=1))
    return np.array(bands)


def unsteadiness(wave: np.ndarray) -> float | None:
    """How much the level of a noise moves: mean over octave bands of the levels' deviation, dB.

    Levels are those of 1/8 s; of each band their standard deviation in dB is taken, with levels
    more than 40 dB below the band's mean counted as that. Bands of less than a ten-thousandth of
    the energy have no say. White noise has about 0.8 dB, since the level of a narrow band
    of noise is only known so well in 1/8 s (4.34 / sqrt(bandwidth * time) dB); a steady tone 0.

    Returns:
        float in dB, or None for silence or under 1/4 s.
    """
    bands = envelopes(wave)
    step = round(SHORT_TIME * ENVELOPE_RATE)
    count = bands.shape[1] // step
    if count < 2:
        return None
    levels = bands[:, : count * step].reshape(len(bands), count, step).mean(axis=2)
    means = levels.mean(axis=1)
    heard = means > 1e-4 * means.sum()
    if not heard.any():
        return None
    decibels = 10 * np.log10(np.maximum(levels[heard] / means[heard, None], 1e-4))
    return float(decibels.std(axis=1).mean())


def modulation(wave: np.ndarray) -> np.ndarray:
    """Modulation spectrum: how deep the level is modulated at 0.5 to 32 Hz.

    Of each octave band's intensity I(t), the modulation index at frequencies in an octave around
    f is m = sqrt(2 * power of I in that octave) / mean of I, as for the modulation transfer
    function (Houtgast and Steeneken 1985): 1 for a sine that takes the intensity down to 0, more
    for bursts. The squares are averaged over the bands that hold at least a ten-thousandth of
    the energy.

    Returns:
        (7,): 20 log10 m in dB for `MODULATIONS`; NaN for octaves of which the wave holds less
        than two periods, and for silence. Noise has some of itself: white noise about -10 dB at
        4 Hz, more above.
    """
    bands = envelopes(wave)
    seconds = bands.shape[1] / ENVELOPE_RATE
    means = bands.mean(axis=1, keepdims=True) if bands.shape[1] else np.zeros((len(bands), 1))
    heard = means[:, 0] > 1e-4 * means.sum()
    if not heard.any():
        return np.full(len(MODULATIONS), np.nan)
    power = np.abs(np.fft.rfft(bands[heard] / means[heard] - 1)) ** 2 * 2 / bands.shape[1] ** 2
    frequencies = np.fft.rfftfreq(bands.shape[1], 1 / ENVELOPE_RATE)
    edge = np.sqrt(2)
    depths = [
        2 * power[:, (frequencies >= f / edge) & (frequencies < f * edge)].sum(axis=1).mean()
        if f * seconds >= 2
        else np.nan
        for f in MODULATIONS
    ]
    return _db(depths, 1.0)


def pitch(wave: np.ndarray) -> tuple[float | None, float | None]:
    """Median pitch of a voice, and how widely it moves.

    F0 by probabilistic YIN (Mauch and Dixon 2014; librosa.pyin) every 20 ms between 60 and
    600 Hz, on a grid of quarter semitones; frames that it calls unvoiced are left out.

    Returns:
        (Hz, semitones): the median, and half the range between the 16th and the 84th percentile,
        which is the standard deviation where the distribution is normal but does not mind octave
        errors; (None, None) with less than 0.2 s of voice.
    """
    import librosa

    if not np.any(wave):
        return None, None
    low, high = PITCH_RANGE
    settings = {"frame_length": 1024, "hop_length": 320, "resolution": 0.25}
    f0, _, _ = librosa.pyin(wave, sr=SAMPLE_RATE, fmin=low, fmax=high, **settings)
    voiced = f0[np.isfinite(f0)]
    if len(voiced) < 10:
        return None, None
    below, above = np.percentile(12 * np.log2(voiced), (16, 84))
    return float(np.median(voiced)), float((above - below) / 2)


def syllables(wave: np.ndarray) -> tuple[int, float]:
    """How many syllable nuclei there are, and in how many seconds of speech.

    An estimate from the intensity alone, between 350 and 2800 Hz, where vowels are strong,
    smoothed to about 9 Hz; a nucleus is a peak within 25 dB of the loudest (the 99th percentile)
    that rises at least 2 dB out of its surroundings (after de Jong and Wempe 2009, who ask for
    voicing too). Speech is what lies within 25 dB, with gaps up to 0.3 s: longer pauses do not
    count. In the six example sentences it finds 95 % of the syllables, give or take 8 % a
    sentence: hurried ones merge. Good enough to compare corpora, not speakers.

    Returns:
        (int, float): nuclei and seconds; (0, 0.0) for silence.
    """
    from scipy import ndimage, signal

    intensity = envelopes(wave)[3:6].sum(axis=0)
    if not intensity.any():
        return 0, 0.0
    smooth = ndimage.gaussian_filter1d(intensity, ENVELOPE_RATE * 0.015)
    level = 10 * np.log10(np.maximum(smooth, 1e-12 * smooth.max()))
    threshold = np.percentile(level, 99) - 25
    # Padded, since closing would else take the ends for pauses.
    loud = np.pad(level > threshold, ENVELOPE_RATE)
    speech = ndimage.binary_closing(loud, np.ones(round(0.3 * ENVELOPE_RATE)))
    peaks, _ = signal.find_peaks(np.pad(level, 1, "minimum"), height=threshold, prominence=2)
    return len(peaks), float(speech.sum() / ENVELOPE_RATE)


def speaking_rate(wave: np.ndarray) -> float | None:
    """Syllables a second of speech, by `syllables`; None with less than half a second of it."""
    count, seconds = syllables(wave)
    return count / seconds if seconds >= 0.5 else None


def log_mel(wave: np.ndarray) -> np.ndarray | None:
    """Log-mel levels of a recording, against its own level.

    Frames of 32 ms every 16 ms, 32 mel bands from 50 Hz to 8 kHz, in dB against the mean energy
    of a frame, not below -60 dB: what a gain changes is not seen, nor what is too faint to be
    heard.

    Returns:
        (frames, 32) in dB, or None for silence.
    """
    import librosa

    if not np.any(wave):
        return None
    wave = np.pad(wave, (0, max(0, 512 - len(wave))))  # librosa warns of less than a frame
    mel = librosa.feature.melspectrogram(
        y=wave, sr=SAMPLE_RATE, n_fft=512, hop_length=256, n_mels=MEL_BANDS, fmin=50
    )
    return 10 * np.log10(np.maximum(mel / mel.sum(axis=0).mean(), 10 ** (FLOOR_DB / 10))).T
