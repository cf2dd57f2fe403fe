"""Figures of sound: waveforms, spectrograms and masks.

    waveform_figure      amplitude over time
    spectrogram_figure   level in dB of each frequency over time
    mask_figure          share of the mixture that a stem keeps in each bin

Notebooks: 00, 02, 03.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mssedu.errors import check_axes, check_finite, check_name, check_range
from mssedu.figures.style import (
    COLORS,
    MAGMA,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
)
from mssedu.figures.words import listed, measured, report
from mssedu.spectral import stft

Audio = Tensor | Mapping[str, Tensor]

_LOG_ROWS = 600  # rows of the image on a logarithmic frequency axis
_LOWEST_HZ = 30.0  # lower end of that axis: about the lowest note of a bass
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
_ENVELOPE = 1600  # longer waveforms are drawn as the minima and maxima of pieces


def waveform_figure(
    audio: Audio, sample_rate: int, *, start: float = 0.0
) -> DescribedFigure:
    """Waveforms, one panel a sound, on one vertical scale; channels are averaged.

    Args:
        audio: (channels, samples), or label -> (channels, samples) for several panels.
        sample_rate: Hz.
        start: seconds at the left end of the axis.

    Raises:
        InputError: no sounds, a sound of another shape, NaN or Inf.

    Example:
        >>> waveform_figure(torch.randn(1, 100), 1000).axes[0].get_ylabel()
        'Amplitude'
    """
    sounds, rate = _labeled(audio, sample_rate), sample_rate
    figure, cells = grid(sounds, height=1.2, margin=0.6, share="xy")
    parts = []
    for axes, (label, sound) in zip(cells, sounds.items(), strict=True):
        mono = sound.detach().cpu().float().mean(0)
        step = -(-len(mono) // _ENVELOPE)
        pieces = mono[: len(mono) // step * step].reshape(-1, step)
        seconds = start + torch.arange(len(pieces)).numpy() * step / sample_rate
        low, high = pieces.amin(1).numpy(), pieces.amax(1).numpy()
        color = COLORS.get(label, COLORS["mixture"])
        axes.fill_between(seconds, low, high, color=color)
        axes.set(xlabel="Time (seconds)", ylabel="Amplitude")
        axes.label_outer()
        axes.margins(x=0)
        level, moment = float(mono.abs().max()), start + int(mono.abs().argmax()) / rate
        name = f"{label} reaches " if label else ""
        parts.append(f"{name}{measured(level)} at {measured(moment, 's')}")
    caption = f"Amplitude{_of(sounds)} over time in seconds, the mean of the channels."
    return describe(figure, caption, report("Highest amplitudes", parts))


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
) -> DescribedFigure:
    """Spectrograms of one or several sounds, all on one color scale.

    The color is the power, averaged over channels, relative to the loudest bin of all.

    Args:
        audio: (channels, samples), or label -> (channels, samples) for several panels.
        sample_rate: Hz, of all panels.
        n_fft, hop_length: samples, as in `mssedu.spectral.stft`.
        frequency: "log", from 30 Hz, or "linear", from 0 Hz.
        max_hz: upper end of the axis; half the sample rate if None.
        range_db: levels further below the loudest bin have the darkest color.
        columns: panels side by side.

    Raises:
        InputError: no sounds, a sound of another shape, NaN, Inf, an unknown axis.

    Example:
        >>> figure = spectrogram_figure(torch.randn(2, 44100), 44100)
        >>> figure.axes[0].get_xlabel()
        'Time (seconds)'
    """
    power = {
        label: stft(sound.float(), n_fft, hop_length).abs().square().mean(0)
        for label, sound in _labeled(audio, sample_rate).items()
    }
    loudest = max(float(p.max()) for p in power.values()) or 1.0
    levels = {k: 10 * (p / loudest).clamp_min(1e-38).log10() for k, p in power.items()}
    unit, limits = "Level (dB re loudest)", (-range_db, 0.0)
    figure = _images(
        levels, sample_rate, hop_length, frequency, max_hz, columns, unit, limits
    )
    parts = [
        _loudest(label, p.detach().cpu(), sample_rate, hop_length, loudest)
        for label, p in power.items()
    ]
    caption = (
        f"Spectrogram{_of(power)}: level in dB of each frequency in Hz over time in "
        f"seconds, n_fft {n_fft}, hop {hop_length} samples."
    )
    return describe(figure, caption, report("Loudest bins", parts))


def mask_figure(
    masks: Mapping[str, Tensor],
    sample_rate: int,
    *,
    hop_length: int = 1024,
    frequency: str = "log",
    max_hz: float | None = None,
    columns: int = 1,
) -> DescribedFigure:
    """Masks as pictures: 0 removes a bin of the mixture, 1 keeps it.

    Args:
        masks: label -> (channels, bins, frames), 0 … 1; channels are averaged.
        sample_rate: Hz.
        hop_length: samples between frames.
        frequency, max_hz: as in `spectrogram_figure`.
        columns: panels side by side.

    Raises:
        InputError: no masks, a mask of another shape, or an unknown axis.

    Example:
        >>> figure = mask_figure({"vocals": torch.rand(2, 513, 20)}, 44100)
        >>> figure.axes[0].get_title(loc="left")
        'vocals'
    """
    check_not_empty("masks", masks, "mask")
    for label, mask in masks.items():
        check_axes(f"masks[{label!r}]", mask, ("channels", "bins", "frames"))
    images = {label: mask.mean(0) for label, mask in masks.items()}
    unit, limits = "Mask (share kept)", (0.0, 1.0)
    figure = _images(
        images, sample_rate, hop_length, frequency, max_hz, columns, unit, limits
    )
    parts = []
    for label, image in images.items():
        of_bins = image.detach().cpu().float().mean(1)
        hz = int(of_bins.argmax()) * sample_rate / 2 / (len(of_bins) - 1)
        mean, most = measured(float(of_bins.mean())), measured(float(of_bins.max()))
        parts.append(f"{label} {mean}, most at {hz:.0f} Hz with {most}")
    caption = (
        f"Mask{_of(masks)}: share of the mixture that is kept, 0 to 1, at each "
        "frequency in Hz over time in seconds."
    )
    return describe(figure, caption, report("Mean share that is kept", parts))


def _of(sounds: Mapping[str, Tensor]) -> str:
    """The names of sounds after a noun; a single sound may have none."""
    names = [label for label in sounds if label]
    return f" of {listed(names)}" if names else ""


def _loudest(
    label: str, power: Tensor, sample_rate: int, hop_length: int, loudest: float
) -> str:
    """Where a spectrogram is loudest, and where half of its power is."""
    name = f"{label} " if label else ""
    if not float(power.max()):
        return f"{name}silent"
    step_hz = sample_rate / 2 / (len(power) - 1)
    row, frame = divmod(int(power.argmax()), power.shape[1])
    level = 10 * math.log10(max(float(power.max()) / loudest, 1e-30))
    share = power.double().sum(1).cumsum(0) / power.double().sum()
    # A bin reaches half a step to each side; the first one begins at 0 Hz.
    half = min((int((share < 0.5).sum()) + 0.5) * step_hz, sample_rate / 2)
    where = f"at {row * step_hz:.0f} Hz" if row else f"below {step_hz / 2:.0f} Hz"
    return (
        f"{name}{level:z.1f} dB {where} and {frame * hop_length / sample_rate:.2f} s, "
        f"half of the power up to {half:.0f} Hz"
    )


def _labeled(audio: Audio, sample_rate: int) -> dict[str, Tensor]:
    """Label -> (channels, samples), checked; a single sound has the empty label."""
    sounds = {"": audio} if isinstance(audio, Tensor) else dict(audio)
    check_not_empty("audio", sounds, "sound")
    for label, sound in sounds.items():
        name = f"audio[{label!r}]" if label else "audio"
        check_axes(name, sound, ("channels", "samples"))
        check_finite(name, sound, sample_rate)
    return sounds


def _images(
    images: Mapping[str, Tensor],
    sample_rate: int,
    hop_length: int,
    frequency: str,
    max_hz: float | None,
    columns: int,
    unit: str,
    limits: tuple[float, float],
) -> DescribedFigure:
    """Panels of (bins, frames) beside a color bar; pixels are centered on bins."""
    check_name("frequency", frequency, ("log", "linear"))
    check_range("columns", columns, 1)
    top = max_hz or sample_rate / 2
    check_range("max_hz", top, _LOWEST_HZ, sample_rate / 2, low_open=True)
    seconds = hop_length / sample_rate
    figure, cells = grid(images, columns, height=1.8, margin=0.8, share="xy")
    longest = max(image.shape[1] for image in images.values())
    for axes, values in zip(cells, images.values(), strict=True):
        image = values.detach().cpu()
        bins, frames = image.shape
        step_hz = sample_rate / (2 * (bins - 1))
        low, high = -step_hz / 2, (bins - 0.5) * step_hz
        if frequency == "log":  # an image needs a linear axis: this one counts octaves
            low, high = torch.tensor([_LOWEST_HZ, top]).log2().tolist()
            middles = low + (torch.arange(_LOG_ROWS) + 0.5) / _LOG_ROWS * (high - low)
            image = image[(2**middles / step_hz).round().long().clamp(max=bins - 1)]
            ticks = torch.tensor([hz for hz in _TICKS_HZ if _LOWEST_HZ <= hz <= top])
            axes.set_yticks(ticks.log2().tolist(), [str(hz) for hz in ticks.tolist()])
        picture = axes.imshow(
            image.numpy(),
            cmap=MAGMA,
            clim=limits,
            aspect="auto",
            origin="lower",
            extent=(-seconds / 2, (frames - 0.5) * seconds, low, high),
            interpolation_stage="data",  # average levels, not colors
        )
        if frequency == "linear":
            axes.set_ylim(0, top)
        axes.set(xlabel="Time (seconds)", ylabel="Frequency (Hz)")
        axes.set_xlim(-seconds / 2, (longest - 0.5) * seconds)
        axes.label_outer()
    n_rows = -(-len(images) // columns)
    figure.colorbar(picture, ax=figure.axes, label=unit, aspect=10 + 8 * n_rows)
    return figure
