"""The command `mssedu`: each subcommand is one function below, its flags its arguments.

Nothing heavy is imported before a command runs, so that --help is instant. Exit codes:
0 all done, 1 some files failed, 2 wrong usage, 3 this machine lacks something, 130
interrupted.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from mssedu.checks import InputError, MssEduError, check_name, message
from mssedu.commands.analyze import analyze
from mssedu.commands.card import card, models
from mssedu.commands.evaluate import compare, evaluate, published
from mssedu.commands.listen import listen
from mssedu.commands.separate import separate
from mssedu.console import (
    bar,
    err,
    out,
    report_failure,
    show_steps,
    warnings_as_lines,
)
from mssedu.tables import render
from mssedu.training.config import TrainConfig

DEMO_FOLDER = Path("runs/demo")


def demo(folder: Path = DEMO_FOLDER) -> int:
    """Train on four CC0 songs, take apart one that is new, score it and show it.

    Args:
        folder: where stems, figures, scores.json and report.html go; an earlier demo
            there is replaced.
    """
    from mssedu.demo import CONFIG, DEFINITION, run_demo
    from mssedu.evaluation.score_tables import track_table

    if (folder / "report.html").exists():
        out.print(f"Replacing the earlier demo in {folder}")
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


def train(
    data: Annotated[Path, tyro.conf.Positional],
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
    run_dir: Path = Path("runs/train"),
    valid_data: Path | None = None,
    in_memory: bool = False,
    resume: bool = False,
    allow_config_change: bool = False,
) -> int:
    """Train a model on a folder of songs with stems.

    Args:
        data: a data set with the splits train and valid, or songs without splits.
        config: all settings of the training.
        run_dir: where checkpoints, curves and history go.
        valid_data: songs for validation; the split valid of data if not given.
        in_memory: decode all songs once and keep them (21 MB a stem-minute).
        resume: go on with the run in run_dir.
        allow_config_change: resume although the settings differ.
    """
    import torch

    from mssedu.datasets.layouts import load_dataset
    from mssedu.registry import create_model
    from mssedu.train import fit

    songs = load_dataset(data, stems=config.stems)
    # Never the songs of valid or test, whatever is used for validation.
    train_songs = [song for song in songs if song.split in ("train", None)]
    if valid_data is None:
        valid_songs = [song for song in songs if song.split == "valid"]
    else:
        valid_songs = load_dataset(valid_data, stems=config.stems)
    if in_memory:
        train_songs = [song.in_memory() for song in train_songs]
    torch.manual_seed(config.seed)  # the first weights are a part of the run
    model = create_model(config.model, config.preset, stems=config.stems)
    with bar("training") as update:
        result = fit(
            model,
            train_songs,
            valid_songs,
            config,
            run_dir,
            resume=resume,
            allow_config_change=allow_config_change,
            log=out.print,
            progress=show_steps(update),
        )
    out.print(f"Best weights: {result.checkpoint}")
    return 0


def doctor(segment: float = 10.0) -> int:
    """Tell what this machine lacks, with the command that mends it.

    Args:
        segment: seconds of audio that a model is to be given at once on the GPU.
    """
    from mssedu.doctor import diagnose, exit_code, report

    findings = diagnose(segment)
    print(report(findings))
    return exit_code(findings)


def _notebooks() -> Path:
    folder = Path(__file__).parent.parent / "notebooks"
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
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        out.print(_overview(), highlight=False)
        return 0 if args else 2
    try:
        command = COMMANDS[check_name("mssedu", "command", args[0], COMMANDS)]
        with warnings_as_lines():
            return tyro.cli(command, prog=f"mssedu {args[0]}", args=args[1:])
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
