"""The training loop of every model of this package.

    tracks ──RandomSegments──▶ sources (batch, parts, channels, samples)
                                 │ sum of all parts, also those not estimated
                               mixture ──model──▶ estimate ──loss──▶ gradient ──▶ Adam
                                                                                  │
    best.safetensors ◀── highest usdr on whole validation tracks ◀── running average

`fit` is the whole run, `train_step` one step of its loop. All files of a run are in its
folder:

    config.json       what was trained, on what, by which version, in which phases
    history.jsonl     a line per validation: loss, scores, seconds waited and computed
    last.safetensors  the newest state, from which `resume` goes on exactly
    best.safetensors  the weights with the highest score
    tensorboard/      curves

Notebook: 05.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mssedu.data.segments import RandomSegments, describe_mixture
from mssedu.data.track import Track
from mssedu.errors import InputError, check_name
from mssedu.models.contract import config_of, pick_device, prepare
from mssedu.separation.fast import reuse_memory
from mssedu.training.config import TrainConfig
from mssedu.training.losses import LOSSES
from mssedu.training.record import RunRecord, describe_run, start
from mssedu.training.resume import Allowed, goes_on
from mssedu.training.state import (
    StopSignals,
    TrainState,
    leave_signals,
    signals_wait,
    stop_signals,
)
from mssedu.training.validation import (
    Songs,
    do_nothing_scores,
    enough_memory,
    rehearse,
    validate,
    with_stems_of,
)

__all__ = ["FitResult", "TrainConfig", "fit", "learning_rate_at", "train_step"]

MAX_SKIPPED = 10  # steps in a row without a finite gradient; the next stops the run
NO_BETTER = (
    "validation did not improve on outputting the mixture or silence. Train longer, or "
    "check that the model overfits one track."
)
N_PREPARE = 64  # training examples for the statistics that some models start from

Loss = Callable[..., Tensor]  # takes estimate and reference, see mssedu.training.losses
Progress = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class FitResult:
    """The result of a finished run."""

    checkpoint: Path  # for mssedu.load_model: the best weights, or else the last ones
    score: float | None  # usdr of the best weights, dB; None without validation
    step: int  # at which these weights were saved
    n_skipped: int  # steps without an update, because of NaN or Inf
    baselines: dict[str, float]  # usdr without a model, of "mixture" and "silence", dB
    history: list[dict[str, Any]]  # the lines of history.jsonl


def train_step(
    model: nn.Module,
    sources: Tensor,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    loss: Loss,
) -> float:
    """One step: separate a batch, compute the loss, update the weights.

    Args:
        model: in train mode, on the device of `sources`.
        sources: (batch, parts, channels, samples), the model's stems first; the mixture
            is the sum of all.
        optimizer: of the model's parameters.
        config: gives precision and clip_norm.
        loss: one of mssedu.training.losses.LOSSES.

    Returns:
        the loss before the update; NaN if it or its gradient is not finite, and then
        the weights are not changed.
    """
    optimizer.zero_grad()
    if not sources.isfinite().all():
        return math.nan  # before they get into the statistics of batch norm
    value = batch_loss(model, sources, config, loss)
    value.backward()
    max_norm = config.clip_norm or math.inf
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if not (value.isfinite() and norm.isfinite()):
        return math.nan
    optimizer.step()
    return value.item()


def batch_loss(
    model: nn.Module, sources: Tensor, config: TrainConfig, loss: Loss
) -> Tensor:
    """Loss of the model on a batch, a scalar.

    The stems that the model estimates come first; the others are part of the mixture
    only.
    """
    low_precision = config.precision == "bfloat16"
    with torch.autocast(sources.device.type, torch.bfloat16, enabled=low_precision):
        estimate = model(sources.sum(1))
    reference = sources[:, : len(config_of(model).stems)]
    return loss(estimate=estimate.float(), reference=reference)


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then constant, or half a cosine down to 0.

    Args:
        step: steps done before, from 0.
        config: gives the schedule.

    Returns:
        the learning rate of this step.

    Example:
        >>> config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
        >>> [learning_rate_at(step, config) for step in (0, 4, 9, 99)]
        [0.1, 0.5, 1.0, 1.0]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def fit(
    model: nn.Module,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    run_dir: str | Path,
    *,
    resume: bool | Literal["auto"] = False,
    allow_config_change: bool = False,
    allow_data_change: bool = False,
    command: Mapping[str, Any] | None = None,
    log: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train a model and save its best weights as run_dir/best.safetensors.

    Args:
        model: of the registry; trained in place, on the device of the config.
        train_tracks: songs with the stems of the model.
        valid_tracks: songs to separate whole and to score; None saves the last weights
            only.
        config: all settings.
        run_dir: folder of all files of the run.
        resume: go on from run_dir/last.safetensors; "auto" starts if there is none.
        allow_config_change: resume although settings or the device differ.
        allow_data_change: resume although the songs differ.
        command: what the command line needs to start again, for config.json.
        log: is called with a sentence per event.
        progress: is called with step, steps, loss and newest score (dB) at each step.

    Raises:
        InputError, DatasetError, SetupError: what the checks before step 1 find.
        CheckpointError: no undamaged state to resume, or a change that is not allowed.
        MssEduError: NaN or Inf in too many steps in a row, weights or a validation.
        KeyboardInterrupt, SystemExit: Ctrl-C or SIGTERM; the state is saved first.
    """
    log, run_dir = log or (lambda sentence: None), Path(run_dir)
    allowed = Allowed(config=allow_config_change, data=allow_data_change)
    resumes = goes_on(run_dir, resume)
    config = with_stems_of(model, config)
    loss = LOSSES[check_name("loss", config.loss, LOSSES)]
    songs = Songs.of(model, train_tracks, valid_tracks, config)
    log(describe_mixture(songs.train))
    segments = _segments(songs.train, config)
    _prepare(model, segments, songs.valid, config, loss, is_new=not resumes)
    baselines = do_nothing_scores(songs.valid, config_of(model).stems)
    torch.manual_seed(config.seed)
    state = TrainState(model, config, songs.fingerprints())
    with stop_signals() as signals:
        describe = partial(describe_run, run_dir, state, songs, baselines, command)
        start(run_dir, state, allowed if resumes else None, describe, log)
        with RunRecord(run_dir, state, log) as record:
            run = _Run(state, segments, songs.valid, loss, record, signals)
            _until_stopped(run, progress)
    if baselines and state.best_score <= max(baselines.values()):
        log(NO_BETTER)
    return _result(state, run_dir, baselines)


@dataclass(frozen=True)
class _Run:
    """All that the loop needs."""

    state: TrainState
    segments: RandomSegments
    valid_tracks: Sequence[Track] | None
    loss: Loss
    record: RunRecord
    signals: StopSignals


def _loop(run: _Run, progress: Progress | None) -> None:
    """All remaining steps, with a validation after every `valid_every`."""
    state = run.state
    with run.signals.finish_first():  # from here on the run can be stopped
        state.model.train()
    if state.validation_due:  # the run was stopped before or during it
        _validate(run)
    then = time.perf_counter()
    for sources in _batches(run.segments, state):
        waited = time.perf_counter() - then
        with run.signals.finish_first():
            value = _step(run, sources, waited)
            run.record.keep_state_if_due()
        if state.validation_due:
            _validate(run)
        if progress:
            score = state.history[-1]["usdr"] if state.history else None
            progress(state.step, state.config.steps, value, score)
        then = time.perf_counter()


def _step(run: _Run, sources: Tensor, waited: float) -> float:
    """Do and record one step; returns its loss, NaN if it was skipped."""
    state, config = run.state, run.state.config
    began = time.perf_counter()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(state.step, config)
    sources = sources.to(state.device)
    value = train_step(state.model, sources, state.optimizer, config, run.loss)
    state.step += 1
    if math.isfinite(value):
        state.skipped_in_a_row = 0
        state.update_average()
    else:
        _note_skipped(run)
    run.record.step(value, waited, time.perf_counter() - began)
    is_last = state.step == config.steps
    state.validation_due = is_last or state.step % config.valid_every == 0
    return value


def _validate(run: _Run) -> None:
    """Score whole songs, if there are any, and save the weights."""
    scores = None
    if run.valid_tracks is not None:
        stems = config_of(run.state.model).stems
        try:
            scores = validate(run.state.evaluated, run.valid_tracks, stems)
        except InputError as error:  # the songs are finite, see do_nothing_scores
            raise run.record.diverged("NaN or Inf in a validation") from error
    with run.signals.finish_first():
        run.record.validation(scores)


def _until_stopped(run: _Run, progress: Progress | None) -> None:
    """The loop; Ctrl-C and SIGTERM leave a state from which the run goes on."""
    try:
        _loop(run, progress)
    except (KeyboardInterrupt, SystemExit):
        run.record.keep_stopped(run.signals)
        raise
    except RuntimeError as error:
        # The signal may have ended the processes that read data, too.
        if run.signals.received is None or "DataLoader worker" not in str(error):
            raise
        run.record.keep_stopped(run.signals)
        run.signals.stop()


def _result(state: TrainState, run_dir: Path, baselines: dict[str, float]) -> FitResult:
    """The result with the best weights, or without scores with the last ones."""
    scored = bool(baselines) and math.isfinite(state.best_score)
    return FitResult(
        checkpoint=run_dir / f"{'best' if scored else 'last'}.safetensors",
        score=state.best_score if scored else None,
        step=state.best_step if scored else state.step,
        n_skipped=state.n_skipped,
        baselines=baselines,
        history=state.history,
    )


def _segments(tracks: Sequence[Track], config: TrainConfig) -> RandomSegments:
    """Training examples: the stems of the model, then what else is in the mixture."""
    flip = 0.5 if config.remix else 0.0  # a flip would change a song's own mixture
    return RandomSegments(
        tracks,
        config.stems or (),
        config.segment,
        config.steps * config.batch_size,
        seed=config.seed,
        remix=config.remix,
        level_db=config.level_db,
        gain_db=config.gain_db,
        channel_flip=flip,
        sign_flip=flip,
        silence=config.silence,
    )


def _batches(segments: RandomSegments, state: TrainState) -> Iterator[Tensor]:
    """The batches of the remaining steps, in order."""
    size, steps = state.config.batch_size, state.config.steps
    loader = DataLoader(
        segments,
        size,
        sampler=range(state.step * size, steps * size),
        num_workers=state.config.n_workers,
        pin_memory=state.device.type == "cuda",
        generator=torch.Generator(),  # so that dropout's random numbers do not change
        worker_init_fn=leave_signals,
    )
    with signals_wait():
        return iter(loader)


def _prepare(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    loss: Loss,
    *,
    is_new: bool,
) -> None:
    """Move the model to its device, prepare a new one with examples, and rehearse."""
    reuse_memory()
    with enough_memory(config):
        if is_new:
            n = min(N_PREPARE, len(segments))
            prepare(model, (segments[item].sum(0) for item in range(n)))
        model.to(pick_device(config.device))
        rehearse(
            model,
            segments,
            valid_tracks,
            config,
            lambda model, sources: batch_loss(model, sources, config, loss),
        )


def _note_skipped(run: _Run) -> None:
    """Count a step without a finite gradient; too many in a row end the run."""
    state, record = run.state, run.record
    state.n_skipped += 1
    state.skipped_in_a_row += 1
    size = state.config.batch_size
    items = f"items {(state.step - 1) * size} … {state.step * size - 1}"
    what = f"step {state.step} skipped: NaN or Inf in loss or gradient ({items} of "
    record.log(what + f"RandomSegments with seed {state.config.seed})")
    if state.skipped_in_a_row > MAX_SKIPPED:
        n = state.skipped_in_a_row
        raise record.diverged(f"{n} steps in a row with NaN or Inf")
