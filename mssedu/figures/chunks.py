"""Figures of chunked inference: the places of the chunks, and the error they cause.

    chunks_figure   share of each chunk over time, and below it the error over time
    ChunkLab        the same with sliders for segment, overlap, window and context, and
                    with the sound of the seams

The error is the difference from the whole song in one pass. It measures the cutting
into chunks, not the model. A notebook shows a live `ChunkLab` in a browser with widgets
and a kernel. Elsewhere, such as in a stored notebook, it shows the first picture.
Notebook: 12.
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
from mssedu.figures.style import COLORS, grid
from mssedu.models.contract import config_of
from mssedu.separation.chunks import Chunks, plan_chunks, with_segment
from mssedu.separation.config import SeparateConfig
from mssedu.separation.tensors import separate

FLOOR_DB = -150.0  # float32 does not resolve smaller errors
_PIECE_SECONDS = 0.005  # each point of the error curve is the mean of so much
_POINTS = 200  # points of the share of a chunk
_SHADES = (COLORS["drums"], COLORS["vocals"], COLORS["bass"])  # neighbors differ
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
        reference: (channels, samples).
        estimate: (channels, samples).

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
) -> Figure:
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
    figure, cells = grid(3.8, 2, sharex=True, height_ratios=(1, 2))
    upper, lower = cells[:, 0]
    for index, (start, share) in enumerate(_shares(chunks)):
        places = torch.linspace(0, len(share) - 1, _POINTS).round().long()
        seconds = ((start + places) / sample_rate).numpy()
        upper.fill_between(
            seconds, share[places].numpy(), alpha=0.35, color=_SHADES[index % 3]
        )
    step = max(1, round(_PIECE_SECONDS * sample_rate))
    levels = _levels(reference, estimate, step)
    seconds = ((torch.arange(len(levels)) + 0.5) * step / sample_rate).numpy()
    lower.plot(seconds, levels.numpy(), color=COLORS["mixture"], linewidth=0.8)
    for seam in chunks.seams:
        for axes in (upper, lower):
            axes.axvline(seam / sample_rate, color="#999999", linestyle=":", lw=0.8)
    upper.set(ylabel="Share", ylim=(0, 1.05))
    lower.set(xlabel="Time (seconds)", ylabel="Error (dB re whole pass)")
    lower.set_ylim(FLOOR_DB, 5)
    lower.set_xlim(0, chunks.samples / sample_rate)
    lower.grid(alpha=0.3)
    return figure


def _shares(chunks: Chunks) -> list[tuple[int, Tensor]]:
    """(first sample, share of every sample) of each chunk; the shares sum to one."""
    total, weights = torch.zeros(chunks.samples), []
    for start in chunks.starts:
        begin, end = chunks.output_range(start)
        weight = chunks.weight[begin - start : end - start]
        total[begin:end] += weight
        weights.append((begin, weight))
    return [(begin, w / total[begin : begin + len(w)]) for begin, w in weights]


def _levels(reference: Tensor, estimate: Tensor, step: int) -> Tensor:
    """Error of each `step` samples relative to the mean power of the reference, dB."""
    power = (estimate - reference).double().square().mean(0)
    whole = power[: len(power) // step * step].reshape(-1, step).mean(1)
    mean = reference.double().square().mean().clamp_min(1e-30)
    return (10 * (whole / mean).clamp_min(1e-30).log10()).clamp_min(FLOOR_DB)


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
        settings: dict[str, Any] = {
            "segment": segment,
            "overlap": overlap,
            "window": window,
            "context": context,
        }
        samples = self.mixture.shape[-1]
        config = with_segment(SeparateConfig(**settings), self.config, samples)
        self.chunks = plan_chunks(self.config, samples, config)
        self.estimate = separate(self.model, self.mixture, **settings)[self.row]
        self.settings = settings

    @property
    def text(self) -> str:
        """Number of chunks, work and error in one line."""
        level = error_db(reference=self.reference, estimate=self.estimate)
        lengths = [
            end - begin
            for begin, end in map(self.chunks.input_range, self.chunks.starts)
        ]
        work = sum(lengths) / self.chunks.samples
        return f"{len(lengths)} chunks, {work:.2f} × the samples, error {level:.1f} dB"

    def figure(self) -> Figure:
        """Shares of the chunks and the error over time."""
        return chunks_figure(
            self.chunks,
            self.config.sample_rate,
            reference=self.reference,
            estimate=self.estimate,
        )

    def seams(self) -> Tensor:
        """Half a second of the estimate around each seam, faded, one after another.

        Returns:
            (channels, samples): at most twelve seams, or the whole estimate if there
            are none.
        """
        half = round(_SEAM_SECONDS * self.config.sample_rate / 2)
        fade = torch.hann_window(2 * half).clamp_max(0.1) / 0.1
        places = [
            s for s in self.chunks.seams if half <= s <= self.chunks.samples - half
        ]
        parts = [fade * self.estimate[:, s - half : s + half] for s in places]
        return torch.cat(parts[:_MOST_SEAMS], dim=1) if parts else self.estimate

    @cached_property
    def box(self) -> Any:
        """The widgets: four sliders, a line of text, the picture and two sounds."""
        import ipywidgets

        picture, text = ipywidgets.Image(format="png"), ipywidgets.HTML()
        sounds = [
            ipywidgets.Audio(format="flac", autoplay=False, loop=False)
            for _ in range(2)
        ]
        choices = {name: self._choice(name) for name in _CHOICES}

        def update(_: Any = None) -> None:
            self.set(**{name: choice.value for name, choice in choices.items()})
            picture.value, text.value = _png(self.figure()), self.text
            for sound, audio in zip(sounds, (self.seams(), self.estimate), strict=True):
                sound.value = flac_bytes(audio, self.config.sample_rate)

        for choice in choices.values():
            choice.observe(update, "value")
        update()
        labels = map(ipywidgets.Label, ("all seams", f"{self.stem}, all of it"))
        rows = map(ipywidgets.HBox, zip(labels, sounds, strict=True))
        return ipywidgets.VBox([*choices.values(), text, picture, *rows])

    def _choice(self, name: str) -> Any:
        """A slider over the values of a setting, including its present value."""
        import ipywidgets

        value = self.settings[name]
        options = list(_CHOICES[name])
        if value not in options:
            options = sorted([*options, value])
        return ipywidgets.SelectionSlider(
            options=options, value=value, description=name, continuous_update=False
        )

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"ChunkLab({self.stem}, {settings}): {self.text}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Live widgets, and the picture for places that cannot show them."""
        picture = base64.b64encode(_png(self.figure())).decode()
        live = self.box._repr_mimebundle_() or {}
        return {**live, "text/plain": repr(self), "image/png": picture}


def _png(figure: Figure) -> bytes:
    figure.savefig(file := io.BytesIO(), format="png")
    return file.getvalue()
