"""Recordings in and out: reading, writing, resampling, level.

A wave is an array (n,) for mono or (n, channels); floats have full scale 1.
"""

import contextlib
import functools
import io
import math
import operator
import warnings
from pathlib import Path

import numpy as np

from rwsa_tutorial.containers import held
from rwsa_tutorial.paths import whole_file

WRITABLE = (".wav", ".flac", ".ogg", ".mp3")
EXTENSIONS = (  # can be read
    *WRITABLE,
    *(".aiff", ".aif", ".aifc", ".aff", ".opus", ".oga", ".mp2", ".mpga", ".wave", ".bwf"),
    *(".rf64", ".w64", ".au", ".snd", ".caf", ".voc", ".sph", ".nist", ".sf", ".ircam", ".avr"),
    *(".svx", ".8svx", ".iff", ".paf", ".pvf", ".sds", ".wve", ".xi", ".htk"),
)
UNREADABLE = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr", ".ape")  # sound all the same
BLOCK = 1 << 16  # samples a channel, the unit in which long recordings are worked through
MOST_CHANNELS = 64
INTEGER_TYPES = ("uint8", "int16", "int32")
LARGEST_WAV = 2**32 - 2**16  # bytes of sound, which leaves room for headers; more becomes RF64
VORBIS_RATE, VORBIS_CHANNELS = 200_000, 255  # at most; at more the encoder ends the process


class RecordingWarning(UserWarning):
    """What a person should know about a recording that has been read or written all the same."""


def note(words):
    """Say it as a `RecordingWarning`; a notebook shows each once."""
    warnings.warn(words, RecordingWarning, stacklevel=2)


@contextlib.contextmanager
def notes_to(say):
    """Within the block, each note is given to `say`, once, and not shown as a warning."""
    said = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", RecordingWarning)
        others = warnings.showwarning

        def show(message, category, *where, **more):
            if not issubclass(category, RecordingWarning):
                others(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                say(str(message))

        warnings.showwarning = show
        yield


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
        return as_wave(file.read(), file.name), file.samplerate


@contextlib.contextmanager
def open_to_read(path):
    """A `Recording` of a path, or of a file's whole content as bytes; errors as of `read`."""
    import soundfile

    with contextlib.ExitStack() as stack:
        if isinstance(path, bytes):
            name, source = "the uploaded file", io.BytesIO(path)
        else:
            name, path = str(path), Path(path)
            if path.is_dir():
                raise ValueError(f"{name} is a folder, not a recording.")
            if not path.is_file():
                raise FileNotFoundError(f"There is no file {name}.")
            # a file object of our own, because libsndfile does not take every name
            source = stack.enter_context(path.open("rb"))
        try:
            yield Recording(source, name)
        except (soundfile.LibsndfileError, TypeError) as error:
            if "SF_INFO struct" in str(error):
                raise ValueError(
                    f"{name} cannot be read as audio: its header states a sample rate or a number "
                    "of channels that cannot be."
                ) from error
            # libsndfile's own reason often misleads: "no such file" for a text named .mp3
            raise ValueError(
                f"{name} cannot be read as audio: it is damaged or of another kind; WAV, "
                "FLAC, OGG and MP3 can."
            ) from error


class Recording:
    """A recording on disk, read to the real end of its data, whatever length its header states.

    Attributes (they stay when the file is closed):
        name: for messages. samplerate: Hz. channels. format, subtype: libsndfile's names of the
        file type and the sample format, such as "FLAC" and "PCM_24". tags: {name: text} of title,
        artist, album, date, genre ... as far as the file has them.
    """

    def __init__(self, source, name):
        self.name, self._held, self._at = name, held(source), 0
        if not self._held.links:
            raise ValueError(f"{name} is empty: there is no sound in it.")
        with _decode(self._held.whole or self._held.links[0]) as file:
            self.format, self.subtype = file.format, file.subtype
            self.samplerate, self.channels = file.samplerate, file.channels
            self.tags = {name: text for name, text in file.copy_metadata().items() if text}
            self._frames = file.frames if self._held.whole else None
            # of this kind, the library itself says so
            self._held.cut |= self.format == "VOC" and "truncated file" in file.extra_info

    @property
    def frames(self):
        """Samples of each channel; counted, by reading all, where no header can be trusted."""
        if self._frames is None:
            self._frames = sum(map(len, self._decoded("float32")))
        return self._frames

    def seek(self, frame):
        """Let the next `read` begin at this sample of each channel."""
        self._at = frame

    def read(self, frames=-1, dtype="float32", always_2d=False):
        """Up to so many samples of each channel, or all: (n,) for mono, else (n, channels)."""
        # up to the stated end is up to the real one, so that a wrong header is noticed
        to_end = frames < 0 or self._at + frames >= self.frames
        stop = math.inf if to_end else self._at + frames
        empty = np.zeros((0, self.channels), dtype)
        wave = np.concatenate([empty, *self._decoded(dtype, self._at, stop)])
        wave = wave if frames < 0 else wave[:frames]
        self._at += len(wave)
        return wave if always_2d or self.channels > 1 else wave[:, 0]

    def blocks(self, size=BLOCK, dtype="float32"):
        """All samples from the first on, as (m, channels), m up to `size`; ValueError for NaN."""
        for block in self._decoded(dtype):
            check_finite(block, self.name)
            yield from blocks_of(block, size)

    def _decoded(self, dtype, start=0, stop=math.inf):
        """Blocks of the samples from `start` on, to the real end unless `stop` comes before it."""
        count, promised, stated = 0, 0, self._held.stated
        if start and self._held.whole:
            with _decode(self._held.whole) as file:
                at = file.seek(min(start, file.frames))
                while len(block := file.read(min(BLOCK, stop - at), dtype, True)):
                    at += len(block)
                    yield block
                if file.damage:
                    raise file.damage
            return
        for link in self._held.links:
            with _decode(link) as file:
                if (file.samplerate, file.channels) != (self.samplerate, self.channels):
                    raise ValueError(
                        f"{self.name} is joined of parts with different sample rates or numbers of "
                        f"channels; the second begins after {count / self.samplerate:.1f} s."
                    )
                promised += file.frames if self.format == "OGG" else 0  # its last page says it
                while True:
                    more = min(BLOCK, stop - count)
                    if stated is not None and count < stated:
                        more = min(more, stated - count)
                    block = file.read(more, dtype, True)
                    behind = stated is not None and count >= stated
                    if file.damage and behind:
                        block = block[:0]
                    count += len(block)
                    one = stop == math.inf and len(self._held.links) == 1
                    if file.damage and not (count and one):
                        raise file.damage
                    if file.damage and (stated is None or behind):  # else it ends early, see below
                        note(
                            f"{self.name}: what follows its first {count / self.samplerate:.1f} s "
                            "cannot be read as sound and is left out."
                        )
                    if len(block):
                        yield block[max(0, start - count + len(block)) :]
                    if file.damage or not len(block):
                        break
        if stop == math.inf and self._held.rest:
            note(
                f"{self.name}: its header states {count / self.samplerate:.1f} s; the "
                f"{self._held.rest} bytes behind them are left out."
            )
        missing = max(0, promised - count) / self.samplerate
        if stop == math.inf and (self._held.gaps or (missing and not self._held.cut)):
            what = f"{missing:.2f} s of it are" if missing else "some of it is"
            note(f"{self.name} has gaps: {what} damaged or missing and left out.")
        if stop == math.inf and (self._held.cut or count < (stated or 0)):
            note(
                f"{self.name} ends early: it holds {count / self.samplerate:.1f} s, and what its "
                "header promises after that is missing or damaged."
            )
        if stop == math.inf:
            self._frames = count


def _decode(view):
    view.seek(0)
    return _decoder()(view)


@functools.cache
def _decoder():
    """soundfile.SoundFile for reading on and on: it asks for no length and does not seek."""
    import soundfile

    class Decoder(soundfile.SoundFile):
        def seekable(self):
            return False

        damage = None  # the error that ended reading

        def read(self, frames, dtype, always_2d):
            """As soundfile's, but what lies before damage is given."""
            out = np.zeros((frames, self.channels), dtype)
            if out.dtype.kind == "f":
                out.fill(np.nan)  # stays where nothing is decoded
            try:
                block = super().read(frames, out=out)
            except soundfile.LibsndfileError as error:
                if out.dtype.kind != "f":
                    raise
                self.damage = error
                block = out[: np.append(np.isnan(out[:, 0]), True).argmax()]
            if self.name.error:  # of the disk; `name` is what was opened, a `View`
                raise self.name.error
            return block

    return Decoder


def write(path, wave, sample_rate, subtype=None):
    """Write a recording; the extension says how (.wav, .flac, .ogg, .mp3).

    The file appears whole or not at all: it is written beside its place and renamed. An existing
    file is replaced. Values beyond full scale are clipped, with a note, unless the file holds
    floats. A .wav of more than 4 GiB is of the kind RF64.

    Args:
        path: where to; its folder must exist.
        wave: (n,) or (n, channels).
        sample_rate: Hz.
        subtype: libsndfile's name of the sample format, for example "PCM_24"; the default is
            that of the file type.

    Raises:
        ValueError: in words: not a wave, an unknown extension, or a sample rate or number of
            channels that the file type cannot hold.
        OSError: the folder is missing or cannot be written to, or the disk is full.
    """
    wave = as_wave(wave)
    columns = wave.reshape(len(wave), -1)
    blocks, channels = blocks_of(columns), columns.shape[1]
    write_blocks(path, blocks, sample_rate, channels, subtype, frames=len(wave))


def write_blocks(
    path, blocks, sample_rate, channels, subtype=None, *, frames=None, tags=None, rf64=False
):
    """`write` for a stream of blocks (m, channels).

    Args:
        frames: how many samples of each channel will come; needed for a .wav beyond 4 GiB.
        tags: as of `Recording`; those that the file type can hold are written.
        rf64: make a .wav RF64 however short it is.
    """
    import soundfile

    path, sample_rate = Path(path), check_rate(sample_rate)
    check_extension(path)
    file_type = path.suffix[1:].upper()
    if subtype is not None and not soundfile.check_format(file_type, subtype):
        raise ValueError(f"A {path.suffix} file cannot hold {subtype} samples.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    if file_type == "OGG" and (sample_rate > VORBIS_RATE or channels > VORBIS_CHANNELS):
        raise ValueError(
            f"{path} cannot be written: OGG takes up to {VORBIS_RATE} Hz and {VORBIS_CHANNELS} "
            f"channels, not {sample_rate} Hz and {channels}. WAV takes any rate."
        )
    subtype = subtype or soundfile.default_subtype(file_type)
    if file_type == "WAV" and soundfile.check_format("RF64", subtype):
        large = (frames or 0) * channels * SAMPLE_BYTES[subtype] > LARGEST_WAV
        file_type = "RF64" if rf64 or large else "WAV"
    with whole_file(path) as part, open(part, "wb") as raw:
        kept = _KeepsErrors(raw)
        try:
            with soundfile.SoundFile(
                kept, "w", sample_rate, channels, subtype, format=file_type
            ) as file:
                for name, text in (tags or {}).items():
                    with contextlib.suppress(soundfile.LibsndfileError):  # the type has no such tag
                        setattr(file, name, text)
                for block in _fitting(blocks, subtype, path):
                    file.write(block)
                    kept.check()
                    if file_type == "WAV" and raw.tell() > LARGEST_WAV + 2**15:
                        raise ValueError(f"{path}: more than 4 GiB; give the number of frames.")
        except (soundfile.LibsndfileError, OverflowError) as error:
            kept.check()
            reason = getattr(error, "error_string", str(error)).rstrip(".")
            raise ValueError(
                f"{path} cannot be written ({reason}): {sample_rate} Hz, "
                f"{channels} channel(s) as {path.suffix}. WAV takes any rate."
            ) from None
        kept.check()


SAMPLE_BYTES = {"PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3} | {
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}


def _fitting(blocks, subtype, path):
    """The blocks as every encoder takes them: native, contiguous, finite, within full scale."""
    beyond, peak = 0, 1.0
    for block in blocks:
        with np.errstate(over="ignore"):  # what becomes infinite is told of below
            kind = {"FLOAT": np.float32}.get(subtype)
            block = np.ascontiguousarray(to_float(block), kind)
        check_finite(block)
        if subtype not in ("FLOAT", "DOUBLE"):
            size = np.abs(block)
            beyond += np.count_nonzero(size > 1)
            peak = max(peak, size.max(initial=0))
            block = np.clip(block, -1, 1)
        yield block
    if beyond:
        note(
            f"{path}: {beyond} values beyond full scale were clipped (the peak was "
            f"{20 * np.log10(peak):.1f} dB above it); a WAV file of floats would hold them."
        )


class _KeepsErrors:
    """A file for libsndfile to write to, which tells nobody of errors of the disk: we do."""

    def __init__(self, file):
        self._file, self._error = file, None

    def write(self, data):
        return self._try(self._file.write, data) or len(data)

    def seek(self, *where):
        return self._try(self._file.seek, *where)

    def tell(self):
        return self._file.tell()

    def _try(self, function, *values):
        try:
            return function(*values)
        except OSError as error:
            self._error = self._error or error

    def check(self):
        if self._error:
            raise self._error


def kept_subtype(file_type, subtype, target):
    """The sample format of a `Recording` if `target` can sensibly hold it, else None (the default).

    Args:
        file_type, subtype: of the recording; what it holds decides, not its name.
        target: path of the new file.
    """
    import soundfile

    target = Path(target)
    check_extension(target)
    new_type = target.suffix[1:].upper()
    same_type = new_type == {"WAVEX": "WAV", "RF64": "WAV"}.get(file_type, file_type)
    # libsndfile would also put an MP3 stream into a WAV file, which few players expect
    alien = subtype.startswith("MPEG") and new_type != "MP3"
    plain = subtype.startswith(("PCM_", "FLOAT", "DOUBLE"))
    fits = soundfile.check_format(new_type, subtype)
    return subtype if fits and not alien and (plain or same_type) else None


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
