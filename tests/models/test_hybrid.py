"""Layers and STFT of the hybrid models; whole models are compared in tests/parity."""

import pytest
import torch

from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FirstConvolution,
    FrequencyEmbedding,
    LastConvolution,
    along_time,
    hybrid_istft,
    hybrid_stft,
    normalize,
)
from tests.models.noise import noise


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 100, 1000])
def test_stft_has_a_frame_a_hop_and_goes_back(samples):
    audio = noise(2, 2, samples, dtype=torch.float64)
    spectrogram = hybrid_stft(audio, 64)
    assert spectrogram.shape == (2, 2, 32, -(-samples // 16))
    back = hybrid_istft(spectrogram, samples)
    assert back.shape == audio.shape
    if samples == 1000:  # all but the highest bin, and the frames that were cut
        middle = slice(100, 900)
        smooth = torch.sin(torch.arange(1000, dtype=torch.float64) / 5).expand(1, 1, -1)
        again = hybrid_istft(hybrid_stft(smooth, 64), 1000)
        assert (again - smooth)[..., middle].abs().max() < 1e-3


def test_frames_begin_with_their_hop():
    """A click at sample m · hop is loudest in the frames around m."""
    audio = torch.zeros(1, 1, 640)
    audio[..., 320] = 1
    energy = hybrid_stft(audio, 64).abs().square().sum((0, 1, 2))
    centroid = (energy * torch.arange(len(energy))).sum() / energy.sum()
    assert abs(centroid - 19.5) < 0.01  # between the frames that share sample 320


def test_time_layers_undo_each_others_lengths():
    encoder, decoder = EncoderLayer(2, 8, freq=False), DecoderLayer(8, 4, freq=False)
    for samples in (1, 4, 9, 30):
        skip = encoder(noise(3, 2, samples))
        assert skip.shape == (3, 8, -(-samples // 4))
        assert decoder(skip, samples, skip).shape == (3, 4, samples)


def test_freq_layers_work_on_bins_alone():
    encoder = EncoderLayer(2, 8, freq=True, dconv=None)
    x = noise(1, 2, 32, 5)
    y = encoder(x)
    assert y.shape == (1, 8, 8, 5)
    changed = x.clone()
    changed[..., 3] = 0
    same = [0, 1, 2, 4]
    torch.testing.assert_close(encoder(changed)[..., same], y[..., same])
    decoder = DecoderLayer(8, 2, freq=True)
    assert decoder(y, 32, y).shape == x.shape


def test_the_kernel_can_take_all_bins():
    shape = {"freq": True, "kernel_size": 8, "stride": 4, "pad": False}
    down, up = EncoderLayer(2, 8, **shape), DecoderLayer(8, 2, **shape)
    y = down(noise(1, 2, 8, 5), noise(1, 8, 5))
    assert y.shape == (1, 8, 1, 5)
    assert up(y, 8, y).shape == (1, 2, 8, 5)


def test_the_other_branch_joins_after_the_convolution():
    layer = EncoderLayer(2, 8, freq=False)
    x, other = noise(1, 2, 16), noise(1, 8, 4)
    silent = torch.zeros(1, 8, 4)
    assert torch.equal(layer(x), layer(x, silent))
    assert not torch.allclose(layer(x), layer(x, other))


def test_last_layer_is_linear():
    first, last = FirstConvolution(2, 4, False), LastConvolution(4, 2, False, last=True)
    x = first(noise(1, 2, 16))
    zero = last(torch.zeros_like(x), 16)
    torch.testing.assert_close(last(2 * x, 16) - zero, 2 * (last(x, 16) - zero))
    assert LastConvolution(4, 2, False)(x, 16).min() > -0.2  # GELU


def test_dconv_runs_along_time_bin_by_bin():
    layer = EncoderLayer(2, 8, freq=True, dconv={"init": 1.0})
    x = noise(1, 8, 4, 6)
    together = along_time(layer.dconv, x)
    for number in range(4):
        torch.testing.assert_close(together[:, :, number], layer.dconv(x[:, :, number]))


def test_frequency_embedding_tells_bins_apart():
    torch.manual_seed(0)
    layer = FrequencyEmbedding(16, 4)
    added = layer(torch.zeros(2, 4, 16, 3))
    assert torch.equal(added[0, :, :, 0], added[1, :, :, 2])
    assert torch.equal(added[0, :, 5, 0], 2 * layer.embedding.weight[5])
    assert len(added[0, :, :, 0].T.unique(dim=0)) == 16


def test_normalize_each_of_a_batch():
    x = noise(3, 2, 50) * torch.tensor([1.0, 10.0, 0.0])[:, None, None] + 3
    y, (mean, std) = normalize(x)
    torch.testing.assert_close(y[:2].mean((1, 2)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(y[:2].std((1, 2)), torch.ones(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(y * (std + 1e-5) + mean, x)
    single, (_, std) = normalize(torch.ones(1, 1, 1))
    assert (single.item(), std.item()) == (0, 0)
