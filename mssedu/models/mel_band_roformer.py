"""Mel-Band RoFormer: BS-RoFormer with overlapping bands on the mel scale.

The bands follow the mel scale, a model of how listeners compare pitches, instead of a
table made by hand. Neighbors overlap by half, so that most bins are in two bands; the
mask of such a bin is the mean of both. All else is as in BS-RoFormer.

    mixture (batch, channels, samples)
      │ STFT, reflected ends
    spectrogram (batch, channels, 1025 bins, frames)
      │ the bins of one band after the other, most of them twice
    (batch, channels, 1979, frames)
      │ band split: per band norm ▸ linear
    features (batch, frames, 60 bands, 384)
      │ 6 × attention and feed-forward part along time ▸ norm,
      │     the same along the bands ▸ norm
      │ band merge, per stem and band: linear 1536 ▸ tanh ▸ linear ▸ GLU
    (batch, stems, channels, 1979, frames), complex
      │ mean of the two bands of a bin
    mask (batch, stems, channels, 1025 bins, frames), complex
      │ times the spectrogram ▸ iSTFT
    estimate (batch, stems, channels, samples)

Paper: Wang, Lu, Won 2023, "Mel-band RoFormer for music source separation" (ISMIR,
    late-breaking demo).
Origin: no code by the authors; github.com/lucidrains/BS-RoFormer (MIT), release 1.2.4,
    whose form before value residuals and hyper-connections published weights have.
    The same weights give the same waveforms (tests/parity).
Choices: "paper" has the sizes of the paper on BS-RoFormer, 84,193,620 parameters for a
    single stem; the paper trains one model per stem, `stems=("vocals",)`. "public" has
    those of the best-known published weights, 228,202,852: 64 features a head, and two
    hidden layers in each mask network. As in all published weights, a norm ends each
    layer and none follows the last. Their first and last band also take the lowest and
    the highest bin, which lie on the edge of the mel scale, and they empty the lowest
    bin of the result, which the paper does not mention: `zero_dc`.
Differences: zeros follow a mixture that is too short for reflection.
Left out: value residuals, hyper-connections, linear attention over all bands and
    frames, and several layers in a row along one axis.
Notebook: 15.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_range
from mssedu.models.blocks.bands import (
    MOST_BANDS,
    BandMerge,
    BandSplit,
    as_features,
    as_mask,
    mask_network,
)
from mssedu.models.blocks.magnitude import any_stft
from mssedu.models.blocks.rotary import AxialTransformer, RMSNorm, check_axial
from mssedu.models.contract import check_config, check_stft
from mssedu.spectral import istft

LARGEST = {
    "n_fft": 2**20,
    "hop_length": 2**20,
    "n_bands": MOST_BANDS,
    "width": 16384,
    "n_layers": 99,
    "n_heads": 999,
    "head_width": 16384,
    "mask_layers": 16,
    "mask_scale": 99,
    "dropout": 1,
}  # values of a config, see check_config

# The mel scale of Slaney's Auditory Toolbox: steps of 200 / 3 Hz up to 1000 Hz, which
# is 15 mel, and then 27 steps for each factor of 6.4.
HZ_PER_MEL = 200 / 3
BREAK_HZ, BREAK_MEL = 1000.0, 15.0
LOG_STEP = np.log(6.4) / 27


def mel_edges(sample_rate: int, n_bands: int) -> np.ndarray:
    """Frequencies at equal distances on the mel scale, from 0 to half the sample rate.

    Args:
        sample_rate: Hz.
        n_bands: number of bands; band i reaches from edge i to edge i + 2.

    Returns:
        (n_bands + 2,), Hz.

    Example:
        >>> mel_edges(16000, 2).round().tolist()
        [0.0, 1006.0, 2836.0, 8000.0]
    """
    top = sample_rate / 2
    top_mel = top / HZ_PER_MEL
    if top >= BREAK_HZ:
        top_mel = BREAK_MEL + np.log(top / BREAK_HZ) / LOG_STEP
    mel = np.linspace(0.0, top_mel, n_bands + 2)
    above = BREAK_HZ * np.exp(LOG_STEP * (mel - BREAK_MEL))
    return np.where(mel < BREAK_MEL, HZ_PER_MEL * mel, above)


@lru_cache
def mel_bins(sample_rate: int, n_fft: int, n_bands: int) -> tuple[range, ...]:
    """The bins of each band of the mel scale, as in `librosa.filters.mel`.

    The lowest and the highest bin, on the outer edges, are in the outer bands.

    Args:
        sample_rate: Hz.
        n_fft: of the spectrogram.
        n_bands: number of bands.

    Returns:
        from low to high.

    Raises:
        InputError: a band without a bin, as there are too many.

    Example:
        >>> mel_bins(16000, 16, 2)
        (range(0, 3), range(2, 9))
    """
    hz, edges = np.fft.rfftfreq(n_fft, 1 / sample_rate), mel_edges(sample_rate, n_bands)
    first = np.searchsorted(hz, edges[:-2], side="right")
    last = np.searchsorted(hz, edges[2:], side="left")
    first[0], last[-1] = 0, len(hz)
    if (first >= last).any():
        raise InputError(
            f"n_bands must be so small that each band has a bin, got {n_bands} for "
            f"n_fft = {n_fft} at {sample_rate} Hz. Use fewer bands, or a larger n_fft."
        )
    return tuple(
        range(*ends) for ends in zip(first.tolist(), last.tolist(), strict=True)
    )


@dataclass(frozen=True)
class MelBandRoformerConfig:
    """The defaults are as in the paper, which has one model per stem of MUSDB18-HQ."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    sample_rate: int = 44100  # Hz
    channels: int = 2
    segment: float = 8.0  # seconds; the length in training
    n_fft: int = 2048
    hop_length: int = 441  # 10 ms
    n_bands: int = 60
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
        check_range("n_bands", self.n_bands, 1)
        check_axial(self.width, self.n_layers, self.n_heads, self.head_width)
        check_range("mask_layers", self.mask_layers, 0)
        check_range("mask_scale", self.mask_scale, 1)
        check_range("dropout", self.dropout, 0, 1, high_open=True)
        mel_bins(self.sample_rate, self.n_fft, self.n_bands)


PRESETS = {
    "paper": MelBandRoformerConfig(),
    "public": MelBandRoformerConfig(
        stems=("vocals",), head_width=64, mask_layers=2, dropout=0.0, zero_dc=True
    ),
    # A hop of half a window and few bands cost least.
    "tiny": MelBandRoformerConfig(
        segment=6.0,
        n_fft=1024,
        hop_length=512,
        n_bands=24,
        width=24,
        n_layers=2,
        n_heads=2,
        head_width=12,
        mask_layers=0,
        dropout=0.0,
    ),
}


class MelBandRoformer(nn.Module):
    """Band split, transformer along both axes, band merge to masks; see above."""

    bins: Tensor  # of one band after the other
    shares: Tensor  # of a bin in the mean of its bands: 1 or 1/2, (bins, 1)

    def __init__(self, config: MelBandRoformerConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.mask_scale * config.width
        bands = mel_bins(config.sample_rate, config.n_fft, config.n_bands)
        widths = [2 * config.channels * len(band) for band in bands]

        def into(n_in: int) -> nn.Module:
            return nn.Sequential(RMSNorm(n_in), nn.Linear(n_in, width))

        def out_of(n_out: int) -> nn.Module:
            return mask_network(width, n_out, hidden, config.mask_layers)

        self.split = BandSplit(widths, into)
        sizes = (config.n_layers, width, config.n_heads, config.head_width)
        self.transformer = AxialTransformer(*sizes, config.dropout, norm=True)
        self.masks = nn.ModuleList(BandMerge(widths, out_of) for _ in config.stems)
        self.bands = bands
        bins = torch.from_numpy(np.concatenate(bands))
        self.register_buffer("bins", bins, persistent=False)
        shares = 1 / bins.bincount()[:, None].float()
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        config = self.config
        check_mixture(mixture, config.channels)
        spectrogram, length = any_stft(mixture, config.n_fft, config.hop_length)
        bands = self.split(as_features(spectrogram[..., self.bins, :]))
        bands = self.transformer(bands)
        # Half the spectrogram times the sum of two masks is all of it times their mean.
        spectrogram = spectrogram * self.shares
        estimates = []
        for merge in self.masks:
            even, odd = (row.to(spectrogram.real) for row in self.rows(merge(bands)))
            stem = spectrogram * as_mask(even + odd, spectrogram)
            if config.zero_dc:
                stem = F.pad(stem[..., 1:, :], (0, 0, 1, 0))
            estimates.append(istft(stem, config.hop_length, length=length))
        return torch.stack(estimates, dim=1)[..., : mixture.shape[-1]]

    def rows(self, masks: Tensor) -> Iterator[Tensor]:
        """Bands 0, 2, 4 … side by side, and 1, 3, 5 …: in a row, none overlap.

        Args:
            masks: of all bands, (batch, frames, sum of bins · channels · 2).

        Returns:
            both rows, (batch, frames, bins · channels · 2); zeros are beside the bands.
        """
        width = 2 * self.config.channels
        parts = masks.split([width * len(band) for band in self.bands], dim=-1)

        def zeros(n_bins: int) -> Tensor:
            return masks.new_zeros(*masks.shape[:2], width * n_bins)

        for first in (0, 1):
            row, end = [], 0
            for part, band in zip(parts[first::2], self.bands[first::2], strict=True):
                row += [zeros(band.start - end), part]
                end = band.stop
            yield torch.cat([*row, zeros(len(self.shares) - end)], dim=-1)
