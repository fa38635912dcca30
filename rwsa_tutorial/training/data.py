"""What the settings name as data: examples to learn from, pairs to validate on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..corpora import load_corpus
from ..corpora.corpus import Clip, Corpus, Pair, Recipe, read_part
from ..corpora.packed import sounds
from ..corpora.pairs import clips, evenly, pairs
from ..corpora.rooms import with_dry
from ..features import SAMPLE_RATE
from .config import Config
from .datasets import Mixtures, Segments

LISTED = 5  # files that an error names
HELD_OUT = 20  # every so many-th file of a plain folder is for validation
VALID_SECONDS = 4  # of a validation pair that is mixed


def corpus_of(config: Config) -> Corpus:
    """The `Corpus` that config.data names, with something to train on and to validate on.

    Folders without splits of their own are split by every twentieth file.
    Raises ValueError or FileNotFoundError, in words, when there is no such data.
    """
    data = config.data
    if isinstance(data, dict) and "speech" in data:
        kinds = {kind: _split(clips(data[kind]), kind) for kind in ("speech", "noise")}
        mixed = {split: {k: kinds[k][split] for k in kinds} for split in ("train", "valid")}
        return Corpus("folders", SAMPLE_RATE, "unknown", {}, mixed)
    if isinstance(data, dict):
        corpus = pairs(data["clean"], data["noisy"])
        splits = _split(corpus.pairs(), "pairs")
        return Corpus(corpus.name, corpus.sample_rate, corpus.licence, splits)
    if (Path(data) / "index.json").is_file() and (Path(data) / "speech.npy").is_file():
        mixed = {split: sounds(data, split) for split in ("train", "valid")}
        return Corpus(Path(data).name, SAMPLE_RATE, "see index.json", {}, mixed)
    return load_corpus(data)


def _split(items, kind):
    if len(items) < 2:
        raise ValueError(f"{len(items)} files of {kind} are too few: one is kept for validation.")
    valid = tuple(items[HELD_OUT - 1 :: HELD_OUT]) or (items[-1],)
    kept = {id(item) for item in valid}
    return {"train": tuple(x for x in items if id(x) not in kept), "valid": valid}


def examples(corpus: Corpus, config: Config, count: int) -> tuple[Dataset, int]:
    """A dataset of `count` examples (clean, noisy), each (config.samples,), and its epoch.

    Returns (dataset, examples of an epoch: how many pairs, or clips of speech, there are).
    """
    parts = corpus.sounds.get("train")
    if parts and config.mix_anew:
        return _mixtures(parts, config, count, config.samples), len(parts["speech"])
    found = corpus.pairs("train")
    return Segments(found, config.samples, config.seed, examples=count), len(found)


def batches_of(config: Config, first: int, processes: int, rank: int) -> Iterator[range]:
    """Which examples a process gets, from step `first` on: ranges of numbers, one by one.

    All examples are dealt out in order, batch by batch, so that two processes learn in a step
    from what one process with a batch twice as large learns from.
    """
    begin, end = first * config.accumulate, config.steps * config.accumulate
    starts = ((turn * processes + rank) * config.batch for turn in range(begin, end))
    return (range(start, start + config.batch) for start in starts)


def validation_pairs(corpus: Corpus, config: Config) -> list:
    """Up to config.valid_pairs pairs, evenly out of the validation split; each has a `read()`."""
    if "valid" in corpus.splits:
        found = corpus.pairs("valid")
        if found:
            return evenly(found, config.valid_pairs)
    parts = corpus.sounds.get("valid")
    if not parts or not parts["speech"] or not parts["noise"]:
        raise ValueError(f"{corpus.name} has nothing to validate on: no split called valid.")
    mixed = _mixtures(parts, config, config.valid_pairs, VALID_SECONDS * SAMPLE_RATE)
    return [MixedPair(mixed, i) for i in range(config.valid_pairs)]


def check_data(corpus: Corpus, config: Config, progress: bool = True) -> None:
    """Look at all data before the first step: better told now than after an hour.

    Every pair to validate on is read; of what is learnt from, the head of each file. Raises
    ValueError that says which files cannot be used, and why.
    """
    parts = corpus.sounds.get("train")
    if parts and config.mix_anew:
        looks = [(_check_clip, clip) for clips in parts.values() for clip in clips]
    else:
        looks = [(_check_pair, pair) for pair in corpus.pairs("train")]
    looks += [(_check_read, pair) for pair in validation_pairs(corpus, config)]
    problems = []
    for look, item in tqdm(
        looks, "looking at the data", delay=2, leave=False, disable=not progress
    ):
        try:
            look(item)
        except (ValueError, OSError) as error:
            problems.append(str(error).rstrip("."))
    if problems:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ValueError(
            f"{len(problems)} of the data cannot be used: {'; '.join(problems[:LISTED])}{more}."
        )


def _check_clip(clip):
    if clip.stop is not None and clip.stop <= clip.start:
        raise ValueError(f"{clip.path} has no samples between {clip.start} and {clip.stop}")
    if isinstance(clip, Clip):  # a packed one lies in an array
        _samples(clip.path)


def _check_pair(pair):
    noisy = pair.noisy.noise if isinstance(pair.noisy, Recipe) else pair.noisy
    clean_samples, noisy_samples = _samples(pair.clean), _samples(noisy)
    if noisy == pair.noisy and clean_samples != noisy_samples:
        raise ValueError(
            f"{pair.clean} has {clean_samples} samples, {noisy} {noisy_samples} samples"
        )


def _check_read(pair):
    if isinstance(pair, Pair):
        _check_pair(pair)
    pair.read()


def _samples(path):
    """How many samples a file has. Raises ValueError when it is of no use in training."""
    _, rate, samples = read_part(path, 0, 0)
    if rate != SAMPLE_RATE:
        raise ValueError(f"{path} has {rate} Hz, not {SAMPLE_RATE}: resample it")
    if not samples:
        raise ValueError(f"{path} has no samples: leave it out")
    return samples


def _mixtures(parts, config, count, samples):
    rooms = with_dry(config.rooms, config.seed)
    return Mixtures(
        **parts,
        examples=count,
        samples=samples,
        seed=config.seed,
        snr_db=config.snr_db,
        speech_tilt_db=config.speech_tilt_db,
        noise_tilt_db=config.noise_tilt_db,
        second_noise=config.second_noise,
        speech_rooms=rooms,
        noise_rooms=rooms,
    )


@dataclass(frozen=True)
class MixedPair:
    """A mixture to validate on, by its number; read like a `corpus.Pair`."""

    data: Mixtures
    number: int

    def read(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(clean, noisy, sample_rate), float32 (n,)."""
        clean, noisy = self.data[self.number]
        return clean.numpy(), noisy.numpy(), SAMPLE_RATE
