"""Scores against closed forms and other packages: gains, noise, silence, shapes."""

import math
import warnings

import pytest
import torch

from mssedu.errors import InputError
from mssedu.metrics.bss import bss_eval
from mssedu.metrics.ratios import (
    CAP_DB,
    csdr,
    nsdr,
    pes,
    si_sar,
    si_sdr,
    si_sir,
    snr,
    usdr,
)
from tests.parity.peers import import_reference

ALL = pytest.mark.parametrize("metric", [usdr, nsdr, si_sdr, snr])


@pytest.mark.parametrize("gain", [0.0, 0.5, 0.9, 1.1, 2.0, -1.0])
@pytest.mark.parametrize("metric", [usdr, nsdr, snr, csdr])
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


@pytest.mark.parametrize("metric", [usdr, si_sdr, snr, csdr])
def test_perfect_estimate_is_capped(metric):
    s = torch.randn(2, 1000)
    assert metric(reference=s, estimate=s.clone()).item() == CAP_DB
    assert metric(reference=s, estimate=s * (1 + 1e-7)).item() <= CAP_DB


@pytest.mark.parametrize("metric", [usdr, si_sdr, snr, csdr])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_silent_reference_is_undefined(metric, level):
    silence = torch.zeros(2, 1000)
    assert metric(reference=silence, estimate=silence + level).isnan()


def test_silent_estimate():
    s, silence = torch.randn(2, 1000), torch.zeros(2, 1000)
    assert usdr(reference=s, estimate=silence).item() == 0.0
    assert nsdr(reference=s, estimate=silence).item() == 0.0
    assert snr(reference=s, estimate=silence).item() == 0.0
    assert csdr(reference=s, estimate=silence).item() == 0.0
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


# ---- one second at a time -----------------------------------------------------------


def of_stems(*shape, seed=0):
    """Sources and estimates with a bit of everything, float64."""
    generator = torch.Generator().manual_seed(seed)
    s, noise = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return s, s + 0.3 * noise + 0.2 * s.roll(1, 0)


def test_csdr_is_the_median_of_the_seconds():
    s, rate = torch.ones(1, 450), 100
    e = s.clone()
    for second, error in enumerate((0.1, 0.01, 0.1, 1.0)):
        e[:, second * rate : (second + 1) * rate] += error
    e[:, 400:] += 1000  # half a second at the end, which is not looked at
    got = csdr(reference=s, estimate=e, sample_rate=rate)
    assert got.item() == pytest.approx(20.0, abs=1e-4)
    got = csdr(reference=s[:, :400], estimate=e[:, :400], sample_rate=200)
    want = 10 * math.log10(200 / (1 + 0.01)), 10 * math.log10(200 / 101)
    assert got.item() == pytest.approx(sum(want) / 2, abs=1e-4)


def test_csdr_needs_no_filters():
    """It equals the SDR of our BSS Eval, which does find them, on every frame."""
    s, e = of_stems(3, 2, 5000)
    got = csdr(reference=s, estimate=e, sample_rate=1000)
    frames = bss_eval(
        references=s, estimates=e, window_length=1000, hop_length=1000, filter_length=32
    ).sdr
    assert frames.shape == (3, 5)
    torch.testing.assert_close(got, frames.median(-1).values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("silent", [False, True])
def test_csdr_equals_museval(silent):
    metrics = pytest.importorskip("museval.metrics")
    s, e = of_stems(3, 2, 8500)
    if silent:
        s[1, :, 2000:4000] = 0
        e[2, 0, 5000:6000], e[2, 1, 5000:6000] = 0.3, -0.3  # the channels cancel
    signals = [audio.mT.numpy() for audio in (s, e)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = metrics.bss_eval(*signals, window=1000, hop=1000, filters_len=16)[0]
    frames = torch.from_numpy(theirs)
    assert frames.isnan().sum() == (3 * 3 if silent else 0)
    got = csdr(reference=s, estimate=e, sample_rate=1000, museval=True)
    want = frames.nanquantile(0.5, -1)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    # Without `museval`, the silence of another stem changes nothing.
    alone = csdr(reference=s[0], estimate=e[0], sample_rate=1000)
    together = csdr(reference=s, estimate=e, sample_rate=1000)[0]
    assert alone == together
    assert (together == got[0]) == (not silent)


def test_csdr_of_float32_is_summed_in_float64():
    s, e = (audio.float() for audio in of_stems(2, 2, 3000))
    got = csdr(reference=s, estimate=e, sample_rate=1000)
    want = csdr(reference=s.double(), estimate=e.double(), sample_rate=1000)
    assert torch.equal(got, want)


def test_pes_is_the_energy_where_nothing_sounds():
    s = torch.ones(2, 300)
    s[:, 100:200] = 0
    e = s + 0.1
    got = pes(reference=s, estimate=e, sample_rate=100)
    level = 10 * math.log10(2 * 100 * 0.01)
    assert got.item() == pytest.approx(level, abs=1e-4)
    assert pes(reference=s, estimate=s, sample_rate=100).item() == -120.0
    s[:, 200:] = 0  # one more silent second, and there the estimate is ten times louder
    got = pes(reference=s, estimate=e.clone(), sample_rate=100)
    e[:, 200:] = 1.0
    got = pes(reference=s, estimate=e, sample_rate=100)
    assert got.item() == pytest.approx(level + 10, abs=1e-4)
    sounding = torch.ones(2, 300)
    assert pes(reference=sounding, estimate=e, sample_rate=100).isnan()


# ---- what the error is made of ------------------------------------------------------


def tones(*amplitudes):
    """Orthogonal tones of energy 4000 · amplitude², (1, samples) each."""
    t = torch.arange(8000, dtype=torch.float64) * 2 * math.pi / 8000
    return [a * torch.sin(100 * (i + 1) * t)[None] for i, a in enumerate(amplitudes)]


def test_interference_and_artifacts_have_closed_forms():
    first, second, other = tones(1.0, 0.5, 1.0)
    s = torch.stack([first, second])
    e = torch.stack([first + 0.2 * second + 0.01 * other, second + 0.1 * first])
    got = si_sir(reference=s, estimate=e)
    want = torch.tensor([20.0, 20 * math.log10(0.5 / 0.1)]).double()
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)
    got = si_sar(reference=s, estimate=e)
    torch.testing.assert_close(got, torch.tensor([40, CAP_DB]).double())


@pytest.mark.parametrize("gains", [(1.0, 1.0, 1.0), (1e-3, 7.0, -2.0)])
def test_interference_and_artifacts_add_up_to_the_distortion(gains):
    s, e = of_stems(3, 2, 4000)
    e = e * torch.tensor(gains).view(3, 1, 1)
    whole, sir, sar = (
        10 ** (-metric(reference=s, estimate=e) / 10)
        for metric in (si_sdr, si_sir, si_sar)
    )
    torch.testing.assert_close(whole, sir + sar)


def test_interference_needs_no_independent_stems():
    """A stem that is given twice, or silent, changes nothing for the others."""
    s, e = of_stems(3, 2, 4000)
    more = torch.stack([s[0], s[1], s[2], s[1], torch.zeros_like(s[0])])
    heard = torch.stack([e[0], e[1], e[2], e[1], e[0]])
    for metric in (si_sir, si_sar):
        got = metric(reference=more, estimate=heard)
        want = metric(reference=s, estimate=e)
        torch.testing.assert_close(got[:3], want)
        assert got[4].isnan()
    assert si_sir(reference=s, estimate=0 * e).eq(-math.inf).all()
    alone = si_sir(reference=s[:1], estimate=e[:1])
    assert alone.item() == CAP_DB  # there is nobody to interfere
    batch = torch.stack([s, s.flip(0)]), torch.stack([e, e.flip(0)])
    got = si_sar(reference=batch[0], estimate=batch[1])
    assert got.shape == (2, 3)
    torch.testing.assert_close(got[1], got[0].flip(0))


def test_interference_is_counted_in_blocks(monkeypatch):
    s, e = of_stems(3, 2, 4000)
    whole = si_sir(reference=s, estimate=e)
    monkeypatch.setattr("mssedu.metrics.ratios.BLOCK", 900)
    torch.testing.assert_close(si_sir(reference=s, estimate=e), whole)


def test_snr_listens_to_each_channel():
    s = torch.tensor([[1.0], [0.1]]).expand(2, 100)
    e = s + 0.01  # 40 dB below the left channel, 20 dB below the right
    assert snr(reference=s, estimate=e).item() == pytest.approx(30.0, abs=1e-3)
    for one in (0, 1):
        mono = {"reference": s[one : one + 1], "estimate": e[one : one + 1]}
        assert snr(**mono) == usdr(**mono)
    panned = s * torch.tensor([[1.0], [0.0]])  # the right channel has no score
    assert snr(reference=panned, estimate=e).item() == pytest.approx(40.0, abs=1e-3)


@pytest.mark.parity
def test_equals_torchmetrics():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        audio = import_reference("torchmetrics.functional.audio")
    s, e = of_stems(3, 2, 4000)
    theirs = audio.signal_noise_ratio(e, s).mean(-1)
    torch.testing.assert_close(snr(reference=s, estimate=e), theirs)
    theirs = audio.signal_noise_ratio(e.flatten(1), s.flatten(1))
    torch.testing.assert_close(usdr(reference=s, estimate=e), theirs)
    theirs = audio.scale_invariant_signal_distortion_ratio(e.flatten(1), s.flatten(1))
    torch.testing.assert_close(si_sdr(reference=s, estimate=e), theirs)


@pytest.mark.parity
def test_equals_fast_bss_eval():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = import_reference("fast_bss_eval")
    s, e = of_stems(3, 2, 4000)
    signals = s.flatten(1), e.flatten(1)
    sdr, sir, sar = package.si_bss_eval_sources(*signals, compute_permutation=False)
    torch.testing.assert_close(si_sdr(reference=s, estimate=e), sdr)
    torch.testing.assert_close(si_sir(reference=s, estimate=e), sir)
    # Theirs is BSS Eval's SAR, with target and interference on top, not only target.
    sar = sar - 10 * torch.log10(1 + 10 ** (-sir / 10))
    torch.testing.assert_close(si_sar(reference=s, estimate=e), sar)


# ---- bad input ----------------------------------------------------------------------

EVERY = pytest.mark.parametrize(
    "metric", [usdr, nsdr, si_sdr, snr, csdr, pes, si_sir, si_sar]
)


@EVERY
@pytest.mark.parametrize(
    ("reference", "estimate"), [((2, 100), (2, 99)), ((1, 100), (2, 100)), ((9,), (9,))]
)
def test_other_shapes_are_refused(metric, reference, estimate):
    words = rf"one shape \(…, .*samples\), got \({reference[0]}"
    with pytest.raises(InputError, match=words):
        metric(reference=torch.ones(reference), estimate=torch.ones(estimate))


def test_stems_are_asked_for():
    one = {"reference": torch.ones(2, 100), "estimate": torch.ones(2, 100)}
    for metric in (si_sir, si_sar):
        words = r"\(…, stems, channels, samples\), got \(2, 100\)"
        with pytest.raises(InputError, match=words):
            metric(**one)
    with pytest.raises(InputError, match="stems"):
        csdr(**one, museval=True)


@EVERY
def test_arguments_are_named(metric):
    with pytest.raises(TypeError, match="positional"):
        metric(torch.ones(2, 9), torch.ones(2, 9))
