"""Published minimum counts, exact intervals, and d′ against simulated observers."""

import math

import numpy as np
import pandas as pd
import pytest

from mssedu.errors import InputError
from mssedu.listening.results.choices import (
    abx_d_prime,
    abx_share_correct,
    afc_d_prime,
    answers_note,
    by_listener,
    count_choices,
    least_correct,
    pooled,
)


@pytest.mark.parametrize(
    ("n", "least"), [(5, 5), (8, 7), (10, 9), (12, 10), (16, 12), (20, 15), (100, 59)]
)
def test_minimum_counts_of_abx_tables(n, least):
    assert least_correct(n) == least
    assert count_choices(least, n, "abx").p < 0.05
    assert count_choices(least - 1, n, "abx").p >= 0.05


def test_four_answers_never_suffice():
    assert least_correct(4) is None
    assert count_choices(4, 4, "abx").p == 1 / 16


@pytest.mark.parametrize(
    ("n", "test", "words"),
    [
        (8, "abx", "p < 0.05 takes 7 right answers"),
        (5, "abx", "p < 0.05 takes 5 right answers"),
        (4, "abx", "cannot fall below 0.062. At least 5 answers"),
        (8, "2afc", "p < 0.05 takes 8 answers for the same system"),
        (1, "2afc", "1 answer to each pair no listener can show a preference"),
    ],
)
def test_what_a_listener_can_show(n, test, words):
    assert words in answers_note(n, test)


def test_a_preference_may_go_either_way():
    for count in (1, 9):
        assert count_choices(count, 10, "2afc").p == pytest.approx(2 * 11 / 1024)
    assert count_choices(1, 10, "abx").p == pytest.approx(1023 / 1024)


def test_clopper_and_pearson():
    """8 of 10: 0.4439 … 0.9748, as in their charts; 0 of 10: the rule of three."""
    assert count_choices(8, 10, "abx").interval == pytest.approx(
        (0.4439, 0.9748), abs=1e-4
    )
    low, high = count_choices(0, 10, "2afc").interval
    assert (low, high) == (0, pytest.approx(1 - 0.025**0.1))


@pytest.mark.parametrize("d_prime", [0.5, 1.0, 2.0, 3.0])
def test_abx_observers_who_compare_are_right_as_often_as_the_formula_says(d_prime):
    draw, n = np.random.default_rng(0), 200_000
    a, b = draw.normal(0, 1, n), draw.normal(d_prime, 1, n)
    is_b = draw.random(n) < 0.5
    x = draw.normal(d_prime * is_b, 1)
    right = (abs(x - b) < abs(x - a)) == is_b
    assert abx_share_correct(d_prime) == pytest.approx(right.mean(), abs=0.004)


@pytest.mark.parametrize("d_prime", [-1.5, 0.0, 0.3, 1.0, 4.0])
def test_d_prime_is_the_inverse(d_prime):
    share = abx_share_correct(abs(d_prime))
    share = share if d_prime >= 0 else 1 - share
    assert abx_d_prime(share) == pytest.approx(d_prime, abs=1e-6)


def test_d_prime_at_the_ends():
    assert abx_d_prime(1) == math.inf
    assert abx_d_prime(0) == -math.inf
    assert afc_d_prime(1) == math.inf
    assert afc_d_prime(0.5) == 0
    assert count_choices(12, 12, "abx").d_prime == math.inf


def test_d_prime_of_preferences():
    """Two normal qualities a distance of 1 apart: 76 % votes for the better one."""
    draw = np.random.default_rng(0)
    votes = draw.normal(1, 1, 100_000) > draw.normal(0, 1, 100_000)
    assert votes.mean() == pytest.approx(0.760, abs=0.005)
    assert afc_d_prime(votes.mean()) == pytest.approx(1.0, abs=0.02)


def answers(test, counts, n=10):
    """Listener -> right answers, or votes for b."""
    lines = []
    for listener, count in counts.items():
        for i in range(n):
            hit = i < count
            stimulus, score = ("ab"[i % 2], hit) if test == "abx" else ("ab"[hit], 1)
            pair = {"first": "a", "second": "b"}
            line = {"listener": listener, "stimulus": stimulus, "score": float(score)}
            lines.append({**line, **pair})
    return pd.DataFrame(lines)


@pytest.mark.parametrize("test", ["abx", "2afc"])
def test_every_listener_has_a_line(test):
    lines = by_listener(answers(test, {"one": 10, "two": 5}), test)
    assert [line.listener for line in lines] == ["one", "two"]
    assert [line.choices.count for line in lines] == [10, 5]
    assert lines[0].p_holm == pytest.approx(2 * lines[0].choices.p)
    assert lines[1].p_holm > 0.5


@pytest.mark.parametrize("test", ["abx", "2afc"])
def test_together(test):
    found = pooled(answers(test, {"one": 10, "two": 5}), test)
    assert found[("a", "b")].count == 15
    assert found[("a", "b")].n == 20


def test_errors():
    with pytest.raises(InputError, match="count must"):
        count_choices(11, 10, "abx")
    with pytest.raises(InputError, match="n must"):
        count_choices(0, 0, "abx")
    with pytest.raises(InputError, match="n must"):
        least_correct(0)
    with pytest.raises(InputError, match="unknown test"):
        count_choices(1, 2, "mushra")
    with pytest.raises(InputError, match="unknown test"):
        pooled(answers("abx", {"one": 1}), "acr")
    with pytest.raises(InputError, match="unknown test"):
        by_listener(answers("abx", {"one": 1}), "acr")
    with pytest.raises(InputError, match="no ratings"):
        by_listener(answers("abx", {}), "abx")
    with pytest.raises(InputError, match="share_correct"):
        abx_d_prime(1.1)
    with pytest.raises(InputError, match="share must"):
        afc_d_prime(-0.1)
