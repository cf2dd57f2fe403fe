"""Figures of networks: what is drawn equals what was given."""

import math

import pytest
import torch

from mssedu.errors import InputError
from mssedu.evaluation.statistics import mean_interval
from mssedu.figures.networks import (
    curves_figure,
    histogram_figure,
    interval_figure,
    maps_figure,
)

AXES = {"xlabel": "Frame", "ylabel": "Unit"}


def test_bars_of_a_histogram_are_shares():
    values = torch.tensor([0.1, 0.1, 0.6, 0.9])
    figure = histogram_figure({"gate": values}, xlabel="Gate", n_bins=2)
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [50, 50]
    assert [bar.get_x() for bar in axes.patches] == [0, 0.5]
    assert axes.get_title(loc="left") == "gate"
    assert axes.get_xlabel() == "Gate"


def test_a_histogram_shows_only_its_limits():
    values = torch.tensor([[-5.0, 0.5], [0.5, 5.0]])
    figure = histogram_figure({"": values}, xlabel="x", limits=(-1, 1), n_bins=4)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 0, 0, 50]


def test_panels_that_are_not_needed_are_hidden():
    panels = {str(number): torch.rand(5) for number in range(4)}
    figure = histogram_figure(panels, xlabel="x", columns=3)
    assert [axes.get_visible() for axes in figure.axes] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    "values", [{}, {"a": torch.zeros(0)}, {"a": torch.tensor([math.nan])}]
)
def test_a_histogram_needs_values(values):
    with pytest.raises(InputError, match="values"):
        histogram_figure(values, xlabel="x")


def test_the_interval_is_that_of_student():
    mean, half_width = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half_width == pytest.approx(4.302653 / math.sqrt(3))
    narrow = mean_interval([1.0, 2.0, 3.0], confidence=0.5)[1]
    assert narrow == pytest.approx(0.816497 / math.sqrt(3), rel=1e-5)


def test_every_run_is_a_point_of_its_row():
    figure = interval_figure({"a": [1.0, 2.0], "b": [3.0, 5.0]}, xlabel="dB")
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    drawn = [list(zip(*line.get_data(), strict=True)) for line in points]
    assert drawn == [[(1, 0), (2, 0)], [(3, 1), (5, 1)]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    low, high = axes.get_ylim()
    assert low > high  # the first row is on top


def test_differences_are_drawn_beside_zero():
    plain = interval_figure({"a": [1.0, 2.0]}, xlabel="dB")
    figure = interval_figure({"a": [1.0, 2.0]}, xlabel="dB", zero=True)
    assert len(figure.axes[0].lines) == len(plain.axes[0].lines) + 1
    assert figure.axes[0].get_xlim()[0] <= 0


@pytest.mark.parametrize("runs", [{}, {"a": [1.0, 2.0], "b": [1.0]}])
def test_an_interval_needs_two_runs(runs):
    with pytest.raises(InputError, match="runs"):
        interval_figure(runs, xlabel="dB")


def images_of(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_maps_are_drawn_as_they_are():
    maps = {"a": torch.rand(3, 5), "b": 10 * torch.rand(4, 2)}
    figure = maps_figure(maps, **AXES)
    for image, wanted in zip(images_of(figure), maps.values(), strict=True):
        torch.testing.assert_close(torch.as_tensor(image.get_array().copy()), wanted)
        assert image.get_clim() == (float(wanted.min()), float(wanted.max()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]


def test_a_unit_means_one_scale():
    maps = {"a": torch.zeros(2, 2), "b": torch.ones(2, 2)}
    figure = maps_figure(maps, **AXES, unit="Weight")
    assert {image.get_clim() for image in images_of(figure)} == {(0.0, 1.0)}
    assert figure.axes[-1].get_ylabel() == "Weight"


def test_a_constant_map_can_be_drawn():
    (image,) = images_of(maps_figure({"a": torch.ones(2, 2)}, **AXES))
    assert image.get_clim() == (1.0, 2.0)


def test_empty_places_are_hidden():
    maps = dict.fromkeys("abc", torch.rand(2, 2))
    figure = maps_figure(maps, **AXES, columns=2)
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]


def test_maps_have_two_axes():
    with pytest.raises(InputError, match=r"maps.*\(2, 3, 4\)"):
        maps_figure({"a": torch.rand(2, 3, 4)}, **AXES)
    with pytest.raises(InputError, match="columns"):
        maps_figure({"a": torch.rand(2, 3)}, **AXES, columns=0)
    with pytest.raises(InputError, match="maps is empty"):
        maps_figure({}, **AXES)


def test_curves_keep_values_places_and_colors():
    lines = {"drums": [3.0, 1.0], "no skips": torch.tensor([4.0, 2.0, 0.0])}
    figure = curves_figure(lines, xlabel="Step", ylabel="Loss", start=5, step=10)
    first, second = figure.axes[0].lines
    assert list(first.get_xdata()) == [5, 15]
    assert list(second.get_ydata()) == [4.0, 2.0, 0.0]
    assert first.get_color() == "#0072B2"
    assert first.get_linestyle() != second.get_linestyle()


def test_curves_need_a_line():
    with pytest.raises(InputError, match="lines is empty"):
        curves_figure({}, xlabel="Step", ylabel="Loss")
