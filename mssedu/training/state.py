"""What changes while a model trains, saved whole so that a resumed run is exact.

    weights ─ average of the weights ─ Adam's memory ─ step ─ history ─ random state
       └──────────┴───────────────────────┴─ last.safetensors ┘───── last.json ┘

Not in here: the data. Item i of `RandomSegments` follows from the seed and from i, so
the step says where to go on reading. Notebook: 05.
"""

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.checkpoint import (
    Checkpoint,
    load_weights,
    previous,
    read_checkpoint,
    save_checkpoint,
)
from mssedu.checks import CheckpointError, InputError, message
from mssedu.training.config import TrainConfig


class TrainState:
    """A model on its way: weights, their average, optimizer, step, history.

    Args:
        model: on the device where it trains; changed in place.
        config: of the run.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model = model
        self.config = config
        self.device = next(model.parameters()).device
        self.average = copy.deepcopy(model).eval() if config.ema_decay else None
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, betas=config.betas
        )
        self.step = 0  # steps done, skipped ones included
        self.n_skipped = 0  # steps without an update, because of NaN or Inf
        self.best_score = -math.inf  # usdr, dB; what is no number never beats it
        self.best_step = 0
        self.history: list[dict[str, Any]] = []  # one entry per validation

    @property
    def evaluated(self) -> nn.Module:
        """The weights that are validated and kept: the average if there is one."""
        return self.model if self.average is None else self.average

    def update_average(self) -> None:
        """Move the average of the weights a small step towards the weights.

        Early on it moves faster, so that it soon forgets the random start.
        """
        if self.average is None:
            return
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        weights = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, mean in self.average.named_parameters():
                mean.lerp_(weights[name], 1 - decay)
            # Batch norm's statistics are running averages already.
            for copied, buffer in zip(
                self.average.buffers(), self.model.buffers(), strict=True
            ):
                copied.copy_(buffer)

    def save(self, path: Path) -> None:
        """Write everything that `restore` needs; the model in it is `evaluated`."""
        tensors = {"rng/cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        for index, memory in self.optimizer.state_dict()["state"].items():
            for name, tensor in memory.items():
                tensors[f"optimizer/{index}/{name}"] = tensor
        if self.average is not None:
            for name, tensor in self.model.state_dict().items():
                tensors[f"model/{name}"] = tensor
        facts = {
            **self.facts(),
            "n_skipped": self.n_skipped,
            "best_score": number_or_none(self.best_score),
            "best_step": self.best_step,
            "history": self.history,
        }
        save_checkpoint(path, self.evaluated, tensors=tensors, facts=facts)

    def facts(self) -> dict[str, Any]:
        """What every checkpoint of this run says about its origin."""
        return {
            "step": self.step,
            "weights": "last step" if self.average is None else "running average",
            "train_config": dataclasses.asdict(self.config),
        }

    def restore(self, path: Path, *, allow_config_change: bool = False) -> str:
        """Go back to the moment of `save`; returns a sentence on what was read.

        Args:
            path: last.safetensors of the run; if it is damaged, the version before.

        Raises:
            CheckpointError: nothing whole there, weights of another model, or a
                training config that differs, with the differences.
        """
        checkpoint, note = _read_last(path)
        old, new = checkpoint.facts["train_config"], dataclasses.asdict(self.config)
        changes = config_changes(old, new)
        if changes and not allow_config_change:
            remedy = "Restore it, or resume with allow_config_change=True."
            wanted = "the config that the run began with"
            raise CheckpointError(message(str(path), wanted, changes, remedy))
        self._restore_weights(checkpoint, str(path))
        self._restore_optimizer(checkpoint.tensors)
        torch.set_rng_state(checkpoint.tensors["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in checkpoint.tensors:
            torch.cuda.set_rng_state(checkpoint.tensors["rng/cuda"], self.device)
        facts = checkpoint.facts
        self.step, self.n_skipped = facts["step"], facts["n_skipped"]
        best = facts["best_score"]
        self.best_score = -math.inf if best is None else best
        self.best_step, self.history = facts["best_step"], facts["history"]
        changed = f", with another config: {changes}" if changes else ""
        return f"resumed after step {self.step}{note}{changed}"

    def _restore_weights(self, checkpoint: Checkpoint, where: str) -> None:
        raw = _under("model/", checkpoint.tensors)
        load_weights(self.model, raw or checkpoint.weights, where)
        if self.average is not None:
            load_weights(self.average, checkpoint.weights, where)

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        memory: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _under("optimizer/", tensors).items():
            index, name = key.split("/")
            memory.setdefault(int(index), {})[name] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": memory, "param_groups": groups})

    def write_history(self, path: Path) -> None:
        """One JSON line per validation, replaced as a whole."""
        lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in self.history]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(lines), "utf-8")
        temporary.replace(path)


def config_changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The fields that differ, as 'name: old -> new'; empty if none do.

    Example:
        >>> config_changes({"seed": 0, "steps": 10}, {"seed": 1, "steps": 10})
        'seed: 0 -> 1'
    """
    before = json.loads(json.dumps(old))  # tuples and lists look alike in JSON
    after = json.loads(json.dumps(new))
    return ", ".join(
        f"{name}: {before.get(name)!r} -> {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _read_last(path: Path) -> tuple[Checkpoint, str]:
    """The newest whole version, and a note if that is not the newest one."""
    if not path.with_suffix(".json").exists():
        remedy = "Name the folder of an earlier run, or start without resume."
        got = f"no {path.with_suffix('.json').name}"
        where = str(path.parent.absolute())
        raise InputError(message(where, "a run to resume", got, remedy))
    try:
        return read_checkpoint(path), ""
    except CheckpointError as error:
        if not previous(path).exists():
            raise
        return read_checkpoint(
            previous(path)
        ), f" (the version before, because {error})"


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def number_or_none(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else None
