"""Any array as a checked wave, its number format, its level."""

import operator
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

BLOCK = 1 << 16  # samples a channel, the unit in which long recordings are worked through
MOST_CHANNELS = 64
INTEGER_TYPES = ("uint8", "int16", "int32")


def as_wave(wave: ArrayLike, name: str = "wave") -> np.ndarray:
    """Any array-like as a checked NumPy wave of its own type, not copied if it can be helped.

    Args:
        wave: (n,) or (n, channels), n >= 1; NumPy array, tensor or nested list; uint8, int16,
            int32 or any float.
        name: what it is called in error messages.

    Returns:
        np.ndarray: (n,) or (n, channels).

    Raises:
        ValueError: in words: not numbers, an unknown integer type, empty, a wrong number of
            dimensions, NaN or infinity.
    """
    if hasattr(wave, "detach"):
        wave = wave.detach().cpu()
    try:
        wave = np.asarray(wave)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is not audio: it cannot be read as an array ({error}).") from None
    if wave.dtype.kind != "f" and wave.dtype.name not in INTEGER_TYPES:
        raise ValueError(
            f"{name} is not audio: its values are of type {wave.dtype}; give floats with full "
            f"scale 1, or {', '.join(INTEGER_TYPES)}."
        )
    if wave.ndim not in (1, 2):
        raise ValueError(
            f"{name} has shape {wave.shape}: give (n,) for mono or (n, channels) otherwise."
        )
    if wave.size == 0:
        raise ValueError(f"{name} is empty: its shape is {wave.shape}.")
    if wave.ndim == 2 and wave.shape[1] > MOST_CHANNELS:
        raise ValueError(
            f"{name} has shape {wave.shape}, that is {wave.shape[1]} channels: samples come "
            f"first, channels second; did you mean {name}.T?"
        )
    for block in blocks_of(wave):
        check_finite(block, name)
    return wave


def check_finite(block: np.ndarray, name: str = "wave") -> None:
    """Raise ValueError, in words, if a float array holds NaN or infinity."""
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        what = "NaN (not a number)" if np.isnan(block).any() else "infinity"
        raise ValueError(f"{name} holds {what}: it cannot be played, scored or enhanced.")


def check_rate(sample_rate: int, name: str = "sample_rate") -> int:
    """The sample rate as an int, in Hz; ValueError, in words, if it is not a positive one."""
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        whole = isinstance(sample_rate, (float, np.floating)) and float(sample_rate).is_integer()
        if not whole:
            raise ValueError(
                f"{name} is {sample_rate!r}: give a whole number of hertz, for example 16000."
            ) from None
        rate = int(sample_rate)
    if rate <= 0:
        raise ValueError(f"{name} is {rate}: it must be above zero, for example 16000.")
    return rate


def blocks_of(wave: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """The wave in consecutive pieces of up to `size` samples, as views."""
    return (wave[start : start + size] for start in range(0, len(wave), size))


def to_float(wave: np.ndarray) -> np.ndarray:
    """Integers (uint8, int16, int32) to float32 in [-1, 1); floats keep their values.

    uint8 is the offset form of 8-bit WAV: 128 is silence. Floats come back in the processor's own
    byte order, as float32 or, where that holds fewer digits, float64.
    """
    if wave.dtype.kind == "f":
        return wave.astype(np.float32 if wave.dtype.itemsize <= 4 else np.float64, copy=False)
    if wave.dtype.name not in INTEGER_TYPES:
        raise ValueError(
            f"Integers of type {wave.dtype} have no agreed full scale; "
            f"use {', '.join(INTEGER_TYPES)}."
        )
    full_scale = 2.0 ** (8 * wave.dtype.itemsize - 1)
    offset = full_scale if wave.dtype.kind == "u" else 0.0
    return ((wave - offset) / full_scale).astype(np.float32)


def from_float(wave: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Floats with full scale 1 to `dtype`; integers are rounded and clipped."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return wave.astype(dtype, copy=False)
    if dtype.name not in INTEGER_TYPES:
        raise ValueError(f"A wave cannot be stored as {dtype}; use {', '.join(INTEGER_TYPES)}.")
    full_scale = 2.0 ** (8 * dtype.itemsize - 1)
    offset = full_scale if dtype.kind == "u" else 0.0
    # float64, because float32 cannot hold the largest int32.
    values = np.rint(wave.astype(np.float64) * full_scale + offset)
    return np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def level_gain(energy: ArrayLike, n: ArrayLike) -> np.ndarray | np.float64:
    """Gain that brings a wave to mean square 1: sqrt(n / sum(x^2)), the network's input level.

    Args:
        energy: sum(x^2), a number or an array of them.
        n: number of samples.

    Returns:
        float64 gain, of the shape of `energy`; 0 where there is silence, which has no level.
    """
    energy = np.asarray(energy, dtype=np.float64)
    return np.sqrt(np.divide(n, energy, out=np.zeros_like(energy), where=energy > 0))
