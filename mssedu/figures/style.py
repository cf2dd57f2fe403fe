"""The style that all figures share: colors, fonts, and grids of axes.

    COLORS, SERIES   a color for each stem, and for whatever is no stem
    STYLE            settings of matplotlib, used by every figure and every notebook
    grid, panels     a styled Figure with its axes

A function of mssedu.figures returns a Figure and shows nothing: a notebook shows the
last value of a cell, and a report calls `savefig`. Nothing uses pyplot, so no global
state changes and no figure stays open.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
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
GRAY = "#BBBBBB"  # for what is drawn behind the data, and for the first row of scores
MARKERS = "osD^vPX*"  # a second sign beside the color
LINE_STYLES = ("-", "--", "-.", ":")  # a second sign beside the color
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
    height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure in our style, and the array (rows, columns) of its axes.

    Args:
        height: inches.
        rows: axes one below the other.
        columns: axes side by side.
        **options: of matplotlib's Figure.subplots, such as sharex.

    Example:
        >>> figure, axes = grid(3.0, rows=2)
        >>> axes.shape, figure.get_size_inches().tolist()
        ((2, 1), [8.0, 3.0])
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, np.asarray(axes)


def panels(
    n: int, columns: int, *, height: float, margin: float, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of n axes in rows of `columns`; the places left over stay empty.

    Args:
        n: axes, 1 or more.
        columns: axes side by side, fewer if n is less.
        height: of a row, inches.
        margin: height of the figure beyond its rows, inches.
        share: whether all panels have the same limits.
    """
    columns = min(columns, n)
    rows = -(-n // columns)
    figure, axes = grid(
        margin + height * rows, rows, columns, sharex=share, sharey=share
    )
    for unused in axes.flat[n:]:
        unused.set_visible(False)
    return figure, list(axes.flat[:n])


def colors_of(labels: Iterable[str]) -> list[str]:
    """A color for each label: that of the stem, or the next of SERIES.

    Example:
        >>> colors_of(["IBM", "drums"])
        ['#E69F00', '#0072B2']
    """
    colors, n_others = [], 0
    for label in labels:
        if label in COLORS:
            colors.append(COLORS[label])
        else:
            colors.append(SERIES[n_others % len(SERIES)])
            n_others += 1
    return colors


def check_not_empty(
    name: str, content: Mapping[str, Any] | Sequence[Any], of: str
) -> None:
    """Raise InputError if there is nothing to draw.

    Args:
        name: of the argument.
        content: what it holds.
        of: what it should hold at least once, such as "score".
    """
    if not len(content):
        raise InputError(f"{name} is empty: a figure needs at least one {of}.")
