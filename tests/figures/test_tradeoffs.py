"""Scores against costs: the front, and what is drawn of it."""

import pytest

from mssedu.errors import InputError
from mssedu.figures.tradeoffs import pareto_figure, pareto_front

SCORES = {"a": [3.0, 3.2], "b": [5.0, 5.4], "c": [4.0, 4.2]}
COSTS = {
    "GFLOP": {"a": 1.0, "b": 2.0, "c": 4.0},
    "Parameters": {"a": 3e5, "b": 9e5, "c": 6e5},
}


def test_the_front_has_what_no_cheaper_one_beats():
    points = {"a": (1, 3.0), "b": (2, 5.0), "c": (4, 4.0), "d": (8, 5.5)}
    assert pareto_front(points) == ["a", "b", "d"]


def test_of_two_at_the_same_cost_the_better_one_counts():
    assert pareto_front({"a": (1, 3.0), "b": (1, 4.0), "c": (2, 4.0)}) == ["b"]


def test_a_panel_for_each_cost_with_its_front():
    figure = pareto_figure(SCORES, COSTS, ylabel="usdr (dB)")
    assert [axes.get_xlabel() for axes in figure.axes] == list(COSTS)
    lines = [axes.get_lines()[0] for axes in figure.axes]
    assert lines[0].get_xdata().tolist() == [1.0, 2.0]
    assert lines[1].get_xdata().tolist() == [3e5, 6e5, 9e5]
    assert lines[1].get_ydata().tolist() == pytest.approx([3.1, 4.1, 5.2])
    names = {text.get_text() for text in figure.axes[0].texts}
    assert names == {*SCORES}
    assert figure.alt == (
        "On the front of usdr (dB): by GFLOP a 3.1 dB and b 5.2 dB; "
        "by parameters a 3.1 dB, c 4.1 dB and b 5.2 dB."
    )


def test_a_model_without_a_cost_is_named():
    with pytest.raises(InputError, match=r"costs\['GFLOP'\] lacks c"):
        pareto_figure(SCORES, {"GFLOP": {"a": 1.0, "b": 2.0}}, ylabel="usdr (dB)")
    with pytest.raises(InputError, match="scores is empty"):
        pareto_figure({}, COSTS, ylabel="usdr (dB)")
    with pytest.raises(InputError, match="costs is empty"):
        pareto_figure(SCORES, {}, ylabel="usdr (dB)")


def test_names_of_many_models_do_not_cover_each_other():
    names = [f"model {i}" for i in range(30)]
    scores = {name: [5.0 + i / 50, 5.1 + i / 50] for i, name in enumerate(names)}
    costs = {"GFLOP": {name: 1.0 + i / 100 for i, name in enumerate(reversed(names))}}
    costs["GFLOP"]["model 29"] = 0.9  # beats all others
    figure = pareto_figure(scores, costs, ylabel="usdr (dB)")
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    boxes = [text.get_window_extent() for text in texts]
    assert "model 29" in {text.get_text() for text in texts}
    assert 3 < len(texts) < 30
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
