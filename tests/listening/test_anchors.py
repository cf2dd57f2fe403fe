"""Anchors: the tolerance of the standard, alignment, and what they are made of."""

import numpy as np
import pytest
import torch
from scipy.signal import freqz

from mssedu.audio.tensors import loudness_lufs
from mssedu.errors import InputError
from mssedu.listening.test.anchors import (
    check_anchor,
    lowpass,
    lowpass_taps,
    make_anchor,
    musical_noise,
    without_frames,
)
from mssedu.listening.test.design import ANCHORS
from mssedu.spectral import stft

RATE = 44100


def noise(seconds=2.0, seed=0, channels=2):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, round(seconds * RATE), generator=generator)


def level_db(sample_rate, cutoff_hz, low, high):
    taps = lowpass_taps(sample_rate, cutoff_hz).numpy()
    hz = np.linspace(low, high, 4001)
    _, response = freqz(taps, worN=hz, fs=sample_rate)
    return 20 * np.log10(np.abs(response))


# ---- low-pass -----------------------------------------------------------------------


@pytest.mark.parametrize("sample_rate", [16000, 22050, 32000, 44100, 48000, 96000])
def test_the_low_anchor_keeps_the_tolerance_of_the_standard(sample_rate):
    """BS.1534: ±0.1 dB up to 3.5 kHz, −25 dB at 4 kHz, −50 dB from 4.5 kHz on."""
    assert abs(level_db(sample_rate, 3500, 0, 3500)).max() < 0.01
    assert level_db(sample_rate, 3500, 4000, 4500).max() < -60
    assert level_db(sample_rate, 3500, 4500, sample_rate / 2).max() < -70


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100, 48000])
def test_so_does_the_mid_anchor_at_twice_the_frequency(sample_rate):
    assert abs(level_db(sample_rate, 7000, 0, 7000)).max() < 0.01
    assert level_db(sample_rate, 7000, 7500, sample_rate / 2).max() < -60


def test_the_filter_is_the_one_that_was_measured():
    """401 taps at 44.1 kHz, Kaiser 6.5: ripple ±0.003 dB, −67 and −78 dB."""
    assert len(lowpass_taps(RATE)) == 401
    assert abs(level_db(RATE, 3500, 0, 3500)).max() == pytest.approx(0.003, abs=0.002)
    assert level_db(RATE, 3500, 4000, 4000).max() == pytest.approx(-67, abs=1)
    assert level_db(RATE, 3500, 4500, 22050).max() == pytest.approx(-78, abs=2)


@pytest.mark.parametrize("sample_rate", [16000, 44100, 48000])
def test_the_filter_is_symmetric_around_one_sample(sample_rate):
    taps = lowpass_taps(sample_rate)
    assert len(taps) % 2 == 1
    assert torch.allclose(taps, taps.flip(0), atol=0, rtol=1e-9)


@pytest.mark.parametrize("name", ["anchor35", "anchor70"])
def test_a_click_stays_at_its_sample(name):
    click = torch.zeros(1, 4001)
    click[0, 1500] = 1
    anchor = make_anchor(name, RATE, reference=click)
    assert anchor.shape == click.shape
    assert anchor.abs().argmax() == 1500
    assert torch.allclose(anchor[0, 1500:2000], anchor[0, 1001:1501].flip(0), atol=1e-7)


def test_a_tone_below_passes_in_phase_and_a_tone_above_does_not():
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    low = torch.sin(2 * torch.pi * 3000 * time)[None]
    high = torch.sin(2 * torch.pi * 4500 * time)[None]
    inside = slice(500, -500)  # where the filter sees no end
    error = lowpass(low, RATE) - low
    assert error[:, inside].abs().max() < 1e-3
    assert lowpass(high, RATE)[:, inside].abs().max() < 1e-3
    assert lowpass(noise(), RATE).dtype == torch.float32


def test_short_sounds_keep_their_length():
    assert lowpass(noise()[:, :7], RATE).shape == (2, 7)


def test_nothing_to_take_away_is_refused():
    with pytest.raises(InputError, match=r"7000 Hz .* above 15000 Hz, got 8000 Hz"):
        lowpass_taps(8000, 7000)
    with pytest.raises(InputError, match="cutoff_hz"):
        lowpass_taps(8000, 0)


# ---- anchors for separation ---------------------------------------------------------


def test_interference_is_the_stem_and_all_else_equally_loud():
    stem, rest = noise(seed=1), 0.2 * noise(seed=2)
    anchor = make_anchor("interference", RATE, reference=stem, mixture=stem + rest)
    parts = torch.stack([stem.flatten(), rest.flatten()])
    gains = torch.linalg.lstsq(parts.T, anchor.flatten()).solution
    assert torch.allclose(gains @ parts, anchor.flatten(), atol=1e-4)
    assert float(gains[1] / gains[0]) == pytest.approx(5, rel=0.02)
    assert loudness_lufs(anchor, RATE) == pytest.approx(
        loudness_lufs(stem, RATE), abs=0.01
    )


def test_musical_noise_keeps_one_bin_of_a_hundred():
    sound = noise(seconds=5)
    noise_only = musical_noise(sound)
    share = float(noise_only.square().sum() / sound.square().sum())
    # The inverse STFT averages overlapping frames, so less than 1 % is left.
    assert 0.001 < share < 0.01
    magnitude = stft(noise_only, 2048, 512).abs()
    assert float((magnitude < 0.2 * magnitude.max()).float().mean()) > 0.9


def test_one_frame_in_five_is_lost():
    sound = noise(seconds=10)
    thinned = without_frames(sound)
    share = float(thinned.square().sum() / sound.square().sum())
    assert share == pytest.approx(0.8, abs=0.1)


def test_artifacts_are_the_stem_and_musical_noise_equally_loud():
    stem = noise(seconds=4)
    anchor = make_anchor("artifacts", RATE, reference=stem, seed=3)
    rest = musical_noise(stem, seed=3)
    parts = torch.stack([stem.flatten(), rest.flatten()])
    gains = torch.linalg.lstsq(parts.T, anchor.flatten()).solution
    assert torch.allclose(gains @ parts, anchor.flatten(), atol=1e-4)
    louder = loudness_lufs(stem, RATE) - loudness_lufs(rest, RATE)
    assert float(gains[1] / gains[0]) == pytest.approx(10 ** (louder / 20), rel=0.01)


def test_quality_has_nothing_above_its_low_pass_and_is_as_loud_as_the_stem():
    stem = noise(seconds=4)
    anchor = make_anchor("sound_quality", RATE, reference=stem)
    power = torch.fft.rfft(anchor).abs().square().sum(0)
    hz = torch.fft.rfftfreq(anchor.shape[-1], 1 / RATE)
    assert power[hz > 4000].sum() < 1e-5 * power.sum()
    assert loudness_lufs(anchor, RATE) == pytest.approx(
        loudness_lufs(stem, RATE), abs=0.01
    )


@pytest.mark.parametrize("name", ANCHORS)
def test_every_anchor_fits_and_is_repeatable(name):
    stem, mixture = noise(1), noise(1, seed=1)
    parts = {"reference": stem, "mixture": mixture}
    first, again = (make_anchor(name, RATE, **parts, seed=5) for _ in range(2))
    assert first.shape == stem.shape
    assert first.isfinite().all()
    assert torch.equal(first, again)
    assert torch.equal(stem, noise(1))  # untouched
    other = make_anchor(name, RATE, **parts, seed=6)
    assert torch.equal(first, other) == (name not in ("artifacts", "sound_quality"))


@pytest.mark.parametrize("name", ANCHORS)
def test_silent_and_short_stems_have_finite_anchors(name):
    for stem in (torch.zeros(1, RATE), noise(0.1, channels=1)):
        anchor = make_anchor(name, RATE, reference=stem, mixture=stem)
        assert anchor.isfinite().all()
        assert anchor.shape == stem.shape


def test_what_is_missing_is_named():
    with pytest.raises(
        InputError, match="interference needs a reference and a mixture"
    ):
        make_anchor("interference", RATE, reference=noise())
    with pytest.raises(InputError, match="mixture is missing"):
        make_anchor("mixture", RATE, reference=None)
    with pytest.raises(InputError, match="anchor35"):
        make_anchor("anchor3", RATE, reference=noise())


def test_the_rate_is_enough_for_an_anchor():
    for name in ("mixture", "interference", "artifacts"):
        check_anchor(name, 1000)
    for name, rate in (
        ("anchor35", 8000),
        ("sound_quality", 8000),
        ("anchor70", 15000),
    ):
        check_anchor(name, rate + 1)
        with pytest.raises(InputError, match=f"sample rate above {rate} Hz"):
            check_anchor(name, rate)
