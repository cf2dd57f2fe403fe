"""HTDemucs-nc: the time branch of HTDemucs alone, deeper and with smaller steps.

The question of this variant is what the waveform gives without any spectrogram. It has
no STFT and no transformer: seven levels halve the time, where four levels of HTDemucs
divide it by four. Each level, down and up, has a DConv in place of convolutions with
GLU.

    mixture (batch, channels, samples), in eval mode with zeros up to `segment`
      │ to mean 0, deviation 1
      │ 7 × convolution over time, /2, 24 … 1536 wide ▸ norm from level 4 ▸ GELU ▸ DConv
    (batch, 1536, samples / 128)
      │ 7 × + skip ▸ DConv ▸ transposed convolution, ×2 ▸ norm ▸ GELU (not in the last)
      │ mean, deviation back
    estimate (batch, stems, channels, samples)

Paper: none; the parts are those of Défossez 2021, see hdemucs.py.
Origin: github.com/piusssss/demucs_learn (MIT), HTDemucs_nc. Our parameter count and
    layers are equal, and equal weights give equal waveforms.
Differences: a mixture longer than `segment` is computed as it is.
Left out: nothing of the record.
Notebook: 16.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.dconv import rescale_
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    climb,
    descend,
    fill_segment,
    normalize,
)
from mssedu.models.contract import check_config

NORM_GROUPS = 4

LARGEST = {
    "width": 16384,
    "depth": 16,
    "kernel_size": 4096,
    "stride": 4096,
    "norm_starts": 99,
    "dconv_compress": 16384,
    "dconv_init": 100,
}  # values of a config, see check_config


@dataclass(frozen=True)
class HTDemucsNCConfig:
    """The defaults are those of the record."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 10.0  # seconds; the length in training, and the limit in inference
    width: int = 24  # channels of the first level, doubled at each further one
    depth: int = 7  # levels
    kernel_size: int = 8
    stride: int = 2
    norm_starts: int = 4  # first level with group norms, counted from 0
    dconv_compress: float = 8  # DConv has so many times fewer channels than its level
    dconv_init: float = 1e-3  # first value of its LayerScale

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        for name in ("depth", "stride", "norm_starts"):
            check_range(name, getattr(self, name), 1)
        check_range("dconv_init", self.dconv_init, 0)
        check_range("width", self.width, NORM_GROUPS)
        check_range("dconv_compress", self.dconv_compress, 1, self.width / 2)
        spare = self.kernel_size - self.stride
        if spare < 0 or (self.stride > 1 and spare % 2):
            raise InputError(
                f"kernel_size must be stride {self.stride} plus an even number, got "
                f"{self.kernel_size}."
            )
        if self.norm_starts <= self.depth and self.width * 2**self.norm_starts % 8:
            raise InputError(
                f"width {self.width} gives levels with norms a number of channels that "
                f"{NORM_GROUPS} groups cannot share. Use a multiple of {NORM_GROUPS}."
            )

    @property
    def segment_limit(self) -> float:
        """Seconds; the longest mixture in training."""
        return self.segment


PRESETS = {
    "paper": HTDemucsNCConfig(),
    "tiny": HTDemucsNCConfig(segment=2.0, width=12, depth=5, dconv_compress=4),
}


class HTDemucsNC(nn.Module):
    """One U-Net over time; see above."""

    def __init__(self, config: HTDemucsNCConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.depth)]
        channels, n_out = config.channels, config.channels * len(config.stems)
        self.tencoder = nn.ModuleList(
            EncoderLayer(n_in, width, **_layer(config, level))
            for level, (n_in, width) in enumerate(pairwise((channels, *widths)))
        )
        self.tdecoder = nn.ModuleList(
            DecoderLayer(width, above, last=level == 0, **_layer(config, level))
            for level, (above, width) in reversed(
                [*enumerate(pairwise((n_out, *widths)))]
            )
        )
        rescale_(self, 0.1)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        padded = mixture
        if not self.training:
            padded = fill_segment(mixture, config.segment, config.sample_rate)
        time, (mean, std) = normalize(padded)
        levels = descend(self.tencoder, time)
        time = climb(self.tdecoder, levels[-1], levels) * std + mean
        estimate = time.unflatten(1, (len(config.stems), -1))
        return estimate[..., : mixture.shape[-1]]


def _layer(config: HTDemucsNCConfig, level: int) -> dict[str, Any]:
    """What the encoder layer and the decoder layer of a level have in common."""
    return {
        "freq": False,
        "kernel_size": config.kernel_size,
        "stride": config.stride,
        "n_groups": NORM_GROUPS if level >= config.norm_starts else 0,
        "dconv": {"compress": config.dconv_compress, "init": config.dconv_init},
        "rewrite": False,
    }
