"""Wave-U-Net: a U-Net on the waveform itself, without padding.

Each of twelve levels filters the signal and then drops every second sample, so that the
deepest features cover seconds of sound; twelve more levels double the rate again by
linear interpolation and add the detail of the encoder level of the same rate. No
convolution pads: each output needs 3 s of the mixture on each side, so neighboring
chunks join without artifacts. The last stem is not predicted; it is the mixture minus
all other stems.

    mixture (batch, channels, samples)
      │ 65,527 zeros before, as many and a few more after: the context of the ends
    excerpt (batch, channels, 147,443), here for 16,389 samples (or fewer)
      │ encoder: conv 15, leaky relu ─── skip (batch, 24, 147,429) ──────┐ cut to the
      │          every second sample (batch, 24, 73,715)                 │ middle, set
      │   … 12 levels, 24 channels more each …                           │ before the
      │ bottleneck: conv 15, leaky relu (batch, 312, 9)                  │ decoder's
      │ decoder: n samples ▸ 2n - 1 on straight lines (batch, 312, 17) ◂─┤ own channels
      │          conv 5, leaky relu (batch, 288, 13)                     │
      │   … 12 levels, 24 channels fewer each …                          │
    features (batch, 24, 16,389), with the excerpt's middle ◂────────────┘
      │ conv 1, tanh; the last stem: mixture minus all others
    estimate (batch, stems, channels, samples)

Paper: Stoller, Ewert, Dixon 2018, "Wave-U-Net: a multi-scale neural network for
    end-to-end audio source separation" (ISMIR), model M6: 10,263,498 parameters.
Origin: github.com/f90/Wave-U-Net (MIT), configuration "full_multi_instrument". Its
    stems are bass, drums, other, vocals, so there the vocals are the rest. With the
    same weights this file gives the same waveforms (tests/parity).
Differences: a single stem has no others to subtract, so it is predicted. `forward` puts
    zeros around its input, the origin only around a whole song: use long segments, or
    cut excerpts with their context and call `WaveUNet.valid`, as the origin trains. As
    in the origin, the last stem is clipped to -1…1 in eval mode; only then may the
    stems not sum to the mixture. Audio should be within -1…1, the range of tanh.
Left out: zero padding (M1, M2) and learned interpolation (M5), as M6 has neither.
Notebook: 09.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.tensorflow import copy_variables
from mssedu.models.contract import check_config, check_odd

LARGEST = {
    "n_levels": 24,
    "filters": 16384,
    "kernel": 999,
    "merge_kernel": 999,
}  # values of a config, see check_config


@dataclass(frozen=True)
class WaveUNetConfig:
    """The defaults are M6, the paper's model for four stems."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 22050  # Hz
    channels: int = 2
    segment: float = 30.0  # seconds; 3 s at each end have incomplete context
    n_levels: int = 12
    filters: int = 24  # channels of the first level; each further level adds as many
    kernel: int = 15  # samples, in the encoder
    merge_kernel: int = 5  # samples, in the decoder
    difference: bool = True  # the last stem is the mixture minus all others

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_range("n_levels", self.n_levels, 1)
        check_range("filters", self.filters, 1)
        check_odd("kernel", self.kernel)
        check_odd("merge_kernel", self.merge_kernel)

    @property
    def n_predicted(self) -> int:
        """Number of stems that the network predicts; the last stem may be the rest."""
        n_stems = len(self.stems)
        return n_stems - 1 if self.difference and n_stems > 1 else n_stems


PRESETS = {
    "paper": WaveUNetConfig(),
    # The sample rate is that of the songs in data/, so training needs no resampling.
    "tiny": WaveUNetConfig(sample_rate=44100, n_levels=9, filters=10),
}


def valid_lengths(config: WaveUNetConfig, samples: int) -> tuple[int, int]:
    """Smallest input and output length for at least `samples` ≥ 1 of output.

    Only some lengths fit the downsampling of every level. Output lengths are a multiple
    of 2 ** n_levels apart. Input lengths are longer by the context, a constant.

    Raises:
        InputError: samples is below 1.

    Example:
        >>> valid_lengths(WaveUNetConfig(), 16384)  # the paper's training excerpt
        (147443, 16389)
    """
    check_range("samples", samples, 1)
    bottom = samples  # becomes the length at the lowest rate
    for _ in range(config.n_levels):
        bottom = (bottom + config.merge_kernel + 1) // 2
    output_length, input_length = bottom, bottom + config.kernel - 1
    for _ in range(config.n_levels):
        output_length = 2 * output_length - config.merge_kernel
        input_length = 2 * input_length - 1 + config.kernel - 1
    return input_length, output_length


class WaveUNet(nn.Module):
    """All stems from one network on the waveform; see above."""

    def __init__(self, config: WaveUNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, kernel, merge = config.channels, config.kernel, config.merge_kernel
        widths = [config.filters * level for level in range(1, config.n_levels + 2)]
        self.encoder = nn.ModuleList(
            _filter(*pair, kernel) for pair in pairwise([channels, *widths[:-1]])
        )
        self.bottleneck = _filter(widths[-2], widths[-1], kernel)
        self.decoder = nn.ModuleList(
            _filter(width + width + config.filters, width, merge)
            for width in reversed(widths[:-1])
        )
        n_out = config.n_predicted * channels
        self.output = nn.Conv1d(config.filters + channels, n_out, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv1d):  # the first weights of TensorFlow
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(cast(Tensor, part.bias))
        for rows in self.output.weight.data.split(channels):  # one layer per stem
            nn.init.xavier_uniform_(rows)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        samples = mixture.shape[-1]
        input_length, output_length = valid_lengths(self.config, samples)
        context = (input_length - output_length) // 2
        excerpt = F.pad(mixture, (context, context + output_length - samples))
        return self.valid(excerpt)[..., :samples]

    def valid(self, excerpt: Tensor) -> Tensor:
        """Separate the middle of an excerpt; the rest of it is the context.

        (batch, channels, input length) -> (batch, stems, channels, output length), both
        lengths as of `valid_lengths`; the context is the same at both ends.

        Raises:
            InputError: a length that `valid_lengths` never returns.
        """
        # b batch, s stem, c channel, t sample
        channels = self.config.channels
        check_mixture(excerpt, channels)
        samples, step = excerpt.shape[-1], 2**self.config.n_levels
        shortest, _ = valid_lengths(self.config, 1)
        if samples < shortest or (samples - shortest) % step:
            raise InputError(
                f"excerpt must have {shortest} + n · {step} samples, got {samples}. "
                "valid_lengths(config, samples) returns a length that fits."
            )
        x, skips = excerpt, []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
            x = x[..., ::2]
        x = self.bottleneck(x)
        for level in self.decoder:
            size = 2 * x.shape[-1] - 1  # one more sample halfway between any two
            x = F.interpolate(x, size, mode="linear", align_corners=True)
            x = level(torch.cat([_middle(skips.pop(), x.shape[-1]), x], dim=1))
        mixture = _middle(excerpt, x.shape[-1])
        predicted = torch.tanh(self.output(torch.cat([mixture, x], dim=1)))
        estimate = rearrange(predicted, "b (s c) t -> b s c t", c=channels)
        if self.config.n_predicted == len(self.config.stems):
            return estimate
        rest = mixture - estimate.sum(dim=1)
        rest = rest if self.training else rest.clamp(-1, 1)
        return torch.cat([estimate, rest[:, None]], dim=1)


def _filter(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    """(batch, n_in, samples) -> (batch, n_out, samples - kernel + 1)."""
    return nn.Sequential(nn.Conv1d(n_in, n_out, kernel), nn.LeakyReLU(0.2))


def _middle(x: Tensor, samples: int) -> Tensor:
    """The middle `samples` of the last axis."""
    start = (x.shape[-1] - samples) // 2  # exact: odd kernels give odd lengths
    return x[..., start : start + samples]


def load_official(model: WaveUNet, variables: Mapping[str, Any]) -> None:
    """Load the published weights: the variables of a TensorFlow checkpoint, by name.

    TensorFlow numbers the convolutions in the order of computation (conv1d, conv1d_1,
    …); the last ones are one for each predicted stem. Kernels are (samples, in, out).

    Args:
        model: of the published configuration, with its stems in the published order.
        variables: name, e.g. "separator/conv1d_3/kernel", -> array or tensor; those of
            the optimizer are ignored.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    blocks = [*model.encoder, model.bottleneck, *model.decoder]
    places = [(block[0].weight, block[0].bias) for block in blocks]
    last, rows = model.output, model.config.channels  # one layer for all stems
    bias = cast(Tensor, last.bias)
    places += zip(last.weight.split(rows), bias.split(rows), strict=True)
    named: list[tuple[str, Tensor]] = []
    for number, (weight, bias) in enumerate(places):
        prefix = "separator/conv1d" + (f"_{number}" if number else "")
        named += [(f"{prefix}/kernel", weight), (f"{prefix}/bias", bias)]
    copy_variables(named, variables)
