"""config.json of a run: what was trained, on what, by which version, in which phases.

A phase is a start of the run whose settings, songs, versions or device differ from
those before: steps 0 … 999 on one machine, then more with a lower learning rate.

No torch in here: `mssedu train --resume RUN` reads it before anything is loaded.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssedu.errors import CheckpointError, InputError, check_name, message
from mssedu.training.changes import as_json
from mssedu.training.config import TrainConfig

NAME = "config.json"
AT_THE_TOP = ("mssedu", "torch")  # versions that stand at the top of the document


def start_folder(run_dir: Path) -> None:
    """Make the folder of a new run.

    Raises:
        InputError: a run lies there already.
    """
    if has_state(run_dir):
        remedy = (
            "Name another folder with --run-dir, or go on with --resume (resume=True "
            "in Python)."
        )
        where, wanted = str(run_dir.absolute()), "a folder without a run"
        raise InputError(message(where, wanted, "last.json", remedy))
    run_dir.mkdir(parents=True, exist_ok=True)


def has_state(run_dir: Path) -> bool:
    """Whether a run lies in the folder that can go on."""
    return (run_dir / "last.json").exists()


def goes_on(run_dir: Path, resume: bool | str) -> bool:
    """Whether `fit` resumes a run, by what its user chose.

    Raises:
        InputError: neither True nor False nor "auto".
    """
    if resume not in (True, False, "auto"):
        remedy = "Name the folder of the run as run_dir."
        wanted = "resume True, False or 'auto'"
        raise InputError(message("fit", wanted, repr(resume), remedy))
    return has_state(run_dir) if resume == "auto" else bool(resume)


def read_run(run_dir: Path) -> dict[str, Any]:
    """The document in the folder of a run.

    Raises:
        InputError: no run there.
        CheckpointError: a document that cannot be read.
    """
    path = run_dir / NAME
    if not path.exists():
        where, wanted = str(run_dir.absolute()), "the folder of a run"
        remedy = (
            "Name it after --resume, or write --resume last and name it with --run-dir."
        )
        raise InputError(message(where, wanted, f"no {NAME}", remedy))
    try:
        document = json.loads(path.read_text("utf-8"))
        document["train_config"]["model"]
    except (ValueError, TypeError, KeyError) as error:
        got, remedy = f"{type(error).__name__}: {error}", "Restore it from a copy."
        wanted = "the settings of a run"
        where = str(path.absolute())
        raise CheckpointError(message(where, wanted, got, remedy)) from error
    return document


def config_of_run(document: Mapping[str, Any]) -> TrainConfig:
    """The settings of the newest phase of a run.

    Raises:
        InputError: a setting that this version does not know, or a wrong value.
    """
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in document["train_config"]:
        check_name("setting", name, known, where=NAME)
    return TrainConfig(**tupled(document["train_config"]))


def command_of_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line was given in the newest phase; empty for other runs."""
    phases = document.get("phases") or [{}]
    return dict(phases[-1].get("command") or {})


def write_run(
    run_dir: Path, document: Mapping[str, Any], phase: dict[str, Any]
) -> None:
    """Write config.json with the phases of before and, if it differs, the new one.

    Args:
        document: what stands at the top.
        phase: of this start, with `from_step`, the steps done before it.
    """
    phases = _with_phase(_phases_before(run_dir, phase["from_step"]), phase)
    text = json.dumps({**document, "phases": phases}, indent=1, ensure_ascii=False)
    temporary = run_dir / f"{NAME}.tmp"
    temporary.write_text(text + "\n", "utf-8")
    temporary.replace(run_dir / NAME)


def tupled(value: Any) -> Any:
    """JSON has lists only; configs hold tuples, also inside of a mapping."""
    if isinstance(value, dict):
        return {name: tupled(item) for name, item in value.items()}
    return tuple(map(tupled, value)) if isinstance(value, list) else value


def _phases_before(run_dir: Path, from_step: int) -> list[dict[str, Any]]:
    """Phases that have left steps in the run; a version 0.1 wrote only one."""
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
