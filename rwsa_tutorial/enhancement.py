"""Any recording in, the enhanced recording out, at its own rate, length and level.

The way of the signal: resample to 16 kHz, bring to mean square 1 (one gain for the whole
recording, so it is read twice), cut where a pause begins and ends, and what is still long into
overlapping segments, analyse, model, synthesise, cross-fade, undo the gain, resample back. All of
it works block by block: apart from the arrays that go in and out, memory grows with the length of
the recording by a number for each 15 ms alone.

Pauses are cut out because the network has instance norms: in a segment that is mostly silence,
their means and variances, and the level, are those of the silence, and speech suffers by some dB.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from . import audio
from .features import HOP, SAMPLE_RATE, analyse, synthesise

SEGMENT_SECONDS = 12.0  # long enough that the norms of neighbours agree; memory grows with it
OVERLAP_SECONDS = 1.0

STEP = 2 * HOP  # samples, 15 ms, in which pauses are told from sound
PAUSE_DB = 40.0  # this far below the loudest step: dither is, the noise of a noisy recording not
SHORTEST_PAUSE = 33  # steps, 0.5 s; a shorter one is ordinary speech, and does no harm


def enhance(
    wave: ArrayLike,
    sample_rate: int,
    model: Callable,
    *,
    amount: float = 1.0,
    segment_seconds: float = SEGMENT_SECONDS,
    overlap_seconds: float = OVERLAP_SECONDS,
    progress: bool = True,
) -> np.ndarray:
    """Enhance a recording held in memory.

    Channels are enhanced one by one. Silence stays exactly silent. A pause of half a second or
    more, digital silence or noise 40 dB below the loudest 15 ms, is enhanced apart from the sound
    beside it, so that speech comes out as it would alone, and does not count for the level. What
    lies above 8 kHz in a recording of a higher rate is lost, because the network hears 16 kHz.

    Args:
        wave: (n,) or (n, channels), n >= 1; any float, or uint8, int16, int32.
        sample_rate: Hz, any whole number.
        model: `RWSAMambaUNet`, or any callable (mag, phase) -> (mag, phase, ...) on (B, F, T).
            It runs where its parameters are, in evaluation mode, without gradients.
        amount: how much of the result to apply, 0 (the input) to 1 (the model's output): the
            compressed magnitude is noisy * (1 - amount + amount * mask), and the phase turns
            from the noisy to the estimated one by that fraction of the shorter way round.
        segment_seconds: longest piece the model sees at once.
        overlap_seconds: what neighbouring pieces share; they are cross-faded in its middle half.
        progress: show a bar while it works, unless that is expected to take under two seconds.

    Returns:
        np.ndarray: the same shape, type and level; integers are rounded and clipped.

    Raises:
        ValueError: in words: not audio, empty, NaN or infinity, a wrong rate or setting, or a
            model that answers with NaN.
    """
    wave = audio.as_wave(wave)
    columns = wave.reshape(len(wave), -1)
    stream = enhance_stream(
        lambda: (audio.to_float(block) for block in audio.blocks_of(columns)),
        sample_rate,
        columns.shape[1],
        model,
        amount=amount,
        segment_seconds=segment_seconds,
        overlap_seconds=overlap_seconds,
        progress=progress,
    )
    out = np.empty_like(columns)
    start = 0
    for block in stream:
        out[start : start + len(block)] = audio.from_float(block, wave.dtype)
        start += len(block)
    return out.reshape(wave.shape)


def enhance_file(
    source: str | Path, target: str | Path, model: Callable, **settings: object
) -> int:
    """Enhance a recording on disk into another file, without holding it in memory.

    Args:
        source: any kind of recording that `audio.read` takes.
        target: path of the result; its extension says the file type. The sample format is kept
            where the file type can hold it, and so are title, artist and other such tags;
            pictures, cue points, time code and a channel layout are not. The file appears
            whole or not at all, and replaces an existing one.
        model, **settings: as in `enhance`.

    Returns:
        int: the sample rate of the recording, Hz.

    Raises:
        FileNotFoundError: no such source, or no folder for the target.
        ValueError: in words: as in `enhance`, or the target is the source, or a file type that
            cannot hold the recording.
    """
    source, target = Path(source), Path(target)
    with audio.open_to_read(source) as file:
        rate, channels, frames = file.samplerate, file.channels, file.frames
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target} is the recording itself: give the result another name.")
    rf64 = file.format == "RF64"
    subtype = audio.kept_subtype(file.format, file.subtype, target)
    stream = enhance_stream(lambda: _file_blocks(source), rate, channels, model, **settings)
    audio.write_blocks(
        target, stream, rate, channels, subtype, frames=frames, tags=file.tags, rf64=rf64
    )
    return rate


def enhance_stream(
    open_blocks: Callable[[], Iterable[np.ndarray]],
    sample_rate: int,
    channels: int,
    model: Callable,
    *,
    amount: float = 1.0,
    segment_seconds: float = SEGMENT_SECONDS,
    overlap_seconds: float = OVERLAP_SECONDS,
    progress: bool = True,
) -> Iterator[np.ndarray]:
    """`enhance` for a recording that can be read twice, block by block.

    Args:
        open_blocks: callable that starts again at the beginning and gives an iterable of float
            (m, channels) blocks.
        sample_rate, model, amount, segment_seconds, overlap_seconds, progress: as in `enhance`.
        channels: number of channels.

    Yields:
        float32 (m, channels), joined as long as the input.
    """
    sample_rate = audio.check_rate(sample_rate)
    segment, overlap = _check_settings(amount, segment_seconds, overlap_seconds)
    n_in, n, energy = _measure(open_blocks(), sample_rate, channels)
    if n_in == 0:
        raise ValueError("The recording is empty: it has no samples.")
    gains, stretches = zip(*(find_stretches(e, n) for e in energy.T), strict=True)
    plans = [
        [(a + i, a + j) for a, b in some for i, j in plan_segments(b - a, segment, overlap)]
        for some in stretches
    ]
    expect_long = n * np.count_nonzero(gains) > 5 * SAMPLE_RATE  # about two seconds on two cores
    bar = tqdm(
        total=sum(map(len, plans)),
        desc="enhancing",
        unit="segment",
        delay=0 if expect_long else 2,
        leave=False,
        disable=not progress or sys.stderr is None,  # as under pythonw
    )

    def enhance_channel(channel):
        def enhance_segment(x):
            out = np.zeros_like(x)
            if x.any():
                levelled = x * gains[channel]  # float64: no overflow for tiny levels
                out[:] = _apply(model, levelled.astype(np.float32), amount) / gains[channel]
            bar.update()
            return out

        blocks = (block[:, channel : channel + 1] for block in open_blocks())
        low = audio.resample_blocks(blocks, sample_rate, SAMPLE_RATE, 1, n)
        return _crossfade((block[:, 0] for block in low), plans[channel], overlap, enhance_segment)

    was_training = getattr(model, "training", False)
    if was_training:
        model.eval()
    try:
        done = _side_by_side([enhance_channel(channel) for channel in range(channels)])
        yield from audio.resample_blocks(done, SAMPLE_RATE, sample_rate, channels, n_in)
    finally:
        bar.close()
        if was_training:
            model.train()


def find_stretches(energy: np.ndarray, n: int) -> tuple[float, list[tuple[int, int]]]:
    """Where a channel is to be cut: at the beginnings and ends of its pauses.

    Args:
        energy: sum of squares of each `STEP` samples, (steps,); the last may have fewer.
        n: samples in all.

    Returns:
        (gain, stretches): the gain that brings what is no pause to mean square 1, or 0 where all
        is silent; list of (start, stop) in samples, sound and pause in turn, the first starting
        at 0 and the last stopping at n. Pauses are of `SHORTEST_PAUSE` steps or more. Sound is
        cut however short it is: silence around a single word would do it more harm.
    """
    sound = energy > energy.max() * 10 ** (-PAUSE_DB / 10)
    for start, stop in _runs(~sound) if sound.any() else ():
        if stop - start < SHORTEST_PAUSE:
            sound[start:stop] = True
    lengths = np.minimum(STEP, n - STEP * np.arange(len(energy)))
    gain = audio.level_gain(energy[sound].sum(), lengths[sound].sum())
    cuts = sorted({edge for run in _runs(sound) for edge in run} | {0, len(sound)})
    cuts = [STEP * int(cut) for cut in cuts[:-1]] + [n]
    return gain, [*zip(cuts, cuts[1:], strict=False)]


def _runs(mask):
    """(start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges.reshape(-1, 2)


def plan_segments(n: int, segment: int, overlap: int) -> list[tuple[int, int]]:
    """Cut n samples into nearly equal pieces of at most `segment`, neighbours sharing `overlap`.

    Args:
        n, segment, overlap: samples; segment and overlap are multiples of 120, so that the
            frames of all pieces lie on one grid.

    Returns:
        list of (start, stop): the first starts at 0, the last stops at n.
    """
    if n <= segment:
        return [(0, n)]
    # one hop less, because rounding to the grid may lengthen a piece by one hop
    count = -(-(n - overlap) // (segment - overlap - HOP))
    starts = [round(i * (n - overlap) / count / HOP) * HOP for i in range(count)]
    return [*zip(starts, [s + overlap for s in starts[1:]], strict=False), (starts[-1], n)]


def _check_settings(amount, segment_seconds, overlap_seconds):
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is {amount}: give a number from 0 (input) to 1 (enhanced).")
    segment = round(segment_seconds * SAMPLE_RATE / HOP) * HOP
    overlap = round(overlap_seconds * SAMPLE_RATE / HOP) * HOP
    if not 0 < 2 * overlap <= segment - HOP:
        raise ValueError(
            f"Segments of {segment_seconds} s cannot overlap by {overlap_seconds} s: the overlap "
            "must be above zero and less than half a segment."
        )
    return segment, overlap


def _measure(blocks, sample_rate, channels):
    """Samples at the input's rate, samples at 16 kHz, energy of each `STEP` (steps, channels)."""
    n_in, n, energy, held = 0, 0, [], np.zeros((0, channels), np.float32)

    def counted():
        nonlocal n_in
        for block in blocks:
            n_in += len(block)
            yield block

    for block in audio.resample_blocks(counted(), sample_rate, SAMPLE_RATE, channels):
        n += len(block)
        held = np.concatenate([held, block])
        whole = len(held) // STEP * STEP
        steps = held[:whole].reshape(-1, STEP, channels)
        energy.append(np.square(steps, dtype=np.float64).sum(1))
        held = held[whole:]
    if len(held):
        energy.append(np.square(held, dtype=np.float64).sum(0, keepdims=True))
    energy = np.concatenate(energy or [np.zeros((0, channels))])
    if not np.isfinite(energy.sum()):
        raise ValueError("The recording holds values too large for a sound: full scale is 1.")
    return n_in, n, energy


def _crossfade(blocks, plan, overlap, enhance_segment):
    """Enhance each piece of the plan and join them; the gains of two neighbours add up to 1.

    The outer quarters of an overlap, where one piece knows little of what lies beyond its edge,
    are left to the other piece. Pieces that share nothing are put side by side.
    """
    ramp = np.clip(2 * (np.arange(overlap) + 0.5) / overlap - 0.5, 0, 1)
    fade = np.sin(0.5 * np.pi * ramp).astype(np.float32) ** 2
    held, held_from, tail = next(blocks), 0, ()
    next_starts = [start for start, _ in plan[1:]] + [plan[-1][1]]
    for (start, stop), next_start in zip(plan, next_starts, strict=True):
        while held_from + len(held) < stop:
            held = np.concatenate([held, next(blocks)])
        held, held_from = held[start - held_from :], start
        out = enhance_segment(held[: stop - start])
        if len(tail):
            out[:overlap] = tail * (1 - fade) + out[:overlap] * fade
        tail = out[next_start - start :]
        yield out[: next_start - start]


def _side_by_side(channels):
    """Streams of blocks (m,), all equally long in the end, as one of blocks (m, channels)."""
    held = [np.zeros(0, np.float32)] * len(channels)
    while True:
        held = [
            block if len(block) else next(channel, block)
            for block, channel in zip(held, channels, strict=True)
        ]
        m = min(map(len, held))
        if m == 0:
            return
        yield np.stack([block[:m] for block in held], axis=1)
        held = [block[m:] for block in held]


@torch.inference_mode()
def _apply(model, wave, amount):
    """One levelled piece (n,) through analysis, model and synthesis."""
    parameters = model.parameters() if hasattr(model, "parameters") else ()
    like = next(iter(parameters), torch.empty(0))
    mag, phase = analyse(torch.from_numpy(wave)[None].to(like.device))
    if amount > 0:
        new_mag, new_phase, *_ = model(mag.to(like.dtype), phase.to(like.dtype))
        new_mag, new_phase = new_mag.to(mag.dtype), new_phase.to(mag.dtype)
        turn = new_phase - phase
        turn = torch.atan2(turn.sin(), turn.cos())  # the shorter way round
        mag, phase = torch.lerp(mag, new_mag, amount), phase + amount * turn
    out = synthesise(mag, phase, length=len(wave))[0].cpu().numpy()
    if not np.isfinite(out).all():
        raise ValueError("The model answered with NaN or infinity: are its weights sound?")
    return out


def _file_blocks(path):
    with audio.open_to_read(path) as file:
        yield from file.blocks()
