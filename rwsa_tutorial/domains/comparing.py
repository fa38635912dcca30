"""Are these really different domains? Corpora measured, in tables and CSV."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .. import audio, tables
from ..corpora.corpus import Corpus
from ..corpora.pairs import evenly
from ..features import SAMPLE_RATE
from . import measures
from .distance import SIGNALS, Distances, distances

MEASURES = {
    "snr_db": "SNR (dB)",
    "loudness_ratio_db": "loudness ratio (dB)",
    "pitch_hz": "pitch (Hz)",
    "pitch_spread": "pitch spread (semitones)",
    "syllables_per_second": "syllables a second",
    "unsteadiness_db": "noise unsteadiness (dB)",
}


@dataclass(frozen=True)
class Description:
    """What was measured of one split of a corpus, a row a pair.

    rows: dicts of "file", "seconds" and the `MEASURES`, None where missing. spectra: "clean" and
    "noise" -> (pairs, 26) dB, see `measures.spectrum`. modulations: (pairs, 7) dB, of the noise.
    means, squares: for each of `SIGNALS`, mean (pairs, 32) and mean outer product
    (pairs, 32, 32) of its log-mel frames, from which `distances` fits Gaussians; NaN for silence.
    """

    name: str
    split: str
    rows: list
    spectra: dict
    modulations: np.ndarray
    means: dict
    squares: dict


def describe(
    corpus: Corpus, split: str = "test", limit: int | None = None, progress: bool = True
) -> Description:
    """Measure the pairs of a split: level, spectrum, pitch, speaking rate, noise.

    The noise is noisy - clean, so the two must be aligned and of one gain, as they are where
    noise was added. Other rates than 16 kHz are resampled, as for the network.

    Args:
        corpus: a `Corpus`.
        split: of its splits.
        limit: measure only so many pairs, spread evenly over the split; None: all.
        progress: show a bar. It takes about a tenth of a second for a pair of 4 s.

    Returns:
        Description.

    Raises:
        ValueError: in words: an unknown or empty split, a limit below 1, a pair that cannot be
            read (see `Pair.read`).
        FileNotFoundError: a file is missing.
    """
    pairs = corpus.pairs(split)
    if not pairs:
        raise ValueError(f"{corpus.name} has no pairs in its split {split!r}.")
    if limit is not None:
        if limit < 1:
            raise ValueError(f"the limit is {limit}: measure at least 1 pair, or give none for all")
        pairs = evenly(pairs, limit)
    bar = tqdm(pairs, desc=f"measuring {corpus.name}", unit="pair", disable=not progress)
    found = [_measure(pair) for pair in bar]
    rows, spectra, modulations, moments = zip(*found, strict=True)
    return Description(
        corpus.name,
        split,
        list(rows),
        {signal: np.array([s[signal] for s in spectra]) for signal in spectra[0]},
        np.array(modulations),
        {signal: np.array([m[signal][0] for m in moments]) for signal in SIGNALS},
        {signal: np.array([m[signal][1] for m in moments]) for signal in SIGNALS},
    )


def _measure(pair):
    clean, noisy, rate = pair.read()
    clean, noisy = (audio.resample(wave, rate, SAMPLE_RATE) for wave in (clean, noisy))
    signals = {"clean": clean, "noise": noisy - clean, "noisy": noisy}
    noise = signals["noise"]
    pitch_hz, pitch_spread = measures.pitch(clean)
    row = {
        "file": pair.name,
        "seconds": len(clean) / SAMPLE_RATE,
        "snr_db": measures.ratio_db(clean, noise),
        "loudness_ratio_db": measures.loudness_ratio_db(clean, noise),
        "pitch_hz": pitch_hz,
        "pitch_spread": pitch_spread,
        "syllables_per_second": measures.speaking_rate(clean),
        "unsteadiness_db": measures.unsteadiness(noise),
    }
    spectra = {signal: measures.spectrum(signals[signal]) for signal in ("clean", "noise")}
    moments = {signal: _moments(wave) for signal, wave in signals.items()}
    return row, spectra, measures.modulation(noise), moments


def _moments(wave):
    frames = measures.log_mel(wave)
    if frames is None:
        bands = measures.MEL_BANDS
        return np.full(bands, np.nan), np.full((bands, bands), np.nan)
    frames = frames.astype(np.float64)
    return frames.mean(axis=0), frames.T @ frames / len(frames)


def summary(description: Description) -> dict[str, tuple[float | None, float | None, int]]:
    """Each measure of the rows: (mean, standard deviation, how many are missing).

    Both are None where every value is missing; the deviation is that of the values themselves.
    """
    result = {}
    for name in MEASURES:
        there = [row[name] for row in description.rows if row[name] is not None]
        mean, sd = (float(np.mean(there)), float(np.std(there))) if there else (None, None)
        result[name] = (mean, sd, len(description.rows) - len(there))
    return result


def table(descriptions: Sequence[Description]) -> str:
    """Mean ± standard deviation of each measure as text, a line a measure, a column a corpus."""
    lines = [["", *(d.name for d in descriptions)]]
    lines.append(["split", *(d.split for d in descriptions)])
    lines.append(["pairs", *(str(len(d.rows)) for d in descriptions)])
    minutes = [sum(row["seconds"] for row in d.rows) / 60 for d in descriptions]
    lines.append(["minutes", *(f"{m:.1f}" for m in minutes)])
    summaries = [summary(d) for d in descriptions]
    notes = []
    for name, words in MEASURES.items():
        cells = []
        for description, values in zip(descriptions, summaries, strict=True):
            mean, sd, missing = values[name]
            cells.append("–" if mean is None else f"{mean:.1f} ± {sd:.1f}")
            if missing and mean is not None:
                count = len(description.rows)
                notes.append(f"{words}: missing for {missing} of {count} in {description.name}.")
        lines.append([words, *cells])
    return "\n".join([tables.aligned(lines), *notes])


def write_csv(path: str | Path, descriptions: Sequence[Description]) -> None:
    """Write all rows as CSV, a line a pair; a missing value is an empty cell.

    The file appears whole or not at all, and replaces an existing one.
    """
    rows = [{"corpus": d.name, "split": d.split} | row for d in descriptions for row in d.rows]
    tables.write(path, ["corpus", "split", "file", "seconds", *MEASURES], rows)


def compare(
    corpora: Iterable[Corpus],
    split: str = "test",
    limit: int | None = None,
    progress: bool = True,
    draws: int = 500,
) -> tuple[list[Description], list[Distances]]:
    """Describe corpora and find their distances.

    Args: as for `describe` and `distances`; corpora: at least one `Corpus`.

    Returns:
        (descriptions, results): a `Description` a corpus; `Distances` by clean speech, noise and
        noisy speech, none for a single corpus.

    Raises:
        ValueError, FileNotFoundError: as for `describe` and `distances`.
    """
    descriptions = [describe(corpus, split, limit, progress) for corpus in corpora]
    signals = SIGNALS if len(descriptions) > 1 else ()
    return descriptions, [
        distances(descriptions, signal, draws, progress=progress) for signal in signals
    ]
