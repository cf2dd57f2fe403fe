"""Figures of networks: what happens inside one, and how several runs of it compare.

    histogram_figure   how often each value occurs, such as of gates
    interval_figure    one point a run, their mean and its confidence interval
    mean_interval      the two numbers of such an interval
    maps_figure        tensors as pictures: skip tensors, states over time, attention
    curves_figure      values over steps or time, a line each, such as losses

Style and rules are those of mssedu.figures: a Figure is returned, nothing is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mssedu.errors import InputError, check_range, message
from mssedu.figures.sound import COLORS, STYLE

_INTERVAL: dict[str, Any] = {
    "fmt": "s",
    "color": COLORS["mixture"],
    "markersize": 7,
    "capsize": 5,
    "linewidth": 1.5,
}
_RUN: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "color": COLORS["vocals"],
    "fillstyle": "none",
}
_MAP: dict[str, Any] = {
    "aspect": "auto",
    "origin": "lower",
    "interpolation": "nearest",
    "cmap": matplotlib.colormaps["magma"].resampled(40),
}
_SPARE = ("#E69F00", "#56B4E9", "#000000", "#882255", "#BBBBBB")  # not of stems
_STYLES = ("-", "--", "-.", ":")  # a second sign beside the color


def histogram_figure(
    values: Mapping[str, Tensor],
    *,
    xlabel: str,
    limits: tuple[float, float] = (0.0, 1.0),
    n_bins: int = 40,
    columns: int = 3,
) -> Figure:
    """Share of the values that falls into each of `n_bins` equal parts of `limits`.

    Args:
        values: label -> tensor of any shape, a panel each.
        xlabel: what the values are, and their unit.
        limits: ends of the axis; a value beyond is not drawn.
        n_bins: bars of a panel.
        columns: panels side by side.

    Raises:
        InputError: no panels, an empty one, NaN or Inf.

    Example:
        >>> figure = histogram_figure({"gate": torch.rand(100)}, xlabel="Gate")
        >>> figure.axes[0].get_ylabel()
        'Share (%)'
    """
    fine = [value.numel() and value.isfinite().all() for value in values.values()]
    if not fine or not all(fine):
        wanted = "label -> finite values, at least one of each"
        remedy = "Give what look_inside returns, for example."
        raise InputError(message("histogram_figure", wanted, list(values), remedy))
    n_rows = -(-len(values) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.6 + 1.5 * n_rows))
        columns = min(columns, len(values))
        grid = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(values) :]:
        axes.set_visible(False)
    low, high = limits
    step = (high - low) / n_bins
    lefts = [low + index * step for index in range(n_bins)]
    for axes, (label, value) in zip(grid.flat, values.items(), strict=False):
        flat = value.detach().cpu().float().flatten()
        counts = torch.histc(flat, n_bins, low, high)
        share = (100 * counts / flat.numel()).tolist()
        axes.bar(lefts, share, step, align="edge", color=COLORS["drums"])
        axes.set_title(label, loc="left")
        axes.set(xlabel=xlabel, ylabel="Share (%)")
        axes.label_outer()
        axes.margins(x=0)
    return figure


def interval_figure(
    runs: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    confidence: float = 0.95,
    zero: bool = False,
) -> Figure:
    """One row per label: a point for each run, the mean, and its confidence interval.

    Args:
        runs: label -> one result per run, at least two.
        xlabel: what was measured, and its unit.
        confidence: of the interval, 0 … 1.
        zero: draw a line at zero, if the results are differences.

    Raises:
        InputError: no rows, or a row of fewer than two runs.

    Example:
        >>> figure = interval_figure({"GLU": [3.0, 3.4, 3.2]}, xlabel="usdr (dB)")
        >>> figure.axes[0].get_xlabel()
        'usdr (dB)'
    """
    lengths = {label: len(results) for label, results in runs.items()}
    if not lengths or min(lengths.values()) < 2:
        remedy = "Train again with another seed."
        wanted = "at least two runs of each label"
        raise InputError(message("interval_figure", wanted, lengths, remedy))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.9 + 0.45 * len(runs)))
        axes = figure.subplots()
    for row, results in enumerate(runs.values()):
        mean, half_width = mean_interval(results, confidence)
        axes.errorbar(mean, row, xerr=half_width, **_INTERVAL)
        axes.plot(results, [row] * len(results), **_RUN)
    if zero:
        axes.axvline(0, color=COLORS["mixture"], linewidth=0.8)
    axes.set_yticks(range(len(runs)), list(runs))
    axes.set(xlabel=xlabel, ylim=(len(runs) - 0.4, -0.6))
    axes.grid(axis="x", alpha=0.3)
    return figure


def mean_interval(
    results: Sequence[float], confidence: float = 0.95
) -> tuple[float, float]:
    """Mean of some runs and half the width of its confidence interval (Student's t).

    Args:
        results: one per run, at least two.
        confidence: 0 … 1; the interval holds the true mean that often.

    Example:
        >>> mean, half_width = mean_interval([3.0, 3.4, 3.2])
        >>> f"{mean:.1f} ± {half_width:.1f}"
        '3.2 ± 0.5'
    """
    from scipy.stats import t

    deviation, mean = torch.std_mean(torch.tensor(results, dtype=torch.float64))
    factor = float(t.ppf((1 + confidence) / 2, len(results) - 1))
    return float(mean), factor * float(deviation) / len(results) ** 0.5


def maps_figure(
    maps: Mapping[str, Tensor],
    *,
    xlabel: str,
    ylabel: str,
    unit: str = "",
    columns: int = 4,
    height: float = 1.5,
) -> Figure:
    """Two-dimensional tensors as pictures, the first row at the bottom.

    Args:
        maps: label -> (rows, columns of the picture), such as (bins, frames).
        xlabel, ylabel: what the last and the first axis count.
        unit: of the values: then all panels share one color scale and its bar. Without
            it each panel goes from its own lowest (dark) to its highest value (bright).
        columns: panels side by side.
        height: inches of a panel.

    Raises:
        InputError: no maps, a map that has not two axes, or no columns.

    Example:
        >>> maps = {"head 1": torch.rand(20, 20)}
        >>> figure = maps_figure(maps, xlabel="key", ylabel="query", unit="weight")
        >>> figure.axes[0].get_title(loc="left")
        'head 1'
    """
    shapes = {label: tuple(image.shape) for label, image in maps.items()}
    if not maps or any(len(shape) != 2 for shape in shapes.values()):
        remedy = "Choose one example and one channel or head."
        wanted = "label -> map (rows, columns)"
        raise InputError(message("maps_figure", wanted, shapes, remedy))
    check_range("columns", columns, 1)
    images = {label: image.detach().cpu().float() for label, image in maps.items()}
    columns = min(columns, len(maps))
    n_rows = -(-len(maps) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 0.5 + height * n_rows))
        grid = figure.subplots(n_rows, columns, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_visible(False)
    for axes, (label, image) in zip(grid.flat, images.items(), strict=False):
        drawn = axes.imshow(image.numpy(), **_MAP)
        drawn.set_clim(*_limits(list(images.values()) if unit else [image]))
        axes.set_title(label, loc="left", fontsize="small")
        axes.tick_params(labelsize="x-small")
        axes.locator_params(nbins=6, integer=True)
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")
    if unit:
        figure.colorbar(drawn, ax=grid, label=unit)
    return figure


def curves_figure(
    lines: Mapping[str, Sequence[float] | Tensor],
    *,
    xlabel: str,
    ylabel: str,
    start: float = 0.0,
    step: float = 1.0,
    height: float = 2.8,
) -> Figure:
    """Values over steps, frames or seconds, a line each; they may differ in length.

    Args:
        lines: label -> values; a stem's label brings its color.
        xlabel, ylabel: what the axes show, with units.
        start: place of the first value.
        step: from one value to the next.
        height: of the figure, inches.

    Raises:
        InputError: no lines.

    Example:
        >>> figure = curves_figure({"a": [3, 2, 1]}, xlabel="Step", ylabel="Loss (dB)")
        >>> figure.axes[0].get_xlabel()
        'Step'
    """
    if not lines:
        remedy = "Give label -> values."
        raise InputError(message("curves_figure", "at least one line", "none", remedy))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, height))
        axes = figure.subplots()
    for index, (label, line) in enumerate(lines.items()):
        values = torch.as_tensor(line).detach().cpu().flatten().tolist()
        places = [start + step * place for place in range(len(values))]
        color = COLORS.get(label, _SPARE[index % len(_SPARE)])
        style = _STYLES[index % len(_STYLES)]
        axes.plot(places, values, style, color=color, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.margins(x=0)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _limits(images: list[Tensor]) -> tuple[float, float]:
    """Lowest and highest value; a constant picture gets a range too."""
    low = min(float(image.min()) for image in images)
    high = max(float(image.max()) for image in images)
    return low, high if high > low else low + 1.0
