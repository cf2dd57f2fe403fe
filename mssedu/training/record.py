"""The folder of a run: config.json, curves, history, best and last weights.

config.json says what was trained, on what, by which version, in which phases. A phase
is a start of the run whose settings, songs, versions or device differ from before:
steps 0 … 999 on one machine, then more with a lower learning rate.
"""

import dataclasses
import json
import math
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mssedu
from mssedu.audio.disk import check_folder, check_room, full_disk, is_full, room_for
from mssedu.audio.files import as_json, write_bytes, write_text
from mssedu.audio.words import counted
from mssedu.data.cache import audio_source
from mssedu.data.track import Track
from mssedu.errors import DiskError, MssEduError
from mssedu.models.contract import config_of
from mssedu.training.config import TrainConfig
from mssedu.training.criterion import is_better
from mssedu.training.distributed import is_first, wait_for_all
from mssedu.training.manifest import write_manifest
from mssedu.training.pace import Pace
from mssedu.training.runs import HISTORY, RUN_FILE, read_run
from mssedu.training.sentinels import does_nothing, is_flat
from mssedu.training.signals import StopSignals
from mssedu.training.state import (
    JSON_BYTES,
    TrainState,
    Window,
    checkpoint_bytes,
    number_or_none,
    weights_bytes,
)
from mssedu.weights.checkpoint import (
    config_fields,
    git_commit,
    model_name,
    retire,
    save_checkpoint,
)

LAST = "last.safetensors"
BEST = "best.safetensors"
CURVE_BYTES = 200  # of a step in tensorboard/, at most


def check_run_room(
    run_dir: Path, model: nn.Module, config: TrainConfig, *, is_validated: bool
) -> None:
    """Raise DiskError if the disk is too full for a run, InputError if it is locked.

    A new version of last.safetensors is written beside two older ones and, with a
    validation, beside two versions of best.safetensors.
    """
    check_folder(run_dir)
    last, best = checkpoint_bytes(model, config), weights_bytes(model) + JSON_BYTES
    need = 3 * last + (2 * best if is_validated else 0) + CURVE_BYTES * config.steps
    there = sum(path.stat().st_size for path in run_dir.glob("*.safetensors"))
    check_room(run_dir, need - there, f"the files of a run of {config.steps} steps")


def continue_run(
    state: TrainState, run_dir: Path, allow_config: bool, allow_data: bool
) -> str:
    """Read the last state; a sentence on it. Best weights that lost their score go."""
    sentence = state.restore(
        run_dir / LAST, allow_config=allow_config, allow_data=allow_data
    )
    wait_for_all()  # before the first process writes
    if is_first() and not state.best_step:
        retire(run_dir / BEST)
    return sentence


class RunRecord:
    """Writes the run folder; a context manager, which closes the curves.

    Args:
        run_dir: the folder; `mssedu.training.loop` lists its files.
        state: of the run, at the step from which the record goes on.
        log: is called with a sentence per validation.
        without_model: `do_nothing_table` of the validation, to which it is compared.

    Of several processes, only the first one writes.
    """

    def __init__(
        self,
        run_dir: Path,
        state: TrainState,
        log: Callable[[str], None],
        without_model: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.run_dir, self.state, self.log = run_dir, state, log
        self.without_model = without_model or {}
        self.pace = Pace(state.config, state.device)
        # Purging drops the points that a killed run wrote after its last checkpoint.
        self.curves = _curves(run_dir / "tensorboard", purge_step=state.step + 1)
        if state.step:  # a kill may have come between the state and the history
            self._write_history()
        # What last.safetensors holds: its step, and whether a validation is due in it
        self.saved = (state.step, state.validation_due)
        self.saved_at = time.monotonic()

    def __enter__(self) -> "RunRecord":
        return self

    def __exit__(self, *error: Any) -> None:
        reason = error[1]
        try:
            self.curves.close()
        except OSError as failure:
            reason = reason or failure
            if reason is failure and not is_full(failure):
                raise
        if reason is not None and is_full(reason):
            raise self._full(reason) from reason

    def _full(self, error: BaseException) -> DiskError:
        """The error of a full disk, with the way to go on."""
        text = error if isinstance(error, DiskError) else full_disk(self.run_dir, error)
        folder = shlex.quote(str(self.run_dir))
        return DiskError(
            f"{text} The state of step {self.saved[0]} is kept, and a run goes on from "
            f"it: mssedu train --resume {folder}."
        )

    def step(
        self,
        loss: float,
        waiting: float,
        computing: float,
        step: int,
        learning_rate: float,
    ) -> None:
        """Note one step: its loss (NaN if it was skipped), and seconds."""
        window, steps = self.state.window, self.state.n_expected
        window.waiting_seconds += waiting
        window.computing_seconds += computing
        self.pace.step(loss, waiting, computing)
        if line := self.pace.line(step, steps):
            self.log(line)
        if math.isfinite(loss):
            window.loss_sum += loss
            window.n_losses += 1
            self.curves.add_scalar("train/loss", loss, step)
            self.curves.add_scalar("train/learning_rate", learning_rate, step)

    def validation(
        self,
        scores: Tensor | None,
        n_absent: int = 0,
        valid_loss: float | None = None,
    ) -> None:
        """Note the scores, (tracks, stems) dB or None, and the loss; save the weights.

        NaN are silent stems and, so many, stems that are absent from their songs.

        New best weights are saved before the state with their score: if the run is
        killed in between, the resumed run finds the same best weights again.
        """
        state = self.state
        entry = self._entry(scores, n_absent)
        entry["valid_loss"] = None if valid_loss is None else number_or_none(valid_loss)
        if entry["valid_loss"] is not None:
            self.curves.add_scalar("valid/loss", valid_loss, state.step)
        metric = state.config.best_metric
        score = entry[metric]
        if is_better(metric, score, state.best_score):
            state.best_score, state.best_step = score, state.step
            facts = {**state.facts(), "metric": metric, "scores": entry}
            path = self.run_dir / BEST
            n_bytes = weights_bytes(state.evaluated) + JSON_BYTES
            if is_first():
                with room_for(path, n_bytes, f"the weights of step {state.step}"):
                    save_checkpoint(path, state.evaluated, facts=facts)
        sentence = self._sentence(entry)
        state.history.append(entry)
        state.window, state.validation_due = Window(), False
        self.keep_state()
        self.log(sentence)
        self._warn(scores)

    def _warn(self, scores: Tensor | None) -> None:
        """Log what suggests that the model does not learn."""
        name = None if scores is None else does_nothing(scores, self.without_model)
        if name == "mixture":
            self.log("the scores are those of the mixture: the model outputs its input")
        elif name == "silence":
            self.log("the scores are those of silence: the model outputs nothing")
        if is_flat(self.state.history):
            self.log(
                "the loss has not fallen since the start. Try another --learning-rate, "
                "and whether the model learns one example: --overfit 1"
            )

    def keep_state_if_due(self) -> None:
        """Save after every `save_every` steps and after `save_minutes`.

        Not while steps are skipped: their weights may be the reason.
        """
        state, every = self.state, self.state.config.save_every
        is_turn = every and state.step % every == 0 and not state.validation_due
        is_late = time.monotonic() - self.saved_at > 60 * state.config.save_minutes
        if (is_turn or is_late) and not state.skipped_in_a_row:
            self.keep_state()

    def keep_state(self) -> None:
        """Save what a resume needs, and the history so far; nothing if all is saved.

        A MssEduError if weights are NaN or Inf; then the older state stays.
        """
        now = (self.state.step, self.state.validation_due)
        if now == self.saved:
            return
        if not self.state.is_finite():
            raise self.diverged("weights with NaN or Inf")
        if is_first():
            path, n_bytes = self.run_dir / LAST, self.state.n_bytes()
            with room_for(path, n_bytes, f"the weights and moments of step {now[0]}"):
                self.curves.flush()  # a curve never ends before the state
                self.state.save(path)
            self._write_history()
            write_manifest(self.run_dir, self.state)
        self.saved, self.saved_at = now, time.monotonic()

    def _write_history(self) -> None:
        entries = [json.dumps(e, allow_nan=False) + "\n" for e in self.state.history]
        if is_first():
            write_text(self.run_dir / HISTORY, "".join(entries))

    @contextmanager
    def kept_if_stopped(self, signals: StopSignals) -> Iterator[None]:
        """Where Ctrl-C or SIGTERM ends the block, save the state from which to go on.

        The older state stays if a second signal has broken off a step.
        """
        try:
            yield
        except (KeyboardInterrupt, SystemExit, RuntimeError) as error:
            # The signal may have ended the processes that read data, too.
            lost_worker = "DataLoader worker" in str(error) and signals.received
            if isinstance(error, RuntimeError) and not lost_worker:
                raise
            what = f"stopped at once; the state is of step {self.saved[0]}"
            if signals.is_whole:
                signals.is_whole = False  # the next signal is the second one
                self.keep_state()
                what = f"stopped after step {self.state.step}, state saved"
            folder = shlex.quote(str(self.run_dir))
            self.log(f"{what}; to go on: mssedu train --resume {folder}")
            if isinstance(error, RuntimeError):
                signals.stop()
            raise

    def diverged(self, reason: str) -> MssEduError:
        """The error for a run whose numbers are no longer finite."""
        state, best = self.state, self.run_dir / BEST
        validated = state.history[-1]["step"] if state.history else 0
        if self.saved == (validated, False):
            last = self.run_dir / LAST
            finite = f"the last state with finite output is {last} (step {validated})"
        elif best.exists():
            finite = f"the best weights are {best} (step {state.best_step})"
        else:
            finite = "no state with finite output is saved: start again in another "
            finite += "--run-dir"
        return MssEduError(
            f"training diverged with {reason}, at step {state.step}. Lower "
            f"--learning-rate (learning_rate in Python); {finite}."
        )

    def _entry(self, scores: Tensor | None, n_absent: int) -> dict[str, Any]:
        """The line of history.jsonl; None stands for what is not a finite number."""
        step, window = self.state.step, self.state.window
        entry: dict[str, Any] = {
            "step": step,
            "loss": window.loss_sum / window.n_losses if window.n_losses else None,
            "usdr": None,
            "valid_loss": None,
            "decay": self.state.decay,
            "stems": {},
            "n_silent": None,
            "n_absent": None,
            "learning_rate": self.state.optimizer.param_groups[0]["lr"],
            "n_skipped": self.state.n_skipped,
            "waiting_seconds": round(window.waiting_seconds, 3),
            "computing_seconds": round(window.computing_seconds, 3),
        }
        if scores is None:
            return entry
        for i, stem in enumerate(config_of(self.state.model).stems):
            mean = float(scores[:, i].nanmean())
            self.curves.add_scalar(f"valid/usdr_{stem}", mean, step)
            entry["stems"][stem] = number_or_none(mean)
        mean = float(scores.nanmean())
        self.curves.add_scalar("valid/usdr", mean, step)
        entry["usdr"] = number_or_none(mean)
        # Both are left out of the means.
        entry["n_silent"] = int(scores.isnan().sum()) - n_absent
        entry["n_absent"] = n_absent
        return entry

    def _sentence(self, entry: dict[str, Any]) -> str:
        loss = "none" if entry["loss"] is None else f"{entry['loss']:.4g}"
        text = f"step {entry['step']}: loss {loss}"
        if entry["stems"]:
            stems = ", ".join(f"{s} {decibels(v)}" for s, v in entry["stems"].items())
            text += f", usdr {decibels(entry['usdr'])} ({stems})"
        if entry["valid_loss"] is not None:
            text += f", valid loss {entry['valid_loss']:.4g}"
        if len(self.state.averages) > 1:
            text += f", best decay {entry['decay']:g}"
        window = self.state.window
        total = window.waiting_seconds + window.computing_seconds
        if window.waiting_seconds > 0.3 * total:
            share = window.waiting_seconds / total
            text += f"; {share:.0%} of the time was waiting for data: raise --n-workers"
        return text


def describe_run(
    run_dir: Path,
    state: TrainState,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    baselines: dict[str, float],
    command: Mapping[str, Any] | None = None,
) -> str:
    """Write config.json, at the step from which the run goes on, and say it in words.

    `baselines` holds the usdr of the mixture and of silence, in dB.
    """
    model, config = state.model, state.config
    n_parameters = sum(p.numel() for p in model.parameters())
    document = {
        "train_config": dataclasses.asdict(config),
        "model": model_name(model),
        "model_config": config_fields(model),
        "n_parameters": n_parameters,
        "train_tracks": [track.name for track in train_tracks],
        "valid_tracks": [track.name for track in valid_tracks or ()],
        "train_audio": audio_source(train_tracks),
        "usdr_without_model": baselines,
        "device": str(state.device),
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        "torch": torch.__version__,
        "phases": _phases(run_dir, state, command, audio_source(train_tracks)),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if is_first():
        write_bytes(run_dir / RUN_FILE, text.encode("utf-8", "backslashreplace"))
        write_manifest(run_dir, state)
    minutes = sum(track.duration for track in train_tracks) / 60
    scores = ", ".join(f"{name} {decibels(db)}" for name, db in baselines.items())
    end = f"; usdr without a model: {scores}" if scores else ""
    if valid_tracks is None:
        end = "; no validation, so the weights of the last step are the result"
    return (
        f"{model_name(model)}, {n_parameters:,} parameters, on {state.device}: "
        f"{counted(config.steps, 'step')} of {config.batch_size} × {config.segment:g} "
        f"s from {counted(len(train_tracks), 'track')} ({minutes:.1f} min){end}"
    )


def _phases(
    run_dir: Path,
    state: TrainState,
    command: Mapping[str, Any] | None,
    train_audio: str,
) -> list[dict[str, Any]]:
    """The phases that have left steps in the run, and this start, if it differs."""
    versions = {"mssedu": mssedu.__version__, "torch": torch.__version__}
    phase = {
        "from_step": state.step,
        "train_config": dataclasses.asdict(state.config),
        "model_config": config_fields(state.model),
        "data": state.data.get("train"),
        "valid_data": state.data.get("valid"),
        "train_audio": train_audio,
        "command": None if command is None else dict(command),
        "versions": versions | {"python": platform.python_version()},
        "commit": git_commit(),
        "device": str(state.device),
    }
    phases: list[dict[str, Any]] = []
    if state.step and (run_dir / RUN_FILE).exists():
        document = read_run(run_dir)
        names = ("train_config", "commit", "device")
        first = {"from_step": 0} | {name: document.get(name) for name in names}
        first["versions"] = {name: document.get(name) for name in ("mssedu", "torch")}
        # Version 0.1 wrote no phases: its run is one.
        phases = document.get("phases") or [first]
        phases = [phase for phase in phases if phase["from_step"] < state.step]
    same = phases and as_json(phase) == phases[-1] | {"from_step": state.step}
    return phases if same else [*phases, phase]


class _NoCurves:
    """Takes the curves of a process that is not the first one."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write nothing."""

    def flush(self) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write nothing."""


def _curves(folder: Path, *, purge_step: int) -> Any:
    """A writer of TensorBoard's files, for the first process."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    return SummaryWriter(folder, purge_step=purge_step) if is_first() else _NoCurves()


def decibels(value: float | None) -> str:
    """A score for a sentence; None means undefined."""
    return "undefined" if value is None else f"{value:.2f} dB"
