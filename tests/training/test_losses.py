"""Losses against closed forms and against the metrics; silence must not break them."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.metrics.ratios import si_sdr, usdr
from mssedu.metrics.spectral import log_wmse
from mssedu.training.losses import (
    LOSSES,
    multi_resolution_stft,
    si_sdr_loss,
    spectrogram_l1,
    waveform_l1,
    waveform_mse,
)

WITH_MIXTURE = {"thresholded_snr", "log_wmse_loss"}  # depend on all stems together
SHAPE = (2, 3, 2, 5000)  # batch, stems, channels, samples


@pytest.fixture
def noise():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *SHAPE, generator=generator)


def test_waveform_losses_of_a_constant_error_are_known():
    reference = torch.zeros(SHAPE)
    estimate = reference - 0.5
    assert waveform_l1(estimate=estimate, reference=reference) == 0.5
    assert waveform_mse(estimate=estimate, reference=reference) == 0.25


def test_mse_falls_as_usdr_rises(noise):
    reference, error = noise
    estimates = [reference + size * error for size in (0.1, 0.3, 1.0)]
    losses = [waveform_mse(estimate=e, reference=reference) for e in estimates]
    scores = [usdr(estimate=e, reference=reference).mean() for e in estimates]
    assert losses == sorted(losses)
    assert scores == sorted(scores, reverse=True)


def test_si_sdr_loss_is_the_negative_metric_on_audible_stems(noise):
    reference, error = noise
    estimate = 0.3 * reference + 0.2 * error
    metric = si_sdr(estimate=estimate, reference=reference).mean()
    loss = si_sdr_loss(estimate=estimate, reference=reference)
    torch.testing.assert_close(loss, -metric, atol=1e-3, rtol=0)


def test_si_sdr_loss_is_blind_to_gain(noise):
    reference, error = noise
    estimate = reference + error
    loud = si_sdr_loss(estimate=4 * estimate, reference=reference)
    soft = si_sdr_loss(estimate=estimate, reference=reference)
    torch.testing.assert_close(loud, soft, atol=1e-4, rtol=0)


def test_magnitudes_are_blind_to_sign_and_complex_spectrograms_are_not(noise):
    reference = noise[0]
    inverted = -reference
    loss = LOSSES["magnitude_l1"](estimate=inverted, reference=reference)
    assert loss < 1e-6
    assert spectrogram_l1(estimate=inverted, reference=reference) > 0.5


def test_window_lengths_weigh_alike_on_noise(noise):
    reference, estimate = noise.repeat(1, 1, 1, 1, 8)  # long against the longest window
    losses = [
        spectrogram_l1(
            estimate=estimate, reference=reference, n_fft=n, hop_length=n // 4
        )
        for n in (256, 4096)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=0.1, atol=0)


def test_multi_resolution_is_the_sum_of_its_parts(noise):
    reference, estimate = noise
    pair = {"estimate": estimate, "reference": reference}
    parts = [
        waveform_l1(**pair),
        spectrogram_l1(**pair, n_fft=512, hop_length=128),
        spectrogram_l1(**pair, n_fft=256, hop_length=64),
    ]
    total = multi_resolution_stft(**pair, n_ffts=(512, 256))
    torch.testing.assert_close(total, sum(parts))


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_estimate_has_the_lowest_loss(name, noise):
    reference, error = noise
    perfect = LOSSES[name](estimate=reference, reference=reference)
    assert perfect < LOSSES[name](estimate=reference + 0.1 * error, reference=reference)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("silent", ["estimate", "reference", "both"])
def test_gradient_is_finite_on_silence(name, silent, noise):
    reference = torch.zeros(SHAPE) if silent != "estimate" else noise[0]
    estimate = torch.zeros(SHAPE) if silent != "reference" else noise[1]
    estimate.requires_grad_()
    value = LOSSES[name](estimate=estimate, reference=reference)
    value.backward()
    assert value.ndim == 0
    assert value.isfinite()
    assert estimate.grad.isfinite().all()


def test_log_wmse_loss_is_the_negative_metric(noise):
    reference, error = noise
    estimate = reference + 0.3 * error
    mixture = reference.sum(1, keepdim=True)
    score = log_wmse(reference=reference, estimate=estimate, mixture=mixture)
    loss = LOSSES["log_wmse_loss"](estimate=estimate, reference=reference)
    torch.testing.assert_close(loss, -score.mean())


def test_magnitude_mse_takes_waveforms_or_magnitudes(noise):
    reference, estimate = noise
    spectra = [
        torch.stft(
            audio.flatten(0, 2),
            4096,
            1024,
            window=torch.hann_window(4096),
            pad_mode="constant",
            return_complex=True,
        ).abs()
        for audio in noise
    ]
    expected = (spectra[0] - spectra[1]).square().mean()
    loss = LOSSES["magnitude_mse"]
    value = loss(estimate=estimate, reference=reference)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    reference, estimate = (s.unflatten(0, SHAPE[:3]) for s in spectra)
    direct = loss(estimate=estimate, reference=reference)
    torch.testing.assert_close(direct, expected)
    present = torch.tensor([[True, False, True], [True, True, False]])
    some = loss(estimate=estimate, reference=reference, present=present)
    rows = (estimate - reference).square()[present]
    torch.testing.assert_close(some, rows.mean())
    with pytest.raises(InputError, match=r"one shape \(batch, stems, channels, bins"):
        loss(estimate=estimate, reference=reference[:1])


def test_a_silent_reference_pulls_the_estimate_to_silence(noise):
    estimate, reference = noise[0], torch.zeros(SHAPE)
    loud = si_sdr_loss(estimate=estimate, reference=reference)
    soft = si_sdr_loss(estimate=0.1 * estimate, reference=reference)
    torch.testing.assert_close(loud - soft, torch.tensor(20.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_must_agree(name):
    with pytest.raises(InputError, match=r"one shape \(batch, stems, channels"):
        LOSSES[name](estimate=torch.zeros(1, 2, 1, 9), reference=torch.zeros(2, 1, 9))


def test_thresholded_snr_closed_forms():
    reference = torch.randn(2, 3, 2, 4000)
    mixture = reference.sum(1, keepdim=True).square().mean((-2, -1))
    floor = LOSSES["thresholded_snr"](estimate=reference, reference=reference)
    assert float(floor) == pytest.approx(-10.0, abs=1e-3)
    silent = LOSSES["thresholded_snr"](
        estimate=torch.zeros_like(reference), reference=reference
    )
    ratio = reference.square().mean((-2, -1)) / mixture + 0.1
    assert float(silent) == pytest.approx(float(10 * ratio.log10().mean()), abs=1e-3)
    # the loudness of the example does not matter
    loud = LOSSES["thresholded_snr"](
        estimate=torch.zeros_like(reference), reference=10 * reference
    )
    assert float(loud) == pytest.approx(float(silent), abs=1e-3)


# ---- stems that are absent


@pytest.mark.parametrize("name", LOSSES)
def test_absent_stems_are_not_compared(name, noise):
    reference, error = noise
    present = torch.tensor([[True, False, True], [True, True, False]])
    reference[~present] = 0
    estimate = (reference + error / 2).requires_grad_()
    value = LOSSES[name](estimate=estimate, reference=reference, present=present)
    value.backward()
    used = estimate.grad.flatten(2).any(2)
    assert torch.equal(used, present)
    other = torch.where(present[..., None, None], estimate, 7 * error).detach()
    again = LOSSES[name](estimate=other, reference=reference, present=present)
    assert torch.equal(again, value)


@pytest.mark.parametrize("name", sorted({*LOSSES} - WITH_MIXTURE))
def test_the_loss_is_the_mean_of_the_rows_that_are_present(name, noise):
    estimate, reference = noise
    present = torch.tensor([[True, False, True], [False, False, True]])
    value = LOSSES[name](estimate=estimate, reference=reference, present=present)
    rows = [
        LOSSES[name](estimate=e[None, None], reference=r[None, None])
        for e, r in zip(estimate[present], reference[present], strict=True)
    ]
    torch.testing.assert_close(value, torch.stack(rows).mean())


@pytest.mark.parametrize("name", LOSSES)
def test_with_all_present_the_loss_is_the_same_bit_for_bit(name, noise):
    estimate, reference = noise
    everything = torch.ones(SHAPE[:2], dtype=torch.bool)
    plain = LOSSES[name](estimate=estimate, reference=reference)
    value = LOSSES[name](estimate=estimate, reference=reference, present=everything)
    assert torch.equal(value, plain)


@pytest.mark.parametrize("name", LOSSES)
def test_with_nothing_present_loss_and_gradient_are_0(name, noise):
    estimate, reference = noise
    nothing = torch.zeros(SHAPE[:2], dtype=torch.bool)
    estimate = estimate.requires_grad_()
    value = LOSSES[name](estimate=estimate, reference=reference, present=nothing)
    value.backward()
    assert value == 0
    assert not estimate.grad.any()
