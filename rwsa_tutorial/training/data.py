"""What the settings name as data: examples to learn from, pairs to validate on."""

from dataclasses import dataclass
from pathlib import Path

from ..corpora import load_corpus
from ..corpora.corpus import Corpus
from ..corpora.datasets import Mixtures, Segments
from ..corpora.packing import sounds
from ..corpora.pairs import clips, evenly, pairs
from ..corpora.rooms import with_dry
from ..features import SAMPLE_RATE

HELD_OUT = 20  # every so many-th file of a plain folder is for validation
VALID_SECONDS = 4  # of a validation pair that is mixed


def corpus_of(config):
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


def examples(corpus, config, count):
    """A dataset of `count` examples (clean, noisy), each (config.samples,), and its epoch.

    Returns (dataset, examples of an epoch: how many pairs, or clips of speech, there are).
    """
    parts = corpus.sounds.get("train")
    if parts and config.mix_anew:
        return _mixtures(parts, config, count, config.samples), len(parts["speech"])
    found = corpus.pairs("train")
    return Segments(found, config.samples, config.seed, examples=count), len(found)


def validation_pairs(corpus, config):
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

    def read(self):
        """(clean, noisy, sample_rate), float32 (n,)."""
        clean, noisy = self.data[self.number]
        return clean.numpy(), noisy.numpy(), SAMPLE_RATE
