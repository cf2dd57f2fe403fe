"""The formulas of the mixer: Python computes the mix that the browser plays."""

import math

import pytest
import torch

from mssedu.errors import InputError
from mssedu.listening import StemMixer
from mssedu.listening.widgets.mixer import gain_of, panned


def stems(channels=2):
    return {name: 0.1 * torch.randn(channels, 500) for name in ("vocals", "bass")}


def test_at_rest_it_plays_the_sum():
    given = stems()
    torch.testing.assert_close(StemMixer(given, 8000).mix(), sum(given.values()))


def test_residual_and_stems_sum_to_the_mixture():
    given = stems()
    mixture = sum(given.values()) + 0.01 * torch.randn(2, 500)
    mixer = StemMixer(given, 8000, mixture)
    assert mixer.muted == ["residual"]
    torch.testing.assert_close(mixer.mix(), sum(given.values()))
    mixer.muted = []
    torch.testing.assert_close(mixer.mix(), mixture)


def test_the_residual_is_in_db_of_the_mixture():
    given = stems()
    total = sum(given.values())
    mixer = StemMixer(given, 8000, 1.1 * total)
    assert mixer.residual_db == pytest.approx(20 * math.log10(0.1 / 1.1), abs=1e-3)
    assert mixer._caption == "Mixture − sum of stems: -20.8 dB of the mixture."
    exact = StemMixer(given, 8000, total)
    assert exact.residual_db == -math.inf
    assert exact._caption.startswith("The stems sum to the mixture")
    assert StemMixer(given, 8000).residual_db is None


def test_solo_goes_over_mute():
    given = stems()
    mixer = StemMixer(given, 8000)
    mixer.muted = ["vocals"]
    torch.testing.assert_close(mixer.mix(), given["bass"])
    mixer.soloed = ["vocals"]
    torch.testing.assert_close(mixer.mix(), given["vocals"])


def test_a_fader_is_in_db_and_off_at_its_end():
    given = stems()
    mixer = StemMixer(given, 8000)
    mixer.gains_db = {"vocals": 6.0, "bass": -60.0}
    torch.testing.assert_close(mixer.mix(), 10**0.3 * given["vocals"])
    assert gain_of(-60.0) == 0
    assert gain_of(-59.5) == pytest.approx(0.00106, abs=1e-5)


def test_pan_keeps_the_middle_and_empties_the_far_side():
    sound = torch.randn(2, 50)
    torch.testing.assert_close(panned(sound, 0.0), sound)
    left = panned(sound, -1.0)
    torch.testing.assert_close(left[0], sound.sum(0))
    torch.testing.assert_close(left[1], torch.zeros(50))
    right = panned(sound, 1.0)
    torch.testing.assert_close(right, left.flip(0))


@pytest.mark.parametrize("pan", [-0.6, 0.3])
def test_pan_keeps_the_power_of_what_it_moves(pan):
    one_side = torch.tensor([[0.0], [1.0]]) if pan < 0 else torch.tensor([[1.0], [0.0]])
    assert panned(one_side, pan).square().sum() == pytest.approx(1)


def test_mono_stems_are_two_equal_channels():
    given = stems(channels=1)
    mix = StemMixer(given, 8000).mix()
    assert mix.shape == (2, 500)
    torch.testing.assert_close(mix[:1], sum(given.values()))


def test_a_stem_called_residual_is_refused_beside_a_mixture():
    given = {"residual": torch.zeros(1, 80)}
    assert "residual" in repr(StemMixer(given, 8000).sounds)
    with pytest.raises(InputError, match="stem 'residual'"):
        StemMixer(given, 8000, torch.zeros(1, 80))


def test_repr():
    mixer = StemMixer(stems(), 8000, torch.zeros(2, 500))
    assert repr(mixer) == "StemMixer(n=3, sample_rate=8000, seconds=0.1)"
