"""Recordings in and out: reading, writing, resampling, level.

A wave is an array (n,) for mono or (n, channels); floats have full scale 1.
"""

import contextlib
import io
import operator
from pathlib import Path

import numpy as np

from rwsa_tutorial.paths import whole_file

WRITABLE = (".wav", ".flac", ".ogg", ".mp3")
EXTENSIONS = (*WRITABLE, ".aiff", ".aif", ".opus", ".oga", ".w64", ".au", ".caf")  # can be read
UNREADABLE = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr", ".ape")  # sound all the same
BLOCK = 1 << 16  # samples a channel, the unit in which long recordings are worked through
MOST_CHANNELS = 64
INTEGER_TYPES = ("uint8", "int16", "int32")


def as_wave(wave, name="wave"):
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


def check_finite(block, name="wave"):
    """Raise ValueError, in words, if a float array holds NaN or infinity."""
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        what = "NaN (not a number)" if np.isnan(block).any() else "infinity"
        raise ValueError(f"{name} holds {what}: it cannot be played, scored or enhanced.")


def check_rate(sample_rate, name="sample_rate"):
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


def blocks_of(wave, size=BLOCK):
    """The wave in consecutive pieces of up to `size` samples, as views."""
    return (wave[start : start + size] for start in range(0, len(wave), size))


def to_float(wave):
    """Integers (uint8, int16, int32) to float32 in [-1, 1); floats stay as they are.

    uint8 is the offset form of 8-bit WAV: 128 is silence.
    """
    if wave.dtype.kind == "f":
        return wave
    if wave.dtype.name not in INTEGER_TYPES:
        raise ValueError(
            f"Integers of type {wave.dtype} have no agreed full scale; "
            f"use {', '.join(INTEGER_TYPES)}."
        )
    full_scale = 2.0 ** (8 * wave.dtype.itemsize - 1)
    offset = full_scale if wave.dtype.kind == "u" else 0.0
    return ((wave - offset) / full_scale).astype(np.float32)


def from_float(wave, dtype):
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


def level_gain(energy, n):
    """Gain that brings a wave to mean square 1: sqrt(n / sum(x^2)), the network's input level.

    Args:
        energy: sum(x^2), a number or an array of them.
        n: number of samples.

    Returns:
        float64 gain, of the shape of `energy`; 0 where there is silence, which has no level.
    """
    energy = np.asarray(energy, dtype=np.float64)
    return np.sqrt(np.divide(n, energy, out=np.zeros_like(energy), where=energy > 0))


def resample(wave, from_rate, to_rate):
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


def resample_blocks(blocks, from_rate, to_rate, channels, length=None):
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


def read(path):
    """Read a recording: WAV, FLAC, OGG, MP3, and whatever else libsndfile knows.

    Args:
        path: of the file, or the file's whole content as bytes (what an upload gives).

    Returns:
        (wave, sample_rate): float32 (n,) for mono or (n, channels), full scale 1; Hz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: in words: not audio, empty, NaN or infinity inside.
    """
    with open_to_read(path) as file:
        wave = file.read(dtype="float32")
        return as_wave(wave, _name_of(path)), file.samplerate


def _name_of(path):
    return "the uploaded file" if isinstance(path, bytes) else str(path)


@contextlib.contextmanager
def open_to_read(path):
    """A soundfile.SoundFile open for reading; libsndfile's errors become ValueError in words."""
    import soundfile

    if isinstance(path, bytes):
        source = io.BytesIO(path)
    else:
        source = path = Path(path)
        if path.is_dir():
            raise ValueError(f"{path} is a folder, not a recording.")
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        path.open("rb").close()  # a file without read permission says so itself
    try:
        with soundfile.SoundFile(source) as file:
            yield file
    except (soundfile.LibsndfileError, TypeError) as error:
        # libsndfile's own reason often misleads: "no such file" for a text named .mp3
        raise ValueError(
            f"{_name_of(path)} cannot be read as audio: it is damaged or of another kind; WAV, "
            "FLAC, OGG and MP3 can."
        ) from error


def write(path, wave, sample_rate, subtype=None):
    """Write a recording; the extension says how (.wav, .flac, .ogg, .mp3).

    The file appears whole or not at all: it is written beside its place and renamed. An existing
    file is replaced. Values beyond full scale are clipped unless the file holds floats.

    Args:
        path: where to; its folder must exist.
        wave: (n,) or (n, channels).
        sample_rate: Hz.
        subtype: libsndfile's name of the sample format, for example "PCM_24"; the default is
            that of the file type.

    Raises:
        ValueError: in words: not a wave, an unknown extension, or a sample rate or number of
            channels that the file type cannot hold.
        OSError: the folder is missing or cannot be written to.
    """
    wave = as_wave(wave)
    columns = wave.reshape(len(wave), -1)
    floats = (to_float(block) for block in blocks_of(columns))
    write_blocks(path, floats, sample_rate, columns.shape[1], subtype)


def write_blocks(path, blocks, sample_rate, channels, subtype=None):
    """`write` for a stream of float blocks (m, channels)."""
    import soundfile

    path, sample_rate = Path(path), check_rate(sample_rate)
    check_extension(path)
    file_type = path.suffix[1:].upper()
    if subtype is not None and not soundfile.check_format(file_type, subtype):
        raise ValueError(f"A {path.suffix} file cannot hold {subtype} samples.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    with whole_file(path) as part:
        try:
            with soundfile.SoundFile(part, "w", sample_rate, channels, subtype) as file:
                for block in blocks:
                    file.write(block)
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{path} cannot be written ({error.error_string.rstrip('.')}): {sample_rate} Hz, "
                f"{channels} channel(s) as {path.suffix}. WAV takes any rate."
            ) from None


def kept_subtype(subtype, source, target):
    """The sample format of `source` if `target` can sensibly hold it, else None (the default)."""
    import soundfile

    source, target = Path(source), Path(target)
    check_extension(target)
    same_type = source.suffix.lower() == target.suffix.lower()
    # libsndfile would also put an MP3 stream into a WAV file, which few players expect
    plain = subtype.startswith(("PCM_", "FLOAT", "DOUBLE"))
    fits = soundfile.check_format(target.suffix[1:].upper(), subtype)
    return subtype if fits and (plain or same_type) else None


def check_extension(path):
    """Raise ValueError, in words, unless the name ends in .wav, .flac, .ogg or .mp3."""
    if Path(path).suffix.lower() not in WRITABLE:
        raise ValueError(
            f"{path}: the extension says which file type is meant; use {', '.join(WRITABLE)}."
        )


def how_to_convert(path):
    """A sentence for a file of one of the `UNREADABLE` kinds."""
    path = Path(path)
    return (
        f"{path} cannot be read: convert it first, for example by ffmpeg -i {path.name} "
        f"{path.with_suffix('.flac').name}."
    )
