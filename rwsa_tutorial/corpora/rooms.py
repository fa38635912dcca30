"""Rooms: impulse responses of boxes by the image source method (pyroomacoustics)."""

import functools

import numpy as np

from ..rates import SAMPLE_RATE


def response(
    size: tuple[float, float, float], seconds: float, distance: float, rng: np.random.Generator
) -> np.ndarray:
    """Impulse response (n,) between two random places of a room, 16 kHz, direct sound of height 1.

    size: length, width and height in metres. seconds: reverberation time (60 dB). distance: from
    source to microphone in metres. The direct sound comes first: sample 0 is its peak.

    Raises ValueError when the room cannot be so dry or so small, and ModuleNotFoundError without
    pyroomacoustics (extra `render`).
    """
    import pyroomacoustics

    size = np.asarray(size, dtype=float)
    if distance >= size[:2].min() - 1:
        raise ValueError(f"{distance} m between source and microphone do not fit into {size} m")
    absorption, order = pyroomacoustics.inverse_sabine(seconds, size)
    walls = pyroomacoustics.Material(absorption)
    order = min(order, 25)
    room = pyroomacoustics.ShoeBox(size, fs=SAMPLE_RATE, materials=walls, max_order=order)
    middle = np.append(size[:2] / 2 + rng.uniform(-0.3, 0.3, 2), 1.4)
    angle = rng.uniform(0, 2 * np.pi)
    step = distance / 2 * np.array([np.cos(angle), np.sin(angle), 0.1])
    room.add_source(middle + step)
    room.add_microphone(middle - step)
    room.compute_rir()
    wave = np.asarray(room.rir[0][0])
    wave = wave[np.argmax(np.abs(wave)) :]
    return wave / wave[0]


def in_room(wave: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """A wave (n,) as the microphone hears it: convolved with a response, as long as before."""
    size = len(wave) + len(impulse) - 1
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(impulse, size)
    return np.fft.irfft(spectrum, size)[: len(wave)]


@functools.lru_cache(maxsize=2)  # seconds of work, wanted for training and for validation
def with_dry(share: float, seed: int, count: int = 24) -> list[np.ndarray]:
    """Responses of `count` random rooms, and of no room so often that the rooms are this share.

    share: 0 to 1; 0 gives an empty list. Small to large rooms of 0.2 to 0.7 s, heard from 0.5 m
    or more. The seed decides. Raises ModuleNotFoundError as `response` does.
    """
    if not share:
        return []
    rng = np.random.default_rng(seed)
    rooms = []
    while len(rooms) < count:
        size = tuple(rng.uniform((3.5, 3.0, 2.4), (9.0, 6.0, 3.5)))
        distance = rng.uniform(0.5, min(size[:2]) - 1.2)
        rooms.append(response(size, rng.uniform(0.2, 0.7), distance, rng))
    return rooms + [np.ones(1)] * round(count * (1 - share) / share)
