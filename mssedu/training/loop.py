"""The training loop of every model of this package.

    tracks ──RandomSegments──▶ sources (batch, parts, channels, samples), present
                                 │ sum of all parts, also those not estimated
                               mixture ──model──▶ estimate ──loss──▶ gradient ─┐
                                                                               ▼
    best.safetensors ◀── best validation on whole songs ◀── averages ◀── optimizer

`fit` is the whole run, `mssedu.training.step` one step of its loop. All files of a run
are in its folder:

    config.json       what was trained, on what, by which version, in which phases
    history.jsonl     a line per validation: loss, scores, seconds waited and computed
    last.safetensors  the newest state, from which `resume` goes on exactly
    best.safetensors  the weights with the best score
    tensorboard/      curves
    run.lock          only while a process trains: a second one is refused

On a GPU, Python sends the work of a step and does not wait for it. The losses stay
there and are read together, every READ_EVERY steps and before each save.

Notebook: 05.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mssedu.data.segments import RandomSegments, Segment, describe_mixture
from mssedu.data.track import Track, data_sha256
from mssedu.errors import InputError
from mssedu.models.contract import config_of, pick_device, prepare
from mssedu.separation.fast import reuse_memory
from mssedu.training.batches import batches, create_segments, items_of
from mssedu.training.budget import check_budget
from mssedu.training.compiling import compile_blocks
from mssedu.training.config import TrainConfig
from mssedu.training.criterion import (
    check_validated,
    excerpts_of,
    is_better,
    validation_loss,
)
from mssedu.training.distributed import (
    is_first,
    join_batch_norm,
    joined,
    largest,
    n_processes,
    of_first,
    seed_step,
    share_weights,
    suffix,
    wait_for_all,
)
from mssedu.training.gates import (
    Overfit,
    check_round_trip,
    overfit_config,
    rehearse,
)
from mssedu.training.initial import freeze, start_from, train_mode
from mssedu.training.lock import locked
from mssedu.training.objective import Loss, create_loss
from mssedu.training.record import (
    BEST,
    LAST,
    RunRecord,
    check_run_room,
    continue_run,
    describe_run,
)
from mssedu.training.runs import goes_on
from mssedu.training.sentinels import FOLDER, examine
from mssedu.training.signals import StopSignals
from mssedu.training.state import TrainState
from mssedu.training.step import Done, batch_loss, train_step
from mssedu.training.validation import (
    do_nothing_table,
    enough_memory,
    select_songs,
    validate,
    with_stems_of,
)

MAX_SKIPPED = 10  # steps in a row without a finite gradient; the next stops the run
N_PREPARE = 64  # training examples for the statistics that some models start from
READ_EVERY = 10  # steps, after which the losses are read from a GPU

Progress = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class FitResult:
    """The result of a finished run."""

    checkpoint: Path  # for mssedu.load_model: the best weights, or else the last ones
    score: float | None  # usdr of these weights, dB; None without validation
    step: int  # at which these weights were saved
    n_skipped: int  # steps without an update, because of NaN or Inf
    baselines: dict[str, float]  # usdr without a model, of "mixture" and "silence", dB
    history: list[dict[str, Any]]  # the lines of history.jsonl


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
        InputError, DatasetError, SetupError: what the checks before step 1 find; or
            another process trains in the folder.
        CheckpointError: no undamaged state to resume, or a change that is not allowed.
        DiskError: too little room for the checkpoints; those that are there stay.
        MssEduError: NaN or Inf in too many steps in a row, weights or a validation.
        KeyboardInterrupt, SystemExit: Ctrl-C or SIGTERM; the state is saved first.
    """
    log, run_dir = log or (lambda sentence: None), Path(run_dir)
    config = overfit_config(with_stems_of(model, config))
    with joined(config), locked(run_dir, log):
        if not is_first():
            log, progress = (lambda sentence: None), None
        resumes = of_first(goes_on(run_dir, resume))
        check_budget(config, pick_device(config.device).type, n_processes())
        loss = create_loss(config, config_of(model))
        train, valid = _songs(model, train_tracks, valid_tracks, config)
        check_run_room(run_dir, model, config, is_validated=bool(valid))
        log(describe_mixture(train))
        segments = create_segments(train, config)
        if segments.n_alone:
            log(f"songs that fit no other, and stay alone: {segments.n_alone}")
        _begin(model, segments, valid, config, loss, run_dir, resumes, log)
        tables = do_nothing_table(valid, config_of(model).stems)
        baselines = {name: float(table.nanmean()) for name, table in tables.items()}
        torch.manual_seed(config.seed)
        valid_data = None if valid is None else data_sha256(valid)
        data = {"train": data_sha256(train), "valid": valid_data}
        state = TrainState(model, config, data)
        if config.compile:
            log(compile_blocks(model))
        changes = allow_config_change, allow_data_change
        with StopSignals() as signals:
            if resumes:
                log(continue_run(state, run_dir, *changes))
            log(describe_run(run_dir, state, train, valid, baselines, command))
            if is_first() and (any(changes) or not resumes):
                # A change is accepted only once.
                state.save(run_dir / LAST)
            record = RunRecord(run_dir, state, log, tables)
            with record, record.kept_if_stopped(signals):
                _loop(state, segments, valid, loss, record, signals, progress)
        wait_for_all()
    return _result(state, run_dir, baselines, log)


def _songs(
    model: nn.Module,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
) -> tuple[list[Track], list[Track] | None]:
    """The songs for training, and the excerpts for validation if there is any."""
    valid_tracks = None if config.overfit else valid_tracks
    train, valid = select_songs(model, train_tracks, valid_tracks, remix=config.remix)
    check_validated(config, valid)
    return train, None if valid is None else excerpts_of(valid, config)


def _begin(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    loss: Loss,
    run_dir: Path,
    resumes: bool,
    log: Callable[[str], None],
) -> None:
    """First weights and device of the model, and all gates before the first step."""
    reuse_memory()
    with enough_memory(config):
        if not resumes:
            start_from(model, config, log)
            n = min(N_PREPARE, len(segments))
            prepare(model, (segments[item].sources.sum(0) for item in range(n)))
        model.to(pick_device(config.device))
        share_weights(model)
        freeze(model, config.freeze)

    def trainer(copied: nn.Module) -> Callable[[Segment], float]:
        state = TrainState(copied, config)
        train_mode(state.model, config.freeze)
        return lambda batch: float(_train(state, batch, loss))

    rehearse(
        model,
        segments,
        valid_tracks,
        config,
        loss_of=lambda m, b: batch_loss(m, b.sources, config, loss, b.present),
        trainer=trainer,
        is_new=not resumes,
        log=log,
    )
    if is_first() and not resumes:
        check_round_trip(model, run_dir, segments[0].sources.sum(0), log)
    join_batch_norm(model)


def _result(
    state: TrainState,
    run_dir: Path,
    baselines: dict[str, float],
    log: Callable[[str], None],
) -> FitResult:
    """The best weights of a finished run, or else the last ones."""
    score = next(
        (entry["usdr"] for entry in state.history if entry["step"] == state.best_step),
        None,
    )
    if baselines and (score is None or score <= max(baselines.values())):
        log(
            "validation did not improve on outputting the mixture or silence. Train "
            "longer, or check that the model overfits one track."
        )
    has_best = bool(baselines) and bool(state.best_step)
    return FitResult(
        checkpoint=run_dir / (BEST if has_best else LAST),
        score=score if has_best else None,
        step=state.best_step if has_best else state.step,
        n_skipped=state.n_skipped,
        baselines=baselines,
        history=state.history,
    )


def _loop(
    state: TrainState,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    loss: Loss,
    record: RunRecord,
    signals: StopSignals,
    progress: Progress | None,
) -> None:
    """All remaining steps, with a validation after every `valid_every`."""
    with signals.finish_first():  # from here on the run can be stopped
        train_mode(state.model, state.config.freeze)
    if state.validation_due:  # the run was stopped before or during it
        _validate(state, valid_tracks, loss, record, signals)
    if state.is_finished:
        return
    unread: list[Done] = []
    overfit = Overfit(state.config, record.log)
    value, then = math.nan, time.perf_counter()
    for batch in batches(segments, state):
        began = time.perf_counter()
        with signals.finish_first():
            done = _step(state, batch, loss)
            done.waiting, done.computing = began - then, time.perf_counter() - began
            unread.append(done)
            if _must_read(state, len(unread), signals):
                value = _read(state, unread, segments, loss, record)
                record.keep_state_if_due()
        if state.validation_due:
            _validate(state, valid_tracks, loss, record, signals)
            if segments.n_quiet:
                record.log(
                    f"{segments.n_quiet} excerpts so far are quieter than "
                    f"min_active_db: the last of {segments.MAX_DRAWS} choices was taken"
                )
        if progress:
            score = state.history[-1]["usdr"] if state.history else None
            progress(state.step, state.n_expected, value, score)
        if overfit.is_done(state.step, value):
            record.keep_state()
            break
        if state.is_finished:  # with a budget or early_stop, before all steps are done
            break
        then = time.perf_counter()
    if state.is_stalled and state.step < state.config.steps:
        record.log(
            f"the run ends at step {state.step}: the last {state.config.early_stop} "
            f"validations had no better {state.config.best_metric}"
        )


def _step(state: TrainState, batch: Segment, loss: Loss) -> Done:
    """Do one step of the run, without waiting for its loss."""
    config = state.config
    rate = state.set_learning_rate(state.step)
    seed_step(config.seed, state.step)
    value = _train(state, batch, loss)
    state.step += 1
    state.update_average()
    is_last = state.step == config.steps or state.watch.is_spent(config.budget_seconds)
    state.validation_due = is_last or state.step % config.valid_every == 0
    return Done(state.step, value, rate, 0.0, 0.0)


def _train(state: TrainState, batch: Segment, loss: Loss) -> Tensor:
    """The loss of a step on a batch from the CPU; NaN if it changes no weight."""
    if largest(not batch.sources.isfinite().all()):  # in any process
        return torch.full((), math.nan, device=state.device)
    return train_step(
        state.model,
        batch.sources.to(state.device, non_blocking=True),
        state.optimizer,
        state.config,
        loss,
        batch.present,
        state.scaler,
    )


def _must_read(state: TrainState, n_unread: int, signals: StopSignals) -> bool:
    """Whether losses are read now: a CPU has no reason to put it off.

    The state is saved only after this, so that no step is missing in its sums. A run
    with --overfit needs each loss, to compare it with the first one.
    """
    every = state.config.save_every
    is_saved = state.validation_due or (every and state.step % every == 0)
    is_stopped = signals.agree()
    at_once = state.device.type == "cpu" or state.config.overfit
    return bool(at_once or n_unread >= READ_EVERY or is_saved or is_stopped)


def _read(
    state: TrainState,
    unread: list[Done],
    segments: RandomSegments,
    loss: Loss,
    record: RunRecord,
) -> float:
    """Read the losses of some steps, which waits for the device, and note them.

    Returns:
        the newest loss; NaN if its step was skipped.
    """
    began, value = time.perf_counter(), math.nan
    values = torch.stack([done.loss for done in unread]).tolist()
    unread[-1].computing += time.perf_counter() - began
    for done, value in zip(unread, values, strict=True):
        if math.isfinite(value):
            state.skipped_in_a_row = 0
        else:
            state.n_skipped += 1
            state.skipped_in_a_row += 1
            record.log(_skipped(state, done.step, segments, loss, record.run_dir))
        if state.skipped_in_a_row > MAX_SKIPPED:
            n = state.skipped_in_a_row
            raise record.diverged(f"{n} steps in a row with NaN or Inf")
        record.step(value, done.waiting, done.computing, done.step, done.learning_rate)
    unread.clear()
    return value


def _skipped(
    state: TrainState, step: int, segments: RandomSegments, loss: Loss, run_dir: Path
) -> str:
    """A sentence about a step that gave NaN or Inf; the first of a row is replayed."""
    config = state.config
    first, end = (step - 1) * config.batch_size, step * config.batch_size
    text = (
        f"step {step} skipped: NaN or Inf in loss or gradient (items {first} … "
        f"{end - 1} of RandomSegments with seed {config.seed})"
    )
    if state.scaler.is_enabled():
        text += f", the scale of float16 is now {state.scaler.get_scale():g}"
    if state.skipped_in_a_row == 1:
        items, file = items_of(config, step - 1, step), f"step-{step}{suffix()}"
        name = run_dir / FOLDER / file
        text += f"; {examine(state.model, config, loss, segments, items, name)}"
    return text


def _validate(
    state: TrainState,
    tracks: Sequence[Track] | None,
    loss: Loss,
    record: RunRecord,
    signals: StopSignals,
) -> None:
    """Score whole songs, if there are any, and save the weights.

    Of several averages of the weights, the best one counts.
    """
    began, metric = state.watch.spent, state.config.best_metric
    value = partial(batch_loss, config=state.config, loss=loss)
    best: dict[str, Any] = {}
    models: dict[float | None, nn.Module] = dict(state.averages.items())
    models = models or {None: state.model}
    for decay, model in models.items() if tracks is not None else ():
        try:
            scores = validate(model, tracks or (), config_of(model).stems)
        except InputError as error:  # the songs are finite, see do_nothing_scores
            raise record.diverged("NaN or Inf in a validation") from error
        found: dict[str, Any] = {
            "decay": decay,
            "scores": scores,
            "usdr": float(scores.nanmean()),
            "valid_loss": validation_loss(model, tracks or (), state.config, value),
        }
        if not best or is_better(metric, found[metric], best[metric]):
            best = found
    state.decay = best.get("decay", state.decay)
    n_absent = sum(len(track.absent) for track in tracks or ())
    state.watch.keep(state.watch.spent - began)
    with signals.finish_first():
        record.validation(best.get("scores"), n_absent, best.get("valid_loss"))
