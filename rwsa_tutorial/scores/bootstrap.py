"""How sure is a mean over recordings? Gains a recording, and the bootstrap (notebook 09)."""

import numpy as np
from numpy.typing import ArrayLike

from .metrics import is_finite


def gains(rows: list[dict], metric: str) -> dict[str, float]:
    """How much each recording gained by enhancement: enhanced - noisy.

    Args:
        rows: from `evaluation.evaluate` or `evaluation.read_csv`.
        metric: one of `metrics.METRICS`.

    Returns:
        dict: file -> gain, in the rows' order; files that lack either score, or where
        one is infinite, are left out.

    Raises:
        ValueError: in words, where no file has both scores.
    """
    scores = {(row["file"], row["signal"]): row.get(metric) for row in rows}
    found = {
        file: after - scores[file, "noisy"]
        for (file, signal), after in scores.items()
        if signal == "enhanced" and is_finite(after) and is_finite(scores.get((file, "noisy")))
    }
    if not found:
        raise ValueError(f"no recording has {metric} both noisy and enhanced.")
    return found


def resampled_means(values: ArrayLike, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Means of as many values as there are, drawn with replacement: the bootstrap (Efron 1979).

    Args:
        values: (n,), one of each recording. For a comparison on the same recordings give the
            differences, so that both sides of a pair are drawn together.
        draws: how often.
        seed: of the draws.

    Returns:
        (draws,): what the mean would have been with other recordings of the same kind. How it
        would change with another training run is not in it, nor that recordings may share a voice.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"a mean needs values (n,) with n > 0, got shape {values.shape}")
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    return values[picks].mean(axis=1)


def interval(
    values: ArrayLike, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The mean's bootstrap interval: (low, high), between which `level` of `resampled_means` lie.

    The percentile interval. Of few values it is too narrow: of 10, by nearly a fifth.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(resampled_means(values, draws, seed), (tail, 1 - tail))
    return float(low), float(high)
