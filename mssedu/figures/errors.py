"""Figures of an error analysis: which sources bleed, when, and at which level.

    bleed_figure     energy of source i in estimate j, as colors and numbers
    track_figure     score and level along a song, a panel each stem
    level_figure     score against the level of the true stem
    excerpt_figure   spectrograms of an excerpt, on one color scale

Notebook: 04.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mssedu.errors import InputError
from mssedu.evaluation.error_windows import HOP_SECONDS, Windows, score_by_level
from mssedu.figures.sound import spectrogram_figure
from mssedu.figures.style import (
    COLORS,
    GRAY,
    WIDTH,
    check_not_empty,
    colors_of,
    grid,
    panels,
)

_COLDEST_DB = -40.0  # lower energies have the darkest color
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
    """Matrices of energies as colors with their numbers, side by side.

    The numbers of a source in its own estimate are bold.

    Args:
        matrices: title -> (rows, columns) dB; cells of NaN stay empty. A matrix may
            have fewer rows than there are names.
        rows: names of the sources, then of further rows, such as "artifacts".
        columns: names of the estimates.

    Raises:
        InputError: no matrices, or a matrix whose shape does not fit the names.

    Example:
        >>> names = ["voice", "band"]
        >>> figure = bleed_figure({"Bleed": -20 * torch.ones(2, 2)}, names, names)
        >>> figure.axes[0].get_title(loc="left")
        'Bleed'
    """
    check_not_empty("matrices", matrices, "matrix")
    for title, matrix in matrices.items():
        if matrix.shape[1:] != (len(columns),) or len(matrix) > len(rows):
            raise InputError(
                f"matrices[{title!r}] must have at most {len(rows)} rows and exactly "
                f"{len(columns)} columns, one per name; its shape is "
                f"{tuple(matrix.shape)}. Name all sources and estimates, in order."
            )
    figure, cells = grid(1.0 + 0.5 * len(rows), columns=len(matrices))
    for axes, (title, matrix) in zip(cells[0], matrices.items(), strict=True):
        picture = axes.imshow(matrix.detach().cpu().numpy(), aspect="auto", **_CELLS)
        for row, values in enumerate(matrix.tolist()):
            for column, value in enumerate(values):
                _write(axes, row, column, value)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(matrix)), rows[: len(matrix)])
        axes.set(xlabel="Estimate", ylabel="True source")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    figure.colorbar(picture, ax=cells[0], label="Energy (dB)", extend="both")
    return figure


def track_figure(
    windows: Windows,
    stems: Sequence[str],
    *,
    marked: tuple[float, float] | None = None,
) -> Figure:
    """Score of each window as a line; the level of the true stem is a gray area.

    The line is broken where the true stem is silent or nearly so.

    Args:
        windows: of one song.
        stems: names of all stems, in order.
        marked: start and end, in seconds, of a part to mark in yellow.

    Raises:
        InputError: not one name for each stem of the windows.

    Example:
        >>> level = torch.zeros(1, 3) - 20
        >>> windows = Windows(torch.arange(3.0), level + 25, level, level > -30)
        >>> track_figure(windows, ["voice"]).axes[0].get_ylabel()
        'usdr (dB)'
    """
    _check_stems(windows, stems)
    height = 0.5 + 1.35 * len(stems)
    figure, cells = grid(height, len(stems), sharex=True, sharey=True)
    seconds = windows.seconds.numpy()
    audible = windows.usdr.masked_fill(~windows.audible, torch.nan)
    low, high = _LEVEL_RANGE_DB
    for axes, stem, scores, level, color in zip(
        cells[:, 0], stems, audible, windows.level_db, colors_of(stems), strict=True
    ):
        area = axes.twinx()
        area.fill_between(seconds, low, level.clamp_min(low).numpy(), color="#DDDDDD")
        area.set(ylim=(low, high), ylabel="Level (dBFS)")
        area.spines["right"].set_visible(True)
        axes.set_zorder(area.get_zorder() + 1)  # the line is drawn above the area
        axes.patch.set_visible(False)
        if marked is not None:
            area.axvspan(*marked, color="#FFF0B3", zorder=0)
        axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
        axes.plot(seconds, scores.numpy(), color=color, marker="o", markersize=3)
        axes.set_title(stem, loc="left")
        axes.set_ylabel("usdr (dB)")
        axes.margins(x=0)
    cells[-1, 0].set_xlabel("Time (seconds)")
    return figure


def level_figure(windows: Windows, stems: Sequence[str]) -> Figure:
    """Score against the level of the true stem: all windows, median and quartiles.

    Args:
        windows: of one song or of several.
        stems: names of all stems, in order.

    Raises:
        InputError: not one name for each stem of the windows.

    Example:
        >>> level = torch.zeros(1, 3) - 20
        >>> windows = Windows(torch.arange(3.0), level + 25, level, level > -30)
        >>> level_figure(windows, ["voice"]).get_supxlabel()
        'Level of the true stem (dBFS)'
    """
    _check_stems(windows, stems)
    figure, cells = panels(len(stems), columns=4, height=2.4, margin=0.4)
    for axes, stem, scores, level, color in zip(
        cells, stems, windows.usdr, windows.level_db, colors_of(stems), strict=True
    ):
        inside = level >= _LEVEL_RANGE_DB[0]
        scores, level = scores[inside], level[inside]
        axes.plot(level, scores, ".", color=GRAY, markersize=3)
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
        middle: center of the window, in seconds after the start of the sounds.

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
    figure.set_size_inches(WIDTH, 3.0)
    for axes in figure.axes[: len(sounds)]:
        for edge in (middle - HOP_SECONDS, middle + HOP_SECONDS):
            axes.axvline(edge, color="white", linewidth=1, linestyle="--")
    return figure


def _write(axes: Axes, row: int, column: int, value: float) -> None:
    """Write the number of a cell, in black or white; bold on the diagonal."""
    if math.isnan(value):
        return
    bright = value > (_COLDEST_DB + _HOTTEST_DB) / 2
    axes.text(
        column,
        row,
        "< -60" if value < -60 else str(round(value)),
        color="black" if bright else "white",
        weight="bold" if row == column else "normal",
        ha="center",
        va="center",
    )


def _check_stems(windows: Windows, stems: Sequence[str]) -> None:
    if len(stems) != len(windows.usdr) or not stems:
        raise InputError(
            f"stems must be {len(windows.usdr)} names, one for each stem of the "
            f"windows, in order; got {list(stems)}."
        )
