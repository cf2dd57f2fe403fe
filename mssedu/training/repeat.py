"""A run and its repetition, compared: what differs in them, and in their results.

    run folder ─┬─ settings, versions, songs ──▶ differences that explain others
    repetition ─┴─ losses, scores, weights  ──▶ equal, or the largest difference

On a CPU, the same version of torch with the same number of threads gives the same
weights, bit by bit. On a GPU some sums have no fixed order, and small differences grow
with the steps: then compare the scores.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssedu.audio.files import misfit
from mssedu.errors import CheckpointError, InputError
from mssedu.training.manifest import FILE
from mssedu.training.runs import HISTORY, command_of_run, config_changes, read_run
from mssedu.weights.checkpoint import read_checkpoint

LAST = "last.safetensors"
_NUMBER = (float, None)
_ENTRY = {"step": int, "loss": _NUMBER, "usdr": _NUMBER}


@dataclass(frozen=True)
class Repetition:
    """A run and its repetition."""

    causes: tuple[str, ...]  # differences of settings, versions and songs, in words
    # For each validation of both: step, loss before and now, usdr before and now
    validations: tuple[tuple[int, float, float, float, float], ...]
    n_other: int  # validations that only one of the runs has
    weights: float  # largest difference of a weight of the last step; inf: other shapes

    @property
    def is_equal(self) -> bool:
        """Whether losses, scores and weights are equal bit by bit."""
        return not self.n_other and not self.weights and self.differences == (0.0, 0.0)

    @property
    def differences(self) -> tuple[float, float]:
        """The largest difference of a loss, and of a usdr in dB."""
        losses = [_difference(row[1], row[2]) for row in self.validations]
        scores = [_difference(row[3], row[4]) for row in self.validations]
        return max(losses, default=0.0), max(scores, default=0.0)


def check_repeatable(run_dir: Path) -> dict[str, Any]:
    """The command of a run that one command can repeat.

    Raises:
        InputError: no run, one that Python or `mssedu race` has started, or one whose
            settings or songs have changed on the way.
        CheckpointError: a damaged config.json.
    """
    document = read_run(run_dir)
    command = command_of_run(document)
    if "data" not in command:
        raise InputError(
            f"{run_dir} was not started with mssedu train, so its songs are not known. "
            "Start it again in the way in which it was started."
        )
    first, *later = document.get("phases") or [{}]
    for name in ("train_config", "model_config", "data", "valid_data"):
        if any(phase.get(name) != first.get(name) for phase in later):
            raise InputError(
                f"{run_dir} has phases with different {name}, and one command repeats "
                "one phase. Repeat its starts one after the other: config.json has "
                "them."
            )
    return command


def compare_runs(before: Path, now: Path) -> Repetition:
    """Compare a run with its repetition.

    Raises:
        InputError: a folder without a run.
        CheckpointError: damaged files.
    """
    old, new = _entries(before), _entries(now)
    common = [step for step in old if step in new]
    rows = [
        (
            step,
            *_pair(old[step], new[step], "loss"),
            *_pair(old[step], new[step], "usdr"),
        )
        for step in common
    ]
    return Repetition(
        causes=tuple(_causes(before, now)),
        validations=tuple(rows),
        n_other=len(old.keys() ^ new.keys()),
        weights=_weights_difference(before, now),
    )


def _causes(before: Path, now: Path) -> Iterator[str]:
    """What is not the same in two runs, other than their results."""
    old, new = read_run(before), read_run(now)
    for name in ("train_config", "model_config"):
        if changes := config_changes(old.get(name, {}), new.get(name, {})):
            yield f"{name}: {changes}"
    manifests = [_manifest(before), _manifest(now)]
    for name in ("code", "data", "environment"):
        changes = config_changes(*[m.get(name) or {} for m in manifests])
        if changes:
            yield f"{name}: {changes}"


def _manifest(run_dir: Path) -> dict[str, Any]:
    """manifest.json of a run; an earlier version wrote none."""
    path = run_dir / FILE
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Restore it.") from error


def _entries(run_dir: Path) -> dict[int, Mapping[str, Any]]:
    """The validations of a run, by their step."""
    path, found = run_dir / HISTORY, {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            wrong = misfit(entry, _ENTRY)
        except (ValueError, RecursionError) as error:
            wrong = str(error)
        if wrong:
            raise CheckpointError(f"{path} is damaged: {wrong}. Restore it.")
        found[entry["step"]] = entry
    return found


def _pair(
    old: Mapping[str, Any], new: Mapping[str, Any], name: str
) -> tuple[float, float]:
    values = (old[name], new[name])
    first, second = (math.nan if value is None else value for value in values)
    return first, second


def _difference(old: float, new: float) -> float:
    """0 if both are undefined, infinite if one of them is."""
    if math.isnan(old) or math.isnan(new):
        return 0.0 if math.isnan(old) and math.isnan(new) else math.inf
    return abs(new - old)


def _weights_difference(before: Path, now: Path) -> float:
    """The largest difference of the weights of the last steps."""
    old, new = (read_checkpoint(run / LAST).weights for run in (before, now))
    shapes: Sequence[dict[str, Any]] = [
        {name: tensor.shape for name, tensor in weights.items()}
        for weights in (old, new)
    ]
    if shapes[0] != shapes[1]:
        return math.inf
    differences = [float((new[n].double() - old[n].double()).abs().max()) for n in old]
    return max(differences, default=0.0)
