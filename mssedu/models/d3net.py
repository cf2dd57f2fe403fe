"""D3Net: nested dense blocks whose dilated kernels see far without skipping anything.

A network per stem reads the magnitude spectrogram of the mixture three times: the low
bins, the bins above them, and all of them together. Each reading is a U-Net of nested
dense blocks, in which every layer reads all earlier ones with a spacing of its kernel
that fits each. The network gives a magnitude, not a mask. The multichannel Wiener
filter then makes the stems consistent with the mixture.

    mixture (batch, channels, samples)
      │ STFT, reflected ends
    spectrogram (batch, channels, 2049 bins, frames)
      │ magnitude; then, for each stem:
      │   subtract a mean, divide by a deviation; the lowest 1600 bins (17 kHz)
      │   ├─ bins 0 … 255      ▸ 7 nested dense blocks, size 1 ▸ 1/8 ▸ 1 ─┐
      │   ├─ bins 256 … 1599   ▸ 5 small dense blocks ▸ 1 ▸ 1/4 ▸ 1 ──────┤ stacked
      │   └─ bins 0 … 1599     ▸ 9 nested dense blocks, 1 ▸ 1/16 ▸ 1 ─────┘ + beside
      │   dense block of 3 layers ▸ values · gates ▸ scale, shift ▸ relu
      │   the bins above 1600 are those of the mixture
    magnitude (batch, stems, channels, 2049 bins, frames)
      │ mixture's phase; in eval mode one EM step, 300 frames at a time
    estimate (batch, stems, channels, samples)

Paper: Takahashi and Mitsufuji 2021, "Densely connected multidilated convolutional
    networks for dense prediction tasks" (CVPR); first arXiv:2010.01733.
Origin: github.com/sony/ai-research-code, folder d3net (Apache-2.0), and its port
    github.com/chenchy/D3Net (MIT). With the same weights, the networks give the same
    magnitudes as Sony's graph (tests/parity); `load_official` reads Sony's weights.
Parameters: 2,967,407 for vocals and other, 2,873,284 for drums, 2,419,822 for bass.
Choices: the sizes are those of Sony's published networks. The paper has 7 small blocks
    above the low bins for every stem; Sony has them for bass alone, 5 for the others.
Differences: all stems are in one model. Sony averages patches of 256 frames that
    overlap by half; here any length is one patch, and `mssedu.separate` overlaps
    chunks. The Wiener filter is that of `mssedu.masks`, over windows and not over whole
    songs. Training mode leaves it out, and so does Sony. A single stem is filtered
    against a residual. Zeros follow a mixture that is too short for reflection.
Left out: the average with swapped channels (`tta=True` of `mssedu.separate` has it) and
    the variant for images.
Notebook: 15.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_name, check_range
from mssedu.models.blocks.dense import (
    BandsAndWhole,
    DenseBlock,
    DenseSeparator,
    GatedOutput,
    MultiScalePath,
    NestedDenseBlock,
    Standardize,
)
from mssedu.models.blocks.tensorflow import copy_variables
from mssedu.models.contract import check_config, check_stft


@dataclass(frozen=True)
class PathSizes:
    """Sizes of a path over several resolutions, one number for each of its stages."""

    features: int  # channels of the first convolution
    growth: tuple[int, ...]  # channels that a layer adds: down, deepest, up
    n_layers: tuple[int, ...]  # of each inner dense block
    n_blocks: int = 2  # inner dense blocks of a stage


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the network of one stem."""

    split: int  # bins of the low band
    bins: int  # that the network reads; above, it repeats the mixture
    low: PathSizes
    high: PathSizes
    whole: PathSizes
    final_growth: int = 12
    final_layers: int = 3


NETWORKS = {
    "vocals": NetworkSizes(
        split=256,
        bins=1600,
        low=PathSizes(32, (16, 18, 20, 22, 20, 18, 16), (5, 5, 5, 5, 4, 4, 4)),
        high=PathSizes(8, (2,) * 5, (1,) * 5, n_blocks=1),
        whole=PathSizes(
            32, (13, 14, 15, 16, 17, 16, 14, 12, 11), (4, 5, 6, 7, 8, 6, 5, 4, 4)
        ),
    ),
    "drums": NetworkSizes(
        split=128,
        bins=1600,
        low=PathSizes(32, (16, 18, 20, 22, 20, 18, 16), (5, 5, 5, 4, 4, 4, 4)),
        high=PathSizes(8, (2,) * 5, (1,) * 5, n_blocks=1),
        whole=PathSizes(
            32, (13, 14, 15, 16, 16, 16, 14, 12, 11), (4, 5, 6, 7, 8, 6, 6, 4, 4)
        ),
    ),
    "bass": NetworkSizes(
        split=192,
        bins=1600,
        low=PathSizes(32, (16, 18, 18, 20, 18, 16, 16), (5, 5, 5, 5, 4, 4, 4)),
        high=PathSizes(8, (2,) * 7, (1,) * 7, n_blocks=1),
        whole=PathSizes(
            32, (10, 10, 12, 14, 16, 14, 12, 8, 8), (4, 5, 6, 7, 8, 6, 6, 4, 4)
        ),
    ),
    "small": NetworkSizes(
        split=96,
        bins=512,
        low=PathSizes(8, (6, 8, 6), (2, 2, 2)),
        high=PathSizes(4, (2, 2, 2), (1, 1, 1), n_blocks=1),
        whole=PathSizes(8, (4, 6, 8, 6, 4), (2, 2, 2, 2, 2)),
        final_growth=6,
        final_layers=2,
    ),
}
OWN_NETWORK = ("drums", "bass")  # stems that have a network of their own, see by_stem
LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "wiener_iterations": 999,
    "wiener_frames": 10**6,
}  # values of a config, see check_config


@dataclass(frozen=True)
class D3NetConfig:
    """The defaults are Sony's networks for MUSDB18."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 6.0  # seconds; the length in training
    n_fft: int = 4096
    hop_length: int = 1024
    # Sizes of the networks, a name of NETWORKS. by_stem: drums and bass have their own,
    # all other stems those of vocals.
    network: str = "by_stem"
    dilated: bool = True  # False: compact kernels, for comparison
    wiener_iterations: int = 1  # EM steps; 0 keeps the phase of the mixture
    wiener_frames: int = 300  # filtered together; sources should not move within them

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_name("network", self.network, ["by_stem", *NETWORKS])
        check_range("wiener_iterations", self.wiener_iterations, 0)
        check_range("wiener_frames", self.wiener_frames, 1)
        bins = max(self.sizes_of(stem).bins for stem in self.stems)
        if bins > self.bins:
            raise InputError(
                f"n_fft must be at least {2 * bins - 2} for network={self.network!r}, "
                f"which reads {bins} bins, got {self.n_fft}. Choose a larger n_fft, or "
                "a network that reads fewer bins, such as 'small'."
            )

    @property
    def bins(self) -> int:
        """Bins of the STFT."""
        return self.n_fft // 2 + 1

    def sizes_of(self, stem: str) -> NetworkSizes:
        """The sizes of the network of a stem."""
        if self.network != "by_stem":
            return NETWORKS[self.network]
        return NETWORKS[stem if stem in OWN_NETWORK else "vocals"]


PRESETS = {
    "paper": D3NetConfig(),
    "tiny": D3NetConfig(n_fft=2048, hop_length=1024, network="small"),
}


class StemNetwork(nn.Module):
    """From the magnitude of the mixture to that of one stem."""

    def __init__(self, config: D3NetConfig, sizes: NetworkSizes) -> None:
        super().__init__()
        channels, dilated = config.channels, config.dilated
        self.bins = sizes.bins
        self.standardize = Standardize(config.bins)
        bands = (sizes.low, sizes.high)
        widths = [band.growth[-1] for band in bands]
        self.paths = BandsAndWhole(
            (sizes.split, sizes.bins - sizes.split),
            [_path(channels, band, dilated) for band in bands],
            widths,
            _path(channels, sizes.whole, dilated),
        )
        self.final = DenseBlock(
            max(widths) + sizes.whole.growth[-1],
            sizes.final_growth,
            sizes.final_layers,
            dilated=dilated,
        )
        self.output = GatedOutput(sizes.final_growth, channels, sizes.bins)

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> the same shape."""
        x = self.standardize(magnitude)[..., : self.bins, :]
        x = self.output(self.final(self.paths(x)))
        return torch.cat([x, magnitude[..., self.bins :, :]], dim=-2)


def _path(channels: int, sizes: PathSizes, dilated: bool) -> MultiScalePath:
    def block(stage: int, n_in: int) -> nn.Module:
        growth, n_layers = sizes.growth[stage], sizes.n_layers[stage]
        return NestedDenseBlock(n_in, growth, n_layers, sizes.n_blocks, dilated=dilated)

    return MultiScalePath(channels, sizes.features, sizes.growth, block)


class D3Net(DenseSeparator):
    """A network per stem and a Wiener filter; see above."""

    def __init__(self, config: D3NetConfig) -> None:
        sizes = map(config.sizes_of, config.stems)
        super().__init__(config, (StemNetwork(config, size) for size in sizes))


# ---- Sony's weights -----------------------------------------------------------------


def load_official(model: D3Net, variables: Mapping[str, Any]) -> None:
    """Load Sony's weights: the parameters of NNabla, by name.

    NNabla stores kernels as (out, in, frames, bins), and all others with axes of size 1
    around them. Sony publishes an .h5 file for each stem, whose names begin with it.

    Args:
        model: of the published configuration.
        variables: name, e.g. "vocals/in_offset", -> array or tensor.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    named: list[tuple[str, Tensor]] = []
    for stem, network in zip(model.config.stems, model.networks, strict=True):
        places = _places(cast(StemNetwork, network))
        named += [(f"{stem}/{name}", tensor) for name, tensor in places]
    copy_variables(named, variables, _from_nnabla)


def _from_nnabla(name: str, value: Tensor) -> Tensor:
    return value.mT if name.endswith("/W") else value.flatten()


Places = Iterator[tuple[str, Tensor]]


def _places(network: StemNetwork) -> Places:
    """The name of each of NNabla's variables, and our tensor for it."""
    yield "in_offset", network.standardize.mean
    yield "in_scale", network.standardize.deviation
    yield "decode_scale", network.output.scale
    yield "decode_bias", network.output.offset
    for i, path in enumerate(network.paths.bands):
        yield from _path_places(path, f"features_init/{i}", f"dense_band/{i}")
    for i, widen in enumerate(network.paths.widen):
        if isinstance(widen, nn.Sequential):  # the band is narrower than another
            yield from _norm_places(widen[0], f"match_fm_conv/{i}/norm")
            yield from _kernel_places(widen[1], f"match_fm_conv/{i}/conv")
    yield from _path_places(network.paths.whole, "features_init_full", "dense_full")
    yield from _dense_places(network.final, "final_dense")
    yield from _norm_places(network.output.norm, "out_gate/bn")
    yield from _kernel_places(network.output.gate, "out_gate/conv_gate/conv")
    yield from _kernel_places(network.output.value, "out_gate/conv_filt/conv")


def _path_places(path: Any, first: str, prefix: str) -> Places:
    yield from _kernel_places(path.first, first)
    *down, deepest = path.down
    for stage, block in enumerate(down):
        yield from _nested_places(block, f"{prefix}/ds_layers/dense_block{stage}")
    yield from _nested_places(deepest, f"{prefix}/bottleneck_block")
    for i, (upsample, block) in enumerate(zip(path.upsample, path.up, strict=True)):
        scope = f"{prefix}/us_layers/upsample{i}/upsample"
        yield from _norm_places(upsample[0], f"{scope}/norm")
        yield from _kernel_places(upsample[1], f"{scope}/transconv", "deconv")
        stage = len(path.down) + i
        yield from _nested_places(block, f"{prefix}/us_layers/dense_block{stage}")


def _nested_places(block: Any, prefix: str) -> Places:
    for i, inner in enumerate(block.blocks):
        scope = f"layers/layer{i}" if i else "initial_block"
        yield from _dense_places(inner, f"{prefix}/{scope}")


def _dense_places(block: Any, prefix: str) -> Places:
    for i, (norm, _, convolution) in enumerate(block.layers):
        scope = f"layers/layer{i}" if i else "initial_layer"
        yield from _norm_places(norm, f"{prefix}/{scope}/bottleneck/norm1")
        yield from _kernel_places(convolution, f"{prefix}/{scope}/bottleneck/conv1")


def _norm_places(norm: Any, prefix: str) -> Places:
    yield f"{prefix}/bn/gamma", norm.weight
    yield f"{prefix}/bn/beta", norm.bias
    yield f"{prefix}/bn/mean", norm.running_mean
    yield f"{prefix}/bn/var", norm.running_var


def _kernel_places(layer: Any, prefix: str, kind: str = "conv") -> Places:
    yield f"{prefix}/{kind}/W", layer.weight
    yield f"{prefix}/{kind}/b", layer.bias
