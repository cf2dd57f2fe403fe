"""The style that all figures share: colors, fonts, and grids of axes.

    COLORS   a color for each stem
    STYLE    settings of matplotlib, used by every figure and every notebook
    MIXES    a color for what a block of a network compares
    grid     a styled Figure with its axes
    looks    color, marker and line style for each label
    fills    color and pattern of the bars for each label
    describe gives a figure its caption and its text for screen readers

Lines, points and letters have a contrast of at least 3 : 1 on white (WCAG 2.2, 1.4.11),
and a marker, dashes or a pattern as well as a color.

A function of mssedu.figures returns a Figure and shows nothing: a notebook shows the
last value of a cell, and a report calls `savefig`. Nothing uses pyplot, so no global
state changes and no figure stays open.
"""

import html
import io
import math
from collections.abc import Collection, Iterable, Sequence, Sized
from itertools import cycle, zip_longest
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mssedu.errors import InputError

GRAY = "#767676"  # also for what is drawn behind the data
# Okabe and Ito's palette: every common kind of color vision can distinguish its colors.
COLORS = {
    "vocals": "#D55E00",
    "drums": "#0072B2",
    "bass": "#009E73",
    "other": "#CC79A7",
    "mixture": "#000000",
    "reference": GRAY,
}
# For other labels; these, black and gray differ too with every common color vision.
SERIES = ("#B37400", "#3A93C3", "#882255", "#332288", "#661100", "#117733")
# Rows of scores that many figures share have one color in all of them.
ROWS = {
    "silence": GRAY,
    "model": SERIES[0],
    "irm": SERIES[1],
    "ibm": SERIES[2],
    "psm": SERIES[3],
    "mwf": SERIES[4],
}
HATCHES = ("", "///", "...", "xxx", "---", "ooo")
# Its steps look equal, also without color vision; 40 colors keep the files small.
MAGMA = matplotlib.colormaps["magma"].resampled(40)
DPI = 110  # small letters stay readable
STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": DPI,
    "font.size": 10.0,
}
# What a block of a network compares; Tol's dark colors, at least 7 : 1 on white
MIXES = {"time": "#332288", "bands": "#882255", "both": "#117733"}
WIDTH = 8.0  # inches
# Where the files of a format keep the caption and the text for screen readers
_FIELDS = {
    "png": ("Title", "Description"),
    "svg": ("Title", "Description"),
    "pdf": ("Title", "Subject"),
}


class DescribedFigure(Figure):
    """A figure with a caption and a text that stands for it where nobody sees it.

    A notebook shows the caption below the picture and stores the text beside it; HTML
    pages show the text as `alt`; PNG, SVG and PDF files keep both in their metadata.
    """

    caption = ""
    alt = ""

    def savefig(
        self, fname: Any, *, transparent: bool | None = None, **settings: Any
    ) -> None:
        """As that of matplotlib, with caption and text in the metadata of the file."""
        kind = settings.get("format") or Path(str(fname)).suffix[1:] or "png"
        if self.alt and kind in _FIELDS:
            own = dict(zip(_FIELDS[kind], (self.caption, self.alt), strict=True))
            settings["metadata"] = own | (settings.get("metadata") or {})
        super().savefig(fname, transparent=transparent, **settings)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The picture as PNG with its text, if it has one."""
        super().savefig(file := io.BytesIO(), format="png", dpi=self.dpi)
        data = {"text/plain": repr(self), "image/png": file.getvalue()}
        return data, {"image/png": {"alt": self.alt}} if self.alt else {}

    def _ipython_display_(self) -> None:
        """Show the picture, and its caption below it."""
        from IPython.display import display

        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        if self.caption:
            text = f"<p><em>{html.escape(self.caption)}</em></p>"
            display({"text/html": text, "text/plain": self.caption}, raw=True)


def describe(figure: DescribedFigure, caption: str, alt: str) -> DescribedFigure:
    """Give a figure its caption and its text; returns the figure.

    Args:
        figure: of `grid`, or another described figure.
        caption: a sentence that names what is drawn, with units.
        alt: a sentence on what the figure shows, made from its data.

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


def whole_ticks(axis: Axis, values: Iterable[float]) -> None:
    """Ticks at whole numbers only, if all values that are finite are whole numbers."""
    finite = [float(value) for value in values if math.isfinite(value)]
    if all(value.is_integer() for value in finite):
        axis.set_major_locator(MaxNLocator("auto", integer=True))


def looks(labels: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Color, marker and line style for each label.

    The color of a stem, and of a row such as "silence" or "model", is the same in all
    figures. Other labels have the colors that are left, in their order.

    Example:
        >>> looks(["model", "drums"])
        {'model': ('#B37400', 'o', '-'), 'drums': ('#0072B2', 's', '--')}
    """
    labels = list(dict.fromkeys(labels))
    fixed = {label: COLORS.get(label) or ROWS.get(label.lower()) for label in labels}
    left = cycle([color for color in SERIES if color not in fixed.values()] or SERIES)
    markers, styles = cycle("osD^vPX*"), cycle(("-", "--", "-.", ":"))
    return {
        label: (color or next(left), next(markers), next(styles))
        for label, color in fixed.items()
    }


def fills(labels: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Color and pattern of the bars for each label; the colors are those of `looks`.

    Example:
        >>> fills(["model", "drums"])
        {'model': ('#B37400', ''), 'drums': ('#0072B2', '///')}
    """
    colors = {label: color for label, (color, *_) in looks(labels).items()}
    hatches = cycle(HATCHES)
    return {label: (color, next(hatches)) for label, color in colors.items()}


def bar_style(color: str, hatch: str) -> dict[str, Any]:
    """How a bar with the color and the pattern of `fills` is drawn."""
    return {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def check_not_empty(name: str, content: Sized, of: str) -> None:
    """Raise InputError if an argument holds nothing to draw, such as no "score"."""
    if not len(content):
        raise InputError(f"{name} is empty: a figure needs at least one {of}.")
