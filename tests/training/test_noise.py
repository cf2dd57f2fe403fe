"""Noise as large as a rounding: bounded, gone after the step, worth training with."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models import create_model
from mssedu.training import (
    LOSSES,
    TrainConfig,
    quantization_noise,
    quantized,
    train_step,
)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_rounding_moves_a_number_by_half_a_step_at_most(bits):
    tensor = torch.randn(3, 7, 5)
    rounded = quantized(tensor, bits, group=8)
    assert rounded.shape == tensor.shape
    groups = torch.cat([tensor.flatten(), tensor.flatten()[-1:].expand(7)]).reshape(
        -1, 8
    )
    steps = (groups.amax(1) - groups.amin(1)) / (2**bits - 1)
    moved = (rounded - tensor).flatten().abs()
    assert (moved <= 0.5001 * steps.repeat_interleave(8)[:105] + 1e-6).all()
    for group in rounded.flatten()[:104].reshape(-1, 8):
        assert len(group.unique()) <= 2**bits


def test_equal_numbers_stay_exact():
    assert torch.equal(quantized(torch.full((20,), 0.3), 2), torch.full((20,), 0.3))


def test_the_noise_has_the_size_of_the_rounding_and_ends():
    layer = torch.nn.Linear(64, 64)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with quantization_noise(layer, 4, generator=torch.Generator().manual_seed(1)):
        noise = layer.weight.detach() - before["weight"]
        assert torch.equal(layer.bias, before["bias"])
    groups = before["weight"].reshape(-1, 8)
    steps = (groups.amax(1) - groups.amin(1)) / 15
    assert (noise.reshape(-1, 8).abs() <= 0.5001 * steps[:, None]).all()
    spread = (noise.reshape(-1, 8) / steps[:, None]).std()
    assert spread == pytest.approx(12**-0.5, rel=0.05)  # of a uniform distribution
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_weights_are_exact_again_after_an_error():
    layer = torch.nn.Linear(64, 64)
    before = layer.weight.detach().clone()
    with pytest.raises(KeyError), quantization_noise(layer, 2):
        raise KeyError
    assert torch.equal(layer.weight, before)


def test_training_with_noise_loses_less_in_the_rounding():
    """Of many solutions with the same loss, the noise finds one that can be rounded."""
    losses = {noisy: rounded_loss(noisy) for noisy in (False, True)}
    assert losses[True] < 0.8 * losses[False]


def test_a_step_adds_noise_to_the_gradient_and_none_to_the_weights():
    after = {}
    for bits, rate in ((0, 0.0), (2, 0.0), (2, 1e-3)):
        torch.manual_seed(0)
        model = create_model("open_unmix", "tiny", stems=("vocals",))
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), rate)
        sources = torch.randn(1, 2, 2, 20000)
        config = TrainConfig(model="open_unmix", preset="tiny", noise_bits=bits)
        value = train_step(model, sources, optimizer, config, LOSSES["waveform_l1"])
        moved = [
            not torch.equal(*pair)
            for pair in zip(before, model.parameters(), strict=True)
        ]
        after[bits, rate] = value, any(moved)
    assert after[0, 0.0][0] != after[2, 0.0][0] == after[2, 1e-3][0]
    assert [moved for _, moved in after.values()] == [False, False, True]


def rounded_loss(noisy):
    torch.manual_seed(0)
    x = torch.randn(256, 32)
    y = torch.tanh(x @ torch.randn(32, 4) / 4)
    model = torch.nn.Sequential(
        torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 16, bias=False)
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        if noisy:
            with quantization_noise(model, 2):
                loss = (model(x)[:, :4] - y).square().mean()
                loss.backward()
        else:
            loss = (model(x)[:, :4] - y).square().mean()
            loss.backward()
        optimizer.step()
    with torch.no_grad():
        for weight in (model[0].weight, model[2].weight):
            weight.copy_(quantized(weight, 2))
        return float((model(x)[:, :4] - y).square().mean())


@pytest.mark.parametrize("bits", [0, 17])
def test_bits_out_of_range(bits):
    with pytest.raises(InputError, match=f"bits must be from 1 to 16, got {bits}"):
        quantized(torch.zeros(8), bits)
    with (
        pytest.raises(InputError, match="bits must be"),
        quantization_noise(torch.nn.Linear(32, 32), bits),
    ):
        pass


def test_whole_numbers_are_refused():
    with pytest.raises(InputError, match=r"float type, got torch\.int64"):
        quantized(torch.zeros(8, dtype=torch.int64), 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_as_many_steps(dtype):
    tensor = torch.randn(64).to(dtype)
    rounded = quantized(tensor, 16)
    assert rounded.dtype == dtype
    assert torch.equal(rounded, tensor)  # a step is finer than the type
