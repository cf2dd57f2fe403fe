"""Figures of an error analysis: what bleeds where, when, and how loud it should be.

    bleed_figure     energy of source i in estimate j, as colors and numbers
    track_figure     score and level along a song, a panel each stem
    level_figure     score against the level of the true stem
    excerpt_figure   spectrograms of an excerpt, on one color scale

Style and rules are those of mssedu.figures: a Figure is returned, nothing is shown.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mssedu.errors import InputError, message
from mssedu.evaluation.error_windows import HOP_SECONDS, Windows, score_by_level
from mssedu.figures.sound import COLORS, STYLE, spectrogram_figure

_SPARE = ("#E69F00", "#56B4E9", "#882255", "#000000")  # not of stems
_COLDEST_DB = -40.0  # what lies below has the darkest color
_HOTTEST_DB = 0.0
# Its brightness rises evenly, for every kind of color vision
_CELLS: dict[str, Any] = {
    "cmap": matplotlib.colormaps["cividis"],
    "vmin": _COLDEST_DB,
    "vmax": _HOTTEST_DB,
}
_LEVEL_RANGE_DB = (-60.0, 0.0)


def bleed_figure(
    matrices: Mapping[str, Tensor], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Matrices as colors with their numbers, side by side; own cells are bold.

    Args:
        matrices: title -> (sources or one row more, estimates) dB; NaN stays empty.
        rows: name of each source; of the row more, if there is one, last.
        columns: name of each estimate.

    Raises:
        InputError: no matrices, or other shapes than the names.

    Example:
        >>> names = ["voice", "band"]
        >>> figure = bleed_figure({"Bleed": -20 * torch.ones(2, 2)}, names, names)
        >>> figure.axes[0].get_title(loc="left")
        'Bleed'
    """
    shapes = {title: tuple(matrix.shape) for title, matrix in matrices.items()}
    fits = [
        shape[1:] == (len(columns),) and shape[0] <= len(rows)
        for shape in shapes.values()
    ]
    if not fits or not all(fits):
        wanted = f"title -> matrix, at most {len(rows)} × {len(columns)}"
        remedy = "Name all sources, in order."
        raise InputError(message("bleed_figure", wanted, shapes, remedy))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 1.0 + 0.5 * len(rows)))
        grid = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (title, matrix) in zip(grid, matrices.items(), strict=True):
        drawn = axes.imshow(matrix.detach().cpu().numpy(), aspect="auto", **_CELLS)
        for row, values in enumerate(matrix.tolist()):
            for column, value in enumerate(values):
                _write(axes, row, column, value)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(matrix)), rows[: len(matrix)])
        axes.set(xlabel="Estimate", ylabel="True source")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    figure.colorbar(drawn, ax=grid, label="Energy (dB)", extend="both")
    return figure


def track_figure(
    windows: Windows,
    stems: Sequence[str],
    *,
    heard: tuple[float, float] | None = None,
) -> Figure:
    """Score of each window as a line, level of the true stem as a gray hill behind.

    Where the line is broken, the true stem is silent or nearly so.

    Args:
        windows: of one song.
        stems: names, in order.
        heard: start and end of a stretch to mark, seconds.

    Raises:
        InputError: other stems than the windows have.

    Example:
        >>> level = torch.zeros(1, 3) - 20
        >>> windows = Windows(torch.arange(3.0), level + 25, level, level > -30)
        >>> track_figure(windows, ["voice"]).axes[0].get_ylabel()
        'usdr (dB)'
    """
    _check_stems("track_figure", windows, stems)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.5 + 1.35 * len(stems)))
        grid = figure.subplots(len(stems), 1, sharex=True, sharey=True, squeeze=False)
    seconds = windows.seconds.numpy()
    shown = windows.usdr.masked_fill(~windows.audible, torch.nan)
    low, high = _LEVEL_RANGE_DB
    for axes, stem, scores, level, color in zip(
        grid[:, 0], stems, shown, windows.level_db, _colors(stems), strict=True
    ):
        hill = axes.twinx()
        hill.fill_between(seconds, low, level.clamp_min(low).numpy(), color="#DDDDDD")
        hill.set(ylim=(low, high), ylabel="Level (dBFS)")
        hill.spines["right"].set_visible(True)
        axes.set_zorder(hill.get_zorder() + 1)  # the line lies above the hill
        axes.patch.set_visible(False)
        if heard is not None:
            hill.axvspan(*heard, color="#FFF0B3", zorder=0)
        axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
        style = {"color": color, "marker": "o", "markersize": 3}
        axes.plot(seconds, scores.numpy(), **style)
        axes.set_title(stem, loc="left")
        axes.set_ylabel("usdr (dB)")
        axes.margins(x=0)
    grid[-1, 0].set_xlabel("Time (seconds)")
    return figure


def level_figure(windows: Windows, stems: Sequence[str]) -> Figure:
    """Scores against the level of the true stem: every window, median and quartiles.

    Args:
        windows: of one song or of several.
        stems: names, in order.

    Raises:
        InputError: other stems than the windows have.

    Example:
        >>> level = torch.zeros(1, 3) - 20
        >>> windows = Windows(torch.arange(3.0), level + 25, level, level > -30)
        >>> level_figure(windows, ["voice"]).get_supxlabel()
        'Level of the true stem (dBFS)'
    """
    _check_stems("level_figure", windows, stems)
    columns = min(len(stems), 4)
    n_rows = -(-len(stems) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.4 + 2.4 * n_rows))
        grid = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(stems) :]:
        axes.set_visible(False)
    found = zip(windows.usdr, windows.level_db, strict=True)
    panels = zip(stems, found, _colors(stems), strict=True)
    for axes, (stem, (scores, level), color) in zip(grid.flat, panels, strict=False):
        inside = level >= _LEVEL_RANGE_DB[0]
        scores, level = scores[inside], level[inside]
        axes.plot(level, scores, ".", color="#BBBBBB", markersize=3)
        middle, quartiles, _ = score_by_level(scores, level)
        low, median, high = quartiles.unbind(-1)
        axes.fill_between(middle, low, high, color=color, alpha=0.3, linewidth=0)
        axes.plot(middle, median, color=color, marker="o", markersize=4)
        axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
        axes.set_title(stem, loc="left")
        axes.set_xticks([-60, -40, -20])
        axes.grid(alpha=0.3)
        axes.label_outer()
    figure.supxlabel("Level of the true stem (dBFS)", fontsize="medium")
    figure.supylabel("usdr (dB)", fontsize="medium")
    return figure


def excerpt_figure(
    sounds: Mapping[str, Tensor], sample_rate: int, middle: float
) -> Figure:
    """Spectrograms side by side, on one color scale, with the window marked.

    Args:
        sounds: label -> (channels, samples).
        sample_rate: Hz.
        middle: of the window, seconds after the start of the sounds.

    Raises:
        InputError: as `spectrogram_figure`.

    Example:
        >>> figure = excerpt_figure({"estimate": torch.randn(1, 44100)}, 44100, 0.5)
        >>> figure.axes[0].get_title(loc="left")
        'estimate'
    """
    figure = spectrogram_figure(
        sounds, sample_rate, hop_length=512, columns=len(sounds)
    )
    figure.set_size_inches(8.0, 3.0)
    for axes in figure.axes[: len(sounds)]:
        for edge in (middle - HOP_SECONDS, middle + HOP_SECONDS):
            axes.axvline(edge, color="white", linewidth=1, linestyle="--")
    return figure


def _write(axes: Axes, row: int, column: int, value: float) -> None:
    """The number of a cell, in black or white; bold where a source meets itself."""
    if math.isnan(value):
        return
    bright = value > (_COLDEST_DB + _HOTTEST_DB) / 2
    axes.text(
        *(column, row, "< -60" if value < -60 else str(round(value))),
        color="black" if bright else "white",
        weight="bold" if row == column else "normal",
        ha="center",
        va="center",
    )


def _colors(stems: Sequence[str]) -> list[str]:
    """A color for each stem: its own, or a spare one."""
    spare = itertools.cycle(_SPARE)
    return [COLORS.get(stem) or next(spare) for stem in stems]


def _check_stems(where: str, windows: Windows, stems: Sequence[str]) -> None:
    if len(stems) != len(windows.usdr) or not stems:
        wanted = f"names of {len(windows.usdr)} stems"
        remedy = "Name all stems that were scored, in order."
        raise InputError(message(where, wanted, list(stems), remedy))
