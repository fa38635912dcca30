"""Gains and bootstrap intervals: against formulas, and in how many trials they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from rwsa_tutorial.scores.bootstrap import gains, interval, resampled_means


def rows(**scores):
    """file=(noisy, enhanced) as rows of `evaluate`."""
    return [
        {"file": file, "signal": signal, "pesq": value}
        for file, pair in scores.items()
        for signal, value in zip(("noisy", "enhanced"), pair, strict=True)
    ]


def test_gains_pair_the_rows_of_a_file_and_leave_out_what_is_missing():
    table = rows(a=(1.0, 1.5), b=(2.0, 1.25), c=(None, 1.0), d=(1.0, None), e=(0.0, 0.0))
    table += rows(f=(1.0, np.inf), g=(np.inf, np.inf), h=(-np.inf, 1.0))
    expected = {"a": 0.5, "b": -0.75, "e": 0.0}
    assert gains(table, "pesq") == expected
    assert gains(table[::-1], "pesq") == expected  # whatever the order of the rows
    assert gains([r for r in table if (r["file"], r["signal"]) != ("a", "noisy")], "pesq") == {
        "b": -0.75,
        "e": 0.0,
    }


@pytest.mark.parametrize("metric", ["pesq", "si_sdr"])
def test_gains_of_nothing_are_refused(metric):
    with pytest.raises(ValueError, match=metric):
        gains(rows(a=(1.0, None)), metric)


def test_resampled_means_spread_as_the_standard_error():
    values = np.random.default_rng(1).gamma(2.0, size=60)
    means = resampled_means(values, draws=20_000)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / np.sqrt(60), rel=0.02)


def test_interval_is_that_of_another_program():
    values = np.random.default_rng(2).normal(1.0, 3.0, 42)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, random_state=0
    ).confidence_interval
    assert interval(values, draws=20_000) == pytest.approx(tuple(theirs), abs=0.04)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_interval_holds_the_truth_as_often_as_it_says(level):
    rng = np.random.default_rng(3)
    trials = [interval(rng.normal(size=40), level, draws=400, seed=k) for k in range(400)]
    held = np.mean([low <= 0 <= high for low, high in trials])
    assert held == pytest.approx(level, abs=0.05)


def test_interval_of_ten_values_is_too_narrow_by_nearly_a_fifth():
    rng = np.random.default_rng(4)
    found = []
    for trial in range(300):
        values = rng.normal(size=10)
        low, high = interval(values, draws=500, seed=trial)
        half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / np.sqrt(10)
        found.append((high - low) / (2 * half))
    assert 0.77 < np.mean(found) < 0.87


def test_interval_of_one_value_or_of_equal_ones_has_no_width():
    assert interval([2.0]) == interval([2.0] * 5) == (2.0, 2.0)


@pytest.mark.parametrize("values", [[], np.ones((2, 3)), 1.0])
def test_what_is_no_row_of_values_is_refused(values):
    with pytest.raises(ValueError, match="shape"):
        resampled_means(values)
