"""Spleeter: one U-Net per stem estimates its magnitude; soft ratio masks share out.

Each U-Net sees the mixture's magnitude spectrogram as a stereo picture, halves it six
times and doubles it back, with a shortcut at every size so that fine lines survive. It
gives a number between 0 and 1 for each bin; times the mixture, that is the stem's
magnitude. The stems' magnitudes, squared and divided by their sum, are the masks that
cut the mixture's complex spectrogram; the phase stays that of the mixture.

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
Jansson et al. 2017. Origin: github.com/deezer/spleeter (MIT). With the same weights
this file gives the same waveforms (tests/parity).

Parameters: 9,823,749 a stem as published. That counts kernels, biases and the scale and
shift of 12 batch norms; 1,024 of them belong to the deepest batch norm, whose output
nothing reads: it is kept, frozen, so that published weights fit. The running means and
variances, another 3,010 stored numbers a stem, are not counted. Left out: the optional
multichannel Wiener filter (see `mssedu.masks.wiener`) and the 16 kHz variant, which is
the same network with bins=1536. Notebook: 06.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import (
    InputError,
    check_mixture,
    check_name,
    check_range,
    message,
)
from mssedu.masks import apply_mask
from mssedu.models.blocks import check_config, check_stft
from mssedu.models.blocks.tensorflow import copy_variables
from mssedu.spectral import istft, stft

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "relu": F.relu,
}
MASK_EXTENSIONS = ("average", "zeros")


@dataclass(frozen=True)
class SpleeterConfig:
    """Defaults: the published model of four stems."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    n_fft: int = 4096
    hop_length: int = 1024
    bins: int = 1024  # the U-Net sees the lowest ones
    frames: int = 512  # of one block, the width of the U-Net's picture
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)  # one per level
    encoder_activation: str = "elu"
    decoder_activation: str = "elu"
    softmax: bool = False  # across stems (5 stems); a sigmoid per stem otherwise
    dropout: float = 0.5  # behind the three deepest decoder levels
    mask_exponent: float = 2.0  # 1 amplitude ratio, 2 power ratio
    mask_extension: str = "zeros"  # above `bins`; "average" repeats the mean mask

    def __post_init__(self) -> None:
        where, step = "SpleeterConfig", 2 ** len(self.filters)
        check_stft(where, self.n_fft, self.hop_length)
        check_range("len(filters)", len(self.filters), 1)
        check_name("nonlinearity", self.encoder_activation, ACTIVATIONS)
        check_name("nonlinearity", self.decoder_activation, ACTIVATIONS)
        check_name("mask_extension", self.mask_extension, MASK_EXTENSIONS)
        check_range("dropout", self.dropout, 0, 1, high_open=True)
        check_range("mask_exponent", self.mask_exponent, 1)
        check_range("bins", self.bins, 1, self.n_fft // 2 + 1)
        if self.bins % step or self.frames % step:
            wanted = f"bins and frames that are multiples of {step}"
            remedy = f"Each of the {len(self.filters)} levels halves both."
            got = f"bins {self.bins}, frames {self.frames}"
            raise InputError(message(where, wanted, got, remedy))
        check_config(self)

    @property
    def segment(self) -> float:
        """Seconds that fill one block, the zeros at both ends counted off."""
        return ((self.frames - 1) * self.hop_length - self.n_fft) / self.sample_rate

    @property
    def stem_bandwidth_hz(self) -> float:
        """Above it the stems are empty, unless the mask is extended."""
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
    """Mask logits of one stem from the mixture's magnitude."""

    def __init__(self, config: SpleeterConfig) -> None:
        super().__init__()
        filters = config.filters
        narrow = (*filters[-2::-1], 1)  # channels behind each decoder level
        wide = (filters[-1], *(2 * f for f in narrow[:-1]))  # before it, with shortcut
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
        self.encoder_norms[-1].requires_grad_(False)  # published, but nothing reads it
        for layer in (*self.encoder, *self.decoder, self.output):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> logits of the same shape."""
        shortcuts: list[Tensor] = []
        x = magnitude
        for convolution, norm in zip(self.encoder, self.encoder_norms, strict=True):
            # One zero before and two behind: where TensorFlow's "same" puts them.
            shortcuts.append(convolution(F.pad(x, (1, 2, 1, 2))))
            x = self.encoder_activation(norm(shortcuts[-1]))
        x = shortcuts.pop()  # the deepest level goes on without norm and activation
        for level, (convolution, norm) in enumerate(
            zip(self.decoder, self.decoder_norms, strict=True)
        ):
            x = norm(self.decoder_activation(convolution(x)[..., :-1, :-1]))
            x = self.dropout(x) if level < 3 else x
            x = torch.cat([shortcuts.pop(), x], dim=1) if shortcuts else x
        return self.output(x)


class Spleeter(nn.Module):
    """A U-Net per stem and soft ratio masks; see the head of this file."""

    def __init__(self, config: SpleeterConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(UNet(config) for _ in config.stems)
        self.mask = nn.Identity()  # so that mssedu.inspect.inside has a name for it

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
        """The lowest bins, in blocks of equal width; zeros fill up the last block."""
        missing = -magnitude.shape[-1] % self.config.frames
        filled = F.pad(magnitude[..., : self.config.bins, :], (0, missing))
        pattern = "b c f (block m) -> (b block) c f m"
        return rearrange(filled, pattern, m=self.config.frames)

    def join(self, mask: Tensor, spectrogram: Tensor) -> Tensor:
        """Blocks side by side again, as many frames as the spectrogram has."""
        pattern = "(b block) s c f m -> b s c f (block m)"
        whole = rearrange(mask, pattern, b=spectrogram.shape[0])
        return whole[..., : spectrogram.shape[-1]]

    def stem_magnitudes(self, blocks: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> (batch, stems, channels, bins, frames)."""
        logits = torch.stack([network(blocks) for network in self.networks], dim=1)
        mask = logits.softmax(dim=1) if self.config.softmax else logits.sigmoid()
        return mask * blocks.unsqueeze(1)

    def ratio_masks(self, magnitude: Tensor) -> Tensor:
        """Share of each stem in a bin; equal shares where all are silent."""
        epsilon = 1e-10
        power = magnitude**self.config.mask_exponent
        total = power.sum(dim=1, keepdim=True) + epsilon
        return (power + epsilon / len(self.networks)) / total

    def extend(self, mask: Tensor) -> Tensor:
        """To all bins of the STFT: zeros, or the mean mask of the frame."""
        missing = self.config.n_fft // 2 + 1 - self.config.bins
        if self.config.mask_extension == "zeros":
            return F.pad(mask, (0, 0, 0, missing))
        above = mask.mean(dim=-2, keepdim=True).expand(*mask.shape[:-2], missing, -1)
        return torch.cat([mask, above], dim=-2)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # TensorFlow's defaults


def load_official(model: Spleeter, variables: Mapping[str, Any]) -> None:
    """Load the published weights: the variables of a TensorFlow checkpoint, by name.

    TensorFlow numbers the layers of a kind through all stems (conv2d, conv2d_1, …) and
    stores kernels as (frames, bins, in, out), ours are (out, in, bins, frames).

    Args:
        model: of the published configuration, its stems in the published order.
        variables: name, e.g. "conv2d_3/kernel", -> array or tensor.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    weights = {"kernel": "weight", "bias": "bias"}
    scales = {"gamma": "weight", "beta": "bias"}
    statistics = {"moving_mean": "running_mean", "moving_variance": "running_var"}
    named: list[tuple[str, Tensor]] = []
    for index, network in enumerate(model.networks):
        assert isinstance(network, UNet), type(network)
        for kind, layers, names in (
            ("conv2d", (*network.encoder, network.output), weights),
            ("conv2d_transpose", (*network.decoder,), weights),
            (
                "batch_normalization",
                (*network.encoder_norms, *network.decoder_norms),
                scales | statistics,
            ),
        ):
            for number, layer in enumerate(layers, start=index * len(layers)):
                prefix = f"{kind}_{number}" if number else kind
                for theirs, ours in names.items():
                    named.append((f"{prefix}/{theirs}", getattr(layer, ours)))
    copy_variables(named, variables)
