"""Demucs (v2): a U-Net on waveforms, with gates at every level, an LSTM at the bottom.

Each of six levels takes steps four times as long as the one above and has twice as many
channels; a gated linear unit (GLU) lets it decide what to pass on. At the bottom, 22
times a second, a bidirectional LSTM of 2048 channels follows the music. The decoder
goes the same way back and adds, level by level, what the encoder had: so the estimate
keeps the details. Phase needs no treatment of its own.

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
Domain" (arXiv 1911.13254). Origin: github.com/facebookresearch/demucs, release 2.0.3
(MIT); "paper" is its `demucs`, "48" its `demucs48_hq`. With the same weights this file
gives the same waveforms (tests/parity); the origin's state dict fits as it is.

Where it differs: `forward` pads to a valid length and cuts back itself, for which the
origin has `apply_model`; that one puts the song's own samples beside a chunk of it,
here there are zeros always. A mixture that is zero throughout gives zeros, where the
origin's biases are heard. Left out: the quantized weights (DiffQ), and layers without
their 1×1 convolution. Notebook: 09.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import check_mixture, check_range
from mssedu.models.blocks import check_config
from mssedu.models.blocks.dconv import BiLSTM, rescale_


@dataclass(frozen=True)
class DemucsConfig:
    """Defaults: the published model for MUSDB18, trained on 10 s at a time."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 10.0  # seconds
    width: int = 64  # channels of the first level
    growth: float = 2.0  # of the width, from level to level
    depth: int = 6  # levels
    kernel_size: int = 8  # samples, of the convolutions that change the rate
    stride: int = 4  # from level to level, the rate falls by this factor
    context: int = 3  # frames that the decoder looks at before it raises the rate
    glu: bool = True  # gates; else ReLU
    lstm_layers: int = 2  # 0: no LSTM
    resample: bool = True  # work at twice the sample rate
    normalize: bool = False  # to mean 0 and deviation 1 of the mono mixture
    rescale: float = 0.1  # draws the deviation of new weights towards this; 0: does not

    def __post_init__(self) -> None:
        where = "DemucsConfig"
        check_config(self)
        check_range("width", self.width, 1)
        check_range("growth", self.growth, 1)
        check_range("depth", self.depth, 1)
        check_range("stride", self.stride, 1)
        # No sample between two kernels; and enough samples to have a deviation
        check_range("kernel_size", self.kernel_size, max(3, self.stride))
        check_range("context", self.context, 1)
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
    """Length of input from which the convolutions make `samples` of output, or more.

    Follows the signal down and up again: no convolution pads, so each takes away a few
    frames; and only full kernels count, so lengths are rounded up on the way down.

    Args:
        config: of a Demucs.
        samples: wanted, ≥ 1.

    Returns:
        Samples, the smallest valid length; the output's surplus is cut off evenly.

    Raises:
        InputError: less than one sample wanted.

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
    """Change the sample rate by new / old: sum of sinc functions, one per old sample.

    A sinc rings on for ever; this one fades out at its 24th zero, and its cutoff lies
    5.5 % below the lower of the two Nyquist frequencies, where the fade leaves room.

    Source: J. O. Smith, "Digital audio resampling", ccrma.stanford.edu/~jos/resample;
    values and ends (first and last sample go on) as in the package julius.
    """

    def __init__(self, old: int, new: int) -> None:
        super().__init__()
        self.old, self.new = old, new
        n_zeros, cutoff = 24, 0.945 * min(old, new)
        self.reach = math.ceil(n_zeros * old / cutoff)
        # Distance in time of the samples around (columns) from each new one (rows)
        around = torch.arange(-self.reach, self.reach + old, dtype=torch.float64) / old
        time = around - torch.arange(new, dtype=torch.float64).unsqueeze(1) / new
        zeros = (time * cutoff).clamp(-n_zeros, n_zeros)
        kernel = torch.sinc(zeros) * torch.cos(zeros / n_zeros * math.pi / 2).square()
        kernel = kernel / kernel.sum(dim=1, keepdim=True)  # a constant stays as it is
        kernel = rearrange(kernel, "new t -> new 1 t").float()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, channels, samples · new // old)."""
        channels, samples = x.shape[1:]
        around = F.pad(x, (self.reach, self.reach + self.old), mode="replicate")
        # Each channel alone: on a CPU, groups are far faster than a batch of them.
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
    """(batch, n_in, samples) -> (batch, n_out, samples · stride), about."""
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
    """Encoder, LSTM, decoder; see the head of this file."""

    def __init__(self, config: DemucsConfig) -> None:
        super().__init__()
        self.config = config
        widths, n_out = config.widths, len(config.stems) * config.channels
        self.upsample = Resample(1, 2) if config.resample else nn.Identity()
        self.encoder = nn.ModuleList(
            encoder_layer(config, *pair)
            for pair in pairwise((config.channels, *widths))
        )
        self.lstm = (
            BiLSTM(widths[-1], config.lstm_layers)
            if config.lstm_layers
            else nn.Identity()
        )
        decoder = [
            decoder_layer(config, *pair) for pair in pairwise((*widths[::-1], n_out))
        ]
        del decoder[-1][-1]  # no ReLU at the end: a waveform has negative samples
        self.decoder = nn.ModuleList(decoder)
        self.downsample = Resample(2, 1) if config.resample else nn.Identity()
        if config.rescale:
            rescale_(self, config.rescale)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
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
        is_heard = mixture.ne(0).any(dim=-1).any(dim=-1)  # biases hum in silence too
        return center_trim(x, samples) * is_heard[:, None, None, None]

    def level(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation that the mixture is freed of, (batch, 1, 1) each."""
        mono = mixture.mean(dim=1, keepdim=True)
        if not self.config.normalize:
            return torch.zeros_like(mono[..., :1]), torch.ones_like(mono[..., :1])
        deviation, mean = torch.std_mean(mono, dim=-1, keepdim=True)
        return mean, deviation


def center_pad(x: Tensor, length: int) -> Tensor:
    """Zeros at both ends up to `length`; of an odd number, one more at the end."""
    missing = length - x.shape[-1]
    return F.pad(x, (missing // 2, missing - missing // 2))


def center_trim(x: Tensor, length: int) -> Tensor:
    """The middle `length` samples; of an odd surplus, one more goes at the end."""
    start = (x.shape[-1] - length) // 2
    return x[..., start : start + length]
