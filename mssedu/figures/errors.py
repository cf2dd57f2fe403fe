"""Figures of an error analysis: which sources bleed, when, and at which level.

    bleed_figure     energy of source i in estimate j, as colors and numbers
    track_figure     score and level along a song, a panel each stem
    level_figure     score against the level of the true stem
    excerpt_figure   spectrograms of an excerpt, on one color scale

Notebook: 04.
"""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

from mssedu.errors import InputError
from mssedu.evaluation.error_windows import HOP_SECONDS, Windows, score_by_level
from mssedu.figures.sound import spectrogram_figure
from mssedu.figures.style import (
    COLORS,
    GRAY,
    WIDTH,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
    looks,
)
from mssedu.figures.words import listed, measured, report

_COLDEST_DB = -40.0  # lower energies have the darkest color; 0 dB has the brightest
_LOWEST_DB = -60.0  # lower end of the axes of levels


def bleed_figure(
    matrices: Mapping[str, Tensor], rows: Sequence[str], columns: Sequence[str]
) -> DescribedFigure:
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
    caption = (
        f"Energy in dB of each true source (rows) in each estimate (columns): "
        f"{listed(matrices)}."
    )
    parts = [_largest(*item, rows, columns) for item in matrices.items()]
    return describe(figure, caption, report("Highest energies", parts))


def _largest(
    title: str, matrix: Tensor, rows: Sequence[str], columns: Sequence[str]
) -> str:
    """The highest energy of a matrix that is not a source's in its own estimate."""
    others = matrix.detach().cpu().clone()
    others.fill_diagonal_(torch.nan)
    known = others.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
    name = f"{title}, " if title else ""
    if not bool((known > -torch.inf).any()):
        return f"{name}no source in another estimate"
    row, column = divmod(int(known.argmax()), matrix.shape[1])
    level = measured(float(known[row, column]), "dB")
    return f"{name}{rows[row]} in the estimate of {columns[column]} with {level}"


def track_figure(
    windows: Windows, stems: Sequence[str], *, marked: tuple[float, float] | None = None
) -> DescribedFigure:
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
        area.plot(seconds, level.numpy(), color=GRAY, linewidth=0.8)  # its outline
        area.set(ylim=(_LOWEST_DB, 0.0), ylabel="Level (dBFS)")
        area.spines["right"].set_visible(True)
        axes.set_zorder(area.get_zorder() + 1)  # the line is drawn above the area
        axes.patch.set_visible(False)
        if marked is not None:
            area.axvspan(*marked, color="#FFF0B3", zorder=0)
            for edge in marked:
                area.axvline(edge, color=GRAY, linewidth=0.8, linestyle="--")
        axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
        axes.plot(seconds, scores.numpy(), color=color, marker="o", markersize=3)
        axes.set_ylabel("usdr (dB)")
        axes.margins(x=0)
    cells[-1].set_xlabel("Time (seconds)")
    caption = (
        f"usdr in dB of {listed(stems)} over time in seconds, where the true stem is "
        "audible; the gray area is its level in dBFS."
    )
    parts = []
    for stem, scores in zip(stems, audible, strict=True):
        known = scores.nan_to_num(nan=torch.inf)
        if not bool(known.isfinite().any()):
            parts.append(f"{stem} none")
            continue
        place = int(known.argmin())
        silent = int(scores.isnan().sum())
        parts.append(
            f"{stem} {measured(float(scores[place]), 'dB')} at {seconds[place]:.1f} s "
            f"(median {measured(float(scores.nanmedian()), 'dB')}; {silent} of "
            f"{len(scores)} windows without a score)"
        )
    return describe(figure, caption, report("Lowest usdr", parts))


def level_figure(windows: Windows, stems: Sequence[str]) -> DescribedFigure:
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
    parts = []
    for axes, (stem, (color, *_)), scores, level in zip(
        cells, looks(stems).items(), windows.usdr, windows.level_db, strict=True
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
        medians = zip(middle.tolist(), median.tolist(), strict=True)
        ends = [f"{y:z.1f} dB at {x:.0f} dBFS" for x, y in medians]
        shown = f"from {ends[0]} to {ends[-1]}" if ends else "none"
        parts.append(f"{stem} {shown} ({len(scores)} windows)")
    figure.supxlabel("Level of the true stem (dBFS)", fontsize="medium")
    figure.supylabel("usdr (dB)", fontsize="medium")
    caption = (
        f"usdr in dB of {listed(stems)} by the level of the true stem in dBFS: a dot "
        "for each window, a line for the median, an area between the quartiles."
    )
    return describe(figure, caption, report("Median usdr by level", parts))


def excerpt_figure(
    sounds: Mapping[str, Tensor], sample_rate: int, middle: float
) -> DescribedFigure:
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
            line = axes.axvline(edge, color="white", linewidth=1, linestyle="--")
            line.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
    window = f"{middle - HOP_SECONDS:.1f} s to {middle + HOP_SECONDS:.1f} s"
    caption = f"{figure.caption[:-1]}; the window is between the dashed lines."
    alt = f"The marked window is from {window}. {figure.alt}"
    return describe(figure, caption, alt)


def _check_stems(windows: Windows, stems: Sequence[str]) -> None:
    if len(stems) != len(windows.usdr) or not stems:
        raise InputError(
            f"stems must be {len(windows.usdr)} names, in the order of the windows; "
            f"got {list(stems)}."
        )
