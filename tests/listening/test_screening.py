"""The standard's two rules, at their edges."""

import pandas as pd
import pytest

from mssedu.errors import InputError
from mssedu.listening.results.ratings import screen


def ratings(scores, stimulus="reference", question="quality"):
    """Listener -> a score for each item."""
    columns = ["listener", "trial", "question", "stimulus", "score"]
    lines = [
        (listener, f"song {item}", question, stimulus, score)
        for listener, row in scores.items()
        for item, score in enumerate(row)
    ]
    return pd.DataFrame(lines, columns=columns)


def test_one_miss_in_ten_stays_and_two_go():
    """A published program excludes the first of these two as well."""
    scores = {"none": [100] * 10, "one": [50] + [100] * 9, "two": [50, 60] + [100] * 8}
    found = screen(ratings(scores))
    assert found.included == ("none", "one")
    assert found.excluded == {"two": "hidden reference below 90 in 20% of the items"}


def test_exactly_fifteen_percent_is_not_more():
    scores = {"edge": [0] * 3 + [100] * 17, "over": [0] * 4 + [100] * 16}
    assert screen(ratings(scores)).included == ("edge",)


def test_ninety_is_good_enough():
    assert screen(ratings({"just": [90] * 10})).included == ("just",)
    assert screen(ratings({"short": [89.9] * 10})).included == ()


def test_who_takes_the_mid_anchor_for_excellent_goes():
    good = {f"good {i}": [40] * 10 for i in range(9)}
    found = screen(ratings({**good, "deaf": [95, 95] + [40] * 8}, "anchor70"))
    assert found.excluded == {"deaf": "anchor70 above 90 in 20% of the items"}
    edge = screen(ratings({**good, "edge": [90] * 10}, "anchor70"))
    assert edge.excluded == {}


def test_an_item_that_a_quarter_takes_for_excellent_is_at_fault_itself():
    """Ten listeners, two bass items on which a low-pass cannot be heard."""
    few = {f"{i}": [95, 95] + [40] * 8 for i in range(2)}
    more = {f"{i}": [95, 95] + [40] * 8 for i in range(3)}
    rest = {f"other {i}": [40] * 10 for i in range(8)}
    assert screen(ratings({**few, **rest}, "anchor70")).included == tuple(rest)
    found = screen(ratings({**more, **dict(list(rest.items())[:7])}, "anchor70"))
    assert found.excluded == {}
    assert found.faulty_items == ("song 0 (quality)", "song 1 (quality)")


def test_a_quarter_exactly_is_not_more():
    scores = {"a": [95] * 4, "b": [40] * 4, "c": [40] * 4, "d": [40] * 4}
    assert list(screen(ratings(scores, "anchor70")).excluded) == ["a"]


def test_both_rules_are_told_and_all_ratings_go():
    scores = {"bad": [0] * 4, **{f"{i}": [100] * 4 for i in range(4)}}
    anchors = {"bad": [100] * 4, **{f"{i}": [20] * 4 for i in range(4)}}
    both = pd.concat([ratings(scores), ratings(anchors, "anchor70")])
    found = screen(both)
    assert found.excluded["bad"].count("100%") == 2
    assert {*found.apply(both).listener} == {"0", "1", "2", "3"}


def test_another_mid_anchor_and_none():
    loud = ratings({"a": [95] * 4, **{f"{i}": [0] * 4 for i in range(4)}}, "quality")
    assert screen(loud).excluded == {}
    assert list(screen(loud, mid_anchor="quality").excluded) == ["a"]


def test_no_ratings():
    with pytest.raises(InputError, match="no ratings"):
        screen(ratings({}))
