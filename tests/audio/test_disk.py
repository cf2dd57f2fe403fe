"""Room on the disk, temporary files, names that a disk can hold, forms of JSON."""

import errno
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from mssedu.audio import files
from mssedu.audio.disk import (
    cache_folder,
    check_file,
    check_folder,
    check_room,
    free_bytes,
    room_for,
    size_text,
)
from mssedu.audio.files import (
    Staged,
    misfit,
    sweep,
    write_bytes,
    write_json,
    write_text,
)
from mssedu.audio.names import check_creatable, disk_name, path_inside
from mssedu.audio.writer import AudioWriter, file_bytes
from mssedu.errors import DiskError, InputError
from tests.audio.sounds import noise

Usage = namedtuple("Usage", "total used free")
FULL = OSError(errno.ENOSPC, "No space left on device")
LEFT = ".mssedu-0123abcd.tmp.wav"


@pytest.fixture
def disk(monkeypatch):
    """Sets the free space that every disk reports."""

    def set_free(free, total=10**12):
        usage = Usage(total, total - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    return set_free


# ---- room ---------------------------------------------------------------------------


def test_too_little_room_says_what_is_needed_and_what_is_free(disk, tmp_path):
    disk(3_000_000)
    check_room(tmp_path, 3_000_000, "the stems of Sodium")
    text = r"new: the disk is too full: the stems of Sodium need 3\.1 MB, and 3\.0 MB"
    with pytest.raises(DiskError, match=text):
        check_room(tmp_path / "new", 3_000_001, "the stems of Sodium")


def test_a_file_system_that_does_not_say_stops_nobody(disk, monkeypatch, tmp_path):
    disk(0, total=0)
    assert free_bytes(tmp_path) is None
    check_room(tmp_path, 1e30, "x")

    def unknown(folder):
        raise OSError(errno.ENOSYS, "not supported")

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    check_room(tmp_path, 1e30, "x")


def test_a_disk_that_fills_up_is_told_with_the_need(disk, tmp_path):
    disk(5_000_000)
    text = r"No space left on device\. The disk is full: they need 4\.0 MB in all, and"
    with pytest.raises(DiskError, match=text), room_for(tmp_path, 4_000_000, "they"):
        raise FULL
    other = OSError(errno.EACCES, "Permission denied")
    with pytest.raises(OSError, match="denied"), room_for(tmp_path, 1, "they"):
        raise other


def test_a_full_disk_leaves_the_old_file(monkeypatch, tmp_path):
    path = tmp_path / "scores.json"
    write_text(path, "old")

    def full(*_):
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskError, match=r"scores\.json: No space left.*disk is full"):
        write_bytes(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]
    assert path.read_text() == "old"


def test_libsndfile_does_not_say_full_but_the_disk_does(disk, monkeypatch, tmp_path):
    def failing(*_):
        raise sf.LibsndfileError(2)  # "System error."

    monkeypatch.setattr(sf.SoundFile, "write", failing)
    disk(100_000)
    writer = AudioWriter(tmp_path / "a.wav", 44100, 2, 70_000)
    with pytest.raises(DiskError, match=r"a\.wav: .*disk is full"), writer:
        writer.write(noise(2, 70_000))
    assert not [*tmp_path.iterdir()]


def test_sizes_are_never_too_small():
    shown = [size_text(n) for n in (0, 1, 1000, 1001, 999_999, 1e6, 1_100_001, 2.5e9)]
    kilobytes = ["0 kB", "1 kB", "1 kB", "2 kB", "1000 kB"]
    assert shown == [*kilobytes, "1.0 MB", "1.2 MB", "2.5 GB"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("subtype", ["int16", "int24", "float32"])
@pytest.mark.parametrize(("channels", "samples"), [(1, 1), (2, 70_000)])
def test_no_file_is_larger_than_announced(tmp_path, suffix, subtype, channels, samples):
    if (suffix, subtype) == (".flac", "float32"):
        return
    path, form = tmp_path / f"a{suffix}", (44100, channels, samples)
    with AudioWriter(path, *form, subtype=subtype) as writer:
        writer.write(noise(channels, samples))
    size = file_bytes(suffix, *form, subtype=subtype)
    assert path.stat().st_size <= size
    if suffix == ".wav":  # exact but for the header
        assert path.stat().st_size > size - 10_000


# ---- temporary files ----------------------------------------------------------------


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    kept = (".a.tmp.wav", ".mssedu-12.tmp", "mssedu-0123abcd.tmp", ".mssedu-demo")
    for name in (LEFT, ".mssedu-ffffffff.tmp", *kept):
        (tmp_path / name).write_text("x")
    (tmp_path / ".mssedu-00000000.tmp").mkdir()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / LEFT).write_text("x")
    write_text(tmp_path / "new.txt", "x")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*kept, ".mssedu-00000000.tmp", "new.txt", "below"}
    assert (tmp_path / "below" / LEFT).exists()
    sweep(tmp_path, below=True)
    assert not (tmp_path / "below" / LEFT).exists()
    sweep(tmp_path / "missing")


WRITE = """
import os, sys
from mssedu.audio.files import Staged
with Staged() as staged:
    staged.add(sys.argv[1]).write_text("all of it")
    print("begun", flush=True)
    if sys.stdin.readline() == "die\\n":
        os.kill(os.getpid(), 9)
"""


def start(path):
    words = [sys.executable, "-c", WRITE, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, **pipes)
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="a process kills itself")
def test_processes_do_not_remove_the_files_of_each_other(tmp_path):
    path = tmp_path / "a.txt"
    lives, dies = start(path), start(path)
    dies.communicate("die\n", timeout=30)
    assert len([*tmp_path.iterdir()]) == 2
    write_text(tmp_path / "b.txt", "x")
    assert len([*tmp_path.iterdir()]) == 2  # b.txt, and the file of the one that lives
    lives.communicate("end\n", timeout=30)
    assert lives.returncode == 0
    assert path.read_text() == "all of it"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_without_locks_an_old_file_only_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "fcntl", None)
    old, new = tmp_path / LEFT, tmp_path / ".mssedu-ffffffff.tmp"
    old.touch()
    os.utime(old, (0, 0))
    new.touch()
    write_text(tmp_path / "a.txt", "x")
    assert {path.name for path in tmp_path.iterdir()} == {new.name, "a.txt"}


def test_if_one_file_cannot_get_its_name_none_does(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]

    def stage():
        with Staged() as staged:
            for path in paths:
                staged.add(path).write_text("x")
            paths[2].mkdir()  # a file cannot replace it

    with pytest.raises(OSError, match=r"c\.txt"):
        stage()
    assert [*tmp_path.iterdir()] == [paths[2]]


# ---- names --------------------------------------------------------------------------

ODD = st.text(st.characters(blacklist_characters="/"), min_size=1, max_size=8)
PARTS = st.lists(ODD | st.sampled_from(["..", ".", "a", ""]), min_size=1, max_size=5)


@given(PARTS, st.booleans())
def test_a_name_leads_to_a_path_in_the_folder_or_to_an_error(parts, absolute):
    name = "/" * absolute + "/".join(parts)
    folder = Path("out/of/here").absolute()
    try:
        path = path_inside(folder, name)
    except InputError:
        return
    whole = Path(os.path.normpath(path))
    assert whole != folder
    assert whole.is_relative_to(folder)


@pytest.mark.parametrize("name", ["../a.wav", "a/../../b", "/etc/a", "", ".", "a\0b"])
def test_names_that_lead_out_of_a_folder(name):
    with pytest.raises(InputError, match="is no name of a file in out"):
        path_inside("out", name)


def test_a_link_in_the_folder_is_the_users_own(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "song").symlink_to(tmp_path / "disk")
    path = path_inside(tmp_path / "out", "song/bass.wav")
    check_creatable(path)
    assert not [*(tmp_path / "disk").iterdir()]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", f"{'y' * 300}/a.wav"])
def test_names_that_the_disk_does_not_take(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot be the name .* shorter name"):
        check_creatable(tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_a_file_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "a.wav").write_text("old")
    check_creatable(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_text() == "old"
    with pytest.raises(OSError, match=r"a\.wav"):  # it is no folder
        check_creatable(tmp_path / "a.wav" / "b.wav")


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    check_folder(tmp_path / "a" / "b")
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*Not a directory"):
        check_folder(tmp_path / "file" / "a")
    check_file(tmp_path / "a" / "b.json")
    check_file(tmp_path / "file")
    with pytest.raises(InputError, match="is a folder"):
        check_file(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="nothing can be written there"):
        check_folder(tmp_path / "a")
    with pytest.raises(InputError, match="nothing can be written there"):
        check_file(tmp_path / "a")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    assert disk_name(path) == os.fsencode(path)
    assert disk_name(Path("絆.wav")) == Path("絆.wav")
    with AudioWriter(path, 44100, 1, 10) as writer:
        writer.write(noise(1, 10))
    assert path.stat().st_size > 0
    write_json(tmp_path / "a.json", {"input": str(path)})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"input": str(path)}
    write_text(tmp_path / "a.html", path.name)
    assert (tmp_path / "a.html").read_text("utf-8") == "caf?.wav"


# ---- forms of JSON ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "form", "wrong"),
    [
        ({"a": {"b": [1, "x"]}}, {"a": {"b": [float]}}, "a.b.1 is not a finite number"),
        ({"a": 1}, {"b": int}, "b is missing"),
        ({"a": {}}, {"a": {"b": int}}, "a.b is missing"),
        ([], {"a": int}, "it is not an object"),
        ({"a": "x"}, {"a": [str]}, "a is not a list"),
        ({"a": math.nan}, {str: float}, "a is not a finite number"),
        ({"a": True}, {"a": int}, "a is not a whole number"),
        ({"a": 1.5}, {"a": int}, "a is not a whole number"),
        ({"a": 1}, {"a": bool}, "a is not true or false"),
        ({"a": 1}, {"a": (str, None)}, "a is not a text"),
        ({"a": 1}, {"a": None}, "a is not null"),
        ({"a": 1}, {"a": dict}, "a is not an object"),
    ],
)
def test_the_first_place_that_is_wrong(document, form, wrong):
    assert misfit(document, form).startswith(wrong)


def test_documents_that_have_their_form():
    form = {"a": [float], "b": (str, None), "c": {str: bool}, "d": object}
    for b in ("x", None):
        document = {"a": [1, 2.5], "b": b, "c": {"x": True}, "d": [{}], "more": 1}
        assert misfit(document, form) is None
    assert misfit({}, {str: int}) is None


def test_the_cache_is_where_the_user_or_the_platform_says(monkeypatch):
    monkeypatch.setenv("MSSEDU_CACHE", "/a/b")
    assert cache_folder() == Path("/a/b")
    monkeypatch.delenv("MSSEDU_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/mssedu")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert re.search(r"\.cache.mssedu$", os.fspath(cache_folder()))
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/d")
    assert cache_folder() == Path("/d/mssedu")
