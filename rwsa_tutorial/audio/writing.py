"""Recordings written whole or not at all."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..paths import whole_file
from .kinds import check_extension
from .notes import note
from .waves import as_wave, blocks_of, check_finite, check_rate, to_float

LARGEST_WAV = 2**32 - 2**16  # bytes of sound, which leaves room for headers; more becomes RF64
VORBIS_RATE, VORBIS_CHANNELS = 200_000, 255  # at most; at more the encoder ends the process


def write(path: str | Path, wave: ArrayLike, sample_rate: int, subtype: str | None = None) -> None:
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
    path: str | Path,
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    subtype: str | None = None,
    *,
    frames: int | None = None,
    tags: Mapping | None = None,
    rf64: bool = False,
) -> None:
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
