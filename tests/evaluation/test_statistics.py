"""Intervals that cover, p-values that are uniform under the null, known cases."""

import math

import numpy as np
import pytest
from scipy import stats

from mssedu.errors import InputError
from mssedu.evaluation.statistics import (
    bootstrap_interval,
    holm,
    mean_interval,
    paired_test,
    smallest_p,
)


def binomial_bounds(n, probability):
    """Counts that chance leaves once in a thousand."""
    return stats.binom.interval(0.999, n, probability)


# ---- interval -----------------------------------------------------------------------


def test_intervals_hold_the_truth_as_often_as_they_say():
    """50 tracks of a skewed distribution; a percentile interval is a little narrow."""
    draw = np.random.default_rng(1)
    n_runs, held = 500, 0
    for run in range(n_runs):
        low, high = bootstrap_interval(
            draw.gamma(4.0, 1.0, 50), n_resamples=499, seed=run
        )
        held += low <= 4.0 <= high
    fewest, most = binomial_bounds(n_runs, 0.94)
    assert fewest <= held <= most


def test_intervals_of_normal_means_match_the_t_interval():
    values = np.random.default_rng(2).normal(6.0, 2.0, 200)
    low, high = bootstrap_interval(values)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.03)


def test_the_interval_of_a_mean_is_that_of_student():
    values = [1.0, 2.0, 4.0]
    mean, half_width = mean_interval(values, 0.9)
    expected = stats.t.interval(0.9, 2, np.mean(values), stats.sem(values))
    assert (mean - half_width, mean + half_width) == pytest.approx(expected)
    with pytest.raises(InputError, match="values"):
        mean_interval([1.0])


def test_the_median_is_not_moved_by_one_wild_track():
    values = [*np.linspace(4, 6, 20), -80.0]
    low, high = bootstrap_interval(values, "median")
    assert low > 4
    assert bootstrap_interval(values, "mean")[0] < 0
    assert high < 6


def test_intervals_are_repeatable():
    values = np.random.default_rng(4).normal(size=9).tolist()
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    wide, narrow = (
        bootstrap_interval(values),
        bootstrap_interval(values, confidence=0.5),
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_too_few_values_and_equal_values():
    assert bootstrap_interval([1.0, 2.0]) is None
    assert bootstrap_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


# ---- paired test --------------------------------------------------------------------


def test_p_values_are_uniform_if_nothing_differs():
    draw = np.random.default_rng(3)
    n_runs = 1000
    values = []
    for _ in range(n_runs):
        a = draw.normal(size=12)
        b = a + draw.normal(size=12)
        values.append(paired_test(a.tolist(), b.tolist(), n_resamples=9).p)
    for level in (0.05, 0.2, 0.5):
        # the exact p is discrete: its level is the largest it can reach below
        reached = max(q for q in exact_levels(12) if q <= level)
        fewest, most = binomial_bounds(n_runs, reached)
        assert fewest <= sum(value <= level for value in values) <= most


def exact_levels(n):
    """All p-values that the exact two-sided test of n pairs can give."""
    sums = np.zeros(n * (n + 1) // 2 + 1)
    sums[0] = 1
    for rank in range(1, n + 1):
        sums[rank:] = sums[rank:] + sums[:-rank]
    return np.minimum(1, 2 * np.cumsum(sums) / 2**n)


def test_a_known_case():
    """Student's sleep data: the differences of ten patients, one of them zero."""
    a = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    b = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    result = paired_test(a, b)
    assert (result.n, result.n_zero) == (10, 1)
    assert result.difference == pytest.approx(1.58)
    assert result.p == pytest.approx(0.00390625)  # nine signs alike: 2 / 2^9
    assert result.p == result.smallest_p
    assert result.rank_biserial == pytest.approx(1.0)
    assert result.d_z == pytest.approx(1.58 / 1.2299955, rel=1e-6)
    assert result.interval[0] < 1.58 < result.interval[1]


def test_p_is_scipys():
    draw = np.random.default_rng(5)
    a, b = draw.normal(size=(2, 40))
    result = paired_test(a.tolist(), b.tolist())
    assert result.p == pytest.approx(stats.wilcoxon(b, a).pvalue)
    ranks = stats.rankdata(np.abs(b - a)) * np.sign(b - a)
    assert result.rank_biserial == pytest.approx(ranks.sum() / (40 * 41 / 2))


def test_sides():
    a, b = [1.0, 2.0, 3.0, 4.0], [0.5, 1.0, 1.2, 3.9]
    there, back = paired_test(a, b), paired_test(b, a)
    assert (there.difference, there.rank_biserial) == (
        -back.difference,
        -back.rank_biserial,
    )
    assert there.p == back.p
    assert there.interval == pytest.approx([-end for end in back.interval[::-1]])


def test_no_difference_at_all():
    result = paired_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (result.p, result.rank_biserial, result.n_zero) == (1.0, 0.0, 3)
    assert math.isnan(result.d_z)
    assert result.interval == (0.0, 0.0)


def test_few_pairs_cannot_be_significant():
    assert [smallest_p(n) for n in (0, 1, 5, 6)] == [1.0, 1.0, 0.0625, 0.03125]
    assert paired_test([0.0], [1.0]).interval is None


# ---- many tests ---------------------------------------------------------------------


def test_holm_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling, never above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_keeps_the_error_of_the_whole_table():
    draw = np.random.default_rng(6)
    n_runs = 4000
    wrong = sum(min(holm(draw.uniform(size=4))) < 0.05 for _ in range(n_runs))
    fewest, most = binomial_bounds(n_runs, 1 - (1 - 0.05 / 4) ** 4)
    assert fewest <= wrong <= most


def test_errors():
    with pytest.raises(InputError, match="got 1 and 2 values"):
        paired_test([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="got 0 and 0 values"):
        paired_test([], [])
    with pytest.raises(InputError, match="must be finite"):
        paired_test([1.0], [math.nan])
    with pytest.raises(InputError, match="values must be finite"):
        bootstrap_interval([1.0, math.inf, 2.0])
    with pytest.raises(InputError, match="unknown statistic"):
        bootstrap_interval([1.0, 2.0, 3.0], "mode")
    with pytest.raises(InputError, match="p must be"):
        holm([1.2])
