"""Players for one sound, for several versions of it, and for stems.

    Player      one sound: waveform, spectrogram and one cursor over both
    ABSwitch    several versions, switched while they play
    StemMixer   stem ─▶ fader, mute, solo ─▶ pan ─┐
                stem ─▶ …                         ├─▶ sum ─▶ meter, clip light
                residual = mixture − Σ stems ─▶ … ┘

All sounds of a widget run in sync from the first sample on, so a switch changes the
version and not the position. A blind switch has letters only, and gets the names when
they are revealed. The browser mixes the stems; `StemMixer.mix` computes the same mix in
Python with the same formulas, to save or measure it. Notebooks: 01, 13.
"""

import math
import random
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

import torch
import traitlets
from torch import Tensor

from mssedu.audio.tensors import peak_db, rms_db
from mssedu.errors import InputError
from mssedu.figures.style import COLORS
from mssedu.listening.widgets.base import ListeningWidget, joined
from mssedu.listening.widgets.pictures import axes, palette, picture
from mssedu.listening.widgets.sounds import check_sounds
from mssedu.listening.widgets.still import Control, Lane, wave

MOST = 9  # sounds of a switch, one for each of the keys 1 … 9
LOWEST_DB = -60.0  # the lower end of a fader is off; its upper end is 6 dB
RESIDUAL = "residual"
INAUDIBLE_DB = -90.0  # a residual below this is a rounding error


class Player(ListeningWidget):
    """A sound with its waveform and its spectrogram, at its true level.

    Drag to mark a loop, click to go to a position; "Keys" on the page lists the keys.
    """

    _esm = joined("timeline.js", "picture.js", "player.js")
    _picture = traitlets.Dict().tag(sync=True)  # frames, hop_length, lowest_hz, range
    _caption = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        audio: Tensor,
        sample_rate: int,
        label: str = "",
        *,
        n_fft: int = 2048,
        hop_length: int = 512,
    ) -> None:
        """Show one sound.

        Args:
            audio: (channels, samples), mono or stereo.
            sample_rate: Hz, 8000 … 96000.
            label: name of the sound on the page.
            n_fft, hop_length: of the picture, as in `mssedu.spectral.stft`; above 8192
                frames, a column of the picture is the mean of several.

        Raises:
            InputError: a wrong shape, NaN or Inf, more than 1 GB in the browser, or as
                `stft`.

        Example:
            >>> Player(torch.rand(2, 44100), 44100, "noise")
            Player('noise', sample_rate=44100, seconds=1.0)
        """
        self.label = label
        ready = check_sounds({label: audio}, sample_rate)[label]
        image, frames, step = picture(ready, sample_rate, n_fft, hop_length)
        level = f"peak {float(peak_db(ready)):.1f} dBFS" if ready.any() else "silent"
        super().__init__(
            {label: ready},
            sample_rate,
            data={"picture": image, "palette": palette()},
            _picture=axes(frames, step),
            _caption=f"{('mono', 'stereo')[len(ready) - 1]}, {sample_rate} Hz, {level}",
        )

    def _controls(self) -> list[Control]:
        return [*super()._controls(), ("button", "spectrogram")]

    def _facts(self) -> str:
        label = f"{self.label!r}, " if self.label else ""
        return f"{label}sample_rate={self.sample_rate}, seconds={self.seconds:.1f}"


class ABSwitch(ListeningWidget):
    """Switch between sounds with the keys 1 … 9; space starts and pauses.

    Attributes:
        order: labels in the order of the keys 1, 2, …
        blind: whether the names are still hidden.
    """

    _esm = joined("timeline.js", "switch.js")
    blind = traitlets.Bool(False).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)  # index in `order` of the audible sound

    def __init__(
        self,
        sounds: Mapping[str, Tensor],
        sample_rate: int,
        blind: bool = False,
        *,
        seed: int = 0,
    ) -> None:
        """Show versions of one sound.

        Args:
            sounds: label -> (channels, samples), 2 … 9 of one shape. Unless you compare
                levels, use `mssedu.listening.widgets.match_loudness` first.
            sample_rate: Hz, 8000 … 96000.
            blind: hide the names and shuffle the order until `reveal`.
            seed: of the order; choose another one for each listener.

        Raises:
            InputError: fewer than 2 or more than 9 sounds, or as `Player`.

        Example:
            >>> sounds = {"mp3": torch.rand(1, 80), "flac": torch.rand(1, 80)}
            >>> ABSwitch(sounds, 8000, blind=True, seed=1).reveal()
            {'A': 'flac', 'B': 'mp3'}
        """
        if not 2 <= len(sounds) <= MOST:
            raise InputError(
                f"ABSwitch compares 2 … {MOST} sounds, got {len(sounds)}. Compare more "
                "sounds in several rounds."
            )
        self.order = list(sounds)
        if blind:
            random.Random(seed).shuffle(self.order)
        ordered = {label: sounds[label] for label in self.order}
        names = [*ascii_uppercase[: len(sounds)]] if blind else self.order
        super().__init__(ordered, sample_rate, blind=blind, _names=names)

    def reveal(self) -> dict[str, str]:
        """Show the names; returns letter -> label."""
        self._names = self.order
        self.blind = False
        return dict(zip(ascii_uppercase, self.order, strict=False))

    def _lanes(self) -> list[Lane]:
        if self.blind:  # a waveform would show which version it is
            return [Lane(name) for name in self._names]
        return super()._lanes()

    def _controls(self) -> list[Control]:
        keys: list[Control] = [
            ("button", f"{key} {name}") for key, name in enumerate(self._names, 1)
        ]
        return [*super()._controls(), *keys]

    def _on_message(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        super()._on_message(_, content, buffers)
        if content.get("kind") == "reveal":
            self.reveal()


class StemMixer(ListeningWidget):
    """A mixing desk for stems: fader, pan, mute, solo and a meter for each.

    Attributes:
        gains_db: stem -> dB of its fader.
        pans: stem -> -1 (left) … 1 (right).
        muted, soloed: stems; while any stem is soloed, only soloed stems are audible.
        residual_db: RMS of the residual relative to the mixture; None without mixture.
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
        strips, caption = dict(stems), ""
        self.residual_db: float | None = None
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
            level = float(rms_db(residual) - rms_db(whole))
            level = level if residual.any() else -math.inf
            caption = f"Mixture − sum of stems: {level:.1f} dB of the mixture."
            if level < INAUDIBLE_DB:
                caption = "The stems sum to the mixture, to the precision of 16 bits."
            self.residual_db = level
        super().__init__(
            strips,
            sample_rate,
            gains_db=dict.fromkeys(strips, 0.0),
            pans=dict.fromkeys(strips, 0.0),
            muted=[] if mixture is None else [RESIDUAL],
            _colors={stem: COLORS.get(stem, COLORS["reference"]) for stem in strips},
            _caption=caption,
        )

    def _lanes(self) -> list[Lane]:
        colors = self._colors
        return [Lane(k, wave(s), colors[k]) for k, s in self._sounds.items()]

    def _controls(self) -> list[Control]:
        each: list[Control] = [
            ("button", "Mute"),
            ("button", "Solo"),
            ("slider", "Fader"),
        ]
        return [*super()._controls(), *each, ("slider", "Pan")]

    def mix(self) -> Tensor:
        """The mix at the current settings, without the volume of the page.

        Returns:
            (2, samples); full scale is ±1, and the clip light shows a sum beyond it.
        """
        total = torch.zeros(2, int(self._shape["samples"]))
        for stem, sound in self._sounds.items():
            if stem in self.soloed if self.soloed else stem not in self.muted:
                gain = gain_of(float(self.gains_db[stem]))
                total += gain * panned(sound, float(self.pans[stem]))
        return total


def gain_of(fader_db: float) -> float:
    """The factor of a fader: 10^(dB/20), and 0 at its lower end."""
    return 0.0 if fader_db <= LOWEST_DB else 10 ** (fader_db / 20)


def panned(sound: Tensor, pan: float) -> Tensor:
    """A sound moved to -1 (left) … 1 (right): (1 or 2, samples) to (2, samples).

    The far channel is faded out with a cosine and added to the near channel with a
    sine, which keeps its power. Mono counts as two equal channels.

    Source: W3C, "Web Audio API", StereoPannerNode, panning algorithm.
    """
    left, right = sound.expand(2, -1)
    angle = (pan + 1 if pan <= 0 else pan) * math.pi / 2
    if pan <= 0:
        return torch.stack([left + right * math.cos(angle), right * math.sin(angle)])
    return torch.stack([left * math.cos(angle), right + left * math.sin(angle)])
