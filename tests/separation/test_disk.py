"""Full disks, odd names and interrupted work: all stems of a song, or none."""

import errno
import json
import os
import shutil
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssedu.audio.tensors import load_audio, save_audio
from mssedu.errors import AudioFileError, DiskError, InputError, MssEduError
from mssedu.separation.config import FileConfig, SeparateConfig
from mssedu.separation.files import separate_file, separate_song
from mssedu.separation.song import Song, fill, find_files, track_names
from tests.separation.test_files import Halves, tone

Usage = namedtuple("Usage", "total used free")
NAMES = {"voice.wav", "rest.wav", "separation.json"}


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    save_audio(path, tone(seconds=0.1), 44100)
    return path


class Counted(Halves):
    """Counts its calls; ends the process where it is told to."""

    calls = 0

    def forward(self, mixture):
        self.calls += 1
        return super().forward(mixture)


def content(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


# ---- a full disk --------------------------------------------------------------------


def song_of(path, out_dir, **options):
    files = FileConfig(**options)
    return Song(Halves(), path, out_dir, files, SeparateConfig())


def test_too_little_room_is_told_before_the_model_runs(song, tmp_path, monkeypatch):
    need = song_of(song, tmp_path / "out").n_bytes
    usage = Usage(10**9, 0, need - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    model = Counted()
    text = r"out/song: the disk is too full: the stems of song need .* are free"
    with pytest.raises(DiskError, match=text):
        separate_file(model, song, tmp_path / "out")
    assert model.calls == 0
    usage = Usage(10**9, 0, need)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    separate_file(model, song, tmp_path / "out")
    assert content(tmp_path / "out") == NAMES


@pytest.mark.parametrize("clip", ["rescale", "clamp"])
@pytest.mark.parametrize("ext", ["wav", "flac", "mp3", "ogg"])
def test_the_announced_room_is_enough(song, tmp_path, clip, ext):
    announced = song_of(song, tmp_path / "out", ext=ext, clip=clip).n_bytes
    separate_file(Halves(), song, tmp_path / "out", ext=ext, clip=clip)
    files = (tmp_path / "out" / "song").iterdir()
    used = sum(path.stat().st_size for path in files)
    waiting = 2 * 2 * 4 * 4410 if clip == "rescale" else 0  # stems, channels, float32
    assert used + waiting <= announced


def test_a_disk_that_fills_up_leaves_nothing(song, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sf.SoundFile, "write", full)
    text = r"out/song: No space left.*disk is full: the stems of song need .* in all"
    with pytest.raises(DiskError, match=text):
        separate_file(Halves(), song, tmp_path / "out")
    assert content(tmp_path / "out") == set()


# ---- all or none --------------------------------------------------------------------


def test_if_one_stem_cannot_get_its_name_none_has_it(song, tmp_path, monkeypatch):
    replace = Path.replace

    def failing(self, target):
        if target.name == "rest.wav":
            raise OSError(errno.EIO, "Input/output error", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output error"):
        separate_file(Halves(), song, tmp_path / "out")
    assert content(tmp_path / "out") == set()
    monkeypatch.undo()
    assert separate_file(Halves(), song, tmp_path / "out", exists="skip")
    assert content(tmp_path / "out") == NAMES
    assert separate_file(Halves(), song, tmp_path / "out", exists="skip") is None


def test_a_failed_repetition_leaves_the_old_stems_complete(song, tmp_path):
    separate_file(Halves(), song, tmp_path / "out")
    old = {path: path.read_bytes() for path in (tmp_path / "out" / "song").iterdir()}

    class Broken(Halves):
        def forward(self, mixture):
            raise MssEduError("the model stops")

    with pytest.raises(MssEduError, match="stops"):
        separate_file(Broken(), song, tmp_path / "out", exists="overwrite")
    assert {path: path.read_bytes() for path in old} == old
    assert content(tmp_path / "out") == NAMES
    separate_file(Halves(gain=0.5), song, tmp_path / "out", exists="overwrite")
    voice = load_audio(tmp_path / "out" / "song" / "voice.wav")[0]
    assert voice.abs().max() > 0.2


# ---- names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stem", ["../../x", "../x", "a/../../../x", "a\0b", "x" * 300, "y" * 300 + "/a"]
)
def test_a_stem_of_a_checkpoint_stays_in_the_output_folder(song, tmp_path, stem):
    model = Counted()
    model.config.stems = ("voice", stem)
    with pytest.raises(InputError, match=r"is no name of a file in|cannot be the name"):
        separate_file(model, song, tmp_path / "sep" / "out" / "deep")
    assert model.calls == 0
    assert content(tmp_path) == {"song.wav"}


@pytest.mark.parametrize(
    "pair", [("Vocals", "vocals"), ("e\u0301", "é"), ("STRASSE", "straße")]
)
def test_two_stems_never_share_a_file_on_any_disk(song, tmp_path, pair):
    model = Halves()
    model.config.stems = pair
    with pytest.raises(InputError, match="would be one file"):
        separate_file(model, song, tmp_path / "out")


@pytest.mark.parametrize("track", ["../song", "a/../../b", "/etc/song"])
def test_a_name_of_a_track_stays_in_the_output_folder(song, tmp_path, track):
    with pytest.raises(InputError, match="is no name of a file in"):
        separate_file(Halves(), song, tmp_path / "out", track=track)


@pytest.mark.parametrize(
    "template",
    [
        "{stem.x}",
        "{stem[0]}",
        "{stem:>9999999999}",
        "{stem!r}",
        "{}",
        "{0}/{stem}",
        "{track}{{stem}}.{ext}",
    ],
)
def test_templates_that_are_more_than_names(template):
    with pytest.raises(InputError, match="may contain"):
        fill(template, track="a", stem="b", ext="wav")
    assert fill("{{{stem}}}", stem="b").as_posix() == "{b}"


MARKS = ["\n", "\t", "\x1b[2J", "\u202e", "😄", "e\u0301", "..", "%s", "{x}", "[red]"]
BYTES = st.binary(min_size=1, max_size=40) | st.binary(min_size=240, max_size=251)
TEXTS = st.lists(st.sampled_from([*MARKS, "a", " ", "."]), min_size=1, max_size=6)


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux only")
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(BYTES | TEXTS.map(lambda t: "".join(t).encode()), min_size=1, max_size=3)
)
def test_songs_of_any_name(names):
    """Each song of a folder is separated into the output folder, or told by name."""
    with tempfile.TemporaryDirectory() as folder:
        songs, out_dir = Path(folder, "songs"), Path(folder, "out")
        songs.mkdir()
        save_audio(Path(folder, "model.wav"), tone(seconds=0.02), 44100)
        for name in names:
            name = name.replace(b"/", b"_").replace(b"\0", b"_")[:251] + b".wav"
            shutil.copy(Path(folder, "model.wav"), Path(songs, os.fsdecode(name)))
        found, *_ = find_files([songs], out_dir)
        hidden = [path for path in songs.iterdir() if path.name.startswith(".")]
        assert len(found) + len(hidden) == len(list(songs.iterdir()))
        model, files, n_done = Halves(), FileConfig(), 0
        for path, track in track_names(found).items():
            try:
                song = Song(model, path, out_dir, files, SeparateConfig(), track)
                done = separate_song(model, song)
            except MssEduError:
                continue
            record = json.loads(song.record.read_text("utf-8"))
            assert record["track"] == done.track
            n_done += 1
        assert len(list(out_dir.rglob("separation.json"))) == n_done
        assert {path.name for path in Path(folder).iterdir()} <= {
            "songs",
            "out",
            "model.wav",
        }
        if all(len(name) < 200 for name in names):
            assert n_done == len(found)


# ---- records ------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    save_audio(folder / "song.wav", tone(seconds=0.02), 44100)
    separate_file(Halves(), folder / "song.wav", folder / "out")
    return folder


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_record_means_finished_or_an_error(finished, data):
    record = finished / "out" / "song" / "separation.json"
    whole = record.read_bytes()
    document = json.loads(whole)
    key = data.draw(st.sampled_from([*document, "settings"]))
    document[key] = data.draw(JSON)
    text = data.draw(st.sampled_from([json.dumps(document), json.dumps(document[key])]))
    try:
        record.write_text(data.draw(st.sampled_from([text, text[:-5], "[" * 99999])))
        separate_file(Halves(), finished / "song.wav", finished / "out", exists="skip")
    except AudioFileError:
        pass
    finally:
        record.write_bytes(whole)
