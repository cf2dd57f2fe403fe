"""What MMDenseLSTM and D3Net share: dense blocks, paths of them, and what is around.

In a dense block each layer reads the outputs of all layers before it, so that a layer
adds little, a few channels, and nothing is computed twice. Summing is enough: layer i
computes with one convolution what it gives to each later layer, and a layer's input is
the sum of what it was given.

    x ▸ layer 0 ▸ [ a₁ | a₂ | a₃ ]        every part has `growth` channels
             a₁ ▸ layer 1 ▸ [ b₂ | b₃ ]   a₂ + b₂ is the input of layer 2,
        a₂ + b₂ ▸ layer 2 ▸ [ c₃ ]        a₃ + b₃ + c₃ the output of the block

In a dilated block the kernel of layer i skips 2ⁱ - 1 bins and frames between its taps.
Each layer then reads every earlier output with the spacing that fits it: the first
output at spacing 1, the second at 2, and so on, without gaps ("multidilated").

Papers: Takahashi and Mitsufuji 2017, "Multi-scale multi-band DenseNets for audio source
    separation" (WASPAA); 2021, "Densely connected multidilated convolutional networks
    for dense prediction tasks" (CVPR).
Axes everywhere: (batch, channels, bins, frames).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.errors import check_mixture
from mssedu.models.blocks.magnitude import any_stft, bin_statistics, filter_windows
from mssedu.spectral import istft


def norm_convolution(n_in: int, n_out: int, dilation: int = 1) -> nn.Sequential:
    """Batch norm, ReLU and a 3 x 3 convolution that keeps the size."""
    return nn.Sequential(
        nn.BatchNorm2d(n_in),
        nn.ReLU(),
        nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation),
    )


class DenseBlock(nn.Module):
    """The layers of the drawing above; its output has `growth` channels.

    Args:
        n_in: channels of the input.
        growth: channels that each layer reads and gives.
        n_layers: at least 1.
        dilated: spread the kernel of layer i by 2ⁱ; otherwise all are compact.
    """

    def __init__(
        self,
        n_in: int,
        growth: int,
        n_layers: int,
        *,
        dilated: bool,
    ) -> None:
        super().__init__()
        self.growth = growth
        self.layers = nn.ModuleList(
            norm_convolution(
                growth if i else n_in,
                growth * (n_layers - i),
                2**i if dilated else 1,
            )
            for i in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, growth, bins, frames)."""
        return connect(self.layers, x, self.growth)


class NestedDenseBlock(nn.Module):
    """A dense block whose layers are dense blocks: the D3 block of D3Net.

    Args:
        n_in: channels of the input.
        growth: channels that each inner block reads, and of the output.
        n_layers: of each inner block.
        n_blocks: inner blocks, at least 1.
        dilated: as in `DenseBlock`; the spacing starts at 1 again in each inner block.
    """

    def __init__(
        self, n_in: int, growth: int, n_layers: int, n_blocks: int, *, dilated: bool
    ) -> None:
        super().__init__()
        self.growth = growth
        self.blocks = nn.ModuleList(
            DenseBlock(
                growth if i else n_in,
                growth * (n_blocks - i),
                n_layers,
                dilated=dilated,
            )
            for i in range(n_blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, growth, bins, frames)."""
        return connect(self.blocks, x, self.growth)


def connect(layers: nn.ModuleList, x: Tensor, growth: int) -> Tensor:
    """Run layers that give `growth` channels to each of the layers after them."""
    first, *others = layers
    given = cast(Tensor, first(x))
    for layer in others:
        x, given = given[:, :growth], given[:, growth:]
        given = given + layer(x)
    return given


class MultiScalePath(nn.Module):
    """A U-Net of dense blocks: half the size after each stage, and back again.

    Args:
        n_in: channels of the input.
        features: channels of the first convolution.
        widths: channels that each stage gives, an odd number of stages: those on the
            way down, the deepest, and those on the way up.
        make: makes the block of a stage from its number and the channels of its input.
    """

    def __init__(
        self,
        n_in: int,
        features: int,
        widths: Sequence[int],
        make: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        half = len(widths) // 2
        self.first = nn.Conv2d(n_in, features, 3, padding=1)
        # The last of these blocks is the deepest.
        self.down = nn.ModuleList(
            make(stage, n) for stage, n in enumerate((features, *widths[:half]))
        )
        self.upsample, self.up = nn.ModuleList(), nn.ModuleList()
        for stage, (below, _) in enumerate(pairwise(widths[half:]), start=half + 1):
            self.upsample.append(
                nn.Sequential(
                    nn.BatchNorm2d(below),
                    nn.ConvTranspose2d(below, below, 2, stride=2),
                )
            )
            self.up.append(make(stage, below + widths[2 * half - stage]))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, widths[-1], bins, frames)."""
        x, shortcuts = self.first(x), []
        *down, deepest = self.down
        for block in down:
            bins, frames = x.shape[-2:]
            # An odd size is filled up to an even one before the block.
            x = block(F.pad(x, (0, frames % 2, 0, bins % 2)))
            shortcuts.append(x[..., :bins, :frames])
            x = F.avg_pool2d(x, 2)
        x = deepest(x)
        for upsample, block in zip(self.upsample, self.up, strict=True):
            shortcut = shortcuts.pop()
            bins, frames = shortcut.shape[-2:]
            x = upsample(x)[..., :bins, :frames]
            x = block(torch.cat([x, shortcut], dim=1))
        return x


class BandsAndWhole(nn.Module):
    """A path for each band of the spectrogram and one for all of it, side by side.

    Low and high bands have different patterns, so each has kernels of its own; the path
    over all bins sees what belongs together across bands.

    Args:
        bins: of each band, from low to high.
        bands: a path for each band.
        widths: channels that these paths give. Narrow ones are widened by a batch norm
            and a 1 x 1 convolution, so that the bands can be stacked.
        whole: the path for all bins.
    """

    def __init__(
        self,
        bins: Sequence[int],
        bands: Sequence[nn.Module],
        widths: Sequence[int],
        whole: nn.Module,
    ) -> None:
        super().__init__()
        self.bins = list(bins)
        self.bands = nn.ModuleList(bands)
        self.widen = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.Conv2d(width, max(widths), 1))
            if width < max(widths)
            else nn.Identity()
            for width in widths
        )
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, widest + whole, bins, frames)."""
        parts = zip(self.bands, self.widen, x.split(self.bins, dim=-2), strict=True)
        bands = torch.cat([widen(path(part)) for path, widen, part in parts], dim=-2)
        return torch.cat([bands, self.whole(x)], dim=1)


class Standardize(nn.Module):
    """Subtract a mean from each bin and divide by a deviation; both are learned."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(bins))
        self.deviation = nn.Parameter(torch.ones(bins))

    @property
    def is_new(self) -> bool:
        """Whether it has its first values: neither trained nor loaded."""
        return not self.mean.any() and bool((self.deviation == 1).all())

    def forward(self, magnitude: Tensor) -> Tensor:
        """(…, bins, frames) -> the same shape."""
        return (magnitude - self.mean[:, None]) / self.deviation[:, None]


class GatedOutput(nn.Module):
    """From features to magnitudes: values times gates, then a scale for each bin.

    Args:
        n_in: features.
        channels: of the mixture.
        bins: of the output.
    """

    def __init__(self, n_in: int, channels: int, bins: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_in)
        self.value = nn.Conv2d(n_in, channels, 1)
        self.gate = nn.Conv2d(n_in, channels, 1)
        self.scale = nn.Parameter(torch.ones(bins))
        self.offset = nn.Parameter(torch.ones(bins))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, bins, frames) -> (batch, channels, bins, frames), ≥ 0."""
        x = self.norm(x)
        x = self.value(x) * self.gate(x).sigmoid()
        return F.relu(x * self.scale[:, None] + self.offset[:, None])


class DenseConfig(Protocol):
    """What `DenseSeparator` reads of the config of a model."""

    @property
    def stems(self) -> tuple[str, ...]: ...
    @property
    def channels(self) -> int: ...
    @property
    def n_fft(self) -> int: ...
    @property
    def hop_length(self) -> int: ...
    @property
    def wiener_iterations(self) -> int: ...
    @property
    def wiener_frames(self) -> int: ...


class DenseSeparator(nn.Module):
    """A network for the magnitude of each stem, and a Wiener filter over windows.

    Args:
        config: of the model; `wiener_iterations` count outside training only.
        networks: one per stem, each with its input in `standardize`.
    """

    def __init__(self, config: DenseConfig, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(networks)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        spectrogram, length = any_stft(mixture, config.n_fft, config.hop_length)
        magnitude = spectrogram.abs()
        stems = torch.stack([network(magnitude) for network in self.networks], dim=1)
        n_iterations = 0 if self.training else config.wiener_iterations
        separated = filter_windows(
            stems, spectrogram, n_iterations, config.wiener_frames
        )
        estimate = istft(separated, config.hop_length, length=length)
        return estimate[..., : mixture.shape[-1]]

    @torch.no_grad()
    def prepare(self, excerpts: Iterable[Tensor]) -> None:
        """Set the mean and the deviation of every bin, in new networks only.

        Args:
            excerpts: mixtures, (channels, samples) each, of the training set.
        """
        config = self.config
        inputs = [cast(Standardize, network.standardize) for network in self.networks]
        if new := [part for part in inputs if part.is_new]:
            bins = config.n_fft // 2 + 1
            mean, deviation = bin_statistics(
                excerpts, config.n_fft, config.hop_length, bins
            )
            for part in new:
                part.mean.copy_(mean)
                part.deviation.copy_(deviation)
