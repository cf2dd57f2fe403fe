"""Going on with a run: its config.json, and what may differ from before.

config.json says what was trained, on what, by which version, in which phases. A phase
is a start of the run whose settings, songs, versions or device differ from before:
steps 0 … 999 on one machine, then more with a lower learning rate. What may differ:

    never       model, preset, stems and their order; fewer steps than are done
    if allowed  settings that change a number, the kind of device, the songs
    always      n_workers, save_every, and a device of the same kind

This file needs no torch: `mssedu train --resume RUN` reads config.json and finds
mistakes before it loads anything.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssedu.audio.files import as_json, tupled, write_text
from mssedu.errors import CheckpointError, InputError, check_name
from mssedu.training.config import TrainConfig

NAME = "config.json"
AT_THE_TOP = ("mssedu", "torch")  # versions at the top level of config.json
NEVER = ("model", "preset", "stems")
ALWAYS = {"n_workers", "save_every", "device"}  # the device's kind is compared instead
ALLOW_CONFIG = "--allow-config-change (allow_config_change=True in Python)"
ALLOW_DATA = "--allow-data-change (allow_data_change=True in Python)"


# ---- config.json --------------------------------------------------------------------


def start_folder(run_dir: Path) -> None:
    """Make the folder of a new run.

    Raises:
        InputError: the folder holds a run already.
    """
    if has_state(run_dir):
        raise InputError(
            f"{run_dir.absolute()} already holds a run. Choose another folder with "
            "--run-dir, or go on with --resume (resume=True in Python)."
        )
    run_dir.mkdir(parents=True, exist_ok=True)


def has_state(run_dir: Path) -> bool:
    """Whether the folder holds a run that can go on."""
    return (run_dir / "last.json").exists()


def goes_on(run_dir: Path, resume: bool | str) -> bool:
    """Whether `fit` resumes a run: `resume`, or for "auto" whether there is one.

    Raises:
        InputError: neither True nor False nor "auto".
    """
    if resume not in (True, False, "auto"):
        raise InputError(
            f"resume must be True, False or 'auto', got {resume!r}. Give the folder of "
            "the run as run_dir."
        )
    return has_state(run_dir) if resume == "auto" else bool(resume)


def read_run(run_dir: Path) -> dict[str, Any]:
    """Read config.json of a run.

    Raises:
        InputError: no run there.
        CheckpointError: a file that cannot be read.
    """
    path = run_dir / NAME
    if not path.exists():
        raise InputError(
            f"{run_dir.absolute()} is not the folder of a run: it has no {NAME}. Give "
            "the folder after --resume, or put --resume last and use --run-dir."
        )
    try:
        document = json.loads(path.read_text("utf-8"))
        document["train_config"]["model"]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path.absolute()} does not hold the settings of a run "
            f"({type(error).__name__}: {error}). Restore it from a copy."
        ) from error
    return document


def config_of_run(document: Mapping[str, Any]) -> TrainConfig:
    """The settings of the newest phase of a run.

    Raises:
        InputError: a setting that this version does not have, or a wrong value.
    """
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in document["train_config"]:
        check_name("setting", name, known, where=NAME)
    return TrainConfig(**tupled(document["train_config"]))


def command_of_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """The command of the newest phase; empty for a run that Python started."""
    phases = document.get("phases") or [{}]
    return dict(phases[-1].get("command") or {})


def write_run(
    run_dir: Path, document: Mapping[str, Any], phase: dict[str, Any]
) -> None:
    """Write config.json with the phases before and, if it differs, the new one.

    Args:
        run_dir: folder of the run.
        document: what is at the top level.
        phase: of this start, with `from_step`, the steps done before it.
    """
    phases = _with_phase(_phases_before(run_dir, phase["from_step"]), phase)
    text = json.dumps({**document, "phases": phases}, indent=1, ensure_ascii=False)
    write_text(run_dir / NAME, text + "\n")


def _phases_before(run_dir: Path, from_step: int) -> list[dict[str, Any]]:
    """Phases that have left steps in the run; version 0.1 wrote no phases."""
    if from_step == 0 or not (run_dir / NAME).exists():
        return []
    document = read_run(run_dir)
    first = {
        "from_step": 0,
        "train_config": document["train_config"],
        "versions": {name: document.get(name) for name in AT_THE_TOP},
        "commit": document.get("commit"),
        "device": document.get("device"),
    }
    phases: list[dict[str, Any]] = document.get("phases") or [first]
    return [phase for phase in phases if phase["from_step"] < from_step]


def _with_phase(
    phases: list[dict[str, Any]], phase: dict[str, Any]
) -> list[dict[str, Any]]:
    def content(phase: dict[str, Any]) -> dict[str, Any]:
        return {name: phase[name] for name in phase if name != "from_step"}

    phase = as_json(phase)
    same = phases and content(phases[-1]) == content(phase)
    return phases if same else [*phases, phase]


# ---- what may differ -----------------------------------------------------------------


@dataclass(frozen=True)
class Allowed:
    """Which differences the user accepts when a run goes on."""

    config: bool = False
    data: bool = False


def config_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], without: Iterable[str] = ()
) -> str:
    """The fields that differ, as 'name: old -> new'; empty if none do.

    Args:
        old, new: values by name of the field.
        without: names that are not compared.

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

    Args:
        where: the run, for the message.
        old, new: fields of `TrainConfig`.
    """
    changes = config_changes(
        {name: old.get(name) for name in NEVER}, {name: new.get(name) for name in NEVER}
    )
    if changes:
        raise CheckpointError(
            f"{where}: {changes}. Model, preset and stems (and their order) never "
            "change within a run. Train in another folder with --run-dir (run_dir in "
            "Python)."
        )


def check_steps(where: str, n_done: int, steps: int) -> None:
    """Raise InputError if a run is to end before a step that it has done."""
    if steps < n_done:
        raise InputError(
            f"{where}: steps is {steps}, but the run has done {n_done} steps. Choose "
            f"--steps {n_done} or more (steps in Python)."
        )


def check_allowed(where: str, changes: str, *, is_allowed: bool) -> None:
    """Raise CheckpointError if settings differ, unless that is allowed."""
    if changes and not is_allowed:
        raise CheckpointError(
            f"{where}: these settings differ from those of the run: {changes}. Restore "
            f"them, or accept the change with {ALLOW_CONFIG}."
        )


def data_changes(
    old: Mapping[str, str | None] | None, new: Mapping[str, str | None]
) -> str:
    """Which songs differ, in words; empty if none do, or if the old are unknown.

    Args:
        old, new: fingerprints of "train" and "valid", None without validation.

    Example:
        >>> data_changes({"train": "a", "valid": "b"}, {"train": "c", "valid": None})
        'other training songs, no validation'
    """
    if not old:
        return ""  # a run of version 0.1
    parts = []
    if old.get("train") != new.get("train"):
        parts.append("other training songs")
    before, after = old.get("valid"), new.get("valid")
    if before != after and after is None:
        parts.append("no validation")
    elif before != after:
        parts.append("validation songs" if before is None else "other validation songs")
    return ", ".join(parts)


def check_data(where: str, changes: str, *, is_allowed: bool) -> None:
    """Raise CheckpointError if songs differ, unless that is allowed."""
    if changes and not is_allowed:
        raise CheckpointError(
            f"{where}: the songs differ from those of the run: {changes}. Restore "
            f"them, or accept the change with {ALLOW_DATA}."
        )
