"""A damaged song is separated as far as it goes, and its record says so."""

import json

import pytest

from mssedu.audio.tensors import audio_info, save_audio
from mssedu.errors import MssEduWarning
from mssedu.separation.files import separate_file
from tests.audio.sounds import noise
from tests.separation.test_files import Halves, tone


@pytest.mark.parametrize("ext", ["wav", "flac", "ogg"])
def test_the_record_says_what_is_lost(tmp_path, ext):
    song = tmp_path / f"song.{ext}"
    save_audio(song, noise(2, 88_200), 44100)
    data = song.read_bytes()
    song.write_bytes(data[: 6 * len(data) // 10])
    text = r"song\.\w+: it (ends|breaks off) after [01]\.\d+ s"
    with pytest.warns(MssEduWarning, match=text):
        done = separate_file(Halves(), song, tmp_path / "out")
    record = json.loads((tmp_path / "out/song/separation.json").read_text("utf-8"))
    assert tuple(record["damage"]) == done.damage
    assert len(done.damage) == 1
    for stem in ("voice", "rest"):
        assert audio_info(tmp_path / f"out/song/{stem}.wav").samples == done.samples


def test_the_record_of_a_whole_song_is_empty(tmp_path):
    save_audio(tmp_path / "song.wav", tone(), 44100)
    assert separate_file(Halves(), tmp_path / "song.wav", tmp_path / "out").damage == ()
