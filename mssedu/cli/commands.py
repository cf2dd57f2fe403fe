"""The command `mssedu`: each subcommand is one function below, its flags its arguments.

Nothing heavy is imported before a command runs, so that --help is instant. Exit codes:
0 all done, 1 some files failed, 2 wrong usage, 3 this machine lacks something, 130
interrupted, 141 whoever read the output has stopped (`mssedu models | head -1`), 143
ended by SIGTERM.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import tyro

from mssedu.cli.analyze import analyze
from mssedu.cli.card import card, models
from mssedu.cli.console import (
    bar,
    drop_output,
    err,
    out,
    report_failure,
    show_steps,
    warnings_as_lines,
)
from mssedu.cli.evaluate import compare, evaluate, published
from mssedu.cli.listen import listen
from mssedu.cli.separate import separate
from mssedu.cli.train import settled, train
from mssedu.errors import InputError, MssEduError, check_name, message
from mssedu.reports.tables import render
from mssedu.separation.threads import short_spin

DEMO_FOLDER = Path("runs/demo")


def demo(folder: Path = DEMO_FOLDER) -> int:
    """Train on four CC0 songs, take apart one that is new, score it and show it.

    Args:
        folder: where stems, figures, scores.json and report.html go: a new or empty
            one, or that of an earlier demo, which is replaced.
    """
    from mssedu.cli.demo import CONFIG, DEFINITION, is_earlier_demo, run_demo
    from mssedu.evaluation.score_tables import track_table

    if is_earlier_demo(folder):
        out.print(f"Replacing the earlier demo in {folder}", markup=False)
    with bar("training") as update:
        done = run_demo(
            folder, config=CONFIG, log=out.print, progress=show_steps(update)
        )
    table = track_table(done.scores, done.track, DEFINITION)
    out.print(render(*table, "markdown"), highlight=False)
    out.print(f"Trained in {done.train_seconds:.0f} s. Now open:")
    out.print(f"  {done.folder / 'report.html'}  to hear and see it, in a browser")
    out.print("  mssedu lab  for the notebooks, starting with 00")
    out.print(f"  mssedu separate YOUR_SONG.mp3 --model {done.folder / 'training'}")
    return 0


def lab(folder: Path | None = None) -> int:
    """Open JupyterLab on the notebooks.

    Args:
        folder: to open; the notebooks/ folder of this repository if not given.
    """
    folder = _notebooks() if folder is None else folder
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    return subprocess.run(command, check=False).returncode


def doctor(segment: float = 10.0) -> int:
    """Tell what this machine lacks, with the command that mends it.

    Args:
        segment: seconds of audio that a model is to be given at once on the GPU.
    """
    from mssedu.cli.doctor import diagnose, exit_code, report

    findings = diagnose(segment)
    print(report(findings))
    return exit_code(findings)


def _notebooks() -> Path:
    folder = Path(__file__).parents[2] / "notebooks"
    if not folder.is_dir():
        remedy = "Clone the repository, or name a folder: mssedu lab --folder PATH."
        raise InputError(message("lab", "the notebooks of a clone", folder, remedy))
    return folder


COMMANDS: dict[str, Callable[..., int]] = {
    "demo": demo,
    "lab": lab,
    "train": train,
    "separate": separate,
    "evaluate": evaluate,
    "analyze": analyze,
    "compare": compare,
    "published": published,
    "listen": listen,
    "models": models,
    "card": card,
    "doctor": doctor,
}


def main(args: list[str] | None = None) -> int:
    """Run a command; errors that the user can mend are one line, not a traceback.

    Only the chosen command's flags are built: that keeps every --help instant.
    """
    short_spin()  # before a command imports torch
    try:
        try:
            code = _run(sys.argv[1:] if args is None else args)
        except SystemExit:  # of --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # as Python ends, nobody could catch the error
        return code
    except BrokenPipeError:
        return drop_output()


def _run(args: list[str]) -> int:
    """The exit code of a command, once its errors are told."""
    if not args or args[0] in ("-h", "--help"):
        out.print(_overview(), highlight=False)
        return 0 if args else 2
    try:
        command = COMMANDS[check_name("command", args[0], COMMANDS)]
        words = args[1:]
        if command is train:  # a run that goes on brings its own defaults
            command, words = settled(words)
        with warnings_as_lines():
            return tyro.cli(command, prog=f"mssedu {args[0]}", args=words)
    except KeyboardInterrupt:
        err.print("interrupted")
        return 130
    except MssEduError as error:
        report_failure("error", str(error))
        return error.exit_code


def _overview() -> str:
    """The commands, a line each."""
    lines = ["usage: mssedu COMMAND [--help] …", ""]
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        lines.append(f"  {name:<10} {summary}")
    return "\n".join(lines)
