"""The style that all figures share: colors, fonts, and grids of axes.

    COLORS   a color for each stem
    STYLE    settings of matplotlib, used by every figure and every notebook
    MIXES    a color for what a block of a network compares
    grid     a styled Figure with its axes
    looks    color, marker and line style for each label
    describe gives a figure its caption and its text for screen readers

A function of mssedu.figures returns a Figure and shows nothing: a notebook shows the
last value of a cell, and a report calls `savefig`. Nothing uses pyplot, so no global
state changes and no figure stays open.
"""

import io
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
# What a block of a network compares; Tol's dark colors, at least 7 : 1 on white
MIXES = {"time": "#332288", "bands": "#882255", "both": "#117733"}
WIDTH = 8.0  # inches
DPI = 110  # of drawings with small letters


class DescribedFigure(Figure):
    """A figure with a caption and a text that stands for it where nobody sees it.

    A notebook stores the text beside the picture, and HTML pages show it as `alt`.
    """

    caption = ""
    alt = ""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The picture as PNG with its text, if it has one."""
        if not self.alt:
            return {}, {}  # then it is shown as any other figure
        self.savefig(file := io.BytesIO(), format="png", dpi=self.dpi)
        data = {"text/plain": repr(self), "image/png": file.getvalue()}
        return data, {"image/png": {"alt": self.alt}}


def describe(figure: DescribedFigure, caption: str, alt: str) -> DescribedFigure:
    """Give a figure its caption and its text; returns the figure.

    Args:
        figure: of `grid`, or another described figure.
        caption: one sentence or two: what is drawn, of what.
        alt: what a reader would see, made from the data, in whole sentences.

    Example:
        >>> figure, (axes,) = grid(height=2.0)
        >>> describe(figure, "A score.", "The model has 5.0 dB.").alt
        'The model has 5.0 dB.'
    """
    figure.caption, figure.alt = caption, alt
    return figure


def grid(
    titles: Collection[str] = ("",),
    columns: int = 1,
    *,
    height: float,
    margin: float = 0.0,
    share: str = "",
    ratios: Sequence[float] | None = None,
) -> tuple[DescribedFigure, list[Axes]]:
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
        figure = DescribedFigure(figsize=(WIDTH, margin + height * rows))
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
