"""The map of the field: year, score, size and speed."""

import pytest
from pandas import DataFrame

from mssedu.errors import InputError
from mssedu.figures.field import map_figure

ROWS = {
    "small": {"year": 2019, "score": 5.0, "parameters": 1e6, "seconds": 0.1},
    "large": {"year": 2021, "score": 7.5, "parameters": 1e8, "seconds": 3.0},
    "unknown": {"year": 2023, "score": None, "parameters": 1e8, "seconds": 3.0},
}


def test_area_is_size_and_color_is_speed():
    axes = map_figure(DataFrame(ROWS).T, definition="csdr").axes[0]
    fast, middle, slow = axes.collections
    assert fast.get_offsets().tolist() == [[2019.0, 5.0]]
    assert slow.get_offsets().tolist() == [[2021.0, 7.5]]
    assert not len(middle.get_offsets())
    assert slow.get_sizes()[0] > 10 * fast.get_sizes()[0]
    names = [text.get_text() for text in axes.texts]
    assert names == ["small", "large"]


def test_the_text_holds_every_number():
    figure = map_figure(DataFrame(ROWS).T, definition="csdr")
    text = "small, 2019: 5.00 dB, 1.0 million parameters, 0.10 s"
    assert text in figure.alt
    assert figure.alt.startswith("2 systems; large has the highest csdr, 7.50 dB: ")


def test_no_score_is_an_error():
    with pytest.raises(InputError, match="systems is empty"):
        map_figure(DataFrame(ROWS).T.loc[["unknown"]], definition="csdr")
