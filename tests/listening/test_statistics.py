"""Known critical values, the null simulation, and the unit of analysis."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mssedu.errors import InputError
from mssedu.listening.results.ratings import (
    compare,
    friedman,
    listener_means,
    of_question,
    power_note,
    power_table,
    summarize,
)
from mssedu.listening.results.simulate import Panel, draw_ratings

ONE = dict.fromkeys("abcd", 50.0)  # four systems, no difference


def means(rows, columns="abc"):
    return pd.DataFrame(rows, columns=list(columns)).astype(float)


def frame(scores, replicate=False, question="quality"):
    """(listeners, trials, stimuli) -> lines."""
    lines = [
        {
            "listener": f"L{n}",
            "trial": f"song {t}",
            "question": question,
            "stimulus": "abcd"[s],
            "score": scores[n, t, s],
            "replicate": replicate,
        }
        for n, t, s in np.ndindex(scores.shape)
    ]
    return pd.DataFrame(lines)


# ---- the unit -----------------------------------------------------------------------


def test_false_positives_of_three_analyses_where_nothing_is_true():
    """12 listeners × 10 trials × 4 equal systems; 300 panels, alpha 0.05.

    The rates are known from 2000 panels: 18 %, 45 %, 5 %; here ± 3 standard errors.
    """
    n_runs, found = 300, np.zeros(3)
    for seed in range(n_runs):
        scores = draw_ratings(ONE, 12, 10, Panel(seed=seed))
        rows, per_listener = scores.reshape(-1, 4), scores.mean(1)
        p = [
            stats.f_oneway(*rows.T).pvalue,
            stats.friedmanchisquare(*rows.T).pvalue,
            friedman(means(per_listener, "abcd")).p,
        ]
        found += np.array(p) < 0.05
    rates = found / n_runs
    for rate, known in zip(rates, (0.18, 0.45, 0.05), strict=True):
        assert rate == pytest.approx(
            known, abs=3 * np.sqrt(known * (1 - known) / n_runs)
        )
    assert rates[1] > rates[0] > 2 * 0.05  # ranks do not cure it; they make it worse


def test_means_are_of_listeners_without_replicates():
    scores = np.arange(24.0).reshape(2, 3, 4)
    lines = pd.concat([frame(scores), frame(scores[:, :1] + 500, replicate=True)])
    found = listener_means(lines)
    assert list(found.columns) == list("abcd")
    assert np.array_equal(found.to_numpy(), scores.mean(1))


def test_who_has_not_rated_all_is_left_out():
    scores = frame(np.arange(24.0).reshape(2, 3, 4))
    some = scores[(scores.listener == "L0") | (scores.stimulus != "d")]
    assert list(listener_means(some).index) == ["L0"]


def test_questions_are_not_mixed():
    scores = np.ones((2, 1, 2))
    both = pd.concat([frame(scores), frame(3 * scores, question="bleed")])
    with pytest.raises(InputError, match=r"question is not given.* quality, bleed"):
        listener_means(both)
    with pytest.raises(InputError, match="unknown question 'bled'"):
        of_question(both, "bled")
    assert (listener_means(both, "bleed") == 3).all(axis=None)


# ---- one stimulus -------------------------------------------------------------------


def test_the_t_interval_is_that_of_a_textbook():
    """Student's sleep data, group 2: mean 2.33, 95 % interval 0.898 … 3.762."""
    sleep = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    (found,) = summarize(means([[x] for x in sleep], "a"))
    assert found.mean == pytest.approx(2.33)
    assert found.t_interval == pytest.approx((0.8976775, 3.7623225), abs=1e-6)
    assert found.median == pytest.approx(1.75)
    assert found.quartiles == pytest.approx((0.875, 4.15))
    low, high = found.bootstrap
    assert found.t_interval[0] < low < high < found.t_interval[1]  # narrower, if few


def test_few_listeners_have_no_intervals():
    (one,) = summarize(means([[5]], "a"))
    assert (one.t_interval, one.bootstrap) == (None, None)
    (two,) = summarize(means([[4], [6]], "a"))
    assert two.bootstrap is None
    assert two.t_interval == pytest.approx((5 - 12.7062, 5 + 12.7062), abs=1e-3)
    with pytest.raises(InputError, match=r"listeners.* got 0"):
        summarize(means([], "a"))


# ---- several ------------------------------------------------------------------------


def test_friedman_of_a_textbook():
    """Hollander and Wolfe 1973, p. 140: rounding first base, chi-squared 11.143."""
    seconds = [
        [5.40, 5.50, 5.55],
        [5.85, 5.70, 5.75],
        [5.20, 5.60, 5.50],
        [5.55, 5.50, 5.40],
        [5.90, 5.85, 5.70],
        [5.45, 5.55, 5.60],
        [5.40, 5.40, 5.35],
        [5.45, 5.50, 5.35],
        [5.25, 5.15, 5.00],
        [5.85, 5.80, 5.70],
        [5.25, 5.20, 5.10],
        [5.65, 5.55, 5.45],
        [5.60, 5.35, 5.45],
        [5.05, 5.00, 4.95],
        [5.50, 5.50, 5.40],
        [5.45, 5.55, 5.50],
        [5.55, 5.55, 5.35],
        [5.45, 5.50, 5.55],
        [5.50, 5.45, 5.25],
        [5.65, 5.60, 5.40],
        [5.70, 5.65, 5.55],
        [6.30, 6.30, 6.25],
    ]
    found = friedman(means(seconds))
    assert found.statistic == pytest.approx(11.1429, abs=1e-4)
    assert found.p == pytest.approx(0.003805, abs=1e-6)
    assert (found.n, found.n_stimuli) == (22, 3)


def test_friedman_needs_something_to_compare():
    assert friedman(means([[1, 1, 1], [2, 2, 2]])).p == 1
    with pytest.raises(InputError, match=r"stimuli.* got 2"):
        friedman(means([[1, 2]], "ab"))
    with pytest.raises(InputError, match=r"listeners.* got 1"):
        friedman(means([[1, 2, 3]]))


def test_pairs_and_holm():
    draw = np.random.default_rng(0)
    base = draw.normal(50, 10, (10, 1))
    scores = base + np.array([0, 20, 20]) + draw.normal(0, 2, (10, 3))
    found = {(c.first, c.second): c for c in compare(means(scores))}
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["a", "b"].test.difference == pytest.approx(20, abs=2)
    assert found["a", "b"].test.p == pytest.approx(2**-9)
    assert found["a", "b"].p_holm == pytest.approx(3 * 2**-9)
    assert found["b", "c"].p_holm > 0.05
    with pytest.raises(InputError, match=r"stimuli.* got 1"):
        compare(means([[1]], "a"))


# ---- before anyone listens ----------------------------------------------------------


def test_five_listeners_can_never_be_significant():
    table = {row.n: row for row in power_table(2, (5, 6), n_runs=50)}
    assert table[5].smallest_p == 0.0625
    assert table[5].chance == 0
    assert table[6].smallest_p == 0.03125
    assert table[6].chance > 0


def test_four_systems_take_eight_listeners():
    table = {row.n: row for row in power_table(4, (7, 8), n_runs=50)}
    assert table[7].smallest_p == pytest.approx(6 * 2**-6)
    assert table[7].chance == 0
    assert table[8].smallest_p == pytest.approx(0.046875)


def test_power_is_what_other_programs_say():
    """t test, d = 0.8, n = 20: power 0.924; Wilcoxon loses about 1 / 0.955 of n."""
    (found,) = power_table(2, (20,), d_z=0.8, n_runs=2000)
    shift = 0.8 * np.sqrt(20)
    limit = stats.t.ppf(0.975, 19)
    t_power = 1 - stats.nct.cdf(limit, 19, shift) + stats.nct.cdf(-limit, 19, shift)
    assert t_power == pytest.approx(0.924, abs=0.001)
    assert t_power - 0.06 < found.chance < t_power + 0.02


def test_without_a_difference_the_chance_is_alpha():
    (found,) = power_table(2, (12,), d_z=0, n_runs=2000)
    assert found.chance == pytest.approx(0.05, abs=0.015)


def test_the_note_says_how_many_it_takes():
    assert power_note(5, 4).endswith("below 0.38. At least 8 listeners are needed.")
    assert (
        power_note(8, 4) == "With 8 listeners p can fall to 0.047, if they all agree."
    )
    for refuse in (lambda: power_table(1), lambda: power_note(5, 1)):
        with pytest.raises(InputError, match="n_systems"):
            refuse()
