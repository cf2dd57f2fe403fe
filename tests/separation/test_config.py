"""Settings of a separation: ranges are told before any work."""

import pytest

from mssedu.errors import InputError
from mssedu.separation.config import SeparateConfig


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"overlap": 1.0}, r"overlap in \[0, 1\)"),
        ({"overlap": -0.1}, r"overlap in \[0, 1\)"),
        ({"segment": 0.0}, r"segment in \(0"),
        ({"segment": -3}, r"segment in \(0"),
        ({"context": -1.0}, r"context in \[0"),
        ({"batch_size": 0}, r"batch_size in \[1"),
        ({"shifts": -1}, r"shifts in \[0"),
        ({"wiener": -1}, r"wiener in \[0"),
        ({"seed": -1}, r"seed in \[0"),
        ({"window": "hanning"}, "Did you mean 'hann'"),
        ({"consistency": "energi"}, "Did you mean 'energy'"),
        ({"highs": "zero"}, "Did you mean 'zeros'"),
        ({"other": "plus"}, "a other of"),
        ({"precision": "float17"}, "Did you mean 'float16'"),
        ({"stems": ("a",), "two_stems": "a"}, "two_stems names the stem already"),
    ],
)
def test_ranges(settings, text):
    with pytest.raises(InputError, match=text):
        SeparateConfig(**settings)


def test_of_knows_its_fields():
    assert SeparateConfig.of({"shifts": 2}) == SeparateConfig(shifts=2)
    with pytest.raises(InputError, match="Did you mean 'segment'"):
        SeparateConfig.of({"segments": 2})


def test_segments_of_fractions_and_of_everything():
    assert SeparateConfig(segment=7.8).segment == 7.8
    assert SeparateConfig(segment=float("inf")).segment == float("inf")
