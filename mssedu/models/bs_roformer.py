"""BS-RoFormer: a transformer over time and over bands estimates a complex mask.

The spectrogram is split into 62 bands, narrow ones at low frequencies, and each becomes
384 features. Attention with rotary positions compares the moments of each band, then
the bands of each moment. A small network per band and stem turns the features into a
complex factor for every bin, which changes its phase too.

    mixture (batch, channels, samples)
      │ STFT, reflected ends
    spectrogram (batch, channels, 1025 bins, frames)
      │ band split: per band norm ▸ linear
    features (batch, frames, 62 bands, 384)
      │ 6 × attention and feed-forward part along time, the same along the bands
      │ norm
      │ band merge, per stem and band: linear 1536 ▸ tanh ▸ linear ▸ GLU
    mask (batch, stems, channels, bins, frames), complex
      │ times the spectrogram ▸ iSTFT
    estimate (batch, stems, channels, samples)

Paper: Lu, Wang, Kong, Hung 2024, "Music source separation with band-split RoPE
    transformer" (ICASSP).
Origin: no code by the authors; github.com/lucidrains/BS-RoFormer (MIT), release 1.2.4,
    whose form before value residuals and hyper-connections published weights have.
    The same weights give the same waveforms (tests/parity).
Choices: "paper" is its model with 6 layers, 72,173,340 parameters for a single stem.
    The paper trains one model per stem, `stems=("vocals",)`; with several stems, each
    has its own band merge, as in published weights. 384 features for 8 heads are 48 a
    head; the public implementation takes 64 (preset "public", 74,532,652). The paper
    mentions neither gates of the heads nor the absence of biases in attention: both are
    the public implementation's. It has a norm at the start of each mask network; here
    all share one, which computes the same, since a linear layer follows. It keeps the
    lowest bin; `zero_dc` empties it, an option of the public implementation.
Differences: zeros follow a mixture that is too short for reflection.
Left out: value residuals, hyper-connections, biases shared by all layers, and several
    layers in a row along one axis: neither the paper nor most published weights have
    them.
Notebook: 15.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.errors import check_mixture, check_range
from mssedu.models.blocks.bands import (
    BandMerge,
    BandSplit,
    as_features,
    as_mask,
    check_bands,
    mask_network,
)
from mssedu.models.blocks.magnitude import any_stft
from mssedu.models.blocks.rotary import AxialTransformer, RMSNorm, check_axial
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import istft

LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "bands": 2**19 + 1,
    "width": 16384,
    "n_layers": 99,
    "n_heads": 999,
    "head_width": 16384,
    "mask_layers": 16,
    "mask_scale": 99,
    "dropout": 1,
}  # values of a config, see check_config

# Bins of each band: 2 below 1 kHz, 4 below 2, 12 below 4, 24 below 8, 48 below 16 kHz
BANDS = (*(2,) * 24, *(4,) * 12, *(12,) * 8, *(24,) * 8, *(48,) * 8, 128, 129)


@dataclass(frozen=True)
class BSRoformerConfig:
    """The defaults are the paper's model with 6 layers, trained on MUSDB18-HQ."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 8.0  # seconds; the length in training
    n_fft: int = 2048
    hop_length: int = 441  # 10 ms
    bands: tuple[int, ...] = BANDS  # bins of each band, n_fft / 2 + 1 together
    width: int = 384  # features of a band at a moment
    n_layers: int = 6  # pairs of a layer along time and one along the bands
    n_heads: int = 8
    head_width: int = 48  # features of a head, even; 64 in the public implementation
    mask_layers: int = 1  # hidden layers of each mask network
    mask_scale: int = 4  # their width / width
    dropout: float = 0.1  # in the transformer
    zero_dc: bool = False  # the lowest bin of every stem is empty

    def __post_init__(self) -> None:
        check_config(self, LARGEST)
        check_stft(self.n_fft, self.hop_length)
        check_bands("bands", self.bands, self.n_fft // 2 + 1)
        check_axial(self.width, self.n_layers, self.n_heads, self.head_width)
        check_range("mask_layers", self.mask_layers, 0)
        check_range("mask_scale", self.mask_scale, 1)
        check_range("dropout", self.dropout, 0, 1, high_open=True)


PRESETS = {
    "paper": BSRoformerConfig(),
    "large": BSRoformerConfig(n_layers=12),  # of the Sound Demixing Challenge 2023
    "public": BSRoformerConfig(head_width=64, dropout=0.0),
    # A hop of half a window and few bands cost least.
    "tiny": BSRoformerConfig(
        segment=6.0,
        n_fft=1024,
        hop_length=512,
        bands=(*(2,) * 12, *(6,) * 6, *(16,) * 4, *(32,) * 4, *(64,) * 4, 5),
        width=40,
        n_layers=2,
        n_heads=4,
        head_width=10,
        mask_layers=0,
        dropout=0.0,
    ),
}


class BSRoformer(nn.Module):
    """Band split, transformer along both axes, band merge to masks; see above."""

    def __init__(self, config: BSRoformerConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.mask_scale * config.width
        widths = [2 * config.channels * bins for bins in config.bands]

        def into(n_in: int) -> nn.Module:
            return nn.Sequential(RMSNorm(n_in), nn.Linear(n_in, width))

        def out_of(n_out: int) -> nn.Module:
            return mask_network(width, n_out, hidden, config.mask_layers)

        self.split = BandSplit(widths, into)
        self.transformer = AxialTransformer(
            config.n_layers, width, config.n_heads, config.head_width, config.dropout
        )
        self.norm = RMSNorm(width)
        self.masks = nn.ModuleList(BandMerge(widths, out_of) for _ in config.stems)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        spectrogram, length = any_stft(mixture, config.n_fft, config.hop_length)
        bands = self.split(as_features(spectrogram))
        bands = self.norm(self.transformer(bands))
        estimates = []
        for merge in self.masks:
            stem = spectrogram * as_mask(merge(bands), spectrogram)
            if config.zero_dc:
                stem = F.pad(stem[..., 1:, :], (0, 0, 1, 0))
            estimates.append(istft(stem, config.hop_length, length=length))
        return torch.stack(estimates, dim=1)[..., : mixture.shape[-1]]
