"""`claim` and `reveal`: lines with numbers, verdicts and predictions."""

import configparser
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mssedu.course import claim, reveal
from mssedu.errors import InputError


@pytest.mark.parametrize(
    ("value", "bounds", "end"),
    [
        (3.7, {"above": 3}, "3.7 dB ✓ (above 3 dB)"),
        (3.0, {"above": 3}, "3.0 dB ✗ not (above 3 dB)"),
        (-0.2, {"below": 0.5}, "-0.2 dB ✓ (below 0.5 dB)"),
        (20, {"above": 10, "below": 30}, "20.0 dB ✓ (above 10 dB and below 30 dB)"),
        (31, {"above": 10, "below": 30}, "31.0 dB ✗ not (above 10 dB and below 30 dB)"),
        (float("nan"), {"above": -100}, "nan dB ✗ not (above -100 dB)"),
        (torch.tensor([4.0]), {"above": 3}, "4.0 dB ✓ (above 3 dB)"),
        (torch.ones(1, requires_grad=True), {"above": 0}, "1.0 dB ✓ (above 0 dB)"),
        (np.float32(4.0), {"above": 3}, "4.0 dB ✓ (above 3 dB)"),
    ],
)
def test_claim(value, bounds, end):
    assert claim("gain", value, unit="dB", **bounds) == f"gain: {end}"


def test_claim_without_a_unit():
    assert claim("error", 1e-7, below=1e-6, digits=9) == (
        "error: 0.000000100 ✓ (below 1e-06)"
    )


def test_a_short_run_is_not_judged_by_the_bounds_of_a_long_one(monkeypatch):
    monkeypatch.setenv("MSSEDU_PROFILE", "smoke")
    assert claim("gain", 3.7, above=3, unit="dB") == "gain: 3.7 dB ✓ (above 3 dB)"
    assert claim("gain", 2.7, above=3, unit="dB") == (
        "gain: not judged in the profile smoke (above 3 dB)"
    )


def test_claim_refuses():
    with pytest.raises(InputError, match="bound"):
        claim("gain", 3.0)
    with pytest.raises(InputError, match="one number"):
        claim("gain", torch.zeros(2), above=0)
    with pytest.raises(InputError, match="one number"):
        claim("gain", "loud", above=0)


def test_nbval_compares_the_verdict_and_not_the_value():
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[1] / "nbval_sanitize.cfg", "utf-8")
    (rule,) = [parser[name] for name in parser.sections() if "claim" in name]

    def seen(text):
        return re.sub(rule["regex"], rule["replace"], text)

    here, there = (claim("a: gain", v, above=3, unit="dB") for v in (3.7, 4.1))
    assert seen(here) == seen(there) == "a: gain: VALUE ✓ (above 3 dB)"
    assert seen(claim("a: gain", 2.9, above=3, unit="dB")) != seen(here)
    assert seen(claim("a: gain", 4, above=3.5, unit="dB")) != seen(here)
    bare = [claim("n", v, below=9) for v in (-3, 4)]
    assert seen(bare[0]) == seen(bare[1]) == "n: VALUE ✓ (below 9)"


@pytest.mark.parametrize("nothing", ["?", "? dB", " ", ..., ""])
def test_reveal_without_a_prediction(nothing):
    assert reveal(nothing, 5.83, "dB") == "You did not predict. It is 5.8 dB."


def test_reveal():
    assert reveal(4, 5.83, "dB") == "You said 4 dB. It is 5.8 dB."
    assert reveal("longer", "shorter") == "You said longer. It is shorter."
    assert reveal("3", 7, "songs") == "You said 3. It is 7 songs."
    assert reveal("?", -0.02, "dB") == "You did not predict. It is 0.0 dB."
