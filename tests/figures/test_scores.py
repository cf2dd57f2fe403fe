"""Figures of scores show the numbers that they were given."""

import numpy as np
import pytest
from matplotlib.patches import PathPatch

from mssedu.errors import InputError
from mssedu.figures.scores import boxes_figure, scores_figure, sweep_figure

SCORES = {
    "mixture": {"voice": [-3.0, -2.0, -6.0, -4.0], "rest": [-1.0, 0.0]},
    "model": {"voice": [4.0, 5.0, 9.0, 6.0], "rest": []},
}


def boxes(axes):
    return [patch for patch in axes.patches if isinstance(patch, PathPatch)]


def test_boxes_and_points():
    figure = boxes_figure({"usdr, dB": SCORES})
    (axes,) = figure.axes
    assert len(boxes(axes)) == 4
    points = [line for line in axes.lines if line.get_marker() == "o"]
    drawn = [sorted(line.get_ydata()) for line in points]
    assert drawn == [sorted(s) for row in SCORES.values() for s in row.values()]
    levels = {y for line in axes.lines for y in line.get_ydata()}
    assert np.median(SCORES["model"]["voice"]) in levels  # drawn as no point is
    assert [t.get_text() for t in axes.get_xticklabels()] == ["voice", "rest"]
    assert axes.get_ylabel() == "usdr, dB"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["mixture", "model"]


def test_points_stay_at_their_box():
    (axes,) = boxes_figure({"usdr, dB": SCORES}).axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    for line, box in zip(points, boxes(axes), strict=True):
        low, high = (
            box.get_path().vertices[:, 0].min(),
            box.get_path().vertices[:, 0].max(),
        )
        if len(line.get_xdata()):
            assert low <= line.get_xdata().min() <= line.get_xdata().max() <= high


def test_a_panel_per_metric_is_saved(tmp_path):
    figure = boxes_figure({"usdr, dB": SCORES, "csdr, dB": SCORES})
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "scores.pdf")
    assert (tmp_path / "scores.pdf").stat().st_size > 1000


@pytest.mark.parametrize(
    "panels", [{}, {"usdr": {}}, {"usdr": {"model": {"voice": []}}}]
)
def test_nothing_to_draw(panels):
    with pytest.raises(InputError, match="panels is empty"):
        boxes_figure(panels)


def test_scores_are_bars_of_that_height_and_silent_stems_say_so():
    rows = {"mixture": {"drums": -3.0, "vocals": None}, "irm": {"drums": 8.0}}
    axes = scores_figure(rows).axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [-3.0, 0.0, 8.0, 0.0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["-3.0", "none", "8.0", "none"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["drums", "vocals"]


def test_a_caption_says_what_the_bars_stand_at_and_what_has_zero():
    rows = {"model": {"Sodium": 2.0}}
    assert scores_figure(rows).caption.endswith(
        "each stem: model; silence scores 0 dB."
    )
    figure = scores_figure(rows, definition="gain", place="song", zero="the mixture")
    assert figure.caption == "gain in dB of each song: model; the mixture scores 0 dB."
    assert figure.alt == "gain by song: Sodium, model 2.0 dB."  # one has no order


def test_sweep_marks_the_best_point():
    lines = {"drums": [1.0, 5.0, 2.0]}
    figure = sweep_figure(
        [256, 512, 1024],
        lines,
        xlabel="n_fft (samples)",
        ylabel="usdr (dB)",
        scale="log2",
        mark="highest",
    )
    line, ring = figure.axes[0].lines
    assert list(line.get_ydata()) == lines["drums"]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([512], [5.0])
    assert figure.axes[0].get_xlabel() == "n_fft (samples)"
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["256", "512", "1024"]


def test_sweep_without_marks_is_linear_and_lists_its_lines():
    lines = {"IBM": [3, 1], "PSM": [4, 2]}
    figure = sweep_figure([0.5, 1.0], lines, xlabel="overlap", ylabel="usdr (dB)")
    axes = figure.axes[0]
    assert axes.get_xscale() == "linear"
    assert [line.get_label() for line in axes.lines] == ["IBM", "PSM"]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 2
    assert [text.get_text() for text in figure.legends[0].texts] == ["IBM", "PSM"]


def sweep(values, line, **options):
    return sweep_figure(values, {"a": line}, xlabel="x", ylabel="y", **options)


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        (lambda: scores_figure({}), "rows is empty"),
        (lambda: sweep_figure([], {}, xlabel="x", ylabel="y"), "lines is empty"),
        (lambda: sweep([1], [1, 2]), "lines"),
        (lambda: sweep([1], [1], scale="log3"), "scale"),
        (lambda: sweep([1], [1], mark="top"), "mark"),
    ],
)
def test_what_they_refuse(draw, word):
    with pytest.raises(InputError, match=word):
        draw()
