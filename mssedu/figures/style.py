"""The style that all figures share: colors, fonts, and grids of axes.

    COLORS   a color for each stem
    STYLE    settings of matplotlib, used by every figure and every notebook
    grid     a styled Figure with its axes
    looks    color, marker and line style for each label

A function of mssedu.figures returns a Figure and shows nothing: a notebook shows the
last value of a cell, and a report calls `savefig`. Nothing uses pyplot, so no global
state changes and no figure stays open.
"""

from collections.abc import Collection, Iterable, Sequence, Sized
from itertools import cycle, zip_longest
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mssedu.errors import InputError

# Okabe and Ito's palette: every common kind of color vision can distinguish its colors.
COLORS = {
    "vocals": "#D55E00",
    "drums": "#0072B2",
    "bass": "#009E73",
    "other": "#CC79A7",
    "mixture": "#000000",
    "reference": "#999999",
}
# For labels that are no stems: Okabe and Ito's orange and sky blue, then Tol's palette
SERIES = ("#E69F00", "#56B4E9", "#882255", "#332288", "#DDCC77", "#117733")
GRAY = "#BBBBBB"  # for what is drawn behind the data
ROWS = (GRAY, *SERIES)  # of scores; the first row usually is silence or the mixture
# Its steps look equal, also without color vision; 40 colors keep the files small.
MAGMA = matplotlib.colormaps["magma"].resampled(40)
STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": 80,
    "font.size": 10.0,
}
WIDTH = 8.0  # inches


def grid(
    titles: Collection[str] = ("",),
    columns: int = 1,
    *,
    height: float,
    margin: float = 0.0,
    share: str = "",
    ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A styled figure with axes for each title, in rows; places left over stay empty.

    Args:
        titles: one or more.
        columns: axes side by side, fewer if there are fewer titles.
        height: of a row, inches.
        margin: height of the figure beyond its rows, inches.
        share: "x", "y" or "xy", where all axes have the same limits.
        ratios: heights of the rows relative to each other.
    """
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, margin + height * rows))
        axes = figure.subplots(
            rows,
            columns,
            squeeze=False,
            sharex="x" in share,
            sharey="y" in share,
            height_ratios=ratios,
        )
    for cell, title in zip_longest(axes.flat, titles):
        if title is None:
            cell.set_visible(False)
        else:
            cell.set_title(title, loc="left")
    return figure, list(axes.flat[: len(titles)])


def label_lines(figure: Figure, axes: Axes, xlabel: str, ylabel: str) -> None:
    """Labels, faint grid lines, and the legend on the right of a figure of one axes."""
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)


def looks(labels: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Color, marker and line style for each label; the color is that of the stem.

    Example:
        >>> looks(["IBM", "drums"])
        {'IBM': ('#E69F00', 'o', '-'), 'drums': ('#0072B2', 's', '--')}
    """
    colors, markers = cycle(SERIES), cycle("osD^vPX*")
    styles = cycle(("-", "--", "-.", ":"))
    return {
        label: (COLORS.get(label) or next(colors), next(markers), next(styles))
        for label in labels
    }


def check_not_empty(name: str, content: Sized, of: str) -> None:
    """Raise InputError if an argument holds nothing to draw, such as no "score"."""
    if not len(content):
        raise InputError(f"{name} is empty: a figure needs at least one {of}.")
