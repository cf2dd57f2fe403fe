"""The command `mssedu repro`: train a run again, and compare both.

mssedu repro runs/train                           in runs/train-again
mssedu repro runs/train -o again --data SONGS     if the songs are elsewhere now
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mssedu.audio.disk import check_folder
from mssedu.audio.files import tupled
from mssedu.cli.console import say
from mssedu.cli.train import SongOptions, check_songs, train
from mssedu.data.options import DataOptions
from mssedu.errors import InputError
from mssedu.training.runs import config_of_run, read_run

if TYPE_CHECKING:
    from mssedu.training.repeat import Repetition


def repro(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    out_dir: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    data: Path | None = None,
    valid_data: Path | None = None,
) -> int:
    """Train a run again from its folder, and print what differs.

    The exit code is 0 if losses, scores and weights are equal, else 1.

    Args:
        run: Folder of a run that mssedu train has started.
        out_dir: Write the new run to this folder (default: RUN-again).
        data: Read the songs here (default: where the run has read them).
        valid_data: Read the songs for validation here.
    """
    from mssedu.training.repeat import check_repeatable, compare_runs

    command = check_repeatable(run)
    document = read_run(run)
    config = config_of_run(document)
    new = out_dir or run.with_name(f"{run.name}-again")
    if new.resolve() == run.resolve():
        raise InputError(
            f"--out-dir {new} is the folder of the run itself. Choose another folder."
        )
    check_folder(new)
    options = SongOptions(
        valid_data=valid_data or _path(command.get("valid_data")),
        no_valid=command["no_valid"] and valid_data is None,
        in_memory=command["in_memory"],
        cache=_path(command.get("cache")),
        cache_type=command.get("cache_type", "int16"),
    )
    names = vars(DataOptions())
    dataset = DataOptions(**tupled({name: command[name] for name in names}))
    place = data or Path(command["data"])
    fields = tuple(command["set"])
    check_songs(
        run,
        place,
        options,
        dataset,
        advice="Restore them, or give the folder that has them with --data.",
    )
    code = train(
        place,
        options,
        dataset,
        config,
        model_fields=fields,
        run_dir=new,
        resume="auto",
        recipe=command.get("recipe"),
    )
    found = compare_runs(run, new)
    _say_differences(found)
    return code or int(not found.is_equal)


def _say_differences(found: "Repetition") -> None:
    for cause in found.causes:
        say(f"differs: {cause}")
    for step, *numbers in found.validations:
        old_loss, new_loss, old_usdr, new_usdr = numbers
        say(
            f"step {step}: loss {old_loss:.6g} -> {new_loss:.6g}, "
            f"usdr {old_usdr:.4f} -> {new_usdr:.4f} dB"
        )
    if found.n_other:
        say(f"{found.n_other} validations are in one of the runs only")
    losses, scores = found.differences
    say(
        "losses, scores and weights are equal"
        if found.is_equal
        else f"largest differences: loss {losses:.3g}, usdr {scores:.3g} dB, weights "
        f"{found.weights:.3g}"
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
