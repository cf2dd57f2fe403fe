"""What may change when a run goes on, and what may not.

    never       model, preset, stems and their order, steps below those done
    if allowed  settings that change a number, the kind of device, the songs
    always      n_workers, save_every, and a device of the same kind

No torch in here, so that the command line can ask before it loads anything.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mssedu.errors import CheckpointError, InputError, message

NEVER = ("model", "preset", "stems")
ALWAYS = {"n_workers", "save_every", "device"}  # the device's kind is compared instead
ALLOW_CONFIG = "--allow-config-change (allow_config_change=True in Python)"
ALLOW_DATA = "--allow-data-change (allow_data_change=True in Python)"


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
        remedy = (
            "Model, preset and stems (and their order) never change within a run: "
            "train another run in another folder with --run-dir (run_dir in Python)."
        )
        wanted = "the model that the run began with"
        raise CheckpointError(message(where, wanted, changes, remedy))


def check_steps(where: str, n_done: int, steps: int) -> None:
    """Raise InputError if a run is to end before a step that it has done."""
    if steps < n_done:
        remedy = f"Choose --steps {n_done} or more (steps in Python)."
        wanted = f"at least the {n_done} steps that are done"
        raise InputError(message(where, wanted, f"steps {steps}", remedy))


def check_allowed(where: str, changes: str, *, is_allowed: bool) -> None:
    """Raise CheckpointError if settings differ, unless that is allowed."""
    if changes and not is_allowed:
        remedy = f"Restore them, or accept the change with {ALLOW_CONFIG}."
        wanted = "the settings that the run began with"
        raise CheckpointError(message(where, wanted, changes, remedy))


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
        remedy = f"Restore them, or accept the change with {ALLOW_DATA}."
        wanted = "the songs that the run began with"
        raise CheckpointError(message(where, wanted, changes, remedy))


def as_json(value: Any) -> Any:
    """The value as JSON gives it back: tuples and lists look alike then."""
    return json.loads(json.dumps(value))
