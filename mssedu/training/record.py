"""The folder of a run: config.json, curves, history, best and last weights."""

import dataclasses
import math
import platform
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mssedu
from mssedu.errors import MssEduError
from mssedu.models.contract import config_of
from mssedu.training.resume import Allowed, start_folder, write_run
from mssedu.training.state import StopSignals, TrainState, Window, number_or_none
from mssedu.training.validation import Songs
from mssedu.weights.checkpoint import (
    config_fields,
    git_commit,
    model_name,
    save_checkpoint,
)

LAST = "last.safetensors"
SAVE_SECONDS = 300.0  # the longest time between saves, once a step is done


class RunRecord:
    """Writes the run folder; a context manager, which closes the curves.

    Args:
        run_dir: the folder; `mssedu.training.loop` lists its files.
        state: of the run, at the step from which the record goes on.
        log: is called with a sentence per validation.
    """

    def __init__(
        self, run_dir: Path, state: TrainState, log: Callable[[str], None]
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.run_dir, self.state, self.log = run_dir, state, log
        curves = str(run_dir / "tensorboard")
        # Purging drops the points that a killed run wrote after its last checkpoint.
        self.curves = SummaryWriter(curves, purge_step=state.step + 1)
        # What last.safetensors holds: its step, and whether a validation is due in it
        self.saved = (state.step, state.validation_due)
        self.saved_at = time.monotonic()

    def __enter__(self) -> "RunRecord":
        return self

    def __exit__(self, *error: object) -> None:
        self.curves.close()

    def step(
        self, loss: float, waiting_seconds: float, computing_seconds: float
    ) -> None:
        """Note one step: its loss (NaN if it was skipped) and where the time went."""
        window = self.state.window
        window.waiting_seconds += waiting_seconds
        window.computing_seconds += computing_seconds
        if math.isfinite(loss):
            window.loss_sum += loss
            window.n_losses += 1
            rate = self.state.optimizer.param_groups[0]["lr"]
            self.curves.add_scalar("train/loss", loss, self.state.step)
            self.curves.add_scalar("train/learning_rate", rate, self.state.step)

    def validation(self, scores: Tensor | None) -> None:
        """Note the scores, (tracks, stems) dB or None; save the weights.

        New best weights are saved before the state with their score: if the run is
        killed in between, the resumed run finds the same best weights again.
        """
        state = self.state
        entry = self._entry(scores)
        score = entry["usdr"]
        if score is not None and score > state.best_score:
            state.best_score, state.best_step = score, state.step
            facts = {**state.facts(), "metric": "usdr", "scores": entry}
            save_checkpoint(
                self.run_dir / "best.safetensors", state.evaluated, facts=facts
            )
        sentence = self._sentence(entry)
        state.history.append(entry)
        state.window, state.validation_due = Window(), False
        self.keep_state()
        self.log(sentence)

    def keep_state_if_due(self) -> None:
        """Save after every `save_every` steps and after SAVE_SECONDS.

        Not while steps are skipped: their weights may be the reason.
        """
        state, every = self.state, self.state.config.save_every
        is_turn = every and state.step % every == 0 and not state.validation_due
        is_late = time.monotonic() - self.saved_at > SAVE_SECONDS
        if (is_turn or is_late) and not state.skipped_in_a_row:
            self.keep_state()

    def keep_state(self) -> None:
        """Save what a resume needs, and the history so far; nothing if all is saved.

        Raises:
            MssEduError: NaN or Inf in the weights; the older state stays.
        """
        now = (self.state.step, self.state.validation_due)
        if now == self.saved:
            return
        if not self.state.is_finite():
            raise self.diverged("weights with NaN or Inf")
        self.curves.flush()  # a curve never ends before the state
        self.state.save(self.run_dir / LAST)
        self.state.write_history(self.run_dir / "history.jsonl")
        self.saved, self.saved_at = now, time.monotonic()

    def keep_stopped(self, signals: StopSignals) -> None:
        """Save the state, unless a signal broke off a step; log how to go on."""
        folder = shlex.quote(str(self.run_dir))
        go_on = f"to go on: mssedu train --resume {folder}"
        if signals.is_whole:
            signals.is_whole = False  # the next signal is the second one
            self.keep_state()
            self.log(f"stopped after step {self.state.step}, state saved; {go_on}")
        else:
            self.log(f"stopped at once; the state is of step {self.saved[0]}; {go_on}")

    def diverged(self, reason: str) -> MssEduError:
        """The error for a run whose numbers are no longer finite."""
        return MssEduError(
            f"training diverged with {reason}, at step {self.state.step}. Lower "
            f"--learning-rate (learning_rate in Python); {self._finite()}."
        )

    def _finite(self) -> str:
        """Which weights had a finite output, in words."""
        history = self.state.history
        validated = history[-1]["step"] if history else 0
        best = self.run_dir / "best.safetensors"
        if self.saved == (validated, False):
            last = self.run_dir / LAST
            return f"the last state with finite output is {last} (step {validated})"
        if best.exists():
            return f"the best weights are {best} (step {self.state.best_step})"
        return "no state with finite output is saved: start again in another --run-dir"

    def _entry(self, scores: Tensor | None) -> dict[str, Any]:
        """The line of history.jsonl; None stands for what is not a finite number."""
        window = self.state.window
        entry: dict[str, Any] = {
            "step": self.state.step,
            "loss": window.loss_sum / window.n_losses if window.n_losses else None,
            "usdr": None,
            "stems": {},
            "n_silent": None,
            "n_skipped": self.state.n_skipped,
            "waiting_seconds": round(window.waiting_seconds, 3),
            "computing_seconds": round(window.computing_seconds, 3),
        }
        if scores is None:
            return entry
        stems = config_of(self.state.model).stems
        means = {
            stem: float(s.nanmean()) for stem, s in zip(stems, scores.T, strict=True)
        }
        for stem, mean in means.items():
            self.curves.add_scalar(f"valid/usdr_{stem}", mean, self.state.step)
        self.curves.add_scalar("valid/usdr", float(scores.nanmean()), self.state.step)
        entry["usdr"] = number_or_none(float(scores.nanmean()))
        entry["stems"] = {stem: number_or_none(mean) for stem, mean in means.items()}
        entry["n_silent"] = int(scores.isnan().sum())  # left out of the means
        return entry

    def _sentence(self, entry: dict[str, Any]) -> str:
        loss = "none" if entry["loss"] is None else f"{entry['loss']:.4g}"
        text = f"step {entry['step']}: loss {loss}"
        if entry["stems"]:
            stems = ", ".join(f"{s} {decibels(v)}" for s, v in entry["stems"].items())
            text += f", usdr {decibels(entry['usdr'])} ({stems})"
        window = self.state.window
        total = window.waiting_seconds + window.computing_seconds
        if window.waiting_seconds > 0.3 * total:
            share = window.waiting_seconds / total
            text += f"; {share:.0%} of the time was waiting for data: raise --n-workers"
        return text


def start(
    run_dir: Path,
    state: TrainState,
    allowed: Allowed | None,
    describe: Callable[[], str],
    log: Callable[[str], None],
) -> None:
    """Begin a run, or go on with it.

    Args:
        run_dir: folder of the run.
        state: of the run; a resumed run restores it.
        allowed: which differences the user accepts; None for a new run.
        describe: writes config.json, from the step at which the run goes on.
        log: is called with a sentence on what was done.
    """
    if allowed is None:
        start_folder(run_dir)
        log(describe())
        state.save(run_dir / LAST)  # fails now if the disk is full, not hours later
        return
    log(state.restore(run_dir / LAST, allowed))
    if allowed != Allowed():
        state.save(run_dir / LAST)  # a change is accepted once, not at every resume
    log(describe())


def describe_run(
    run_dir: Path,
    state: TrainState,
    songs: Songs,
    baselines: dict[str, float],
    command: Mapping[str, Any] | None = None,
) -> str:
    """Write config.json; returns the same in a sentence.

    Args:
        run_dir: folder of the run.
        state: at the step from which the run goes on.
        songs: of the run.
        baselines: usdr without a model, of "mixture" and "silence", in dB.
        command: what the command line needs to start the run again.
    """
    model, config = state.model, state.config
    n_parameters = sum(p.numel() for p in model.parameters())
    document = {
        "train_config": dataclasses.asdict(config),
        "model": model_name(model),
        "model_config": config_fields(model),
        "n_parameters": n_parameters,
        "train_tracks": [track.name for track in songs.train],
        "valid_tracks": [track.name for track in songs.valid or ()],
        "usdr_without_model": baselines,
        "device": str(state.device),
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        "torch": torch.__version__,
    }
    write_run(run_dir, document, _phase(state, command))
    minutes = sum(track.duration for track in songs.train) / 60
    without = ", ".join(
        f"{name} {decibels(score)}" for name, score in baselines.items()
    )
    end = f"; usdr without a model: {without}" if without else ""
    if songs.valid is None:
        end = "; no validation, so the weights of the last step are the result"
    return (
        f"{model_name(model)}, {n_parameters:,} parameters, on {state.device}: "
        f"{config.steps} steps of {config.batch_size} × {config.segment:g} s from "
        f"{len(songs.train)} tracks ({minutes:.1f} min){end}"
    )


def _phase(state: TrainState, command: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entry of this start of the run in config.json."""
    return {
        "from_step": state.step,
        "train_config": dataclasses.asdict(state.config),
        "model_config": config_fields(state.model),
        "data": state.data.get("train"),
        "valid_data": state.data.get("valid"),
        "command": None if command is None else dict(command),
        "versions": {
            "mssedu": mssedu.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "commit": git_commit(),
        "device": str(state.device),
    }


def decibels(value: float | None) -> str:
    """A score for a sentence; None means undefined."""
    return "undefined" if value is None else f"{value:.2f} dB"
