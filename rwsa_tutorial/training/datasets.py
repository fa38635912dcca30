"""Examples to train with, each from its number alone: mixed anew, or cut out of ready pairs.

Both kinds are map-style datasets: example i depends on the seed and on i, not on the number of
workers, the batch size or what was drawn before. A run that stopped after 4000 examples goes on
with `DataLoader(dataset, batch_size=4, sampler=range(4000, len(dataset)))`.

    python -m rwsa_tutorial.training.datasets mini-vb             examples a second on this machine
    python -m rwsa_tutorial.training.datasets SPEECH NOISE        the same, of two folders
"""

import argparse
import operator
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .. import audio
from ..corpora.corpus import Pair, Recipe, check_values, read_part
from ..corpora.mixing import mix
from ..corpora.rooms import in_room
from ..features import SAMPLE_RATE, gain
from ..processes import shared_memory

SAMPLES = 30_600  # 256 frames, a training example of the paper
PAUSE_DRAWS = 10


class Mixtures(Dataset):
    """Speech and noise out of collections of clips, mixed anew for every example.

    First a group (a voice, a kind of noise) is drawn, by the square root of how much there is of
    it, then a clip of it, then a place in the clip, of which only these samples are read. A clip
    shorter than the crop is padded with silence at both ends, at random. What is almost silent
    in the speech is drawn again. The crop is the utterance: it is brought to mean power 1 of the
    noisy signal, the network's level, padding included.

    Args:
        speech, noise: `corpus.Clip` (or `packed.PackedClip`), for example
            `**load_corpus("mini-vb").sounds["train"]` or `pairs.clips(folder)`. Where all of
            them say where they stop, the amount of a group is its seconds, otherwise its clips.
        examples: the length of the sequence, such as steps * batch. A longer one begins alike.
        samples: n of each example.
        seed: whole number, not negative.
        snr_db: (lowest, highest), drawn evenly between.
        ratio: "power" or "loudness", see `mixing.mix`; over the crop.
        speech_tilt_db, noise_tilt_db: random smooth changes of the spectrum by up to this, as by
            other microphones; of every noise, and of the speech in half of the examples.
        second_noise: in this share of the examples two noises are mixed, at -6 to 6 dB.
        speech_rooms, noise_rooms: impulse responses (k,); if any, one is drawn for each example.
            `np.ones(1)` among them is no room. Speech in a room is also the target: it is noise
            that is to be removed, not the room. What was said before the crop does not echo
            into it. Nothing before the strongest sample of a response counts, so the delay is 0.
        pause_db: speech whose mean power is below, re full scale, is drawn again; after 10 draws
            the loudest of them is taken. -inf takes whatever comes first.

    Items: (clean, noisy), float32 (samples,) each.

    Raises:
        ValueError: in words: no clips, or settings that make no sense; while reading: what
            `Clip.read` raises.
    """

    def __init__(
        self,
        speech: Sequence,
        noise: Sequence,
        examples: int,
        samples: int = SAMPLES,
        seed: int = 0,
        *,
        snr_db: tuple[float, float] = (-5.0, 15.0),
        ratio: str = "power",
        speech_tilt_db: float = 0.0,
        noise_tilt_db: float = 0.0,
        second_noise: float = 0.0,
        speech_rooms: Sequence = (),
        noise_rooms: Sequence = (),
        pause_db: float = -40.0,
    ):
        self.examples, self.samples, self.seed = _whole(
            examples=examples, samples=samples, seed=seed
        )
        if not snr_db[0] <= snr_db[1]:
            raise ValueError(f"snr_db is {snr_db}; give the lowest and the highest.")
        self.snr_db, self.ratio, self.second_noise = snr_db, ratio, second_noise
        self.tilt_db = {"speech": speech_tilt_db, "noise": noise_tilt_db}
        self.least = 10 ** (pause_db / 20)
        rooms = {"speech": speech_rooms, "noise": noise_rooms}
        self.rooms = {
            kind: [response[np.argmax(np.abs(response)) :] for response in map(np.asarray, some)]
            for kind, some in rooms.items()
        }
        self.groups = {"speech": _grouped(speech, "speech"), "noise": _grouped(noise, "noise")}
        self.shares = {kind: _shares(groups) for kind, groups in self.groups.items()}

    def __len__(self) -> int:
        return self.examples

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        index = _within(index, self.examples)
        clean, noisy = (torch.from_numpy(w).float() for w in self._mixture(index))
        level = gain(noisy)
        return clean * level, noisy * level

    def _mixture(self, index):
        rng = np.random.default_rng([self.seed, index])
        speech = self._speech(rng)
        noise = self._noise(rng)
        if rng.random() < self.second_noise:
            noise = mix(noise, self._noise(rng), rng.uniform(-6, 6))[1]
        if rng.random() < 0.5:
            speech = _tilted(speech, rng, self.tilt_db["speech"])
        return mix(speech, noise, rng.uniform(*self.snr_db), self.ratio, SAMPLE_RATE)

    def _speech(self, rng):
        best, level = None, -1.0
        for _ in range(PAUSE_DRAWS):
            wave = self._crop("speech", rng)
            power = np.sqrt(np.mean(np.square(wave)))
            if power > level:
                best, level = wave, power
            if power >= self.least:
                break
        return self._placed("speech", best, rng)

    def _noise(self, rng):
        wave = self._placed("noise", self._crop("noise", rng), rng)
        return _tilted(wave, rng, self.tilt_db["noise"])

    def _crop(self, kind, rng):
        groups = self.groups[kind]
        clips = groups[rng.choice(len(groups), p=self.shares[kind])]
        clip = clips[rng.integers(len(clips))]
        length = _length(clip)
        if length is None:
            length = read_part(clip.path, 0, 0)[2] - clip.start
        start = rng.integers(max(1, length - self.samples + 1))
        wave = clip.read(start, min(start + self.samples, length)).astype(np.float64)
        return _padded(wave, self.samples, rng)

    def _placed(self, kind, wave, rng):
        rooms = self.rooms[kind]
        return in_room(wave, rooms[rng.integers(len(rooms))]) if rooms else wave


class Segments(Dataset):
    """Random crops out of ready pairs; in every pass each pair comes once, in a new order.

    Of a pair of files only the crop is read. Both signals take the gain that brings the whole
    noisy recording, not the crop, to mean power 1. It is found when a pair first comes up, by
    reading the noisy file through, block by block, and kept for all workers: 8 bytes a pair.
    Pairs that are mixed by a recipe are mixed whole and then cut. Recordings shorter than the
    crop are padded with silence at both ends, at random.

    Args:
        pairs: `corpus.Pair`, for example `load_corpus("vb-demandex").pairs("train")`.
        samples: n of each example.
        seed: whole number, not negative.
        examples: the length of the sequence; by default one pass through the pairs.
        sample_rate: Hz, which all files must have.

    Items: (clean, noisy), float32 (samples,) each.

    Raises:
        ValueError: in words: no pairs, another sample rate, and what `Pair.read` raises.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        samples: int = SAMPLES,
        seed: int = 0,
        *,
        examples: int | None = None,
        sample_rate: int = SAMPLE_RATE,
    ):
        self.pairs = tuple(pairs)
        if not self.pairs:
            raise ValueError("there are no pairs to cut examples from.")
        examples = len(self.pairs) if examples is None else examples
        self.examples, self.samples, self.seed = _whole(
            examples=examples, samples=samples, seed=seed
        )
        self.sample_rate = sample_rate
        self.gains = torch.full((len(self.pairs),), torch.nan, dtype=torch.float64)
        with shared_memory("what is known of the pairs cannot be shared"):
            self.gains.share_memory_()  # so that what one worker has found all of them know
        self._order = (None, None)

    def __len__(self) -> int:
        return self.examples

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        turn, place = divmod(_within(index, self.examples), len(self.pairs))
        number = self._number(turn, place)
        pair, rng = self.pairs[number], np.random.default_rng([self.seed, index])
        if isinstance(pair.noisy, Recipe):
            clean, noisy, rate = pair.read()
            level = _level(np.square(noisy, dtype=np.float64).sum(), len(noisy))
            start = self._start(len(noisy), rng)
            clean, noisy = (wave[start : start + self.samples] for wave in (clean, noisy))
        else:
            start = self._start(read_part(pair.noisy, 0, 0)[2], rng)
            clean, noisy, rate = pair.read(start, start + self.samples)
            level = self._gain(number)
        if rate != self.sample_rate:
            raise ValueError(
                f"{pair.clean} has {rate} Hz, the examples {self.sample_rate}: resample it first."
            )
        both = _padded(np.stack([clean, noisy]), self.samples, rng) * level
        return tuple(torch.from_numpy(both).float())

    def _number(self, turn, place):
        if self._order[0] != turn:
            # the 1 keeps these draws apart from those of an example
            order = np.random.default_rng([self.seed, turn, 1]).permutation(len(self.pairs))
            self._order = (turn, order)
        return int(self._order[1][place])

    def _start(self, length, rng):
        return int(rng.integers(max(1, length - self.samples + 1)))

    def _gain(self, number):
        if torch.isnan(self.gains[number]):
            with audio.open_to_read(self.pairs[number].noisy) as file:
                energy = 0.0
                for block in file.blocks(audio.BLOCK, dtype="float32"):
                    check_values(block, self.pairs[number].noisy)
                    energy += np.square(block, dtype=np.float64).sum()
                self.gains[number] = _level(energy, file.frames)
        return float(self.gains[number])


def throughput(dataset: Dataset, seconds: float = 5.0, workers: int = 0) -> float:
    """How many examples a second a DataLoader brings: a float.

    The first example is not counted, since workers have to start. Raises ValueError for a dataset
    of fewer than two examples.
    """
    if len(dataset) < 2:
        raise ValueError("a speed needs a dataset of at least two examples.")
    loader = iter(DataLoader(dataset, batch_size=None, num_workers=workers))
    next(loader)
    begun, done = time.perf_counter(), 0
    for _ in loader:
        done += 1
        if time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)


def _whole(**numbers):
    for name, number in numbers.items():
        least = 0 if name == "seed" else 1
        if operator.index(number) < least:
            raise ValueError(f"{name} is {number}; it must be at least {least}.")
    return numbers.values()


def _within(index, examples):
    index = operator.index(index)
    if not 0 <= index < examples:
        raise IndexError(f"there is no example {index}; there are {examples}, from 0 on.")
    return index


def _grouped(clips, kind):
    groups = {}
    for clip in clips:
        groups.setdefault(clip.group, []).append(clip)
    if not groups:
        raise ValueError(f"there are no clips of {kind} to mix.")
    return list(groups.values())


def _shares(groups):
    seconds = all(_length(clip) is not None for clips in groups for clip in clips)
    amounts = [sum(map(_length, clips)) if seconds else len(clips) for clips in groups]
    return np.sqrt(amounts) / np.sqrt(amounts).sum()


def _length(clip):
    """Samples of a clip, or None where only its file knows."""
    return None if clip.stop is None else clip.stop - clip.start


def _padded(wave, samples, rng):
    """(..., n) with silence before and after, together up to `samples`."""
    missing = samples - wave.shape[-1]
    before = rng.integers(missing + 1)
    return np.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(before, missing - before)])


def _tilted(wave, rng, most_db):
    """A random smooth change of the spectrum, as another microphone would make it."""
    if not most_db:
        return wave
    knots = rng.uniform(-most_db, most_db, 6)
    spectrum = np.fft.rfft(wave)
    octave = np.log2(np.linspace(1, 128, len(spectrum)))
    curve = np.interp(octave, np.linspace(0, 7, 6), knots)
    return np.fft.irfft(spectrum * 10 ** (curve / 20), len(wave))


def _level(energy, n):
    return float(audio.level_gain(energy, n)) or 1.0  # silence stays as it is


def main(arguments: Sequence[str] | None = None) -> int:
    from ..corpora import load_corpus
    from ..corpora.pairs import clips

    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.training.datasets",
        description="Examples of 30 600 samples a second that this machine mixes.",
    )
    parser.add_argument("speech", help="a corpus, such as mini-vb, or a folder of speech")
    parser.add_argument("noise", nargs="?", help="a folder of noise")
    parser.add_argument("--seconds", type=float, default=5.0, help="default %(default)s")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="default: 0 1")
    options = parser.parse_args(arguments)
    try:
        if options.noise:
            sounds = {"speech": clips(options.speech), "noise": clips(options.noise)}
        else:
            sounds = load_corpus(options.speech).sounds.get("train")
            if not sounds:
                raise ValueError(f"{options.speech} has nothing to be mixed anew in training.")
        data = Mixtures(**sounds, examples=10**9)
        for workers in options.workers:
            speed = throughput(data, options.seconds, workers)
            print(f"{workers} workers: {speed:.1f} examples a second")
    except (ValueError, OSError) as error:
        print(f"datasets: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
