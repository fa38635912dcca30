"""Noises of machines, vehicles, weather, creatures and music, made from random numbers.

As in `noises`, whose parts they are made of: each takes a length in samples and a seeded
generator, and gives a float array (n,) at 16 kHz with root mean square 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from ..rates import SAMPLE_RATE
from .noises import band, coloured, fan, keyboard, modulated, ring, shaped, slow, unit


def seconds(n: int) -> np.ndarray:
    return np.arange(n) / SAMPLE_RATE


def harmonics(pitch: np.ndarray, amplitudes: ArrayLike, rng: np.random.Generator) -> np.ndarray:
    """A sum of harmonics (n,) of a pitch curve (n,) in Hz; those above 7 kHz are left out."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave = np.zeros(len(pitch))
    for k, amplitude in enumerate(amplitudes, start=1):
        if k * pitch.max() < 7000:
            wave += amplitude * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    return wave


def resonant(wave: np.ndarray, peaks: Iterable[tuple[float, float, float]]) -> np.ndarray:
    """Colour a wave (n,) with resonances, a list of (frequency in Hz, width in Hz, gain)."""
    f = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    gain = 0.1 + sum(g / (1 + ((f - centre) / width) ** 2) for centre, width, g in peaks)
    return np.fft.irfft(np.fft.rfft(wave) * gain, len(wave))


def swell(n: int, length: float, rise: float) -> np.ndarray:
    """The envelope of an event of `length` seconds: up in `rise` seconds, then dying away."""
    at = seconds(n)
    return np.clip(at / rise, 0, 1) * np.exp(-3 * np.maximum(at - rise, 0) / length)


def place(wave: np.ndarray, event: np.ndarray, start: int) -> None:
    """Add an event to a wave from a sample on; what hangs over the end is left out."""
    event = event[: max(0, len(wave) - start)]
    wave[start : start + len(event)] += event


# --- Weather and water ------------------------------------------------------------------------


def wind(n: int, rng: np.random.Generator) -> np.ndarray:
    """Gusts at a microphone: their rumble, brighter the stronger they blow, and a faint whistle."""
    gust = 0.8 * slow(n, 0.35, rng) + 0.4 * slow(n, 2.5, rng)
    calm = shaped(n, lambda f: 1 / (1 + (f / 60) ** 1.5), rng)
    strong = shaped(n, lambda f: 1 / (1 + (f / 350) ** 1.7), rng)
    share = 1 / (1 + np.exp(-2 * gust))
    pitch = rng.uniform(500, 900) * 2 ** (0.25 * gust)
    carrier = np.exp(2j * np.pi * np.cumsum(pitch) / SAMPLE_RATE)
    whistle = unit((carrier * (slow(n, 40, rng) + 1j * slow(n, 40, rng))).real)
    wave = (1 - share) * calm + share * (1.6 * strong + 0.12 * whistle)
    return unit(wave * 10 ** (5 * gust / 20))


def stream(n: int, rng: np.random.Generator) -> np.ndarray:
    """Running water: hundreds of bubbles a second, each a short rising tone, over a hiss."""
    wave = np.zeros(n)
    for _ in range(int(n / SAMPLE_RATE * rng.uniform(120, 260))):
        pitch = np.exp(rng.normal(np.log(900), 0.6))
        length = rng.uniform(0.01, 0.05) * (900 / pitch) ** 0.3
        at = seconds(int(3 * length * SAMPLE_RATE))
        rising = pitch * at * (1 + rng.uniform(0, 2.5) * at)
        bubble = np.sin(2 * np.pi * rising) * np.exp(-at / length) * np.clip(at / 0.001, 0, 1)
        place(wave, bubble * np.exp(rng.normal(0, 0.7)), rng.integers(n))
    hiss = shaped(n, lambda f: f**0.5 / (1 + (f / rng.uniform(600, 2000)) ** 1.6), rng)
    return unit(unit(wave) + rng.uniform(0.4, 0.9) * hiss * 10 ** (slow(n, 1.5, rng) * 1.5 / 20))


# --- Vehicles and machines --------------------------------------------------------------------


def engine(n: int, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """A combustion engine: strokes at `pitch` Hz that never quite repeat, in a body of metal."""
    turn = pitch * (1 + 0.02 * slow(n, 0.8, rng) + 0.004 * slow(n, 12, rng))
    phase = np.cumsum(turn) / SAMPLE_RATE
    strength = 1 + 0.35 * rng.standard_normal(int(phase[-1]) + 2)
    stroke = np.exp(-6 * (phase % 1)) * strength[phase.astype(int)]
    rough = stroke * (1 + 0.5 * rng.standard_normal(n))
    body = [(rng.uniform(60, 160), 40, 3.0), (rng.uniform(250, 500), 90, 1.2)]
    return unit(resonant(rough - rough.mean(), [*body, (rng.uniform(900, 1800), 400, 0.5)]))


def car(n: int, rng: np.random.Generator) -> np.ndarray:
    """Inside a car: rumble, engine, tyres on a road that changes, and now and then the wipers."""
    rumble = shaped(n, lambda f: 1 / (1 + (f / rng.uniform(40, 80)) ** 1.5), rng)
    road = modulated(n, 150, 900, 0.8, 2.5, rng)
    wave = rumble + 0.35 * engine(n, rng.uniform(22, 45), rng) + 0.25 * road
    beat = rng.uniform(1.0, 1.6)
    stroke = band(n, 500, 3000, rng) * np.clip(np.sin(2 * np.pi * beat * seconds(n)), 0, 1) ** 6
    return unit(wave + 0.06 * stroke * (slow(n, 0.15, rng) > 0))


def bus(n: int, rng: np.random.Generator) -> np.ndarray:
    """In a bus: a diesel that speeds up and idles, rattling panes, the hiss of the brakes."""
    load = 0.5 + 0.5 * np.tanh(2 * slow(n, 0.2, rng))
    motor = (1 - load) * engine(n, rng.uniform(14, 18), rng) + load * engine(n, 34, rng)
    rattle = modulated(n, 700, 2600, 9, 6, rng) * (0.3 + load)
    wave = motor + 0.5 * coloured(n, 2, rng) + 0.2 * unit(rattle)
    for start in rng.integers(0, n, max(1, round(n / SAMPLE_RATE / 8))):
        hiss = band(n, 2000, 6500, rng)[: int(1.2 * SAMPLE_RATE)]
        place(wave, 0.5 * hiss * swell(len(hiss), 0.6, 0.05), start)
    return unit(wave)


def metro(n: int, rng: np.random.Generator) -> np.ndarray:
    """In an underground train: rolling rumble, rail joints in pairs, squealing bends, a motor."""
    wave = shaped(n, lambda f: 1 / (1 + (f / 180) ** 1.3), rng)
    wave *= 10 ** (slow(n, 0.4, rng) * 2 / 20)
    gap, start = rng.uniform(0.7, 1.1), rng.uniform(0, 0.5)
    while start < n / SAMPLE_RATE:
        for offset in (0.0, 0.13):
            at = int((start + offset) * SAMPLE_RATE)
            place(wave, 2.2 * ring(rng.uniform(70, 110), 0.03, rng), at)
            place(wave, ring(rng.uniform(400, 900), 0.01, rng), at)
        start += gap * rng.uniform(0.95, 1.05)
    pitch = rng.uniform(350, 600) * (1 + 0.25 * slow(n, 0.15, rng))
    wave += 0.12 * unit(harmonics(pitch, (1, 0.5, 0.6, 0.2), rng))
    for _ in range(max(1, round(n / SAMPLE_RATE / 9))):
        length = int(rng.uniform(0.8, 2.5) * SAMPLE_RATE)
        tone = rng.uniform(1800, 3200) * (1 + 0.01 * slow(length, 20, rng))
        squeal = harmonics(tone, (1, 0.4), rng)
        squeal *= np.hanning(length) * 10 ** (slow(length, 8, rng) * 4 / 20)
        place(wave, 0.45 * unit(squeal), rng.integers(n))
    return unit(wave)


def washing(n: int, rng: np.random.Generator) -> np.ndarray:
    """A washing machine: water thrown about by the drum, a humming motor, a pump now and then."""
    turn = rng.uniform(0.7, 1.0)
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * turn * seconds(n) + 2 * slow(n, 0.3, rng))
    slosh = unit(band(n, 200, 1800, rng) * beat**2 * 10 ** (slow(n, 3, rng) * 2 / 20))
    motor = unit(harmonics(np.full(n, rng.uniform(95, 105)), 1 / np.arange(1, 14), rng))
    pump = band(n, 300, 700, rng) * (slow(n, 0.12, rng) > 0.6)
    wave = 0.8 * slosh + 0.5 * motor * (0.6 + 0.4 * beat) + 0.3 * pump
    return unit(wave + 0.2 * coloured(n, 1, rng))


def vacuum(n: int, rng: np.random.Generator) -> np.ndarray:
    """A vacuum cleaner: a whining motor and rushing air, strangled when the nozzle sticks."""
    stuck = 1 / (1 + np.exp(-4 * (slow(n, 0.5, rng) - 0.8)))
    pitch = rng.uniform(260, 340) * (1 + 0.12 * stuck + 0.003 * slow(n, 5, rng))
    motor = unit(harmonics(pitch, rng.uniform(0.2, 1, 18) / np.sqrt(np.arange(1, 19)), rng))
    air = shaped(n, lambda f: f**0.3 / (1 + (f / 2500) ** 1.2), rng)
    brush = modulated(n, 800, 4000, 14, 4, rng)
    return unit(0.6 * motor + air * (1 - 0.6 * stuck) + 0.3 * brush * (1 - stuck))


def drill(n: int, rng: np.random.Generator) -> np.ndarray:
    """A hammer drill through a wall: bouts of blows at 30 to 50 Hz and a screaming gear."""
    wave = 0.03 * coloured(n, 1, rng)
    at = int(rng.uniform(0, 0.6) * SAMPLE_RATE)
    while at < n:
        length = int(rng.uniform(0.8, 2.4) * SAMPLE_RATE)
        blows = engine(length, rng.uniform(30, 50), rng)
        whine = rng.uniform(380, 520) * (1 + 0.02 * slow(length, 3, rng))
        gear = harmonics(whine, (1, 0.8, 0.6, 0.5, 0.5), rng)
        grit = band(length, 1500, 6000, rng) * (0.4 + np.abs(blows))
        bout = blows + 0.25 * unit(gear) + 0.5 * unit(grit)
        place(wave, bout * np.clip(seconds(length) / 0.15, 0, 1), at)
        at += length + int(rng.uniform(0.3, 1.2) * SAMPLE_RATE)
    return unit(wave)


def siren(n: int, rng: np.random.Generator) -> np.ndarray:
    """A siren that comes and goes: wail, yelp or two tones, through the echo of a street."""
    at = seconds(n)
    form = rng.integers(3)
    sweep = [
        0.5 - 0.5 * np.cos(2 * np.pi * at * 0.35),
        (at * 3.2) % 1,
        (at * 0.9 % 1 > 0.5).astype(float),
    ][form]
    passing = np.tanh((at - rng.uniform(0.3, 0.7) * n / SAMPLE_RATE) / 1.5)
    pitch = (rng.uniform(550, 700) * (1 + 0.9 * sweep)) * (1 - 0.03 * passing)
    horn = harmonics(pitch, 1 / np.arange(1, 9) ** 0.8, rng)
    horn = resonant(horn, [(1200, 500, 2), (2800, 700, 1)])
    near = 10 ** (-6 * np.abs(passing) / 20 + slow(n, 2, rng) * 1.5 / 20)
    wave = unit(horn * near)
    for _ in range(6):  # the fronts of the houses
        delay = rng.integers(SAMPLE_RATE // 40, SAMPLE_RATE // 4)
        wave[delay:] += rng.uniform(0.05, 0.25) * wave[:-delay]
    return unit(unit(wave) + 0.25 * shaped(n, lambda f: 1 / (1 + (f / 150) ** 1.5), rng))


def office(n: int, rng: np.random.Generator) -> np.ndarray:
    """An office: ventilation, somebody typing, a printer that draws in paper."""
    wave = 0.5 * fan(n, rng) + 0.8 * keyboard(n, rng)
    for _ in range(max(1, round(n / SAMPLE_RATE / 12))):
        length = int(rng.uniform(1.0, 2.5) * SAMPLE_RATE)
        pull = np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * seconds(length)), 0, 1)
        printer = band(length, 400, 3500, rng) * (0.3 + pull) * np.hanning(length) ** 0.3
        place(wave, 0.7 * printer, rng.integers(n))
    return unit(wave)


def kitchen(n: int, rng: np.random.Generator) -> np.ndarray:
    """A kitchen: dishes, cutlery in a drawer, running water for a while, a humming fridge."""
    wave = 0.06 * unit(harmonics(np.full(n, 100.0), 1 / np.arange(1, 9) ** 1.5, rng))
    wave += 0.05 * coloured(n, 1, rng)
    for _ in range(max(3, rng.poisson(n / SAMPLE_RATE * 1.6))):
        dish = ring(np.exp(rng.uniform(np.log(700), np.log(5000))), rng.uniform(0.01, 0.09), rng)
        for second in rng.uniform(1.3, 2.9, 2):  # plates have more than one tone
            place(dish, 0.5 * ring(min(7000, 1800 * second), 0.02, rng), 0)
        place(wave, dish * 10 ** (rng.normal(0, 5) / 20), rng.integers(n))
    tap = stream(n, rng) * np.clip(2 * slow(n, 0.12, rng), 0, 1)
    return unit(wave + 0.1 * tap)


# --- Creatures --------------------------------------------------------------------------------


def birds(n: int, rng: np.random.Generator) -> np.ndarray:
    """A few birds, each with its own phrase of gliding tones, above leaves in the wind."""
    leaves = modulated(n, 800, 5000, 0.6, 3, rng)
    wave = 0.12 * leaves + 0.04 * coloured(n, 1.5, rng)
    for _ in range(rng.integers(3, 6)):
        song = []
        for _ in range(rng.integers(2, 7)):
            length = int(rng.uniform(0.04, 0.22) * SAMPLE_RATE)
            start, end = rng.uniform(1900, 5200, 2)
            trill = np.sin(2 * np.pi * rng.uniform(15, 60) * seconds(length))
            pitch = np.linspace(start, start + 0.4 * (end - start), length)
            pitch *= 1 + rng.uniform(0, 0.06) * trill
            song += [harmonics(pitch, (1, 0.15), rng) * np.hanning(length)]
            song += [np.zeros(rng.integers(SAMPLE_RATE // 50, SAMPLE_RATE // 8))]
        song = np.concatenate(song) * 10 ** (rng.uniform(-12, 0) / 20)
        at = rng.integers(0, SAMPLE_RATE)
        while at < n:
            place(wave, song, at)
            at += len(song) + int(rng.exponential(1.2) * SAMPLE_RATE)
    return unit(wave)


def barking(n: int, rng: np.random.Generator) -> np.ndarray:
    """A dog: groups of barks with a falling, rough pitch, in a yard."""
    wave = 0.02 * coloured(n, 1.5, rng)
    voice = rng.uniform(320, 520)
    at = int(rng.uniform(0, 0.8) * SAMPLE_RATE)
    while at < n:
        for _ in range(rng.integers(1, 5)):
            length = int(rng.uniform(0.16, 0.3) * SAMPLE_RATE)
            fall = np.linspace(1.15, 0.7, length) * (1 + 0.05 * slow(length, 60, rng))
            tone = harmonics(voice * fall, 1 / np.arange(1, 16) ** 0.6, rng)
            bark = unit(tone) + 0.5 * rng.standard_normal(length)
            bark = resonant(bark, [(700, 200, 2), (1400, 300, 1.5), (2900, 600, 0.5)])
            place(wave, unit(bark) * swell(length, 0.12, 0.015) * rng.uniform(0.5, 1), at)
            at += length + int(rng.uniform(0.05, 0.35) * SAMPLE_RATE)
        at += int(rng.exponential(0.9) * SAMPLE_RATE)
    for delay in rng.integers(SAMPLE_RATE // 30, SAMPLE_RATE // 5, 5):
        wave[delay:] += rng.uniform(0.05, 0.2) * wave[:-delay]
    return unit(wave)


def applause(n: int, rng: np.random.Generator) -> np.ndarray:
    """A hall that claps: sixty pairs of hands, each in its own time, in waves."""
    wave = np.zeros(n)
    tide = 10 ** (slow(n, 0.25, rng) * 4 / 20)
    for _ in range(60):
        clap = shaped(400, lambda f: 1 / (1 + ((f - 1400) / 900) ** 2), rng)
        clap *= np.exp(-np.arange(400) / rng.uniform(40, 110)) * 10 ** (rng.normal(0, 4) / 20)
        at, gap = rng.uniform(0, 0.4), rng.uniform(0.2, 0.36)
        while at < n / SAMPLE_RATE:
            place(wave, clap, int(at * SAMPLE_RATE))
            at += gap * rng.normal(1, 0.08)
    return unit(wave * tide)


def steps(n: int, rng: np.random.Generator) -> np.ndarray:
    """Somebody walks on boards, shuts a door, jingles with keys."""
    wave = 0.02 * coloured(n, 1.5, rng)
    at = rng.uniform(0, 0.4)
    while at < n / SAMPLE_RATE:
        weight = rng.uniform(0.5, 1)
        place(wave, weight * ring(rng.uniform(90, 140), 0.025, rng), int(at * SAMPLE_RATE))
        place(wave, 0.5 * weight * ring(rng.uniform(1500, 2600), 0.004, rng), int(at * SAMPLE_RATE))
        scuff = band(1600, 1000, 4000, rng) * np.hanning(1600) * 0.08
        place(wave, scuff, int((at + 0.09) * SAMPLE_RATE))
        at += rng.normal(0.52, 0.03) + (rng.random() < 0.08) * rng.uniform(0.5, 1.5)
    for _ in range(max(1, round(n / SAMPLE_RATE / 6))):
        start = rng.integers(n)
        place(wave, 1.2 * ring(rng.uniform(45, 80), 0.09, rng), start)
        place(wave, 0.8 * ring(rng.uniform(300, 600), 0.02, rng), start)
    for _ in range(max(1, round(n / SAMPLE_RATE / 3))):
        keys = np.zeros(SAMPLE_RATE // 2)
        for start in rng.integers(0, SAMPLE_RATE // 3, 14):
            place(keys, ring(rng.uniform(3500, 7000), 0.012, rng), start)
        place(wave, 0.12 * keys, rng.integers(n))
    return unit(wave)


# --- Music ------------------------------------------------------------------------------------


def pluck(pitch: float, length: float, bright: float, rng: np.random.Generator) -> np.ndarray:
    """A plucked string: harmonics that die the faster the higher they are."""
    at = seconds(int(length * SAMPLE_RATE))
    note = np.zeros(len(at))
    for k in range(1, int(min(20, 7000 / pitch)) + 1):
        decay = np.exp(-at * (1.2 + 0.5 * k) / length * 2)
        # Strings are stiff: their harmonics lie a little too high.
        tone = np.sin(2 * np.pi * k * pitch * at * (1 + 2e-4 * k) + rng.random())
        note += k**-bright * decay * tone
    return note * np.clip(at / 0.004, 0, 1)


def music(n: int, rng: np.random.Generator) -> np.ndarray:
    """A small band out of a loudspeaker: four chords, bass, broken chords, a drum kit."""
    root = 110 * 2 ** (rng.integers(12) / 12)
    chords = [(0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14)]
    order = rng.permutation(4)
    beat = rng.uniform(0.4, 0.6)
    bright = rng.uniform(0.8, 1.4)
    wave = np.zeros(n)
    drum, brush = ring(60, 0.08, rng), band(2400, 3000, 7500, rng) * np.exp(-np.arange(2400) / 500)
    for step in range(int(n / SAMPLE_RATE / beat * 2) + 1):
        at = int(step * beat / 2 * SAMPLE_RATE)
        chord = chords[order[step // 8 % 4]]
        if step % 4 == 0:
            place(wave, 1.4 * pluck(root / 2 * 2 ** (chord[0] / 12), 4 * beat, bright, rng), at)
            place(wave, 1.2 * drum, at)
        if step % 2:
            place(wave, rng.uniform(0.1, 0.25) * brush, at)
        if rng.random() < 0.8:
            note = chord[rng.integers(3)] + 12 * rng.integers(1, 3)
            place(wave, 0.6 * pluck(root * 2 ** (note / 12), 2 * beat, bright, rng), at)
    # A small loudspeaker: nothing below 120 Hz.
    f = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    return unit(np.fft.irfft(np.fft.rfft(wave) / np.sqrt(1 + (120 / np.maximum(f, 1)) ** 4), n))


def song(n: int, rng: np.random.Generator) -> np.ndarray:
    """A held melody with vibrato, as of a fiddle or a humming voice, over soft chords."""
    wave, at = np.zeros(n), 0
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12) * rng.uniform(0.8, 1.3)
    degree = 3
    while at < n:
        length = int(rng.choice([0.3, 0.45, 0.6, 1.2]) * SAMPLE_RATE)
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 7))
        vibrato = 1 + 0.012 * np.sin(2 * np.pi * rng.uniform(5, 6.5) * seconds(length))
        note = harmonics(scale[degree] * vibrato, 1 / np.arange(1, 14), rng)
        note = resonant(note, [(500, 150, 1.5), (1100, 250, 1.2), (2600, 500, 0.8)])
        place(wave, unit(note) * np.hanning(length) ** 0.4, at)
        if rng.random() < 0.5:
            for third in (0, 2, 4):
                place(wave, 0.3 * pluck(scale[(degree + third) % 8] / 2, 1.5, 1.2, rng), at)
        at += length
    return unit(unit(wave) + 0.02 * coloured(n, 1.5, rng))
