"""Losses of band-split networks; what all losses share is in test_losses."""

import pytest
import torch

from mssedu.spectral import stft
from mssedu.training.band_losses import band_split_l1, spectrogram_rmse


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    estimate, reference = torch.randn(2, 2, 3, 2, 6000, generator=generator)
    return {"estimate": estimate, "reference": reference}


def test_band_split_l1_is_the_sum_of_three_means():
    both = pair()
    parts = {name: stft(audio, 512, 128) for name, audio in both.items()}
    error = parts["estimate"] - parts["reference"]
    wanted = (both["estimate"] - both["reference"]).abs().mean()
    wanted = wanted + error.real.abs().mean() + error.imag.abs().mean()
    value = band_split_l1(**both, n_fft=512, hop_length=128)
    torch.testing.assert_close(value, wanted)


def test_spectrogram_rmse_is_a_mean_over_stems_of_roots():
    both = pair()
    rows = []
    for estimate, reference in zip(
        both["estimate"].flatten(0, 1), both["reference"].flatten(0, 1), strict=True
    ):
        error = stft(estimate - reference, 512, 128, normalized=True)
        rows.append(torch.view_as_real(error).square().mean().sqrt())
    value = spectrogram_rmse(**both, n_fft=512, hop_length=128)
    torch.testing.assert_close(value, torch.stack(rows).mean())


def test_spectrogram_rmse_counts_a_quiet_stem_beside_a_loud_one():
    """A stem 40 dB lower counts 1 / 100 in it, and 1 / 10000 in a mean of squares."""
    reference = torch.zeros(1, 2, 1, 20_000)
    error = torch.randn(1, 1, 1, 20_000, generator=torch.Generator().manual_seed(0))
    loud = torch.cat([error, 0 * error], dim=1)
    quiet = torch.cat([0 * error, error / 100], dim=1)
    values = [spectrogram_rmse(estimate=x, reference=reference) for x in (loud, quiet)]
    assert float(values[0] / values[1]) == pytest.approx(100, rel=0.01)
