"""What a corpus is: pairs of clean and noisy speech, in splits, from files or from recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import audio
from ..rates import SAMPLE_RATE

LOUDEST = 2.0**32  # full scale is 1; somebody may have taken 32-bit integers for floats


@dataclass(frozen=True)
class Recipe:
    """How a noisy recording is mixed: which noise, from which sample on, at which SNR in dB.

    ratio: "power", or "loudness" for a ratio of loudness in LUFS (see `mixing.mix`).
    """

    noise: Path
    start: int
    snr_db: float
    ratio: str = "power"


@dataclass(frozen=True)
class Pair:
    """Clean speech, and the same speech in noise.

    name: unique within the split. clean: a sound file. noisy: a sound file of the same rate and
    length, or the `Recipe` by which it is mixed. facts: what else is known, such as "voice",
    "language", "noise", "snr_db", "text".
    """

    name: str
    clean: Path
    noisy: Path | Recipe
    facts: Mapping = field(default_factory=dict)

    def read(self, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
        """The samples from `start` up to `stop` (by default the end) of both signals.

        Of two files only these samples are read; a recipe needs the whole clip, since the SNR is
        that of the whole.

        Returns:
            (clean, noisy, sample_rate): float32 (n,), full scale 1; Hz.

        Raises:
            ValueError: in words, with the name of the file: unreadable, not mono, unequal rates
                or lengths, too little noise.
            FileNotFoundError: a file is missing.
        """
        if isinstance(self.noisy, Recipe):
            clean, noisy, rate = self._mixed()
            return clean[start:stop], noisy[start:stop], rate
        clean, rate, length = read_part(self.clean, start, stop)
        noisy, noisy_rate, noisy_length = read_part(self.noisy, start, stop)
        _same("Hz", self.clean, rate, self.noisy, noisy_rate)
        _same("samples", self.clean, length, self.noisy, noisy_length)
        return clean, noisy, rate

    def _mixed(self):
        from .mixing import mix

        recipe = self.noisy
        speech, rate, length = read_part(self.clean)
        noise, noise_rate, noise_length = read_part(
            recipe.noise, recipe.start, recipe.start + length
        )
        _same("Hz", self.clean, rate, recipe.noise, noise_rate)
        if len(noise) < length:
            raise ValueError(
                f"{recipe.noise} has {noise_length} samples, too few for {length} from "
                f"{recipe.start} on, which the mixture {self.name} needs."
            )
        clean, noisy = mix(speech, noise, recipe.snr_db, recipe.ratio, rate)
        return clean, noisy, rate


def read_part(
    path: str | Path, start: int = 0, stop: int | None = None
) -> tuple[np.ndarray, int, int]:
    """Some samples of a mono sound file, without reading the rest.

    Returns:
        (wave, sample_rate, length): float32 (n,), Hz, and how many samples the whole file has.

    Raises:
        ValueError: in words: unreadable, not mono, or values inside that are no sound.
        FileNotFoundError: there is no such file.
    """
    with audio.open_to_read(path) as file:
        if file.channels != 1:
            raise ValueError(f"{path} has {file.channels} channels; corpora are mono.")
        stop = file.frames if stop is None else min(stop, file.frames)
        start = min(start, stop)
        file.seek(start)
        wave = file.read(stop - start, dtype="float32")
        check_values(wave, path)
        return wave, file.samplerate, file.frames


def check_values(wave: np.ndarray, path: str | Path) -> None:
    """Raise ValueError, with the file's name, for NaN, infinity, and values like 1e30."""
    audio.check_finite(wave, str(path))
    peak = np.abs(wave).max(initial=0)
    if peak > LOUDEST:
        raise ValueError(f"{path} holds {peak:.3g}, where full scale is 1: it is damaged.")


def _same(unit, one, first, other, second):
    if first != second:
        raise ValueError(f"{other} has {second} {unit}, {one} {first} {unit}.")


@dataclass(frozen=True)
class Corpus:
    """A corpus by one interface, wherever its files lie.

    splits: the pairs of each split, such as "train", "valid" and "test". sounds: for splits that
    are mixed anew all the time in training, what is mixed: split -> {"speech": clips, "noise":
    clips}, lists of `Clip`.
    """

    name: str
    sample_rate: int
    licence: str
    splits: Mapping[str, tuple[Pair, ...]]
    sounds: Mapping[str, Mapping[str, tuple["Clip", ...]]] = field(default_factory=dict)

    def pairs(self, split: str = "test") -> Sequence[Pair]:
        """The pairs of a split, in a fixed order. Raises ValueError for an unknown split."""
        if split not in self.splits:
            raise ValueError(
                f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        return self.splits[split]


@dataclass(frozen=True)
class Clip:
    """A stretch of a sound file to be mixed: samples `start` to `stop` (None: the end).

    group: what is drawn before a clip is drawn, such as the voice or the kind of noise.
    sample_rate: what the file must have, in Hz.
    """

    path: Path
    group: str
    start: int = 0
    stop: int | None = None
    sample_rate: int = SAMPLE_RATE

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Some samples of the clip, counted from its own start: float32 (n,).

        Raises ValueError for another sample rate, and as `read_part` does.
        """
        last = self.stop if stop is None else self.start + stop
        if self.stop is not None:
            last = min(last, self.stop)
        wave, rate, _ = read_part(self.path, self.start + start, last)
        if rate != self.sample_rate:
            raise ValueError(f"{self.path} has {rate} Hz, not {self.sample_rate}: resample it.")
        return wave
