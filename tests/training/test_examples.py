"""Examples hold the whole mixture; batches go on at any step; the first is tried."""

import copy
import dataclasses

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import _batches, _segments, rehearse
from mssedu.training.losses import waveform_l1
from mssedu.training.state import TrainState

RATE = 8000
PARTS = ("hum", "hiss", "rain")
CONFIG = TrainConfig(
    stems=("hiss",), steps=6, batch_size=2, segment=0.05, gain_db=(0.0, 0.0)
)


def song():
    sources = {name: torch.rand(2, 4000) - 0.5 for name in PARTS}
    return Track.from_audio("Song", sources, RATE)


@pytest.mark.parametrize("stems", [("hiss",), ("band=-hiss",), ("rain", "hum")])
def test_the_mixture_is_whole_whatever_is_estimated(stems):
    config = dataclasses.replace(CONFIG, stems=stems, remix=False)
    track = song()
    sources = _segments([track], config)[0]
    whole = track.mixture().unfold(-1, sources.shape[-1], 1).movedim(1, 0)
    nearest = (whole - sources.sum(0)).abs().amax((-2, -1)).min()
    assert nearest < 1e-5  # this moment of the song, no stem swapped or turned
    assert torch.allclose(
        _segments([track], dataclasses.replace(config, stems=("hum",)))[0].sum(0),
        sources.sum(0),
        atol=1e-5,
    )


def test_remixing_swaps_channels_and_turns_signs():
    segments = _segments([song()], CONFIG)
    assert (segments.channel_flip, segments.sign_flip) == (0.5, 0.5)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_batches_go_on_at_the_step(n_workers):
    config = dataclasses.replace(CONFIG, n_workers=n_workers)
    model = create_model("open_unmix", "tiny", config.stems, sample_rate=RATE)
    state, segments = TrainState(model, config), _segments([song()], config)
    state.step = 4
    left = list(_batches(segments, state))
    assert len(left) == 2
    assert torch.equal(left[0], torch.stack([segments[8], segments[9]]))


def test_a_rehearsal_changes_nothing_and_finds_nan():
    model = create_model("spleeter", "tiny", CONFIG.stems, sample_rate=RATE)
    before = copy.deepcopy(model.state_dict())
    segments = _segments([song()], CONFIG)
    rehearse(model, segments, [song()], CONFIG, waveform_l1)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(InputError, match="first batch"):
        rehearse(
            model,
            segments,
            None,
            CONFIG,
            lambda **pair: waveform_l1(**pair) * torch.nan,
        )
