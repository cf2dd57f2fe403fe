"""What `fit` refuses before its first step, each with its words."""

import dataclasses

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.data.layouts import load_track
from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.validation import Songs, check_apart, check_run, with_stems_of

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
        ([], GOOD, "train_tracks is empty"),
        (GOOD, [], "valid_tracks is empty.*valid_tracks=None"),
        ([song(("hum", "rain"))], GOOD, "'Song' has no stem hiss"),
        (GOOD, [song(channels=1)], "8000 Hz and 1 channels, .* 8000 Hz and 2"),
        (
            [dataclasses.replace(song(), sample_rate=44100)],
            None,
            "44100 Hz and 2 channels, .* 8000 Hz and 2",
        ),
    ],
)
def test_tracks_that_cannot_work_are_named(train_tracks, valid_tracks, text):
    with pytest.raises(DatasetError, match=text):
        check_run(MODEL, train_tracks, valid_tracks, CONFIG)


def test_model_and_config_must_name_the_same_stems_in_the_same_order():
    config = dataclasses.replace(CONFIG, stems=("hiss", "hum"))
    with pytest.raises(InputError, match=r"stems hiss, hum, .* hum, hiss"):
        check_run(MODEL, GOOD, GOOD, config)


def test_the_config_takes_the_stems_of_the_model():
    stems = ("band=hum+hiss",)
    model = create_model("spleeter", "tiny", stems, sample_rate=RATE)
    assert with_stems_of(model, TrainConfig()).stems == stems
    assert with_stems_of(model, TrainConfig(stems=stems)).stems == stems
    with pytest.raises(InputError, match=r"stems hum, hiss, .*hum\+hiss"):
        with_stems_of(model, CONFIG)


def test_songs_have_the_stems_of_the_model_and_keep_the_others():
    model = create_model("spleeter", "tiny", ("band=hum+hiss",), sample_rate=RATE)
    config = with_stems_of(model, TrainConfig())
    songs = Songs.of(model, [song((*STEMS, "rain"))], None, config)
    assert songs.train[0].stems == ("band",)
    assert songs.train[0].unselected == ("rain",)
    assert songs.valid is None
    prints = songs.fingerprints()
    assert prints["valid"] is None
    other = Songs.of(model, [song((*STEMS, "wind"))], [noise()], config)
    assert other.fingerprints()["train"] != prints["train"]
    assert other.fingerprints()["valid"]


def noise(name="Noise"):
    audio = {stem: torch.rand(2, 800) - 0.5 for stem in STEMS}
    return Track.from_audio(name, audio, RATE)


def test_a_copy_of_a_training_song_is_no_validation():
    train, other = noise("Train"), noise("Other")
    check_apart([train], [other])
    copy = dataclasses.replace(train, name="Renamed")
    with pytest.raises(DatasetError, match=r"Renamed = Train\. .*--no-valid"):
        check_apart([train], [other, copy])


def test_a_link_to_a_file_of_a_training_song_is_no_validation(tmp_path):
    tracks = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for stem in STEMS:
            save_audio(tmp_path / name / f"{stem}.wav", torch.rand(2, 800) - 0.5, RATE)
    (tmp_path / "c" / "hum.wav").unlink()
    (tmp_path / "c" / "hum.wav").symlink_to(tmp_path / "a" / "hum.wav")
    tracks = [load_track(tmp_path / name) for name in ("a", "b", "c")]
    check_apart(tracks[:1], tracks[1:2])
    with pytest.raises(DatasetError, match=r"1 validation songs .*: c = a\."):
        check_apart(tracks[:1], tracks[1:])
    with pytest.raises(DatasetError, match=r"6 validation songs .* and 1 more"):
        check_apart(tracks[:1], tracks[:1] * 6)


def test_model_and_config_must_be_of_one_architecture():
    config = dataclasses.replace(CONFIG, model="open_unmix")
    with pytest.raises(InputError, match=r"'open_unmix', .*'spleeter'"):
        check_run(MODEL, GOOD, GOOD, config)
