"""Ratings, pairs and choices as DataFrames, and as they are printed."""

import math

import pandas as pd
import pytest

from mssedu.listening.results.choices import by_listener
from mssedu.listening.results.ratings import compare, summarize
from mssedu.listening.results.tables import (
    FORMATS,
    choice_note,
    choice_table,
    pair_note,
    pair_table,
    rating_table,
    screening_table,
)
from mssedu.reports.tables import texts

MEANS = pd.DataFrame({"a": [10.0, 20.0, 30.0], "b": [12.0, 25.0, 38.0]})


def printed(table):
    return texts(table, formats=FORMATS)[1]


def answers(counts, n=8):
    pair = {"first": "reference", "second": "mp3", "stimulus": "mp3"}
    return pd.DataFrame(
        {"listener": listener, **pair, "score": float(i < count)}
        for listener, count in counts.items()
        for i in range(n)
    )


def test_a_line_per_stimulus():
    table = rating_table(MEANS)
    assert table["mean"].tolist() == [one.mean for one in summarize(MEANS)]
    assert table.shape == (2, 7)
    row = printed(table)[0]
    # t(0.975, 2) · 10 / √3 = 24.8
    assert row[:4] == ["a", "3", "20.0", "-4.8 … 44.8"]
    assert row[5:] == ["20.0", "15.0 … 25.0"]


def test_one_listener_has_no_interval():
    assert printed(rating_table(MEANS[:1]))[0][3:5] == ["–", "–"]


def test_a_line_per_pair():
    table = pair_table(MEANS)
    (pair,) = compare(MEANS)
    assert table["second − first"][0] == pair.test.difference
    (row,) = printed(table)
    assert row[:3] == ["a", "b", "+5.0"]
    assert row[-3:] == ["0.250", "0.250", "+1.00"]


def test_the_note_says_what_so_few_cannot_show():
    assert "With 3 listeners no difference can be significant" in pair_note(MEANS)
    assert "Friedman" not in pair_note(MEANS)
    three = MEANS.assign(c=[0.0, 1.0, 2.0])
    # All three listeners rank c, a, b alike: χ² = 6, p = exp(-3)
    assert "all 3 systems: χ² = 6.0, p = 0.050." in pair_note(three)
    many = pd.concat([three] * 10, ignore_index=True)
    assert "p < 0.001." in pair_note(many)


def test_choices_of_each_and_of_all():
    ratings = answers({"one": 7, "two": 8})
    table = choice_table(ratings, "abx")
    d_prime = by_listener(ratings, "abx")[0].choices.d_prime
    assert table["d′"][0] == d_prime
    assert table["d′"][1] == math.inf
    assert list(table.columns)[3:5] == ["correct", "answers"]
    rows = printed(table)
    assert rows[0][:6] == ["one", "reference", "mp3", "7", "8", "0.47 … 1.00"]
    assert rows[0][6:] == [f"{d_prime:.2f}", "0.035", "0.035"]
    assert rows[1][6:] == ["inf", "0.004", "0.008"]
    assert rows[2][0] == "all"
    assert rows[2][3:5] == ["15", "16"]
    assert rows[2][-1] == "–"
    assert choice_table(answers({"none": 0}), "abx")["d′"][0] == -math.inf
    assert "for the second" in choice_table(ratings, "2afc")


@pytest.mark.parametrize(
    ("test", "side"), [("abx", "one-sided"), ("2afc", "two-sided")]
)
def test_a_note_names_the_side(test, side):
    assert side in choice_note(test)


def test_means_before_and_after_are_side_by_side():
    table = screening_table(MEANS, MEANS[1:])
    assert list(table) == [
        "stimulus",
        "listeners, before",
        "mean, before",
        "95 % (t), before",
        "listeners, after",
        "mean, after",
        "95 % (t), after",
    ]
    (first, second) = printed(table)
    assert first[:5] == ["a", "3", "20.0", "-4.8 … 44.8", "2"]
    assert (first[5], second[5]) == ("25.0", "31.5")
    nobody = printed(screening_table(MEANS, MEANS[:0]))
    assert [row[4:] for row in nobody] == [["0", "–", "–"]] * 2
