"""How a command ends: by a signal, on a full disk; names of flags and of files."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple

import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.cli import commands as cli
from mssedu.cli.console import visible
from mssedu.cli.separate import show_plan
from mssedu.separation.config import FileConfig, SeparateConfig
from mssedu.separation.song import Song
from mssedu.weights.checkpoint import load_checkpoint

Usage = namedtuple("Usage", "total used free")


def run(*args):
    return cli.main([str(arg) for arg in args])


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    save_audio(path, 0.1 * torch.rand(2, 8000), 44100)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="other signals on Windows")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_separation_without_a_trace(tmp_path, model, number):
    song, out = tmp_path / "long.wav", tmp_path / "out"
    save_audio(song, 0.1 * torch.rand(2, 44100 * 600), 44100)
    code = "from mssedu.cli.commands import main; import sys; sys.exit(main())"
    words = ["separate", song, "-m", model, "-o", out, "--clip", "clamp"]
    command = [sys.executable, "-c", code, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen(command, **pipes)
    until = time.monotonic() + 120
    while not [*out.glob("long/.mssedu-*")] and time.monotonic() < until:
        time.sleep(0.01)
    started.send_signal(number)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert "to continue: the same command with --exists skip" in errors
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform == "win32", reason="other signals on Windows")
def test_the_handler_of_sigterm_is_put_back(monkeypatch):
    def terminated(segment: float = 10.0) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "doctor", terminated)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        run("doctor")
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_elsewhere_signals_are_left_alone(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run("--help")))
    thread.start()
    thread.join()
    assert codes == [0]


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with cli.orderly_end():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


# ---- a full disk --------------------------------------------------------------------


def test_a_full_disk_is_one_line_for_each_song(
    song, model, tmp_path, capsys, monkeypatch
):
    usage = Usage(10**9, 0, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert run("separate", song, "-m", model, "-o", tmp_path / "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "the disk is too full: the stems of song need" in lines[0]
    assert run("demo", "-o", tmp_path / "demo") == 1
    assert "the files of a demo need 150.0 MB" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_the_plan_shows_the_room(song, model, tmp_path, capsys):
    network = load_checkpoint(model)
    planned = Song(network, song, tmp_path, FileConfig(), SeparateConfig())
    show_plan(planned)
    assert "on the disk" in capsys.readouterr().out.splitlines()[0]


def test_what_a_killed_separation_left_is_removed(song, model, tmp_path):
    left = tmp_path / "out" / "another song" / ".mssedu-0123abcd.tmp.wav"
    left.parent.mkdir(parents=True)
    left.touch()
    assert run("separate", song, "-m", model, "-o", tmp_path / "out") == 0
    assert not left.exists()


# ---- flags and names ----------------------------------------------------------------

WITH_OUTPUT = ("separate", "train", "evaluate", "analyze", "demo")


@pytest.mark.parametrize("command", WITH_OUTPUT)
def test_every_command_has_one_name_for_its_output_folder(command, capsys):
    with pytest.raises(SystemExit):
        run(command, "--help")
    text = capsys.readouterr().out
    assert re.search(r"-o \S+, --out-dir \S+", text)


@pytest.mark.parametrize(
    ("command", "old"), [("demo", "--folder"), ("evaluate", "--save")]
)
@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_flags_of_before_say_their_new_name(command, old, form, tmp_path, capsys):
    (tmp_path / "file").touch()
    words = form.format(old, tmp_path / "file").split()
    data = ["data"] if command == "evaluate" else []
    assert run(command, *data, *words) == 2  # a file is no folder
    errors = capsys.readouterr().err
    assert f"{old} is now named --out-dir, or -o" in errors
    assert "file" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31m.wav", r"a\x1b[31m.wav"),
        ("caf\udce9", r"caf\udce9"),
        ("two\nlines\t絆 😄", "two\nlines\t絆 😄"),
    ],
)
def test_codes_for_the_terminal_are_shown_and_not_obeyed(text, shown):
    assert visible(text) == shown
