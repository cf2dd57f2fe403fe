"""HTDemucs (Demucs v4): two U-Nets with a transformer between them.

One U-Net works on the spectrogram and shortens its bins; the other one works on the
waveform and shortens time; each of their four levels divides by four. At the lowest
level, a cross-domain transformer exchanges features between all moments and between the
two branches, while convolutions reach neighbors only. Each branch estimates all stems,
and the two waveforms are added.

    mixture (batch, channels, samples), in eval mode with zeros up to `segment`
      │ STFT, reflected ends               │
    real, imaginary as channels            │
    (batch, 2 · channels, 2048, frames)    (batch, channels, samples)
      │ to mean 0, deviation 1             │ to mean 0, deviation 1
      │ 4 × convolution over bins, /4,     │ 4 × convolution over time, /4,
      │   48 … 384 wide ▸ DConv ▸ GLU      │   48 … 384 wide ▸ DConv ▸ GLU
      │   the first: + embedding of bins   │
    (batch, 384, 8 bins, frames)           (batch, 384, samples / 256)
      │ 1×1 to 512                         │ 1×1 to 512
      │ ◂────────── cross-domain transformer, 5 layers ──────────▸ │
      │ 1×1 to 384                         │ 1×1 to 384
      │ 4 × + skip ▸ GLU ▸ DConv           │ 4 × + skip ▸ GLU ▸ DConv
      │   ▸ transposed convolution, ×4     │   ▸ transposed convolution, ×4
      │ mean, deviation back ▸ iSTFT       │ mean, deviation back
      └────────────────── + ───────────────┘
    estimate (batch, stems, channels, samples)

Paper: Rouard, Massa, Défossez 2023, "Hybrid transformers for music source separation"
    (ICASSP).
Origin: github.com/adefossez/demucs (MIT), release 4.1.0, class HTDemucs. Preset "paper"
    is the published htdemucs (955717e8) and each model of htdemucs_ft; "6s" is
    htdemucs_6s; "lab" is what its code builds by default, the baseline of the variants
    htdemucs_p … htdemucs_dn. The same weights give the same waveforms (tests/parity).
Differences: a mixture longer than `segment` is computed as it is, where the original
    fails; in training no length is stored in the model.
Left out: masks with a Wiener filter, a branch that ends in a single bin, norms in the
    convolutions, several bands and sparse attention, as no published model has them.
Notebook: 11.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.dconv import rescale_
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    along_time,
    climb,
    descend,
    fill_segment,
    hybrid_istft,
    hybrid_stft,
    normalize,
)
from mssedu.models.blocks.transformer import CrossDomainTransformer
from mssedu.models.contract import check_config
from mssedu.spectral import channels_as_complex, complex_as_channels

STRIDE = 4  # of all convolutions that change the rate


LARGEST = {
    "n_fft": 2**20,
    "width": 16384,
    "depth": 16,
    "dconv_mode": 99,
    "dconv_depth": 16,
    "dconv_compress": 16384,
    "bottom_channels": 16384,
    "t_layers": 99,
    "t_heads": 999,
    "t_hidden_scale": 99,
    "dropout": 1,
}  # values of a config, see check_config


@dataclass(frozen=True)
class HTDemucsConfig:
    """The defaults are htdemucs, trained on MUSDB18-HQ and 800 more songs."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 7.8  # seconds; the length in training, and the limit in inference
    n_fft: int = 4096  # the hop length is a quarter of it
    width: int = 48  # channels of the first level, doubled at each further one
    depth: int = 4  # levels
    dconv_mode: int = 3  # DConv in 0: none, 1: the encoders, 2: the decoders, 3: both
    dconv_depth: int = 2  # branches in each DConv; the dilation doubles
    dconv_compress: float = 8  # DConv has so many times fewer channels than its level
    bottom_channels: int = 512  # width of the transformer; 0: that of the last level
    t_layers: int = 5
    t_heads: int = 8
    t_hidden_scale: float = 4.0  # width of the feed-forward parts / t_width
    dropout: float = 0.02  # in the transformer

    hops = 4  # in a window
    rescale = 0.1  # deviation that the first weights of convolutions come closer to

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        for name in ("width", "depth", "dconv_depth", "t_layers", "t_heads"):
            check_range(name, getattr(self, name), 1)
        check_range("dconv_mode", self.dconv_mode, 0, 3)
        check_range("dconv_compress", self.dconv_compress, 1, self.width)
        check_range("bottom_channels", self.bottom_channels, 0)
        check_range("t_hidden_scale", self.t_hidden_scale, 0, low_open=True)
        check_range("dropout", self.dropout, 0, 1, high_open=True)
        unit = 2 * STRIDE**self.depth  # one bin after the last level
        if self.n_fft % unit or self.n_fft < 3 * unit:
            raise InputError(
                f"n_fft must be a multiple of {unit} and at least {3 * unit}, got "
                f"{self.n_fft}: {self.depth} levels divide the bins by {STRIDE} each."
            )
        if self.t_width % 4 or self.t_width % self.t_heads:
            name = "bottom_channels" if self.bottom_channels else "width"
            raise InputError(
                f"{name} {getattr(self, name)} gives the transformer {self.t_width} "
                f"features; they must be a multiple of 4 and of t_heads {self.t_heads}."
            )

    @property
    def segment_limit(self) -> float:
        """Seconds; the transformer was trained with no positions further apart."""
        return self.segment

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top down."""
        return tuple(self.width * 2**level for level in range(self.depth))

    @property
    def t_width(self) -> int:
        """Features of a position in the transformer."""
        return self.bottom_channels or self.widths[-1]

    def layer(self, level: int, decoder: bool) -> dict[str, Any]:
        """Arguments of the encoder layer, or of the decoder layer, of a level."""
        dconv = {
            "compress": self.dconv_compress,
            "depth": self.dconv_depth,
            "init": 1e-3,
        }
        has_dconv = self.dconv_mode & (2 if decoder else 1)
        return {"stride": STRIDE, "dconv": dconv if has_dconv else None}


class TwoBranches(Protocol):
    """What HTDemucs reads from a config: variants have configs of their own."""

    @property
    def stems(self) -> tuple[str, ...]: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def segment(self) -> float: ...
    @property
    def n_fft(self) -> int: ...
    @property
    def hops(self) -> int: ...
    @property
    def rescale(self) -> float: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def bottom_channels(self) -> int: ...
    @property
    def t_width(self) -> int: ...
    @property
    def t_layers(self) -> int: ...
    @property
    def t_heads(self) -> int: ...
    @property
    def t_hidden_scale(self) -> float: ...
    @property
    def dropout(self) -> float: ...
    def layer(self, level: int, decoder: bool) -> dict[str, Any]: ...


PRESETS = {
    "paper": HTDemucsConfig(),
    "6s": HTDemucsConfig(
        stems=("drums", "bass", "other", "vocals", "guitar", "piano"), bottom_channels=0
    ),
    # The defaults of the original's code, from which the variants start
    "lab": HTDemucsConfig(segment=10.0, dconv_mode=1, bottom_channels=0, dropout=0.0),
    "tiny": HTDemucsConfig(
        segment=6.0,
        width=12,
        dconv_mode=1,
        dconv_compress=4,
        bottom_channels=64,
        t_layers=3,
        t_heads=4,
        dropout=0.0,
    ),
}


class HTDemucs(nn.Module):
    """Two branches and the transformer between them; see above."""

    def __init__(self, config: TwoBranches) -> None:
        super().__init__()
        self.config = config
        # Real and imaginary parts are channels of the frequency branch.
        self.encoder, self.decoder = _branch(config, 2 * config.channels, freq=True)
        self.tencoder, self.tdecoder = _branch(config, config.channels, freq=False)
        bins = config.n_fft // 2 // config.layer(0, decoder=False)["stride"]
        self.freq_emb = FrequencyEmbedding(bins, config.widths[0])
        rescale_(self, config.rescale)
        width, t_width = config.widths[-1], config.t_width
        if config.bottom_channels:
            self.channel_upsampler = nn.Conv1d(width, t_width, 1)
            self.channel_downsampler = nn.Conv1d(t_width, width, 1)
            self.channel_upsampler_t = nn.Conv1d(width, t_width, 1)
            self.channel_downsampler_t = nn.Conv1d(t_width, width, 1)
        layers, heads, scale = config.t_layers, config.t_heads, config.t_hidden_scale
        if layers:
            self.crosstransformer = CrossDomainTransformer(
                t_width, layers, heads, scale, config.dropout
            )

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        padded = self.fill_segment(mixture)
        spectrogram = hybrid_stft(padded, self.config.n_fft, self.config.hops)
        freq, (freq_mean, freq_std) = normalize(complex_as_channels(spectrogram))
        time, (time_mean, time_std) = normalize(padded)
        first = self.freq_emb(self.encoder[0](freq))
        freq_levels = [freq, *descend(self.encoder[1:], first)]
        time_levels = descend(self.tencoder, time)
        freq, time = self.relate(freq_levels[-1], time_levels[-1])
        freq = climb(self.decoder, freq, freq_levels) * freq_std + freq_mean
        time = climb(self.tdecoder, time, time_levels) * time_std + time_mean
        stems = (len(self.config.stems), -1)  # and the channels of each
        freq, time = freq.unflatten(1, stems), time.unflatten(1, stems)
        freq = channels_as_complex(freq)
        estimate = hybrid_istft(freq, padded.shape[-1], self.config.hops) + time
        return estimate[..., : mixture.shape[-1]]

    def fill_segment(self, mixture: Tensor) -> Tensor:
        """In eval mode, add zeros at the end up to the length in training."""
        config = self.config
        if self.training:
            return mixture
        return fill_segment(mixture, config.segment, config.sample_rate)

    def relate(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the transformer, if any, to the last levels of both branches."""
        if not self.config.t_layers:
            return freq, time
        if not self.config.bottom_channels:
            return self.crosstransformer(freq, time)
        freq, time = self.crosstransformer(
            along_time(self.channel_upsampler, freq), self.channel_upsampler_t(time)
        )
        freq = along_time(self.channel_downsampler, freq)
        return freq, self.channel_downsampler_t(time)


def _branch(
    config: TwoBranches, channels: int, freq: bool
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Encoder, from the top down, and decoder, from the bottom up, of one branch."""
    encoder = [
        EncoderLayer(n_in, width, freq, **config.layer(level, decoder=False))
        for level, (n_in, width) in enumerate(pairwise((channels, *config.widths)))
    ]
    n_out = len(config.stems) * channels
    decoder = [
        DecoderLayer(
            width, above, freq, last=level == 0, **config.layer(level, decoder=True)
        )
        for level, (above, width) in enumerate(pairwise((n_out, *config.widths)))
    ]
    return nn.ModuleList(encoder), nn.ModuleList(reversed(decoder))
