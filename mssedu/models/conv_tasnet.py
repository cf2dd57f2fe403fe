"""Conv-TasNet: masks on a spectrogram-like code that the network learns by itself.

A bank of 256 short filters, learned and not given as in an STFT, turns the waveform
into a code of positive numbers. A tall stack of convolutions, whose reach doubles from
block to block, looks at almost two seconds of it and gives each stem a mask for every
number. A second bank of filters turns each masked code into a waveform; no phase is
ever computed.

    mixture (batch, channels, samples)
      │ zeros at the end, to fill the last frame
      │ encoder: convolution, 20 samples wide, 10 apart ▸ relu
    code (batch, 256 filters, frames)
      │ norm ▸ bottleneck 256
      │ 4 times, each time with dilations 1, 2, 4 … 512:
      │   ┌ 512 ▸ prelu ▸ norm ▸ 3 frames, each channel alone ▸ prelu ▸ norm ▸ 256 ┐
      │   └────────────────────────────────── + ───────────────────────────────────┘
      │ stems · 256 ▸ relu
    mask (batch, stems, 256 filters, frames)
      │ times the code; decoder: channels · 20 samples a frame, overlapping ones added
    estimate (batch, stems, channels, samples)

Paper: Luo, Mesgarani 2019, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude
Masking for Speech Separation" (IEEE/ACM TASLP 27(8)). Origin: the version for stereo
music of Défossez et al. 2019, github.com/facebookresearch/demucs, release 2.0.3 (MIT;
its tasnet.py goes back to Kaituo Xu, MIT). It has ReLU masks, no biases, and not the
skip path of the paper. With the same weights this file gives the same waveforms
(tests/parity); the origin's state dict fits as it is.

Where it differs: the up to 9 samples behind the last full frame are estimated too, with
zeros behind them, where the origin returns zeros. `causal` switches the padding and the
norms together. Batch norm is left out. Notebook: 09.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_name, check_range, message
from mssedu.models.blocks import check_config

MASKS = ("relu", "softmax")


@dataclass(frozen=True)
class ConvTasNetConfig:
    """Defaults: the origin's model for music; the paper's letter behind each size."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 8.0  # seconds
    n_filters: int = 256  # N: in the encoder's bank
    filter_length: int = 20  # L: samples of a frame
    hop_length: int = 10  # samples from frame to frame
    bottleneck: int = 256  # B: channels between the blocks
    hidden: int = 512  # H: channels inside a block
    kernel_size: int = 3  # P: frames that a block looks at, at its dilation
    n_blocks: int = 10  # X: with dilations 1, 2, 4 …
    n_repeats: int = 4  # R: of all these blocks
    mask: Literal["relu", "softmax"] = "relu"  # softmax: the stems share out the code
    causal: bool = False  # look at the past alone; norms take each frame by itself

    def __post_init__(self) -> None:
        where = "ConvTasNetConfig"
        check_config(self)
        for size in ("n_filters", "bottleneck", "hidden", "n_blocks", "n_repeats"):
            check_range(size, getattr(self, size), 1)
        check_range("filter_length", self.filter_length, 1)
        check_range("hop_length", self.hop_length, 1, self.filter_length)
        check_name("mask", self.mask, MASKS)
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            remedy = "An odd kernel has a middle frame, so that the length stays."
            wanted = "an odd kernel_size ≥ 1"
            raise InputError(message(where, wanted, self.kernel_size, remedy))


PRESETS = {
    "paper": ConvTasNetConfig(),
    # Longer filters mean fewer frames: that is what a second of music costs. In a short
    # training, ReLU masks may all become zero, from where nothing leads back.
    "tiny": ConvTasNetConfig(
        n_filters=128,
        filter_length=160,
        hop_length=80,
        bottleneck=64,
        hidden=128,
        n_blocks=8,
        n_repeats=2,
        mask="softmax",
    ),
}


class Norm(nn.Module):
    """To mean 0 and variance 1, over all channels; then each one's scale and shift.

    One mean and one variance hold for the whole excerpt: the paper's global layer norm
    (gLN). Or each frame has its own, and nothing is known of the future (cLN in the
    origin, not quite the paper's, which looks at all frames so far).
    """

    def __init__(self, channels: int, *, each_frame: bool) -> None:
        super().__init__()
        self.each_frame = each_frame
        self.gamma = nn.Parameter(torch.ones(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) -> the same shape."""
        gamma, beta, epsilon = self.gamma.flatten(), self.beta.flatten(), 1e-8
        if self.each_frame:
            return F.layer_norm(x.mT, gamma.shape, gamma, beta, epsilon).mT
        return F.group_norm(x, 1, gamma, beta, epsilon)  # all channels are one group


class Encoder(nn.Module):
    """The waveform in terms of learned filters: how much of each in every frame."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.conv1d_U = nn.Conv1d(
            config.channels,
            config.n_filters,
            config.filter_length,
            stride=config.hop_length,
            bias=False,
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, filters, frames), nothing negative."""
        return F.relu(self.conv1d_U(mixture))


class DropEnd(nn.Module):
    """Drop the last frames: with zeros at both ends before, what is left is causal."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) -> as many frames less as it was told."""
        return x[..., : x.shape[-1] - self.frames]


class DepthwiseSeparable(nn.Module):
    """A convolution in two cheap steps: along time, then across channels."""

    def __init__(self, config: ConvTasNetConfig, dilation: int) -> None:
        super().__init__()
        hidden, reach = config.hidden, (config.kernel_size - 1) * dilation
        depthwise = nn.Conv1d(
            hidden,
            hidden,
            config.kernel_size,
            padding=reach if config.causal else reach // 2,
            dilation=dilation,
            groups=hidden,
            bias=False,
        )
        self.net = nn.Sequential(
            depthwise,
            *([DropEnd(reach)] if config.causal else []),
            nn.PReLU(),
            Norm(hidden, each_frame=config.causal),
            nn.Conv1d(hidden, config.bottleneck, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, hidden, frames) -> (batch, bottleneck, frames)."""
        return self.net(x)


class Block(nn.Module):
    """What a wider look, `dilation` frames to either side, adds to what is known."""

    def __init__(self, config: ConvTasNetConfig, dilation: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(config.bottleneck, config.hidden, 1, bias=False),
            nn.PReLU(),
            Norm(config.hidden, each_frame=config.causal),
            DepthwiseSeparable(config, dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, bottleneck, frames) -> the same shape."""
        return x + self.net(x)


class Separator(nn.Module):
    """From the code to a score for each of its numbers and each stem."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        n_filters, bottleneck = config.n_filters, config.bottleneck
        self.n_stems = len(config.stems)
        dilations = [2**index for index in range(config.n_blocks)]
        repeats = [
            nn.Sequential(*(Block(config, dilation) for dilation in dilations))
            for _ in range(config.n_repeats)
        ]
        self.network = nn.Sequential(
            Norm(n_filters, each_frame=True),
            nn.Conv1d(n_filters, bottleneck, 1, bias=False),
            nn.Sequential(*repeats),
            nn.Conv1d(bottleneck, self.n_stems * n_filters, 1, bias=False),
        )

    def forward(self, code: Tensor) -> Tensor:
        """(batch, filters, frames) -> (batch, stems, filters, frames)."""
        return rearrange(self.network(code), "b (s d) m -> b s d m", s=self.n_stems)


class Decoder(nn.Module):
    """Waveforms from codes: each number scales a learned waveform, all are added up."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.config = config
        n_out = config.channels * config.filter_length
        self.basis_signals = nn.Linear(config.n_filters, n_out, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        """(batch, stems, filters, frames) -> (batch, stems, channels, samples)."""
        length, hop_length = self.config.filter_length, self.config.hop_length
        batch, frames = code.shape[0], code.shape[-1]
        pieces = self.basis_signals(
            code.mT
        )  # (batch, stems, frames, channels · length)
        # F.fold adds up the patches of a picture; ours is a single line high.
        added = F.fold(
            rearrange(pieces, "b s m d -> (b s) d m"),
            output_size=(1, (frames - 1) * hop_length + length),
            kernel_size=(1, length),
            stride=(1, hop_length),
        )
        return rearrange(added, "(b s) c 1 t -> b s c t", b=batch)


class ConvTasNet(nn.Module):
    """Encode, mask, decode; see the head of this file."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.separator = Separator(config)
        # A module, so that mssedu.inspect.inside has a name for it
        self.mask = nn.ReLU() if config.mask == "relu" else nn.Softmax(dim=1)
        self.decoder = Decoder(config)
        # As in the origin, also for scale and shift of the norms: they start out small
        # and with them what each of the 40 blocks adds.
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_normal_(parameter)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        samples = mixture.shape[-1]
        hops = math.ceil(max(samples - config.filter_length, 0) / config.hop_length)
        missing = hops * config.hop_length + config.filter_length - samples
        code = self.encoder(F.pad(mixture, (0, missing)))
        mask = self.mask(self.separator(code))
        estimate = self.decoder(mask * code.unsqueeze(1))
        return estimate[..., :samples]
