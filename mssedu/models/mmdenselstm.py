"""MMDenseLSTM: dense blocks over several bands and resolutions, with LSTMs among them.

A network per stem reads the magnitude spectrogram of the mixture four times: in three
bands, and as a whole. Each reading is a U-Net of dense blocks, which see patterns a few
bins and frames wide; at some of its sizes an LSTM reads whole frames, one after the
other, and adds one more channel. The network gives a magnitude. The multichannel Wiener
filter then makes the stems consistent with the mixture.

    mixture (batch, channels, samples)
      │ STFT, reflected ends
    spectrogram (batch, channels, 2049 bins, frames)
      │ magnitude; then, for each stem:
      │   subtract a mean, divide by a deviation
      │   ├─ bins 0 … 379       ▸ 7 dense blocks, size 1 ▸ 1/8 ▸ 1, 2 LSTMs ─┐
      │   ├─ bins 380 … 1023    ▸ 7 dense blocks, size 1 ▸ 1/8 ▸ 1, 1 LSTM ──┤ stacked
      │   ├─ bins 1024 … 2048   ▸ 4 dense blocks, 1 ▸ 1/4 ▸ 1, 1 LSTM ───────┘
      │   └─ all bins           ▸ 9 dense blocks, 1 ▸ 1/16 ▸ 1, 2 LSTMs ─ beside
      │   dense block of 3 layers ▸ values · gates ▸ scale, shift ▸ relu
    magnitude (batch, stems, channels, 2049 bins, frames)
      │ mixture's phase; in eval mode one EM step, 300 frames at a time
    estimate (batch, stems, channels, samples)

Paper: Takahashi, Goswami, Mitsufuji 2018, "MMDenseLSTM: an efficient combination of
    convolutional and recurrent neural networks for audio source separation" (IWAENC).
Origin: the authors published no code. The sizes and every choice that the paper leaves
    open are those of a port, github.com/tky823/DNN-based_source_separation. It has no
    license, so it was run as a witness and nothing was copied; its D3Net, which has the
    same dense blocks, is also at github.com/chenchy/D3Net (MIT). The same weights give
    the same magnitudes as the port (tests/parity).
Parameters: 1,370,784 for each stem. The paper has 1.22 million; its exact sizes are not
    known.
Choices: the LSTM comes after the dense block (the paper's "Sa", its best); `lstm` also
    has "parallel" and "before" ("P", "Sb"). It reads one map, a sum of the channels.
Differences: all stems are in one model. The batch norms add 1e-5 to the variance, the
    port 1e-12, which divides by almost nothing in silence. The port divides the input
    by the absolute value of the deviation. The Wiener filter is that of `mssedu.masks`,
    over windows; training mode leaves it out. A single stem is filtered against a
    residual. Zeros follow a mixture that is too short for reflection.
Left out: MMDenseNet, which is this network without the LSTMs.
Notebook: 15.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_name, check_range
from mssedu.models.blocks.dense import (
    BandsAndWhole,
    DenseBlock,
    DenseSeparator,
    GatedOutput,
    MultiScalePath,
    Standardize,
)
from mssedu.models.contract import check_config, check_stft

Placement = Literal["after", "parallel", "before"]


@dataclass(frozen=True)
class PathSizes:
    """Sizes of a path over several resolutions, one number for each of its stages."""

    bins: int
    features: int  # channels of the first convolution
    growth: tuple[int, ...]  # channels that a layer adds: down, deepest, up
    n_layers: tuple[int, ...]  # of each dense block; 0: an LSTM without dense block
    hidden: tuple[int, ...]  # units of the LSTM each way; 0: no LSTM

    def bins_at(self, stage: int) -> int:
        """Bins at a stage: half of them, rounded up, for each step down."""
        return -(-self.bins // 2 ** min(stage, len(self.growth) - 1 - stage))


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the network of one stem."""

    bands: tuple[PathSizes, ...]  # from low to high
    whole: PathSizes
    final_growth: int
    final_layers: int


NETWORKS = {
    "large": NetworkSizes(
        bands=(
            PathSizes(380, 32, (14,) * 7, (5,) * 7, (0, 0, 0, 64, 0, 64, 0)),
            PathSizes(644, 32, (4,) * 7, (4,) * 7, (0, 0, 0, 16, 0, 0, 0)),
            PathSizes(1025, 32, (2, 2, 0, 2, 2), (1, 1, 0, 1, 1), (0, 0, 4, 0, 0)),
        ),
        whole=PathSizes(
            2049,
            8,
            (7,) * 9,
            (3, 3, 4, 5, 5, 5, 4, 3, 3),
            (0, 0, 0, 0, 64, 0, 0, 64, 0),
        ),
        final_growth=12,
        final_layers=3,
    ),
    "small": NetworkSizes(
        bands=(
            PathSizes(128, 8, (6, 6, 6), (2, 2, 2), (0, 16, 0)),
            PathSizes(256, 4, (3, 3, 3), (1, 1, 1), (0, 8, 0)),
            PathSizes(641, 4, (2, 0, 2), (1, 0, 1), (0, 4, 0)),
        ),
        whole=PathSizes(1025, 4, (4,) * 5, (2,) * 5, (0, 0, 16, 0, 0)),
        final_growth=6,
        final_layers=2,
    ),
}
LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "wiener_iterations": 999,
    "wiener_frames": 10**6,
}  # values of a config, see check_config


@dataclass(frozen=True)
class MMDenseLSTMConfig:
    """The defaults are those of the port, see above."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 6.0  # seconds; the length in training
    n_fft: int = 4096
    hop_length: int = 1024
    network: str = "large"  # sizes, a name of NETWORKS
    lstm: Placement = "after"  # where the LSTM stands, seen from its dense block
    wiener_iterations: int = 1  # EM steps; 0 keeps the phase of the mixture
    wiener_frames: int = 300  # filtered together; sources should not move within them

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_name("network", self.network, NETWORKS)
        check_range("wiener_iterations", self.wiener_iterations, 0)
        check_range("wiener_frames", self.wiener_frames, 1)
        bins = self.sizes.whole.bins
        if self.n_fft // 2 + 1 != bins:
            raise InputError(
                f"n_fft must be {2 * bins - 2} for network={self.network!r}, whose "
                f"bands have {bins} bins together, got {self.n_fft}. Choose another "
                "network, or add one to NETWORKS."
            )

    @property
    def sizes(self) -> NetworkSizes:
        """The sizes of the networks."""
        return NETWORKS[self.network]


PRESETS = {
    "paper": MMDenseLSTMConfig(),
    "tiny": MMDenseLSTMConfig(n_fft=2048, hop_length=1024, network="small"),
}


class FrameLSTM(nn.Module):
    """An LSTM that reads whole frames of one map, in both directions of time."""

    def __init__(self, n_in: int, bins: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(n_in, 1, 1)
        self.lstm = nn.LSTM(bins, hidden, batch_first=True, bidirectional=True)
        self.expand = nn.Linear(2 * hidden, bins)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, 1, bins, frames)."""
        frames = rearrange(self.reduce(x), "b 1 f m -> b m f")
        return rearrange(self.expand(self.lstm(frames)[0]), "b m f -> b 1 f m")


class DenseLSTMBlock(nn.Module):
    """A dense block and an LSTM; see `MMDenseLSTMConfig.lstm`."""

    def __init__(
        self,
        n_in: int,
        growth: int,
        n_layers: int,
        bins: int,
        hidden: int,
        placement: Placement,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.lstm = FrameLSTM(growth if placement == "after" else n_in, bins, hidden)
        n_dense = n_in + 1 if placement == "before" else n_in
        self.dense = DenseBlock(n_dense, growth, n_layers, dilated=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, growth [+ 1], bins, frames)."""
        if self.placement == "before":
            return self.dense(torch.cat([x, self.lstm(x)], dim=1))
        y = self.dense(x)
        return torch.cat([y, self.lstm(x if self.placement == "parallel" else y)], 1)


class StemNetwork(nn.Module):
    """From the magnitude of the mixture to that of one stem."""

    def __init__(self, config: MMDenseLSTMConfig) -> None:
        super().__init__()
        sizes, channels = config.sizes, config.channels
        self.standardize = Standardize(sizes.whole.bins)
        widths = [band.growth[-1] for band in sizes.bands]
        self.paths = BandsAndWhole(
            [band.bins for band in sizes.bands],
            [_path(channels, band, config.lstm) for band in sizes.bands],
            widths,
            _path(channels, sizes.whole, config.lstm),
        )
        self.final = DenseBlock(
            max(widths) + sizes.whole.growth[-1],
            sizes.final_growth,
            sizes.final_layers,
            dilated=True,
        )
        self.output = GatedOutput(sizes.final_growth, channels, sizes.whole.bins)

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> the same shape."""
        return self.output(self.final(self.paths(self.standardize(magnitude))))


def _path(channels: int, sizes: PathSizes, placement: Placement) -> MultiScalePath:
    adds_one = placement != "before"
    widths = []
    for growth, n_layers, hidden in zip(
        sizes.growth, sizes.n_layers, sizes.hidden, strict=True
    ):
        widths.append(growth + (adds_one and hidden > 0) if n_layers else 1)

    def block(stage: int, n_in: int) -> nn.Module:
        growth, n_layers = sizes.growth[stage], sizes.n_layers[stage]
        bins, hidden = sizes.bins_at(stage), sizes.hidden[stage]
        if not hidden:
            return DenseBlock(n_in, growth, n_layers, dilated=False)
        if not n_layers:
            return FrameLSTM(n_in, bins, hidden)
        return DenseLSTMBlock(n_in, growth, n_layers, bins, hidden, placement)

    return MultiScalePath(channels, sizes.features, widths, block)


class MMDenseLSTM(DenseSeparator):
    """A network per stem and a Wiener filter; see above."""

    def __init__(self, config: MMDenseLSTMConfig) -> None:
        super().__init__(config, (StemNetwork(config) for _ in config.stems))
