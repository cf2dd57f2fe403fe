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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import CheckpointError, InputError, message
from mssedu.training.changes import (
    ALWAYS,
    Allowed,
    check_allowed,
    check_data,
    check_same_model,
    check_steps,
    config_changes,
    data_changes,
)
from mssedu.training.config import TrainConfig
from mssedu.weights.checkpoint import (
    Checkpoint,
    config_fields,
    load_weights,
    previous,
    read_checkpoint,
    save_checkpoint,
)

NOTHING = Allowed()


@dataclass
class Window:
    """What is summed up since the last validation."""

    loss_sum: float = 0.0
    n_losses: int = 0  # steps that were not skipped
    waiting_seconds: float = 0.0
    computing_seconds: float = 0.0


class TrainState:
    """A model on its way: weights, their average, optimizer, step, history.

    Args:
        model: on the device where it trains; changed in place.
        config: of the run.
        data: fingerprints of the songs of "train" and "valid".
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        data: Mapping[str, str | None] | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self.data = dict(data or {})
        self.device = next(model.parameters()).device
        self.average = copy.deepcopy(model).eval() if config.ema_decay else None
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, betas=config.betas
        )
        self.step = 0  # steps done, skipped ones included
        self.n_skipped = 0  # steps without an update, because of NaN or Inf
        self.skipped_in_a_row = 0
        self.validation_due = False  # a step called for it and it has not ended yet
        self.window = Window()
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

    def is_finite(self) -> bool:
        """Whether all weights and running statistics are; NaN in them would stay."""
        models = [self.model] if self.average is None else [self.model, self.average]
        tensors = [t for model in models for t in model.state_dict().values()]
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

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
            "skipped_in_a_row": self.skipped_in_a_row,
            "validation_due": self.validation_due,
            "window": dataclasses.asdict(self.window),
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
            "device": self.device.type,
            "data": self.data,
        }

    def restore(self, path: Path, allowed: Allowed = NOTHING) -> str:
        """Go back to the moment of `save`; returns a sentence on what was read.

        Args:
            path: last.safetensors of the run; if it is damaged, the version before.
            allowed: what may differ.

        Raises:
            CheckpointError: nothing whole there, another model, or settings or songs
                that differ and may not, with the differences.
            InputError: no run there, or fewer steps than are done.
        """
        checkpoint, note = _read_last(path)
        where, facts = str(path.parent.absolute()), checkpoint.facts
        new = dataclasses.asdict(self.config)
        check_same_model(where, facts["train_config"], new)
        check_steps(where, facts["step"], self.config.steps)
        changes = self._changes(checkpoint)
        check_allowed(where, changes, is_allowed=allowed.config)
        known = ALWAYS & facts["train_config"].keys()
        free = config_changes(facts["train_config"], new, without=new.keys() - known)
        changes = ", ".join(part for part in (changes, free) if part)
        songs = data_changes(facts.get("data"), self.data)
        check_data(where, songs, is_allowed=allowed.data)
        self._restore_weights(checkpoint, str(path))
        self._restore_optimizer(checkpoint.tensors)
        self._restore_random_state(checkpoint.tensors)
        self._restore_facts(facts)
        if "validation songs" in songs:  # scores of other songs cannot be compared
            self.best_score, self.best_step = -math.inf, 0
            songs += " (the best score begins anew)"
        changed = f", with another config: {changes}" if changes else ""
        changed += f", with other data: {songs}" if songs else ""
        return f"resumed after step {self.step}{note}{changed}"

    def _changes(self, checkpoint: Checkpoint) -> str:
        """Settings that differ from the saved ones and change a number."""
        facts = checkpoint.facts
        new = dataclasses.asdict(self.config)
        kinds = facts.get("device", self.device.type), self.device.type
        fields = config_changes(checkpoint.config, config_fields(self.model), ["stems"])
        parts = (
            config_changes(facts["train_config"], new, without=ALWAYS),
            config_changes({"device": kinds[0]}, {"device": kinds[1]}),
            fields and f"in the model {fields}",
        )
        return ", ".join(part for part in parts if part)

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

    def _restore_random_state(self, tensors: dict[str, Tensor]) -> None:
        torch.set_rng_state(tensors["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng/cuda"], self.device)

    def _restore_facts(self, facts: dict[str, Any]) -> None:
        """The rest; version 0.1 kept no window, as it saved at validations only."""
        self.step, self.n_skipped = facts["step"], facts["n_skipped"]
        best = facts["best_score"]
        self.best_score = -math.inf if best is None else best
        self.best_step, self.history = facts["best_step"], facts["history"]
        self.skipped_in_a_row = facts.get("skipped_in_a_row", 0)
        self.validation_due = facts.get("validation_due", False)
        self.window = Window(**facts.get("window", {}))

    def write_history(self, path: Path) -> None:
        """One JSON line per validation, replaced as a whole."""
        lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in self.history]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(lines), "utf-8")
        temporary.replace(path)


def _read_last(path: Path) -> tuple[Checkpoint, str]:
    """The newest whole version, and a note if that is not the newest one."""
    if not path.with_suffix(".json").exists():
        remedy = (
            "Name the folder of an earlier run, start without --resume, or use "
            "--resume auto (resume='auto' in Python)."
        )
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
