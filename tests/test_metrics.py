"""Scores against closed forms: gains, known noise, silence, shapes."""

import math

import pytest
import torch

from mssedu.checks import InputError
from mssedu.metrics import CAP_DB, nsdr, si_sdr, usdr

ALL = pytest.mark.parametrize("metric", [usdr, nsdr, si_sdr])


@pytest.mark.parametrize("gain", [0.0, 0.5, 0.9, 1.1, 2.0, -1.0])
@pytest.mark.parametrize("metric", [usdr, nsdr])
def test_gain_has_a_closed_form(metric, gain):
    s = torch.randn(2, 1000, dtype=torch.float64)
    got = metric(reference=s, estimate=gain * s)
    want = -20 * math.log10(abs(1 - gain))
    assert got.item() == pytest.approx(want, abs=1e-6)


@ALL
def test_orthogonal_noise_has_a_closed_form(metric):
    t = torch.arange(8000, dtype=torch.float64) * 2 * math.pi / 8000
    s, noise = torch.sin(100 * t), torch.sin(300 * t)
    got = metric(reference=s[None], estimate=(s + 0.1 * noise)[None])
    assert got.item() == pytest.approx(20.0, abs=1e-6)


@pytest.mark.parametrize("gain", [1e-3, 0.5, 7.0, -2.0])
def test_si_sdr_ignores_gain(gain):
    s, noise = torch.randn(2, 2, 1000, dtype=torch.float64)
    want = si_sdr(reference=s, estimate=s + 0.3 * noise)
    got = si_sdr(reference=s, estimate=gain * (s + 0.3 * noise))
    torch.testing.assert_close(got, want)


def test_si_sdr_counts_a_wrong_balance():
    s = torch.randn(2, 1000)
    tilted = s * torch.tensor([[1.0], [0.5]])
    assert si_sdr(reference=s, estimate=tilted) < 15


@pytest.mark.parametrize("metric", [usdr, si_sdr])
def test_perfect_estimate_is_capped(metric):
    s = torch.randn(2, 1000)
    assert metric(reference=s, estimate=s.clone()).item() == CAP_DB
    assert metric(reference=s, estimate=s * (1 + 1e-7)).item() <= CAP_DB


@pytest.mark.parametrize("metric", [usdr, si_sdr])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_silent_reference_is_undefined(metric, level):
    silence = torch.zeros(2, 1000)
    assert metric(reference=silence, estimate=silence + level).isnan()


def test_silent_estimate():
    s, silence = torch.randn(2, 1000), torch.zeros(2, 1000)
    assert usdr(reference=s, estimate=silence).item() == 0.0
    assert nsdr(reference=s, estimate=silence).item() == 0.0
    assert si_sdr(reference=s, estimate=silence).item() == -math.inf


def test_orthogonal_estimate_has_no_target():
    s = torch.tensor([[1.0, 0.0]])
    assert si_sdr(reference=s, estimate=s.flip(-1)).item() == -math.inf


def test_nsdr_of_silence_is_finite():
    silence = torch.zeros(2, 1000)
    assert nsdr(reference=silence, estimate=silence).item() == 0.0
    got = nsdr(reference=silence.double(), estimate=silence.double() + 0.1)
    want = 10 * math.log10(1e-7 / (2000 * 0.01 + 1e-7))
    assert got.item() == pytest.approx(want, abs=1e-6)


def test_nsdr_is_usdr_on_audible_stems():
    s, noise = torch.randn(2, 6, 2, 4410, dtype=torch.float64)
    e = s + 0.2 * noise
    got, want = nsdr(reference=s, estimate=e), usdr(reference=s, estimate=e)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


@ALL
def test_leading_axes_are_kept_and_independent(metric):
    s, noise = torch.randn(2, 3, 4, 2, 500)
    e = s + 0.5 * noise
    got = metric(reference=s, estimate=e)
    assert got.shape == (3, 4)
    one = metric(reference=s[1, 2], estimate=e[1, 2])
    torch.testing.assert_close(got[1, 2], one)
    assert one.shape == ()


@ALL
def test_silent_item_leaves_the_others_alone(metric):
    s, noise = torch.randn(2, 3, 2, 500)
    s[1] = 0
    got = metric(reference=s, estimate=s + noise)
    torch.testing.assert_close(got[2], metric(reference=s[2], estimate=s[2] + noise[2]))


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_the_inputs(metric, dtype):
    s = torch.randn(2, 100, dtype=dtype)
    assert metric(reference=s, estimate=0.5 * s).dtype == dtype


@ALL
def test_float32_agrees_with_float64_on_a_long_track(metric):
    s, noise = torch.randn(2, 2, 1_000_000)
    e = s + 0.05 * noise
    got = metric(reference=s, estimate=e).double()
    want = metric(reference=s.double(), estimate=e.double())
    torch.testing.assert_close(got, want, atol=1e-3, rtol=0)


@ALL
def test_inputs_stay_untouched_and_gradients_flow(metric):
    s = torch.randn(2, 100)
    e = (s + 0.1 * torch.randn(2, 100)).requires_grad_()
    before = s.clone()
    metric(reference=s, estimate=e).backward()
    assert s.equal(before)
    assert e.grad is not None
    assert e.grad.isfinite().all()


@ALL
@pytest.mark.parametrize(
    ("reference", "estimate"), [((2, 100), (2, 99)), ((1, 100), (2, 100)), ((9,), (9,))]
)
def test_other_shapes_are_refused(metric, reference, estimate):
    words = rf"{metric.__name__}: expected two .* alike, got reference \({reference[0]}"
    with pytest.raises(InputError, match=words):
        metric(reference=torch.ones(reference), estimate=torch.ones(estimate))


@ALL
def test_arguments_are_named(metric):
    with pytest.raises(TypeError, match="positional"):
        metric(torch.ones(2, 9), torch.ones(2, 9))
