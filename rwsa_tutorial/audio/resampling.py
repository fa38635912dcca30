"""Other sample rates, in one piece or block by block."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from .waves import BLOCK, as_wave, blocks_of, check_rate, to_float


def resample(wave: ArrayLike, from_rate: int, to_rate: int) -> np.ndarray:
    """Change the sample rate, by soxr at high quality.

    Args:
        wave: (n,) or (n, channels), float or integer.
        from_rate, to_rate: in Hz, any whole numbers.

    Returns:
        float32 wave (m,) or (m, channels), m = ceil(n * to_rate / from_rate).
    """
    wave = to_float(as_wave(wave))
    columns = wave.reshape(len(wave), -1)
    parts = list(resample_blocks(blocks_of(columns), from_rate, to_rate, columns.shape[1]))
    return np.concatenate(parts).reshape((-1,) + wave.shape[1:])


def resample_blocks(
    blocks: Iterable[np.ndarray],
    from_rate: int,
    to_rate: int,
    channels: int,
    length: int | None = None,
) -> Iterator[np.ndarray]:
    """Resample a stream of blocks, in memory that does not grow with its length.

    Args:
        blocks: iterable of (m, channels) float arrays; their joined length is n.
        from_rate, to_rate: in Hz.
        channels: number of channels.
        length: samples to give in all; by default ceil(n * to_rate / from_rate).

    Yields:
        float32 (m, channels).
    """
    from_rate, to_rate = check_rate(from_rate, "from_rate"), check_rate(to_rate, "to_rate")
    stream = _resampler(from_rate, to_rate, channels)
    step = max(1, BLOCK * from_rate // to_rate)  # keeps what comes out as small as what goes in
    n = given = 0
    for block in blocks:
        n += len(block)
        for piece in blocks_of(block, step):
            out = stream(np.ascontiguousarray(piece, dtype=np.float32), False)
            out = out if length is None else out[: length - given]
            given += len(out)
            if len(out):
                yield out
    length = -(-n * to_rate // from_rate) if length is None else length
    # Two output samples' worth of silence: soxr alone would round the length down.
    pad = np.zeros((2 * -(-from_rate // to_rate), channels), np.float32)
    out = stream(pad, True)[: length - given]
    missing = length - given - len(out)
    out = np.concatenate([out, np.zeros((max(missing, 0), channels), np.float32)])
    if len(out):
        yield out


def _resampler(from_rate, to_rate, channels):
    if from_rate == to_rate:
        return lambda block, last: block
    import soxr

    try:
        return soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32").resample_chunk
    except RuntimeError as error:
        raise ValueError(f"{from_rate} Hz cannot be resampled to {to_rate} Hz ({error}).") from None
