"""Numbers as they stand in tables and notes."""

import math

import pandas as pd

from mssedu.listening.results.choices import by_listener
from mssedu.listening.results.tables import (
    choice_note,
    choice_table,
    pair_note,
    pair_table,
    rating_table,
)

MEANS = pd.DataFrame({"a": [10.0, 20.0, 30.0], "b": [12.0, 25.0, 38.0]})


def answers(counts, n=8):
    lines = [
        {
            "listener": listener,
            "first": "reference",
            "second": "mp3",
            "stimulus": "mp3",
            "score": float(i < count),
        }
        for listener, count in counts.items()
        for i in range(n)
    ]
    return pd.DataFrame(lines)


def test_a_line_per_stimulus():
    head, rows = rating_table(MEANS)
    assert len(head) == len(rows[0]) == 7
    # t(0.975, 2) · 10 / √3 = 24.8
    assert rows[0][:4] == ("a", "3", "20.0", "-4.8 … 44.8")
    assert rows[0][5:] == ("20.0", "15.0 … 25.0")


def test_one_listener_has_no_interval():
    assert rating_table(MEANS[:1])[1][0][3:5] == ("–", "–")


def test_a_line_per_pair():
    head, rows = pair_table(MEANS)
    assert len(head) == len(rows[0])
    assert rows[0][:3] == ("a", "b", "+5.0")
    assert rows[0][-3:] == ("0.250", "0.250", "+1.00")


def test_the_note_says_what_so_few_cannot_show():
    assert "With 3 listeners this can never be significant" in pair_note(MEANS)
    assert "Friedman" not in pair_note(MEANS)
    three = MEANS.assign(c=[0.0, 1.0, 2.0])
    # All three listeners rank c, a, b alike: χ² = 6, p = exp(-3)
    assert "all 3 systems: χ² = 6.0, p = 0.050." in pair_note(three)
    many = pd.concat([three] * 10, ignore_index=True)
    assert "p < 0.001." in pair_note(many)


def test_choices_of_each_and_of_all():
    ratings = answers({"one": 7, "two": 8})
    head, rows = choice_table(ratings, "abx")
    assert head[3:5] == ("correct", "answers")
    assert rows[0] == (
        *("one", "reference", "mp3", "7", "8", "0.47 … 1.00"),
        *(f"{by_listener(ratings, 'abx')[0].choices.d_prime:.2f}", "0.035", "0.035"),
    )
    assert rows[1][6:] == ("> any", "0.004", "0.008")
    assert rows[2][0] == "all"
    assert rows[2][3:5] == ("15", "16")
    assert rows[2][-1] == "–"
    assert choice_table(answers({"none": 0}), "abx")[1][0][6] == "< any"
    assert choice_table(ratings, "2afc")[0][3] == "for the second"
    assert math.isinf(by_listener(ratings, "abx")[1].choices.d_prime)


def test_notes_name_the_side():
    assert "one-sided" in choice_note("abx")
    assert "two-sided" in choice_note("2afc")
