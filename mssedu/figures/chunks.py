"""Figures of chunked inference: the places of the chunks, and the error they cause.

    chunks_figure   share of each chunk over time, and below it the error over time
    ChunkLab        the same with four sliders, and with the sound of the seams

The error is the difference from the whole song in one pass. It measures the cutting
into chunks, not the model. Where a notebook cannot show the widgets of a `ChunkLab`,
such as when it is stored, it shows the first picture. Notebook: 12.
"""

import base64
import io
import math
from functools import cached_property
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from mssedu.audio.writer import flac_bytes
from mssedu.errors import InputError, check_name
from mssedu.figures.style import COLORS, GRAY, DescribedFigure, describe, grid
from mssedu.models.contract import config_of
from mssedu.separation.chunks import Chunks, plan_chunks, with_segment
from mssedu.separation.config import SeparateConfig
from mssedu.separation.tensors import separate

FLOOR_DB = -150.0  # float32 does not resolve smaller errors
_PIECE_SECONDS = 0.005  # each point of the error curve is the mean of so much
_POINTS = 200  # points of the share of a chunk
_SHADES = (  # neighbors differ
    (COLORS["drums"], "-"),
    (COLORS["vocals"], "--"),
    (COLORS["bass"], "-."),
)
_SEAM_SECONDS = 0.5  # how much of each seam is played
_MOST_SEAMS = 12  # how many seams are played, one after another
_CHOICES: dict[str, tuple[Any, ...]] = {
    "segment": (0.25, 0.5, 1.0, 2.0, 4.0),
    "overlap": (0.0, 0.1, 0.25, 0.5, 0.75),
    "window": ("triangle", "hann", "rectangle"),
    "context": (0.0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2),
}


def error_db(*, reference: Tensor, estimate: Tensor) -> float:
    """Level of the error relative to the reference in dB, at least -150.

    Args:
        reference, estimate: (channels, samples).

    Example:
        >>> sound = torch.ones(1, 9)
        >>> round(error_db(reference=sound, estimate=1.01 * sound))
        -40
    """
    error = (estimate - reference).double().square().sum()
    energy = reference.double().square().sum().clamp_min(1e-30)
    return max(10 * math.log10(max(float(error / energy), 1e-30)), FLOOR_DB)


def chunks_figure(
    chunks: Chunks, sample_rate: int, *, reference: Tensor, estimate: Tensor
) -> DescribedFigure:
    """Share of each chunk and the error over time; dotted lines are the seams.

    Args:
        chunks: the plan by which the song was cut.
        sample_rate: Hz.
        reference: the estimate of the whole song in one pass, (channels, samples).
        estimate: the estimate from these chunks, (channels, samples).

    Raises:
        InputError: shapes that differ, or another length than that of `chunks`.

    Example:
        >>> chunks = Chunks(200, 100, [0, 75, 150], torch.ones(100), 100)
        >>> sound = torch.ones(1, 200)
        >>> figure = chunks_figure(chunks, 100, reference=sound, estimate=sound)
        >>> figure.axes[0].get_ylabel()
        'Share'
    """
    shapes = tuple(reference.shape), tuple(estimate.shape)
    if shapes[0] != shapes[1] or shapes[0][-1:] != (chunks.samples,):
        raise InputError(
            f"reference and estimate must have one shape and {chunks.samples} samples, "
            f"as the chunks do; their shapes are {shapes[0]} and {shapes[1]}."
        )
    figure, (upper, lower) = grid(("", ""), height=1.9, share="x", ratios=(1, 2))
    total = torch.zeros(chunks.samples)
    weights = []  # (first sample, weight of every sample) of each chunk
    for start in chunks.starts:
        begin, end = chunks.output_range(start)
        weights.append((begin, chunks.weight[begin - start : end - start]))
        total[begin:end] += weights[-1][1]
    for index, (begin, weight) in enumerate(weights):
        places = torch.linspace(0, len(weight) - 1, _POINTS).round().long()
        share = weight[places] / total[begin + places]
        seconds = (begin + places) / sample_rate
        color, style = _SHADES[index % 3]
        upper.fill_between(seconds, share, alpha=0.35, color=color)
        upper.plot(seconds, share, style, color=color, linewidth=1)
    # Error of each piece relative to the mean power of the reference
    step = max(1, round(_PIECE_SECONDS * sample_rate))
    power = (estimate - reference).double().square().mean(0)
    pieces = power[: len(power) // step * step].reshape(-1, step).mean(1)
    mean = reference.double().square().mean().clamp_min(1e-30)
    levels = (10 * (pieces / mean).clamp_min(1e-30).log10()).clamp_min(FLOOR_DB)
    seconds = (torch.arange(len(levels)) + 0.5) * step / sample_rate
    lower.plot(seconds, levels, color=COLORS["mixture"], linewidth=0.8)
    for axes in (upper, lower):
        for seam in chunks.seams:
            axes.axvline(seam / sample_rate, color=GRAY, linestyle=":", lw=0.8)
    upper.set(ylabel="Share", ylim=(0, 1.05))
    lower.set(xlabel="Time (seconds)", ylabel="Error (dB re whole pass)")
    lower.set(xlim=(0, chunks.samples / sample_rate), ylim=(FLOOR_DB, 5))
    lower.grid(alpha=0.3)
    caption = (
        "Share of each chunk, and error in dB relative to the whole song in one pass, "
        "over time in seconds; dotted lines are seams."
    )
    level = error_db(reference=reference, estimate=estimate)
    worst = int(levels.argmax())
    moment = (worst + 0.5) * step / sample_rate
    gaps = [abs(seam / sample_rate - moment) for seam in chunks.seams]
    near = f", {min(gaps):.2f} s from a seam" if gaps else ""
    alt = (
        f"{len(weights)} chunks with {len(gaps)} seams: error {level:z.1f} dB, "
        f"at most {levels[worst]:z.1f} dB at {moment:.2f} s{near}."
    )
    return describe(figure, caption, alt)


class ChunkLab:
    """Choose segment, overlap, window and context; see and hear their effect.

    Args:
        model: follows the contract, and can process the mixture in one pass.
        mixture: (channels, samples), at the model's sample rate; ten seconds suffice.
        stem: the one to examine.
        segment, overlap, window, context: the first settings, as in `mssedu.separate`.

    Raises:
        InputError: a stem that the model does not have, or settings that
            `mssedu.separate` does not accept.
    """

    def __init__(
        self,
        model: nn.Module,
        mixture: Tensor,
        stem: str,
        *,
        segment: float = 2.0,
        overlap: float = 0.25,
        window: str = "triangle",
        context: float = 0.0,
    ) -> None:
        self.model, self.mixture, self.stem = model, mixture, stem
        self.config = config_of(model)
        self.row = list(self.config.stems).index(
            check_name("stem", stem, self.config.stems)
        )
        self.reference = separate(model, mixture, segment=math.inf)[self.row]
        self.set(segment=segment, overlap=overlap, window=window, context=context)

    def set(
        self,
        *,
        segment: float = 2.0,
        overlap: float = 0.25,
        window: str = "triangle",
        context: float = 0.0,
    ) -> None:
        """Separate again with these settings of `mssedu.separate`."""
        values: tuple[Any, ...] = (segment, overlap, window, context)
        settings = dict(zip(_CHOICES, values, strict=True))
        samples = self.mixture.shape[-1]
        config = with_segment(SeparateConfig(**settings), self.config, samples)
        self.chunks = plan_chunks(self.config, samples, config)
        self.estimate = separate(self.model, self.mixture, **settings)[self.row]
        self.settings = settings

    @property
    def text(self) -> str:
        """Number of chunks, work and error in one line."""
        level = error_db(reference=self.reference, estimate=self.estimate)
        ranges = [self.chunks.input_range(start) for start in self.chunks.starts]
        work = sum(end - begin for begin, end in ranges) / self.chunks.samples
        return f"{len(ranges)} chunks, {work:.2f} × the samples, error {level:.1f} dB"

    def figure(self) -> DescribedFigure:
        """Shares of the chunks and the error over time."""
        rate, whole, estimate = self.config.sample_rate, self.reference, self.estimate
        return chunks_figure(self.chunks, rate, reference=whole, estimate=estimate)

    def seams(self) -> Tensor:
        """Half a second around each of the first twelve seams, faded, in a row.

        Without seams it is the whole estimate; (channels, samples).
        """
        half = round(_SEAM_SECONDS * self.config.sample_rate / 2)
        fade = torch.hann_window(2 * half).clamp_max(0.1) / 0.1
        parts = [
            fade * self.estimate[:, seam - half : seam + half]
            for seam in self.chunks.seams
            if half <= seam <= self.chunks.samples - half
        ]
        return torch.cat(parts[:_MOST_SEAMS], dim=1) if parts else self.estimate

    @cached_property
    def box(self) -> Any:
        """The widgets: four sliders, a line of text, the picture and two sounds."""
        from ipywidgets import HTML, Audio, HBox, Image, Label, SelectionSlider, VBox

        picture, text = Image(format="png"), HTML()
        sounds = [Audio(format="flac", autoplay=False, loop=False) for _ in range(2)]
        choices = {}
        for name, value in self.settings.items():
            options = list(_CHOICES[name])
            if value not in options:
                options = sorted([*options, value])
            choices[name] = SelectionSlider(
                options=options, value=value, description=name, continuous_update=False
            )

        def update(_: Any = None) -> None:
            self.set(**{name: choice.value for name, choice in choices.items()})
            picture.value, text.value = _png(self.figure()), self.text
            for sound, audio in zip(sounds, (self.seams(), self.estimate), strict=True):
                sound.value = flac_bytes(audio, self.config.sample_rate)

        for choice in choices.values():
            choice.observe(update, "value")
        update()
        labels = Label("all seams"), Label(f"{self.stem}, all of it")
        rows = map(HBox, zip(labels, sounds, strict=True))
        return VBox([*choices.values(), text, picture, *rows])

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"ChunkLab({self.stem}, {settings}): {self.text}"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Live widgets, and the picture for places that cannot show them."""
        figure = self.figure()
        picture = base64.b64encode(_png(figure)).decode()
        live = self.box._repr_mimebundle_() or {}
        data = {**live, "text/plain": repr(self), "image/png": picture}
        return data, {"image/png": {"alt": figure.alt}}


def _png(figure: Figure) -> bytes:
    figure.savefig(file := io.BytesIO(), format="png")
    return file.getvalue()
