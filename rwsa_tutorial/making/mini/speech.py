"""Speaking a line: a voice, a delivery, a microphone.

Voices are named `kokoro:af_heart` or `pico:de-DE`; both synthesisers are under Apache-2.0.
"""

from pathlib import Path

import numpy as np

from ...rates import SAMPLE_RATE
from .. import noises
from ..voices import KokoroEngine, pico, trim_ends

SAMPLE_RATE = SAMPLE_RATE
# delivery -> (speed, pitch): pitch is raised by playing faster, so that all formants move with it
STYLES = {
    "neutral": (1.0, 1.0),
    "fast": (1.3, 1.0),
    "slow": (0.78, 1.0),
    "high": (1.0, 1.16),
    "low": (0.95, 0.86),
    "loud": (0.95, 1.08),
    "whisper": (0.9, 1.0),
}
PICO = {"de": "de-DE", "fr": "fr-FR", "it": "it-IT", "es": "es-ES"}


class Speakers:
    """All voices by one call; Kokoro is loaded when it is first needed."""

    def __init__(self, cache: Path, threads: int = 1):
        self._cache, self._threads, self._kokoro = cache, threads, None

    def say(self, voice: str, text: str, speed: float = 1.0, style: str = "neutral") -> np.ndarray:
        """Speak a line in a voice and a delivery of `STYLES`; float (n,), 16 kHz, ends trimmed."""
        import soxr

        engine, name = voice.split(":")
        tempo, pitch = STYLES[style]
        tempo *= speed / pitch
        if engine == "pico":
            wave = pico(text, name, tempo)
        else:
            self._kokoro = self._kokoro or KokoroEngine(self._cache, self._threads)
            wave = self._kokoro.say(text, name, tempo)
        if pitch != 1.0:
            wave = soxr.resample(wave, SAMPLE_RATE * pitch, SAMPLE_RATE)
        wave = trim_ends(wave, keep=0.15)
        if style == "loud":
            wave = raised(wave)
        if style == "whisper":
            wave = whispered(wave, np.random.default_rng(len(wave)))
        return wave


def raised(wave: np.ndarray) -> np.ndarray:
    """A raised voice: a flatter spectrum (3 dB an octave above 500 Hz) and a steadier level."""
    f = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    gain = np.sqrt(np.clip(f / 500, 1, 8))
    wave = noises.unit(np.fft.irfft(np.fft.rfft(wave) * gain, len(wave)))
    return np.tanh(0.8 * wave)


def whispered(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A whisper: the spectral envelope of speech, filled with noise in place of the voice.

    Frames of 32 ms; the envelope is the cepstrum up to 1.5 ms, which leaves out the harmonics.
    """
    size, hop = 512, 128
    window = np.hanning(size + 1)[:-1]
    wave = np.pad(wave, size)
    noise = rng.standard_normal(len(wave))
    out = np.zeros(len(wave))
    lifter = np.zeros(size)
    lifter[:24] = lifter[-23:] = 1.0
    tilt = 1 / np.sqrt(1 + (600 / np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 1)) ** 2)
    for start in range(0, len(wave) - size, hop):
        part = slice(start, start + size)
        spectrum = np.log(np.abs(np.fft.rfft(wave[part] * window)) + 1e-5)
        envelope = np.exp(np.fft.rfft(np.fft.irfft(spectrum) * lifter).real)
        breath = np.fft.rfft(noise[part] * window)
        out[part] += np.fft.irfft(breath * envelope * tilt) * window
    return out[size:-size]


def microphone(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another microphone and place: a smooth random tilt of up to 5 dB, and no bass below it."""
    spectrum = np.fft.rfft(wave)
    f = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(f, 62.5) / 62.5)
    curve = np.interp(octaves, np.arange(8), rng.uniform(-5, 5, 8))
    cut = rng.uniform(50, 120)
    return np.fft.irfft(spectrum * 10 ** (curve / 20) / np.sqrt(1 + (cut / np.maximum(f, 1)) ** 4))
