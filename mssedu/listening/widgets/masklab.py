"""A mask on a spectrogram, by rule and by hand, and what it lets through.

    mixture ──stft──▶ spectrogram ─────────────────┬──× mask ──istft──▶ result
                        │ sources, threshold       │
                        └─▶ soft_masks ──▶ strokes ┘   removed = mixture − result

The rule is the soft mask of the package with one more competitor, a floor: a bin goes
to the target as far as the target is louder there than all else and than the floor.
With one source it is a gate; a large exponent makes it binary. Strokes of a brush then
set what they cover to 1 or 0. Notebook: 03.
"""

from collections.abc import Mapping
from typing import Any

import torch
import traitlets
from torch import Tensor

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.listening.widgets.base import ListeningWidget, joined
from mssedu.listening.widgets.brush import paint
from mssedu.listening.widgets.pictures import Axis, axes, level_image, palette, to_bytes
from mssedu.listening.widgets.sounds import check_sounds
from mssedu.masks import apply_mask, soft_masks
from mssedu.metrics.ratios import usdr
from mssedu.spectral import istft, stft

LOWEST_DB = -120.0  # a floor that no music reaches: the rule compares sources only
HIGHEST_EXPONENT = 20.0  # as good as binary


class MaskLab(ListeningWidget):
    """Make a mask, see it on the spectrogram and hear the result at once.

    Attributes:
        threshold_db: the floor, in dB against the loudest bin, -120 … 0.
        exponent: of `soft_masks`, 0.25 … 20.
        target: which source is wanted; empty without sources.
        strokes: what the brush did, as `mssedu.listening.widgets.brush.paint` takes it.
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
            target: the stem wanted; the first if None.
            n_fft, hop_length: as in `mssedu.spectral.stft`.

        Raises:
            InputError: an unknown target, or as `Player`.

        Example:
            >>> MaskLab(torch.rand(1, 8000), 8000)
            MaskLab(sample_rate=8000, seconds=1.0, threshold_db=-60.0, exponent=2.0)
        """
        if sources and "mixture" in sources:
            remedy = "Leave the mixture out of the sources."
            raise InputError(message("MaskLab", "sources", [*sources], remedy))
        given = {"mixture": mixture, **(sources or {})}
        self._sources = check_sounds("MaskLab", given, sample_rate)
        self._mixture = self._sources.pop("mixture")
        self._hop_length = hop_length
        self._spectrogram = stft(self._mixture, n_fft, hop_length)
        each = [stft(s, n_fft, hop_length) for s in self._sources.values()]
        self._magnitude = torch.stack(each or [self._spectrogram]).abs()
        self._axis = Axis(sample_rate, self._spectrogram.shape[-2])
        self.target = next(iter(self._sources), "") if target is None else target
        sounds, mask, caption = self._separate()
        image = level_image(self._spectrogram, self._axis)
        super().__init__(
            {"mixture": self._mixture, **sounds},
            sample_rate,
            data={"picture": to_bytes(image), "palette": palette(), "mask": mask},
            _picture=axes(image.shape[1], hop_length),
            _targets=[*self._sources],
            _caption=caption,
        )
        settings = ["threshold_db", "exponent", "target", "strokes"]
        self.observe(self._update, names=settings)

    @property
    def result(self) -> Tensor:
        """What the mask lets through, (channels, samples)."""
        return self._sounds["result"]

    @property
    def removed(self) -> Tensor:
        """What the mask takes away, (channels, samples)."""
        return self._sounds["removed"]

    def paint(
        self,
        value: float,
        points: list[tuple[float, float]],
        *,
        seconds: float = 0.1,
        octaves: float = 0.25,
    ) -> None:
        """One stroke of the brush, as the mouse would do it.

        Args:
            value: 1 keeps what it covers, 0 removes it.
            points: (seconds, Hz) along the stroke.
            seconds, octaves: half width and half height of the brush.

        Raises:
            InputError: a value outside 0 … 1, or a brush without size.
        """
        check_range("value", value, 0, 1)
        check_range("seconds", seconds, 0, low_open=True)
        check_range("octaves", octaves, 0, low_open=True)
        stroke = {
            "value": value,
            "points": [list(point) for point in points],
            "seconds": seconds,
            "octaves": octaves,
        }
        self.strokes = [*self.strokes, stroke]

    def facts(self) -> str:
        """Rate, length and the settings of the rule."""
        size = f"sample_rate={self.sample_rate}, seconds={self.seconds:.1f}"
        rule = f"threshold_db={self.threshold_db:.1f}, exponent={self.exponent:.1f}"
        strokes = f", strokes={len(self.strokes)}" if self.strokes else ""
        target = f", target={self.target!r}" if self.target else ""
        return f"{size}, {rule}{target}{strokes}"

    @traitlets.validate("threshold_db", "exponent")
    def _in_range(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, float(proposal["value"])
        low, high = {
            "threshold_db": (LOWEST_DB, 0.0),
            "exponent": (0.25, HIGHEST_EXPONENT),
        }[name]
        check_range(name, value, low, high)
        return value

    @traitlets.validate("target")
    def _known(self, proposal: Any) -> str:
        return check_name("target", proposal["value"], self._sources or [""])

    def _update(self, _: Any) -> None:
        """A setting has changed: send what follows from it."""
        sounds, mask, self._caption = self._separate()
        self._replace(sounds, mask=mask)

    def _separate(self) -> tuple[dict[str, Tensor], bytes, str]:
        """Make the mask and use it: sounds, the mask's picture, a line about them."""
        self.mask = self._make_mask()
        masked = apply_mask(self.mask[None], self._spectrogram)[0]
        samples = self._mixture.shape[-1]
        result = istft(masked, self._hop_length, length=samples)
        sounds = {"result": result, "removed": self._mixture - result}
        if self.target:
            sounds["reference"] = self._sources[self.target]
        rows = self._axis.rows(self.mask.mean(0).double())
        return sounds, to_bytes(rows), self._describe(result)

    def _make_mask(self) -> Tensor:
        """The rule's mask with the strokes on it, (channels, bins, frames)."""
        loudest = self._spectrogram.abs().max()
        floor = loudest * 10 ** (self.threshold_db / 20)
        competitors = torch.cat(
            [self._magnitude, floor.expand(1, *self._spectrogram.shape)]
        )
        place = [*self._sources].index(self.target) if self.target else 0
        mask = soft_masks(competitors, self.exponent)[place]
        return paint(mask, self.strokes, self._axis.sample_rate, self._hop_length)

    def _describe(self, result: Tensor) -> str:
        energy = float(self._mixture.square().sum())
        share = float(result.square().sum()) / energy if energy else 0.0
        text = f"The result has {100 * share:.1f} % of the mixture's energy."
        if self.target and self._sources[self.target].any():
            score = float(usdr(reference=self._sources[self.target], estimate=result))
            text += f" Its usdr as {self.target} is {score:.2f} dB."
        elif self.target:
            text += f" True {self.target} is silent, so there is no usdr."
        return text
