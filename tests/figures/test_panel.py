"""Figures of panels: what misses is marked, and every sound is where it belongs."""

import pytest
from matplotlib.colors import same_color

from mssedu.errors import InputError
from mssedu.figures.panel import agreement_figure, coverage_figure

INTERVALS = [(40.0, 60.0), (51.0, 70.0), (50.0, 52.0), (30.0, 49.9)]


def test_intervals_that_miss_the_truth_are_marked():
    figure = coverage_figure({"t": INTERVALS}, 50.0, xlabel="Rating")
    (axes,) = figure.axes
    *drawn, truth = axes.lines
    assert [tuple(line.get_xdata()) for line in drawn] == INTERVALS
    assert list(truth.get_xdata()) == [50, 50]
    held = drawn[0].get_color()
    marked = [not same_color(line.get_color(), held) for line in drawn]
    assert marked == [False, True, False, True], "an end of 50 holds 50"
    assert axes.get_title(loc="left") == "t: 2 of 4 miss"
    assert axes.get_xlabel() == "Rating"


def test_panels_share_the_axis():
    figure = coverage_figure({"a": INTERVALS, "b": [(0.0, 99.0)]}, 50.0, xlabel="x")
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert second.get_title(loc="left") == "b: 0 of 1 miss"


@pytest.mark.parametrize("panels", [{}, {"t": INTERVALS, "bootstrap": []}])
def test_no_intervals(panels):
    with pytest.raises(InputError, match="intervals under each title"):
        coverage_figure(panels, 50.0, xlabel="Rating")


def test_each_sound_lies_at_its_score_and_rating():
    groups = {"mask": [(10.0, 50.0), (12.0, 61.0)], "model": [(5.0, 40.0)]}
    figure = agreement_figure(groups, xlabel="usdr (dB)", ylabel="Rating (points)")
    (axes,) = figure.axes
    drawn = {
        line.get_label(): list(zip(*line.get_data(), strict=True))
        for line in axes.lines
    }
    assert drawn == groups
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == len(groups)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == list(groups)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("usdr (dB)", "Rating (points)")


def test_no_sounds():
    with pytest.raises(InputError, match="at least one"):
        agreement_figure({"mask": []}, xlabel="x", ylabel="y")
