"""What the terminal shows."""

import io
import os
import subprocess
import sys
import warnings

import pytest
from torch import nn

from mssedu.cli import console
from mssedu.errors import MssEduWarning


def test_failures_are_shown_as_they_are(capsys):
    path = "/a very long folder name/" * 8 + "file [x].wav"
    console.report_failure("failed", path)
    assert path in capsys.readouterr().err


# ---- progress -----------------------------------------------------------------------


class Terminal(io.StringIO):
    """What a terminal is sent."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """stderr as a terminal; what it was sent."""
    sent = Terminal()
    shown = console.Output(file=sent, force_terminal=True, width=120)
    monkeypatch.setattr(console, "err", shown)
    monkeypatch.setenv("TERM", "xterm")
    return sent


@pytest.fixture
def clock(monkeypatch):
    """Time as the test sets it: clock.now, in seconds."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(console.time, "monotonic", lambda: Clock.now)
    return Clock


def test_on_a_terminal_a_bar_shows_step_loss_and_score(terminal):
    with console.bar("training") as update:
        console.show_steps(update)(3, 4, 0.1234, None)
        console.show_steps(update)(4, 4, 0.1, 5.678)
    shown = terminal.getvalue()
    assert "training" in shown
    assert "4/4" in shown
    assert "loss 0.100, validation 5.68 dB" in shown
    assert not shown.endswith(ERASED)


ERASED = "\x1b[1A\x1b[2K"  # up one line, and clear it


def test_a_bar_does_not_stay_above_an_error(terminal):
    def fill_the_disk():
        with console.bar("training") as update:
            update(3, 4)
            raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room"):
        fill_the_disk()
    assert terminal.getvalue().endswith(ERASED)


def test_without_a_terminal_a_line_comes_now_and_then(capsys, clock):
    with console.bar("training") as update:
        for step in range(1, 101):
            clock.now += 1
            console.show_steps(update)(step, 2000, 0.0314, None)
    assert capsys.readouterr().err.splitlines() == [
        "training: 10 of 2000, loss 0.031, 33 min left",
        "training: 40 of 2000, loss 0.031, 33 min left",
        "training: 70 of 2000, loss 0.031, 32 min left",
        "training: 100 of 2000, loss 0.031, 32 min left",
    ]


def test_what_is_over_soon_is_not_told(capsys, clock):
    with console.bar("separating [x]") as update:
        clock.now += 9.9
        update(1, 2)
        update(2, 2)
    assert capsys.readouterr().err == ""


def test_lines_with_nothing_known(capsys, clock):
    with console.bar("a [red]song[/red]") as update:
        clock.now += 3600
        update(500, None)
        clock.now += 50
        update(600, 1100, "[b]note[/b]")  # 100 in 50 s
        clock.now += 50
        update(1100, 1100)
    assert capsys.readouterr().err.splitlines() == [
        "a [red]song[/red]: 500",
        "a [red]song[/red]: 600 of 1100, [b]note[/b], 4 min left",
        "a [red]song[/red]: 1100 of 1100, 0 s left",
    ]


def test_forced_colors_make_no_terminal(capsys, monkeypatch, clock):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.bar("measuring") as update:
        clock.now += 60
        update(1, 2)
    assert capsys.readouterr().err == "measuring: 1 of 2\n"


# ---- warnings and downloads ---------------------------------------------------------


def test_a_warning_is_one_line_and_comes_once(capsys):
    with console.warnings_as_lines():
        for _ in range(3):
            text = "segment: 12.0 s > 7.8 s trained; using 7.8"
            warnings.warn(text, MssEduWarning, stacklevel=1)
    seen = capsys.readouterr().err
    assert seen == "note     segment: 12.0 s > 7.8 s trained; using 7.8\n"


def test_what_is_fetched_is_shown(capsys, monkeypatch):
    def load_model(source, *, weights, model_file, log, progress):
        assert (source, weights, model_file) == ("small", None, None)
        log("small: license for tests")
        progress(10**6, 4 * 10**6)
        progress(4 * 10**6, None)
        return nn.Linear(1, 1)

    monkeypatch.setattr("mssedu.weights.loading.load_model", load_model)
    monkeypatch.setattr(console, "FIRST_LINE", 0)
    monkeypatch.setattr(console, "NEXT_LINE", 0)
    model = console.load_shown("small", None, None, "cpu")
    assert isinstance(model, nn.Linear)
    seen = capsys.readouterr()
    assert seen.out == "small: license for tests\n"
    assert seen.err.splitlines() == ["fetching, MB: 1 of 4", "fetching, MB: 4"]


# ---- pipes --------------------------------------------------------------------------


def run_without_a_reader(*args, stderr=subprocess.PIPE):
    """Run a command whose output nobody reads: the pipe is closed before it begins."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from mssedu.cli.commands import main; sys.exit(main())"
    words = [sys.executable, "-c", code, *args]
    try:
        return subprocess.run(words, stdout=write, stderr=stderr, text=True)
    finally:
        os.close(write)


pipes = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
COMMANDS = [
    ("--help",),
    ("separate", "--help"),
    ("models",),  # a table, by rich
    ("published",),  # a table wider than the terminal
    ("doctor",),  # by print, flushed as Python ends
]


@pipes
@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_ends_a_command_quietly(args):
    done = run_without_a_reader(*args)
    assert (done.returncode, done.stderr) == (141, "")


@pipes
def test_the_reader_of_errors_may_be_gone_too():
    assert run_without_a_reader("separat", stderr=subprocess.STDOUT).returncode == 141


@pipes
def test_a_real_reader_that_stops():
    code = "import sys; from mssedu.cli.commands import main; sys.exit(main())"
    words = f"'{sys.executable}' -c '{code}' published --format csv | head -1"
    words = ["bash", "-c", f"{words}; echo ${{PIPESTATUS[0]}}"]
    done = subprocess.run(words, capture_output=True, text=True)
    first, status = done.stdout.splitlines()
    assert (first[:6], status in ("0", "141"), done.stderr) == ("system", True, "")


def test_a_name_with_colons_is_printed_as_it_is(capsys):
    console.say("done :smile: a:b:c.wav")
    console.report_failure("failed", ":smile:.wav")
    seen = capsys.readouterr()
    assert ":smile: a:b:c.wav" in seen.out
    assert ":smile:.wav" in seen.err
