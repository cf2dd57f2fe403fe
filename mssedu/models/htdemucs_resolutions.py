"""HTDemucs with several spectrograms: short windows for attacks, long ones for tones.

Five of the fourteen variants replace the spectrogram of HTDemucs by three or five with
windows of different lengths. Each has a U-Net of its own, and a fusion joins their
waveforms. In n, nn and dn there is also the time branch, and a linear transformer
relates it to the weighted sum of the spectrograms; nf and dnf have no waveform branch.

    mixture (batch, channels, samples), in eval mode with zeros up to `segment`
      │ STFT, n_fft 2048   │ STFT, 4096   │ STFT, 8192     │ waveform
      │ each to mean 0, deviation 1, then a U-Net of HTDemucs, down
      │ resized to the middle one, Σ weight · x             │
      │ ◂─────────── cross-domain transformer, linear attention ───────────▸ │
      │ resized back, weight · x + (1 - weight) · before     │
      │ each U-Net up, mean, deviation back ▸ iSTFT         │ U-Net up
    (batch, stems, resolutions, channels, samples)           │
      │ fusion                                              │
      └─────────────────────────── + ───────────────────────┘
    estimate (batch, stems, channels, samples)

    name | windows        | with time branch | fusion
    n    | 2048 … 8192    | yes              | convolution, a kernel for each stem
    nn   | 2048 … 8192    | yes              | a weight for each stem and resolution
    dn   | 2048 … 8192    | yes              | four convolutions, with skips
    nf   | 1024 … 16384   | no               | as n
    dnf  | 1024 … 16384   | no               | as dn

Paper: none; the parts are those of Rouard et al. 2023, see htdemucs.py, and of
    Katharopoulos et al. 2020, see blocks/transformer.py.
Origin: github.com/piusssss/demucs_learn (MIT), HTDemucs_n, _nn, _dn, _nf and _dnf; nf
    at commit 825a227, whose size the record quotes. Our parameter counts and layers are
    equal, and equal weights give equal waveforms.
Differences: a mixture longer than `segment` is computed as it is.
Flaws of the record, which `mended` removes: the weights of n, nn and dn are a tenth of
    the softmax and nine tenths of its moving average in training, but the softmax in
    evaluation; the fusion of dnf has no activation, and that of dn has one even at its
    end, where it cuts off negative samples; dn computes the time branch, but does not
    add its waveform; the fusions have a bias, so that silence does not give silence.
Left out: strides and GLU in the fusion of dn and dnf, which the record's text describes
    but its code does not have.
Notebook: 16.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.dconv import rescale_
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    climb,
    descend,
    fill_segment,
    hybrid_istft,
    hybrid_stft,
    normalize,
)
from mssedu.models.blocks.transformer import CrossDomainTransformer, LinearAttention
from mssedu.models.contract import check_config
from mssedu.spectral import channels_as_complex, complex_as_channels

STRIDE = 4  # of all convolutions that change the rate
NORM_GROUPS = 4
EMBEDDING = 0.3  # strength of the vectors that are added to bins
MOMENTUM = 0.9  # of the moving average of the weights
FUSION_KERNEL, UNET_KERNEL = 129, 17  # samples

LARGEST = {
    "n_ffts": 2**20,
    "width": 16384,
    "depth": 16,
    "norm_starts": 99,
    "t_layers": 99,
    "t_heads": 999,
    "t_hidden_scale": 99,
    "fusion_width": 16384,
}  # values of a config, see check_config


@dataclass(frozen=True)
class HTDemucsNConfig:
    """The defaults are those of variant n; the other variants change some of them."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 10.0  # seconds; the length in training, and the limit in inference
    n_ffts: tuple[int, ...] = (2048, 4096, 8192)  # the hop length is a quarter of each
    width: int = 24  # channels of the first level, doubled at each further one
    depth: int = 4  # levels
    norm_starts: int = 4  # first level with group norms, counted from 0
    dconv: bool = True  # whether the encoders have DConv
    time_branch: bool = True  # False: no time branch, and no transformer
    t_layers: int = 5
    t_heads: int = 8
    t_hidden_scale: float = 4.0  # width of the feed-forward parts / features
    fusion: Literal["convolution", "weights", "unet"] = "convolution"
    fusion_width: int = 24  # channels of the first convolution of "unet"
    mended: bool = False  # True: without the flaws of the record

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        for name in ("depth", "norm_starts", "t_layers", "t_heads", "fusion_width"):
            check_range(name, getattr(self, name), 1)
        check_range("width", self.width, 16 if self.dconv else 4)
        check_range("t_hidden_scale", self.t_hidden_scale, 0, low_open=True)
        check_range("len(n_ffts)", len(self.n_ffts), 1)
        unit = 2 * STRIDE**self.depth  # one bin after the last level
        for n_fft in self.n_ffts:
            if n_fft < 1 or n_fft % unit:
                raise InputError(
                    f"n_ffts must be multiples of {unit}, got {n_fft}: {self.depth} "
                    f"levels divide the bins by {STRIDE} each."
                )
        if self.norm_starts <= self.depth and self.width * 2**self.norm_starts % 8:
            raise InputError(
                f"width {self.width} gives levels with norms a number of channels that "
                f"{NORM_GROUPS} groups cannot share. Use a multiple of {NORM_GROUPS}."
            )
        t_width = self.widths[-1]
        if self.time_branch and (t_width % 4 or t_width % self.t_heads):
            raise InputError(
                f"width {self.width} gives the transformer {t_width} features; they "
                f"must be a multiple of 4 and of t_heads {self.t_heads}."
            )

    @property
    def segment_limit(self) -> float:
        """Seconds; the longest mixture in training."""
        return self.segment

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top down."""
        return tuple(self.width * 2**level for level in range(self.depth))

    @property
    def adds_time(self) -> bool:
        """Whether the waveform of the time branch is a part of the estimate."""
        return self.time_branch and (self.mended or self.fusion != "unet")


@dataclass(frozen=True)
class HTDemucsNNConfig(HTDemucsNConfig):
    """As n, but a weight for each stem and resolution in place of the convolution."""

    fusion: Literal["convolution", "weights", "unet"] = "weights"


@dataclass(frozen=True)
class HTDemucsDNConfig(HTDemucsNConfig):
    """As n, but a small U-Net without strides in place of the convolution."""

    norm_starts: int = 3
    fusion: Literal["convolution", "weights", "unet"] = "unet"


@dataclass(frozen=True)
class HTDemucsNFConfig(HTDemucsNConfig):
    """Five spectrograms and no time branch."""

    n_ffts: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
    width: int = 48
    norm_starts: int = 3
    dconv: bool = False
    time_branch: bool = False


@dataclass(frozen=True)
class HTDemucsDNFConfig(HTDemucsNFConfig):
    """As nf, but a small U-Net without strides in place of the convolution."""

    width: int = 16
    norm_starts: int = 4
    fusion: Literal["convolution", "weights", "unet"] = "unet"
    fusion_width: int = 64


TINY: dict[str, Any] = {"segment": 2.0, "width": 16, "depth": 3, "fusion_width": 4}
TINY |= {"t_layers": 2, "t_heads": 4}
PRESETS = {
    f"htdemucs_{name}": {"paper": config(), "tiny": config(n_ffts=n_ffts, **TINY)}
    for name, config, n_ffts in (
        ("n", HTDemucsNConfig, (512, 1024, 2048)),
        ("nn", HTDemucsNNConfig, (512, 1024, 2048)),
        ("dn", HTDemucsDNConfig, (512, 1024, 2048)),
        ("nf", HTDemucsNFConfig, (512, 1024, 2048, 4096)),
        ("dnf", HTDemucsDNFConfig, (512, 1024, 2048, 4096)),
    )
}


class HTDemucsN(nn.Module):
    """Several spectrograms and the waveform, joined by a convolution for each stem."""

    def __init__(self, config: HTDemucsNConfig) -> None:
        super().__init__()
        self.config = config
        fusions = {"convolution": Convolution, "weights": Weights, "unet": FusionUNet}
        self.fusion = fusions[config.fusion](config)
        channels = 2 * config.channels  # real and imaginary parts
        nets = [_branch(config, channels, freq=True) for _ in config.n_ffts]
        self.encoders = nn.ModuleList(encoder for encoder, _ in nets)
        self.decoders = nn.ModuleList(decoder for _, decoder in nets)
        self.freq_embs = nn.ModuleList(
            FrequencyEmbedding(n_fft // 2 // STRIDE, config.width, EMBEDDING)
            for n_fft in config.n_ffts
        )
        if config.time_branch:
            self.tencoder, self.tdecoder = _branch(config, config.channels, freq=False)
        rescale_(self, 0.1)
        if not config.time_branch:
            return
        self.weights = MixingWeights((len(config.n_ffts),), config.mended)
        self.crosstransformer = CrossDomainTransformer(
            config.widths[-1],
            config.t_layers,
            config.t_heads,
            config.t_hidden_scale,
            attention=LinearAttention,
        )
        if not config.adds_time:  # then nothing reads what follows the last use of it
            last_cross = 2 * (config.t_layers // 2) - 1
            self.crosstransformer.layers_t[last_cross:].requires_grad_(False)
            self.tdecoder.requires_grad_(False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        padded = mixture
        if not self.training:
            padded = fill_segment(mixture, config.segment, config.sample_rate)
        normalized = [
            normalize(complex_as_channels(hybrid_stft(padded, n_fft)))
            for n_fft in config.n_ffts
        ]
        levels = [self.encode(i, freq) for i, (freq, _) in enumerate(normalized)]
        ends = [level[-1] for level in levels]
        if config.time_branch:
            time, (mean, std) = normalize(padded)
            time_levels = descend(self.tencoder, time)
            ends, time = self.relate(ends, time_levels[-1])
        waveforms = [
            self.decode(i, end, levels[i], normalized[i][1], padded.shape[-1])
            for i, end in enumerate(ends)
        ]
        estimate = self.fusion(torch.stack(waveforms, dim=2))
        if config.time_branch:
            # dn computes this as well, but does not add it.
            time = climb(self.tdecoder, time, time_levels) * std + mean
            if config.adds_time:
                estimate = estimate + time.unflatten(1, (len(config.stems), -1))
        return estimate[..., : mixture.shape[-1]]

    def encode(self, index: int, freq: Tensor) -> list[Tensor]:
        """The levels of one spectrogram, with its embedding of bins after the first."""
        encoder = cast(nn.ModuleList, self.encoders[index])
        first = self.freq_embs[index](encoder[0](freq))
        return [freq, *descend(encoder[1:], first)]

    def decode(
        self,
        index: int,
        end: Tensor,
        levels: list[Tensor],
        statistics: tuple[Tensor, Tensor],
        length: int,
    ) -> Tensor:
        """The stems of one spectrogram, (batch, stems, channels, length)."""
        mean, std = statistics
        decoder = cast(nn.ModuleList, self.decoders[index])
        freq = climb(decoder, end, levels) * std + mean
        freq = freq.unflatten(1, (len(self.config.stems), -1))
        return hybrid_istft(channels_as_complex(freq), length)

    def relate(self, ends: list[Tensor], time: Tensor) -> tuple[list[Tensor], Tensor]:
        """Apply the transformer to the weighted sum of all spectrograms, and part it.

        (batch, width, bins, frames) of each, (batch, width, steps) -> the same shapes.
        """
        weights = self.weights()
        middle = ends[len(ends) // 2]
        joined = sum(
            weight * resize(end, middle)
            for weight, end in zip(weights, ends, strict=True)
        )
        joined, time = self.crosstransformer(joined, time)
        parted = [
            torch.lerp(end, resize(joined, end), weight)
            for weight, end in zip(weights, ends, strict=True)
        ]
        return parted, time


class HTDemucsNN(HTDemucsN):
    """As n, with a fusion weight for each stem and resolution in the end."""


class HTDemucsDN(HTDemucsN):
    """As n, with a small U-Net as fusion."""


class HTDemucsNF(HTDemucsN):
    """Five spectrograms without the waveform, joined by a convolution for each stem."""


class HTDemucsDNF(HTDemucsN):
    """Five spectrograms without the waveform, joined by a small U-Net."""


# ---- parts --------------------------------------------------------------------------


class MixingWeights(nn.Module):
    """Learned weights that sum to 1 over resolutions.

    In the record, training uses a tenth of the weights and nine tenths of their moving
    average, so that they learn ten times slower, while evaluation uses the weights.

    Args:
        shape: (resolutions,) or (stems, resolutions).
        mended: use the weights alone in training, too.
    """

    average: Tensor

    def __init__(self, shape: tuple[int, ...], mended: bool) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full(shape, 1 / shape[-1]))
        if not mended:
            self.register_buffer("average", torch.full(shape, 1 / shape[-1]))
        self.mended = mended

    def forward(self) -> Tensor:
        """The weights, in the shape that is given above."""
        weights = self.raw.softmax(-1)
        if self.mended or not self.training:
            return weights
        with torch.no_grad():
            self.average.lerp_(weights, 1 - MOMENTUM)
        return torch.lerp(self.average.clone(), weights, 1 - MOMENTUM)


class Weights(nn.Module):
    """The fusion of nn: a weighted sum over resolutions for each stem."""

    def __init__(self, config: HTDemucsNConfig) -> None:
        super().__init__()
        shape = (len(config.stems), len(config.n_ffts))
        self.weights = MixingWeights(shape, config.mended)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(batch, stems, resolutions, channels, samples) -> without resolutions."""
        # The weights stand for (stems, resolutions, channels, samples).
        return (waveforms * self.weights()[:, :, None, None]).sum(2)

    def shares(self) -> Tensor:
        """Weights of the evaluation, (stems, resolutions), with sum 1 for each stem."""
        return self.weights.raw.softmax(-1)


class Convolution(nn.Module):
    """The fusion of n and nf: for each stem, one kernel over all that it has."""

    def __init__(self, config: HTDemucsNConfig) -> None:
        super().__init__()
        width = len(config.stems) * config.channels
        self.conv = nn.Conv2d(
            width,
            width,
            (len(config.n_ffts), FUSION_KERNEL),
            padding=(0, FUSION_KERNEL // 2),
            groups=len(config.stems),
            bias=not config.mended,
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        """(batch, stems, resolutions, channels, samples) -> without resolutions."""
        # b batch, s stem, n resolution, c channel, t sample
        images = rearrange(waveforms, "b s n c t -> b (s c) n t")
        return self.conv(images).squeeze(2).unflatten(1, (waveforms.shape[1], -1))

    def shares(self) -> Tensor:
        """Size of each kernel, (stems, resolutions), with sum 1 for each stem."""
        # (stems, channels out, channels in, resolutions, samples)
        kernels = self.conv.weight.unflatten(0, (self.conv.groups, -1))
        size = kernels.square().mean((1, 2, 4)).sqrt()
        return size / size.sum(-1, keepdim=True)


class FusionUNet(nn.Module):
    """The fusion of dn and dnf: two convolutions and two back, with skips.

    The first one covers all resolutions; the time keeps its length.
    """

    def __init__(self, config: HTDemucsNConfig) -> None:
        super().__init__()
        outer = len(config.stems) * config.channels
        widths = (outer, config.fusion_width, 2 * config.fusion_width)

        def layer(width_in: int, width: int, rows: int = 1) -> nn.Conv2d:
            sizes: dict[str, Any] = {"padding": (0, UNET_KERNEL // 2)}
            sizes["bias"] = not config.mended
            return nn.Conv2d(width_in, width, (rows, UNET_KERNEL), **sizes)

        rows = len(config.n_ffts)
        self.encoder = nn.ModuleList(
            [layer(widths[0], widths[1], rows), layer(widths[1], widths[2])]
        )
        self.decoder = nn.ModuleList(
            [layer(widths[2], widths[1]), layer(widths[1], widths[0])]
        )
        # dnf is the one without a time branch.
        self.inner = nn.GELU() if config.mended or config.time_branch else nn.Identity()
        self.outer = nn.Identity() if config.mended else self.inner

    def forward(self, waveforms: Tensor) -> Tensor:
        """(batch, stems, resolutions, channels, samples) -> without resolutions."""
        # b batch, s stem, n resolution, c channel, t sample
        images = rearrange(waveforms, "b s n c t -> b (s c) n t")
        first = self.inner(self.encoder[0](images))
        second = self.inner(self.encoder[1](first))
        x = self.inner(self.decoder[0](second + second))  # its own skip
        x = self.outer(self.decoder[1](x + first))
        return x.squeeze(2).unflatten(1, (waveforms.shape[1], -1))


def resize(x: Tensor, like: Tensor) -> Tensor:
    """(batch, width, bins, frames), interpolated to the bins and frames of `like`."""
    if x.shape == like.shape:
        return x
    size = (like.shape[2], like.shape[3])
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _branch(
    config: HTDemucsNConfig, channels: int, freq: bool
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Encoder, from the top down, and decoder, from the bottom up, of one branch."""
    dconv = {"compress": 8, "init": 1e-3} if config.dconv else None
    groups = [
        NORM_GROUPS if level >= config.norm_starts else 0
        for level in range(config.depth)
    ]
    encoder = [
        EncoderLayer(n_in, width, freq, groups[level], dconv)
        for level, (n_in, width) in enumerate(pairwise((channels, *config.widths)))
    ]
    n_out = len(config.stems) * channels
    decoder = [
        DecoderLayer(width, above, freq, groups[level], last=level == 0)
        for level, (above, width) in enumerate(pairwise((n_out, *config.widths)))
    ]
    return nn.ModuleList(encoder), nn.ModuleList(reversed(decoder))
