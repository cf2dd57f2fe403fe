"""Headers of many files: exact, and from the index only if nothing has changed."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mssedu.audio import containers
from mssedu.audio.tensors import audio_info, save_audio
from mssedu.data import headers
from mssedu.data.headers import read_headers
from mssedu.data.loading import load_dataset
from mssedu.errors import AudioFileError, InputError, MssEduWarning

RATE = 8000


@pytest.fixture(autouse=True)
def _own_index(tmp_path, monkeypatch):
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path / "index"))
    monkeypatch.setattr(headers, "RECENT", 0)


@pytest.fixture
def reads(monkeypatch):
    """The files that are truly read, in order."""
    read = []

    def spied(path):
        read.append(Path(path).name)
        return containers.probe_streams(path)

    monkeypatch.setattr(headers, "probe_streams", spied)
    return read


def sound(path: Path, samples: int = 4000, channels: int = 2) -> Path:
    save_audio(path, torch.rand(channels, samples) - 0.5, RATE)
    return path


def index() -> dict:
    return json.loads((headers.cache_folder() / headers.FILE).read_text("utf-8"))


def test_headers_are_those_of_audio_info(tmp_path):
    paths = [sound(tmp_path / f"a{s}") for s in (".wav", ".flac", ".ogg", ".mp3")]
    for _ in range(2):  # read, then out of the index
        found = read_headers(paths)
        for path in paths:
            assert found.info(path) == audio_info(path)
    relative = Path(os.path.relpath(paths[0]))
    assert read_headers([relative]).info(relative) == audio_info(paths[0])


def test_a_file_is_read_once(tmp_path, reads):
    paths = [sound(tmp_path / f"{name}.wav") for name in "abc"]
    steps = []
    for _ in range(3):
        read_headers([*paths, paths[0]], progress=lambda *step: steps.append(step))
    assert sorted(reads) == ["a.wav", "b.wav", "c.wav"]
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("how", ["content", "time", "swap"])
def test_a_file_that_changed_is_read_again(tmp_path, reads, how):
    path = sound(tmp_path / "a.wav")
    read_headers([path])
    if how == "content":
        sound(path, 5000)
    elif how == "time":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    else:  # another file of the same size and time
        stat = path.stat()
        other = sound(tmp_path / "b.wav", 8000, channels=1)
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert other.stat().st_size == stat.st_size
        other.replace(path)
    assert read_headers([path]).info(path) == audio_info(path)
    assert reads == 2 * ["a.wav"]


def test_what_has_just_changed_is_not_yet_in_the_index(tmp_path, reads, monkeypatch):
    """It may change again within one tick of the clock of the file system."""
    monkeypatch.setattr(headers, "RECENT", 3600 * 10**9)
    path = sound(tmp_path / "a.wav")
    for _ in range(2):
        assert read_headers([path]).info(path).samples == 4000
    assert reads == 2 * ["a.wav"]


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = sound(tmp_path / "a.wav")

    def slow(file):
        rows = containers.probe_streams(file)
        sound(path, 5000)
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(headers, "probe_streams", slow)
        read_headers([path])
    assert read_headers([path]).info(path).samples == 5000


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"files": 3}', "\0" * 99, '{"versions": [], "files": {}}'],
)
def test_a_damaged_index_is_made_again(tmp_path, content):
    path = sound(tmp_path / "a.wav")
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / headers.FILE).write_text(content)
    assert read_headers([path]).info(path) == audio_info(path)
    assert str(path) in index()["files"]


@pytest.mark.parametrize("entry", [None, 3, [], [[1, 2, 3], []], "a"])
def test_a_damaged_entry_is_read_again(tmp_path, reads, entry):
    path = sound(tmp_path / "a.wav")
    read_headers([path])
    document = index()
    document["files"][str(path)] = entry
    (tmp_path / "index" / headers.FILE).write_text(json.dumps(document))
    assert read_headers([path]).info(path) == audio_info(path)
    assert reads == 2 * ["a.wav"]


def test_another_version_reads_again(tmp_path, reads, monkeypatch):
    path = sound(tmp_path / "a.wav")
    read_headers([path])
    monkeypatch.setattr(headers, "VERSION", headers.VERSION + 1)
    read_headers([path])
    assert reads == 2 * ["a.wav"]


def test_writers_at_the_same_time_leave_a_whole_index(tmp_path):
    paths = [sound(tmp_path / f"{n}.wav", 100) for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_headers, [[path] for path in paths]))
    assert index()["files"].keys() <= {str(path) for path in paths}
    read_headers(paths)
    assert index()["files"].keys() == {str(path) for path in paths}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MSSEDU_CACHE", str(tmp_path / "file"))
    path = sound(tmp_path / "a.wav")
    assert read_headers([path]).info(path) == audio_info(path)


def test_errors_come_where_a_header_is_asked_for(tmp_path):
    good, bad = sound(tmp_path / "a.wav"), tmp_path / "b.mp3"
    bad.write_bytes(b"no sound" * 99)
    found = read_headers([good, bad, tmp_path / "none.wav"])
    assert found.info(good).samples == 4000
    with pytest.raises(AudioFileError, match=r"b\.mp3"):
        found.info(bad)
    with pytest.raises(AudioFileError, match=r"none\.wav does not exist"):
        found.info(tmp_path / "none.wav")
    with pytest.raises(InputError, match="stream=1"):
        found.info(good, 1)


def test_damage_is_told_at_each_time(tmp_path):
    path = sound(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(MssEduWarning) as expected:
        info = audio_info(path)
    for _ in range(2):
        found = read_headers([path])
        with pytest.warns(MssEduWarning) as warned:
            assert found.info(path) == info
        assert [str(w.message) for w in warned] == [str(w.message) for w in expected]


MUSDB = Path(__file__).resolve().parents[3] / "shared" / "data" / "musdb18-7s"


@pytest.mark.skipif(not MUSDB.is_dir(), reason="no MUSDB18-7s beside the repository")
def test_all_streams_of_musdb18_in_one_pass(reads):
    paths = sorted(MUSDB.glob("test/*.stem.mp4"))[:4]
    found = read_headers(paths)
    for path in paths:
        for stream in range(5):
            assert found.info(path, stream) == audio_info(path, stream=stream)
    assert sorted(reads) == sorted(path.name for path in paths)
    again = read_headers(paths)
    assert again.info(paths[0], 4) == found.info(paths[0], 4)
    assert len(reads) == 4


def test_load_dataset_reads_each_file_once(tmp_path, reads):
    for song in ("one", "two"):
        (tmp_path / "set" / song).mkdir(parents=True)
        for stem in ("vocals", "drums"):
            sound(tmp_path / "set" / song / f"{stem}.wav")
    for _ in range(2):
        assert len(load_dataset(tmp_path / "set")) == 2
    assert sorted(reads) == 2 * ["drums.wav"] + 2 * ["vocals.wav"]
