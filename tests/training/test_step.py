"""One step: parts of a batch, a scaled loss for float16, magnitudes before iSTFT."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.losses import (
    LOSSES,
    magnitude_mse,
    thresholded_snr,
    waveform_l1,
)
from mssedu.training.optimizers import create_optimizer
from mssedu.training.step import batch_loss, train_step

STEMS = ("hum", "hiss")
CONFIG = TrainConfig(stems=STEMS, batch_size=4, clip_norm=0.0)


def change(**changes):
    return dataclasses.replace(CONFIG, **changes)


def waves(batch=4, samples=2400):
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(batch, 2, 2, samples, generator=generator)


def tasnet():
    """A network without batch norm."""
    torch.manual_seed(0)
    return create_model("conv_tasnet", "tiny", STEMS, sample_rate=8000)


def unmix(**changes):
    torch.manual_seed(0)
    sizes = {"n_fft": 512, "hop_length": 128, "sample_rate": 8000, "hidden": 8}
    return create_model("open_unmix", "tiny", STEMS, **(sizes | changes))


def gradients(net, config, present=None):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    value = train_step(net, waves(), optimizer, config, waveform_l1, present)
    return value, [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("accumulate", [2, 4])
def test_the_parts_of_a_batch_give_the_gradient_of_the_batch(accumulate):
    whole = gradients(tasnet(), CONFIG)
    parts = gradients(tasnet(), change(accumulate=accumulate))
    torch.testing.assert_close(parts[0], whole[0])
    for a, b in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_each_part_has_its_own_absent_stems():
    present = torch.tensor([[True, True], [True, False]]).repeat_interleave(2, 0)
    net = tasnet()
    value, _ = gradients(net, change(accumulate=2), present)
    with torch.no_grad():
        estimate = net(waves().sum(1))
    expected = [
        waveform_l1(estimate=e, reference=r, present=p)
        for e, r, p in zip(
            estimate.chunk(2), waves().chunk(2), present.chunk(2), strict=True
        )
    ]
    torch.testing.assert_close(value, sum(expected) / 2)


@pytest.mark.parametrize("present", [None, torch.tensor([[True, True, False]] * 4)])
def test_an_error_counts_relative_to_the_mixture_with_what_is_not_estimated(present):
    torch.manual_seed(0)
    model = create_model("conv_tasnet", "tiny", STEMS[:1], sample_rate=8000)
    sources = torch.cat([waves(), waves().flip(0)[:, :1]], 1)
    sources[0, 0] = 0.0  # a pause of the stem, not of the mixture
    config = change(loss=("thresholded_snr",))
    value = batch_loss(model, sources, config, thresholded_snr, present)
    with torch.no_grad():
        error = (model(sources.sum(1))[:, 0] - sources[:, 0]).square().sum((-2, -1))
        ratio = error / sources.sum(1).square().sum((-2, -1))
    torch.testing.assert_close(value, 10 * (ratio + 0.1).log10().mean())


def test_the_loss_stays_on_its_device_as_a_tensor():
    net = tasnet()
    optimizer = create_optimizer(net, CONFIG)
    value = train_step(net, waves(), optimizer, CONFIG, waveform_l1)
    assert isinstance(value, torch.Tensor)
    assert not value.requires_grad
    assert value.shape == ()


def test_a_scaled_loss_gives_the_same_step_and_falls_back_after_an_overflow():
    nets = [tasnet(), tasnet()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for net, one in zip(nets, (None, scaler), strict=True):
        optimizer = create_optimizer(net, CONFIG)
        train_step(net, waves(), optimizer, CONFIG, waveform_l1, scaler=one)
    plain, scaled = (net.parameters() for net in nets)
    for a, b in zip(plain, scaled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert scaler.get_scale() == 2.0**10

    def overflows(*, estimate, reference):
        return (estimate - estimate.detach()).abs().sum().sqrt()

    before = [p.detach().clone() for p in nets[1].parameters()]
    optimizer = create_optimizer(nets[1], CONFIG)
    value = train_step(nets[1], waves(), optimizer, CONFIG, overflows, scaler=scaler)
    assert math.isnan(value)
    assert scaler.get_scale() == 2.0**9
    for a, b in zip(before, nets[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_penalty_changes_the_gradient_and_not_the_loss():
    plain, with_penalty = gradients(tasnet(), CONFIG), None
    with_penalty = gradients(tasnet(), change(svd_penalty=1.0))
    assert torch.equal(plain[0], with_penalty[0])
    assert any(
        not torch.equal(a, b) for a, b in zip(plain[1], with_penalty[1], strict=True)
    )


def test_open_unmix_learns_on_its_magnitudes_without_an_inverse_stft(monkeypatch):
    net, sources = unmix().train(), waves()
    config = change(loss=("magnitude_mse",))
    direct = batch_loss(net, sources, config, magnitude_mse)
    spectra = torch.stft(
        torch.cat([sources.sum(1)[:, None], sources], 1).flatten(0, 2),
        512,
        128,
        window=torch.hann_window(512),
        pad_mode="reflect",
        return_complex=True,
    )
    magnitudes = spectra.abs().unflatten(0, (4, 3, 2))
    stems = [network(magnitudes[:, 0].mT).mT for network in net.networks]
    expected = nn.functional.mse_loss(torch.stack(stems, 1), magnitudes[:, 1:])
    torch.testing.assert_close(direct, expected, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("mssedu.models.open_unmix.istft", None)  # is not called
    batch_loss(net, sources, config, magnitude_mse).backward()


def test_other_models_are_compared_by_the_spectra_of_their_waveforms():
    config = change(loss=("magnitude_mse",))
    loss, sources = LOSSES["magnitude_mse"], waves(samples=6000)
    value = batch_loss(tasnet(), sources, config, loss)
    estimate = tasnet()(sources.sum(1))
    expected = magnitude_mse(estimate=estimate, reference=sources)
    torch.testing.assert_close(value, expected)


def test_a_penalty_on_frozen_matrices_is_none():
    net = tasnet()
    for weight in net.parameters():
        weight.requires_grad_(weight.ndim < 2)
    plain, with_penalty = (gradients(net, change(svd_penalty=x)) for x in (0.0, 1.0))
    assert torch.equal(plain[0], with_penalty[0])
    assert plain[1]
    assert all(map(torch.equal, plain[1], with_penalty[1]))
