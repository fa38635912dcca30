"""Paired differences over seeds and voices: against scipy, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from rwsa_tutorial.scores.paired import difference, holm


def simulated(rng, seeds, voices, rest, S=10, V=6, mean=0.0):
    """(S, V): an effect of each seed, one of each voice, and what is left."""
    return (
        mean
        + seeds * rng.normal(size=(S, 1))
        + voices * rng.normal(size=(1, V))
        + rest * rng.normal(size=(S, V))
    )


def test_with_one_voice_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    values = rng.normal(0.4, 1, size=(9, 1))
    found, wanted = difference(values), stats.ttest_1samp(values[:, 0], 0)
    low, high = wanted.confidence_interval(0.95)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(values.mean()) and (found.seeds, found.voices) == (9, 1)


def test_by_hand():
    """Two seeds, two voices: 1, 3 and 5, 11. Mean squares 36, 16 and 4; variance 48 / 4."""
    found = difference([[1, 3], [5, 11]])
    assert found.mean == 5
    freedom = 48**2 / (36**2 + 16**2 + 4**2)
    half = stats.t(freedom).ppf(0.975) * 12**0.5
    assert (found.low, found.high) == pytest.approx((5 - half, 5 + half))


@pytest.mark.parametrize(
    ("seeds", "voices", "rest"),
    [(1, 0, 0.5), (0, 1, 0.5), (1, 1, 0.5), (0.3, 0.3, 1), (0, 0, 1)],
)
def test_as_many_intervals_hold_the_truth_as_they_say(seeds, voices, rest):
    """Of 1000: 95 %, more where neither seeds nor voices matter; a t-test over files has fewer."""
    rng = np.random.default_rng(1)
    tables = [simulated(rng, seeds, voices, rest) for _ in range(1000)]
    found = [difference(table) for table in tables]
    held = np.mean([d.low <= 0 <= d.high for d in found])
    assert 0.93 <= held <= 0.999
    assert np.mean([d.p < 0.05 for d in found]) == pytest.approx(1 - held, abs=1e-9)
    if seeds == 1 or voices == 1:
        naive = np.mean([stats.ttest_1samp(table.ravel(), 0).pvalue < 0.05 for table in tables])
        assert naive > 0.3


def test_what_is_resolvable_is_found_four_times_in_five():
    rng = np.random.default_rng(2)
    reach = np.median([difference(simulated(rng, 0.5, 0.3, 0.5)).resolvable for _ in range(500)])
    found = [difference(simulated(rng, 0.5, 0.3, 0.5, mean=reach)).p < 0.05 for _ in range(1000)]
    assert 0.72 < np.mean(found) < 0.88


def test_equal_values_have_no_error():
    assert difference(np.ones((3, 2))).p == 0
    assert difference(np.zeros((3, 2))).p == 1


def test_holm():
    """The example of four p-values worked by hand: 4, 3, 2, 1 times, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("values", [[1, 2, 3], [[1, 2]], np.ones((2, 0)), [[1, np.nan], [1, 2]]])
def test_what_is_no_table_is_refused_in_words(values):
    with pytest.raises(ValueError, match=r"seeds, voices|each seed needs each voice"):
        difference(values)
