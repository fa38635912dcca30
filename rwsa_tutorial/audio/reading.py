"""Recordings read to the real end of what they hold, whatever their headers state."""

import contextlib
import functools
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .containers import held
from .notes import note
from .waves import BLOCK, as_wave, blocks_of, check_finite


def read(path: str | Path | bytes) -> tuple[np.ndarray, int]:
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
def open_to_read(path: str | Path | bytes) -> "Iterator[Recording]":
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

    def __init__(self, source: str | Path | io.IOBase, name: str):
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
    def frames(self) -> int:
        """Samples of each channel; counted, by reading all, where no header can be trusted."""
        if self._frames is None:
            self._frames = sum(map(len, self._decoded("float32")))
        return self._frames

    def seek(self, frame: int) -> None:
        """Let the next `read` begin at this sample of each channel."""
        self._at = frame

    def read(self, frames: int = -1, dtype: str = "float32", always_2d: bool = False) -> np.ndarray:
        """Up to so many samples of each channel, or all: (n,) for mono, else (n, channels)."""
        # up to the stated end is up to the real one, so that a wrong header is noticed
        to_end = frames < 0 or self._at + frames >= self.frames
        stop = math.inf if to_end else self._at + frames
        empty = np.zeros((0, self.channels), dtype)
        wave = np.concatenate([empty, *self._decoded(dtype, self._at, stop)])
        wave = wave if frames < 0 else wave[:frames]
        self._at += len(wave)
        return wave if always_2d or self.channels > 1 else wave[:, 0]

    def blocks(self, size: int = BLOCK, dtype: str = "float32") -> Iterator[np.ndarray]:
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
