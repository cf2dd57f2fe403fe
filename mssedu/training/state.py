"""The state of a run, from which it goes on exactly.

    weights ─ average of the weights ─ Adam's memory ─ step ─ history ─ random state
       └──────────┴───────────────────────┴─ last.safetensors ┘───── last.json ┘

The data need no state: item i of `RandomSegments` follows from the seed and from i, so
the step says where to go on. Notebook: 05.
"""

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.audio.files import misfit
from mssedu.errors import CheckpointError, InputError
from mssedu.training.config import (
    ALWAYS,
    TrainConfig,
    check_same_model,
    config_changes,
)
from mssedu.weights.checkpoint import (
    Checkpoint,
    config_fields,
    load_weights,
    previous,
    read_checkpoint,
    save_checkpoint,
)

# What `TrainState.save` says about the run, as `misfit` takes it; version 0.1 said less
_FACTS = {
    "step": int,
    "n_skipped": int,
    "train_config": dict,
    "best_score": (float, None),
    "best_step": int,
    "history": [{"step": int, "usdr": (float, None)}],
}
_LATER = {  # which version 0.1 did not say
    "skipped_in_a_row": int,
    "validation_due": bool,
    "window": {
        "loss_sum": float,
        "n_losses": int,
        "waiting_seconds": float,
        "computing_seconds": float,
    },
    "data": {str: (str, None)},
    "device": str,
}
JSON_BYTES = 100_000  # of a checkpoint, and of the names in the file of its tensors


@dataclass
class Window:
    """Sums since the last validation."""

    loss_sum: float = 0.0
    n_losses: int = 0  # steps that were not skipped
    waiting_seconds: float = 0.0
    computing_seconds: float = 0.0


class TrainState:
    """A model in training: weights, their average, optimizer, step, history.

    Args:
        model: on the device where it trains; changed in place.
        config: of the run.
        data: hashes of the songs of "train" and "valid".
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
        self.validation_due = False  # from the step that needs it until it has ended
        self.window = Window()
        self.best_score = -math.inf  # usdr, dB; NaN and -inf are never better
        self.best_step = 0
        self.history: list[dict[str, Any]] = []  # one entry per validation

    @property
    def evaluated(self) -> nn.Module:
        """The weights to validate and to save: the average if there is one."""
        return self.model if self.average is None else self.average

    def update_average(self) -> None:
        """Move the average of the weights a small step towards the weights.

        At first it moves faster, so that the random first weights soon count little.
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
        """Whether no weight and no running statistic is NaN or Inf."""
        models = [self.model] if self.average is None else [self.model, self.average]
        tensors = [t for model in models for t in model.state_dict().values()]
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

    def facts(self) -> dict[str, Any]:
        """What every checkpoint of this run says about the run."""
        return {
            "step": self.step,
            "weights": "last step" if self.average is None else "running average",
            "train_config": dataclasses.asdict(self.config),
            "device": self.device.type,
            "data": self.data,
        }

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

    def n_bytes(self) -> int:
        """Size of a file that `save` writes."""
        return checkpoint_bytes(self.model, self.config)

    def restore(
        self, path: Path, *, allow_config: bool = False, allow_data: bool = False
    ) -> str:
        """Go back to the state of `save`; returns a sentence on what was read.

        If the file is damaged, the version before is read. A CheckpointError if both
        are, or if model, settings or songs differ and may not; an InputError if there
        is no run, or fewer steps than are done.
        """
        checkpoint, note = _read_last(path)
        where = str(path.parent.absolute())
        facts = checkpoint.facts
        form = _FACTS | {name: _LATER[name] for name in _LATER if name in facts}
        if wrong := misfit(facts, form):
            raise CheckpointError(
                f"{where}: {path.with_suffix('.json').name} is damaged: {wrong} in its "
                "facts. Restore it from a copy, or use the version before it."
            )
        changes = self._config_changes(checkpoint, where, is_allowed=allow_config)
        songs = data_changes(checkpoint.facts.get("data"), self.data)
        if songs and not allow_data:
            raise CheckpointError(
                f"{where}: the songs differ from those of the run: {songs}. Restore "
                "them, or accept the change with --allow-data-change "
                "(allow_data_change=True in Python)."
            )
        self._load(checkpoint, str(path))
        if "validation songs" in songs:  # scores of other songs cannot be compared
            self.best_score, self.best_step = -math.inf, 0
            songs += " (the earlier best score no longer counts)"
        note += f", with another config: {changes}" if changes else ""
        note += f", with other data: {songs}" if songs else ""
        return f"resumed after step {self.step}{note}"

    def _config_changes(
        self, checkpoint: Checkpoint, where: str, *, is_allowed: bool
    ) -> str:
        """All settings that differ from the saved ones; an error if they may not."""
        # An earlier version did not have all settings, and did what the defaults do.
        old = dataclasses.asdict(TrainConfig()) | checkpoint.facts["train_config"]
        new = dataclasses.asdict(self.config)
        n_done = checkpoint.facts["step"]
        check_same_model(where, old, new)
        if self.config.steps < n_done:
            raise InputError(
                f"{where}: steps is {self.config.steps}, but the run has done {n_done} "
                f"steps. Choose --steps {n_done} or more (steps in Python)."
            )
        kind = self.device.type
        before = {"device": checkpoint.facts.get("device", kind)}
        fields = config_changes(checkpoint.config, config_fields(self.model), ["stems"])
        changes = [
            config_changes(old, new, without=ALWAYS),
            config_changes(before, {"device": kind}),
            fields and f"in the model {fields}",
        ]
        if any(changes) and not is_allowed:
            raise CheckpointError(
                f"{where}: these settings differ from those of the run: "
                f"{', '.join(filter(None, changes))}. Restore them, or accept the "
                "change with --allow-config-change (allow_config_change=True in "
                "Python)."
            )
        changes.append(config_changes(old, new, without=new.keys() - ALWAYS))
        return ", ".join(filter(None, changes))

    def _load(self, checkpoint: Checkpoint, where: str) -> None:
        tensors, facts = checkpoint.tensors, checkpoint.facts
        weights = _under("model/", tensors) or checkpoint.weights
        load_weights(self.model, weights, where)
        if self.average is not None:
            load_weights(self.average, checkpoint.weights, where)
        memory: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _under("optimizer/", tensors).items():
            index, name = key.split("/")
            memory.setdefault(int(index), {})[name] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": memory, "param_groups": groups})
        torch.set_rng_state(tensors["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng/cuda"], self.device)
        self.step, self.n_skipped = facts["step"], facts["n_skipped"]
        best = facts["best_score"]
        self.best_score = -math.inf if best is None else best
        self.best_step, self.history = facts["best_step"], facts["history"]
        # Version 0.1 saved none of these, as it saved at validations only.
        self.skipped_in_a_row = facts.get("skipped_in_a_row", 0)
        self.validation_due = facts.get("validation_due", False)
        window = facts.get("window", {})
        names = [f.name for f in dataclasses.fields(Window) if f.name in window]
        self.window = Window(**{name: window[name] for name in names})


def checkpoint_bytes(model: nn.Module, config: TrainConfig) -> int:
    """Size of last.safetensors of a run: weights, their average, Adam's two moments."""
    n_copies = 2 if config.ema_decay else 1
    trained = sum(p.numel() * p.element_size() for p in model.parameters())
    return n_copies * weights_bytes(model) + 2 * trained + JSON_BYTES


def weights_bytes(model: nn.Module) -> int:
    """Size of the weights and running statistics of a model."""
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


def _read_last(path: Path) -> tuple[Checkpoint, str]:
    """The newest undamaged version, and a note if that is not the newest one."""
    if not path.with_suffix(".json").exists():
        raise InputError(
            f"{path.parent.absolute()} holds no run to resume: it has no "
            f"{path.with_suffix('.json').name}. Give the folder of a run, start "
            "without --resume, or use --resume auto (resume='auto' in Python)."
        )
    try:
        return read_checkpoint(path), ""
    except CheckpointError as error:
        if not previous(path).exists():
            raise
        note = f" (the version before, because {error})"
        return read_checkpoint(previous(path)), note


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def number_or_none(value: float) -> float | None:
    """The value, or None where it is NaN or infinite, which JSON cannot hold."""
    return value if math.isfinite(value) else None


def data_changes(
    old: Mapping[str, str | None] | None, new: Mapping[str, str | None]
) -> str:
    """Which songs differ, in words; empty if none do, or if the old are unknown.

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
