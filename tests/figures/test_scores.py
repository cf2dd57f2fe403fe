"""Box plots: a box per row and stem, a point per track."""

import numpy as np
import pytest
from matplotlib.patches import PathPatch

from mssedu.errors import InputError
from mssedu.figures.evaluation import boxes_figure

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
    with pytest.raises(InputError, match="at least one score"):
        boxes_figure(panels)
