"""Band-Split RNN: bands of growing width, with LSTMs along time and across the bands.

The spectrogram is cut into bands, and a small network of its own turns each band into
128 features. Then LSTMs run along time in every band, and across the bands in every
frame, twelve times in turn. A small network for each band makes a complex mask of the
result, which changes magnitude and phase.

    mixture (batch, channels, samples)
      │ STFT, reflected ends; each channel is a mono signal of its own
    real and imaginary parts (batch · channels, 2 · 1025 bins, frames)
      │ then, for each stem:
      │   per band: group norm ▸ linear
      │ features (batch · channels, 41 bands, 128, frames)
      │   12 × ┌ group norm ▸ LSTM along time, 256 each way ▸ linear ┐ + input
      │        └ group norm ▸ LSTM across bands               ▸ linear ┘ + input
      │   per band: group norm ▸ 512 ▸ tanh ▸ 512 ▸ tanh ▸ values · gates
    mask (batch, stems, channels, 1025 bins, frames), complex
      │ times the spectrogram, inverse STFT
    estimate (batch, stems, channels, samples)

The preset "optimized" is oBSRNN. It adds two parts to each of the twelve layers: the
channels read each other's mean, and all frames attend to each other. "optimized_joint"
is oBSRNN-SIMO: one such network for all stems, with fine bands and a mask for each.

Paper: Luo and Yu 2023, "Music source separation with band-split RNN" (TASLP); oBSRNN:
    Magron, Serizel, Douwes 2026, "The costs of reproducibility in music separation
    research: a replication of band-split RNN" (arXiv:2603.09187); the mean of the
    channels: Luo et al. 2020, "End-to-end microphone permutation and number invariant
    multi-channel speech separation".
Origin: github.com/magronp/bsrnn (MIT), the replication. The same weights give the same
    waveforms (tests/parity); `load_model` reads the published ones of oBSRNN.
Parameters: 36,417,160 for vocals and other, 41,024,392 for drums, 32,797,192 for bass.
Choices: the paper gives the edges of the bands in Hz. Their widths in bins are rounded
    down, and the last band has the rest, as in the origin. Stems that the paper does
    not name have the bands of vocals, as its other has.
Differences: all stems are in one model. Bands above half the sample rate are left out.
    Zeros follow a mixture that is too short for reflection.
Left out: what the origin tried without publishing weights (convolutions in place of
    LSTMs, several heads of features, stereo bands, masks over several frames), and the
    detector of sounding excerpts, which belongs to training.
Notebook: 15.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_name, check_range
from mssedu.models.blocks.bands import BandMerge, BandSplit
from mssedu.models.blocks.magnitude import any_stft
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import istft

# name: (width in Hz, number of bands) …, from low to high; one last band has the rest
BAND_SPLITS = {
    "vocals": ((100, 10), (250, 12), (500, 8), (1000, 8), (2000, 2)),
    "drums": ((50, 20), (100, 10), (250, 8), (500, 8), (1000, 8)),
    "bass": ((50, 10), (100, 5), (500, 6), (1000, 4), (2000, 4)),
    "fine": ((50, 20), (100, 10), (250, 8), (500, 8), (1000, 8), (2000, 2)),
    "coarse": ((250, 8), (500, 8), (1000, 8)),
}
OWN_BANDS = ("drums", "bass")  # stems that have bands of their own, see by_stem
EPSILON = 1e-7  # of the norms
LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "features": 4096,
    "n_layers": 64,
    "lstm_factor": 16,
    "mask_factor": 64,
    "attention_heads": 64,
    "attention_features": 4096,
}  # values of a config, see check_config


@dataclass(frozen=True)
class BSRNNConfig:
    """The defaults are the paper's."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 3.0  # seconds; the length in training
    n_fft: int = 2048
    hop_length: int = 512
    # A name of BAND_SPLITS. by_stem: drums and bass have their own, all other stems
    # those of vocals; a joint network has the fine ones.
    bands: str = "by_stem"
    features: int = 128  # of a band in a frame
    n_layers: int = 12
    lstm_factor: int = 2  # units of an LSTM each way: this many times the features
    mask_factor: int = 4  # width of the networks of the masks, the same way
    attention_heads: int = 0  # over all frames, after each layer; 0 for none
    attention_features: int = 16  # of a query and a key, in each band
    average_channels: bool = False  # the channels read each other's mean
    joint: bool = False  # one network for all stems; the masks alone differ

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_name("bands", self.bands, ["by_stem", *BAND_SPLITS])
        for name in ("features", "n_layers", "lstm_factor", "mask_factor"):
            check_range(name, getattr(self, name), 1)
        check_range("attention_heads", self.attention_heads, 0)
        check_range("attention_features", self.attention_features, 1)
        if self.attention_heads and self.features % self.attention_heads:
            raise InputError(
                f"features must be a multiple of attention_heads={self.attention_heads}"
                f", got {self.features}: each head has an equal part of them."
            )
        for stem in self.stems:
            self.bins_of(stem)

    def bins_of(self, stem: str) -> list[int]:
        """Bins of each band in the network of a stem; the sum is n_fft // 2 + 1."""
        if self.bands != "by_stem":
            name = self.bands
        elif self.joint:
            name = "fine"
        else:
            name = stem if stem in OWN_BANDS else "vocals"
        bins = self.n_fft // 2 + 1
        per_hz = bins / (self.sample_rate / 2)
        widths = [
            math.floor(hz * per_hz) for hz, n in BAND_SPLITS[name] for _ in range(n)
        ]
        if not min(widths):
            raise InputError(
                f"n_fft must be larger than {self.n_fft}: the bands {name!r} have "
                f"{BAND_SPLITS[name][0][0]} Hz, which is less than one bin. Choose a "
                "larger n_fft, or wider bands, such as 'coarse'."
            )
        while sum(widths) >= bins:
            widths.pop()
        return [*widths, bins - sum(widths)]


PRESETS = {
    "paper": BSRNNConfig(),
    "optimized": BSRNNConfig(attention_heads=2, average_channels=True),
    "optimized_joint": BSRNNConfig(
        stems=("vocals", "bass", "drums", "other"),  # in the order of its masks
        attention_heads=2,
        average_channels=True,
        joint=True,
    ),
    "tiny": BSRNNConfig(
        hop_length=1024, bands="coarse", features=16, n_layers=2, mask_factor=1
    ),
}


class Recurrence(nn.Module):
    """An LSTM in both directions, with a norm before it and its input added."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, features, EPSILON)
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features, steps) -> the same shape."""
        y, _ = self.lstm(self.norm(x).mT.contiguous())
        return x + self.linear(y).mT


class ChannelAverage(nn.Module):
    """Transform, average, concatenate: each channel reads the mean of all channels."""

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden = 3 * features
        self.transform = nn.Linear(features, hidden)
        self.average = nn.Linear(hidden, hidden)
        self.concat = nn.Linear(2 * hidden, features)
        self.activation = nn.PReLU()  # one slope for all three

    def forward(self, x: Tensor) -> Tensor:
        """(…, channels, features) -> the same shape."""
        own = self.activation(self.transform(x))
        mean = self.activation(self.average(own.mean(-2, keepdim=True)))
        both = torch.cat([own, mean.expand_as(own)], dim=-1)
        return x + self.activation(self.concat(both))


class FrameNorm(nn.Module):
    """Mean 0 and deviation 1 of each frame, over features and bands."""

    def __init__(self, features: int, n_bands: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, features, 1, n_bands))
        self.bias = nn.Parameter(torch.zeros(1, features, 1, n_bands))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features, frames, bands) -> the same shape."""
        variance, mean = torch.var_mean(x, dim=(1, 3), correction=0, keepdim=True)
        return (x - mean) * (variance + EPSILON).rsqrt() * self.weight + self.bias


class FrameAttention(nn.Module):
    """Every frame reads all frames that are like it, in all bands together."""

    def __init__(self, features: int, n_bands: int, heads: int, width: int) -> None:
        super().__init__()

        def project(n_out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(features, n_out, 1), nn.PReLU(), FrameNorm(n_out, n_bands)
            )

        self.queries = nn.ModuleList(project(width) for _ in range(heads))
        self.keys = nn.ModuleList(project(width) for _ in range(heads))
        self.values = nn.ModuleList(project(features // heads) for _ in range(heads))
        self.output = project(features)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features, frames, bands) -> the same shape."""
        # b batch, h head, d feature, m frame, k band
        query, key, value = (
            rearrange([part(x) for part in parts], "h b d m k -> b h m (d k)")
            for parts in (self.queries, self.keys, self.values)
        )
        y = F.scaled_dot_product_attention(query, key, value)
        y = rearrange(y, "b h m (d k) -> b (h d) m k", k=x.shape[-1])
        return x + self.output(y)


class Layer(nn.Module):
    """Along time, across bands, and what the config adds."""

    def __init__(self, config: BSRNNConfig, n_bands: int) -> None:
        super().__init__()
        features, hidden = config.features, config.lstm_factor * config.features
        self.n_channels = config.channels
        self.time = Recurrence(features, hidden)
        self.band = Recurrence(features, hidden)
        self.channels = ChannelAverage(features) if config.average_channels else None
        self.attention = (
            FrameAttention(
                features, n_bands, config.attention_heads, config.attention_features
            )
            if config.attention_heads
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch · channels, bands, features, frames) -> the same shape."""
        # b batch · channels, n batch, c channel, k band, d feature, m frame
        batch, n_bands = x.shape[:2]
        x = self.time(rearrange(x, "b k d m -> (b k) d m"))
        x = rearrange(x, "(b k) d m -> (b m) d k", k=n_bands)
        x = rearrange(self.band(x), "(b m) d k -> b k d m", b=batch)
        if self.channels is not None:
            x = rearrange(x, "(n c) k d m -> n k m c d", c=self.n_channels)
            x = rearrange(self.channels(x), "n k m c d -> (n c) k d m")
        if self.attention is not None:
            x = self.attention(rearrange(x, "b k d m -> b d m k"))
            x = rearrange(x, "b d m k -> b k d m")
        return x


class Network(nn.Module):
    """From the parts of the mixture's spectrogram to masks for one or more stems."""

    def __init__(self, config: BSRNNConfig, bins: list[int], n_stems: int) -> None:
        super().__init__()
        features, hidden = config.features, config.mask_factor * config.features

        def read(width: int) -> nn.Module:
            return nn.Sequential(
                nn.GroupNorm(1, width, EPSILON), nn.Conv1d(width, features, 1)
            )

        def mask(width: int) -> nn.Module:
            return nn.Sequential(
                nn.GroupNorm(1, features, EPSILON),
                nn.Conv1d(features, hidden, 1),
                nn.Tanh(),
                nn.Conv1d(hidden, hidden, 1),
                nn.Tanh(),
                nn.Conv1d(hidden, 2 * width, 1),
                nn.GLU(dim=1),
            )

        self.bins = bins
        self.widths = [2 * n for n in bins]  # real and imaginary part of each bin
        self.split = BandSplit(self.widths, read, axis=-2)
        self.layers = nn.Sequential(
            *(Layer(config, len(bins)) for _ in range(config.n_layers))
        )
        self.masks = nn.ModuleList(
            BandMerge(self.widths, mask, axis=-2) for _ in range(n_stems)
        )

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(batch, bins, frames, 2) -> masks (batch, stems, bins, frames, 2)."""
        # b batch, s stem, f bin, m frame, r (re, im); in a band, r comes before f
        bands = spectrogram.split(self.bins, dim=1)
        x = torch.cat([rearrange(x, "b f m r -> b (r f) m") for x in bands], dim=1)
        x = self.layers(self.split(x))
        masks = torch.stack([mask(x) for mask in self.masks], dim=1)
        bands = masks.split(self.widths, dim=2)
        return torch.cat(
            [rearrange(x, "b s (r f) m -> b s f m r", r=2) for x in bands], dim=2
        )


class BSRNN(nn.Module):
    """A network per stem, or one for all, and complex masks; see above."""

    def __init__(self, config: BSRNNConfig) -> None:
        super().__init__()
        self.config = config
        stems = config.stems
        groups = [stems] if config.joint else [(stem,) for stem in stems]
        self.networks = nn.ModuleList(
            Network(config, config.bins_of(group[0]), len(group)) for group in groups
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        # b batch, s stem, c channel, f bin, m frame, r (re, im)
        config = self.config
        check_mixture(mixture, config.channels)
        spectrogram, length = any_stft(mixture, config.n_fft, config.hop_length)
        parts = torch.view_as_real(spectrogram)
        x = rearrange(parts, "b c f m r -> (b c) f m r")
        masks = torch.cat([network(x) for network in self.networks], dim=1)
        masks = rearrange(masks, "(b c) s f m r -> b s c f m r", c=config.channels)
        mask = torch.view_as_complex(masks.to(parts.dtype).contiguous())
        separated = mask * spectrogram.unsqueeze(1)
        estimate = istft(separated, config.hop_length, length=length)
        return estimate[..., : mixture.shape[-1]]
