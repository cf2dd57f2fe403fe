"""Spleeter: a U-Net per stem estimates magnitudes, from which soft ratio masks follow.

Each U-Net reads the magnitude spectrogram of the mixture as a stereo picture, halves
its size six times and doubles it again; a shortcut at every size keeps the fine detail.
It gives a number between 0 and 1 for each bin; this number times the magnitude of the
mixture is the magnitude of the stem. The mask of a stem is the square of its magnitude,
divided by the sum of squares over all stems; the phase stays that of the mixture.

    mixture (batch, channels, samples)
      │ n_fft / 2 zeros at both ends, STFT
    spectrogram (batch, channels, 2049 bins, frames)
      │ magnitude of the lowest 1024 bins, cut into blocks of 512 frames
    blocks (batch · blocks, channels, 1024, 512)
      │ one U-Net per stem: 16·512·256 ▸ 32·256·128 ▸ … ▸ 512·16·8 ▸ … ▸ 2·1024·512
    magnitude (batch · blocks, stems, channels, 1024, 512)
      │ soft ratio masks, zero above bin 1024 (11 kHz)
    mask · spectrogram (batch, stems, channels, 2049, frames)
      │ inverse STFT
    estimate (batch, stems, channels, samples)

Paper: Hennequin, Khlif, Voituret, Moussallam 2020, "Spleeter: a fast and efficient
    music source separation tool with pre-trained models" (JOSS); the network follows
    Jansson et al. 2017, "Singing voice separation with deep U-Net convolutional
    networks" (ISMIR).
Origin: github.com/deezer/spleeter (MIT). With the same weights this file gives the same
    waveforms (tests/parity); `load_official` reads the published ones.
Parameters: 9,823,749 per stem, as published: kernels, biases, and scale and shift of 12
    batch norms. 1,024 of them belong to the deepest batch norm, whose output is not
    used; it is there, frozen, so that published weights fit.
Left out: the multichannel Wiener filter, which the original applies only on request
    (see `mssedu.masks.wiener`), and the variant up to 16 kHz, which is the same network
    with bins=1536.
Notebook: 06.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_name, check_range
from mssedu.masks import apply_mask
from mssedu.models.blocks.tensorflow import copy_variables
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import istft, stft

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "relu": F.relu,
}
MASK_EXTENSIONS = ("average", "zeros")


LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "bins": 2**20,
    "frames": 2**16,
    "filters": 16384,
    "dropout": 1,
    "mask_exponent": 99,
}  # values of a config, see check_config


@dataclass(frozen=True)
class SpleeterConfig:
    """The defaults are the published model of four stems."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    n_fft: int = 4096
    hop_length: int = 1024
    bins: int = 1024  # the U-Net reads this many of the lowest bins
    frames: int = 512  # in one block: the width of the U-Net's picture
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)  # one per level
    encoder_activation: str = "elu"
    decoder_activation: str = "elu"
    softmax: bool = False  # over the stems (5 stems); otherwise a sigmoid per stem
    dropout: float = 0.5  # after the three deepest decoder levels, in training
    mask_exponent: float = 2.0  # 1: ratio of amplitudes, 2: ratio of powers
    mask_extension: str = "zeros"  # above `bins`; "average": the mean mask of a frame

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_range("len(filters)", len(self.filters), 1, 12)
        check_range("min(filters)", min(self.filters), 1)
        check_name("encoder_activation", self.encoder_activation, ACTIVATIONS)
        check_name("decoder_activation", self.decoder_activation, ACTIVATIONS)
        check_name("mask_extension", self.mask_extension, MASK_EXTENSIONS)
        check_range("dropout", self.dropout, 0, 1, high_open=True)
        check_range("mask_exponent", self.mask_exponent, 1)
        check_range("bins", self.bins, 1, self.n_fft // 2 + 1)
        # A block must be longer than the zeros at both ends of the mixture.
        check_range("frames", self.frames, 2 + self.n_fft // self.hop_length)
        step = 2 ** len(self.filters)
        for name, size in (("bins", self.bins), ("frames", self.frames)):
            if size % step:
                raise InputError(
                    f"{name} must be a multiple of {step}, got {size}: "
                    f"{len(self.filters)} levels halve it."
                )

    @property
    def segment(self) -> float:
        """Seconds of a mixture that fills one block, with the zeros at both ends."""
        return ((self.frames - 1) * self.hop_length - self.n_fft) / self.sample_rate

    @property
    def stem_bandwidth_hz(self) -> float:
        """Hz; the stems are empty above it, unless the mask is extended."""
        bins = self.bins if self.mask_extension == "zeros" else self.n_fft // 2
        return bins * self.sample_rate / self.n_fft


PRESETS = {
    "paper": SpleeterConfig(),
    "paper_2stems": SpleeterConfig(
        stems=("vocals", "accompaniment"),
        encoder_activation="leaky_relu",
        decoder_activation="relu",
    ),
    "paper_5stems": SpleeterConfig(
        stems=("vocals", "piano", "drums", "bass", "other"), softmax=True
    ),
    "tiny": SpleeterConfig(
        n_fft=2048, bins=512, frames=128, filters=(8, 16, 32, 64), dropout=0.0
    ),
}


class UNet(nn.Module):
    """From the magnitude of the mixture to the mask logits of one stem."""

    def __init__(self, config: SpleeterConfig) -> None:
        super().__init__()
        filters = config.filters
        narrow = (*filters[-2::-1], 1)  # channels out of each decoder level
        wide = (filters[-1], *(2 * f for f in narrow[:-1]))  # and in, with the shortcut
        self.encoder_activation = ACTIVATIONS[config.encoder_activation]
        self.decoder_activation = ACTIVATIONS[config.decoder_activation]
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 5, stride=2)
            for n_in, n_out in pairwise((config.channels, *filters))
        )
        self.encoder_norms = nn.ModuleList(_norm(n) for n in filters)
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(n_in, n_out, 5, stride=2, padding=1)
            for n_in, n_out in zip(wide, narrow, strict=True)
        )
        self.decoder_norms = nn.ModuleList(_norm(n) for n in narrow)
        self.output = nn.Conv2d(1, config.channels, 4, dilation=2, padding=3)
        self.encoder_norms[-1].requires_grad_(False)  # published, but not used
        for layer in (*self.encoder, *self.decoder, self.output):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> logits of the same shape."""
        x, shortcuts = magnitude, []
        for convolution, norm in zip(self.encoder, self.encoder_norms, strict=True):
            # One zero before and two after, as TensorFlow pads with "same".
            shortcuts.append(convolution(F.pad(x, (1, 2, 1, 2))))
            x = self.encoder_activation(norm(shortcuts[-1]))
        x = shortcuts.pop()  # the deepest level has no norm and no activation
        layers = zip(self.decoder, self.decoder_norms, strict=True)
        for level, (convolution, norm) in enumerate(layers):
            x = norm(self.decoder_activation(convolution(x)[..., :-1, :-1]))
            x = self.dropout(x) if level < 3 else x
            x = torch.cat([shortcuts.pop(), x], dim=1) if shortcuts else x
        return self.output(x)


class Spleeter(nn.Module):
    """A U-Net per stem and soft ratio masks; see above."""

    def __init__(self, config: SpleeterConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(UNet(config) for _ in config.stems)
        self.mask = nn.Identity()  # gives mssedu.inspect.inside a name for the mask

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        samples, half = mixture.shape[-1], config.n_fft // 2
        padded = F.pad(mixture, (half, half))
        spectrogram = stft(padded, config.n_fft, config.hop_length)
        blocks = self.split(spectrogram.abs())
        magnitude = self.stem_magnitudes(blocks)
        mask = self.extend(self.ratio_masks(magnitude))
        mask = self.mask(self.join(mask, spectrogram))
        separated = apply_mask(mask, spectrogram)
        padded = istft(separated, config.hop_length, length=samples + 2 * half)
        return padded[..., half : half + samples]

    def split(self, magnitude: Tensor) -> Tensor:
        """The lowest bins, in blocks of equal width; zeros fill the last block."""
        # b batch, c channel, f bin, m frame of a block
        frames, missing = self.config.frames, -magnitude.shape[-1] % self.config.frames
        padded = F.pad(magnitude[..., : self.config.bins, :], (0, missing))
        return rearrange(padded, "b c f (block m) -> (b block) c f m", m=frames)

    def join(self, mask: Tensor, spectrogram: Tensor) -> Tensor:
        """The blocks one after another, cut to the frames of the spectrogram."""
        # b batch, s stem, c channel, f bin, m frame of a block
        batch = len(spectrogram)
        whole = rearrange(mask, "(b block) s c f m -> b s c f (block m)", b=batch)
        return whole[..., : spectrogram.shape[-1]]

    def stem_magnitudes(self, blocks: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> (batch, stems, channels, bins, frames)."""
        logits = torch.stack([network(blocks) for network in self.networks], dim=1)
        mask = logits.softmax(dim=1) if self.config.softmax else logits.sigmoid()
        return mask * blocks.unsqueeze(1)

    def ratio_masks(self, magnitude: Tensor) -> Tensor:
        """The share of each stem in every bin; equal shares where all are silent."""
        epsilon = 1e-10
        power = magnitude**self.config.mask_exponent
        total = power.sum(dim=1, keepdim=True) + epsilon
        return (power + epsilon / len(self.networks)) / total

    def extend(self, mask: Tensor) -> Tensor:
        """The mask for all bins; above `bins` it is zero, or the mean of its frame."""
        missing = self.config.n_fft // 2 + 1 - self.config.bins
        if self.config.mask_extension == "zeros":
            return F.pad(mask, (0, 0, 0, missing))
        above = mask.mean(dim=-2, keepdim=True).expand(*mask.shape[:-2], missing, -1)
        return torch.cat([mask, above], dim=-2)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # TensorFlow's defaults


def load_official(model: Spleeter, variables: Mapping[str, Any]) -> None:
    """Load the published weights: the variables of a TensorFlow checkpoint, by name.

    TensorFlow numbers the layers of a kind across all stems (conv2d, conv2d_1, …). It
    stores kernels as (frames, bins, in, out), PyTorch as (out, in, bins, frames).

    Args:
        model: of the published configuration, with its stems in the published order.
        variables: name, e.g. "conv2d_3/kernel", -> array or tensor.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    weights = {"kernel": "weight", "bias": "bias"}
    scales = {"gamma": "weight", "beta": "bias"}
    statistics = {"moving_mean": "running_mean", "moving_variance": "running_var"}
    named: list[tuple[str, Tensor]] = []
    for index, network in enumerate(cast(Iterable[UNet], model.networks)):
        norms = (*network.encoder_norms, *network.decoder_norms)
        for kind, layers, names in (
            ("conv2d", (*network.encoder, network.output), weights),
            ("conv2d_transpose", (*network.decoder,), weights),
            ("batch_normalization", norms, scales | statistics),
        ):
            for number, layer in enumerate(layers, start=index * len(layers)):
                prefix = f"{kind}_{number}" if number else kind
                for theirs, ours in names.items():
                    named.append((f"{prefix}/{theirs}", getattr(layer, ours)))
    copy_variables(named, variables)
