"""Shares of the spectrograms in each stem, from the weights of a fusion."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.inspect.fusion import fusion_shares
from mssedu.models.registry import create_model


@torch.no_grad()
def test_shares_are_the_weights_of_each_stem():
    model = create_model("htdemucs_nn", "tiny", stems=("drums", "bass"))
    model.fusion.weights.raw[0] = torch.tensor([2.0, 1.0, 0.0]).log()
    shares = fusion_shares(model)
    assert shares["drums"] == pytest.approx({512: 2 / 3, 1024: 1 / 3, 2048: 0})
    assert shares["bass"] == pytest.approx(dict.fromkeys((512, 1024, 2048), 1 / 3))


@torch.no_grad()
@pytest.mark.parametrize("name", ["htdemucs_n", "htdemucs_nf"])
def test_shares_of_a_convolution_are_the_sizes_of_its_kernels(name):
    model = create_model(name, "tiny", stems=("drums", "bass"))
    model.fusion.conv.weight.fill_(1.0)
    model.fusion.conv.weight[2:, :, 1] = -3.0  # both channels of the second stem
    n = len(model.config.n_ffts)
    shares = fusion_shares(model)
    assert list(shares["drums"].values()) == pytest.approx([1 / n] * n)
    assert shares["bass"][1024] == pytest.approx(3 / (n + 2))
    assert sum(shares["bass"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["htdemucs_dn", "htdemucs", "open_unmix"])
def test_other_models_have_no_shares(name):
    with pytest.raises(InputError, match="no weights for each stem and spectrogram"):
        fusion_shares(create_model(name, "tiny"))
