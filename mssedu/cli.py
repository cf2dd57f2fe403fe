"""The command `mssedu`: each subcommand is one function below, its flags its arguments.

Nothing heavy is imported before a command runs, so that --help is instant. Exit codes:
0 all done, 1 some files failed, 2 wrong usage, 3 this machine lacks something, 130
interrupted.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from mssedu.card import card, models
from mssedu.checks import InputError, MssEduError, check_name, message
from mssedu.console import (
    bar,
    err,
    load_shown,
    out,
    report_failure,
    show_steps,
    warnings_as_lines,
)
from mssedu.train_config import TrainConfig

if TYPE_CHECKING:
    from mssedu.separate_files import Separation

Model = Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")]
Files = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
DEMO_FOLDER = Path("runs/demo")
DEMO_MODEL = str(DEMO_FOLDER / "training")


def demo(folder: Path = DEMO_FOLDER) -> int:
    """Train on four CC0 songs, take apart one that is new, score it and show it.

    Args:
        folder: where stems, figures, scores.json and report.html go; an earlier demo
            there is replaced.
    """
    from mssedu.demo import CONFIG, run_demo

    if (folder / "report.html").exists():
        out.print(f"Replacing the earlier demo in {folder}")
    with bar("training") as update:
        done = run_demo(
            folder, config=CONFIG, log=out.print, progress=show_steps(update)
        )
    out.print(done.scores.table(), highlight=False)
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


def separate(
    files: Files,
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    out_dir: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("separated"),
    template: str = "{track}/{stem}.{ext}",
    ext: Literal["wav", "flac", "ogg", "mp3"] = "wav",
    subtype: Literal["int16", "int24", "float32"] = "int16",
    exists: Literal["refuse", "skip", "overwrite"] = "refuse",
    segment: float | None = None,
    overlap: float = 0.25,
    batch_size: int = 1,
    device: Annotated[str, tyro.conf.arg(aliases=["-d"])] = "auto",
) -> int:
    """Take songs apart: a file per stem, at the rate and length of the song.

    Args:
        files: songs, folders (searched to the bottom) or patterns.
        model: published name, checkpoint file or run folder; the demo's model if not
            given.
        weights: a local file of weights; with a published name, in place of its own.
        out_dir: folder of the results.
        template: path of a stem below it.
        ext: file format.
        subtype: sample format; float32 (wav) keeps values beyond full scale.
        exists: what to do where results are there already.
        segment: seconds computed at once; the model's own if not given.
        overlap: share of a segment that the next covers too, 0 <= overlap < 1.
        batch_size: segments computed at once.
        device: auto, cpu, cuda, mps.
    """
    from mssedu.separate_files import find_files, track_names

    if not files:
        raise InputError(
            message("separate", "files", "none", "Name at least one song.")
        )
    found, missing = find_files(files)
    for name in missing:
        report_failure("missing", f"{name}: no such file, and no music below it")
    options = {"template": template, "ext": ext, "subtype": subtype, "exists": exists}
    numbers = {"segment": segment, "overlap": overlap, "batch_size": batch_size}
    network = load_shown(*_source(model, weights), device)
    failed = len(missing)
    for file, track in track_names(found).items():
        failed += not _separate_one(network, file, out_dir, track, options | numbers)
    out.print(
        f"{len(found) + len(missing) - failed} of {len(found) + len(missing)} done"
    )
    return 1 if failed else 0


def _source(model: str, weights: Path | None) -> tuple[str | Path, Path | None]:
    """What to load: weights alone, if no model was named with them."""
    return (weights, None) if weights and model == DEMO_MODEL else (model, weights)


def _separate_one(
    network: Any, file: Path, out_dir: Path, track: str, options: dict[str, Any]
) -> bool:
    """Separate a file and say how it went; True unless it failed."""
    from mssedu.separate_files import separate_file

    try:
        with bar(track) as update:
            done = separate_file(
                network, file, out_dir, track=track, progress=update, **options
            )
    except (MssEduError, OSError) as error:
        report_failure("failed", f"{file}: {error}")
        return False
    out.print(_outcome(track, done), markup=False)
    return True


def _outcome(track: str, done: "Separation | None") -> str:
    """One line about a separated file."""
    if done is None:
        return f"skipped  {track}: finished before"
    gain = f", all stems {done.gain_db:.1f} dB" if done.gain_db else ""
    silent = ", the input is silent" if done.sum_residual_db is None else ""
    return f"done     {track}: {done.speed:.1f} x real time{gain}{silent}"


def evaluate(
    data: Annotated[Path, tyro.conf.Positional],
    model: Model = DEMO_MODEL,
    weights: Path | None = None,
    split: str | None = None,
    save: Path | None = None,
    segment: float | None = None,
    overlap: float = 0.25,
    device: str = "auto",
) -> int:
    """Score a model beside silence, mixture and oracle.

    Args:
        data: a data set of any layout.
        model: published name, checkpoint file or run folder; the demo's model if not
            given.
        weights: a local file of weights; with a published name, in place of its own.
        split: train, valid or test; all songs if not given.
        save: JSON file to write the scores of every track to.
        segment: seconds computed at once; the model's own if not given.
        overlap: share of a segment that the next covers too, 0 <= overlap < 1.
        device: auto, cpu, cuda, mps.
    """
    from mssedu.contract import config_of
    from mssedu.datasets.layouts import load_dataset
    from mssedu.evaluate import evaluate as run

    if save is not None and save.exists():
        remedy = "Choose another name, or remove it first."
        raise InputError(message("evaluate", "a new file", save, remedy))
    network = load_shown(*_source(model, weights), device)
    tracks = load_dataset(data, split, stems=config_of(network).stems)
    with bar("evaluating") as update:
        scores = run(network, tracks, segment=segment, overlap=overlap, progress=update)
    out.print(scores.table(), highlight=False)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        out.print(f"Scores of every track: {scores.save(save)}")
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
