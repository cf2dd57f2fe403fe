"""Hybrid Demucs (v3): a U-Net on the spectrogram and one on the waveform, merged.

A spectrogram shows notes well and a waveform shows attacks well, so each has a U-Net of
its own. After five encoder levels, along bins in one and along time in the other, both
have the same number of steps; there they are added, share the deepest level, and part
again in the decoder. Each branch estimates all stems, and the two waveforms are added.

    mixture (batch, channels, samples)
      │ STFT, reflected ends               │
    real, imaginary as channels            │
    (batch, 2 · channels, 2048, frames)    (batch, channels, samples)
      │ to mean 0, deviation 1             │ to mean 0, deviation 1
      │ 4 × over bins, /4 ▸ DConv ▸ GLU    │ 4 × over time, /4 ▸ DConv ▸ GLU
      │   the first: + embedding of bins   │
    (batch, 384, 8 bins, frames)           (batch, 384, samples / 256)
      │ 8 bins to 1 ▸ + ◂──────────────────┘ over time, /4
      │ DConv with BiLSTM and attention ▸ GLU
    (batch, 768, 1 bin, frames)
      │ over time, /2 ▸ DConv with BiLSTM and attention ▸ GLU
    (batch, 1536, frames / 2)
      │ GLU ▸ over time, ×2 ▸ + skip ▸ GLU
      ├────────────────────────────────────┐ (batch, 768, frames)
      │ 1 bin to 8                         │ over time, ×4
      │ 4 × + skip ▸ GLU ▸ over bins, ×4   │ 4 × + skip ▸ GLU ▸ over time, ×4
      │ mean, deviation back ▸ iSTFT       │ mean, deviation back
      └────────────────── + ───────────────┘
    estimate (batch, stems, channels, samples)

Paper: Défossez 2021, "Hybrid spectrogram and waveform source separation" (MDX workshop
    at ISMIR).
Origin: github.com/adefossez/demucs (MIT), releases 3.0.6 and 4.1.0, class HDemucs. The
    same weights give the same waveforms (tests/parity), with `from_torchaudio` also
    those of torchaudio's bundles.
Differences: a mono mixture of one sample gives numbers, not NaN.
Left out: masks on the magnitude with a Wiener filter, separate weights for bands of
    frequency, and single branches, as only models of older ensembles have them.
Notebook: 10.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.dconv import rescale_
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FirstConvolution,
    FrequencyEmbedding,
    LastConvolution,
    climb,
    descend,
    hybrid_istft,
    hybrid_stft,
    normalize,
)
from mssedu.models.contract import check_config
from mssedu.spectral import channels_as_complex, complex_as_channels

STRIDE = 4  # of all levels except the shared ones
HEADS = 4  # of each attention


LARGEST = {
    "n_fft": 2**20,
    "width": 16384,
    "depth": 16,
    "norm_starts": 16,
    "norm_groups": 16384,
    "dconv_depth": 16,
    "dconv_compress": 16384,
    "dconv_init": 100,
    "context_starts": 16,
}  # values of a config, see check_config


@dataclass(frozen=True)
class HDemucsConfig:
    """The defaults are the published hdemucs_mmi and torchaudio's hdemucs_high."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 11.0  # seconds; the length in training
    n_fft: int = 4096  # a power of 4, as each level divides the bins by 4
    width: int = 48  # channels of the first level, doubled at each further one
    depth: int = 6  # levels, including those that both branches share
    norm_starts: int = 4  # first level with group norms, counted from 0
    norm_groups: int = 4
    dconv_depth: int = 2
    dconv_compress: float = 4  # DConv has so many times fewer channels than its level
    dconv_init: float = 1e-3  # first value of its LayerScale
    context_starts: int = 4  # first level whose DConv has BiLSTM and attention

    hops = 4  # in a window
    rescale = 0.1  # deviation that the first weights of convolutions come closer to
    kernel_size, stride = 8, STRIDE  # of the levels of one branch
    shared_stride = 2

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        if self.n_fft < 64 or 4 * STRIDE ** (self.n_apart + 1) != self.n_fft:
            raise InputError(
                f"n_fft must be a power of 4 and at least 64, got {self.n_fft}."
            )
        check_range("depth", self.depth, self.n_apart + 1)
        for name in ("dconv_depth", "dconv_init", "context_starts"):
            check_range(name, getattr(self, name), 0)
        for name in ("norm_starts", "width", "norm_groups", "dconv_compress"):
            check_range(name, getattr(self, name), 1)
        for level, width in enumerate(self.widths):
            self._check_level(level, width)

    def _check_level(self, level: int, width: int) -> None:
        compress = f"dconv_compress {self.dconv_compress:g}"
        narrow = int(width / self.dconv_compress)
        # The last decoder layer with norms leads to the level above.
        if level >= self.norm_starts - 1 and width % self.norm_groups:
            problem = f"norm_groups {self.norm_groups} must divide it"
        elif level >= self.context_starts and narrow % HEADS:
            problem = f"with {compress} it gives {narrow} channels for {HEADS} heads"
        elif narrow < 2:  # a norm over one channel and one frame would give 0
            problem = f"it must be at least twice {compress}"
        else:
            return
        raise InputError(
            f"width {self.width} gives {width} channels at level {level}: {problem}."
        )

    @property
    def n_apart(self) -> int:
        """Levels before the branches merge, where 8 bins are left."""
        return (self.n_fft.bit_length() - 1) // 2 - 2

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top down."""
        return tuple(self.width * 2**level for level in range(self.depth))

    @property
    def bins_at_merge(self) -> int:
        """Bins that are left where the branches merge."""
        return 2 * STRIDE

    def layer(self, level: int) -> dict[str, Any]:
        """Arguments of the encoder layer of a level, but for its sizes."""
        has_context = level >= self.context_starts
        dconv = {
            "compress": self.dconv_compress,
            "depth": self.dconv_depth,
            "init": self.dconv_init,
            "lstm": has_context,
            "attention": has_context,
        }
        n_groups = self.norm_groups if level >= self.norm_starts else 0
        return {"n_groups": n_groups, "dconv": dconv}


class MergedBranches(Protocol):
    """What HDemucs reads from a config: variants of HTDemucs have their own."""

    @property
    def stems(self) -> tuple[str, ...]: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def segment(self) -> float: ...
    @property
    def n_fft(self) -> int: ...
    @property
    def hops(self) -> int: ...
    @property
    def rescale(self) -> float: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def depth(self) -> int: ...
    @property
    def n_apart(self) -> int: ...
    @property
    def bins_at_merge(self) -> int: ...
    @property
    def kernel_size(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def shared_stride(self) -> int: ...
    def layer(self, level: int) -> dict[str, Any]: ...


PRESETS = {
    "paper": HDemucsConfig(),
    "tiny": HDemucsConfig(
        segment=6.0, n_fft=1024, width=8, depth=5, norm_starts=3, context_starts=3
    ),
}


def layer_pair(
    config: MergedBranches, level: int, channels: int, **shape: Any
) -> tuple[EncoderLayer, DecoderLayer]:
    """The encoder layer and the decoder layer of one level, counted from 0.

    Args:
        channels: of the branch's input.
        **shape: freq, kernel_size, stride and pad of both layers.
    """
    n_in, width = (channels, *config.widths)[level : level + 2]
    n_out = n_in if level else channels * len(config.stems)
    layer = config.layer(level)
    encoder = EncoderLayer(n_in, width, **layer, **shape)
    layer["dconv"] = None  # the decoder has none
    return encoder, DecoderLayer(width, n_out, last=level == 0, **layer, **shape)


class HDemucs(nn.Module):
    """Two branches that merge and part; see above."""

    def __init__(self, config: MergedBranches) -> None:
        super().__init__()
        self.config = config
        n, channels = config.n_apart, 2 * config.channels  # real and imaginary parts
        apart = {"kernel_size": config.kernel_size, "stride": config.stride}
        # At the merge, one kernel covers all bins that are left.
        merge: dict[str, Any] = {
            "kernel_size": config.bins_at_merge,
            "stride": config.stride,
        }
        shared = {"kernel_size": 4, "stride": config.shared_stride}
        pairs = [
            *(layer_pair(config, i, channels, freq=True, **apart) for i in range(n)),
            layer_pair(config, n, channels, freq=True, pad=False, **merge),
            *(
                layer_pair(config, i, channels, freq=False, **shared)
                for i in range(n + 1, config.depth)
            ),
        ]
        self.encoder = nn.ModuleList(down for down, _ in pairs)
        self.decoder = nn.ModuleList(up for _, up in reversed(pairs))
        channels = config.channels
        pairs = [layer_pair(config, i, channels, freq=False, **apart) for i in range(n)]
        above, width = config.widths[n - 1 : n + 1]
        n_groups = config.layer(n)["n_groups"]
        join = FirstConvolution(above, width, freq=False, **merge)
        part = LastConvolution(width, above, freq=False, n_groups=n_groups, **merge)
        self.tencoder = nn.ModuleList([*(down for down, _ in pairs), join])
        self.tdecoder = nn.ModuleList([part, *(up for _, up in reversed(pairs))])
        bins = config.n_fft // 2 // config.stride
        self.freq_emb = FrequencyEmbedding(bins, config.widths[0])
        rescale_(self, config.rescale)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        spectrogram = hybrid_stft(mixture, self.config.n_fft)
        freq, (freq_mean, freq_std) = normalize(complex_as_channels(spectrogram))
        time, (time_mean, time_std) = normalize(mixture)
        n = self.config.n_apart
        first = self.freq_emb(self.encoder[0](freq))
        freq_levels = [freq, *descend(self.encoder[1:n], first)]
        time_levels = descend(self.tencoder[:-1], time)
        freq, time = self.merge(freq_levels[-1], time_levels[-1])
        freq = climb(self.decoder[-n:], freq, freq_levels) * freq_std + freq_mean
        time = climb(self.tdecoder[1:], time, time_levels) * time_std + time_mean
        stems = (len(self.config.stems), -1)  # and the channels of each
        freq, time = freq.unflatten(1, stems), time.unflatten(1, stems)
        return hybrid_istft(channels_as_complex(freq), mixture.shape[-1]) + time

    def merge(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Add the branches, compute the shared levels, and split them again.

        (batch, width, 8 bins, frames), (batch, width, 4 · frames), the last levels of
        one branch alone -> the inputs of both decoders, in the same shapes.
        """
        n = self.config.n_apart
        merged = self.encoder[n](freq, self.tencoder[-1](time))
        # One bin is left, so this is (batch, 2 · width, frames).
        levels = descend(self.encoder[n + 1 :], merged.squeeze(2))
        # The decoder starts from zeros: all information comes through the skips.
        x = climb(self.decoder[: -n - 1], torch.zeros_like(levels[-1]), levels)
        part = cast(DecoderLayer, self.decoder[-n - 1])
        shared = part.gather(x.unsqueeze(2), merged)
        freq = part.grow(shared, freq.shape[2])
        return freq, self.tdecoder[0](shared.squeeze(2), time.shape[2])


def from_torchaudio(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of torchaudio's HDemucs, such as hdemucs_high, with our names.

    torchaudio has a norm where the branches merge but does not use it; it is dropped.
    """
    renamed = {
        re.sub("^freq_(en|de)", r"\1", re.sub("^time_", "t", name)): value
        for name, value in state_dict.items()
    }
    merge = max(int(n.split(".")[1]) for n in renamed if n.startswith("tencoder."))
    unused = f"tencoder.{merge}.norm1."
    return {n: value for n, value in renamed.items() if not n.startswith(unused)}
