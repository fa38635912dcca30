"""Two kinds of network, trained with the same seeds, scored on the same voices: do they differ?

Files are not independent: one voice says many of them, and one network hears them all. What varies
by itself is the seed and the voice. Each seed meets each voice, so both are crossed, and the error
of a mean has a part of each (Cornfield and Tukey 1956).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95  # of an interval
POWER = 0.8  # with which `Difference.resolvable` would have been found


@dataclass(frozen=True)
class Difference:
    """A mean difference, and how sure it is.

    low, high: its interval of LEVEL. p: the chance of as much where there is none. resolvable: the
    least true difference that would have been found in POWER of all such experiments, at 1 - LEVEL.
    """

    mean: float
    low: float
    high: float
    p: float
    resolvable: float
    seeds: int
    voices: int


def difference(values: ArrayLike) -> Difference:
    """The mean of differences that were measured with each seed on each voice.

    With S seeds, V voices and mean squares MS of the two-way table, the variance of the mean is
    (MS_seeds + MS_voices - MS_rest) / (S V), its degrees of freedom are Satterthwaite's (1946). It
    is taken to be no less than that of either alone would be, MS / (S V).

    Args:
        values: (S, V): of one kind minus of the other, a row a seed, S >= 2. With one voice, or one
            column of means over voices, it is the paired t-test over seeds: what it says then holds
            for these voices.

    Raises:
        ValueError: in words, for another shape, a single seed, or a value that is not finite.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(f"differences are (seeds, voices), two seeds at least, not {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError("a difference is missing or infinite: each seed needs each voice.")
    S, V = x.shape
    mean, by_seed, by_voice = x.mean(), x.mean(1, keepdims=True), x.mean(0, keepdims=True)
    seeds = V * by_seed.var(ddof=1)
    if V == 1:
        square, freedom = seeds, S - 1
    else:
        voices = S * by_voice.var(ddof=1)
        rest = np.square(x - by_seed - by_voice + mean).sum() / ((S - 1) * (V - 1))
        parts = [(seeds, S - 1), (voices, V - 1), (rest, (S - 1) * (V - 1))]
        square = seeds + voices - rest
        freedom = square**2 / max(sum(m**2 / f for m, f in parts), 1e-300)
        square, freedom = max([(square, freedom), *parts[:2]], key=lambda one: one[0])
    error = math.sqrt(square / (S * V))
    t = stats.t(max(freedom, 1))
    half = t.ppf(0.5 + LEVEL / 2)
    p = float(2 * t.sf(abs(mean) / error)) if error else float(mean == 0)
    reach = (half + t.ppf(POWER)) * error
    low, high = mean - half * error, mean + half * error
    return Difference(float(mean), float(low), float(high), p, float(reach), S, V)


def holm(ps: Sequence[float]) -> list[float]:
    """These p-values, each as it counts in the company of the others (Holm 1979).

    All that stay below 1 - LEVEL may be called found, and the chance that any is not there is still
    at most 1 - LEVEL. In the order in which they came.
    """
    order = np.argsort(ps, kind="stable")
    adjusted, least = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * ps[place]))
        adjusted[place] = float(least)
    return adjusted
