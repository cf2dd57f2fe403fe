"""SCNet: the spectrum in three parts, the more compressed the higher they are.

Most of the information in music is at low frequencies. Each level of the encoder keeps
every bin of the lowest part, divides the middle by 4 and the highest by 16, and spends
more convolutions on the lower parts. Between encoder and decoder, LSTMs run along the
bins and the frames; every second one works on a Fourier transform along the frames,
where slow and fast changes of a sound lie apart.

    mixture (batch, channels, samples)
      │ zeros up to an even number of frames ▸ STFT, reflected ends
    real, imaginary as channels
    (batch, 2 · channels, 2049 bins, frames)
      │ to mean 0, deviation 1
      │ 3 × in three parts of the bins:
      │       convolution over bins that leaves all, 1/4 and 1/16 of them
      │       ▸ 3, 2 and 1 residual branches along the frames ▸ GELU
      │     then all bins together ▸ 3×3
    (batch, 128, 57 bins, frames)
      │ 6 × LSTM along the bins, then LSTM along the frames, each plus its input
      │     ▸ Fourier transform along the frames, (batch, 256, 57, frames / 2 + 1);
      │       in every second layer its inverse
      │ 3 × plus the skip ▸ 3×3 ▸ GLU
      │     ▸ in three parts: transposed convolution over bins, × 1, × 4 and × 16
      │ mean, deviation back ▸ iSTFT
    estimate (batch, stems, channels, samples)

Paper: Tong, Zhu, Chen, Kang, Jiang, Li, Wu, Meng 2024, "SCNet: sparse compression
    network for music source separation" (ICASSP).
Origin: github.com/starrytong/SCNet (MIT). The same weights give the same waveforms
    (tests/parity).
Choices: the paper states 10.08 and 41.2 million parameters; the authors' code, which
    this file follows, has 10,578,768 and 42,181,232 ("large"). As there, the STFT has
    no window, which the paper does not mention. `normalize` came into their code in
    September 2024; the published scores of github.com/ZFTurbo/
    Music-Source-Separation-Training are without it, for the authors' weights and for
    its own, larger ones: "xl", and "xl_ihf", which divides the highest part by 4 only.
Differences: zeros fill a mixture that is too short for reflection.
Left out: attention in place of the LSTMs, and a mask, of later variants.
Notebook: 15.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.hybrid import normalize
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import channels_as_complex, complex_as_channels, istft, stft

KERNEL = 3  # of the convolutions that keep the number of bins and frames

LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "widths": 16384,
    "low_share": 1,
    "mid_share": 1,
    "strides": 2**20,
    "depths": 99,
    "compress": 16384,
    "n_layers": 98,
}  # values of a config, see check_config


def compressed(parts: Iterable[int], strides: Iterable[int]) -> list[int]:
    """Bins of each part after a convolution of a stride, rounded up."""
    return [-(-bins // stride) for bins, stride in zip(parts, strides, strict=True)]


@dataclass(frozen=True)
class SCNetConfig:
    """The defaults are the authors' smaller model, trained on MUSDB18-HQ."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 11.0  # seconds; the length in training
    n_fft: int = 4096
    hop_length: int = 1024
    widths: tuple[int, ...] = (32, 64, 128)  # channels of each level
    low_share: float = 0.175  # of the bins in the lowest part, at each level
    mid_share: float = 0.392  # of the bins in the middle part
    strides: tuple[int, ...] = (1, 4, 16)  # compression of the low, mid and high part
    depths: tuple[int, ...] = (3, 2, 1)  # residual branches of each part, at each level
    compress: int = 4  # a branch has so many times fewer channels than its level
    n_layers: int = 6  # pairs of LSTMs; even, so that the last transform is an inverse
    normalize: bool = True  # the spectrogram, to mean 0 and deviation 1

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        for width in self.widths:
            check_range("widths", width, 1)
        check_range("len(widths)", len(self.widths), 1, 16)
        check_range("low_share", self.low_share, 0, 1)
        check_range("mid_share", self.mid_share, 0, 1 - self.low_share)
        for name in ("strides", "depths"):
            parts = getattr(self, name)
            if len(parts) != 3 or min(parts) < 1:
                raise InputError(
                    f"{name} must be three numbers of at least 1, for the low, the mid "
                    f"and the high part, got {parts}."
                )
        check_range("compress", self.compress, 1, min(self.widths))
        if self.n_layers < 2 or self.n_layers % 2:
            raise InputError(
                f"n_layers must be even and at least 2, got {self.n_layers}: the odd "
                "ones transform the frames, the even ones transform them back."
            )
        self._check_bins()

    def _check_bins(self) -> None:
        bins = self.n_fft // 2 + 1
        for level in range(len(self.widths)):
            parts = self.parts(bins)
            if min(parts) < 1:
                raise InputError(
                    "n_fft must be so large that each part of each level has a bin, "
                    f"got {self.n_fft}, and parts of {parts} bins at level {level + 1}."
                    " Use a larger n_fft, smaller strides or other shares."
                )
            bins = sum(compressed(parts, self.strides))

    def parts(self, bins: int) -> list[int]:
        """The bins of the low, the mid and the high part of a level."""
        shares = (self.low_share, self.low_share + self.mid_share)
        ends = [0, *(math.ceil(bins * share) for share in shares), bins]
        return [high - low for low, high in pairwise(ends)]


PRESETS = {
    "paper": SCNetConfig(),
    "large": SCNetConfig(widths=(64, 128, 256), low_share=0.225, mid_share=0.372),
    "xl": SCNetConfig(
        widths=(64, 128, 256),
        low_share=0.23,
        mid_share=0.37,
        n_layers=8,
        normalize=False,
    ),
    "xl_ihf": SCNetConfig(
        widths=(64, 128, 256),
        low_share=0.23,
        mid_share=0.37,
        strides=(1, 4, 4),
        depths=(3, 3, 3),
        n_layers=8,
        normalize=False,
    ),
    # A hop of half a window, though no window that fades: frames cost the most.
    "tiny": SCNetConfig(
        segment=6.0, hop_length=2048, widths=(16, 24, 32), depths=(1, 1, 1), n_layers=2
    ),
}


class TimeBranches(nn.Module):
    """Residual branches of convolutions along the frames, the same for every bin.

    Args:
        width: channels.
        depth: number of branches, one after the other.
        hidden: channels in a branch.
    """

    def __init__(self, width: int, depth: int, hidden: int) -> None:
        super().__init__()
        pad = KERNEL // 2
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width),
                nn.Conv1d(width, 2 * hidden, KERNEL, padding=pad),
                nn.GLU(dim=1),
                nn.Conv1d(hidden, hidden, KERNEL, padding=pad, groups=hidden),
                nn.GroupNorm(1, hidden),
                nn.SiLU(),
                nn.Conv1d(hidden, width, 1),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, bins, frames) -> the same shape."""
        # b batch, c channel, f bin, m frame
        batch = x.shape[0]
        x = rearrange(x, "b c f m -> (b f) c m")
        for branch in self.branches:
            x = x + branch(x)
        return rearrange(x, "(b f) c m -> b c f m", b=batch)


class Encoder(nn.Module):
    """One level: each part compressed and refined, then all parts mixed.

    Args:
        n_in: channels of the level above.
        width: channels of this level.
        config: of the model.
    """

    def __init__(self, n_in: int, width: int, config: SCNetConfig) -> None:
        super().__init__()
        self.strides = config.strides
        # A kernel as long as its stride; one that keeps all bins reads neighbors, too.
        self.kernels = [stride if stride > 1 else KERNEL for stride in config.strides]
        shapes = [
            ((k, 1), (s, 1)) for k, s in zip(self.kernels, self.strides, strict=True)
        ]
        self.down = nn.ModuleList(nn.Conv2d(n_in, width, *shape) for shape in shapes)
        self.refine = nn.ModuleList(
            TimeBranches(width, depth, width // config.compress)
            for depth in config.depths
        )
        self.mix = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2)

    def forward(self, x: Tensor, parts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(batch, n_in, bins, frames) -> two of (batch, width, fewer bins, frames).

        The first goes to the next level, the second is the skip. `parts` are the bins
        of each part.
        """
        steps = zip(self.down, self.refine, x.split(parts, dim=2), strict=True)
        sizes = zip(parts, self.kernels, self.strides, strict=True)
        outputs = []
        for (down, refine, part), size in zip(steps, sizes, strict=True):
            outputs.append(F.gelu(refine(down(pad_bins(part, *size)))))
        skip = torch.cat(outputs, dim=2)
        return self.mix(skip), skip


def pad_bins(x: Tensor, bins: int, kernel: int, stride: int) -> Tensor:
    """Zeros on both sides, so that a convolution gives bins / stride, rounded up."""
    missing = (-(-bins // stride) - 1) * stride + kernel - bins
    return F.pad(x, (0, 0, missing // 2, missing - missing // 2))


class PathLSTM(nn.Module):
    """Norm, LSTM in both directions along one axis, linear; added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, bins, frames) -> the same shape, along the frames."""
        batch = x.shape[0]
        y = rearrange(self.norm(x), "b c f m -> (b f) m c")
        y = self.linear(self.lstm(y)[0])
        return x + rearrange(y, "(b f) m c -> b c f m", b=batch)


class DualPath(nn.Module):
    """An LSTM along the bins, then one along the frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bins = PathLSTM(width)
        self.frames = PathLSTM(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, bins, frames) -> the same shape."""
        return self.frames(self.bins(x.mT).mT)


class Separator(nn.Module):
    """Pairs of LSTMs, on the frames and on their Fourier transform in turn."""

    def __init__(self, width: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DualPath(width * (1 + layer % 2)) for layer in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, bins, frames) -> the same shape."""
        frames = x.shape[-1]
        for index, layer in enumerate(self.layers):
            x = layer(x)
            # The transform needs single precision, at least.
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            if index % 2:
                real, imaginary = x.chunk(2, dim=1)
                x = torch.complex(real, imaginary)
                x = torch.fft.irfft(x, n=frames, norm="ortho")
            else:
                x = torch.fft.rfft(x, norm="ortho")
                x = torch.cat([x.real, x.imag], dim=1)
        return x


class Decoder(nn.Module):
    """One level: merge with the skip, then expand each part; mirrors `Encoder`.

    Args:
        width: channels of this level.
        n_out: channels of the level above.
        config: of the model.
    """

    def __init__(self, width: int, n_out: int, config: SCNetConfig) -> None:
        super().__init__()
        self.strides = config.strides
        self.merge = nn.Conv2d(2 * width, 2 * width, KERNEL, padding=KERNEL // 2)
        kernels = [stride if stride > 1 else KERNEL for stride in config.strides]
        shapes = [((k, 1), (s, 1)) for k, s in zip(kernels, self.strides, strict=True)]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, n_out, *shape) for shape in shapes
        )

    def forward(self, x: Tensor, skip: Tensor, parts: Sequence[int]) -> Tensor:
        """Two of (batch, width, fewer bins, frames) -> (batch, n_out, bins, frames).

        `parts` are the bins of each part of the result.
        """
        x = F.glu(self.merge((x + skip).repeat(1, 2, 1, 1)), dim=1)
        inputs = x.split(compressed(parts, self.strides), dim=2)
        outputs = []
        for up, part, bins in zip(self.up, inputs, parts, strict=True):
            y = up(part)
            first = (y.shape[2] - bins) // 2
            outputs.append(y[:, :, first : first + bins])
        return torch.cat(outputs, dim=2)


class SCNet(nn.Module):
    """Encoder, separator, decoder on the complex spectrogram; see above."""

    def __init__(self, config: SCNetConfig) -> None:
        super().__init__()
        self.config = config
        n_in = 2 * config.channels  # real and imaginary parts
        levels = list(pairwise((n_in, *config.widths)))
        self.encoder = nn.ModuleList(Encoder(*level, config) for level in levels)
        self.separator = Separator(config.widths[-1], config.n_layers)
        outputs = [n_in * len(config.stems), *config.widths[:-1]]
        levels = list(zip(config.widths, outputs, strict=True))
        self.decoder = nn.ModuleList(
            Decoder(*level, config) for level in reversed(levels)
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        spectrogram = self.stft(mixture)
        x = complex_as_channels(spectrogram)
        if config.normalize:
            x, (mean, std) = normalize(x)
        levels = []
        for encoder in self.encoder:
            parts = config.parts(x.shape[2])
            x, skip = encoder(x, parts)
            levels.append((skip, parts))
        x = self.separator(x)
        for decoder, (skip, parts) in zip(self.decoder, reversed(levels), strict=True):
            x = decoder(x, skip, parts)
        if config.normalize:
            x = x * std + mean
        stems = x.to(mixture.dtype).unflatten(1, (len(config.stems), -1))
        return self.istft(channels_as_complex(stems), mixture.shape[-1])

    def stft(self, mixture: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, channels, bins, frames), complex.

        Zeros are added so that there is an even number of frames, which the Fourier
        transform along the frames halves, and enough samples for the reflection.
        """
        n_fft, hop_length = self.config.n_fft, self.config.hop_length
        hops = max(mixture.shape[-1], n_fft // 2) // hop_length + 1
        hops += 1 - hops % 2  # an odd number of hops has an even number of frames
        padded = F.pad(mixture, (0, hops * hop_length - mixture.shape[-1]))
        return stft(
            padded,
            n_fft,
            hop_length,
            window="rectangle",
            pad_mode="reflect",
            normalized=True,
        )

    def istft(self, stems: Tensor, length: int) -> Tensor:
        """The inverse of `stft`, (…, length)."""
        return istft(
            stems,
            self.config.hop_length,
            length=length,
            window="rectangle",
            normalized=True,
        )
