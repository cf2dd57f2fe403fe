"""Demucs (v2): a U-Net on the waveform, with gates at every level and a BiLSTM.

Each of six encoder levels divides the rate by four and has twice as many channels as
the level above; a gated linear unit (GLU) controls which features pass. At the lowest
level, at 22 frames per second, a bidirectional LSTM of 2048 channels covers the whole
excerpt. The decoder mirrors the encoder and adds its output level by level, which keeps
the detail; phase needs no treatment of its own.

    mixture (batch, channels, 441,000 samples), here 10 s
      │ zeros at both ends, up to a valid length ▸ sinc interpolation to twice the rate
    encoder (batch, channels, 894,292)
      │ 64: 8 samples wide, 4 apart ▸ relu ▸ 128 ▸ GLU ── skip (batch, 64, 223,572) ─┐
      │   … twice the channels, a quarter of the frames …                            │
      │ 2048, likewise ────────────── skip (batch, 2048, 217) ─┐                     │
    LSTM (batch, 2048, 217), 2 layers, both ways ▸ linear 2048 │ cut to the middle,  │
      │ + ◂────────────────────────────────────────────────────┘ as on every level   │
      │ 4096, 3 frames wide ▸ GLU ▸ 1024, 8 samples wide, 4 apart ▸ relu             │
      │   … half the channels, four times the frames …                               │
      │ + ◂──────────────────────────────────────────────────────────────────────────┘
      │ 128, 3 frames wide ▸ GLU ▸ stems · channels, 8 samples wide, 4 apart
    decoder (batch, stems · channels, 883,372)
      │ back to the sample rate ▸ the middle 441,000 samples
    estimate (batch, stems, channels, 441,000)

Paper: Défossez, Usunier, Bottou, Bach 2019, "Music Source Separation in the Waveform
    Domain" (arXiv 1911.13254).
Origin: github.com/facebookresearch/demucs, release 2.0.3 (MIT); "paper" is its
    `demucs`, "48" its `demucs48_hq`. The same weights give the same waveforms
    (tests/parity); its state dict fits as is.
Differences: `forward` itself pads with zeros to a valid length and cuts back. In the
    origin `apply_model` does so, and beside a chunk it puts the song's own samples. A
    mixture of zeros gives zeros, where the biases of the origin give a faint sound.
Left out: the quantized weights, because the license of DiffQ forbids commercial use,
    and layers without their 1×1 convolution, as no published model has them.
Notebook: 09.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import check_mixture, check_range
from mssedu.models.blocks.dconv import BiLSTM, rescale_
from mssedu.models.contract import check_config

LARGEST = {
    "width": 16384,
    "growth": 16,
    "depth": 16,
    "kernel_size": 999,
    "stride": 999,
    "context": 999,
    "lstm_layers": 32,
    "rescale": 100,
}  # values of a config, see check_config


@dataclass(frozen=True)
class DemucsConfig:
    """The defaults are the published model for MUSDB18."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 10.0  # seconds; the length in training
    width: int = 64  # channels of the first level
    growth: float = 2.0  # factor of the width from level to level
    depth: int = 6  # levels
    kernel_size: int = 8  # samples, of the convolutions that change the rate
    stride: int = 4  # from level to level, the rate falls by this factor
    context: int = 3  # kernel, in frames, of the decoder's gated convolutions
    glu: bool = True  # gated linear units; otherwise ReLU
    lstm_layers: int = 2  # 0: no LSTM
    resample: bool = True  # work at twice the sample rate
    normalize: bool = False  # the mono mixture to mean 0 and deviation 1
    rescale: float = 0.1  # new weights are scaled towards this deviation; 0: not

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        for name in ("width", "growth", "depth", "stride", "context"):
            check_range(name, getattr(self, name), 1)
        # Kernels leave no sample out, and have enough samples for a deviation.
        check_range("kernel_size", self.kernel_size, max(3, self.stride))
        check_range("lstm_layers", self.lstm_layers, 0)
        check_range("rescale", self.rescale, 0)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top down."""
        widths = [self.width]
        while len(widths) < self.depth:
            widths.append(int(self.growth * widths[-1]))
        return tuple(widths)


PRESETS = {
    "paper": DemucsConfig(),
    "48": DemucsConfig(width=48),
    "tiny": DemucsConfig(width=16, growth=1.5, depth=5),
}


def valid_length(config: DemucsConfig, samples: int) -> int:
    """Smallest input length, in samples, that gives `samples` ≥ 1 of output or more.

    This follows the length through every level of the encoder and of the decoder. No
    convolution pads, so each removes a few frames. In the encoder, lengths are rounded
    up so that the last kernel is full.

    Raises:
        InputError: samples is below 1.

    Example:
        >>> valid_length(DemucsConfig(), 441_000)
        447146
    """
    check_range("samples", samples, 1)
    length = 2 * samples if config.resample else samples
    for _ in range(config.depth):
        steps = math.ceil((length - config.kernel_size) / config.stride)
        length = max(steps + 1, 1) + config.context - 1
    for _ in range(config.depth):
        length = (length - 1) * config.stride + config.kernel_size
    return math.ceil(length / 2) if config.resample else length


class Resample(nn.Module):
    """Change the sample rate by new / old: a sum of sinc functions, one per old sample.

    A sinc never ends; this one fades out at its 24th zero. Because the fade widens the
    transition, the cutoff is 5.5 % below the lower of the two Nyquist frequencies.

    Source: J. O. Smith, "Digital audio resampling", ccrma.stanford.edu/~jos/resample;
    the kernel and the ends, which repeat the outer samples, are those of julius.
    """

    def __init__(self, old: int, new: int) -> None:
        super().__init__()
        self.old, self.new = old, new
        n_zeros, cutoff = 24, 0.945 * min(old, new)
        self.reach = math.ceil(n_zeros * old / cutoff)
        # Time from each new sample (rows) to the old samples around it (columns).
        around = torch.arange(-self.reach, self.reach + old, dtype=torch.float64) / old
        time = around - torch.arange(new, dtype=torch.float64).unsqueeze(1) / new
        zeros = (time * cutoff).clamp(-n_zeros, n_zeros)
        kernel = torch.sinc(zeros) * torch.cos(zeros / n_zeros * math.pi / 2).square()
        kernel = kernel / kernel.sum(dim=1, keepdim=True)  # a constant stays as it is
        kernel = rearrange(kernel, "new t -> new 1 t").float()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, channels, samples · new // old)."""
        # b batch, c channel, t old sample, new: new samples per step
        channels, samples = x.shape[1:]
        around = F.pad(x, (self.reach, self.reach + self.old), mode="replicate")
        # A group for each channel: on a CPU that is much faster than a larger batch.
        kernel = self.get_buffer("kernel").repeat(channels, 1, 1)
        resampled = F.conv1d(around, kernel, stride=self.old, groups=channels)
        joined = rearrange(resampled, "b (c new) t -> b c (t new)", new=self.new)
        return joined[..., : samples * self.new // self.old]


def encoder_layer(config: DemucsConfig, n_in: int, n_out: int) -> nn.Sequential:
    """(batch, n_in, samples) -> (batch, n_out, samples / stride)."""
    return nn.Sequential(
        nn.Conv1d(n_in, n_out, config.kernel_size, config.stride),
        nn.ReLU(),
        *_gated(config, n_out, kernel_size=1),
    )


def decoder_layer(config: DemucsConfig, n_in: int, n_out: int) -> nn.Sequential:
    """(batch, n_in, samples) -> (batch, n_out, about samples · stride)."""
    return nn.Sequential(
        *_gated(config, n_in, kernel_size=config.context),
        nn.ConvTranspose1d(n_in, n_out, config.kernel_size, config.stride),
        nn.ReLU(),
    )


def _gated(config: DemucsConfig, width: int, kernel_size: int) -> list[nn.Module]:
    if config.glu:
        return [nn.Conv1d(width, 2 * width, kernel_size), nn.GLU(dim=1)]
    return [nn.Conv1d(width, width, kernel_size), nn.ReLU()]


class Demucs(nn.Module):
    """Encoder, LSTM, decoder; see above."""

    def __init__(self, config: DemucsConfig) -> None:
        super().__init__()
        self.config = config
        widths, n_out = config.widths, len(config.stems) * config.channels
        self.upsample = Resample(1, 2) if config.resample else nn.Identity()
        down, up = (config.channels, *widths), (*widths[::-1], n_out)
        self.encoder = nn.ModuleList(encoder_layer(config, *p) for p in pairwise(down))
        n_lstms = config.lstm_layers
        self.lstm = BiLSTM(widths[-1], n_lstms) if n_lstms else nn.Identity()
        decoder = [decoder_layer(config, *pair) for pair in pairwise(up)]
        del decoder[-1][-1]  # no ReLU at the end: a waveform has negative samples
        self.decoder = nn.ModuleList(decoder)
        self.downsample = Resample(2, 1) if config.resample else nn.Identity()
        if config.rescale:
            rescale_(self, config.rescale)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        # b batch, s stem, c channel, t sample
        config = self.config
        check_mixture(mixture, config.channels)
        samples = mixture.shape[-1]
        x = center_pad(mixture, valid_length(config, samples))
        mean, deviation = self.level(x)
        x = self.upsample((x - mean) / (deviation + 1e-5))
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        x = self.lstm(x)
        for decode in self.decoder:
            x = decode(x + center_trim(skips.pop(), x.shape[-1]))
        x = self.downsample(x) * deviation + mean
        x = rearrange(x, "b (s c) t -> b s c t", c=config.channels)
        # The biases give a sound in silence too, so silent items are set to zero.
        has_sound = mixture.ne(0).any(dim=-1).any(dim=-1)
        return center_trim(x, samples) * has_sound[:, None, None, None]

    def level(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation to normalize the mixture with, (batch, 1, 1) each."""
        mono = mixture.mean(dim=1, keepdim=True)
        if not self.config.normalize:
            return torch.zeros_like(mono[..., :1]), torch.ones_like(mono[..., :1])
        deviation, mean = torch.std_mean(mono, dim=-1, keepdim=True)
        return mean, deviation


def center_pad(x: Tensor, length: int) -> Tensor:
    """Zeros at both ends up to `length`; an odd number has one more at the end."""
    missing = length - x.shape[-1]
    return F.pad(x, (missing // 2, missing - missing // 2))


def center_trim(x: Tensor, length: int) -> Tensor:
    """The middle `length` samples; an odd surplus loses one more at the end."""
    start = (x.shape[-1] - length) // 2
    return x[..., start : start + length]
