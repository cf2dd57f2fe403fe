"""Sums of losses, weights of stems, and the penalty on singular values."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.registry import model_config
from mssedu.training.config import TrainConfig
from mssedu.training.losses import LOSSES, waveform_l1, waveform_mse
from mssedu.training.objective import create_loss, svd_penalty

STEMS = ("vocals", "drums", "bass")
MODEL = model_config("open_unmix", stems=STEMS)


def pair():
    generator = torch.Generator().manual_seed(0)
    estimate, reference = torch.randn(2, 2, 3, 2, 5000, generator=generator)
    return {"estimate": estimate, "reference": reference}


def loss_of(*loss, **changes):
    return create_loss(TrainConfig(loss=loss, **changes), MODEL)


def test_one_loss_is_the_function_itself():
    assert loss_of("waveform_l1") is waveform_l1
    assert loss_of("waveform_l1=1") is waveform_l1


def test_a_sum_is_the_weighted_sum():
    value = loss_of("waveform_l1=2", "waveform_mse=0.5")(**pair())
    expected = 2 * waveform_l1(**pair()) + 0.5 * waveform_mse(**pair())
    torch.testing.assert_close(value, expected)
    alone = loss_of("waveform_l1=0", "waveform_mse=0.5")(**pair())
    torch.testing.assert_close(alone, 0.5 * waveform_mse(**pair()))


def test_the_sample_rate_of_the_model_counts():
    other = model_config("open_unmix", stems=STEMS, sample_rate=48000)
    config = TrainConfig(loss=("log_wmse_loss",))
    values = [create_loss(config, one)(**pair()) for one in (MODEL, other)]
    torch.testing.assert_close(values[0], LOSSES["log_wmse_loss"](**pair()))
    assert values[0] != values[1]


@pytest.mark.parametrize("name", ["waveform_l1", "thresholded_snr", "magnitude_mse"])
def test_equal_weights_of_stems_change_nothing(name):
    plain = LOSSES[name](**pair())
    for weight in ("2", "0.5"):
        weights = tuple(f"{stem}={weight}" for stem in STEMS)
        value = loss_of(name, stem_weights=weights)(**pair())
        torch.testing.assert_close(value, plain)


def test_a_stem_with_a_weight_counts_like_so_many_stems():
    both = pair()
    value = loss_of("waveform_l1", stem_weights=("vocals=3", "bass=0"))(**both)
    rows = (both["estimate"] - both["reference"]).abs().mean((0, 2, 3))
    torch.testing.assert_close(value, (3 * rows[0] + rows[1]) / 4)


def test_absent_stems_are_left_out_of_weighted_losses_too():
    both = pair()
    present = torch.tensor([[True, True, False], [False, True, True]])
    loss = loss_of("waveform_l1", stem_weights=("vocals=3",))
    value = loss(**both, present=present)
    rows = (both["estimate"] - both["reference"]).abs().mean((2, 3))
    expected = (3 * rows[0, 0] + rows[0, 1] + rows[1, 1] + rows[1, 2]) / 6
    torch.testing.assert_close(value, expected)
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert loss(**both, present=nothing) == 0


def test_mistakes_are_named():
    with pytest.raises(InputError, match="Did you mean 'waveform_l1'"):
        loss_of("waveform_l2")
    with pytest.raises(InputError, match="stem in stem_weights 'vocal'"):
        loss_of("waveform_l1", stem_weights=("vocal=2",))
    with pytest.raises(InputError, match="nothing to learn"):
        loss_of("waveform_l1=0")


def test_the_penalty_is_the_sum_of_the_squared_largest_singular_values():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), nn.Conv1d(4, 8, 3))
    for p in net.parameters():  # a clear largest value, as trained layers have
        if p.ndim > 1:
            p.data += 2.0
    matrices = [net[0].weight, net[1].weight.flatten(1)]
    expected = sum(torch.linalg.svdvals(m)[0] ** 2 for m in matrices)
    value = svd_penalty(net)
    torch.testing.assert_close(value, expected, rtol=1e-3, atol=0)
    value.backward()
    mine = net[0].weight.grad.clone()
    net.zero_grad()
    expected.backward()
    torch.testing.assert_close(mine, net[0].weight.grad, rtol=0.02, atol=0.02)
    net.requires_grad_(False)
    assert svd_penalty(net) == 0
