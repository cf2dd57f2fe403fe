"""Scores of a data set as box plots: rows side by side, every track a point.

    box       the middle half of the tracks, with the median
    whiskers  the rest, up to 1.5 boxes away
    points    all tracks; those beyond the whiskers are the ones to listen to

Style and rules are those of mssedu.figures: a Figure is returned, nothing is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mssedu.errors import InputError, message
from mssedu.figures.sound import COLORS, STYLE

Boxes = Mapping[
    str, Mapping[str, Sequence[float]]
]  # row -> stem -> score of each track

_ROWS = ("#BBBBBB", "#E69F00", "#56B4E9", "#117733", "#882255", "#DDCC77", "#332288")
_BOX: dict[str, Any] = {
    "patch_artist": True,
    "showfliers": False,  # they are among the points
    "medianprops": {"color": COLORS["mixture"], "linewidth": 1.5},
}
_POINT: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 2.5,
    "alpha": 0.6,
    "color": COLORS["mixture"],
}


def boxes_figure(panels: Mapping[str, Boxes]) -> Figure:
    """Box plots per stem, a panel for each metric.

    Args:
        panels: title of the vertical axis, with unit -> row -> stem -> a score for each
            track in which there is one.

    Raises:
        InputError: no scores at all.

    Example:
        >>> scores = {"model": {"drums": [5.0, 6.5, 7.0]}}
        >>> boxes_figure({"usdr (dB)": scores}).axes[0].get_ylabel()
        'usdr (dB)'
    """
    groups = [stems for rows in panels.values() for stems in rows.values()]
    if not any(scores for stems in groups for scores in stems.values()):
        remedy = "Give title -> row -> stem -> scores."
        text = message("boxes_figure", "at least one score", dict(panels), remedy)
        raise InputError(text)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.6 + 2.8 * len(panels)))
        grid = figure.subplots(len(panels), 1, squeeze=False)
    for axes, (title, rows) in zip(grid[:, 0], panels.items(), strict=True):
        handles = _panel(axes, rows)
        axes.set_ylabel(title)
    names = list(next(iter(panels.values())))
    figure.legend(
        handles, names, loc="outside upper center", ncols=len(names), frameon=False
    )
    return figure


def _panel(axes: Axes, rows: Boxes) -> list[Any]:
    """Draw one metric; returns a handle per row for the legend."""
    stems = list(dict.fromkeys(stem for row in rows.values() for stem in row))
    width, handles = 0.8 / len(rows), []
    spread = np.random.default_rng(0)  # sideways, so that points do not hide each other
    for number, (_, scores) in enumerate(rows.items()):
        places = [i + (number + 0.5) * width - 0.4 for i in range(len(stems))]
        columns = [list(scores.get(stem, ())) for stem in stems]
        drawn = axes.boxplot(
            columns, positions=places, widths=0.8 * width, manage_ticks=False, **_BOX
        )
        for box in drawn["boxes"]:
            box.set_facecolor(_ROWS[number % len(_ROWS)])
        for place, column in zip(places, columns, strict=True):
            sideways = place + spread.uniform(-0.2, 0.2, len(column)) * width
            axes.plot(sideways, column, **_POINT)
        handles.append(drawn["boxes"][0])
    axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
    axes.set_xticks(range(len(stems)), stems)
    axes.set_xlim(-0.5, len(stems) - 0.5)
    axes.grid(axis="y", alpha=0.3)
    return handles
