"""Scores against costs: which models no other one beats in both.

    pareto_figure(scores, {"GFLOP a second": …, "Parameters": …}, ylabel="usdr (dB)")

A model is on the front if no model with a lower cost has a higher score. All others are
never the best choice, whatever the budget.

Notebook: 16.
"""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from mssedu.errors import InputError
from mssedu.evaluation.statistics import mean_interval
from mssedu.figures.style import (
    GRAY,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
    looks,
)
from mssedu.figures.words import listed, lowered, measured, plain, report, unit_of

NAME_SIZE = 8  # points


def pareto_figure(
    scores: Mapping[str, Sequence[float]],
    costs: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str,
) -> DescribedFigure:
    """A panel for each kind of cost: a mark for each model, a line along the front.

    A mark is the mean of the runs of a model, its bar the 95 % interval (Student's t).
    Among many models, a name that would cover another one is left out; the names on the
    line come first.

    Args:
        scores: model -> a score of each run, at least two; higher is better.
        costs: kind of cost, with its unit -> model -> cost, above 0.
        ylabel: what the scores are, and their unit.

    Raises:
        InputError: no models or costs, a model with fewer than two runs, or a model
            that lacks a cost.

    Example:
        >>> scores = {"a": [3.0, 3.2], "b": [5.0, 5.2], "c": [4.0, 4.2]}
        >>> costs = {"GFLOP": {"a": 1.0, "b": 2.0, "c": 4.0}}
        >>> pareto_figure(scores, costs, ylabel="usdr (dB)").alt
        'On the front of usdr (dB): by GFLOP a 3.1 dB and b 5.1 dB.'
    """
    check_not_empty("scores", scores, "model")
    check_not_empty("costs", costs, "kind of cost")
    for kind, cost in costs.items():
        if lacking := scores.keys() - cost.keys():
            raise InputError(
                f"costs[{kind!r}] lacks {', '.join(sorted(lacking))}. Give a cost for "
                "each model in scores."
            )
    means = {name: mean_interval(runs) for name, runs in scores.items()}
    figure, panels = grid(list(costs), 2, height=3.0, share="y")
    parts, unit = [], unit_of(ylabel)
    for axes, (kind, cost) in zip(panels, costs.items(), strict=True):
        front = pareto_front({n: (cost[n], means[n][0]) for n in scores})
        axes.step(
            [cost[name] for name in front],
            [means[name][0] for name in front],
            where="post",
            color=GRAY,
            linewidth=1,
        )
        for name, (color, marker, _) in looks(scores).items():
            mean, half_width = means[name]
            axes.errorbar(
                cost[name], mean, half_width, fmt=marker, color=color, capsize=3
            )
        axes.set_title("", loc="left")  # the label of the axis says it
        axes.set(xlabel=kind, xlim=(0, 1.25 * max(cost[name] for name in scores)))
        axes.grid(alpha=0.3)
        best = [f"{name} {measured(means[name][0], unit)}" for name in front]
        parts.append(f"by {lowered(plain(kind))} {listed(best)}")
    for axes in panels[::2]:
        axes.set_ylabel(ylabel)
    figure.draw_without_rendering()  # now the panels have their size
    for axes, cost in zip(panels, costs.values(), strict=True):
        _write_names(axes, {name: (cost[name], means[name][0]) for name in scores})
    caption = (
        f"{plain(ylabel)} of {listed(scores)} by cost: the mean of the runs and its "
        "95 % interval; the line joins the models that no cheaper one beats."
    )
    return describe(figure, caption, report(f"On the front of {plain(ylabel)}", parts))


def _write_names(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside their points: the front first, the others where is room."""
    scale = 72 / axes.figure.dpi  # all boxes are in points: left, bottom, right, top
    places = {n: axes.transData.transform(point) * scale for n, point in points.items()}
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in places.values()]
    front = pareto_front(points)
    for name in [*front, *(n for n in points if n not in front)]:
        width, height = 0.6 * NAME_SIZE * len(name), NAME_SIZE
        for right, up in ((6, 4), (6, -10), (-6 - width, 4), (-6 - width, -10)):
            left, bottom = places[name] + (right, up)
            box = left, bottom, left + width, bottom + height
            if not any(_overlap(box, other) for other in taken):
                axes.annotate(
                    name,
                    points[name],
                    (right, up),
                    textcoords="offset points",
                    size=NAME_SIZE,
                )
                taken.append(box)
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other one beats in both, from the lowest cost on.

    Args:
        points: name -> cost, lower is better, and score, higher is better.

    Example:
        >>> pareto_front({"a": (1, 3.0), "b": (2, 5.0), "c": (4, 4.0)})
        ['a', 'b']
    """
    front: list[str] = []
    best = float("-inf")
    for name, (_, score) in sorted(points.items(), key=lambda p: (p[1][0], -p[1][1])):
        if score > best:
            front.append(name)
            best = score
    return front
