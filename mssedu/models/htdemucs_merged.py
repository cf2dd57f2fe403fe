"""HTDemucs with the merge of Hybrid Demucs: without a transformer, or with its parts.

Three of the fourteen variants bring back what HTDemucs dropped: the branches merge at
one bin, and deeper levels are shared. Variant c has no transformer at all. In p and i
the transformer is taken apart: cross-attention relates the branches before they merge,
self-attention works on what they share, and the decoder mirrors both.

    mixture (batch, channels, samples), in eval mode with zeros up to `segment`
      │ as in HDemucs: two normalized inputs, a spectrogram and a waveform
      │ 3 levels, /stride ▸ DConv ▸ GLU    │ 3 levels, /stride ▸ DConv ▸ GLU
      │ ◂────────── p, i: cross-attention ──────────▸ │
      │ to the last bins: the other levels │
      │ all bins to 1 ▸ + ◂────────────────┘
    (batch, width, 1 bin, frames)
      │ p, i: self-attention, before the deepest level
      │ shared levels over time, down and up
      │ p, i: self-attention, after the deepest level
      ├────────────────────────────────────┐ the branches part
      │ ◂────────── p, i: cross-attention ──────────▸ │
      │ 3 levels, ×stride, with skips      │ 3 levels, ×stride, with skips
      └────────────────── + ───────────────┘
    estimate (batch, stems, channels, samples)

Paper: none; the parts are those of Défossez 2021 and Rouard et al. 2023, see hdemucs.py
    and htdemucs.py.
Origin: github.com/piusssss/demucs_learn (MIT), HTDemucs_c, _p and _i. Our parameter
    counts and layers are equal, and equal weights give equal waveforms.
Differences: a mixture longer than `segment` is computed as it is.
Flaws of the record: in p, encoder and decoder use the same two transformers; with
    `own_transformers` each has its own, as in i. In i, a frame starts half a hop too
    early. The skips of the time branch come from before the cross-attention, those of
    the frequency branch from after it. The decoder starts with the deepest level and
    adds it once more as its skip. The norm for a time branch that self-attention does
    not have is stored, and not trained.
Left out: nothing of the record.
Notebook: 16.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    climb,
    descend,
    fill_segment,
    hybrid_istft,
    hybrid_stft,
    normalize,
)
from mssedu.models.blocks.transformer import CrossDomainTransformer, SelfTransformer
from mssedu.models.contract import check_config
from mssedu.models.hdemucs import HDemucs
from mssedu.spectral import channels_as_complex, complex_as_channels

NORM_GROUPS = 4
CROSS_LEVELS = 3  # above the cross-attention

LARGEST = {
    "n_fft": 2**20,
    "widths": 16384,
    "kernel_size": 4096,
    "stride": 4096,
    "shared_stride": 4,
    "norm_starts": 99,
    "dconv_depths": 16,
    "dconv_init": 100,
    "rescale": 100,
    "t_self_layers": 99,
    "t_cross_layers": 99,
    "t_self_heads": 999,
    "t_cross_heads": 999,
    "t_hidden_scale": 99,
}  # values of a config, see check_config


@dataclass(frozen=True)
class HTDemucsCConfig:
    """The defaults are those of variant c."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 10.0  # seconds; the length in training, and the limit in inference
    n_fft: int = 8192
    widths: tuple[int, ...] = (38, 76, 152, 304, 608, 1216)  # channels of each level
    kernel_size: int = 16  # of the levels before the merge
    stride: int = 4
    shared_stride: int = 2  # of the levels after the merge, whose kernel is 4
    norm_starts: int = 4  # first level with group norms, counted from 0
    dconv_depths: tuple[int, ...] = (2, 2)  # of a DConv before, and after, the merge
    dconv_init: float = 1e-3  # first value of its LayerScale
    rescale: float = 0.1  # deviation that the first weights come closer to

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_range("stride", self.stride, 2)
        if self.stride % 2:
            raise InputError(f"stride must be even, got {self.stride}.")
        check_range("shared_stride", self.shared_stride, 1)
        check_range("norm_starts", self.norm_starts, 1)
        check_range("dconv_init", self.dconv_init, 0)
        check_range("rescale", self.rescale, 0, low_open=True)
        if len(self.dconv_depths) != 2 or min(self.dconv_depths) < 1:
            raise InputError(
                "dconv_depths must be two numbers of at least 1, for the levels before "
                f"and after the merge, got {self.dconv_depths}."
            )
        self._check_kernels()
        self._check_widths()

    def _check_kernels(self) -> None:
        spare = self.kernel_size - self.stride
        if spare < 0 or spare % 2:
            raise InputError(
                f"kernel_size must be stride {self.stride} plus an even number, got "
                f"{self.kernel_size}."
            )
        if self.shared_stride == 3:
            raise InputError("shared_stride must be 1, 2 or 4, got 3.")
        hop_length = self.stride ** (self.n_apart + 1)
        fits = self.n_fft in (2 * hop_length, 4 * hop_length, 8 * hop_length)
        if not fits or not self.n_apart:
            raise InputError(
                f"n_fft must be 2, 4 or 8 times stride {self.stride} to the power of "
                f"the levels, {self.n_apart + 1} here, until kernel_size "
                f"{self.kernel_size} covers all bins, got {self.n_fft}. Then both "
                "branches have the same frames where they merge."
            )

    def _check_widths(self) -> None:
        check_range("len(widths)", len(self.widths), self.n_apart + 2)
        for level, width in enumerate(self.widths):
            check_range("widths", width, 16)  # DConv has an eighth, and at least 2
            has_norm = self.norm_starts < self.depth and level >= self.norm_starts - 1
            if has_norm and width % NORM_GROUPS:
                raise InputError(
                    f"widths: {width} channels at level {level} cannot be divided into "
                    f"{NORM_GROUPS} groups for the norms, which start at level "
                    f"norm_starts {self.norm_starts}. Use a multiple of {NORM_GROUPS}."
                )

    @property
    def segment_limit(self) -> float:
        """Seconds; the longest mixture in training."""
        return self.segment

    @property
    def depth(self) -> int:
        """Levels, including those that both branches share."""
        return len(self.widths)

    @property
    def n_apart(self) -> int:
        """Levels before the branches merge, where one kernel covers all bins."""
        bins, n = self.n_fft // 2, 0
        while bins > self.kernel_size:
            bins, n = bins // self.stride, n + 1
        return n

    @property
    def bins_at_merge(self) -> int:
        """Bins that are left where the branches merge."""
        return self.n_fft // 2 // self.stride**self.n_apart

    @property
    def hops(self) -> int:
        """Hops in a window: at the merge, a frame is one step of the time branch."""
        return self.n_fft // self.stride ** (self.n_apart + 1)

    def layer(self, level: int) -> dict[str, Any]:
        """Arguments of the encoder layer of a level, but for its sizes."""
        depth = self.dconv_depths[level > self.n_apart]
        dconv = {"compress": 8, "depth": depth, "init": self.dconv_init}
        n_groups = NORM_GROUPS if level >= self.norm_starts else 0
        return {"n_groups": n_groups, "dconv": dconv}


@dataclass(frozen=True)
class HTDemucsPConfig(HTDemucsCConfig):
    """Variant p: the usual sizes of HDemucs, and the transformer in two parts."""

    segment: float = 8.0
    n_fft: int = 4096
    widths: tuple[int, ...] = (40, 80, 160, 320, 640, 1280)
    kernel_size: int = 8
    t_self_layers: int = 3
    t_cross_layers: int = 1
    t_self_heads: int = 8
    t_cross_heads: int = 8
    t_hidden_scale: float = 4.0  # width of the feed-forward parts / features
    own_transformers: bool = False  # whether the decoder has others than the encoder

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("t_self_layers", "t_cross_layers"):
            check_range(name, getattr(self, name), 1)
        check_range("t_hidden_scale", self.t_hidden_scale, 0, low_open=True)
        for name, width in (("cross", self.cross_width), ("self", self.widths[-2])):
            heads = getattr(self, f"t_{name}_heads")
            check_range(f"t_{name}_heads", heads, 1)
            if width % 4 or width % heads:
                raise InputError(
                    f"widths: {width} features for {name}-attention must be a multiple "
                    f"of 4 and of t_{name}_heads {heads}."
                )

    @property
    def cross_width(self) -> int:
        """Channels of both branches where cross-attention relates them."""
        return self.widths[min(CROSS_LEVELS, self.n_apart) - 1]


@dataclass(frozen=True)
class HTDemucsIConfig(HTDemucsPConfig):
    """Variant i: regular, four transformers of their own, and six mixing weights."""

    segment: float = 4.0
    n_fft: int = 8192
    widths: tuple[int, ...] = (148, 296, 592, 592, 592, 592)
    kernel_size: int = 16
    stride: int = 8
    shared_stride: int = 1
    norm_starts: int = 2
    dconv_depths: tuple[int, ...] = (3, 5)
    dconv_init: float = 5e-2
    rescale: float = 0.2
    t_self_layers: int = 2
    t_cross_layers: int = 2
    t_self_heads: int = 16
    t_hidden_scale: float = 2.0
    own_transformers: bool = True


PRESETS = {
    "htdemucs_c": {
        "paper": HTDemucsCConfig(),
        "tiny": HTDemucsCConfig(segment=2.0, n_fft=2048, widths=(16, 24, 32, 48, 64)),
    },
    "htdemucs_p": {
        "paper": HTDemucsPConfig(),
        "tiny": HTDemucsPConfig(
            segment=2.0, n_fft=1024, widths=(16, 24, 32, 48, 64), t_self_layers=1
        ),
    },
    "htdemucs_i": {
        "paper": HTDemucsIConfig(),
        "tiny": HTDemucsIConfig(
            segment=2.0, widths=(16, 32, 48, 48, 48, 48), t_self_layers=1
        ),
    },
}


class HTDemucsC(HDemucs):
    """HTDemucs without a transformer: the branches merge, as in Hybrid Demucs."""

    config: HTDemucsCConfig

    def __init__(self, config: HTDemucsCConfig) -> None:
        super().__init__(config)
        self.n_cross = min(CROSS_LEVELS, config.n_apart)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        padded = mixture
        if not self.training:
            padded = fill_segment(mixture, config.segment, config.sample_rate)
        spectrogram = hybrid_stft(padded, config.n_fft, config.hops)
        freq, (freq_mean, freq_std) = normalize(complex_as_channels(spectrogram))
        time, (time_mean, time_std) = normalize(padded)
        freq, time = self.pass_levels(freq, time)
        freq, time = freq * freq_std + freq_mean, time * time_std + time_mean
        stems = (len(config.stems), -1)  # and the channels of each
        freq, time = freq.unflatten(1, stems), time.unflatten(1, stems)
        freq = channels_as_complex(freq)
        estimate = hybrid_istft(freq, padded.shape[-1], config.hops) + time
        return estimate[..., : mixture.shape[-1]]

    def pass_levels(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches, down and up: inputs -> outputs, with the channels of stems."""
        n, cross = self.config.n_apart, self.n_cross
        first = self.freq_emb(self.encoder[0](freq))
        freq_levels = [freq, *descend(self.encoder[1:cross], first)]
        time_levels = descend(self.tencoder[:cross], time)
        freq, time = self.relate_down(freq_levels.pop(), time_levels[-1])
        freq_levels += descend(self.encoder[cross:n], freq)
        deeper = descend(self.tencoder[cross:n], time)
        time_levels += deeper[1:]
        freq, time = self.merge(freq_levels[-1], deeper[-1])
        up, up_t = self.decoder[-n:], self.tdecoder[-n:]
        freq = climb(up[: n - cross], freq, freq_levels[cross:])
        time = climb(up_t[: n - cross], time, time_levels[cross:])
        freq, time = self.relate_up(freq, time)
        freq = climb(up[n - cross :], freq, freq_levels[: cross + 1])
        return freq, climb(up_t[n - cross :], time, time_levels[: cross + 1])

    def merge(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """As in HDemucs, but the decoder starts with the deepest level, not with zeros.

        (batch, width, bins, frames), (batch, width, stride · frames), the last levels
        of one branch alone -> the inputs of both decoders, in the same shapes.
        """
        n = self.config.n_apart
        merged = self.encoder[n](freq, self.tencoder[-1](time))
        # One bin is left, so this is (batch, width, frames).
        levels = descend(self.encoder[n + 1 : -1], merged.squeeze(2))
        levels[-1] = self.gather_down(levels[-1])
        levels.append(self.encoder[-1](levels[-1]))
        x = self.decoder[0](levels[-1], levels[-2].shape[2], levels[-1])
        x = climb(self.decoder[1 : -n - 1], self.gather_up(x), levels[:-1])
        part = cast(DecoderLayer, self.decoder[-n - 1])
        shared = part.gather(x.unsqueeze(2), levels[0].unsqueeze(2))
        freq = part.grow(shared, freq.shape[2])
        return freq, self.tdecoder[0](shared.squeeze(2), time.shape[2])

    def relate_down(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention in the encoder; c has none."""
        return freq, time

    def relate_up(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention in the decoder; c has none."""
        return freq, time

    def gather_down(self, x: Tensor) -> Tensor:
        """Self-attention before the deepest level; c has none."""
        return x

    def gather_up(self, x: Tensor) -> Tensor:
        """Self-attention after the deepest level; c has none."""
        return x


class HTDemucsP(HTDemucsC):
    """HTDemucs with its transformer taken apart, around the merge of the branches."""

    config: HTDemucsPConfig

    def __init__(self, config: HTDemucsPConfig) -> None:
        super().__init__(config)
        self.cross_down, self.self_down = self.transformers()
        if config.own_transformers:
            self.cross_up, self.self_up = self.transformers()
        n_unused = 2 * config.widths[-2] * (2 if config.own_transformers else 1)
        self.unused = nn.Parameter(torch.zeros(n_unused), requires_grad=False)

    def transformers(self) -> tuple[CrossDomainTransformer, SelfTransformer]:
        """Cross-attention and self-attention, with new weights."""
        config, scale = self.config, self.config.t_hidden_scale
        return (
            CrossDomainTransformer(
                config.cross_width,
                config.t_cross_layers,
                config.t_cross_heads,
                scale,
                cross_only=True,
            ),
            SelfTransformer(
                config.widths[-2], config.t_self_layers, config.t_self_heads, scale
            ),
        )

    def relate_down(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention in the encoder."""
        return self.cross_down(freq, time)

    def relate_up(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention in the decoder."""
        if self.config.own_transformers:
            return self.cross_up(freq, time)
        return self.cross_down(freq, time)

    def gather_down(self, x: Tensor) -> Tensor:
        """Self-attention before the deepest level."""
        return self.self_down(x)

    def gather_up(self, x: Tensor) -> Tensor:
        """Self-attention after the deepest level."""
        return self.self_up(x) if self.config.own_transformers else self.self_down(x)


class HTDemucsI(HTDemucsP):
    """As p, but learned weights mix the output of a transformer with its input."""

    def __init__(self, config: HTDemucsIConfig) -> None:
        super().__init__(config)
        self.mix_freq = nn.Parameter(torch.zeros(2))  # of encoder and decoder
        self.mix_time = nn.Parameter(torch.zeros(2))
        self.mix_shared = nn.Parameter(torch.zeros(2))

    def relate_down(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention in the encoder, mixed with its input."""
        new, new_t = super().relate_down(freq, time)
        return mix(freq, new, self.mix_freq[0]), mix(time, new_t, self.mix_time[0])

    def relate_up(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-attention in the decoder, mixed with its input."""
        new, new_t = super().relate_up(freq, time)
        return mix(freq, new, self.mix_freq[1]), mix(time, new_t, self.mix_time[1])

    def gather_down(self, x: Tensor) -> Tensor:
        """Self-attention before the deepest level, mixed with its input."""
        return mix(x, super().gather_down(x), self.mix_shared[0])

    def gather_up(self, x: Tensor) -> Tensor:
        """Self-attention after the deepest level, mixed with its input."""
        return mix(x, super().gather_up(x), self.mix_shared[1])


def mix(old: Tensor, new: Tensor, weight: Tensor) -> Tensor:
    """σ(weight) · new + (1 - σ(weight)) · old."""
    return torch.lerp(old, new, weight.sigmoid())
