"""Figures that the notebooks and the reports share: one style, labeled axes and units.

    spectrogram_figure   what sounds when and at which frequency, in dB
    mask_figure          share of the mixture that a stem gets in each bin
    waveform_figure      samples over time
    scores_figure        dB of each row (silence, mixture, model, oracle) on each stem
    sweep_figure         a result over the values of one setting

Each returns a matplotlib Figure and shows nothing: a notebook shows the last value of a
cell, a report calls `savefig`. No pyplot, so nothing global is drawn on or kept open.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from mssedu.errors import InputError, check_finite, check_name, check_range, message
from mssedu.spectral import stft

# Okabe and Ito's palette: told apart with every common kind of color blindness.
COLORS = {
    "vocals": "#D55E00",
    "drums": "#0072B2",
    "bass": "#009E73",
    "other": "#CC79A7",
    "mixture": "#000000",
    "reference": "#999999",
}
STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": 80,
    "font.size": 10.0,
}
# Equal steps look equal, also to color-blind readers; 40 colors keep files small.
_IMAGE: dict[str, Any] = {
    "cmap": matplotlib.colormaps["magma"].resampled(40),
    "aspect": "auto",
    "interpolation_stage": "data",  # average levels, not colors
    "origin": "lower",
}
_ROW_COLORS = ("#BBBBBB", "#E69F00", "#56B4E9", "#000000", "#882255")  # not of stems
_MARKERS = "osD^vPX*"  # a second sign beside the color
_LOG_ROWS = 600  # image rows of a logarithmic frequency axis
_LOWEST_HZ = 30.0  # where it starts: about the lowest note of a bass
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
_ENVELOPE = 1600  # a longer waveform is drawn as the minima and maxima of its pieces

Audio = Tensor | Mapping[str, Tensor]


def spectrogram_figure(
    audio: Audio,
    sample_rate: int,
    *,
    n_fft: int = 4096,
    hop_length: int = 1024,
    frequency: str = "log",
    max_hz: float | None = None,
    range_db: float = 80.0,
    columns: int = 1,
) -> Figure:
    """Spectrograms of one or several sounds, all on one color scale.

    The color is the power, averaged over channels, against the loudest bin of all.

    Args:
        audio: (channels, samples), or label -> (channels, samples) for several panels.
        sample_rate: Hz, of all panels.
        n_fft, hop_length: as in `mssedu.spectral.stft`.
        frequency: "log", from 30 Hz, or "linear", from 0 Hz.
        max_hz: upper end; half the sample rate if None.
        range_db: what lies further below the loudest bin is drawn as this.
        columns: panels side by side.

    Raises:
        InputError: no panels, another shape, NaN or Inf, or an unknown frequency axis.

    Example:
        >>> figure = spectrogram_figure(torch.randn(2, 44100), 44100)
        >>> figure.axes[0].get_xlabel()
        'Time (seconds)'
    """
    panels = _panels("spectrogram_figure", audio, sample_rate)
    power = {
        label: stft(sound.float(), n_fft, hop_length).abs().square().mean(0)
        for label, sound in panels.items()
    }
    loudest = max(float(p.max()) for p in power.values()) or 1.0
    levels = {k: 10 * (p / loudest).clamp_min(1e-38).log10() for k, p in power.items()}
    rates, axis = (sample_rate, hop_length), (frequency, max_hz)
    limits, unit = (-range_db, 0.0), "Level (dB re loudest)"
    return _images(levels, rates, axis, limits, unit, columns)


def mask_figure(
    masks: Mapping[str, Tensor],
    sample_rate: int,
    *,
    hop_length: int = 1024,
    frequency: str = "log",
    max_hz: float | None = None,
    columns: int = 1,
) -> Figure:
    """Masks as pictures: 0 removes a bin of the mixture, 1 keeps it.

    Args:
        masks: label -> (channels, bins, frames), 0 … 1; channels are averaged.
        sample_rate: Hz.
        hop_length: samples between frames.
        frequency, max_hz: as in `spectrogram_figure`.
        columns: panels side by side.

    Raises:
        InputError: no masks, another shape, or an unknown frequency axis.

    Example:
        >>> figure = mask_figure({"vocals": torch.rand(2, 513, 20)}, 44100)
        >>> figure.axes[0].get_title(loc="left")
        'vocals'
    """
    shapes = {label: tuple(mask.shape) for label, mask in masks.items()}
    if not masks or any(len(shape) != 3 for shape in shapes.values()):
        wanted = "label -> mask (channels, bins, frames)"
        remedy = "Choose the stems of one song, such as masks[0]."
        raise InputError(message("mask_figure", wanted, shapes, remedy))
    images = {label: mask.mean(0) for label, mask in masks.items()}
    rates, axis = (sample_rate, hop_length), (frequency, max_hz)
    return _images(images, rates, axis, (0.0, 1.0), "Mask (share kept)", columns)


def waveform_figure(audio: Audio, sample_rate: int, *, start: float = 0.0) -> Figure:
    """Samples over time, one panel a sound, one vertical scale; channels averaged.

    Args:
        audio: (channels, samples), or label -> (channels, samples).
        sample_rate: Hz.
        start: seconds at the left end of the axis.

    Raises:
        InputError: no panels, another shape, NaN or Inf.

    Example:
        >>> waveform_figure(torch.randn(1, 100), 1000).axes[0].get_ylabel()
        'Amplitude'
    """
    panels = _panels("waveform_figure", audio, sample_rate)
    figure, grid = _subplots(0.6 + 1.2 * len(panels), len(panels))
    for axes, (label, sound) in zip(grid[:, 0], panels.items(), strict=True):
        mono = sound.detach().cpu().float().mean(0)
        color = COLORS.get(label, COLORS["mixture"])
        step = -(-len(mono) // _ENVELOPE)
        pieces = mono[: len(mono) // step * step].reshape(-1, step)
        seconds = start + torch.arange(len(pieces)).numpy() * step / sample_rate
        low, high = pieces.amin(1).numpy(), pieces.amax(1).numpy()
        axes.fill_between(seconds, low, high, color=color)
        axes.set_title(label, loc="left")
        axes.set(xlabel="Time (seconds)", ylabel="Amplitude")
        axes.label_outer()
        axes.margins(x=0)
    return figure


def scores_figure(
    rows: Mapping[str, Mapping[str, float | None]], *, definition: str = "usdr"
) -> Figure:
    """Scores as bars around 0 dB, which is what silence scores.

    Args:
        rows: row -> stem -> dB, such as {"mixture": {"drums": -3.1}, "model": …}; NaN,
            None or a missing stem is written "none".
        definition: name of the score.

    Raises:
        InputError: no rows or no stems.

    Example:
        >>> scores_figure({"model": {"drums": 5.0}}).axes[0].get_ylabel()
        'usdr (dB, higher is better)'
    """
    stems = list(dict.fromkeys(stem for row in rows.values() for stem in row))
    if not stems:
        remedy = "Give row -> stem -> dB, as scores.json holds it."
        raise InputError(message("scores_figure", "at least one score", rows, remedy))
    figure, ((axes,),) = _subplots(3.4)
    width = 0.8 / len(rows)
    for index, (row, scores) in enumerate(rows.items()):
        given = [scores.get(stem) for stem in stems]
        values = [float("nan") if v is None else float(v) for v in given]
        places = [place + (index + 0.5) * width - 0.4 for place in range(len(stems))]
        heights = [v if abs(v) < float("inf") else 0.0 for v in values]
        color = _ROW_COLORS[index % len(_ROW_COLORS)]
        bars = axes.bar(places, heights, width * 0.92, label=row, color=color)
        texts = [f"{v:.1f}" if v == v else "none" for v in values]
        axes.bar_label(bars, texts, padding=2, fontsize="x-small")
    axes.axhline(0, color=COLORS["mixture"], linewidth=0.8)
    axes.set_xticks(range(len(stems)), stems)
    axes.set_ylabel(f"{definition} (dB, higher is better)")
    axes.margins(y=0.12)
    figure.legend(loc="outside upper center", ncols=len(rows), frameon=False)
    return figure


def sweep_figure(
    values: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    scale: str = "linear",
    mark: str | None = None,
) -> Figure:
    """Results over the values of one setting, a line each.

    Args:
        values: of the setting, one per point.
        lines: label -> one result per value; a stem's label brings its color.
        xlabel: the setting and its unit.
        ylabel: the result and its unit.
        scale: "linear", or "log2" for settings that double.
        mark: ring the "highest" or the "lowest" point of each line; none if None.

    Raises:
        InputError: no lines, a length that does not fit, an unknown scale or mark.

    Example:
        >>> figure = sweep_figure([1, 2], {"IRM": [3, 5]}, xlabel="n", ylabel="dB")
        >>> figure.axes[0].get_ylabel()
        'dB'
    """
    check_name("scale", scale, ("linear", "log2"))
    check_name("mark", mark or "none", ("none", "highest", "lowest"))
    lengths = {label: len(line) for label, line in lines.items()}
    if set(lengths.values()) != {len(values)}:
        wanted = f"lines of {len(values)} results, one per value"
        remedy = "Measure each line at every value."
        raise InputError(message("sweep_figure", wanted, lengths, remedy))
    figure, ((axes,),) = _subplots(3.0)
    spare = itertools.cycle(_ROW_COLORS[1:])
    for index, (label, line) in enumerate(lines.items()):
        color = COLORS.get(label) or next(spare)
        marker = _MARKERS[index % len(_MARKERS)]
        axes.plot(values, line, color=color, marker=marker, markersize=5, label=label)
        if mark is not None:
            best = (max if mark == "highest" else min)(line)
            at = values[list(line).index(best)]
            axes.plot(at, best, "o", color=color, markersize=13, fillstyle="none")
    if scale == "log2":
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _subplots(height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure in our style and its (rows, columns) axes; the height is in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, height))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    return figure, grid


def _panels(where: str, audio: Audio, sample_rate: int) -> dict[str, Tensor]:
    """Label -> (channels, samples), checked; a lone sound has the empty label."""
    panels = {"": audio} if isinstance(audio, Tensor) else dict(audio)
    if not panels:
        raise InputError(message(where, "at least one sound", "none", "Add one."))
    for sound in panels.values():
        if sound.ndim != 2 or not sound.numel():
            wanted = "each sound as (channels, samples ≥ 1)"
            remedy = "Choose one sound, or give label -> sound."
            raise InputError(message(where, wanted, tuple(sound.shape), remedy))
        check_finite(where, sound, sample_rate)
    return panels


def _images(
    images: Mapping[str, Tensor],
    rates: tuple[int, int],
    frequency: tuple[str, float | None],
    limits: tuple[float, float],
    unit: str,
    columns: int,
) -> Figure:
    """Panels of (bins, frames) on shared axes beside one color bar."""
    axis, max_hz = frequency
    check_name("scale", axis, ("log", "linear"))
    n_rows = -(-len(images) // columns)
    figure, grid = _subplots(0.8 + 1.8 * n_rows, n_rows, columns)
    for axes in grid.flat[len(images) :]:
        axes.set_visible(False)
    for axes, (label, image) in zip(grid.flat, images.items(), strict=False):
        drawn = _draw(axes, image.detach().cpu(), rates, axis, max_hz)
        drawn.set_clim(*limits)
        axes.set_title(label, loc="left")
        axes.set(xlabel="Time (seconds)", ylabel="Frequency (Hz)")
        axes.label_outer()
    figure.colorbar(drawn, ax=grid, label=unit, aspect=10 + 8 * n_rows)
    return figure


def _draw(
    axes: Axes, image: Tensor, rates: tuple[int, int], axis: str, max_hz: float | None
) -> AxesImage:
    """One (bins, frames) image; each pixel is centered on its bin and frame."""
    sample_rate, hop_length = rates
    bins, frames = image.shape
    step_hz = sample_rate / (2 * (bins - 1))
    top = max_hz or sample_rate / 2
    check_range("max_hz", top, _LOWEST_HZ, sample_rate / 2, low_open=True)
    seconds = hop_length / sample_rate
    low, high = -step_hz / 2, (bins - 0.5) * step_hz
    if axis == "log":  # an image lies on a linear axis only, so this one counts octaves
        low, high = torch.tensor([_LOWEST_HZ, top]).log2().tolist()
        middles = low + (torch.arange(_LOG_ROWS) + 0.5) / _LOG_ROWS * (high - low)
        image = image[(2**middles / step_hz).round().long().clamp(max=bins - 1)]
        ticks = torch.tensor([hz for hz in _TICKS_HZ if _LOWEST_HZ <= hz <= top])
        axes.set_yticks(ticks.log2().tolist(), [str(hz) for hz in ticks.tolist()])
    extent = (-seconds / 2, (frames - 0.5) * seconds, low, high)
    drawn = axes.imshow(image.numpy(), extent=extent, **_IMAGE)
    if axis == "linear":
        axes.set_ylim(0, top)
    return drawn
