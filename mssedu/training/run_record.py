"""What a training run leaves in its folder: curves, history, best and last weights."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mssedu
from mssedu.checkpoint import (
    config_fields,
    git_commit,
    model_name,
    save_checkpoint,
)
from mssedu.checks import InputError, message
from mssedu.datasets.track import Track
from mssedu.training.state import TrainState, number_or_none


class RunRecord:
    """Writes the run folder; a context manager, which closes the curves.

    Args:
        run_dir: the folder; see `mssedu.train` for what lies in it.
        state: of the run, at the step from which the record goes on.
        log: is given a sentence per validation.
    """

    def __init__(
        self, run_dir: Path, state: TrainState, log: Callable[[str], None]
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.run_dir, self.state, self.log = run_dir, state, log
        curves = str(run_dir / "tensorboard")
        # Purging drops the points that a killed run wrote after its last checkpoint.
        self.curves = SummaryWriter(curves, purge_step=state.step + 1)
        self._start_window()

    def __enter__(self) -> "RunRecord":
        return self

    def __exit__(self, *error: object) -> None:
        self.curves.close()

    def _start_window(self) -> None:
        """Forget what was summed up since the last validation."""
        self.losses: list[float] = []
        self.waiting_seconds = self.computing_seconds = 0.0

    def step(
        self, loss: float, waiting_seconds: float, computing_seconds: float
    ) -> None:
        """Note one step: its loss (NaN if it was skipped) and where the time went."""
        self.waiting_seconds += waiting_seconds
        self.computing_seconds += computing_seconds
        if math.isfinite(loss):
            self.losses.append(loss)
            rate = self.state.optimizer.param_groups[0]["lr"]
            self.curves.add_scalar("train/loss", loss, self.state.step)
            self.curves.add_scalar("train/learning_rate", rate, self.state.step)

    def validation(self, scores: Tensor | None) -> None:
        """Note the scores, (tracks, stems) dB or None; keep the weights.

        A new best is saved before the state that knows of it: killed in between, the
        resumed run finds the same best again.
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
        state.history.append(entry)
        self.keep_state()
        self.log(self._sentence(entry))
        self._start_window()

    def keep_state(self) -> None:
        """Save what a resume needs, and the history so far."""
        self.state.save(self.run_dir / "last.safetensors")
        self.state.write_history(self.run_dir / "history.jsonl")

    def _entry(self, scores: Tensor | None) -> dict[str, Any]:
        """The line of history.jsonl; None stands for what is not a finite number."""
        entry: dict[str, Any] = {
            "step": self.state.step,
            "loss": sum(self.losses) / len(self.losses) if self.losses else None,
            "usdr": None,
            "stems": {},
            "n_silent": None,
            "n_skipped": self.state.n_skipped,
            "waiting_seconds": round(self.waiting_seconds, 3),
            "computing_seconds": round(self.computing_seconds, 3),
        }
        if scores is None:
            return entry
        stems = self.state.config.stems
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
            stems = ", ".join(f"{s} {_db(v)}" for s, v in entry["stems"].items())
            text += f", usdr {_db(entry['usdr'])} ({stems})"
        total = self.waiting_seconds + self.computing_seconds
        if self.waiting_seconds > 0.3 * total:
            share = self.waiting_seconds / total
            text += f"; {share:.0%} of the time waited for data: raise n_workers"
        return text


def start_folder(run_dir: Path) -> None:
    """Make the folder of a new run.

    Raises:
        InputError: a run lies there already.
    """
    if (run_dir / "last.json").exists():
        remedy = "Name another folder, or go on with --resume (resume=True in Python)."
        where, wanted = str(run_dir.absolute()), "a folder without a run"
        raise InputError(message(where, wanted, "last.json", remedy))
    run_dir.mkdir(parents=True, exist_ok=True)


def describe_run(
    run_dir: Path,
    state: TrainState,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    baselines: dict[str, float],
) -> str:
    """Write config.json; returns the same in a sentence."""
    model, config = state.model, state.config
    n_parameters = sum(p.numel() for p in model.parameters())
    document = {
        "train_config": dataclasses.asdict(config),
        "model": model_name(model),
        "model_config": config_fields(model),
        "n_parameters": n_parameters,
        "train_tracks": [track.name for track in train_tracks],
        "valid_tracks": [track.name for track in valid_tracks or ()],
        "usdr_without_model": baselines,
        "device": str(state.device),
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        "torch": torch.__version__,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (run_dir / "config.json").write_text(text + "\n", "utf-8")
    minutes = sum(track.duration for track in train_tracks) / 60
    without = ", ".join(f"{name} {_db(score)}" for name, score in baselines.items())
    return (
        f"{model_name(model)}, {n_parameters:,} parameters, on {state.device}: "
        f"{config.steps} steps of {config.batch_size} × {config.segment:g} s from "
        f"{len(train_tracks)} tracks ({minutes:.1f} min)"
        + (f"; usdr without a model: {without}" if without else "")
    )


def _db(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f} dB"
