"""The state of a run, from which it goes on exactly, and the signals that stop it.

    weights ─ average of the weights ─ Adam's memory ─ step ─ history ─ random state
       └──────────┴───────────────────────┴─ last.safetensors ┘───── last.json ┘

The data need no state: item i of `RandomSegments` follows from the seed and from i, so
the step says where to go on. Ctrl-C and SIGTERM, which a cluster, `docker stop` and
`kill` send before they end a program, stop the run where its state is complete:

    during a step or a save ──▶ once that is finished ─┐
    elsewhere, e.g. validation ──▶ at once ────────────┴─▶ KeyboardInterrupt, SystemExit
    the second time ──▶ at once, anywhere

Notebook: 05.
"""

import copy
import dataclasses
import json
import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from mssedu.audio.files import write_text
from mssedu.errors import CheckpointError, InputError
from mssedu.training.config import TrainConfig
from mssedu.training.resume import (
    ALWAYS,
    Allowed,
    check_allowed,
    check_data,
    check_same_model,
    check_steps,
    config_changes,
    data_changes,
)
from mssedu.weights.checkpoint import (
    Checkpoint,
    config_fields,
    load_weights,
    previous,
    read_checkpoint,
    save_checkpoint,
)

NOTHING = Allowed()
STOPS = (signal.SIGINT, signal.SIGTERM)


# ---- what changes while a model trains ----------------------------------------------


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
        """What every checkpoint of this run says about the run."""
        return {
            "step": self.step,
            "weights": "last step" if self.average is None else "running average",
            "train_config": dataclasses.asdict(self.config),
            "device": self.device.type,
            "data": self.data,
        }

    def restore(self, path: Path, allowed: Allowed = NOTHING) -> str:
        """Go back to the state of `save`; returns a sentence on what was read.

        Args:
            path: last.safetensors of the run; if it is damaged, the version before.
            allowed: which differences the user accepts.

        Raises:
            CheckpointError: both versions damaged, another model, or settings or songs
                that differ and may not, with the differences.
            InputError: no run in the folder, or fewer steps than are done.
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
            songs += " (the earlier best score no longer counts)"
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
        """The rest; version 0.1 saved no window, as it saved at validations only."""
        self.step, self.n_skipped = facts["step"], facts["n_skipped"]
        best = facts["best_score"]
        self.best_score = -math.inf if best is None else best
        self.best_step, self.history = facts["best_step"], facts["history"]
        self.skipped_in_a_row = facts.get("skipped_in_a_row", 0)
        self.validation_due = facts.get("validation_due", False)
        self.window = Window(**facts.get("window", {}))

    def write_history(self, path: Path) -> None:
        """Write one JSON line per validation, replacing the file as a whole."""
        lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in self.history]
        write_text(path, "".join(lines))


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


# ---- signals that stop a run ---------------------------------------------------------


class StopSignals:
    """The signals received, and whether the state of the run is complete right now.

    A first signal during a step or a save takes effect after it. Elsewhere, for example
    in a validation, it takes effect at once, and so does every second one.
    """

    def __init__(self) -> None:
        self.received: int | None = None  # number of the newest signal
        # False while the run begins, and while a step or a save changes the state
        self.is_whole = False

    @contextmanager
    def finish_first(self) -> Iterator[None]:
        """While open, the first signal waits; it takes effect when this closes."""
        self.is_whole = False
        yield
        self.is_whole = True  # not after an error: the step is half done then
        if self.received is not None:
            self.stop()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals."""
        is_first = self.received is None
        self.received = number
        if self.is_whole or not is_first:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise the exception of the signal received.

        Raises:
            KeyboardInterrupt: SIGINT, as without this handler.
            SystemExit: SIGTERM, with the exit code 143 that shells give it.
        """
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle SIGINT and SIGTERM while open; afterwards the old handlers are back.

    Outside the main thread, where Python handles no signals, this changes nothing. A
    signal that is ignored, as Ctrl-C is in a background job, stays ignored.
    """
    signals, before = StopSignals(), {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                handler = signal.getsignal(number)
                if handler not in (None, signal.SIG_IGN):
                    before[number] = handler
                    signal.signal(number, signals.handle)
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_wait() -> Iterator[None]:
    """While open, signals wait, also in a process that is started now.

    So a Ctrl-C cannot reach it before it has called `leave_signals`.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals(worker: int) -> None:
    """In a process that reads data, leave the signals to the training process.

    A terminal sends Ctrl-C to all processes, a cluster SIGTERM. Ctrl-C is ignored here,
    SIGTERM ends the process without a message; the training process ends it anyway.

    Args:
        worker: number of the process, from DataLoader.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
