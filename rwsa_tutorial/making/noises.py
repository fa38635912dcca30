"""Noises made from random numbers: each takes a length in samples and a seeded generator.

All return a float array (n,) at 16 kHz with root mean square 1, so that only the mixing
decides the level. The same seed gives the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..rates import SAMPLE_RATE


def unit(wave: np.ndarray) -> np.ndarray:
    """Remove the mean of a wave (n,) and scale it to root mean square 1."""
    wave = np.asarray(wave, dtype=np.float64)
    wave = wave - wave.mean()
    level = np.sqrt(np.mean(wave**2))
    if not level > 0:
        raise ValueError("cannot scale silence to root mean square 1")
    return wave / level


def shaped(
    n: int, gain: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Gaussian noise (n,) whose amplitude spectrum follows `gain(frequency in Hz)`."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    return unit(np.fft.irfft(spectrum * gain(np.fft.rfftfreq(n, 1 / SAMPLE_RATE)), n))


def coloured(n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Noise with power density f**-exponent: 0 white, 1 pink, 2 brown; flat below 20 Hz."""
    return shaped(n, lambda f: np.maximum(f, 20.0) ** (-exponent / 2), rng)


def band(n: int, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Noise between two frequencies in Hz, with slopes of 24 dB an octave."""

    def gain(f):
        f = np.maximum(f, 1.0)
        return 1 / np.sqrt((1 + (low / f) ** 8) * (1 + (f / high) ** 8))

    return shaped(n, gain, rng)


def slow(n: int, hertz: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random curve (n,), mean 0, root mean square 1, moving up to `hertz` a second."""
    points = rng.standard_normal(int(np.ceil(n / SAMPLE_RATE * hertz * 2)) + 4)
    at = np.linspace(1, len(points) - 2, n)
    left = np.floor(at).astype(int)
    blend = 0.5 - 0.5 * np.cos(np.pi * (at - left))
    return unit(points[left] * (1 - blend) + points[np.minimum(left + 1, len(points) - 1)] * blend)


def modulated(
    n: int, low: float, high: float, hertz: float, depth_db: float, rng: np.random.Generator
) -> np.ndarray:
    """A band of noise whose level wanders by `depth_db` (root mean square) up to `hertz`."""
    return unit(band(n, low, high, rng) * 10 ** (slow(n, hertz, rng) * depth_db / 20))


def long_term_spectrum(waves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean amplitude spectrum of speech: frequencies in Hz (257,), amplitudes (257,)."""
    power = np.zeros(257)
    window = np.hanning(512)
    for wave in waves:
        frames = unit(wave)[: len(wave) // 512 * 512].reshape(-1, 512) * window
        power += (np.abs(np.fft.rfft(frames, axis=1)) ** 2).sum(axis=0)
    return np.fft.rfftfreq(512, 1 / SAMPLE_RATE), np.sqrt(power / power.max())


def speech_shaped(
    n: int, spectrum: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Steady noise with the long-term spectrum of speech (see `long_term_spectrum`)."""
    return shaped(n, lambda f: np.interp(f, *spectrum), rng)


def babble(n: int, voices: Sequence[Sequence[np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """Several people at once: each voice speaks its own waves in random order, at its own level."""
    total = np.zeros(n)
    for waves in voices:
        speech: list[np.ndarray] = []
        while sum(map(len, speech)) < n + SAMPLE_RATE:
            speech.append(unit(waves[rng.integers(len(waves))]))
            speech.append(np.zeros(rng.integers(SAMPLE_RATE // 10, SAMPLE_RATE // 2)))
        line = np.concatenate(speech)
        start = rng.integers(len(line) - n)
        total += line[start : start + n] * 10 ** (rng.uniform(-5, 0) / 20)
    return unit(total)


def hum(n: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum (50 or 60 Hz and harmonics) over faint pink noise."""
    seconds = np.arange(n) / SAMPLE_RATE
    pitch = rng.choice([50.0, 60.0])
    wave = np.zeros(n)
    for harmonic in range(1, rng.integers(8, 40)):
        amplitude = harmonic ** -rng.uniform(0.5, 1.3) * (1 + 0.1 * slow(n, 1.0, rng))
        wave += amplitude * np.sin(2 * np.pi * (pitch * harmonic * seconds + rng.random()))
    return unit(unit(wave) + rng.uniform(0.05, 0.4) * coloured(n, 1, rng))


def fan(n: int, rng: np.random.Generator) -> np.ndarray:
    """A fan: air noise falling with frequency, and blade tones whose speed wanders a little."""
    blade = rng.uniform(60, 240)
    phase = np.cumsum(blade * (1 + 0.004 * slow(n, 0.7, rng))) / SAMPLE_RATE
    tones = sum(
        rng.uniform(0.3, 1) / k * np.sin(2 * np.pi * (k * phase + rng.random()))
        for k in range(1, 9)
    )
    corner = np.exp(rng.uniform(np.log(80), np.log(600)))
    air = shaped(n, lambda f: 1 / (1 + (f / corner) ** 1.4), rng)
    return unit(air * (1 + 0.06 * unit(tones)) + rng.uniform(0.1, 0.4) * unit(tones))


def ring(frequency: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """One knock: noise and a decaying resonance, peak 1."""
    n = int(6 * seconds * SAMPLE_RATE) + 32
    at = np.arange(n) / SAMPLE_RATE
    body = np.sin(2 * np.pi * frequency * at + rng.uniform(0, np.pi)) * np.exp(-at / seconds)
    click = rng.standard_normal(n) * np.exp(-at / min(seconds, 0.003))
    wave = body + rng.uniform(0.2, 1.2) * click
    return wave / np.abs(wave).max()


def sequence(
    n: int, effects: Sequence[np.ndarray], per_second: float, rng: np.random.Generator
) -> np.ndarray:
    """Place short effects at random times and levels (spread about 5 dB) in n samples.

    At least one effect is placed. Raises ValueError if there is none to place.
    """
    if not len(effects):
        raise ValueError("no effects to place")
    wave = np.zeros(n)
    for _ in range(max(1, rng.poisson(per_second * n / SAMPLE_RATE))):
        effect = effects[rng.integers(len(effects))][:n]
        start = rng.integers(0, n - len(effect) + 1)
        wave[start : start + len(effect)] += effect * 10 ** (rng.normal(0, 5) / 20)
    return unit(wave)


def impulses(n: int, rng: np.random.Generator) -> np.ndarray:
    """Knocks and clatter: 1 to 8 resonant strokes a second over a faint pink floor."""
    strokes = [
        ring(np.exp(rng.uniform(np.log(150), np.log(5000))), rng.uniform(0.003, 0.08), rng)
        for _ in range(12)
    ]
    return unit(sequence(n, strokes, rng.uniform(1, 8), rng) + 0.05 * coloured(n, 1, rng))


def keyboard(n: int, rng: np.random.Generator) -> np.ndarray:
    """Typing: runs of key strokes (a press and a softer release) with pauses, in a quiet room."""
    keys = [
        (
            ring(rng.uniform(900, 3000), rng.uniform(0.002, 0.006), rng),
            ring(rng.uniform(110, 350), 0.02, rng),
        )
        for _ in range(24)
    ]
    wave = np.zeros(n + SAMPLE_RATE)
    at = rng.integers(SAMPLE_RATE // 20, SAMPLE_RATE // 4)
    while at < n:
        press, thump = keys[rng.integers(len(keys))]
        level = 10 ** (rng.normal(0, 3) / 20)
        release = at + int(rng.uniform(0.06, 0.12) * SAMPLE_RATE)
        for start, sound, gain in ((at, press, 1.0), (at, thump, 0.9), (release, press, 0.35)):
            wave[start : start + len(sound)] += gain * level * sound
        pause = rng.uniform(0.3, 0.9) if rng.random() < 0.12 else rng.uniform(0.09, 0.22)
        at += int(pause * SAMPLE_RATE)
    # A desk and a room take the edge off the strokes: 6 dB an octave above 1.5 kHz.
    edge = 1 / np.hypot(1, np.fft.rfftfreq(n, 1 / SAMPLE_RATE) / 1500)
    wave = np.fft.irfft(np.fft.rfft(wave[:n]) * edge, n)
    return unit(unit(wave) + 0.15 * coloured(n, 1.5, rng))


def rain(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rain: a hiss of far drops, and hundreds of near ones a second on leaves and a roof."""
    slope = rng.uniform(0.5, 1.6)
    hiss = shaped(n, lambda f: f / np.maximum(f, 150.0) ** (1 + slope), rng)
    hiss = unit(hiss * 10 ** (slow(n, 0.5, rng) * 0.7 / 20))
    drops = [
        ring(np.exp(rng.uniform(np.log(250), np.log(4500))), rng.uniform(0.0008, 0.006), rng)
        for _ in range(40)
    ]
    near = sequence(n, drops, rng.uniform(60, 250), rng)
    return unit(hiss + rng.uniform(0.3, 0.8) * near)


def traffic(n: int, rng: np.random.Generator) -> np.ndarray:
    """A street: low rumble, vehicles that swell and fade, and tyre noise with them."""
    wave = 0.5 * shaped(n, lambda f: 1 / (1 + (f / 120) ** 1.6), rng)
    at = np.arange(n) / SAMPLE_RATE
    for _ in range(max(2, rng.poisson(n / SAMPLE_RATE / 2.5))):
        middle, width = rng.uniform(0, n / SAMPLE_RATE), rng.uniform(0.5, 1.8)
        swell = np.exp(-0.5 * ((at - middle) / width) ** 2)
        # The pitch falls as the vehicle passes.
        pitch = rng.uniform(45, 110) * (1 - 0.08 * np.tanh((at - middle) / 0.5))
        phase = np.cumsum(pitch) / SAMPLE_RATE
        engine = sum(np.sin(2 * np.pi * (k * phase + rng.random())) / k for k in range(1, 14))
        engine = unit(engine) * (1 + 0.3 * slow(n, 15, rng))
        tyres = band(n, rng.uniform(250, 500), rng.uniform(1200, 2600), rng)
        wave += swell * 10 ** (rng.normal(0, 3) / 20) * (0.8 * engine + tyres)
    return unit(wave)
