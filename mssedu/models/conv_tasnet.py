"""Conv-TasNet: masks on a code that the network learns in place of a spectrogram.

A bank of 256 short filters, which are learned and not fixed as in an STFT, turns the
waveform into a code of numbers ≥ 0. A deep stack of convolutions, whose dilation
doubles from block to block, covers almost two seconds of the code and estimates a mask
for each stem. A second bank of filters turns each masked code into a waveform, so no
phase is needed.

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
    Masking for Speech Separation" (IEEE/ACM TASLP 27(8)).
Origin: the version for stereo music of Défossez et al. 2019, in
    github.com/facebookresearch/demucs, release 2.0.3 (MIT; its tasnet.py is based on
    code of Kaituo Xu, MIT), with ReLU masks, without biases and the paper's skip path.
    The same weights give the same waveforms (tests/parity); its state dict fits as is.
Differences: the up to 9 samples after the last full frame are estimated too, with zeros
    after them; the origin returns zeros there. `causal` changes padding and norms.
Left out: batch norm, as the origin's model for music does not use it.
Notebook: 09.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import check_mixture, check_name, check_range
from mssedu.models.contract import check_config, check_odd

MASKS = ("relu", "softmax")


LARGEST = {
    "n_filters": 16384,
    "filter_length": 16384,
    "hop_length": 16384,
    "bottleneck": 16384,
    "hidden": 16384,
    "kernel_size": 999,
    "n_blocks": 16,
    "n_repeats": 32,
}  # values of a config, see check_config


@dataclass(frozen=True)
class ConvTasNetConfig:
    """The defaults are the origin's model for music; the letters are the paper's."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 8.0  # seconds
    n_filters: int = 256  # N: filters of the encoder
    filter_length: int = 20  # L: samples of a frame
    hop_length: int = 10  # samples from one frame to the next
    bottleneck: int = 256  # B: channels between the blocks
    hidden: int = 512  # H: channels inside a block
    kernel_size: int = 3  # P: frames that a block reads, at its dilation
    n_blocks: int = 10  # X: with dilations 1, 2, 4 …
    n_repeats: int = 4  # R: times that all blocks repeat
    mask: Literal["relu", "softmax"] = "relu"  # softmax: masks sum to 1 over the stems
    causal: bool = False  # use no future frames; norms are of one frame each

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        sizes = ("n_filters", "filter_length", "bottleneck", "hidden", "n_blocks")
        for name in (*sizes, "n_repeats"):
            check_range(name, getattr(self, name), 1)
        check_range("hop_length", self.hop_length, 1, self.filter_length)
        check_name("mask", self.mask, MASKS)
        check_odd("kernel_size", self.kernel_size)


PRESETS = {
    "paper": ConvTasNetConfig(),
    # Longer filters mean fewer frames, on which the cost depends. In a short training
    # all ReLU masks may become zero; then the gradient is zero too, and they stay zero.
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
    """Normalize to mean 0 and variance 1 over all channels, then scale and shift each.

    Args:
        channels: of the input.
        each_frame: whether every frame has its own mean and variance, so that it does
            not depend on the future. (The origin calls this cLN; that of the paper uses
            all past frames.) Otherwise they are those of the whole excerpt: the paper's
            global layer norm, gLN.
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
    """From the waveform to a code: the output of each learned filter, rectified."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        length, stride = config.filter_length, config.hop_length
        self.conv1d_U = nn.Conv1d(
            config.channels, config.n_filters, length, stride, bias=False
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, filters, frames), all ≥ 0."""
        return F.relu(self.conv1d_U(mixture))


class DepthwiseSeparable(nn.Module):
    """A convolution in two cheap steps: first along time, then across channels."""

    def __init__(self, config: ConvTasNetConfig, dilation: int) -> None:
        super().__init__()
        hidden, size = config.hidden, config.kernel_size
        reach = (size - 1) * dilation
        padding = reach if config.causal else reach // 2
        depthwise = nn.Conv1d(
            hidden, hidden, size, 1, padding, dilation, groups=hidden, bias=False
        )
        # Padded at both ends; without the last frames it is causal.
        drop_end = [nn.ConstantPad1d((0, -reach), 0.0)] if config.causal else []
        self.net = nn.Sequential(
            depthwise,
            *drop_end,
            nn.PReLU(),
            Norm(hidden, each_frame=config.causal),
            nn.Conv1d(hidden, config.bottleneck, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, hidden, frames) -> (batch, bottleneck, frames)."""
        return self.net(x)


class Block(nn.Module):
    """A residual block that reads frames at a distance of `dilation` on both sides."""

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
    """From the code to a score for each of its numbers and for each stem."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        n_filters, bottleneck = config.n_filters, config.bottleneck
        self.n_stems = len(config.stems)
        repeats = [
            nn.Sequential(*(Block(config, 2**i) for i in range(config.n_blocks)))
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
        # b batch, s stem, d filter, m frame
        return rearrange(self.network(code), "b (s d) m -> b s d m", s=self.n_stems)


class Decoder(nn.Module):
    """From codes to waveforms: a sum of learned waveforms, each times a number."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.config = config
        n_out = config.channels * config.filter_length
        self.basis_signals = nn.Linear(config.n_filters, n_out, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        """(batch, stems, filters, frames) -> (batch, stems, channels, samples)."""
        # b batch, s stem, m frame, d = channels · filter_length, c channel, t sample
        length, hop_length = self.config.filter_length, self.config.hop_length
        pieces = rearrange(self.basis_signals(code.mT), "b s m d -> (b s) d m")
        samples = (code.shape[-1] - 1) * hop_length + length
        # F.fold adds overlapping patches of a picture; ours is one line high.
        added = F.fold(pieces, (1, samples), (1, length), stride=(1, hop_length))
        return rearrange(added, "(b s) c 1 t -> b s c t", b=len(code))


class ConvTasNet(nn.Module):
    """Encode, mask, decode; see above."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.separator = Separator(config)
        # A module, so that mssedu.inspect.inside has a name for it.
        self.mask = nn.ReLU() if config.mask == "relu" else nn.Softmax(dim=1)
        self.decoder = Decoder(config)
        # As in the origin, the norms' scales too, so blocks start near the identity.
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
