"""What `fit` refuses before its first step, each with its words."""

import dataclasses

import pytest
import torch

from mssedu.checks import DatasetError, InputError, SetupError
from mssedu.datasets.track import Track
from mssedu.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.preflight import check_run, pick_device

STEMS, RATE = ("hum", "hiss"), 8000
CONFIG = TrainConfig(stems=STEMS)
MODEL = create_model("spleeter", "tiny", STEMS, sample_rate=RATE)


def song(stems=STEMS, channels=2):
    audio = dict.fromkeys(stems, torch.ones(channels, 800))
    return Track.from_audio("Song", audio, RATE)


GOOD = [song()]


def test_what_fits_passes():
    check_run(MODEL, GOOD, GOOD, CONFIG)
    check_run(MODEL, GOOD, None, CONFIG)
    check_run(MODEL, [song((*STEMS, "rain"))], None, CONFIG)


@pytest.mark.parametrize(
    ("train_tracks", "valid_tracks", "text"),
    [
        ([], GOOD, "at least one of train_tracks, got none. Check the path"),
        (GOOD, [], "at least one of valid_tracks, got none.*valid_tracks=None"),
        ([song(("hum", "rain"))], GOOD, r"'Song'.*got .* without \['hiss'\]"),
        (
            GOOD,
            [song(channels=1)],
            "expected 8000 Hz and 2 channels, got 8000 Hz and 1",
        ),
        (
            [dataclasses.replace(song(), sample_rate=44100)],
            None,
            "expected 8000 Hz and 2 channels, got 44100 Hz and 2",
        ),
    ],
)
def test_tracks_that_cannot_work_are_named(train_tracks, valid_tracks, text):
    with pytest.raises(DatasetError, match=text):
        check_run(MODEL, train_tracks, valid_tracks, CONFIG)


def test_model_and_config_must_name_the_same_stems_in_the_same_order():
    config = dataclasses.replace(CONFIG, stems=("hiss", "hum"))
    with pytest.raises(InputError, match=r"the model's stems \('hum', 'hiss'\)"):
        check_run(MODEL, GOOD, GOOD, config)


def test_model_and_config_must_be_of_one_architecture():
    config = dataclasses.replace(CONFIG, model="open_unmix")
    with pytest.raises(
        InputError, match=r"expected a model 'open_unmix' .* got spleeter"
    ):
        check_run(MODEL, GOOD, GOOD, config)


@pytest.mark.parametrize(
    ("cuda", "mps", "kind"),
    [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device_there_is(monkeypatch, cuda, mps, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto").type == kind


def test_a_device_that_is_not_there_is_an_error(monkeypatch):
    with pytest.raises(InputError, match="got 'gpu'"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match="expected a cuda device, got none"):
        pick_device("cuda:1")
