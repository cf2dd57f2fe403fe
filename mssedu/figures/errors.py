"""Figures of an error analysis: which sources bleed, when, and at which level.

    bleed_figure     energy of source i in estimate j, as colors and numbers
    track_figure     score and level along a song, a panel each stem
    level_figure     score against the level of the true stem
    excerpt_figure   spectrograms of an excerpt, on one color scale

Notebook: 04.
"""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mssedu.errors import InputError
from mssedu.evaluation.error_windows import HOP_SECONDS, Windows, score_by_level
from mssedu.figures.sound import spectrogram_figure
from mssedu.figures.style import COLORS, GRAY, WIDTH, check_not_empty, grid, looks

_COLDEST_DB = -40.0  # lower energies have the darkest color; 0 dB has the brightest
_LOWEST_DB = -60.0  # lower end of the axes of levels


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
                f"{len(columns)} columns, one per name, got {tuple(matrix.shape)}."
            )
    figure, cells = grid(matrices, len(matrices), height=1.0 + 0.5 * len(rows))
    for axes, matrix in zip(cells, matrices.values(), strict=True):
        picture = axes.imshow(
            matrix.detach().cpu().numpy(),
            aspect="auto",
            cmap="cividis",  # its brightness rises evenly, for every color vision
            vmin=_COLDEST_DB,
            vmax=0.0,
        )
        for row, column in matrix.isnan().logical_not().nonzero().tolist():
            value = float(matrix[row, column])
            text = "< -60" if value < -60 else str(round(value))
            color = "black" if value > _COLDEST_DB / 2 else "white"
            weight = "bold" if row == column else "normal"
            axes.text(
                column, row, text, color=color, weight=weight, ha="center", va="center"
            )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(matrix)), rows[: len(matrix)])
        axes.set(xlabel="Estimate", ylabel="True source")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    figure.colorbar(picture, ax=cells, label="Energy (dB)", extend="both")
    return figure


def track_figure(
    windows: Windows, stems: Sequence[str], *, marked: tuple[float, float] | None = None
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
    figure, cells = grid(stems, height=1.35, margin=0.5, share="xy")
    seconds = windows.seconds.numpy()
    audible = windows.usdr.masked_fill(~windows.audible, torch.nan)
    levels = windows.level_db.clamp_min(_LOWEST_DB)
    for axes, (color, *_), scores, level in zip(
        cells, looks(stems).values(), audible, levels, strict=True
    ):
        area = axes.twinx()
        area.fill_between(seconds, _LOWEST_DB, level.numpy(), color="#DDDDDD")
        area.set(ylim=(_LOWEST_DB, 0.0), ylabel="Level (dBFS)")
        area.spines["right"].set_visible(True)
        axes.set_zorder(area.get_zorder() + 1)  # the line is drawn above the area
        axes.patch.set_visible(False)
        if marked is not None:
            area.axvspan(*marked, color="#FFF0B3", zorder=0)
        axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
        axes.plot(seconds, scores.numpy(), color=color, marker="o", markersize=3)
        axes.set_ylabel("usdr (dB)")
        axes.margins(x=0)
    cells[-1].set_xlabel("Time (seconds)")
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
    figure, cells = grid(stems, columns=4, height=2.4, margin=0.4, share="xy")
    for axes, (color, *_), scores, level in zip(
        cells, looks(stems).values(), windows.usdr, windows.level_db, strict=True
    ):
        inside = level >= _LOWEST_DB
        scores, level = scores[inside], level[inside]
        axes.plot(level, scores, ".", color=GRAY, markersize=3)
        middle, quartiles, _ = score_by_level(scores, level)
        low, median, high = quartiles.unbind(-1)
        axes.fill_between(middle, low, high, color=color, alpha=0.3, linewidth=0)
        axes.plot(middle, median, color=color, marker="o", markersize=4)
        axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
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
    n_sounds = len(sounds)
    figure = spectrogram_figure(sounds, sample_rate, hop_length=512, columns=n_sounds)
    figure.set_size_inches(WIDTH, 3.0)
    for axes in figure.axes[:n_sounds]:
        for edge in (middle - HOP_SECONDS, middle + HOP_SECONDS):
            axes.axvline(edge, color="white", linewidth=1, linestyle="--")
    return figure


def _check_stems(windows: Windows, stems: Sequence[str]) -> None:
    if len(stems) != len(windows.usdr) or not stems:
        raise InputError(
            f"stems must be {len(windows.usdr)} names, in the order of the windows; "
            f"got {list(stems)}."
        )
