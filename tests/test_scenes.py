"""Noises from random numbers: level, repeatability, variety; and rooms."""

import numpy as np
import pytest

from rwsa_tutorial.corpora import rooms
from rwsa_tutorial.making import noises, scenes

KINDS = {
    name: getattr(scenes, name)
    for name in (
        *("wind", "stream", "car", "bus", "metro", "washing", "vacuum", "drill", "siren", "office"),
        *("kitchen", "birds", "barking", "applause", "steps", "music", "song"),
    )
} | {
    name: getattr(noises, name)
    for name in ("hum", "fan", "impulses", "keyboard", "rain", "traffic")
}


@pytest.mark.parametrize("name", KINDS)
def test_noise_has_unit_power_and_repeats_by_its_seed(name):
    wave = KINDS[name](3 * 16_000, np.random.default_rng(1))
    assert wave.shape == (48_000,) and np.isfinite(wave).all()
    assert np.mean(wave**2) == pytest.approx(1, abs=1e-9)
    assert abs(np.mean(wave)) < 1e-9
    np.testing.assert_array_equal(KINDS[name](48_000, np.random.default_rng(1)), wave)
    other = KINDS[name](48_000, np.random.default_rng(2))
    assert abs(np.mean(wave * other)) < 0.5


def test_kinds_differ_in_their_spectra():
    def spectrum(name):
        frames = KINDS[name](160_000, np.random.default_rng(3))[:159_744].reshape(-1, 512)
        power = np.mean(np.abs(np.fft.rfft(frames * np.hanning(512))) ** 2, axis=0)
        bands = np.add.reduceat(power, [1, 4, 8, 16, 32, 64, 128])
        return 10 * np.log10(bands / bands.sum())

    spectra = {name: spectrum(name) for name in KINDS}
    apart = [
        np.abs(one - other).max()
        for a, one in spectra.items()
        for b, other in spectra.items()
        if a < b
    ]
    assert np.median(apart) > 10  # dB, in the octave where they differ most


def test_metro_clacks_and_hum_hums():
    hum = np.abs(np.fft.rfft(noises.hum(160_000, np.random.default_rng(0))))
    strongest = np.argmax(hum) / 10  # Hz
    assert min(strongest % 50, strongest % 60, 50 - strongest % 50, 60 - strongest % 60) < 0.5
    level = np.square(scenes.metro(160_000, np.random.default_rng(0)))[:159_840].reshape(-1, 160)
    assert np.percentile(level.mean(axis=1), 99) > 4 * np.median(level.mean(axis=1))


def test_room_begins_with_the_direct_sound_and_dies_away_in_its_time():
    impulse = rooms.response((6.0, 5.0, 2.8), 0.5, 1.5, np.random.default_rng(0))
    assert impulse[0] == 1 and np.abs(impulse).max() == 1
    left = np.cumsum(impulse[::-1] ** 2)[::-1]  # Schroeder's integral
    decay = 10 * np.log10(left / left[0])
    fifth, twentyfifth = (np.argmax(decay < level) / 16_000 for level in (-5, -25))
    assert 3 * (twentyfifth - fifth) == pytest.approx(0.5, rel=0.35)
    with pytest.raises(ValueError, match="do not fit"):
        rooms.response((3.0, 3.0, 2.5), 0.3, 2.5, np.random.default_rng(0))


def test_rooms_and_no_room_in_the_share_asked_for():
    some = rooms.with_dry(0.4, seed=1, count=2)
    assert [len(response) == 1 for response in some] == [False, False, True, True, True]
    assert all(0.05 < len(room) / 16_000 < 1.5 for room in some[:2])  # seconds
    again, other = (rooms.with_dry(1.0, seed=seed, count=2) for seed in (1, 2))
    np.testing.assert_array_equal(again[0], some[0])
    assert len(again) == 2 and len(other[0]) != len(some[0])
    assert rooms.with_dry(0.0, seed=1) == []
