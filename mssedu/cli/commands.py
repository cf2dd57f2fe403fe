"""The command `mssedu`: `COMMANDS` has a function per command, with flags as arguments.

A command imports torch and other large packages when it runs, so that --help is
instant. Exit codes: 0 all done, 1 some files failed, 2 wrong usage, 3 this machine
lacks something, 130 interrupted, 141 the reader of the output has stopped
(`mssedu models | head -1`), 143 ended by SIGTERM.
"""

import io
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import tyro

from mssedu.audio.disk import full_disk, is_full
from mssedu.cli.ablate import ablate
from mssedu.cli.analyze import analyze
from mssedu.cli.card import card, models
from mssedu.cli.console import (
    drop_output,
    err,
    out,
    reason,
    report_failure,
    warnings_as_lines,
)
from mssedu.cli.course import course
from mssedu.cli.curves import curves
from mssedu.cli.data import data
from mssedu.cli.demo import demo
from mssedu.cli.doctor import doctor
from mssedu.cli.evaluate import compare, evaluate, published
from mssedu.cli.export import export
from mssedu.cli.listen import listen
from mssedu.cli.race import race
from mssedu.cli.repro import repro
from mssedu.cli.separate import separate
from mssedu.cli.train import settled, train
from mssedu.errors import InputError, MssEduError, check_name
from mssedu.separation.threads import short_spin


def lab(folder: Path | None = None) -> int:
    """Open JupyterLab on the notebooks.

    Args:
        folder: folder to open (None: the notebooks of this repository)
    """
    if folder is None:
        folder = Path(__file__).parents[2] / "notebooks"
        if not folder.is_dir():
            raise InputError(
                f"{folder} does not exist: the notebooks are in the repository. Clone "
                "the repository, or choose a folder: mssedu lab --folder PATH."
            )
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    return subprocess.run(command, check=False).returncode


COMMANDS: dict[str, Callable[..., int]] = {
    "demo": demo,
    "lab": lab,
    "data": data,
    "train": train,
    "repro": repro,
    "ablate": ablate,
    "race": race,
    "curves": curves,
    "separate": separate,
    "evaluate": evaluate,
    "analyze": analyze,
    "compare": compare,
    "published": published,
    "listen": listen,
    "export": export,
    "course": course,
    "models": models,
    "card": card,
    "doctor": doctor,
}

# Flags of earlier versions, by command: scripts that have them go on with a note.
RENAMED = {
    "demo": {"--folder": "--out-dir"},
    "evaluate": {"--save": "--out-dir"},
}


def main(args: list[str] | None = None) -> int:
    """Run a command; an error that the user can fix is one line, not a traceback."""
    short_spin()  # before a command imports torch
    for stream in (sys.stdout, sys.stderr):  # a code page of Windows lacks "→" and 絆
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            with orderly_end():
                code = _run(sys.argv[1:] if args is None else args)
        except SystemExit:  # of --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # at the end of Python, its error could not be caught
        return code
    except BrokenPipeError:
        return drop_output()


def _renamed(command: str, word: str) -> str:
    """A word of a command line, with the flag's present name."""
    flag, equals, value = word.partition("=")
    new = RENAMED.get(command, {}).get(flag)
    if new is None:
        return word
    report_failure("note", f"{flag} is now named {new}, or -o")
    return f"{new}{equals}{value}"


@contextmanager
def orderly_end() -> Iterator[None]:
    """While open, SIGTERM ends the program as an error does: no half file is left.

    A cluster, `docker stop` and `kill` send it. Where it is ignored, it stays so.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)  # the exit code that shells give it

    before = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before in (None, signal.SIG_IGN):
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: list[str]) -> int:
    """The exit code of a command; its errors are printed."""
    if not args or args[0] in ("-h", "--help"):
        out.print("usage: mssedu COMMAND [--help] …\n", highlight=False)
        for name, command in COMMANDS.items():
            summary = (command.__doc__ or "").partition("\n")[0]
            out.print(f"  {name:<10} {summary}", highlight=False)
        return 0 if args else 2
    try:
        command = COMMANDS[check_name("command", args[0], COMMANDS)]
        words = [_renamed(args[0], word) for word in args[1:]]
        if command is train:  # a run that is resumed has defaults of its own
            command, words = settled(words)
        with warnings_as_lines():
            return tyro.cli(command, prog=f"mssedu {args[0]}", args=words)
    except KeyboardInterrupt:
        err.print("interrupted")
        return 130
    except MssEduError as error:
        report_failure("error", str(error))
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, or a file that must not be read
        if is_full(error):
            full = full_disk(error.filename or Path.cwd(), error)
            report_failure("error", str(full))
            return full.exit_code
        report_failure("error", reason(error))
        return 1
