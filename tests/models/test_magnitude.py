"""The STFT, the statistics and the filter around networks of magnitudes."""

import pytest
import torch

from mssedu.models.blocks.magnitude import any_stft, bin_statistics, filter_windows
from mssedu.spectral import istft, stft
from tests.models.noise import noise


@pytest.mark.parametrize("samples", [1, 32, 33, 500])
def test_any_length_comes_back(samples):
    mixture = noise(2, samples)
    spectrogram, length = any_stft(mixture, 64, 16)
    assert length == max(samples, 33)
    restored = istft(spectrogram, 16, length=length)[..., :samples]
    torch.testing.assert_close(restored, mixture, rtol=0, atol=1e-5)


def test_statistics_are_those_of_all_frames():
    excerpts = [noise(2, 400), 3 * noise(2, 800)]
    mean, deviation = bin_statistics(excerpts, 64, 16, 20)
    magnitudes = [stft(x, 64, 16).abs().mean(0)[:20] for x in excerpts]
    frames = torch.cat(magnitudes, dim=-1)
    torch.testing.assert_close(mean, frames.mean(-1))
    torch.testing.assert_close(deviation, frames.std(-1))


def test_deviations_of_empty_bins_are_not_zero():
    time = torch.arange(40_000)
    tone = torch.sin(2 * torch.pi * time / 16) * torch.hann_window(len(time))
    _, deviation = bin_statistics([tone[None]], 64, 16, 33)
    assert deviation.min() == pytest.approx(1e-4 * float(deviation.max()))
    _, deviation = bin_statistics([torch.zeros(1, 400)], 64, 16, 33)
    assert (deviation > 0).all()


def test_windows_are_filtered_alone_and_share_out_the_mixture():
    magnitude, mixture = noise(1, 3, 2, 9, 10).abs(), noise(1, 2, 9, 10, 2)
    mixture = torch.view_as_complex(mixture)
    whole = filter_windows(magnitude, mixture, 1, 4)
    last = filter_windows(magnitude[..., 8:], mixture[..., 8:], 1, 4)
    torch.testing.assert_close(whole[..., 8:], last)
    torch.testing.assert_close(whole.sum(1), mixture, rtol=1e-2, atol=1e-2)
    rest = filter_windows(magnitude, mixture, 1, 4, residual=True)
    assert rest.shape == whole.shape
    assert not torch.allclose(rest.sum(1), mixture, atol=1e-2)


def test_a_single_stem_is_not_the_whole_mixture():
    magnitude, mixture = noise(1, 1, 2, 9, 10).abs(), noise(1, 2, 9, 10, 2)
    mixture = torch.view_as_complex(mixture)
    estimate = filter_windows(magnitude, mixture, 1, 300)
    assert estimate.shape == (1, 1, 2, 9, 10)
    assert not torch.allclose(estimate[:, 0], mixture, atol=1e-2)
