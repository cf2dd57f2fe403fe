"""Figures of the HTDemucs lab: what is drawn equals what was given."""

import pytest

from mssedu.errors import InputError
from mssedu.figures.costs import attention_figure, costs_figure, fusion_figure
from mssedu.inspect.attention import AttentionCost


def test_a_bar_for_each_model_and_way_to_count():
    costs = {"a": {"quoted": 3.0, "true": 5.0}, "b": {"quoted": None, "true": 7.0}}
    (axes,) = costs_figure(costs, xlabel="Billions").axes
    assert sorted(bar.get_width() for bar in axes.patches) == [3, 5, 7]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    rows = {bar.get_width(): bar.get_y() + bar.get_height() / 2 for bar in axes.patches}
    assert abs(rows[3] - 0) < 0.5 > abs(rows[5] - 0)
    assert abs(rows[7] - 1) < 0.5
    assert axes.get_xlabel() == "Billions"


def test_a_bar_for_each_stem_and_window():
    shares = {"drums": {512: 0.75, 2048: 0.25}, "bass": {512: 0.1, 2048: 0.9}}
    figure = fusion_figure(shares)
    (axes,) = figure.axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([75, 10, 25, 90])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["drums", "bass"]
    (line,) = axes.get_lines()  # where all windows have the same share
    assert line.get_ydata()[0] == 50
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["512 samples", "2048 samples"]


def test_operations_and_times_have_a_panel_each():
    slow = AttentionCost((10, 20), (100, 400), (1.0, 2.0))
    fast = AttentionCost((10, 20), (100, 200), (1.0, 1.0))
    figure = attention_figure({"quadratic": slow, "linear": fast})
    labels = [[line.get_label() for line in a.get_lines()] for a in figure.axes]
    assert labels == [
        ["quadratic, exponent 2.00", "linear, exponent 1.00"],
        ["quadratic, exponent 1.00", "linear, exponent 0.00"],
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == ["FLOPs", "Seconds"]
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [100, 400]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [
        "10",
        "20",
    ]
    assert not figure.axes[0].get_xticks(minor=True).size


def test_without_times_there_is_one_panel():
    cost = AttentionCost((10, 20), (100, 400), ())
    assert len(attention_figure({"quadratic": cost}).axes) == 1
    timed = AttentionCost((10, 20), (100, 400), (1.0, 2.0))
    with pytest.raises(InputError, match="times of some kinds"):
        attention_figure({"quadratic": cost, "linear": timed})


def test_an_empty_figure_is_refused():
    for draw in (fusion_figure, attention_figure):
        with pytest.raises(InputError, match="is empty"):
            draw({})
    with pytest.raises(InputError, match="costs is empty"):
        costs_figure({}, xlabel="x")
