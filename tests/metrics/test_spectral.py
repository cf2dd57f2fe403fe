"""Scores in frequency bands against known physics and the programs that define them."""

import math
import warnings

import pytest
import torch

from mssedu import metrics
from mssedu.errors import InputError
from mssedu.metrics.spectral import (
    bleedless,
    fullness,
    hearing_weight,
    log_wmse,
    mrstft,
)
from tests.parity.peers import import_reference

RATE = 44100
CEILING = -4 * math.log(1e-8)  # of log_wmse


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(hz, seconds=1.0, level=0.1):
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return level * torch.sin(2 * math.pi * hz * t)[None]


def of_stems():
    s = noise(3, 2, 20_000)
    return s, s + 0.3 * noise(3, 2, 20_000, seed=1) + 0.2 * s.roll(1, 0)


# ---- log_wmse -----------------------------------------------------------------------


def test_log_wmse_counts_the_error_below_the_mixture():
    mixture, silence = tone(1000), torch.zeros(1, RATE, dtype=torch.float64)
    for gain in (1.0, 0.1, 0.01):
        got = log_wmse(reference=silence, estimate=gain * mixture, mixture=mixture)
        want = -4 * math.log(gain**2 + 1e-8)
        assert got.item() == pytest.approx(want, abs=1e-9)


def test_log_wmse_hears_some_frequencies_better():
    """A tone's error counts by the squared response of the ear at its frequency."""
    mixture, silence = tone(1000), torch.zeros(1, RATE, dtype=torch.float64)
    weight = hearing_weight(RATE, RATE)  # a bin is 1 Hz wide
    for hz in (50, 300, 3000, 12_000):
        got = log_wmse(reference=silence, estimate=tone(hz), mixture=mixture)
        want = -4 * math.log(weight[hz] / weight[1000])
        assert got.item() == pytest.approx(want, abs=0.05)
    deaf, keen = weight[50], weight[3000]
    assert 10 * torch.log10(deaf / keen) < -15


@pytest.mark.parametrize("sample_rate", [32_000, 44_100, 48_000, 96_000])
def test_hearing_is_the_same_at_every_rate(sample_rate):
    decibels = 10 * hearing_weight(sample_rate, sample_rate).log10()
    for hz, want in ((120, -2.87), (500, 2.53), (1000, 1.49), (3000, 4.24)):
        assert decibels[hz].item() == pytest.approx(want, abs=0.35), hz
    assert decibels[10_000].item() == pytest.approx(-1.02, abs=0.35)  # 5 dB less 6


def test_log_wmse_endures_silence_and_perfection():
    s, silence = noise(2, 4000), torch.zeros(2, 4000)
    for reference, estimate, mixture in (
        (s, s, s),
        (s, s, silence),
        (silence, silence, silence),
        (silence, silence, s),
    ):
        got = log_wmse(reference=reference, estimate=estimate, mixture=mixture)
        assert got.item() == pytest.approx(CEILING, abs=1e-4)
    worst = log_wmse(reference=silence, estimate=s, mixture=silence)
    assert worst.isfinite()
    assert worst < -100


def test_log_wmse_ignores_a_shared_gain_only():
    (s, e), mixture = of_stems(), noise(2, 20_000, seed=3)
    once = log_wmse(reference=s, estimate=e, mixture=mixture)
    assert once.shape == (3,)
    shared = log_wmse(reference=9 * s, estimate=9 * e, mixture=9 * mixture)
    torch.testing.assert_close(shared, once)
    assert (log_wmse(reference=s, estimate=2 * e, mixture=mixture) < once).all()
    one = log_wmse(reference=s[1], estimate=e[1], mixture=mixture)
    torch.testing.assert_close(one, once[1])


@pytest.mark.parity
@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
def test_log_wmse_equals_torch_log_wmse(sample_rate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = import_reference("torch_log_wmse")
    (s, e), mixture = of_stems(), noise(2, 20_000, seed=3)
    theirs = package.LogWMSE(sample_rate=sample_rate).per_stem(
        mixture[None], e.transpose(0, 1)[None], s.transpose(0, 1)[None]
    )
    ours = log_wmse(reference=s, estimate=e, mixture=mixture, sample_rate=sample_rate)
    torch.testing.assert_close(ours, theirs.mean((0, 1)), rtol=0, atol=3e-3)


# ---- mrstft -------------------------------------------------------------------------


def test_mrstft_of_a_gain_has_a_closed_form():
    s = noise(2, 3, 2, 9000)
    assert mrstft(reference=s, estimate=s.clone()).eq(0).all()
    got = mrstft(reference=s, estimate=0.8 * s)
    want = torch.full((2, 3), 0.2 - math.log(0.8))
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def test_mrstft_is_deaf_to_polarity():
    s = noise(2, 9000)
    assert mrstft(reference=s, estimate=-s).item() == 0.0
    assert metrics.usdr(reference=s, estimate=-s) < -6


def test_mrstft_of_silence():
    s, silence = noise(2, 9000), torch.zeros(2, 9000)
    assert mrstft(reference=silence, estimate=s).isnan()
    assert mrstft(reference=s, estimate=silence).isfinite()
    both = mrstft(reference=torch.stack([s, silence]), estimate=torch.stack([s, s]))
    assert both.isnan().tolist() == [False, True]


@pytest.mark.parity
def test_mrstft_equals_auraloss():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = import_reference("auraloss.freq")
    s, e = of_stems()
    for audio in (s, e):  # silent ends: they reflect these, we add zeros
        audio[..., :2048] = audio[..., -2048:] = 0
    sizes = [1024, 2048, 4096]
    loss = package.MultiResolutionSTFTLoss(sizes, [n // 4 for n in sizes], sizes)
    theirs = torch.stack([loss(e[i : i + 1], s[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(mrstft(reference=s, estimate=e), theirs)


# ---- bleedless, fullness ------------------------------------------------------------


@pytest.mark.parametrize("gain_db", [-20.0, -3.0, 3.0, 20.0])
def test_a_gain_is_bleed_or_lack(gain_db):
    s = noise(2, 9000)
    scores = [
        metric(reference=s, estimate=s * 10 ** (gain_db / 20)).item()
        for metric in (bleedless, fullness)
    ]
    want = [100 / (1 + max(gain_db, 0)), 100 / (1 + max(-gain_db, 0))]
    assert scores == pytest.approx(want, rel=1e-4)


def test_added_sound_bleeds_and_missing_sound_lacks():
    low, high = tone(300), tone(5000)
    more = {"reference": low, "estimate": low + high}
    less = {"reference": low + high, "estimate": low}
    assert bleedless(**more) == fullness(**less)  # one is the other with roles changed
    assert bleedless(**more) < 10  # where nothing was there is 80 dB now
    assert fullness(**more) > 80


def test_bands_of_silence_and_perfection():
    s, silence = noise(2, 9000), torch.zeros(2, 9000)
    for metric in (bleedless, fullness):
        assert metric(reference=s, estimate=s.clone()).item() == 100.0
        assert metric(reference=silence, estimate=silence).item() == 100.0
    assert fullness(reference=silence, estimate=s).item() == 100.0
    assert 0 < bleedless(reference=silence, estimate=s) < 1
    assert 0 < fullness(reference=s, estimate=silence) < 1
    assert bleedless(reference=s, estimate=silence).item() == 100.0


def test_bands_below_the_loudest_by_80_db_are_equal():
    fade = torch.hann_window(RATE, dtype=torch.float64)  # no click at the ends
    s, other = fade * tone(1000), fade * tone(5000)
    assert bleedless(reference=s, estimate=s + 10 ** (-90 / 20) * other) > 99.9
    assert bleedless(reference=s, estimate=s + 10 ** (-60 / 20) * other) < 70


def test_bands_equal_the_program_that_defines_them():
    """What utils/metrics.py of MSST (commit ccc011a) says of the same two signals."""
    t = torch.arange(22_050, dtype=torch.float64) / RATE
    first = 0.3 * torch.sin(2 * math.pi * 440 * t)
    second = 0.2 * torch.sin(2 * math.pi * 1000 * t * (1 + t))
    s = torch.stack([first, second])
    e = 0.8 * s.roll(7, -1) + 0.05 * torch.sin(2 * math.pi * 3000 * t * (1 + t))
    assert bleedless(reference=s, estimate=e).item() == pytest.approx(
        6.136372, rel=1e-3
    )
    assert fullness(reference=s, estimate=e).item() == pytest.approx(
        32.413418, rel=1e-3
    )


# ---- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize("metric", [log_wmse, mrstft, bleedless, fullness])
def test_shapes_are_checked_and_arguments_named(metric):
    s = torch.ones(2, 5000)
    more = {"mixture": s} if metric is log_wmse else {}
    words = r"one shape .* \(2, 5000\) and \(2, 4999\)"
    with pytest.raises(InputError, match=words):
        metric(reference=s, estimate=s[:, 1:], **more)
    with pytest.raises(TypeError, match="positional"):
        metric(s, s, **more)
    assert getattr(metrics, metric.__name__) is metric


def test_log_wmse_names_a_mixture_that_does_not_fit():
    s = torch.ones(2, 500)
    words = r"mixture and reference .* \(1, 500\) and \(2, 500\)"
    with pytest.raises(InputError, match=words):
        log_wmse(reference=s, estimate=s, mixture=s[:1])
    with pytest.raises(InputError, match=r"above 20000 Hz.* got 16000"):
        log_wmse(reference=s, estimate=s, mixture=s, sample_rate=16_000)


@pytest.mark.parametrize("metric", [log_wmse, mrstft, bleedless, fullness])
def test_precision_and_leading_axes_are_the_inputs(metric):
    s, e = (audio.view(3, 1, 2, -1).double() for audio in of_stems())
    more = {"mixture": s.sum(0)} if metric is log_wmse else {}
    got = metric(reference=s, estimate=e, **more)
    assert (got.dtype, got.shape) == (torch.float64, (3, 1))
    for value in more.values():
        more["mixture"] = value.float()
    got32 = metric(reference=s.float(), estimate=e.float(), **more)
    assert got32.dtype == torch.float32
    torch.testing.assert_close(got32.double(), got, rtol=1e-3, atol=0)
