"""Examples hold the whole mixture; batches go on at any step."""

import dataclasses

import pytest
import torch

from mssedu.data.track import Track
from mssedu.models.registry import create_model
from mssedu.training.batches import batches, create_segments
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit
from mssedu.training.losses import waveform_l1
from mssedu.training.state import TrainState
from mssedu.training.step import batch_loss

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
    sources = create_segments([track], config)[0].sources
    whole = track.mixture().unfold(-1, sources.shape[-1], 1).movedim(1, 0)
    nearest = (whole - sources.sum(0)).abs().amax((-2, -1)).min()
    assert nearest < 1e-5  # this moment of the song, no stem swapped or turned
    assert torch.allclose(
        create_segments([track], dataclasses.replace(config, stems=("hum",)))[
            0
        ].sources.sum(0),
        sources.sum(0),
        atol=1e-5,
    )


def test_remixing_swaps_channels_and_turns_signs():
    segments = create_segments([song()], CONFIG)
    assert (segments.channel_flip, segments.sign_flip) == (0.5, 0.5)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_batches_go_on_at_the_step(n_workers):
    config = dataclasses.replace(CONFIG, n_workers=n_workers)
    model = create_model("open_unmix", "tiny", config.stems, sample_rate=RATE)
    state, segments = TrainState(model, config), create_segments([song()], config)
    state.step = 4
    left = list(batches(segments, state))
    assert len(left) == 2
    expected = torch.stack([segments[8].sources, segments[9].sources])
    assert torch.equal(left[0].sources, expected)
    assert left[0].present.tolist() == 2 * [3 * [True]]


# ---- songs without one of the stems


def uneven():
    """Two songs; the second has no hiss."""
    sources = {name: torch.rand(2, 4000) - 0.5 for name in ("hum", "rain")}
    return [song(), Track.from_audio("No hiss", sources, RATE, absent=["hiss"])]


def test_settings_reach_the_examples():
    config = dataclasses.replace(CONFIG, balance="song", min_active_db=-50.0)
    segments = create_segments([song()], config)
    assert (segments.balance, segments.min_active_db) == ("song", -50.0)


def test_a_step_learns_nothing_from_an_absent_stem():
    config = dataclasses.replace(CONFIG, stems=("hiss", "hum"), remix=False)
    segments = create_segments(uneven(), config)
    items = [segments[item] for item in range(6)]
    present = torch.stack([item.present for item in items])
    assert present[:, 1].all()
    assert 0 < present[:, 0].sum() < 6
    model = create_model("open_unmix", "tiny", config.stems, sample_rate=RATE)
    sources = torch.stack([item.sources for item in items])
    value = batch_loss(model, sources, config, waveform_l1, present)
    sources[~present[:, 0], 0] = 0  # they are zeros in any case
    with torch.no_grad():
        estimate = model(sources.sum(1))
    errors = (estimate - sources[:, :2]).abs().mean((-2, -1))
    torch.testing.assert_close(value.detach(), errors[present[:, :2]].mean())


def test_a_run_with_absent_stems(tmp_path):
    config = dataclasses.replace(
        CONFIG, stems=("hiss", "hum"), remix=False, valid_every=3, device="cpu"
    )
    config = dataclasses.replace(config, model="open_unmix", preset="tiny")
    model = create_model("open_unmix", "tiny", config.stems, sample_rate=RATE)
    others = [dataclasses.replace(track, name=f"{track.name} 2") for track in uneven()]
    result = fit(model, uneven(), others, config, tmp_path)
    assert result.step in (3, 6)
    assert result.history[-1]["n_silent"] == 0
    assert result.history[-1]["n_absent"] == 1  # of two songs and two stems


def test_the_log_says_how_many_excerpts_stayed_quiet(tmp_path):
    silent = {"hum": torch.rand(2, 4000) - 0.5, "hiss": torch.zeros(2, 4000)}
    track = Track.from_audio("Silent", silent, RATE)
    config = dataclasses.replace(
        CONFIG, model="open_unmix", preset="tiny", min_active_db=-60.0, device="cpu"
    )
    model = create_model("open_unmix", "tiny", config.stems, sample_rate=RATE)
    lines = []
    fit(model, [track], None, config, tmp_path, log=lines.append)
    assert any("excerpts so far are quieter than min_active_db" in x for x in lines)
