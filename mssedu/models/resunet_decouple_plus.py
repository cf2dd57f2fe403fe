"""ResUNetDecouple+: a residual U-Net of 143 layers estimates magnitude and phase apart.

For each bin a U-Net gives four numbers: a mask between 0 and 1 for the magnitude, the
cosine and sine of an angle that turns the phase, and a magnitude to add. With a mask
alone, a stem is never louder than the mixture and has its phase; where two stems cancel
each other in the mixture, both are wrong. Every level has four residual blocks of two
convolutions.

    mixture (batch, channels, samples)
      │ STFT, reflected ends
    spectrogram (batch, channels, 1025 bins, frames)
      │ magnitude ▸ batch norm of each bin ▸ lowest 1024 bins ▸ frames up to n · 32
    (batch, channels, frames, 1024 bins); then, for each stem:
      │ 4 residual blocks ─── skip (batch, 32, frames, 1024) ────────────────────────┐
      │ mean of 2 × 2              (batch, 32, frames / 2, 512)                      │
      │   … 5 levels: 32, 64, 128, 256, 384 channels …                               │
      │ 4 residual blocks ─── skip (batch, 384, frames / 32, 32)                     │
      │ mean of 2 bins             (batch, 384, frames / 32, 16)                     │
      │ 16 residual blocks                                                           │
      │   … 6 levels: double the size ▸ beside the skip ▸ 4 residual blocks … ◂──────┘
      │ 4 residual blocks ▸ 1 × 1
    (batch, 4 · channels, frames, 1024 bins)
      │ mask   = sigmoid(1st)            turn = tanh(2nd) + i · tanh(3rd), to length 1
      │ magnitude = relu(mask · |mixture| + 4th),  phase = that of the mixture · turn
      │ inverse STFT
    estimate (batch, stems, channels, samples)

Paper: Kong, Cao, Liu, Choi, Wang 2021, "Decoupling magnitude and phase estimation with
    deep ResUNet for music source separation" (ISMIR): 102,571,278 parameters a stem.
Origin: github.com/bytedance/music_source_separation (Apache-2.0), released as bytesep
    0.1.1, class ResUNet143_DecouplePlusInplaceABN_ISMIR2021. mssedu (MIT) has no line
    of it. The same weights give the same waveforms (tests/parity); `from_bytesep`
    renames its layers and adapts a norm.
Differences: all stems are in one model; the origin trains one for each. Its second norm
    of a block, InPlace-ABN, uses the absolute value of its scale to save memory; ours
    is a plain batch norm. Zeros follow a mixture that is too short for reflection.
Left out: the variant on four subbands of the waveform, which is faster and 0.2 dB worse
    for vocals, as the paper has not got it.
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
from mssedu.spectral import istft, stft

MAPS = 4  # of a channel: mask, cosine and sine of the turn, magnitude to add
MOMENTUM = 0.01  # of the statistics of all norms

LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "widths": 16384,
    "n_blocks": 64,
    "n_bottleneck": 64,
    "kernel": 99,
}  # values of a config, see check_config


@dataclass(frozen=True)
class ResUNetDecouplePlusConfig:
    """The defaults are the paper's; it has one model for each stem."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 3.0  # seconds; the length in training
    n_fft: int = 2048
    hop_length: int = 441  # 10 ms
    widths: tuple[int, ...] = (32, 64, 128, 256, 384, 384)  # channels of each level
    n_blocks: int = 4  # residual blocks of a level
    n_bottleneck: int = 4  # so many times n_blocks below the last level
    kernel: int = 3

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_range("len(widths)", len(self.widths), 1, 12)
        check_range("min(widths)", min(self.widths), 1)
        check_range("n_blocks", self.n_blocks, 1)
        check_range("n_bottleneck", self.n_bottleneck, 1)
        check_odd("kernel", self.kernel)
        step = 2 ** (1 + len(self.widths))
        if self.n_fft % step:
            raise InputError(
                f"n_fft must be a multiple of {step} for {len(self.widths)} widths, "
                f"got {self.n_fft}: each level halves the bins."
            )

    @property
    def pools(self) -> tuple[tuple[int, int], ...]:
        """How many frames and bins become one below each level."""
        return ((2, 2),) * (len(self.widths) - 1) + ((1, 2),)

    @property
    def n_halved(self) -> int:
        """The number of frames must be a multiple of this."""
        return 2 ** (len(self.widths) - 1)


PRESETS = {
    "paper": ResUNetDecouplePlusConfig(),
    "tiny": ResUNetDecouplePlusConfig(
        n_fft=2048,
        hop_length=1024,
        widths=(4, 8, 16, 24, 24),
        n_blocks=1,
        n_bottleneck=2,
    ),
}


class ResidualBlock(nn.Module):
    """Two convolutions, each after norm and activation, and a shortcut past both."""

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        super().__init__()
        self.norm1 = _norm(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
        self.norm2 = _norm(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, kernel, padding=kernel // 2, bias=False)
        same = n_in == n_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, frames, bins) -> (batch, n_out, frames, bins)."""
        y = self.conv1(F.leaky_relu(self.norm1(x)))
        y = self.conv2(F.leaky_relu(self.norm2(y)))
        return self.shortcut(x) + y


class DecoderLevel(nn.Module):
    """Double the size, then residual blocks that also see the encoder's level."""

    def __init__(
        self, n_in: int, n_out: int, pool: tuple[int, int], n_blocks: int, kernel: int
    ) -> None:
        super().__init__()
        self.norm = _norm(n_in)
        self.up = nn.ConvTranspose2d(n_in, n_out, pool, stride=pool, bias=False)
        self.blocks = _blocks(2 * n_out, n_out, n_blocks, kernel)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(batch, n_in, frames, bins), (batch, n_out, …) -> the shape of the skip."""
        x = self.up(F.relu(self.norm(x)))
        return self.blocks(torch.cat([x, skip], dim=1))


class StemNetwork(nn.Module):
    """From the magnitude of the mixture to four maps for each channel of a stem."""

    def __init__(self, config: ResUNetDecouplePlusConfig) -> None:
        super().__init__()
        widths, pools, kernel = config.widths, config.pools, config.kernel
        deepest, n_blocks, n_out = widths[-1], config.n_blocks, MAPS * config.channels
        self.pools, self.n_halved = pools, config.n_halved
        self.norm = _norm(config.n_fft // 2 + 1)
        self.encoder = nn.ModuleList(
            _blocks(above, width, n_blocks, kernel)
            for above, width in pairwise((config.channels, *widths))
        )
        self.bottleneck = nn.Sequential()
        for _ in range(config.n_bottleneck):
            self.bottleneck.append(_blocks(deepest, deepest, n_blocks, kernel))
        levels = [
            DecoderLevel(below, width, pool, n_blocks, kernel)
            for (width, below), pool in zip(
                pairwise([*widths, deepest]), pools, strict=True
            )
        ]
        self.decoder = nn.ModuleList(reversed(levels))  # the deepest first
        self.after = _blocks(widths[0], widths[0], n_blocks, kernel)
        self.output = nn.Conv2d(widths[0], n_out, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, magnitude: Tensor) -> Tensor:
        """(batch, channels, bins, frames) -> (maps, batch, channels, bins - 1, frames).

        The highest bin is left out, so that the number of bins can be halved.
        """
        # b batch, c channel, f bin, m frame, k map
        frames = magnitude.shape[-1]
        x = self.norm(rearrange(magnitude, "b c f m -> b f m c"))
        x = rearrange(x[:, :-1], "b f m c -> b c m f")
        x = F.pad(x, (0, 0, 0, -frames % self.n_halved))
        skips = []
        for blocks, pool in zip(self.encoder, self.pools, strict=True):
            skips.append(blocks(x))
            x = F.avg_pool2d(skips[-1], pool)
        x = self.bottleneck(x)
        for level in self.decoder:
            x = level(x, skips.pop())
        x = self.output(self.after(x))[:, :, :frames]
        return rearrange(x, "b (c k) m f -> k b c f m", k=MAPS)


class ResUNetDecouplePlus(nn.Module):
    """A U-Net per stem for mask, phase and magnitude; see above."""

    def __init__(self, config: ResUNetDecouplePlusConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(StemNetwork(config) for _ in config.stems)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        samples = mixture.shape[-1]
        # Reflection needs more samples than n_fft // 2; zeros fill up what is missing.
        missing = max(config.n_fft // 2 + 1 - samples, 0)
        padded = F.pad(mixture, (0, missing))
        spectrogram = stft(padded, config.n_fft, config.hop_length, pad_mode="reflect")
        # With a floor, as the root has no slope at 0
        power = spectrogram.real.square() + spectrogram.imag.square()
        magnitude = power.clamp_min(1e-10).sqrt()
        maps = [network(magnitude).to(magnitude) for network in self.networks]
        turned = turn(torch.stack(maps, dim=2), magnitude, spectrogram / magnitude)
        estimate = istft(turned, config.hop_length, length=samples + missing)
        return estimate[..., :samples]


def turn(maps: Tensor, magnitude: Tensor, phase: Tensor) -> Tensor:
    """The complex spectrogram of each stem from its maps.

    Args:
        maps: (4, batch, stems, channels, bins - 1, frames) real.
        magnitude: of the mixture, (batch, channels, bins, frames).
        phase: of the mixture, complex numbers of length 1, or 0 in silence.

    Returns:
        (batch, stems, channels, bins, frames); the highest bin is zero.
    """
    mask, cosine, sine, extra = maps.unbind(0)
    cosine, sine = cosine.tanh(), sine.tanh()
    length = (cosine.square() + sine.square()).clamp_min(1e-20).sqrt()
    direction = torch.complex(cosine / length, sine / length)
    magnitude, phase = magnitude[:, None, :, :-1], phase[:, None, :, :-1]
    separated = F.relu(magnitude * mask.sigmoid() + extra) * phase * direction
    return F.pad(separated, (0, 0, 0, 1))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, momentum=MOMENTUM)


def _blocks(n_in: int, n_out: int, n_blocks: int, kernel: int) -> nn.Sequential:
    widths = [n_in, *[n_out] * n_blocks]
    blocks = [ResidualBlock(*pair, kernel) for pair in pairwise(widths)]
    return nn.Sequential(*blocks)


# ---- published checkpoints ----------------------------------------------------------

RENAMED = (  # names of bytesep -> ours, but for numbers
    (r"^bn0\.", "norm."),
    (r"^encoder_block(\d+)\.", "encoder.{}."),
    (r"^conv_block7([a-d])\.", "bottleneck.{}."),
    (r"^decoder_block(\d+)\.conv1\.", "decoder.{}.up."),
    (r"^decoder_block(\d+)\.bn1\.", "decoder.{}.norm."),
    (r"^decoder_block(\d+)\.", "decoder.{}.blocks."),
    (r"^after_conv_block1\.", "after."),
    (r"^after_conv2\.", "output."),
)
INNER = ((r"\.bn1\.", ".norm1."), (r"\.abn2\.", ".norm2."))
STFT = ("stft.", "istft.")  # Fourier matrices, which bytesep stores
ABN_EPSILON = 1e-5


def from_bytesep(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a model of the origin, with the names of a `StemNetwork`.

    InPlace-ABN multiplies by |weight| + 1e-5 where a batch norm multiplies by its
    weight, so this becomes the weight.
    """
    renamed = {}
    for name, value in state.items():
        if name.startswith(STFT):
            continue
        ours = _our_name(name)
        if name.endswith("abn2.weight"):
            value = value.abs() + ABN_EPSILON
        renamed[ours] = value
        if name.endswith("abn2.running_var"):  # a count that it does not store
            count = ours.replace("running_var", "num_batches_tracked")
            renamed[count] = torch.zeros((), dtype=torch.long)
    return renamed


def _our_name(name: str) -> str:
    for theirs, ours in RENAMED:
        if found := re.match(theirs, name):
            index = "abcd".find(found[1]) if ours.startswith("bottleneck") else 0
            if ours.startswith(("encoder", "decoder")):
                index = int(found[1]) - 1
            name = ours.format(index) + name[found.end() :]
            break
    # Blocks count from 1, those of a decoder from 2.
    first = 2 if name.startswith("decoder") else 1
    name = re.sub(r"conv_block(\d+)\.", lambda found: f"{int(found[1]) - first}.", name)
    for theirs, ours in INNER:
        name = re.sub(theirs, ours, name)
    return name
