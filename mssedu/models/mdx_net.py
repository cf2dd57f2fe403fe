"""MDX-Net: a U-Net per stem on the complex spectrogram, and a mixer of all stems.

Each U-Net reads the real and imaginary parts of the mixture's lowest 2048 bins and
gives those of its stem; it has no mask. Its block has two halves: convolutions over
frames and neighboring bins (TFC), and two layers that connect every bin of a frame with
every other (TDF), as the harmonics of a note are far apart. The number of bins in a
second differs by stem: 16384 samples for the bass, which is low and slow, 4096 for
drums. Finally a layer of 80 weights mixes the waveforms of the stems and the mixture.

    mixture (batch, channels, samples)
      │ zeros up to whole frames; then, for each stem:
      │ STFT, reflected ends; real and imaginary parts as channels, lowest 2048 bins
    (batch, 4, 256 frames, 2048 bins)
      │ 1 × 1 ▸ 32 channels
      │ block ──────────────── skip (batch, 32, 256, 2048) ───────────────┐
      │ 2 × 2, half the size   (batch, 64, 128, 1024)                     │
      │   … 5 levels, 32 channels more each …                             │
      │ block                  (batch, 192, 8, 64)                        │
      │ 2 × 2, double the size (batch, 160, 16, 128) ▸ times the skip ◂───┤
      │ block                                                             │
      │   … 5 levels, 32 channels fewer each …  ▸ times the skip ◂────────┘
      │ block, 1 × 1 ▸ 4 channels, zeros above, inverse STFT
    waveforms (batch, stems, channels, samples)
      │ beside the mixture: 10 channels ▸ linear ▸ 8 channels
    estimate (batch, stems, channels, samples)

    block: 3 × (3 × 3, batch norm, relu) ▸ x;  x + TDF(x)
    TDF:   2 × (linear over the bins, batch norm, relu), bins ▸ bins / 8 ▸ bins

Paper: Kim, Choi, Chung, Lee, Jung 2021, "KUIELab-MDX-Net: a two-stream neural network
    for music demixing" (MDX workshop at ISMIR): 7,423,236 parameters a stem. Its second
    stream is Demucs: `mssedu.weights.ensemble.blend` adds it, with the shares `BLEND`.
Origin: github.com/kuielab/mdx-net (MIT). The same weights give the same waveforms
    (tests/parity); `from_kuielab` renames the layers of its checkpoints.
Differences: any length: zeros follow the mixture up to whole frames, so a segment of
    256 frames is computed as in the origin. The mixer starts with each stem as it is;
    the origin trains it from random weights, after the U-Nets and with these frozen. A
    stem without a published window has that of "other". Silence stays silence.
Left out: dense blocks, blocks without TDF and its biases, as no published model has
    them.
Notebook: 15.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.contract import check_config, check_odd, check_stft
from mssedu.spectral import channels_as_complex, complex_as_channels, istft, stft

# Samples of a window by stem, as published
N_FFT = {"vocals": 6144, "drums": 4096, "bass": 16384, "other": 8192}
# Share of MDX-Net in each stem of the challenge's submission; the rest is Demucs'
BLEND = {"bass": 0.5, "drums": 0.5, "other": 0.7, "vocals": 0.9}

LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "bins": 2**20,
    "depth": 12,
    "n_convolutions": 16,
    "growth": 16384,
    "kernel": 99,
    "compress": 2**20,
}  # values of a config, see check_config


@dataclass(frozen=True)
class MDXNetConfig:
    """The defaults are the models of the challenge's leaderboard A."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 261_120 / 44_100  # seconds; 256 frames, the length in training
    n_fft: int = 0  # of all stems; 0: by name, as in N_FFT
    hop_length: int = 1024
    bins: int = 2048  # the U-Nets read and write this many of the lowest bins
    depth: int = 5  # how often bins and frames are halved
    n_convolutions: int = 3  # in a block
    growth: int = 32  # channels of the first level; each further level adds as many
    kernel: int = 3
    compress: int = 8  # the inner layer of a TDF has so many times fewer bins
    mixer: bool = True  # a last layer over all stems and the mixture

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        for n_fft in self.n_ffts:
            check_stft(n_fft, self.hop_length)
        for name in ("depth", "n_convolutions", "growth", "compress", "bins"):
            check_range(name, getattr(self, name), 1)
        check_odd("kernel", self.kernel)
        step, most = 2**self.depth, min(self.n_ffts) // 2 + 1
        if self.bins % step or not step * self.compress <= self.bins <= most:
            raise InputError(
                f"bins must be a multiple of {step}, at least {step * self.compress} "
                f"(2 ** depth · compress) and at most {most} (n_fft / 2 + 1), got "
                f"{self.bins}."
            )

    @property
    def n_ffts(self) -> tuple[int, ...]:
        """Samples of a window, for each stem."""
        if self.n_fft:
            return (self.n_fft,) * len(self.stems)
        return tuple(N_FFT.get(stem, N_FFT["other"]) for stem in self.stems)

    @property
    def stem_bandwidth_hz(self) -> float:
        """Above it the stems are empty; the mixer lets all of the mixture through."""
        if self.mixer:
            return self.sample_rate / 2
        return self.bins * self.sample_rate / min(self.n_ffts)

    def padded_length(self, samples: int) -> int:
        """The mixture's length with zeros: enough frames to halve, and to reflect."""
        least = max(samples, max(self.n_ffts) // 2 + 1)
        step = self.hop_length * 2**self.depth
        return -(-(least + self.hop_length) // step) * step - self.hop_length


PRESETS = {
    "paper": MDXNetConfig(),
    "tiny": MDXNetConfig(
        n_fft=4096,
        bins=512,  # up to 5.5 kHz
        depth=3,
        n_convolutions=2,
        growth=8,
    ),
}


class Block(nn.Module):
    """Convolutions over frames and bins, then a shortcut past layers over all bins."""

    def __init__(self, config: MDXNetConfig, width: int, bins: int) -> None:
        super().__init__()
        kernel, inner = config.kernel, bins // config.compress
        self.convolutions = nn.Sequential()
        for _ in range(config.n_convolutions):
            layer = nn.Conv2d(width, width, kernel, padding=kernel // 2)
            self.convolutions.append(_normed(layer, width))
        self.tdf = nn.Sequential(
            *_normed(nn.Linear(bins, inner, bias=False), width),
            *_normed(nn.Linear(inner, bins, bias=False), width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, frames, bins) -> the same shape."""
        x = self.convolutions(x)
        return x + self.tdf(x)


class StemNetwork(nn.Module):
    """From the waveform of the mixture to that of one stem."""

    def __init__(self, config: MDXNetConfig, n_fft: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.bins = n_fft, config.hop_length, config.bins
        channels = 2 * config.channels  # real and imaginary parts
        widths = [config.growth * level for level in range(1, config.depth + 2)]
        sizes = [config.bins >> level for level in range(config.depth + 1)]
        blocks = [Block(config, *size) for size in zip(widths, sizes, strict=True)]
        pairs = list(pairwise(widths))
        self.first = _normed(nn.Conv2d(channels, widths[0], 1), widths[0])
        self.encoder = nn.ModuleList(blocks[:-1])
        self.down = nn.ModuleList(
            _normed(nn.Conv2d(above, below, 2, stride=2), below)
            for above, below in pairs
        )
        self.middle = blocks[-1]
        self.up = nn.ModuleList(
            _normed(nn.ConvTranspose2d(below, above, 2, stride=2), above)
            for above, below in reversed(pairs)
        )
        self.decoder = nn.ModuleList(
            Block(config, width, bins)
            for width, bins in zip(widths[-2::-1], sizes[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(widths[0], channels, 1)

    def forward(self, mixture: Tensor) -> Tensor:
        """(batch, channels, samples) -> the same shape; lengths of `padded_length`."""
        spectrogram = stft(mixture, self.n_fft, self.hop_length, pad_mode="reflect")
        parts = complex_as_channels(spectrogram[..., : self.bins, :])
        parts = self.unet(parts.mT).mT.to(parts.dtype)  # autocast may have changed it
        missing = self.n_fft // 2 + 1 - self.bins
        separated = channels_as_complex(F.pad(parts, (0, 0, 0, missing)))
        return istft(separated, self.hop_length, length=mixture.shape[-1])

    def unet(self, x: Tensor) -> Tensor:
        """(batch, 2 · channels, frames, bins) -> the same shape."""
        x, skips = self.first(x), []
        for block, down in zip(self.encoder, self.down, strict=True):
            skips.append(block(x))
            x = down(skips[-1])
        x = self.middle(x)
        for block, up in zip(self.decoder, self.up, strict=True):
            x = block(up(x) * skips.pop())
        return self.last(x)


class MDXNet(nn.Module):
    """A U-Net per stem and the mixer; see above."""

    def __init__(self, config: MDXNetConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(StemNetwork(config, n) for n in config.n_ffts)
        n_out = len(config.stems) * config.channels
        if config.mixer:
            self.mixer = nn.Linear(n_out + config.channels, n_out, bias=False)
            nn.init.zeros_(self.mixer.weight)
            self.mixer.weight.data.diagonal().fill_(1)  # each stem as it is

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        samples = mixture.shape[-1]
        padded = F.pad(mixture, (0, config.padded_length(samples) - samples))
        stems = torch.stack([network(padded) for network in self.networks], dim=1)
        estimate = stems[..., :samples]
        if config.mixer:
            estimate = self.mix(estimate, mixture)
        # The biases give a sound in silence too, so silent items are set to zero.
        has_sound = mixture.ne(0).any(dim=-1).any(dim=-1)
        return estimate * has_sound[:, None, None, None]

    def mix(self, stems: Tensor, mixture: Tensor) -> Tensor:
        """Each channel of a stem from all channels of all stems and the mixture.

        (batch, stems, channels, samples), (batch, channels, samples) -> as the first.
        """
        # b batch, s stem, c channel, t sample
        x = torch.cat([stems, mixture[:, None]], dim=1)
        # The result is a waveform, for which the 8 digits of bfloat16 are too few.
        with torch.autocast(mixture.device.type, enabled=False):
            x = self.mixer(rearrange(x, "b s c t -> b t (s c)"))
        return rearrange(x, "b t (s c) -> b s c t", c=self.config.channels)


def _normed(layer: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU())


# ---- published checkpoints ----------------------------------------------------------

PUBLISHED_ORDER = ("bass", "drums", "other", "vocals")  # of the mixer's weights
# Names of the training repository and of the submission -> ours
RENAMED = (
    (r"^(encoding_blocks|ds_dense)\.", "encoder."),
    (r"^(decoding_blocks|us_dense)\.", "decoder."),
    (r"^(bottleneck_block|mid_dense)\.", "middle."),
    (r"^ds\.", "down."),
    (r"^us\.", "up."),
    (r"^first_conv\.", "first."),
    (r"^final_conv\.0\.", "last."),
    (r"(\.tfc)?\.H\.", ".convolutions."),
)
UNUSED = {"window", "freq_pad"}  # the STFT's window and the zeros above the bins


def from_kuielab(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a U-Net of the origin, with the names of a `StemNetwork`.

    The origin has two sets of names: those of ConvTDFNet in mdx-net, and those of
    Conv_TDF_net_trim in mdx-net-submission.
    """
    renamed = {}
    for name, value in state.items():
        if name not in UNUSED:
            for theirs, ours in RENAMED:
                name = re.sub(theirs, ours, name)
            renamed[name] = value
    return renamed


def mixer_from_kuielab(weight: Tensor, stems: tuple[str, ...]) -> Tensor:
    """The weights of the origin's mixer, (8, 10), for stems in another order.

    Args:
        weight: of the stems bass, drums, other, vocals; stereo.
        stems: the same four, in the order of the model.
    """
    # s stem out, c channel out, i stem in or the mixture, d channel in
    order = [PUBLISHED_ORDER.index(stem) for stem in stems]
    weight = rearrange(weight, "(s c) (i d) -> s c i d", c=2, d=2)
    weight = weight[order][:, :, [*order, len(order)]]
    return rearrange(weight, "s c i d -> (s c) (i d)")
