"""Hybrid Demucs (v3): a U-Net on the spectrogram and one on the waveform, merged.

A spectrogram shows notes well, a waveform shows attacks well. Each gets a U-Net of its
own. Both are built so that after five levels, one along the bins, the other along time,
a step is the same moment in both: there the two are added and share the deepest level,
and part again on the way up. Each draws every stem, and the two drawings are summed.

    mixture (batch, channels, samples)
      │ STFT, reflected ends               │
    real, imaginary as channels            │
    (batch, 2 · channels, 2048, frames)    (batch, channels, samples)
      │ to mean 0, deviation 1             │ to mean 0, deviation 1
      │ 4 × over bins, /4 ▸ DConv ▸ GLU    │ 4 × over time, /4 ▸ DConv ▸ GLU
      │   the first: + place of the bin    │
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
at ISMIR). Origin: github.com/adefossez/demucs (MIT), releases 3.0.6 and 4.1.0, class
HDemucs; with the same weights this file gives the same waveforms (tests/parity), and
with `from_torchaudio` so do those of torchaudio's bundles.

Where it differs: a mono mixture of one sample gives numbers, not NaN. Left out, as only
older bags have members with them: masks on the magnitude with a Wiener filter, weights
of their own for bands of frequency, one branch alone. Notebook: 10.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range, message
from mssedu.models.blocks import check_config, check_stft
from mssedu.models.blocks.dconv import rescale_
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FirstConvolution,
    FrequencyEmbedding,
    LastConvolution,
    hybrid_istft,
    hybrid_stft,
    normalize,
)
from mssedu.spectral import channels_as_complex, complex_as_channels

STRIDE = 4  # of all levels but those that the branches share
HEADS = 4  # of the attention


@dataclass(frozen=True)
class HDemucsConfig:
    """Defaults: the published hdemucs_mmi and torchaudio's hdemucs_high."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 11.0  # seconds, as in training
    n_fft: int = 4096  # a power of 4, as each level divides the bins by 4
    width: int = 48  # channels of the first level; they double from level to level
    depth: int = 6  # levels, those that both branches share among them
    norm_starts: int = 4  # first level with group norms
    norm_groups: int = 4
    dconv_depth: int = 2
    dconv_compress: float = 4  # how much narrower DConv is than its level
    dconv_init: float = 1e-3  # its LayerScale
    context_starts: int = 4  # first level whose DConv has BiLSTM and attention

    def __post_init__(self) -> None:
        where = "HDemucsConfig"
        check_config(self)
        check_stft(where, self.n_fft, max(self.n_fft // 4, 1))
        if self.n_fft < 64 or 4 * STRIDE ** (self.n_apart + 1) != self.n_fft:
            wanted, remedy = "n_fft, a power of 4 from 64 on", "Take 1024 or 4096."
            raise InputError(message(where, wanted, self.n_fft, remedy))
        check_range("depth", self.depth, self.n_apart + 1)
        check_range("dconv_depth", self.dconv_depth, 0)
        check_range("context_starts", self.context_starts, 0)
        for name in ("norm_starts", "width", "norm_groups", "dconv_compress"):
            check_range(name, getattr(self, name), 1)
        for level, width in enumerate(self.widths):
            self._check_level(level, width, int(width / self.dconv_compress))

    def _check_level(self, level: int, width: int, hidden: int) -> None:
        # The last decoder layer with norms leads to the level above.
        if level >= self.norm_starts - 1 and width % self.norm_groups:
            wanted = f"a width that norm_groups {self.norm_groups} divides"
        elif level >= self.context_starts and hidden % HEADS:
            wanted = f"a DConv whose width, {hidden}, {HEADS} heads can share"
        elif hidden < 2:  # a norm over one channel and one frame leaves nothing
            wanted = "a width of at least twice dconv_compress"
        else:
            return
        got, remedy = f"width {width} at level {level}", "Change the config's width."
        raise InputError(message("HDemucsConfig", wanted, got, remedy))

    @property
    def n_apart(self) -> int:
        """Levels before the branches merge; the spectrogram has 8 bins by then."""
        return (self.n_fft.bit_length() - 1) // 2 - 2

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top down."""
        return tuple(self.width * 2**level for level in range(self.depth))


PRESETS = {
    "paper": HDemucsConfig(),
    "tiny": HDemucsConfig(
        segment=6.0, n_fft=1024, width=8, depth=5, norm_starts=3, context_starts=3
    ),
}


def layer_pair(
    config: HDemucsConfig, level: int, channels: int, **shape: Any
) -> tuple[EncoderLayer, DecoderLayer]:
    """Both layers of a level, down and up.

    Args:
        channels: of the branch's input.
        **shape: freq, kernel_size, stride, pad, as of both layers.
    """
    n_in, width = (channels, *config.widths)[level : level + 2]
    n_out = n_in if level else channels * len(config.stems)
    n_groups = config.norm_groups if level >= config.norm_starts else 0
    sees_context = level >= config.context_starts
    dconv = {
        "compress": config.dconv_compress,
        "depth": config.dconv_depth,
        "init": config.dconv_init,
        "lstm": sees_context,
        "attention": sees_context,
    }
    return (
        EncoderLayer(n_in, width, n_groups=n_groups, dconv=dconv, **shape),
        DecoderLayer(width, n_out, n_groups=n_groups, last=level == 0, **shape),
    )


class HDemucs(nn.Module):
    """Two branches that merge and part; see the head of this file."""

    def __init__(self, config: HDemucsConfig) -> None:
        super().__init__()
        self.config = config
        n, channels = config.n_apart, 2 * config.channels  # real and imaginary parts
        pairs = [layer_pair(config, level, channels, freq=True) for level in range(n)]
        # At the merge one kernel takes all 8 bins that are left.
        pairs.append(layer_pair(config, n, channels, freq=True, pad=False))
        for level in range(n + 1, config.depth):  # shared
            shape = {"freq": False, "kernel_size": 4, "stride": 2}
            pairs.append(layer_pair(config, level, channels, **shape))
        self.encoder = nn.ModuleList(down for down, _ in pairs)
        self.decoder = nn.ModuleList(up for _, up in reversed(pairs))
        channels = config.channels
        pairs = [layer_pair(config, level, channels, freq=False) for level in range(n)]
        above, width = config.widths[n - 1 : n + 1]
        n_groups = config.norm_groups if n >= config.norm_starts else 0
        merge = FirstConvolution(above, width, freq=False)
        part = LastConvolution(width, above, freq=False, n_groups=n_groups)
        self.tencoder = nn.ModuleList([*(down for down, _ in pairs), merge])
        self.tdecoder = nn.ModuleList([part, *(up for _, up in reversed(pairs))])
        self.freq_emb = FrequencyEmbedding(config.n_fft // 2 // STRIDE, config.width)
        rescale_(self, 0.1)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        spectrogram = hybrid_stft(mixture, self.config.n_fft)
        freq, (freq_mean, freq_std) = normalize(complex_as_channels(spectrogram))
        time, (time_mean, time_std) = normalize(mixture)
        freq_levels, time_levels = self.encode_freq(freq), self.encode_time(time)
        freq, time = self.merge(freq_levels[-1], time_levels[-1])
        freq = self.decode_freq(freq, freq_levels)
        time = self.decode_time(time, time_levels)
        freq = self.split_stems(freq * freq_std + freq_mean)
        time = self.split_stems(time * time_std + time_mean)
        return hybrid_istft(channels_as_complex(freq), mixture.shape[-1]) + time

    def encode_freq(self, x: Tensor) -> list[Tensor]:
        """(batch, 2 · channels, bins, frames) -> itself, and what each level makes."""
        levels = [x]
        for level, encode in enumerate(self.encoder[: self.config.n_apart]):
            x = encode(x)
            x = self.freq_emb(x) if level == 0 else x
            levels.append(x)
        return levels

    def encode_time(self, x: Tensor) -> list[Tensor]:
        """(batch, channels, samples) -> itself, and what each level makes."""
        levels = [x]
        for encode in self.tencoder[:-1]:
            levels.append(encode(levels[-1]))
        return levels

    def merge(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Add the branches where a step is one frame in both, go deeper, and part.

        Args:
            freq: (batch, width, 8 bins, frames), the deepest level of its own.
            time: (batch, width, 4 · frames), likewise.

        Returns:
            Both, of the same shapes, on the way up.
        """
        n = self.config.n_apart
        merged = self.encoder[n](freq, self.tencoder[-1](time))
        levels = [merged.squeeze(2)]  # (batch, 2 · width, frames): one bin is left
        for encode in self.encoder[n + 1 :]:
            levels.append(encode(levels[-1]))
        # The way up starts from nothing: all that is known comes through the skips.
        x = climb(self.decoder[: -n - 1], torch.zeros_like(levels[-1]), levels)
        part = cast(DecoderLayer, self.decoder[-n - 1])
        shared = part.gather(x.unsqueeze(2), merged)
        freq = part.grow(shared, freq.shape[2])
        return freq, self.tdecoder[0](shared.squeeze(2), time.shape[2])

    def decode_freq(self, x: Tensor, levels: list[Tensor]) -> Tensor:
        """Back up to (batch, stems · 2 · channels, bins, frames)."""
        return climb(self.decoder[-self.config.n_apart :], x, levels)

    def decode_time(self, x: Tensor, levels: list[Tensor]) -> Tensor:
        """Back up to (batch, stems · channels, samples)."""
        return climb(self.tdecoder[1:], x, levels)

    def split_stems(self, x: Tensor) -> Tensor:
        """(batch, stems · channels, …) -> (batch, stems, channels, …)."""
        return x.unflatten(1, (len(self.config.stems), -1))


def climb(layers: Iterable[nn.Module], x: Tensor, levels: list[Tensor]) -> Tensor:
    """Go up through decoder layers.

    Args:
        levels: of the encoder, from the top down. Each decoder layer gets one as its
            skip, and grows `x` to the length (bins or samples) of the one above it.
    """
    pairs = reversed([*pairwise(levels)])
    for decode, (above, skip) in zip(layers, pairs, strict=True):
        x = decode(x, above.shape[2], skip)
    return x


def from_torchaudio(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of torchaudio's HDemucs, e.g. of the bundle hdemucs_high, by our names.

    Left out is a norm where the branches merge, which torchaudio has and never uses.
    """
    prefixes = {
        "freq_encoder": "encoder",
        "freq_decoder": "decoder",
        "time_encoder": "tencoder",
        "time_decoder": "tdecoder",
    }
    renamed = {}
    for name, value in state_dict.items():
        part, _, rest = name.partition(".")
        renamed[f"{prefixes.get(part, part)}.{rest}"] = value
    merge = max(int(n.split(".")[1]) for n in renamed if n.startswith("tencoder."))
    unused = f"tencoder.{merge}.norm1."
    return {n: value for n, value in renamed.items() if not n.startswith(unused)}
