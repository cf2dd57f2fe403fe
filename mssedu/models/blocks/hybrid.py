"""What HDemucs and HTDemucs share: layers over bins or over time, and their STFT.

An encoder layer makes its axis four times shorter, a decoder layer four times longer:

    x ▸ convolution, /4 ▸ norm ▸ GELU ▸ DConv ▸ convolution to 2 · width ▸ norm ▸ GLU
    x ▸ + skip ▸ convolution to 2 · width ▸ norm ▸ GLU ▸ DConv
      ▸ transposed convolution, ×4 ▸ norm ▸ GELU (not in the last)

Kernel 8 and stride 4 are the usual sizes; the variants of HTDemucs have others.

In the frequency branch that axis is the bins, and x is (batch, width, bins, frames). In
the time branch it is time, and x is (batch, width, samples). DConv always works along
time. The STFT is padded so that frames = samples / hop, rounded up; so both branches
divide time by the same numbers and are aligned where they merge.

Paper: Défossez 2021, "Hybrid spectrogram and waveform source separation".
Origin: github.com/adefossez/demucs (MIT), demucs.hdemucs; parameters have its names.
Left out: several bands with weights of their own, as no published HDemucs has them.
Notebook: 10.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.models.blocks.dconv import DConv
from mssedu.spectral import istft, stft


def _norm(n_groups: int, width: int) -> nn.Module:
    return nn.GroupNorm(n_groups, width) if n_groups else nn.Identity()


class FirstConvolution(nn.Module):
    """The convolution of an encoder layer; used alone where the branches merge.

    Args:
        width_in: channels in.
        width: channels out.
        freq: whether it works along bins; otherwise along time.
        kernel_size: bins or samples.
        stride: bins or samples.
        pad: whether zeros, (kernel_size - stride) // 2, are added at both ends; without
            them the kernel covers the whole axis.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        freq: bool,
        kernel_size: int = 8,
        stride: int = 4,
        pad: bool = True,
    ) -> None:
        super().__init__()
        self.freq, self.stride = freq, stride
        padding = (kernel_size - stride) // 2 if pad else 0
        self.shortest = kernel_size - 2 * padding  # input that gives one output
        self.conv: nn.Module
        if freq:  # the same for every frame
            sizes = ((kernel_size, 1), (stride, 1), (padding, 0))
            self.conv = nn.Conv2d(width_in, width, *sizes)
        else:
            self.conv = nn.Conv1d(width_in, width, kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width_in, …) -> (batch, width, …), the axis shorter by `stride`."""
        if not self.freq:
            x = F.pad(x, (0, self.missing(x.shape[-1])))
        return self.conv(x)

    def missing(self, samples: int) -> int:
        """Zeros after the last sample, so that no sample is left out of the strides."""
        if self.shortest <= self.stride:
            return -samples % self.stride
        return max(-samples % self.stride, self.shortest - samples)


class EncoderLayer(FirstConvolution):
    """One level down; see above. Other arguments are those of FirstConvolution.

    Args:
        n_groups: groups of the group norms; 0 for no norms.
        dconv: arguments of DConv; None for no DConv.
        rewrite: whether the second convolution and the GLU follow.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        freq: bool,
        n_groups: int = 0,
        dconv: dict[str, Any] | None = None,
        rewrite: bool = True,
        **convolution: Any,
    ) -> None:
        super().__init__(width_in, width, freq, **convolution)
        self.norm1 = _norm(n_groups, width)
        self.dconv = nn.Identity() if dconv is None else DConv(width, **dconv)
        self.rewrite: nn.Module | None = None
        if rewrite:
            self.rewrite = (nn.Conv2d if freq else nn.Conv1d)(width, 2 * width, 1)
            self.norm2 = _norm(n_groups, 2 * width)
            self.glu = nn.GLU(1)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """As above; `other`, of the time branch, is added after the convolution."""
        x = super().forward(x)
        if other is not None:
            x = x + other.reshape(x.shape)
        x = along_time(self.dconv, F.gelu(self.norm1(x)))
        return x if self.rewrite is None else self.glu(self.norm2(self.rewrite(x)))


class LastConvolution(nn.Module):
    """The transposed convolution of a decoder layer; used alone where branches part.

    Args:
        width: channels in.
        width_out: channels out.
        freq: whether it works along bins; otherwise along time.
        last: whether it gives the model's output; then no GELU follows.
        n_groups: groups of the group norm; 0 for no norm.
        kernel_size: as in the encoder layer of the same level; so are stride and pad.
    """

    def __init__(
        self,
        width: int,
        width_out: int,
        freq: bool,
        last: bool = False,
        n_groups: int = 0,
        kernel_size: int = 8,
        stride: int = 4,
        pad: bool = True,
    ) -> None:
        super().__init__()
        self.freq, self.last = freq, last
        self.cut = (kernel_size - stride) // 2 if pad else 0
        self.conv_tr: nn.Module
        if freq:
            sizes = ((kernel_size, 1), (stride, 1))
            self.conv_tr = nn.ConvTranspose2d(width, width_out, *sizes)
        else:
            self.conv_tr = nn.ConvTranspose1d(width, width_out, kernel_size, stride)
        self.norm2 = _norm(n_groups, width_out)

    def grow(self, x: Tensor, length: int) -> Tensor:
        """The axis becomes longer by the stride, then is cut to `length`."""
        x = self.norm2(self.conv_tr(x)).narrow(2, self.cut, length)
        return x if self.last else F.gelu(x)

    def forward(self, x: Tensor, length: int) -> Tensor:
        """(batch, width, …) -> (batch, width_out, …) of `length` bins or samples."""
        return self.grow(x, length)


class DecoderLayer(LastConvolution):
    """One level up; see above. Other arguments are those of LastConvolution.

    Args:
        dconv: arguments of DConv; None for no DConv.
        rewrite: whether there are the first convolution and the GLU.
    """

    def __init__(
        self,
        width: int,
        width_out: int,
        freq: bool,
        n_groups: int = 0,
        dconv: dict[str, Any] | None = None,
        rewrite: bool = True,
        **convolution: Any,
    ) -> None:
        super().__init__(width, width_out, freq, n_groups=n_groups, **convolution)
        self.rewrite: nn.Module | None = None
        if rewrite:
            kind = nn.Conv2d if freq else nn.Conv1d
            self.rewrite = kind(width, 2 * width, 3, padding=1)
            self.norm1 = _norm(n_groups, 2 * width)
            self.glu = nn.GLU(1)
        self.dconv = nn.Identity() if dconv is None else DConv(width, **dconv)

    def gather(self, x: Tensor, skip: Tensor) -> Tensor:
        """All before the transposed convolution: (batch, width, …), same shape."""
        x = x + skip
        if self.rewrite is not None:
            x = self.glu(self.norm1(self.rewrite(x)))
        return along_time(self.dconv, x)

    def forward(self, x: Tensor, length: int, skip: Tensor) -> Tensor:  # type: ignore[override]
        """One level up, to `length` bins or samples; `skip` is the encoder's output."""
        return self.grow(self.gather(x, skip), length)


class FrequencyEmbedding(nn.Module):
    """A learned vector for each bin, because a convolution over bins ignores position.

    The first values are a random walk, so neighboring bins start with similar vectors.
    Small weights that are multiplied by SCALE learn faster than those of other layers.
    """

    SCALE = 10.0

    def __init__(self, bins: int, width: int, strength: float = 0.2) -> None:
        super().__init__()
        self.strength = strength
        self.embedding = nn.Embedding(bins, width)
        with torch.no_grad():
            walk = self.embedding.weight.cumsum(0)
            steps = torch.arange(1, bins + 1)[:, None].sqrt()
            self.embedding.weight.copy_(walk / steps / self.SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """Add the vectors to (batch, width, bins, frames)."""
        return x + self.strength * self.SCALE * self.embedding.weight.T[:, :, None]


def along_time(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer for (batch, width, time) to every bin alone, if there are bins."""
    # b batch, c channel, f bin, m frame
    if x.ndim == 3 or isinstance(layer, nn.Identity):
        return layer(x)
    y = layer(rearrange(x, "b c f m -> (b f) c m"))
    return rearrange(y, "(b f) c m -> b c f m", f=x.shape[2])


def descend(layers: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """Apply encoder layers, from the top down: x and the output of each layer."""
    levels = [x]
    for encode in layers:
        levels.append(encode(levels[-1]))
    return levels


def climb(layers: Iterable[nn.Module], x: Tensor, levels: list[Tensor]) -> Tensor:
    """Apply decoder layers, from the bottom up, each with a level of `descend` as skip.

    A layer gives as many bins or samples as the level above its skip has.
    """
    pairs = reversed([*pairwise(levels)])
    for decode, (above, skip) in zip(layers, pairs, strict=True):
        x = decode(x, above.shape[2], skip)
    return x


def normalize(x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Each item of a batch with mean 0 and deviation 1; also (mean, deviation)."""
    axes = tuple(range(1, x.ndim))
    correction = min(1, x[0].numel() - 1)  # a single number has no deviation
    std, mean = torch.std_mean(x, dim=axes, correction=correction, keepdim=True)
    return (x - mean) / (1e-5 + std), (mean, std)


def fill_segment(mixture: Tensor, segment: float, sample_rate: int) -> Tensor:
    """Zeros at the end of a mixture, up to a segment; a longer one stays as it is."""
    length = round(segment * sample_rate)
    return F.pad(mixture, (0, max(length - mixture.shape[-1], 0)))


def hybrid_stft(mixture: Tensor, n_fft: int, hops: int = 4) -> Tensor:
    """(batch, channels, samples) -> (batch, channels, n_fft / 2, frames), complex.

    frames = samples / hop, rounded up; hop = n_fft / hops, where hops is 2, 4 or 8. The
    highest bin is dropped.
    """
    hop, samples = n_fft // hops, mixture.shape[-1]
    before, after = _margins(samples, hop, hops)
    # Reflection needs more samples than it adds; zeros make up for those missing.
    missing = max(after + 1 - samples, 0)
    padded = F.pad(mixture, (0, missing))
    padded = F.pad(padded, (before, after - missing), mode="reflect")
    spectrogram = stft(padded, n_fft, hop, pad_mode="reflect", normalized=True)
    first, last = _outer_frames(hops)
    return spectrogram[..., :-1, first:-last]


def hybrid_istft(spectrogram: Tensor, length: int, hops: int = 4) -> Tensor:
    """The inverse of `hybrid_stft`, (…, length); the highest bin becomes zero."""
    hop = 2 * spectrogram.shape[-2] // hops
    before, after = _margins(length, hop, hops)
    first, last = _outer_frames(hops)
    padded, samples = F.pad(spectrogram, (first, last, 0, 1)), before + length + after
    audio = istft(padded, hop, length=samples, normalized=True)
    return audio[..., before : before + length]


def _margins(samples: int, hop: int, hops: int) -> tuple[int, int]:
    """Samples to add before and after, so that frame m starts at sample m · hop.

    With 2 hops in a window it starts half a hop earlier, as in the only model that has
    such frames, htdemucs_i.
    """
    margin = hop if hops == 2 else (hops - 1) * hop // 2
    return margin, margin + -samples % hop


def _outer_frames(hops: int) -> tuple[int, int]:
    """Frames of the padded mixture that are dropped at the beginning and at the end."""
    return hops // 2, hops // 2 + (hops == 2)
