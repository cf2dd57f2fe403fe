"""Splits by a seed: stable, exact in number, and with every stem in every split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssedu.data.splits import SPLITS, assign_splits, check_shares
from mssedu.errors import DatasetError, InputError

SHARES = (0.8, 0.1, 0.1)


def counts(assigned):
    return [list(assigned.values()).count(split) for split in SPLITS]


@pytest.mark.parametrize(
    ("n", "expected"),
    [(3, [1, 1, 1]), (5, [3, 1, 1]), (10, [8, 1, 1]), (44, [35, 5, 4])],
)
def test_as_many_as_the_shares_say_and_at_least_one(n, expected):
    found = counts(assign_splits({f"song {i}": () for i in range(n)}, SHARES))
    assert found == expected


@given(
    names=st.sets(st.text(max_size=4), min_size=3, max_size=30),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_the_order_of_listing_changes_nothing(names, seed, data):
    groups = dict.fromkeys(names, ())
    shuffled = dict.fromkeys(data.draw(st.permutations(sorted(names))), ())
    found = assign_splits(groups, SHARES, seed)
    assert found == assign_splits(shuffled, SHARES, seed)
    assert {*found.values()} == {*SPLITS}


def test_known_splits_stay_what_they_are():
    """A saved seed gives the same split on every computer and in every version."""
    names = ("Caesium", "Francium", "Lithium", "Potassium", "Rubidium", "Sodium")
    found = assign_splits(dict.fromkeys(names, ()), (0.5, 0.25, 0.25), seed=0)
    trained = [name for name in names if found[name] == "train"]
    assert trained == ["Lithium", "Rubidium", "Sodium"]


def test_every_stem_is_in_every_split():
    groups = {f"{x}.{y}": [f"stem {x}"] for x in range(11) for y in range(5)}
    found = assign_splits(groups, SHARES, seed=5)
    for x in range(11):
        assert {found[f"{x}.{y}"] for y in range(5)} == {*SPLITS}
    assert counts(found) == [33, 11, 11]


def test_a_share_of_zero_is_no_split():
    found = assign_splits({f"song {i}": () for i in range(4)}, (0.75, 0.25, 0))
    assert counts(found) == [3, 1, 0]


def test_too_few_are_named():
    with pytest.raises(DatasetError, match="1 song is too few for the splits"):
        assign_splits({"a": ()}, (0.6, 0.2, 0.2))
    with pytest.raises(DatasetError, match="2 songs are too few for the splits"):
        assign_splits({"a": (), "b": ()}, SHARES)
    groups = {"a": ["dizi"], "b": ["dizi"], "c": ["dizi"], "d": ["pipa"], "e": ["pipa"]}
    with pytest.raises(DatasetError, match="2 recordings of 'pipa' are too few"):
        assign_splits(groups, SHARES)
    assert counts(assign_splits(groups, (0.6, 0.4, 0))) == [3, 2, 0]


@pytest.mark.parametrize(
    "shares",
    [(0.8, 0.2), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), ("a", 0, 1), (2, 0, float("nan"))],
)
def test_shares_that_do_not_fit(shares):
    with pytest.raises(InputError, match="with the sum 1"):
        check_shares(shares)
