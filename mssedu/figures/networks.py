"""Figures of networks: values inside one, and how several training runs compare.

    histogram_figure   how often each value occurs, such as of gates
    interval_figure    one point per run, their mean and its confidence interval
    maps_figure        tensors as pictures: skip tensors, states over time, attention
    curves_figure      values over steps or time, a line each, such as losses

Notebooks: 05 to 11, 14.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mssedu.errors import InputError, check_axes, check_range
from mssedu.evaluation.statistics import mean_interval
from mssedu.figures.style import (
    COLORS,
    MAGMA,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
    label_lines,
    looks,
    whole_ticks,
)
from mssedu.figures.words import (
    course,
    listed,
    lowered,
    measured,
    name_of,
    named,
    plain,
    report,
    topic_of,
    unit_of,
)


def histogram_figure(
    values: Mapping[str, Tensor],
    *,
    xlabel: str,
    limits: tuple[float, float] = (0.0, 1.0),
    n_bins: int = 40,
    columns: int = 3,
) -> DescribedFigure:
    """Histograms: the share of values in each of `n_bins` equal parts of `limits`.

    Args:
        values: label -> tensor of any shape, a panel each.
        xlabel: what the values are, and their unit.
        limits: ends of the axis; values beyond them are not drawn.
        n_bins: number of bars in a panel.
        columns: panels side by side.

    Raises:
        InputError: no tensors, an empty one, NaN or Inf.

    Example:
        >>> figure = histogram_figure({"gate": torch.rand(100)}, xlabel="Gate")
        >>> figure.axes[0].get_ylabel()
        'Share (%)'
    """
    check_not_empty("values", values, "tensor")
    check_range("columns", columns, 1)
    for label, value in values.items():
        if not value.numel() or not value.isfinite().all():
            raise InputError(
                f"values[{label!r}] of shape {tuple(value.shape)} is empty, or has NaN "
                "or Inf values. Leave it out, or find out where they come from."
            )
    figure, cells = grid(values, columns, height=1.5, margin=0.6, share="xy")
    low, high = limits
    step = (high - low) / n_bins
    lefts = [low + index * step for index in range(n_bins)]
    parts, unit = [], unit_of(xlabel)
    for axes, (label, value) in zip(cells, values.items(), strict=True):
        flat = value.detach().cpu().float().flatten()
        counts = torch.histc(flat, n_bins, low, high)
        share = (100 * counts / flat.numel()).tolist()
        axes.bar(lefts, share, step, align="edge", color=COLORS["drums"])
        axes.set(xlabel=xlabel, ylabel="Share (%)")
        axes.label_outer()
        axes.margins(x=0)
        middle = flat.double().sort().values[(len(flat) - 1) // 2].item()
        outside = 100 - 100 * float(counts.sum()) / len(flat)
        most = lefts[int(counts.argmax())]
        parts.append(
            f"{label} {measured(middle, unit)}, most often {measured(most)} to "
            f"{measured(most + step, unit)} ({max(share):.0f} %), "
            f"{outside:.0f} % not shown"
        )
    caption = (
        f"Share of the values in %, by {lowered(named(xlabel))}: {listed(values)}."
    )
    return describe(figure, caption, report(f"Medians of {name_of(xlabel)}", parts))


def interval_figure(
    runs: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    confidence: float = 0.95,
    zero: bool = False,
) -> DescribedFigure:
    """One row per label: a point for each run, the mean, and its confidence interval.

    Args:
        runs: label -> one result per run, at least two.
        xlabel: what was measured, and its unit.
        confidence: of the interval, 0 … 1.
        zero: whether to draw a line at zero, for results that are differences.

    Raises:
        InputError: no rows, or a row of fewer than two runs.

    Example:
        >>> figure = interval_figure({"GLU": [3.0, 3.4, 3.2]}, xlabel="usdr (dB)")
        >>> figure.axes[0].get_xlabel()
        'usdr (dB)'
    """
    check_not_empty("runs", runs, "label with its results")
    for label, results in runs.items():
        if len(results) < 2:
            raise InputError(
                f"runs[{label!r}] needs the results of at least two runs, got "
                f"{len(results)}. Train again with another seed."
            )
    black, orange = COLORS["mixture"], COLORS["vocals"]
    figure, (axes,) = grid(height=0.9 + 0.45 * len(runs))
    parts, unit = [], unit_of(xlabel)
    for row, (label, results) in enumerate(runs.items()):
        mean, half_width = mean_interval(results, confidence)
        axes.errorbar(
            mean, row, xerr=half_width, fmt="s", color=black, ms=7, capsize=5, lw=1.5
        )
        axes.plot(results, [row] * len(results), "o", color=orange, fillstyle="none")
        ends = listed([measured(mean + s * half_width, unit) for s in (-1, 1)])
        part = f"{label} {measured(mean, unit)}, interval between {ends}"
        part += f", {len(results)} results"
        parts.append(part + ", zero inside" * (zero and abs(mean) <= half_width))
    if zero:
        axes.axvline(0, color=black, linewidth=0.8)
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set(xlabel=xlabel, ylim=(len(runs) - 0.4, -0.6))
    axes.grid(axis="x", alpha=0.3)
    caption = (
        f"{named(xlabel)} of {listed(runs)}: a ring for each result, a square for the "
        f"mean, a line for its {100 * confidence:g} % confidence interval."
    )
    return describe(figure, caption, report(f"Means of {name_of(xlabel)}", parts))


def maps_figure(
    maps: Mapping[str, Tensor],
    *,
    xlabel: str,
    ylabel: str,
    unit: str = "",
    columns: int = 4,
    height: float = 1.5,
) -> DescribedFigure:
    """Two-dimensional tensors as pictures, the first row at the bottom.

    Args:
        maps: label -> (rows, columns of the picture), such as (bins, frames).
        xlabel, ylabel: what the last and the first axis count.
        unit: of the values: then all panels share one color scale and its bar. Without
            it each panel goes from its own lowest (dark) to its highest value (bright).
        columns: panels side by side.
        height: inches of a panel.

    Raises:
        InputError: no maps, a map that does not have two axes, or no columns.

    Example:
        >>> maps = {"head 1": torch.rand(20, 20)}
        >>> figure = maps_figure(maps, xlabel="key", ylabel="query", unit="weight")
        >>> figure.axes[0].get_title(loc="left")
        'head 1'
    """
    check_not_empty("maps", maps, "map")
    check_range("columns", columns, 1)
    for label, image in maps.items():
        check_axes(f"maps[{label!r}]", image, ("rows", "columns"))
    images = [image.detach().cpu().float() for image in maps.values()]
    figure, cells = grid(maps, columns, height=height, margin=0.5)
    parts = []
    for axes, label, image in zip(cells, maps, images, strict=True):
        low = min(float(shown.min()) for shown in (images if unit else [image]))
        high = max(float(shown.max()) for shown in (images if unit else [image]))
        picture = axes.imshow(
            image.numpy(),
            aspect="auto",
            origin="lower",
            interpolation="nearest",
            cmap=MAGMA,
            vmin=low,
            vmax=high if high > low else low + 1.0,  # of a constant picture
        )
        axes.set_title(label, loc="left", fontsize="small")
        axes.tick_params(labelsize="x-small")
        axes.locator_params(nbins=6, integer=True)
        row, column = divmod(int(image.argmax()), image.shape[1])
        parts.append(
            f"{label} {measured(float(image.max()))} at {name_of(xlabel)} {column}, "
            f"{name_of(ylabel)} {row} (mean {measured(float(image.mean()))})"
        )
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")
    if unit:
        figure.colorbar(picture, ax=figure.axes, label=unit)
    what = plain(unit) or "Values, each panel from its lowest to its highest"
    axes_names = f"{lowered(named(ylabel))} over {lowered(named(xlabel))}"
    caption = f"{what}: {listed(maps)}; {axes_names}."
    return describe(figure, caption, report("Highest values", parts))


def curves_figure(
    lines: Mapping[str, Sequence[float] | Tensor],
    *,
    xlabel: str,
    ylabel: str,
    start: float = 0.0,
    step: float = 1.0,
    height: float = 2.8,
) -> DescribedFigure:
    """Values over steps, frames or seconds, a line each; they may differ in length.

    Args:
        lines: label -> values; the label of a stem sets its color.
        xlabel, ylabel: what the axes show, with units.
        start: place of the first value on the horizontal axis.
        step: distance from one value to the next.
        height: of the figure, inches.

    Raises:
        InputError: no lines.

    Example:
        >>> figure = curves_figure({"a": [3, 2, 1]}, xlabel="Step", ylabel="Loss (dB)")
        >>> figure.axes[0].get_xlabel()
        'Step'
    """
    check_not_empty("lines", lines, "line")
    figure, (axes,) = grid(height=height)
    parts, units = [], (unit_of(xlabel), unit_of(ylabel))
    seen: list[float] = []  # all values
    for label, (color, _, style) in looks(lines).items():
        values = torch.as_tensor(lines[label]).detach().cpu().flatten().tolist()
        places = [start + step * place for place in range(len(values))]
        axes.plot(places, values, style, color=color, label=label)
        parts.append(f"{label} {course(places, values, *units)}")
        seen += values
    whole_ticks(axes.xaxis, (start, step))
    whole_ticks(axes.yaxis, seen)
    axes.margins(x=0)
    label_lines(figure, axes, xlabel, ylabel)
    caption = f"{named(ylabel)} by {lowered(named(xlabel))}: {listed(lines)}."
    return describe(figure, caption, report(topic_of(ylabel, xlabel), parts))
