"""The state of a run, from which it goes on exactly.

    weights ─ their averages ─ optimizer's memory ─ random state ─ step ─ history
       └───────────┴────── last.safetensors ┴──────────────┘          └ last.json

The data need no state: item i of `RandomSegments` follows from the seed and from i, so
the step says where to go on. The learning rate follows from the step and the history.
Notebook: 05.
"""

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.audio.files import misfit
from mssedu.errors import CheckpointError, InputError
from mssedu.training.config import TrainConfig
from mssedu.training.criterion import improvements
from mssedu.training.energy import stopwatch
from mssedu.training.optimizers import (
    create_optimizer,
    learning_rate_at,
    n_since_best,
    plateau_drop,
)
from mssedu.training.runs import ALWAYS, check_same_model, config_changes, settings_now
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
    "train_config": {"model": str},
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
    "time": {str: float},
    "decay": (float, None),
    "scaler": {str: float},
    "new_scores": [int],
}
# Settings on which a score depends, by its metric
_SCORED_BY = {
    "usdr": ["best_metric"],
    "valid_loss": ["best_metric", "loss", "stem_weights", "segment"],
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
    """A model in training: weights, their averages, optimizer, step, history.

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
        self.averages = {d: copy.deepcopy(model).eval() for d in config.ema_decay}
        # Which average is the best one, by its decay; None: the weights themselves
        self.decay: float | None = next(iter(self.averages), None)
        self.optimizer = create_optimizer(model, config)
        # It multiplies the loss, so that no gradient is too small for float16.
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=config.precision == "float16"
        )
        self.step = 0  # steps done, skipped ones included
        self.n_skipped = 0  # steps without an update, because of NaN or Inf
        self.skipped_in_a_row = 0
        self.validation_due = False  # from the step that needs it until it has ended
        self.window = Window()
        self.watch = stopwatch(self.device)
        # The best value of best_metric; NaN and -inf are never better
        self.best_score = -math.inf
        self.best_step = 0
        self.history: list[dict[str, Any]] = []  # one entry per validation
        # Entries from which on scores are not compared with earlier ones
        self.new_scores: list[int] = []

    @property
    def average(self) -> nn.Module | None:
        """The average of the weights with the best score, if there is one."""
        return None if self.decay is None else self.averages[self.decay]

    @property
    def evaluated(self) -> nn.Module:
        """The weights to save: the best average if there is one."""
        return self.model if self.average is None else self.average

    @property
    def drop(self) -> float:
        """The factor of the learning rate after all plateaus so far."""
        if self.config.schedule != "plateau":
            return 1.0
        better = [b for part in self._improvements() for b in part]
        return plateau_drop(better, self.config)

    @property
    def is_stalled(self) -> bool:
        """Whether `early_stop` validations in a row were no improvement."""
        limit = self.config.early_stop
        return bool(limit) and n_since_best(self._improvements()[-1]) >= limit

    def _improvements(self) -> list[list[bool]]:
        """See `improvements`: a list for each part of the history that compares."""
        ends = pairwise([0, *self.new_scores, len(self.history)])
        parts = [self.history[first:end] for first, end in ends]
        return [improvements(part, self.config.best_metric) for part in parts]

    @property
    def spent(self) -> float | None:
        """The spent share of the budget of computing time; None without a budget."""
        budget = self.config.budget_seconds
        return None if budget is None else self.watch.share(budget)

    @property
    def n_expected(self) -> int:
        """Steps of the whole run; with a budget, an estimate from those done so far."""
        if not (self.spent and self.step):
            return self.config.steps
        return min(self.config.steps, math.ceil(self.step / self.spent))

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done, or the budget is spent and the step validated."""
        if self.step == self.config.steps:
            return not self.validation_due
        validated = bool(self.history) and self.history[-1]["step"] == self.step
        if validated and self.is_stalled:
            return True
        return validated and self.watch.is_spent(self.config.budget_seconds)

    def set_learning_rate(self, step: int) -> float:
        """Give the optimizer the learning rate of a step, from 0; returns it."""
        rate = self.drop * learning_rate_at(step, self.config, self.spent)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    @torch.no_grad()
    def update_average(self) -> None:
        """Move each average of the weights a small step towards the weights.

        At first it moves faster, so that the random first weights soon count little.
        """
        weights: list[Tensor] = [*self.model.parameters()]
        buffers = [*self.model.buffers()]
        for limit, average in self.averages.items():
            decay = min(limit, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_([*average.parameters()], weights, 1 - decay)
            # Batch norm's statistics are running averages already.
            for copied, buffer in zip(average.buffers(), buffers, strict=True):
                copied.copy_(buffer)

    def is_finite(self) -> bool:
        """Whether no weight and no running statistic is NaN or Inf."""
        models = [self.model, *self.averages.values()]
        tensors = [t for model in models for t in model.state_dict().values()]
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

    def facts(self) -> dict[str, Any]:
        """What every checkpoint of this run says about the run."""
        return {
            "step": self.step,
            "weights": "last step" if self.decay is None else "running average",
            "decay": self.decay,
            "train_config": dataclasses.asdict(self.config),
            "device": self.device.type,
            "data": self.data,
        }

    def save(self, path: Path) -> None:
        """Write everything that `restore` needs; the model in it is `evaluated`."""
        tensors = {"rng/cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        for parameter, name in self._trained():
            for key, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{key}"] = tensor
        others = {
            f"average/{d}": a for d, a in self.averages.items() if d != self.decay
        }
        if self.averages:
            others["model"] = self.model
        for prefix, other in others.items():
            for name, tensor in other.state_dict().items():
                tensors[f"{prefix}/{name}"] = tensor
        facts = {
            **self.facts(),
            "n_skipped": self.n_skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "validation_due": self.validation_due,
            "window": dataclasses.asdict(self.window),
            "time": self.watch.facts,
            "scaler": self.scaler.state_dict(),
            "best_score": number_or_none(self.best_score),
            "best_step": self.best_step,
            "history": self.history,
            "new_scores": self.new_scores,
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
        note += f", with another config: {changes}" if changes else ""
        note += f", with other data: {songs}" if songs else ""
        if "validation" in songs or self._scores_differ(facts["train_config"]):
            self.best_score, self.best_step = -math.inf, 0
            self.new_scores.append(len(self.history))
            note += " (the earlier best score no longer counts)"
        return f"resumed after step {self.step}{note}"

    def _config_changes(
        self, checkpoint: Checkpoint, where: str, *, is_allowed: bool
    ) -> str:
        """All settings that differ from the saved ones; an error if they may not."""
        old = settings_now(checkpoint.facts["train_config"])
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

    def _scores_differ(self, settings: Mapping[str, Any]) -> bool:
        """Whether the saved settings give the metric of the best weights other values.

        So other scores cannot be compared with those of the history.
        """
        old, new = settings_now(settings), dataclasses.asdict(self.config)
        names = _SCORED_BY[self.config.best_metric]
        return bool(config_changes(old, new, without=new.keys() - {*names}))

    def _load(self, checkpoint: Checkpoint, where: str) -> None:
        tensors, facts = checkpoint.tensors, checkpoint.facts
        weights = _under("model/", tensors) or checkpoint.weights
        load_weights(self.model, weights, where)
        for decay, average in self.averages.items():
            own = _under(f"average/{decay}/", tensors)
            load_weights(average, own or checkpoint.weights, where)
        if facts.get("decay") in self.averages:
            self.decay = facts["decay"]
        settings = settings_now(facts["train_config"])
        if settings["optimizer"] == self.config.optimizer:
            self._load_memory(_under("optimizer/", tensors))
        if self.scaler.is_enabled() and facts.get("scaler"):
            self.scaler.load_state_dict(facts["scaler"])
        torch.set_rng_state(tensors["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng/cuda"], self.device)
        self.step, self.n_skipped = facts["step"], facts["n_skipped"]
        best = facts["best_score"]
        self.best_score = -math.inf if best is None else best
        self.best_step, self.history = facts["best_step"], facts["history"]
        self.new_scores = facts.get("new_scores", [])
        # Version 0.1 saved none of these, as it saved at validations only.
        self.skipped_in_a_row = facts.get("skipped_in_a_row", 0)
        self.validation_due = facts.get("validation_due", False)
        self.watch = stopwatch(self.device, facts.get("time"))
        window = facts.get("window", {})
        names = [f.name for f in dataclasses.fields(Window) if f.name in window]
        self.window = Window(**{name: window[name] for name in names})
        if self.step:  # a validation that is due notes the rate of the last step
            self.set_learning_rate(self.step - 1)

    def _trained(self) -> list[tuple[nn.Parameter, str]]:
        """The weights that the optimizer changes, in its order, with their names."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        groups = self.optimizer.param_groups
        return [(p, names[p]) for group in groups for p in group["params"]]

    def _load_memory(self, tensors: Mapping[str, Tensor]) -> None:
        """Give the optimizer its memory back, by the names of the weights.

        The first versions had numbers in place of names. A weight that was frozen has
        no memory, and begins without.
        """
        numbers = {name: number for number, (_, name) in enumerate(self._trained())}
        memory: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, kind = key.split("/")
            number = int(name) if name.isdigit() else numbers.get(name)
            if number is not None:
                memory.setdefault(number, {})[kind] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": memory, "param_groups": groups})


def checkpoint_bytes(model: nn.Module, config: TrainConfig) -> int:
    """Size of last.safetensors: weights, their averages, the optimizer's moments."""
    n_copies = 1 + len(config.ema_decay)
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
