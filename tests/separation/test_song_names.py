"""Which files are songs, what they are called, and where their stems go."""

from pathlib import Path

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.errors import AudioFileError, InputError
from mssedu.separation.song_files import fill, find_files, is_finished, track_names

NAMES = {"track": "絆 #1 100%", "stem": "bass", "ext": "wav", "trackext": "mp3"}
NAMES["model"] = "htdemucs"


def tone(*_, **__):
    return torch.zeros(1, 4410)


def test_find_files_in_folders_patterns_and_twice(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ("a.wav", "b/c.flac", "b/deep/d.ogg"):
        save_audio(tmp_path / name, tone(1, seconds=0.1), 44100)
    (tmp_path / "b" / "notes.txt").write_text("no music")
    found, missing = find_files(
        [tmp_path / "a.wav", tmp_path, tmp_path / "*.wav", tmp_path / "none.wav"]
    )
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["a.wav", "b/c.flac", "b/deep/d.ogg"]
    assert missing == [tmp_path / "none.wav"]
    # a file that exists is taken as named, even if its name looks like a pattern
    save_audio(tmp_path / "odd [1].wav", tone(1, seconds=0.1), 44100)
    assert find_files([tmp_path / "odd [1].wav"])[0] == [tmp_path / "odd [1].wav"]


def test_track_names_differ():
    files = ["x/a.wav", "y/a.wav", "y/a.mp3", "z/B.wav", "z/song.stem.mp4"]
    names = track_names([Path(f) for f in files])
    assert list(names.values()) == [
        *("a (x)", "a (y) (wav)", "a (y) (mp3)", "B", "song"),
    ]


def test_duplicates_run_once_and_links_to_them_too(tmp_path):
    song = tmp_path / "a.wav"
    save_audio(song, tone(), 44100)
    found, missing = find_files([song, song, tmp_path, tmp_path / "." / "a.wav"])
    assert (found, missing) == ([song], [])


def test_names_of_a_template():
    path = fill("{model}/{track}.{trackext}/{stem}.{ext}", **NAMES)
    assert path.as_posix() == "htdemucs/絆 #1 100%.mp3/bass.wav"


@pytest.mark.parametrize("template", ["{track}.wav", "{stem}{x}", "/a/{stem}", "{stem"])
def test_bad_templates(template):
    with pytest.raises(InputError, match=r"a relative path with \{stem\}"):
        fill(template, **NAMES)


def test_what_is_finished(tmp_path):
    stem, report = tmp_path / "bass.wav", tmp_path / "separation.json"
    for exists in ("refuse", "skip", "overwrite"):
        assert not is_finished([stem, report], exists)
    stem.touch()
    assert not is_finished([stem, report], "skip")  # the mark of completeness lacks
    with pytest.raises(AudioFileError, match=r"expected no output yet.*bass.wav"):
        is_finished([stem, report], "refuse")
    report.touch()
    assert is_finished([stem, report], "skip")
    assert not is_finished([stem, report], "overwrite")
