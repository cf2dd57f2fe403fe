"""HTDemucs with other levels: wider kernels, fewer or more steps, a longer window.

Five of the fourteen variants change the two U-Nets of HTDemucs level by level and leave
the rest as it is. A stride of 8 reaches the transformer in fewer steps; kernels that
halve downsample fast and convolve finely afterwards; kernels that double do the
opposite. Two learned weights per model decide how much of the transformer is used.

    mixture (batch, channels, samples), in eval mode with zeros up to `segment`
      │ as in HTDemucs: two normalized inputs, a spectrogram and a waveform
    (batch, 2 · channels, 4096, frames)    (batch, channels, samples)
      │ levels: `widths`, `kernels`, `strides`, along bins and along time
    (batch, widths[-1], bins, frames)      (batch, widths[-1], samples / product)
      │ x = σ(w) · transformer(x) + (1 - σ(w)) · x, a weight w for each branch
      │ the levels upwards, with skips
      └────────────────── + ───────────────┘
    estimate (batch, stems, channels, samples)

    name | levels: width, kernel / stride                              | transformer
    s    | 96 16/8, 192 16/8, 384 16/8                                 | 3 layers, wide
    d    | 128 16/8, 256 8/4 ×2, 256 4/2 ×2, 512 2/1                   | 3 layers
    d2   | 108 16/8, 216 8/4 ×2, 432 4/2 ×2, 864 4/2                   | 3 layers
    d3   | 24 32/4, 60 32/4, 120 16/2, 240 16/2, 360 8/2               | none
    d4   | 64 8/4, 96 8/4, 144 16/4, 216 16/4, 432 32/4                | 3 layers

Paper: none; the parts are those of Rouard et al. 2023, see htdemucs.py.
Origin: github.com/piusssss/demucs_learn (MIT), HTDemucs_s, _d, _d2, _d3 and _d4. Our
    parameter counts and layers are equal, and equal weights give equal waveforms.
Differences: a mixture longer than `segment` is computed as it is.
Flaws of the record: d, d2 and d4 hold weights for two more transformers that they do
    not have; d3 has no transformer, but all six weights. These are stored, and not
    trained.
Left out: the two more transformers, as all five have 0 layers there.
Notebook: 16.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_range
from mssedu.models.contract import check_config
from mssedu.models.htdemucs import HTDemucs

NORM_GROUPS = 4

LARGEST = {
    "n_fft": 2**20,
    "hops": 8,
    "widths": 16384,
    "kernels": 4096,
    "strides": 4096,
    "norm_starts": 99,
    "dconv_init": 100,
    "t_layers": 99,
    "t_heads": 999,
    "t_hidden_scale": 99,
    "rescale": 100,
}  # values of a config, see check_config


def _check_levels(
    widths: tuple[int, ...], kernels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Raise InputError unless a decoder layer can undo what its encoder layer does."""
    if not len(widths) == len(kernels) == len(strides) > 0:
        raise InputError(
            "widths, kernels and strides must have one number for each level, got "
            f"{len(widths)}, {len(kernels)} and {len(strides)} numbers."
        )
    for kernel, stride in zip(kernels, strides, strict=True):
        check_range("strides", stride, 1)
        if kernel < stride or (stride > 1 and (kernel - stride) % 2):
            raise InputError(
                f"kernels: {kernel} does not fit the stride {stride}. A kernel must be "
                "at least as long as its stride, and longer by an even number."
            )


def _check_widths(widths: tuple[int, ...], norm_starts: int) -> None:
    """Raise InputError unless DConv and the group norms can divide the widths."""
    for level, width in enumerate(widths):
        check_range("widths", width, 16)  # DConv has an eighth of it, and at least 2
        has_norm = norm_starts < len(widths) and level >= norm_starts - 1
        if has_norm and width % NORM_GROUPS:
            raise InputError(
                f"widths: {width} channels at level {level} cannot be divided into "
                f"{NORM_GROUPS} groups for the norms, which start at level "
                f"norm_starts {norm_starts}. Use a multiple of {NORM_GROUPS}."
            )


@dataclass(frozen=True)
class HTDemucsSConfig:
    """The defaults are those of variant s; the other variants change some of them."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 10.0  # seconds; the length in training, and the limit in inference
    n_fft: int = 8192
    hops: int = 8  # in a window: 2, 4 or 8
    widths: tuple[int, ...] = (96, 192, 384)  # channels of each level
    kernels: tuple[int, ...] = (16, 16, 16)
    strides: tuple[int, ...] = (8, 8, 8)
    norm_starts: int = 3  # first level with group norms, counted from 0
    dconv_init: float = 1e-3  # first value of its LayerScale
    t_layers: int = 3  # of the transformer; 0: none
    t_heads: int = 8
    t_hidden_scale: float = 10.0  # width of the feed-forward parts / widths[-1]
    rescale: float = 0.1  # deviation that the first weights come closer to

    bottom_channels, dropout = 0, 0.0
    unused_weights = 0  # numbers in the record's model that nothing reads

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        if self.hops not in (2, 4, 8):
            raise InputError(f"hops must be 2, 4 or 8, got {self.hops}.")
        check_range("norm_starts", self.norm_starts, 1)
        check_range("dconv_init", self.dconv_init, 0)
        check_range("rescale", self.rescale, 0, low_open=True)
        check_range("t_layers", self.t_layers, 0)
        check_range("t_heads", self.t_heads, 1)
        check_range("t_hidden_scale", self.t_hidden_scale, 0, low_open=True)
        _check_levels(self.widths, self.kernels, self.strides)
        _check_widths(self.widths, self.norm_starts)
        if self.t_width % 4 or self.t_width % self.t_heads:
            raise InputError(
                f"widths ends with {self.t_width} features for the transformer; they "
                f"must be a multiple of 4 and of t_heads {self.t_heads}."
            )
        unit = 2 * prod(self.strides)
        if self.n_fft < 1 or self.n_fft % unit or not self._bins_suffice():
            raise InputError(
                f"n_fft must be a multiple of {unit}, the product of the strides times "
                f"2, with as many bins at each level as its kernel, got {self.n_fft}."
            )

    def _bins_suffice(self) -> bool:
        bins = self.n_fft // 2
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            padded = bins + 2 * ((kernel - stride) // 2)
            if padded < kernel:
                return False
            bins = (padded - kernel) // stride + 1
        return True

    @property
    def segment_limit(self) -> float:
        """Seconds; the transformer was trained with no positions further apart."""
        return self.segment

    @property
    def t_width(self) -> int:
        """Features of a position in the transformer."""
        return self.widths[-1]

    def layer(self, level: int, decoder: bool) -> dict[str, Any]:
        """Arguments of the encoder layer, or of the decoder layer, of a level."""
        return {
            "kernel_size": self.kernels[level],
            "stride": self.strides[level],
            "n_groups": NORM_GROUPS if level >= self.norm_starts else 0,
            "dconv": None if decoder else {"compress": 8, "init": self.dconv_init},
        }


@dataclass(frozen=True)
class HTDemucsDConfig(HTDemucsSConfig):
    """Kernels and strides halve: fast downsampling first, then fine convolution."""

    segment: float = 4.0
    hops: int = 4
    widths: tuple[int, ...] = (128, 256, 256, 256, 256, 512)
    kernels: tuple[int, ...] = (16, 8, 8, 4, 4, 2)
    strides: tuple[int, ...] = (8, 4, 4, 2, 2, 1)
    norm_starts: int = 4
    dconv_init: float = 1e-2
    t_heads: int = 4
    t_hidden_scale: float = 2.0
    rescale: float = 0.2

    unused_weights = 4


@dataclass(frozen=True)
class HTDemucsD2Config(HTDemucsDConfig):
    """As d, but the width grows in three steps, and the last level has a stride."""

    segment: float = 10.0
    widths: tuple[int, ...] = (108, 216, 216, 432, 432, 864)
    kernels: tuple[int, ...] = (16, 8, 8, 4, 4, 4)
    strides: tuple[int, ...] = (8, 4, 4, 2, 2, 2)
    dconv_init: float = 3e-3
    t_heads: int = 8
    t_hidden_scale: float = 1.0
    rescale: float = 0.15


@dataclass(frozen=True)
class HTDemucsD3Config(HTDemucsD2Config):
    """Narrow levels with very wide kernels, that halve, and no transformer."""

    hops: int = 8
    widths: tuple[int, ...] = (24, 60, 120, 240, 360)
    kernels: tuple[int, ...] = (32, 32, 16, 16, 8)
    strides: tuple[int, ...] = (4, 4, 2, 2, 2)
    norm_starts: int = 45
    t_layers: int = 0

    unused_weights = 6


@dataclass(frozen=True)
class HTDemucsD4Config(HTDemucsDConfig):
    """Kernels double: the deeper a level, the longer the time that it covers."""

    segment: float = 10.0
    hops: int = 8
    widths: tuple[int, ...] = (64, 96, 144, 216, 432)
    kernels: tuple[int, ...] = (8, 8, 16, 16, 32)
    strides: tuple[int, ...] = (4, 4, 4, 4, 4)
    norm_starts: int = 5
    dconv_init: float = 1e-3
    t_heads: int = 8
    t_hidden_scale: float = 1.0
    rescale: float = 0.1


PRESETS = {
    "htdemucs_s": {
        "paper": HTDemucsSConfig(),
        "tiny": HTDemucsSConfig(
            segment=2.0, n_fft=2048, widths=(16, 32, 48), t_layers=2, t_heads=4
        ),
    },
    "htdemucs_d": {
        "paper": HTDemucsDConfig(),
        "tiny": HTDemucsDConfig(
            segment=2.0, n_fft=4096, widths=(16, 24, 24, 24, 24, 48)
        ),
    },
    "htdemucs_d2": {
        "paper": HTDemucsD2Config(),
        "tiny": HTDemucsD2Config(
            segment=2.0, n_fft=4096, widths=(16, 24, 24, 48, 48, 64)
        ),
    },
    "htdemucs_d3": {
        "paper": HTDemucsD3Config(),
        "tiny": HTDemucsD3Config(segment=2.0, n_fft=2048, widths=(16, 16, 24, 32, 48)),
    },
    "htdemucs_d4": {
        "paper": HTDemucsD4Config(),
        "tiny": HTDemucsD4Config(segment=2.0, n_fft=4096, widths=(16, 20, 24, 24, 32)),
    },
}


class HTDemucsS(HTDemucs):
    """HTDemucs in three wide steps, and a weight for what the transformer changes."""

    def __init__(self, config: HTDemucsSConfig) -> None:
        super().__init__(config)
        n_unused = config.unused_weights
        self.unused = nn.Parameter(torch.zeros(n_unused), requires_grad=False)
        if config.t_layers:
            self.weight_freq = nn.Parameter(torch.zeros(()))
            self.weight_time = nn.Parameter(torch.zeros(()))

    def relate(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the transformer, if any, and mix its output with its input."""
        if not self.config.t_layers:
            return freq, time
        related, related_t = super().relate(freq, time)
        return (
            torch.lerp(freq, related, self.weight_freq.sigmoid()),
            torch.lerp(time, related_t, self.weight_time.sigmoid()),
        )


class HTDemucsD(HTDemucsS):
    """HTDemucs with kernels that halve: fast downsampling, then fine convolution."""


class HTDemucsD2(HTDemucsS):
    """HTDemucs with kernels that halve, wider where the steps are fine."""


class HTDemucsD3(HTDemucsS):
    """HTDemucs without a transformer: narrow levels with very wide kernels."""


class HTDemucsD4(HTDemucsS):
    """HTDemucs with kernels that double: the deeper a level, the wider its view."""
