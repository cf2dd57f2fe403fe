"""Which sounds a widget accepts, and how it encodes them for the browser."""

import io
import re

import numpy as np
import pytest
import soundfile
import torch

from mssedu.errors import InputError
from mssedu.listening import StemMixer
from mssedu.listening.widgets import sounds as limits
from mssedu.listening.widgets.sounds import (
    check_sounds,
    encode,
    flac_pieces,
    n_pieces,
    plain_players,
)


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


def test_a_song_of_four_minutes_with_four_stems_and_its_residual_is_accepted():
    samples = 240 * 44100
    stems = dict.fromkeys("abcde", torch.zeros(1, 1).expand(2, samples))
    limits._check_length(len(stems), samples, 44100, None)
    with pytest.raises(InputError, match=r"1000 MB .*, which is 566\.9 s of 5 sounds"):
        limits._check_length(len(stems), 567 * 44100, 44100, None)


def test_the_remedy_of_the_memory_limit_runs(monkeypatch):
    monkeypatch.setattr(limits, "LARGEST", 100_000)  # bytes; 4166 samples of 3 sounds
    stems = {name: torch.rand(2, 8000) for name in ("vocals", "bass")}
    mixture = sum(stems.values())
    with pytest.raises(InputError, match="at most 0 MB of decoded sound") as error:
        StemMixer(stems, 8000, mixture)
    assert "0.5 s of 3 sounds, got 1.0 s" in str(error.value)
    cut = run_remedy(error, {**stems, "mixture": mixture})
    mixture = cut.pop("mixture")
    assert StemMixer(cut, 8000, mixture).seconds == 4166 / 8000


def test_the_remedy_of_a_widget_with_a_longest_time_runs():
    sounds = {"a": torch.rand(1, 31 * 8000)}
    with pytest.raises(InputError, match=r"at most 30 s, got 31\.0 s") as error:
        check_sounds(sounds, 8000, 30.0)
    assert check_sounds(run_remedy(error, sounds), 8000, 30.0)["a"].shape[1] == 240_000


def run_remedy(error, sounds):
    """What the code in the message of an error makes of each sound."""
    code = re.search("`(.*)`", str(error.value))[1]
    return {name: eval(code, {"audio": audio}) for name, audio in sounds.items()}


@pytest.mark.parametrize("channels", [1, 2])
def test_the_pieces_of_a_long_sound_are_the_sound(channels):
    sound = 3 * torch.rand(channels, 45 * 8000) - 1.5  # beyond full scale
    samples, scale = encode(sound)
    pieces, same_scale = flac_pieces(sound, 8000)
    assert (len(pieces), same_scale) == (3, scale)
    read = [soundfile.read(io.BytesIO(piece), dtype="int16")[0] for piece in pieces]
    assert [len(part) for part in read] == [160_000, 160_000, 40_000]
    whole = np.concatenate(read).reshape(-1, channels).T
    # No sample is moved or changed: offset 0, and the noise of 16 bits.
    np.testing.assert_array_equal(
        whole, np.frombuffer(samples, "<i2").reshape(channels, -1)
    )
    error = torch.from_numpy(whole / 32767 * scale) - sound
    snr_db = 10 * (sound.square().mean() / error.square().mean()).log10()
    assert snr_db > 95


def test_only_long_sounds_are_cut_into_pieces():
    assert n_pieces(torch.zeros(1, 30 * 8000), 8000) == 0
    assert n_pieces(torch.zeros(1, 30 * 8000 + 1), 8000) == 2
    assert n_pieces(torch.zeros(1, 40 * 8000), 8000) == 2


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
    read, rate = soundfile.read(io.BytesIO(players.files["b"][0]))
    assert rate == 8000
    np.testing.assert_allclose(read, -sound[0], atol=1e-4)


def test_plain_players_say_that_a_long_sound_is_compressed():
    page = plain_players("text", {"a": torch.rand(1, 31 * 8000)}, 8000)._repr_html_()
    assert "a (MP3: do not judge small differences)" in page
    assert "data:audio/mpeg;base64," in page
