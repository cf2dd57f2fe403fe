"""Wave-U-Net: a U-Net on the waveform itself, which hears more than it answers for.

Twelve levels each filter the signal and then keep every second sample, so that the
deepest features look seconds far; twelve more double the rate again by drawing straight
lines between samples, and take the details from the level of the same rate. No
convolution pads: an answer costs 3 s of true context on either side, and no click is
born at the seams. The last stem is not predicted, it is what the others leave.

    mixture (batch, channels, samples)
      │ 65,527 zeros before, as many and a few more behind: the context of the ends
    excerpt (batch, channels, 147,443), here for 16,389 samples (or fewer)
      │ encoder: conv 15, leaky relu ─── skip (batch, 24, 147,429) ──────┐ cut to the
      │          every second sample (batch, 24, 73,715)                 │ middle, set
      │   … 12 levels, 24 channels more each …                           │ before the
      │ bottleneck: conv 15, leaky relu (batch, 312, 9)                  │ decoder's
      │ decoder: n samples ▸ 2n - 1 on straight lines (batch, 312, 17) ◂─┤ own channels
      │          conv 5, leaky relu (batch, 288, 13)                     │
      │   … 12 levels, 24 channels fewer each …                          │
    features (batch, 24, 16,389), beside the excerpt's middle ◂──────────┘
      │ conv 1, tanh; the last stem: mixture minus all others
    estimate (batch, stems, channels, samples)

Paper: Stoller, Ewert, Dixon 2018, "Wave-U-Net: a multi-scale neural network for
end-to-end audio source separation" (ISMIR), model M6: 10,263,498 parameters. Origin:
github.com/f90/Wave-U-Net (MIT), configuration "full_multi_instrument"; its order of the
stems is bass, drums, other, vocals, so the vocals are the rest there. With the same
weights this file gives the same waveforms (tests/parity).

Audio should lie in -1…1: tanh cannot answer with more. As in the origin, the last stem
is clipped to -1…1 in eval mode, and only then the stems may not sum to the mixture. A
single stem has no others to be the rest of, and is predicted. `forward` puts zeros
beyond the ends of what it is given, the origin does so at the ends of a song only: feed
long segments, or cut excerpts with their context and call `WaveUNet.valid`, as the
origin trains. Left out: the zero-padded models M1 and M2, and M5, which learns the
weights of its interpolation. Notebook: 09.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import (
    InputError,
    check_mixture,
    check_range,
    message,
)
from mssedu.models.blocks import check_config
from mssedu.models.blocks.tensorflow import copy_variables


@dataclass(frozen=True)
class WaveUNetConfig:
    """Defaults: M6, the paper's model for four stems."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 22050  # Hz
    channels: int = 2
    segment: float = 30.0  # seconds; 3 s at either end lack some of their context
    n_levels: int = 12
    filters: int = 24  # channels of the first level; each level has as many more
    kernel: int = 15  # samples, on the way down
    merge_kernel: int = 5  # samples, on the way up
    difference: bool = True  # the last stem is the mixture minus all others

    def __post_init__(self) -> None:
        where = "WaveUNetConfig"
        check_config(self)
        check_range("n_levels", self.n_levels, 1)
        check_range("filters", self.filters, 1)
        for name in ("kernel", "merge_kernel"):
            size = getattr(self, name)
            if size < 1 or size % 2 == 0:
                remedy = "Its middle must lie on a sample; add 1."
                raise InputError(message(where, f"an odd {name} ≥ 1", size, remedy))

    @property
    def n_predicted(self) -> int:
        """Stems that the network gives; the last may be the rest of the mixture."""
        n_stems = len(self.stems)
        return n_stems - 1 if self.difference and n_stems > 1 else n_stems


PRESETS = {
    "paper": WaveUNetConfig(),
    # At the rate of the songs in data/, which `mssedu train` reads as they are
    "tiny": WaveUNetConfig(sample_rate=44100, n_levels=9, filters=10),
}


def valid_lengths(config: WaveUNetConfig, samples: int) -> tuple[int, int]:
    """Samples in and out of the convolutions, for at least `samples` of output.

    Only some lengths keep every level on its samples: out, they lie
    2 ** n_levels apart; in, they are longer by the context, always the same.

    Args:
        config: of a Wave-U-Net.
        samples: wanted, ≥ 1.

    Returns:
        Input length and output length, the smallest that suffice.

    Raises:
        InputError: less than one sample wanted.

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
    """All stems from one network on the waveform; see the head of this file."""

    def __init__(self, config: WaveUNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, kernel, merge = config.channels, config.kernel, config.merge_kernel
        widths = [config.filters * level for level in range(1, config.n_levels + 2)]
        above = [channels, *widths[:-2]]  # what a level is given
        self.encoder = nn.ModuleList(
            _filter(n_in, n_out, kernel)
            for n_in, n_out in zip(above, widths[:-1], strict=True)
        )
        self.bottleneck = _filter(widths[-2], widths[-1], kernel)
        self.decoder = nn.ModuleList(
            _filter(width + width + config.filters, width, merge)
            for width in reversed(widths[:-1])
        )
        n_out = config.n_predicted * channels
        self.output = nn.Conv1d(config.filters + channels, n_out, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv1d):  # as TensorFlow starts
                assert part.bias is not None, "every convolution here has a bias"
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
        for rows in self.output.weight.data.split(channels):  # a layer per stem there
            nn.init.xavier_uniform_(rows)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        samples = mixture.shape[-1]
        input_length, output_length = valid_lengths(self.config, samples)
        context = (input_length - output_length) // 2
        missing = output_length - samples
        excerpt = F.pad(mixture, (context, context + missing))
        return self.valid(excerpt)[..., :samples]

    def valid(self, excerpt: Tensor) -> Tensor:
        """Separate the middle of an excerpt, with what lies around it as context.

        Args:
            excerpt: (batch, channels, input length of `valid_lengths`).

        Returns:
            (batch, stems, channels, output length); its first sample is the excerpt's
            at index (input length - output length) / 2.

        Raises:
            InputError: a length that `valid_lengths` never gives.
        """
        check_mixture(excerpt, self.config.channels)
        _check_length(self.config, excerpt.shape[-1])
        x, skips = excerpt, []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
            x = x[..., ::2]
        x = self.bottleneck(x)
        for level in self.decoder:
            x = _double_rate(x)
            x = level(torch.cat([_middle(skips.pop(), x.shape[-1]), x], dim=1))
        heard = _middle(excerpt, x.shape[-1])
        predicted = torch.tanh(self.output(torch.cat([heard, x], dim=1)))
        channels = self.config.channels
        estimate = rearrange(predicted, "b (s c) t -> b s c t", c=channels)
        return self._with_rest(estimate, heard)

    def _with_rest(self, estimate: Tensor, mixture: Tensor) -> Tensor:
        """Add the last stem, if it is what the others leave of the mixture."""
        if self.config.n_predicted == len(self.config.stems):
            return estimate
        rest = mixture - estimate.sum(dim=1)
        if not self.training:
            rest = rest.clamp(-1, 1)
        return torch.cat([estimate, rest[:, None]], dim=1)


def _filter(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    """(batch, n_in, samples) -> (batch, n_out, samples - kernel + 1)."""
    return nn.Sequential(nn.Conv1d(n_in, n_out, kernel), nn.LeakyReLU(0.2))


def _double_rate(x: Tensor) -> Tensor:
    """A new sample halfway between any two: n samples -> 2n - 1."""
    size = 2 * x.shape[-1] - 1
    return F.interpolate(x, size, mode="linear", align_corners=True)


def _middle(x: Tensor, samples: int) -> Tensor:
    """The middle `samples` of the last axis."""
    extra = x.shape[-1] - samples
    assert extra >= 0, "the way up has no more samples than the way down"
    assert extra % 2 == 0, "odd kernels leave odd lengths on both ways"
    return x[..., extra // 2 : extra // 2 + samples]


def _check_length(config: WaveUNetConfig, samples: int) -> None:
    input_length, _ = valid_lengths(config, 1)
    step = 2**config.n_levels
    n_steps, odd = divmod(samples - input_length, step)
    if n_steps < 0 or odd:
        wanted = f"an excerpt of {input_length} + n · {step} samples"
        remedy = "valid_lengths(config, samples) gives the length to cut."
        raise InputError(message("WaveUNet.valid", wanted, samples, remedy))


def load_official(model: WaveUNet, variables: Mapping[str, Any]) -> None:
    """Load the published weights: the variables of a TensorFlow checkpoint, by name.

    TensorFlow numbers the convolutions in the order of computation (conv1d, conv1d_1,
    …), one for each predicted stem at the end; kernels are (samples, in, out) there.

    Args:
        model: of the published configuration, its stems in the published order.
        variables: name, e.g. "separator/conv1d_3/kernel", -> array or tensor; others
            that a checkpoint holds (those of the optimizer) are left alone.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    blocks = [*model.encoder, model.bottleneck, *model.decoder]
    places = [(block[0].weight, block[0].bias) for block in blocks]
    last, rows = model.output, model.config.channels  # ours is one for all stems
    assert last.bias is not None, "every convolution here has a bias"
    places += zip(last.weight.split(rows), last.bias.split(rows), strict=True)
    named: list[tuple[str, Tensor]] = []
    for number, (weight, bias) in enumerate(places):
        prefix = "separator/conv1d" + (f"_{number}" if number else "")
        named += [(f"{prefix}/kernel", weight), (f"{prefix}/bias", bias)]
    copy_variables(named, variables)
