"""A mask on a spectrogram, made by a rule and with a brush, and its result.

    mixture ──stft──▶ spectrogram ─────────────────┬──× mask ──istft──▶ result
                        │ sources, threshold       │
                        └─▶ soft_masks ──▶ strokes ┘   removed = mixture − result

The rule is `soft_masks` with one more source, a constant floor: the mask is near 1 in
bins where the target is louder than all other sources and than the floor. Without
sources the mixture is compared with the floor, which makes a gate; a large exponent
makes the mask binary. Then strokes of a brush set the bins below them to 1 or 0:

    stroke = {"value": 1, "points": [(0.5, 440.0), …], "seconds": 0.1, "octaves": 0.25}

Each point makes an ellipse, with its height in octaves, because the picture and the ear
are logarithmic in frequency. Seconds and Hz fit every transform. Notebook: 03.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from mssedu.errors import InputError, check_name, check_range
from mssedu.listening.widgets.base import ListeningWidget, joined
from mssedu.listening.widgets.pictures import (
    axes,
    level_image,
    octave_rows,
    palette,
    to_bytes,
)
from mssedu.listening.widgets.sounds import RAW_SECONDS, check_sounds
from mssedu.listening.widgets.still import Control, Lane
from mssedu.masks import apply_mask, soft_masks
from mssedu.metrics.ratios import usdr
from mssedu.spectral import istft, stft

# A floor of -120 dB is below all music, so the rule compares sources only; an exponent
# of 20 makes a nearly binary mask.
RANGES = {"threshold_db": (-120.0, 0.0), "exponent": (0.25, 20.0)}

Point = Sequence[float]  # (seconds, Hz)


class MaskLab(ListeningWidget):
    """Make a mask, see it on the spectrogram and listen to the result at once.

    Attributes:
        threshold_db: the floor in dB relative to the loudest bin, -120 … 0.
        exponent: of `soft_masks`, 0.25 … 20.
        target: the source that the mask selects; empty without sources.
        strokes: of the brush, as for `mssedu.listening.widgets.paint`.
        mask: (channels, bins, frames), 0 … 1.
        result, removed: (channels, samples); they sum to the mixture.
    """

    _esm = joined("timeline.js", "picture.js", "brush.js", "masklab.js")
    threshold_db = traitlets.Float(-60.0).tag(sync=True)
    exponent = traitlets.Float(2.0).tag(sync=True)
    target = traitlets.Unicode("").tag(sync=True)
    strokes: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    _targets: traitlets.List[str] = traitlets.List().tag(sync=True)
    _picture = traitlets.Dict().tag(sync=True)
    _caption = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        mixture: Tensor,
        sample_rate: int,
        sources: Mapping[str, Tensor] | None = None,
        *,
        target: str | None = None,
        n_fft: int = 2048,
        hop_length: int = 512,
    ) -> None:
        """Show a mixture's spectrogram under a mask.

        Args:
            mixture: (channels, samples), mono or stereo, at most 30 s.
            sample_rate: Hz, 8000 … 96000.
            sources: stem -> (channels, samples); with them the mask is an oracle.
            target: the stem that the mask selects; None: the first.
            n_fft, hop_length: as in `mssedu.spectral.stft`.

        Raises:
            InputError: an unknown target, more than 30 s, or as `Player`.

        Example:
            >>> MaskLab(torch.rand(1, 8000), 8000)
            MaskLab(sample_rate=8000, seconds=1.0, threshold_db=-60.0, exponent=2.0)
        """
        if sources and "mixture" in sources:
            raise InputError(
                "a source is called 'mixture'. Leave the mixture out of the sources."
            )
        sounds = {"mixture": mixture, **(sources or {})}
        # All masks and results are computed and sent anew after each change.
        self._sources = check_sounds(sounds, sample_rate, RAW_SECONDS)
        self._mixture = self._sources.pop("mixture")
        self._rate, self._hop_length = sample_rate, hop_length
        self._spectrogram = stft(self._mixture, n_fft, hop_length)
        each = [stft(s, n_fft, hop_length) for s in self._sources.values()]
        self._magnitude = torch.stack(each or [self._spectrogram]).abs()
        self.target = next(iter(self._sources), "") if target is None else target
        results, mask, caption = self._separate()
        image = level_image(self._spectrogram, sample_rate)
        super().__init__(
            {"mixture": self._mixture, **results},
            sample_rate,
            data={"picture": to_bytes(image), "palette": palette(), "mask": mask},
            _picture=axes(image.shape[1], hop_length),
            _targets=[*self._sources],
            _caption=caption,
        )
        self.observe(self._update, names=[*RANGES, "target", "strokes"])

    @property
    def result(self) -> Tensor:
        """The mixture times the mask, (channels, samples)."""
        return self._sounds["result"]

    @property
    def removed(self) -> Tensor:
        """The mixture minus the result, (channels, samples)."""
        return self._sounds["removed"]

    def paint(
        self,
        value: float,
        points: list[tuple[float, float]],
        *,
        seconds: float = 0.1,
        octaves: float = 0.25,
    ) -> None:
        """Paint one stroke, as with the mouse.

        Args:
            value: 0 … 1, of the mask; 1 keeps the bins below the stroke.
            points: (seconds, Hz) along the stroke.
            seconds, octaves: half width and half height of the brush.
        """
        check_range("value", value, 0, 1)
        check_range("seconds", seconds, 0, low_open=True)
        check_range("octaves", octaves, 0, low_open=True)
        brush = {"value": value, "seconds": seconds, "octaves": octaves}
        stroke = {**brush, "points": [list(point) for point in points]}
        self.strokes = [*self.strokes, stroke]

    def _lanes(self) -> list[Lane]:
        """The spectrogram, darker where the mask removes, in a few large pixels."""
        image = level_image(self._spectrogram, self._rate)
        image *= octave_rows(self.mask.mean(0).double(), self._rate)
        small = torch.nn.functional.adaptive_avg_pool2d(image[None], (27, 65))[0]
        return [Lane("mixture × mask", small.numpy())]

    def _controls(self) -> list[Control]:
        heard: list[Control] = [("button", name) for name in self._names]
        tools: list[Control] = [("button", name) for name in ("Keep", "Remove", "Undo")]
        rule: list[Control] = [("slider", "Threshold"), ("slider", "Exponent")]
        return [*super()._controls(), *heard, *rule, *tools]

    def _facts(self) -> str:
        size = f"sample_rate={self.sample_rate}, seconds={self.seconds:.1f}"
        rule = f"threshold_db={self.threshold_db:.1f}, exponent={self.exponent:.1f}"
        strokes = f", strokes={len(self.strokes)}" if self.strokes else ""
        target = f", target={self.target!r}" if self.target else ""
        return f"{size}, {rule}{target}{strokes}"

    @traitlets.validate("threshold_db", "exponent")
    def _in_range(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, float(proposal["value"])
        check_range(name, value, *RANGES[name])
        return value

    @traitlets.validate("target")
    def _known(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name or self._sources:
            check_name("target", name, self._sources)
        return name

    def _update(self, _: Any) -> None:
        sounds, mask, self._caption = self._separate()
        self._replace(sounds, mask=mask)

    def _separate(self) -> tuple[dict[str, Tensor], bytes, str]:
        """Make and apply the mask: the sounds, its picture, and a caption."""
        loudest = self._spectrogram.abs().max()
        floor = loudest * 10 ** (self.threshold_db / 20)
        floors = floor.expand(1, *self._spectrogram.shape)
        place = [*self._sources].index(self.target) if self.target else 0
        competitors = torch.cat([self._magnitude, floors])
        mask = soft_masks(competitors, self.exponent)[place]
        self.mask = paint(mask, self.strokes, self._rate, self._hop_length)
        masked = apply_mask(self.mask[None], self._spectrogram)[0]
        result = istft(masked, self._hop_length, length=self._mixture.shape[-1])
        sounds = {"result": result, "removed": self._mixture - result}
        if self.target:
            sounds["reference"] = self._sources[self.target]
        rows = octave_rows(self.mask.mean(0).double(), self._rate)
        return sounds, to_bytes(rows), self._describe(result)

    def _describe(self, result: Tensor) -> str:
        energy = float(self._mixture.square().sum())
        share = float(result.square().sum()) / energy if energy else 0.0
        text = f"The result has {100 * share:.1f} % of the mixture's energy."
        if not self.target:
            return text
        reference = self._sources[self.target]
        if not reference.any():
            return f"{text} True {self.target} is silent, so there is no usdr."
        score = float(usdr(reference=reference, estimate=result))
        return f"{text} Its usdr as {self.target} is {score:.2f} dB."


def paint(
    mask: Tensor,
    strokes: Sequence[Mapping[str, Any]],
    sample_rate: int,
    hop_length: int,
) -> Tensor:
    """The mask with strokes on it; later strokes replace earlier ones.

    Args:
        mask: (channels, bins, frames), 0 … 1; it is not changed.
        strokes: each with the value for the mask, points (seconds, Hz), and half the
            width (seconds) and half the height (octaves) of the brush.
        sample_rate: Hz.
        hop_length: samples between frames.

    Example:
        >>> dot = {"value": 1, "points": [(0, 2000)], "seconds": 0.1, "octaves": 0.1}
        >>> paint(torch.zeros(1, 5, 2), [dot], 8000, 4000)[0, :, 0]
        tensor([0., 0., 1., 0., 0.])
    """
    mask = mask.clone()
    _, bins, frames = mask.shape
    seconds = torch.arange(frames) * hop_length / sample_rate
    step_hz = sample_rate / 2 / (bins - 1)
    # Bin 0 has no logarithm; it counts as half a bin.
    octaves = (torch.arange(bins).clamp_min(0.5) * step_hz).log2()
    for stroke in strokes:
        width, height = stroke["seconds"], stroke["octaves"]
        for second, hz in _dense(stroke["points"], width, height):
            across = (seconds - second) / width
            up = (octaves - torch.tensor(max(hz, 1.0)).log2()) / height
            mask[:, across.square() + up.square()[:, None] <= 1] = stroke["value"]
    return mask


def _dense(points: Sequence[Point], width: float, height: float) -> Iterator[Point]:
    """The points, and more points between them, at most half a brush apart."""
    if points:
        yield points[0]
    for (t0, f0), (t1, f1) in itertools.pairwise(points):
        low, high = torch.tensor([max(f0, 1.0), max(f1, 1.0)]).log2().tolist()
        apart = max(abs(t1 - t0) / width, abs(high - low) / height)
        n = max(1, round(2 * apart + 0.5))
        for i in range(1, n + 1):
            yield t0 + (t1 - t0) * i / n, 2 ** (low + (high - low) * i / n)
