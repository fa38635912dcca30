"""How EARS-WHAM is mixed: which speech with which noise, and at which loudness ratio.

First all is drawn (`plan_test`, `plan_training`), from one seed and the recordings' lengths alone;
then each take is mixed (`mix_take`), in any number of runs.

Source of the procedure: J. Richter et al., "EARS", Interspeech 2024, and the generating program of
version 1 in github.com/sp-uhh/ears_benchmark. Version 2 of the corpus keeps the noise recordings
of training, validation and test apart (issue 4 there). What else it changes is known here at
second hand only, from programs that build upon it and from its sister EARS-Reverb: WHAM!'s own
division is used, in the order of WHAM!'s table; speech passes a high-pass filter at 75 Hz;
training clips below -55 LUFS are left out. The draws follow version 1 with those changes: the same
procedure, but not surely the same 886 mixtures. The authors' own test.csv gives those
(`read_recipe`), but for the noise's channel, which it does not name. They resample by torchaudio,
this project by soxr.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import audio, tables
from ..mixing import loudness
from .fetching import say

RATE = 48_000  # Hz, of EARS and of WHAM!'s unsegmented noise
SEED = 42
SNR_DB = (-2.5, 17.5)
BINS = 12  # of SNR, gone through in turn by each style
LONGEST = 29 * RATE  # samples; longer test clips are left out
SHORTEST = 4 * RATE  # shorter training files are left out
PIECE = 10 * RATE  # into which long training files are cut
RAMP = RATE // 100  # samples, at both ends of a test clip
HIGH_PASS = 75.0  # Hz
QUIETEST = -55.0  # LUFS; quieter pieces for training are left out, unless they are whispered
HELD_OUT = ("interjection", "melodic", "nonverbal", "vegetative")  # styles, for training
# Looked for in this order in a file's name; two are spelt as in the recordings' names.
STYLES = """adoration amazement amusement anger confusion contentment cuteness desire disappointment
disgust distress embarassment extasy fast fear guilt highpitch interest loud lowpitch neutral pain
pride realization relief regular sadness serenity slow whisper""".split()
COLUMNS = (
    "id,speaker,speech_file,speech_start,speech_end,noise_file,noise_start,noise_end,snr_dB,channel"
).split(",")


@dataclass(frozen=True)
class Take:
    """Speech and noise that are mixed at one ratio, and the pieces that are kept of the mixture.

    speech, noise: names without extension. start, stop: samples of the speech at 48 kHz; what is
    measured is all of it. noise_start, channel: where in the noise. pieces: samples from `start`
    on; ramped: whether the ends are faded.
    """

    speaker: str
    speech: str
    start: int
    stop: int
    noise: str
    channel: int
    noise_start: int
    snr_db: float
    pieces: tuple
    ramped: bool


@dataclass(frozen=True)
class Noise:
    """A noise recording: its name without extension, its length in samples, its channels."""

    name: str
    length: int
    channels: int


def plan_test(
    cuts: Mapping, lengths: Mapping[tuple[str, str], int], noises: Sequence
) -> list[Take]:
    """Draw the takes of the test split.

    Args:
        cuts: speaker -> file -> list of [start, end] in samples, as in the authors'
            test_files.json; an end of -1 leaves out the last sample, as it does in Python.
        lengths: (speaker, file) -> samples at 48 kHz.
        noises: list of `Noise`, in the order of WHAM!'s table.

    Returns:
        list of Take.
    """
    rng = _random()
    files = [(speaker, name) for speaker in cuts for name in cuts[speaker]]
    rng.shuffle(files)
    edges = np.linspace(*SNR_DB, BINS + 1)
    turns = dict.fromkeys(STYLES, 0)
    takes = []
    for speaker, name in files:
        noise = noises[rng.choice(len(noises))]
        channel = rng.randint(noise.channels)
        for first, end in cuts[speaker][name]:
            start, stop, _ = slice(first, end).indices(lengths[speaker, name])
            length = stop - start
            if length > LONGEST:
                continue
            if noise.length < length:
                noise, channel = _long_enough(rng, noises, length)
            noise_start = rng.randint(noise.length - length + 1)
            low, high = SNR_DB
            if (style := _style(name)) is not None:
                low, high = edges[turns[style] % BINS :][:2]
                turns[style] += 1
            snr_db = float(np.round(rng.uniform(low, high), 1))
            where = (speaker, name, start, stop, noise.name, channel, noise_start)
            takes.append(Take(*where, snr_db, pieces=((0, length),), ramped=True))
    return takes


def plan_training(
    files: Sequence[tuple[str, str]], lengths: Mapping[tuple[str, str], int], noises: Sequence
) -> list[Take]:
    """Draw the takes of the training or the validation split.

    Args:
        files: list of (speaker, file), sorted.
        lengths, noises: as for `plan_test`.

    Returns:
        list of Take.
    """
    rng = _random()
    takes = []
    for speaker, name in files:
        length = lengths[speaker, name]
        if name.split("_")[0] in HELD_OUT or length < SHORTEST:
            continue
        noise, channel = _long_enough(rng, noises, length)
        noise_start = rng.randint(noise.length - length + 1)
        snr_db = float(np.round(rng.uniform(*SNR_DB), 1))
        where = (speaker, name, 0, length, noise.name, channel, noise_start)
        takes.append(Take(*where, snr_db, pieces=_pieces(length), ramped=False))
    return takes


def read_recipe(path: str | Path, lengths: Mapping[tuple[str, str], int]) -> list[Take]:
    """The takes of a test.csv by the authors, or of one that `mix_take`'s rows were written to.

    The authors' file counts noise_start from the start of the speech file, not of the clip, and
    has no column for the noise's channel: the first is taken.

    Raises ValueError, with the line, for what cannot be understood.
    """
    takes = []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = set(COLUMNS[:-1]) - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(f"{path} has no column {', '.join(sorted(lacking))}.")
        own = "channel" in reader.fieldnames
        if not own:
            say(f"{path} does not say which channel of the noise was taken: it is the first here.")
        for line, row in enumerate(reader, 2):
            try:
                row = {column: tables.plain(text) for column, text in row.items()}
                speaker, name = row["speaker"], row["speech_file"]
                first, end = int(row["speech_start"]), int(row["speech_end"])
                start, stop, _ = slice(first, end).indices(lengths[speaker, name])
                noise_start = int(row["noise_start"]) - (0 if own else start)
                channel = int(row["channel"]) if own else 0
                snr_db = float(row["snr_dB"])
            except (KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {line} cannot be used ({error!r}).") from None
            if not (0 <= start < stop and noise_start >= 0 and channel >= 0):
                raise ValueError(f"{path}, line {line}: there are no such samples.")
            where = (speaker, name, start, stop, row["noise_file"], channel, noise_start)
            takes.append(Take(*where, snr_db, pieces=((0, stop - start),), ramped=True))
    return takes


def mix_take(
    take: Take, speech_path: str | Path, noise_path: str | Path
) -> list[tuple[dict, np.ndarray, np.ndarray]]:
    """Mix one take at 48 kHz.

    Returns:
        list of (row, clean, noisy): the columns of the CSV but for the id, and float64 (n,); empty
        if speech or noise has no loudness, or nothing but more than full scale comes of it.

    Raises ValueError, in words, for recordings that do not fit.
    """
    speech = _speech(speech_path)[take.start : take.stop]
    noise = _noise(noise_path, take)
    clean_loudness, noise_loudness = loudness(speech, RATE), loudness(noise, RATE)
    if not math.isfinite(clean_loudness - noise_loudness) or np.abs(speech).max() >= 1:
        return []
    snr_db = take.snr_db
    while True:
        gain = 10 ** ((clean_loudness - snr_db - noise_loudness) / 20)
        noisy = speech + gain * noise
        if np.abs(noisy).max() < 1:
            break
        snr_db += 1
    rows = []
    for first, last in take.pieces:
        clean_piece, noisy_piece = speech[first:last].copy(), noisy[first:last].copy()
        if take.ramped:
            for wave in (clean_piece, noisy_piece):
                ramp = np.linspace(0, 1, RAMP)[: len(wave)]
                wave[: len(ramp)] *= ramp
                wave[-len(ramp) :] *= ramp[::-1]
        elif "whisper" not in take.speech and loudness(clean_piece, RATE) <= QUIETEST:
            continue
        start, noise_start = take.start + first, take.noise_start + first
        row = {
            "speaker": take.speaker,
            "speech_file": take.speech,
            "speech_start": start,
            "speech_end": start + len(clean_piece),
            "noise_file": take.noise,
            "noise_start": noise_start,
            "noise_end": noise_start + len(clean_piece),
            "snr_dB": round(snr_db, 1),
            "channel": take.channel,
        }
        rows.append((row, clean_piece, noisy_piece))
    return rows


def high_pass(wave: np.ndarray, rate: int, cutoff: float) -> np.ndarray:
    """Second-order high-pass filter with Q = 0.707, output limited to full scale.

    R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients"; the limit is
    that of torchaudio, with which the authors filter.
    """
    from scipy.signal import lfilter

    angle = 2 * np.pi * cutoff / rate
    alpha, cosine = np.sin(angle) / (2 * 0.707), np.cos(angle)
    above = np.array([(1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2])
    below = np.array([1 + alpha, -2 * cosine, 1 - alpha])
    return np.clip(lfilter(above, below, wave), -1, 1)


def _random():
    # The authors' generator, so that a seed gives the draws that it gives them.
    return np.random.RandomState(SEED)


def _long_enough(rng, noises, length):
    if not any(noise.length >= length for noise in noises):
        raise ValueError(f"No noise recording is as long as {length / RATE:.0f} s of speech.")
    while True:
        noise = noises[rng.choice(len(noises))]
        if noise.length >= length:
            return noise, rng.randint(noise.channels)


def _style(name):
    return next((style for style in STYLES if style in name.lower()), None)


def _pieces(length):
    """10 s each; what is left below 4 s goes to the last one, which lacks the last sample."""
    count = 1 if length < PIECE + SHORTEST else (length - SHORTEST) // PIECE + 1
    edges = [n * PIECE for n in range(count)] + [length - 1]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def _speech(path):
    with audio.open_to_read(path) as file:
        if (file.samplerate, file.channels) != (RATE, 1):
            raise ValueError(f"{path} should be mono at {RATE} Hz, as EARS is.")
        return high_pass(file.read(dtype="float64"), RATE, HIGH_PASS)


def _noise(path, take):
    length = take.stop - take.start
    with audio.open_to_read(path) as file:
        if file.samplerate != RATE:
            raise ValueError(f"{path} should be at {RATE} Hz, as WHAM!'s unsegmented noise is.")
        if take.channel >= file.channels or take.noise_start + length > file.frames:
            raise ValueError(f"{path} has not the channel or the samples that are to be taken.")
        file.seek(take.noise_start)
        return file.read(length, dtype="float64", always_2d=True)[:, take.channel]
