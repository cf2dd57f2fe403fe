"""A run on the disk that goes on: its config.json, and what may have changed.

    read_run           config.json of a run folder
    config_of_run      the settings in it
    command_of_run     the command that started it
    check_same_model   what never changes within a run

A run that goes on may differ from before, in

    nothing     model, preset, stems and their order; fewer steps than are done
    if allowed  settings that change a number, the kind of device, the songs
    always      n_workers, save_every, save_minutes, log_seconds, and a device of the
                same kind

This file needs no torch: `mssedu train --resume RUN` finds mistakes before it loads
anything.
"""

import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mssedu.audio.files import as_json, misfit, tupled
from mssedu.errors import CheckpointError, InputError, check_name
from mssedu.models.names import short_name
from mssedu.training.config import TrainConfig

RUN_FILE = "config.json"
HISTORY = "history.jsonl"
NEVER = ("model", "preset", "stems")  # the fields that never change within a run
ALWAYS = {"n_workers", "save_every", "save_minutes", "log_seconds", "device"}


def goes_on(run_dir: Path, resume: bool | str) -> bool:
    """Whether `fit` resumes a run; an InputError if a new one would replace it."""
    if resume not in (True, False, "auto"):
        raise InputError(
            f"resume must be True, False or 'auto', got {resume!r}. Give the folder of "
            "the run as run_dir."
        )
    if has_state(run_dir) and not resume:
        raise InputError(
            f"{run_dir.absolute()} already holds a run. Choose another folder with "
            "--run-dir, or go on with --resume (resume=True in Python)."
        )
    return has_state(run_dir) if resume == "auto" else bool(resume)


# Fields that were not always a list
_EARLIER = {"loss": ([str], str), "ema_decay": ([float], float)}
# Parts of config.json, as `misfit` takes them; version 0.1 had fewer
_RUN = {"model_config": {"stems": [str]}, "phases": [{"from_step": int}]}
_COMMAND = {
    "data": str,
    "valid_data": (str, None),
    "no_valid": bool,
    "layout": (str, None),
    "on_missing": str,
    "on_length": str,
    "split_shares": ([float], None),
    "split_seed": int,
    "in_memory": bool,
    "set": [str],
    "recipe": ({"name": str}, None),
}


def has_state(run_dir: Path) -> bool:
    """Whether the folder holds a run that can go on."""
    return (run_dir / "last.json").exists()


def read_run(run_dir: Path) -> dict[str, Any]:
    """Read config.json of a run.

    Raises:
        InputError: no run there.
        CheckpointError: a file that cannot be read.
    """
    path = run_dir / RUN_FILE
    if not path.exists():
        raise InputError(
            f"{run_dir.absolute()} is not the folder of a run: it has no {RUN_FILE}. "
            "Give the folder after --resume, or put --resume last and use --run-dir."
        )
    try:
        document = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.absolute()} does not hold the settings of a run "
            f"({type(error).__name__}: {error}). Restore it from a copy."
        ) from error
    known = document if isinstance(document, dict) else {}
    form = {"train_config": {"model": str}}
    if wrong := misfit(document, form | {n: f for n, f in _RUN.items() if n in known}):
        raise CheckpointError(
            f"{path.absolute()} does not hold the settings of a run: {wrong}. Restore "
            "it from a copy."
        )
    return document


def config_of_run(document: Mapping[str, Any]) -> TrainConfig:
    """The settings in config.json, which are those of the newest start.

    Raises:
        InputError: a setting that this version does not have, or a wrong value.
        CheckpointError: a value of another type.
    """
    settings = document["train_config"]
    types = typing.get_type_hints(TrainConfig)
    for name in settings:
        check_name("setting", name, types, where=RUN_FILE)
    form = {name: _EARLIER.get(name) or _form(types[name]) for name in settings}
    if wrong := misfit(settings, form, "train_config"):
        raise CheckpointError(f"{RUN_FILE}: {wrong}. Restore it from a copy.")
    return TrainConfig(**tupled(settings))


def settings_now(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an earlier version in the form of this one.

    It did not have all settings, and did what the defaults do.
    """
    merged = asdict(TrainConfig()) | dict(settings)
    if isinstance(merged["loss"], str):
        merged["loss"] = (merged["loss"],)
    if isinstance(merged["ema_decay"], int | float):
        merged["ema_decay"] = (merged["ema_decay"],) if merged["ema_decay"] else ()
    return merged


def _form(kind: Any) -> Any:
    """The form of a field in JSON, as `misfit` takes it."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return str
    if typing.get_origin(kind) is tuple:
        return [_form(inner[0])]
    if inner:  # such as float | None
        return tuple(None if one is type(None) else _form(one) for one in inner)
    return kind


def command_of_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """The command of the newest start; empty if Python started the run.

    Raises:
        CheckpointError: a part of it that is of another type.
    """
    phases = document.get("phases") or [{}]
    command = phases[-1].get("command") or {}
    form = {name: kind for name, kind in _COMMAND.items() if name in command}
    if wrong := misfit(command, form, "command"):
        raise CheckpointError(f"{RUN_FILE}: {wrong}. Restore it from a copy.")
    return dict(command)


def config_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], without: Iterable[str] = ()
) -> str:
    """The fields that differ, but for `without`, in words; empty if none do.

    Example:
        >>> config_changes({"seed": 0, "steps": 10}, {"seed": 1, "steps": 10})
        'seed: 0 -> 1'
    """
    before, after = as_json(old), as_json(new)
    return ", ".join(
        f"{name}: {before.get(name)!r} -> {after.get(name)!r}"
        for name in sorted((before.keys() | after.keys()) - {*without})
        if before.get(name) != after.get(name)
    )


def check_same_model(
    where: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Raise CheckpointError unless two training configs are of one model.

    Stems in another order would fit the weights and swap the estimates.
    """
    old, new = ({**c, "model": short_name(c.get("model", ""))} for c in (old, new))
    others = (old.keys() | new.keys()) - {*NEVER}
    changes = config_changes(old, new, without=others)
    if changes:
        raise CheckpointError(
            f"{where}: {changes}. Model, preset and stems (and their order) never "
            "change within a run. Train in another folder with --run-dir (run_dir in "
            "Python)."
        )
