"""Player, switch and mixer: their texts, the blind order, the formulas of the mix."""

import math

import pytest
import torch

from mssedu.errors import InputError
from mssedu.listening import ABSwitch, Player, StemMixer
from mssedu.listening.widgets.pictures import N_ROWS
from mssedu.listening.widgets.players import gain_of, panned

SOUNDS = {name: torch.full((1, 80), i / 10) for i, name in enumerate("abcdef")}


def stems(channels=2):
    return {name: 0.1 * torch.randn(channels, 500) for name in ("vocals", "bass")}


# ---- Player -------------------------------------------------------------------------


def test_it_says_what_it_plays():
    player = Player(0.5 * torch.ones(2, 44100), 44100, "half")
    assert repr(player) == "Player('half', sample_rate=44100, seconds=1.0)"
    assert player._caption == "stereo, 44100 Hz, peak -6.0 dBFS"
    assert repr(Player(torch.zeros(1, 8000), 8000)) == (
        "Player(sample_rate=8000, seconds=1.0)"
    )
    assert Player(torch.zeros(1, 8000), 8000)._caption == "mono, 8000 Hz, silent"


def test_the_picture_has_the_frames_of_the_transform():
    player = Player(torch.rand(1, 44100), 44100, n_fft=1024, hop_length=256)
    assert player._picture["frames"] == 44100 // 256 + 1
    assert len(player._data["picture"][0]) == N_ROWS * player._picture["frames"]


def test_the_picture_of_a_long_sound_has_a_limited_width():
    player = Player(torch.rand(1, 100 * 8000), 8000, n_fft=256, hop_length=64)
    assert player._picture["frames"] == 6250  # of 12501
    assert player._picture["hop_length"] == 128


# ---- ABSwitch -----------------------------------------------------------------------


def test_open_names_keep_their_order():
    switch = ABSwitch(SOUNDS, 8000)
    assert switch.order == switch._names == list("abcdef")


def test_blind_the_page_gets_letters_only():
    switch = ABSwitch(SOUNDS, 8000, blind=True, seed=3)
    assert switch._names == list("ABCDEF")
    assert sorted(switch.order) == list("abcdef")
    assert switch.order != list("abcdef")
    for place, name in enumerate(switch.order):  # the sounds go along with the names
        step = int.from_bytes(switch._data[str(place)][0][:2], "little")
        assert step == round(float(SOUNDS[name][0, 0]) * 32767)
    state = switch.get_state()
    del state["_esm"], state["_css"]
    assert not {*"abcdef"} & {*state["_names"]}


def test_blind_the_saved_picture_shows_no_waveform():
    loud = {name: torch.rand(1, 800) for name in "ab"}
    hidden = ABSwitch(loud, 8000, blind=True)
    assert [(lane.name, lane.content) for lane in hidden._lanes()] == [
        ("A", None),
        ("B", None),
    ]
    hidden.reveal()
    assert all(lane.content.max() > 0.9 for lane in hidden._lanes())


def test_the_seed_decides_the_order():
    orders = [ABSwitch(SOUNDS, 8000, blind=True, seed=s).order for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_reveal_tells_both_the_page_and_python():
    switch = ABSwitch(SOUNDS, 8000, blind=True, seed=3)
    key = switch.reveal()
    assert [key[letter] for letter in "ABCDEF"] == switch.order == switch._names
    assert not switch.blind


def test_the_page_can_ask_to_reveal():
    switch = ABSwitch(SOUNDS, 8000, blind=True)
    switch._on_message(switch, {"kind": "reveal"}, [])
    assert switch._names == switch.order


@pytest.mark.parametrize("n", [1, 10])
def test_too_few_and_too_many_are_refused(n):
    sounds = {str(i): torch.zeros(1, 80) for i in range(n)}
    with pytest.raises(InputError, match=f"2 … 9 sounds, got {n}"):
        ABSwitch(sounds, 8000)


# ---- StemMixer ----------------------------------------------------------------------


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
