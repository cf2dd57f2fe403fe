"""Figures of a panel: intervals that hold the truth or miss it, ratings against scores.

    coverage_figure    many intervals, one above another, and the truth they look for
    agreement_figure   a point per sound: what a metric says, what listeners say

Style and rules are those of mssedu.figures: a Figure is returned, nothing is shown.
Notebook: 14.
"""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from mssedu.errors import InputError, message
from mssedu.figures.sound import COLORS, STYLE

Interval = tuple[float, float]
_HELD, _MISSED = "#999999", "#D55E00"
_GROUPS = ("#E69F00", "#0072B2", "#117733", "#CC79A7", "#56B4E9", "#882255", "#000000")
_MARKERS = "osD^vPX"


def coverage_figure(
    panels: Mapping[str, Sequence[Interval]], truth: float, *, xlabel: str
) -> Figure:
    """Intervals of many simulated panels; those that miss the truth are orange.

    Args:
        panels: title -> (low, high) of each interval.
        truth: what each of them should hold.
        xlabel: what was measured, and its unit.

    Raises:
        InputError: no intervals under a title, or no titles.

    Example:
        >>> figure = coverage_figure({"t": [(1.0, 3.0)]}, 2.0, xlabel="Rating")
        >>> figure.axes[0].get_title(loc="left")
        't: 0 of 1 miss'
    """
    if not panels or not all(len(intervals) for intervals in panels.values()):
        wanted, remedy = "intervals under each title", "Simulate some panels first."
        counts = {title: len(intervals) for title, intervals in panels.items()}
        raise InputError(message("coverage_figure", wanted, counts, remedy))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.2))
        grid = figure.subplots(1, len(panels), sharex=True, squeeze=False)
    for axes, (title, intervals) in zip(grid[0], panels.items(), strict=True):
        missed = [not low <= truth <= high for low, high in intervals]
        for row, ((low, high), miss) in enumerate(zip(intervals, missed, strict=True)):
            color, width = (_MISSED, 1.8) if miss else (_HELD, 0.9)
            axes.plot((low, high), (row, row), color=color, linewidth=width)
        axes.axvline(truth, color=COLORS["mixture"], linewidth=0.8)
        text = f"{title}: {sum(missed)} of {len(missed)} miss"
        axes.set_title(text, loc="left", fontsize="medium")
        axes.set(xlabel=xlabel, yticks=[])
    return figure


def agreement_figure(
    groups: Mapping[str, Sequence[tuple[float, float]]], *, xlabel: str, ylabel: str
) -> Figure:
    """A point per sound, (score, rating); a color and a marker for each group.

    Args:
        groups: label -> (score, rating) of each sound.
        xlabel: the score and its unit.
        ylabel: the rating and its unit.

    Raises:
        InputError: no points at all.

    Example:
        >>> points = {"mask": [(10.0, 55.0), (12.0, 61.0)]}
        >>> figure = agreement_figure(points, xlabel="usdr (dB)", ylabel="Rating")
        >>> figure.axes[0].get_ylabel()
        'Rating'
    """
    if not any(len(points) for points in groups.values()):
        wanted, remedy = "at least one (score, rating)", "Name sounds that have both."
        raise InputError(message("agreement_figure", wanted, dict(groups), remedy))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.2))
        axes = figure.subplots()
    for number, (label, points) in enumerate(groups.items()):
        axes.plot(
            *zip(*points, strict=True),
            linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)],
            color=_GROUPS[number % len(_GROUPS)],
            markersize=6,
            alpha=0.8,
            label=label,
        )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    return figure
