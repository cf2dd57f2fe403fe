"""A mixer for stems, and for the residual between the mixture and their sum.

    stem ─▶ fader, mute, solo ─▶ pan ─┐
    stem ─▶ …                         ├─▶ sum ─▶ meter, clip light
    residual = mixture − Σ stems ─▶ … ┘

The browser mixes the sound. `StemMixer.mix` computes the same mix in Python with the
same formulas, to save or measure it. Notebook: 01.
"""

import math
from collections.abc import Mapping

import torch
import traitlets
from torch import Tensor

from mssedu.audio.tensors import rms_db
from mssedu.errors import InputError
from mssedu.figures.style import COLORS
from mssedu.listening.widgets.base import ListeningWidget, joined
from mssedu.listening.widgets.sounds import check_sounds

LOWEST_DB, HIGHEST_DB = -60.0, 6.0  # range of a fader; the lowest value is off
RESIDUAL = "residual"
INAUDIBLE_DB = -90.0  # a residual below this is a rounding error


class StemMixer(ListeningWidget):
    """A mixing desk for stems: fader, pan, mute, solo and a meter for each.

    Attributes:
        gains_db: stem -> dB of its fader.
        pans: stem -> -1 (left) … 1 (right).
        muted, soloed: stems; while any stem is soloed, only soloed stems are audible.
    """

    _esm = joined("timeline.js", "mixer.js")
    gains_db = traitlets.Dict().tag(sync=True)
    pans = traitlets.Dict().tag(sync=True)
    muted: traitlets.List[str] = traitlets.List().tag(sync=True)
    soloed: traitlets.List[str] = traitlets.List().tag(sync=True)
    _colors = traitlets.Dict().tag(sync=True)
    _caption = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        stems: Mapping[str, Tensor],
        sample_rate: int,
        mixture: Tensor | None = None,
    ) -> None:
        """Show stems as strips.

        Args:
            stems: stem -> (channels, samples), all of one shape.
            sample_rate: Hz, 8000 … 96000.
            mixture: (channels, samples); adds a strip with the residual, which is the
                mixture minus the sum of the stems. It is muted at first; with it, the
                sum of all strips is the mixture.

        Raises:
            InputError: a stem called "residual" beside a mixture, or as `Player`.

        Example:
            >>> StemMixer({"bass": torch.rand(1, 80), "drums": torch.rand(1, 80)}, 8000)
            StemMixer(n=2, sample_rate=8000, seconds=0.0)
        """
        strips = dict(stems)
        self.residual_db: float | None = None  # RMS relative to the mixture
        if mixture is not None:
            if RESIDUAL in strips:
                raise InputError(
                    f"stems has a stem {RESIDUAL!r}, which is also the name of the "
                    "strip for the mixture. Rename the stem, or leave the mixture out."
                )
            checked = check_sounds({**stems, RESIDUAL: mixture}, sample_rate)
            whole = checked.pop(RESIDUAL)
            residual = whole - torch.stack([*checked.values()]).sum(0)
            strips[RESIDUAL] = residual
            self.residual_db = _relative_db(residual, whole)
        super().__init__(
            strips,
            sample_rate,
            gains_db=dict.fromkeys(strips, 0.0),
            pans=dict.fromkeys(strips, 0.0),
            muted=[] if mixture is None else [RESIDUAL],
            _colors={stem: COLORS.get(stem, COLORS["reference"]) for stem in strips},
            _caption=self._residual_text(),
        )

    def mix(self) -> Tensor:
        """The mix at the current settings, without the volume of the page.

        Returns:
            (2, samples); full scale is ±1, and the clip light shows a sum beyond it.
        """
        total = torch.zeros(2, int(self._shape["samples"]))
        for stem, sound in self._sounds.items():
            audible = stem in self.soloed if self.soloed else stem not in self.muted
            if audible:
                gain = gain_of(float(self.gains_db[stem]))
                total += gain * panned(sound, float(self.pans[stem]))
        return total

    def _residual_text(self) -> str:
        if self.residual_db is None:
            return ""
        if self.residual_db < INAUDIBLE_DB:
            return "The stems sum to the mixture, within the precision of 16 bits."
        return f"Mixture − sum of stems: {self.residual_db:.1f} dB of the mixture."


def gain_of(fader_db: float) -> float:
    """The factor of a fader: 10^(dB/20), and 0 at its lower end."""
    return 0.0 if fader_db <= LOWEST_DB else 10 ** (fader_db / 20)


def panned(sound: Tensor, pan: float) -> Tensor:
    """A sound moved to one side, with the formula of the browser's StereoPannerNode.

    The far channel is faded out with a cosine and added to the near channel with a
    sine, which keeps its power. Mono counts as two equal channels.

    Args:
        sound: (channels 1 or 2, samples).
        pan: -1 (left) … 1 (right); 0 changes nothing.

    Returns:
        (2, samples).

    Source: W3C, "Web Audio API", StereoPannerNode, panning algorithm.
    """
    left, right = sound.expand(2, -1)
    angle = (pan + 1 if pan <= 0 else pan) * math.pi / 2
    if pan <= 0:
        return torch.stack([left + right * math.cos(angle), right * math.sin(angle)])
    return torch.stack([left * math.cos(angle), right + left * math.sin(angle)])


def _relative_db(sound: Tensor, reference: Tensor) -> float:
    """RMS of a sound relative to that of another, dB; -inf for silence."""
    return float(rms_db(sound) - rms_db(reference)) if sound.any() else -math.inf
