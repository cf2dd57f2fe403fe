"""Songs on disk: which files they are, their names, and one song in blocks."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
from torch import nn

from mssedu.audio.containers import READABLE_SUFFIXES
from mssedu.audio.tensors import load_audio, resample, save_audio
from mssedu.errors import AudioFileError, InputError
from mssedu.separation.config import FileConfig, SeparateConfig
from mssedu.separation.song import Song, fill, find_files, track_names


def song_of(path, **options):
    model = nn.Identity()
    model.config = SimpleNamespace(
        stems=("bass",), sample_rate=44100, channels=2, segment=1.0
    )
    files = FileConfig(template="{stem}.{ext}", **options)
    return Song(model, path, path.parent, files, SeparateConfig())


def whole(song, sample_rate, channels):
    return torch.cat(list(song.blocks(sample_rate, channels)), dim=1)


@pytest.fixture
def surround(tmp_path):
    path = tmp_path / "surround.wav"
    levels = torch.arange(1, 7)[:, None] / 10
    save_audio(path, levels.expand(6, 5000), 48000, subtype="float32")
    return path


def test_rate_and_channels_as_the_model_wants_them(tmp_path):
    path = tmp_path / "a.wav"
    save_audio(path, torch.rand(1, 30000) - 0.5, 48000, subtype="float32")
    song = song_of(path)
    audio = whole(song, 44100, 2)
    assert audio.shape == (2, song.length(44100))
    assert torch.equal(audio[0], audio[1])
    assert (audio[:1] - resample(load_audio(path)[0], 48000, 44100)).abs().max() < 1e-6


def test_more_than_stereo_is_refused_with_its_layout(surround):
    text = r"6 channels .*left, right, center, low frequencies.*--channels 0 1"
    with pytest.raises(InputError, match=text):
        _ = song_of(surround).scan


def test_channels_are_picked_or_mixed_down(surround):
    song = song_of(surround, channels=(4, 1))
    torch.testing.assert_close(whole(song, 48000, 2)[:, 0], torch.tensor([0.5, 0.2]))
    song = song_of(surround, downmix=True)
    torch.testing.assert_close(whole(song, 48000, 2)[:, 0], torch.tensor([0.35, 0.35]))
    assert song.channels == 1
    with pytest.raises(InputError, match=r"channels must be from 0 to 5, got 6"):
        _ = song_of(surround, channels=(6,)).scan


def test_nan_in_a_file_is_named_or_made_zero(tmp_path):
    audio = torch.full((4410,), 0.25)
    audio[441] = torch.nan
    audio[1000] = torch.inf
    path = tmp_path / "nan.wav"
    soundfile.write(path, audio.numpy(), 44100, subtype="FLOAT")
    text = r"nan.wav has 2 NaN or Inf values, the first at sample 441 \(0.010 s\)"
    with pytest.raises(InputError, match=text):
        _ = song_of(path).scan
    song = song_of(path, nonfinite="zero")
    read = whole(song, 44100, 1)[0]
    assert read[441] == read[1000] == 0
    assert int((read == 0.25).sum()) == 4408


def test_empty_and_missing_files(tmp_path):
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", torch.zeros(0, 2).numpy(), 44100)
    for name in ("empty.wav", "none.wav", "missing.wav"):
        with pytest.raises(AudioFileError, match=name):
            _ = song_of(tmp_path / name).scan


# ---- files and names ----------------------------------------------------------------

NAMES = {"track": "絆 #1 100%", "stem": "bass", "ext": "wav", "trackext": "mp3"}
NAMES["model"] = "htdemucs"
SILENCE = torch.zeros(1, 4410)


def test_find_files_in_folders_patterns_and_twice(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ("a.wav", "b/c.flac", "b/deep/d.ogg"):
        save_audio(tmp_path / name, SILENCE, 44100)
    (tmp_path / "b" / "notes.txt").write_text("no music")
    found, missing, _ = find_files(
        [tmp_path / "a.wav", tmp_path, tmp_path / "*.wav", tmp_path / "none.wav"]
    )
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["a.wav", "b/c.flac", "b/deep/d.ogg"]
    assert missing == [tmp_path / "none.wav"]
    # a file that exists is taken as named, even if its name looks like a pattern
    save_audio(tmp_path / "odd [1].wav", SILENCE, 44100)
    assert find_files([tmp_path / "odd [1].wav"])[0] == [tmp_path / "odd [1].wav"]


def test_an_empty_name_is_not_the_folder_we_are_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_audio(tmp_path / "a.wav", SILENCE, 44100)
    with pytest.raises(InputError, match="empty name"):
        find_files(["a.wav", ""])
    assert find_files(["."])[0] == [Path("a.wav")]


def test_track_names_differ():
    files = ["x/a.wav", "y/a.wav", "y/a.mp3", "z/B.wav", "z/song.stem.mp4"]
    names = track_names([Path(f) for f in files])
    expected = ["a (x)", "a (y) (wav)", "a (y) (mp3)", "B", "song"]
    assert list(names.values()) == expected


def test_duplicates_run_once_and_links_to_them_too(tmp_path):
    song = tmp_path / "a.wav"
    save_audio(song, SILENCE, 44100)
    found = find_files([song, song, tmp_path, tmp_path / "." / "a.wav"])
    assert found == ([song], [], {})


def test_stems_of_earlier_separations_are_no_songs(tmp_path):
    song, first = tmp_path / "a.wav", tmp_path / "separated" / "a"
    stem, other = first / "bass.wav", tmp_path / "out" / "bass" / "a.wav"
    for path in (song, stem, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_audio(path, SILENCE, 44100)
    (first / "separation.json").write_text("{}")
    out_dir = tmp_path / "out"
    left_out = {"stems of earlier separations": [other, stem]}
    assert find_files([tmp_path], out_dir) == ([song], [], left_out)
    # What the user names is taken, be it a stem or its own folder.
    assert find_files([stem, first], out_dir)[0] == [stem]
    assert find_files([out_dir], out_dir)[0] == [other]


def test_linked_albums_are_entered_and_circles_end(tmp_path):
    songs, links = tmp_path / "real" / "album", tmp_path / "links"
    songs.mkdir(parents=True)
    links.mkdir()
    save_audio(songs / "a.wav", SILENCE, 44100)
    save_audio(links / "b.wav", SILENCE, 44100)
    (links / "album").symlink_to(songs, target_is_directory=True)
    (songs / "back").symlink_to(links, target_is_directory=True)
    (songs / "self").symlink_to(songs, target_is_directory=True)
    found = [links / "album" / "a.wav", links / "b.wav"]
    assert find_files([links]) == (found, [], {})
    # Where both are found, a folder has its own name and not that of the link.
    found = find_files([tmp_path])
    assert found == ([links / "b.wav", songs / "a.wav"], [], {})


def test_what_a_search_leaves_out_is_named(tmp_path, monkeypatch):
    save_audio(tmp_path / "a.wav", SILENCE, 44100)
    for folder in (".Trash", "locked", "b.wav"):
        (tmp_path / folder).mkdir()
        save_audio(tmp_path / folder / "old.flac", SILENCE, 44100)
    (tmp_path / "._a.wav").write_bytes(b"\0\5\26\7")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "annex.flac").symlink_to(tmp_path / "not here.flac")
    (tmp_path / "loop.mp3").symlink_to(tmp_path / "loop.mp3")
    listed = Path.iterdir

    def iterdir(folder):
        if folder.name == "locked":
            raise PermissionError("no right to list it")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found, missing, left_out = find_files([tmp_path])
    assert found == [tmp_path / "a.wav", tmp_path / "b.wav" / "old.flac"]
    assert missing == [tmp_path / "annex.flac", tmp_path / "loop.mp3"]
    assert left_out == {
        "hidden files and folders": [tmp_path / ".Trash", tmp_path / "._a.wav"],
        "folders that cannot be read": [tmp_path / "locked"],
    }
    # What the user names is searched.
    assert len(find_files([tmp_path / ".Trash"])[0]) == 1
    assert find_files([tmp_path / "locked"])[1] == [tmp_path / "locked"]


def test_folders_behind_a_pattern_are_searched(tmp_path):
    (tmp_path / "album 1").mkdir()
    save_audio(tmp_path / "album 1" / "a.wav", SILENCE, 44100)
    save_audio(tmp_path / "album 2.wav", SILENCE, 44100)
    (tmp_path / "album 3.txt").touch()
    found = [tmp_path / "album 1" / "a.wav", tmp_path / "album 2.wav"]
    assert find_files([tmp_path / "album*"]) == (found, [], {})


@pytest.mark.parametrize("suffix", READABLE_SUFFIXES)
def test_every_kind_of_music_is_found(tmp_path, suffix):
    path = tmp_path / f"a{suffix.upper()}"
    path.touch()
    assert find_files([tmp_path])[0] == [path]


def test_names_of_a_template():
    path = fill("{model}/{track}.{trackext}/{stem}.{ext}", **NAMES)
    assert path.as_posix() == "htdemucs/絆 #1 100%.mp3/bass.wav"


@pytest.mark.parametrize(
    "template",
    ["{track}.wav", "{stem}{x}", "/a/{stem}", "{stem", "../{stem}", "a/../{stem}"],
)
def test_bad_templates(template):
    with pytest.raises(InputError, match=r"relative path with \{stem\}"):
        fill(template, **NAMES)


def test_what_is_finished(tmp_path):
    refuse, skip, overwrite = (
        song_of(tmp_path / "a.wav", exists=exists)
        for exists in ("refuse", "skip", "overwrite")
    )
    assert not any(song.is_finished() for song in (refuse, skip, overwrite))
    refuse.outputs["bass"].touch()
    assert (
        not skip.is_finished()
    )  # separation.json, the sign of completeness, is missing
    with pytest.raises(AudioFileError, match=r"bass.wav exists"):
        refuse.is_finished()
    refuse.record.touch()
    with pytest.raises(AudioFileError, match="unknown origin"):
        skip.is_finished()
    assert not overwrite.is_finished()


@pytest.mark.parametrize("exists", ["refuse", "skip", "overwrite"])
def test_a_stem_never_replaces_its_song(tmp_path, exists):
    save_audio(tmp_path / "bass.wav", SILENCE, 44100)
    with pytest.raises(AudioFileError, match=r"bass.wav is the song itself"):
        song_of(tmp_path / "bass.wav", exists=exists).is_finished()


@pytest.mark.parametrize("name", ["...wav", "..wav", ". .wav"])
def test_a_song_of_dots_stays_in_the_output_folder(tmp_path, name):
    song = Song(
        song_of(tmp_path / name).model,
        tmp_path / name,
        tmp_path / "out",
        FileConfig(),
        SeparateConfig(),
    )
    for path in (*song.outputs.values(), song.record):
        assert path.resolve().parent.parent == (tmp_path / "out").resolve()


def test_the_record_is_json_and_stems_end_in_their_format(tmp_path):
    model, path = song_of(tmp_path / "a.wav").model, tmp_path / "a.wav"
    fixed = FileConfig(template="{track}/{stem}.wav")
    song = Song(model, path, tmp_path, fixed, SeparateConfig())
    assert song.record == tmp_path / "a" / "separation.json"
    for template in ("{track}/{stem}.wav", "{track}/{stem}"):
        files = FileConfig(template=template, ext="flac")
        with pytest.raises(InputError, match="ext is flac"):
            Song(model, path, tmp_path, files, SeparateConfig())
