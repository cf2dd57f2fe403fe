"""The player: its texts and its picture."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.listening import Player
from mssedu.listening.widgets.pictures import N_ROWS


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
    assert len(player._data["picture"]) == N_ROWS * player._picture["frames"]


def test_the_cap_is_named():
    with pytest.raises(InputError, match="at most 30 s, got 31"):
        Player(torch.zeros(1, 31 * 8000), 8000)
