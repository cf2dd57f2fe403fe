"""Which sounds a widget accepts, and how it encodes them for the browser."""

import io

import numpy as np
import pytest
import soundfile
import torch

from mssedu.errors import InputError
from mssedu.listening.widgets.sounds import check_sounds, encode, plain_players


def test_sounds_become_float32_on_the_cpu():
    given = torch.randn(2, 100, dtype=torch.float64, requires_grad=True)
    sound = check_sounds({"a": given}, 8000)["a"]
    assert sound.dtype == torch.float32
    assert not sound.requires_grad
    torch.testing.assert_close(sound, given.detach().float())


@pytest.mark.parametrize("shape", [(100,), (3, 100), (2, 0), (1, 2, 100)])
def test_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"vocals .*(channels|samples)"):
        check_sounds({"vocals": torch.zeros(shape)}, 8000)
    with pytest.raises(InputError, match=r"audio .*(channels|samples)"):
        check_sounds({"": torch.zeros(shape)}, 8000)  # as `Player` without a label


def test_sounds_of_two_lengths_are_refused():
    with pytest.raises(InputError, match=r"a is \(1, 100\), b is \(1, 99\)"):
        check_sounds({"a": torch.zeros(1, 100), "b": torch.zeros(1, 99)}, 8000)


def test_no_sound_is_refused():
    with pytest.raises(InputError, match="sounds is empty"):
        check_sounds({}, 8000)


def test_nan_is_refused():
    with pytest.raises(InputError, match="a has 100 NaN"):
        check_sounds({"a": torch.full((1, 100), torch.nan)}, 8000)


@pytest.mark.parametrize("rate", [7999, 96001])
def test_rates_that_browsers_do_not_play_are_refused(rate):
    with pytest.raises(InputError, match="sample_rate"):
        check_sounds({"a": torch.zeros(1, 10)}, rate)


def test_the_caps_name_themselves_and_the_remedy():
    sounds = dict.fromkeys("abc", torch.zeros(2, 30 * 44100))
    assert len(check_sounds(sounds, 44100)) == 3
    with pytest.raises(InputError, match=r"30 s, got 30\.1 s\..* audio\[:, : 30 "):
        check_sounds({"a": torch.zeros(2, 30 * 44100 + 4410)}, 44100)
    with pytest.raises(InputError, match=r"20 MB, got 21\.2 MB"):
        check_sounds({**sounds, "d": sounds["a"]}, 44100)


def test_sixteen_bits_lose_half_a_step_at_most():
    sound = torch.rand(2, 1000) * 2 - 1
    samples, scale = encode(sound)
    steps = np.frombuffer(samples, "<i2").reshape(2, 1000)
    assert scale == 1
    assert np.abs(steps / 32767 - sound.numpy()).max() <= 0.5 / 32767 + 1e-7


def test_beyond_full_scale_nothing_is_cut_off():
    samples, scale = encode(torch.tensor([[3.0, -1.5]]))
    decoded = np.frombuffer(samples, "<i2") / 32767 * scale
    np.testing.assert_allclose(decoded, [3.0, -1.5], atol=1e-4)


def test_plain_players_hold_each_sound():
    sound = 0.5 * torch.sin(torch.arange(800) / 5)[None]
    players = plain_players("text", {"<a>": sound, "b": -sound}, 8000)
    page = players._repr_html_()
    assert repr(players) == "text"
    assert page.count("<audio controls") == page.count("data:audio/flac;base64,") == 2
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    read, rate = soundfile.read(io.BytesIO(players.flac["b"]))
    assert rate == 8000
    np.testing.assert_allclose(read, -sound[0], atol=1e-4)
