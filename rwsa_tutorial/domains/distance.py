"""How far corpora lie apart by their log-mel spectra, and how much of that is chance."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from .. import tables

SIGNALS = ("clean", "noise", "noisy")


def frechet_distance(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """Fréchet (2-Wasserstein) distance between two Gaussians.

    d^2 = |mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)) (Dowson and Landau
    1982); note that the distances of image and audio generation, FID and FAD, are d^2. The trace
    of the root is the sum of the roots of the eigenvalues of cov_a^(1/2) cov_b cov_a^(1/2), which
    is symmetric, so that no covariance needs to be invertible and none is regularised.

    Args:
        mean_a, mean_b: (d,).
        cov_a, cov_b: (d, d), symmetric, positive semi-definite.

    Returns:
        float d, in the unit of the means.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    square = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return float(np.sqrt(max(square, 0.0)))


@dataclass(frozen=True)
class Distances:
    """Distances in dB between k descriptions, by one signal.

    between: (k, k). halves: (k,), the mean distance between random halves of one corpus, which
    is what a distance of 0 looks like with half as many recordings. chance: (k, k), the distance
    that 1 in 20 random divisions of the pair's recordings exceeds: below it, two corpora cannot
    be told apart. NaN on its diagonal.
    """

    signal: str
    names: tuple
    between: np.ndarray
    halves: np.ndarray
    chance: np.ndarray


def distances(
    descriptions: Sequence,
    signal: str = "noisy",
    draws: int = 500,
    seed: int = 0,
    progress: bool = False,
) -> Distances:
    """How far corpora lie apart by their log-mel spectra, and how much of that is chance.

    Of each corpus a Gaussian is fitted to the log-mel frames of all its recordings, a recording
    counting the same whatever its length; `frechet_distance` between them is divided by the root
    of the number of bands, 32. So corpora whose spectra differ by g dB in every band, and in
    nothing else, are g dB apart. Recordings are brought to one level before.

    Frames are pooled, rather than summed up to one vector a recording, because 40 recordings give
    10 000 frames but only 40 vectors, and the distance of two Gaussians grows with what was too
    little to fit them: in a trial, halves of one corpus were less far apart by frames, and
    different corpora at least as far above chance.

    Neither halves nor chance know that recordings may share a voice or a noise: few voices make
    a corpus look more apart than it is.

    Args:
        descriptions: from `describe`.
        signal: "clean", "noise" or "noisy".
        draws: of random divisions; of halves, whose mean alone counts, at most 20.
        seed: of the draws.
        progress: show a bar.

    Returns:
        Distances.

    Raises:
        ValueError: in words: an unknown signal, or fewer than two recordings with sound.
    """
    if signal not in SIGNALS:
        raise ValueError(f"no signal {signal!r}; choose from {', '.join(SIGNALS)}")
    corpora = [_heard(d, signal) for d in descriptions]
    k = len(corpora)
    between, chance = np.zeros((k, k)), np.full((k, k), np.nan)
    halves = [
        np.mean(_divided(*one, len(one[0]) // 2, draws=min(draws, 20), seed=seed))
        for one in corpora
    ]
    bar = tqdm(
        list(itertools.combinations(range(k), 2)),
        desc=f"distances, {signal}",
        unit="pair",
        disable=not progress,
    )
    for i, j in bar:
        between[i, j] = between[j, i] = _apart(corpora[i], corpora[j])
        both = [np.concatenate(parts) for parts in zip(corpora[i], corpora[j], strict=True)]
        drawn = _divided(*both, len(corpora[i][0]), draws=draws, seed=seed)
        chance[i, j] = chance[j, i] = np.quantile(drawn, 0.95)
    names = tuple(d.name for d in descriptions)
    return Distances(signal, names, between, np.array(halves), chance)


def _heard(description, signal):
    """Moments of the recordings that are not silent."""
    means, squares = description.means[signal], description.squares[signal]
    heard = np.isfinite(means[:, 0])
    if heard.sum() < 2:
        raise ValueError(
            f"{description.name} has {heard.sum()} recording(s) with sound in the {signal} signal; "
            "a distance needs at least 2."
        )
    return means[heard], squares[heard]


def _divided(means, squares, count, draws, seed):
    """Distances between random parts, one of `count` recordings, the other of the rest."""
    rng = np.random.default_rng(seed)  # anew, so that a pair's chance knows of no other corpora
    found = []
    for _ in range(draws):
        order = rng.permutation(len(means))
        parts = ((means[part], squares[part]) for part in (order[:count], order[count:]))
        found.append(_apart(*parts))
    return found


def _apart(one, other):
    gaussians = []
    for means, squares in (one, other):
        mean = means.mean(axis=0)
        gaussians += [mean, squares.mean(axis=0) - np.outer(mean, mean)]
    return frechet_distance(*gaussians) / np.sqrt(len(gaussians[0]))


def distance_table(results: Sequence[Distances]) -> str:
    """`Distances` as text, a line for each signal and pair of corpora."""
    lines = [["signal", "corpora", "distance (dB)", "halves (dB)", "chance (dB)", ""]]
    for d in results:
        for i, j in itertools.combinations(range(len(d.names)), 2):
            apart = d.between[i, j] > d.chance[i, j]
            lines.append(
                [
                    d.signal,
                    f"{d.names[i]} / {d.names[j]}",
                    f"{d.between[i, j]:.2f}",
                    f"{d.halves[i]:.2f} / {d.halves[j]:.2f}",
                    f"{d.chance[i, j]:.2f}",
                    "differ" if apart else "not told apart",
                ]
            )
    return tables.aligned(lines, left=2)
