"""The training loop of every model of this package.

    tracks ──RandomSegments──▶ sources (batch, parts, channels, samples), present
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

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mssedu.data.segments import RandomSegments, Segment, describe_mixture
from mssedu.data.track import Track, data_sha256
from mssedu.errors import InputError, check_name
from mssedu.models.contract import config_of, pick_device, prepare
from mssedu.separation.fast import reuse_memory
from mssedu.separation.tensors import separate
from mssedu.training.config import TrainConfig, goes_on
from mssedu.training.losses import LOSSES
from mssedu.training.record import (
    BEST,
    LAST,
    RunRecord,
    check_run_room,
    describe_run,
)
from mssedu.training.signals import StopSignals, leave_signals, signals_wait
from mssedu.training.state import TrainState
from mssedu.training.validation import (
    do_nothing_scores,
    enough_memory,
    select_songs,
    validate,
    with_stems_of,
)

MAX_SKIPPED = 10  # steps in a row without a finite gradient; the next stops the run
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
    present: Tensor | None = None,
) -> float:
    """One step: separate a batch, compute the loss, update the weights.

    Args:
        model: in train mode, on the device of `sources`.
        sources: (batch, parts, channels, samples), the model's stems first; the mixture
            is the sum of all.
        optimizer: of the model's parameters.
        config: gives precision and clip_norm.
        loss: one of mssedu.training.losses.LOSSES.
        present: bool (batch, parts); None: no part is absent from a song.

    Returns:
        the loss before the update; NaN if it or its gradient is not finite, and then
        the weights are not changed.
    """
    optimizer.zero_grad()
    if not sources.isfinite().all():
        return math.nan  # before they get into the statistics of batch norm
    value = batch_loss(model, sources, config, loss, present)
    value.backward()
    max_norm = config.clip_norm or math.inf
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if not (value.isfinite() and norm.isfinite()):
        return math.nan
    optimizer.step()
    return value.item()


def batch_loss(
    model: nn.Module,
    sources: Tensor,
    config: TrainConfig,
    loss: Loss,
    present: Tensor | None = None,
) -> Tensor:
    """Loss of the model on a batch, a scalar.

    The stems that the model estimates come first; the others are part of the mixture
    only. Stems that are not `present` have no reference: they are not compared.
    """
    low_precision = config.precision == "bfloat16"
    with torch.autocast(sources.device.type, torch.bfloat16, enabled=low_precision):
        estimate = model(sources.sum(1))
    n_stems = len(config_of(model).stems)
    estimate, reference = estimate.float(), sources[:, :n_stems]
    if present is None or present[:, :n_stems].all():
        return loss(estimate=estimate, reference=reference)
    rows = present[:, :n_stems].to(estimate.device)
    return loss(estimate=estimate, reference=reference, present=rows)


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Learning rate of a step, from 0: a linear rise, then constant or half a cosine.

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
        DiskError: too little room for the checkpoints; those that are there stay.
        MssEduError: NaN or Inf in too many steps in a row, weights or a validation.
        KeyboardInterrupt, SystemExit: Ctrl-C or SIGTERM; the state is saved first.
    """
    log, run_dir = log or (lambda sentence: None), Path(run_dir)
    resumes = goes_on(run_dir, resume)
    config = with_stems_of(model, config)
    loss = LOSSES[check_name("loss", config.loss, LOSSES)]
    train, valid = select_songs(model, train_tracks, valid_tracks, remix=config.remix)
    check_run_room(run_dir, model, config, is_validated=bool(valid))
    log(describe_mixture(train))
    segments = _segments(train, config)
    if segments.n_alone:
        log(f"songs that fit no other, and stay alone: {segments.n_alone}")
    reuse_memory()
    with enough_memory(config):
        if not resumes:
            n = min(N_PREPARE, len(segments))
            prepare(model, (segments[item].sources.sum(0) for item in range(n)))
        model.to(pick_device(config.device))
        rehearse(model, segments, valid, config, loss)
    baselines = do_nothing_scores(valid, config_of(model).stems)
    torch.manual_seed(config.seed)
    valid_data = None if valid is None else data_sha256(valid)
    data = {"train": data_sha256(train), "valid": valid_data}
    state = TrainState(model, config, data)
    with StopSignals() as signals:
        if resumes:
            sentence = state.restore(
                run_dir / LAST,
                allow_config=allow_config_change,
                allow_data=allow_data_change,
            )
            log(sentence)
        log(describe_run(run_dir, state, train, valid, baselines, command))
        if not resumes or allow_config_change or allow_data_change:
            # A change is accepted only once.
            state.save(run_dir / LAST)
        with RunRecord(run_dir, state, log) as record, record.kept_if_stopped(signals):
            _loop(state, segments, valid, loss, record, signals, progress)
    if baselines and state.best_score <= max(baselines.values()):
        log(
            "validation did not improve on outputting the mixture or silence. Train "
            "longer, or check that the model overfits one track."
        )
    scored = bool(baselines) and math.isfinite(state.best_score)
    return FitResult(
        checkpoint=run_dir / (BEST if scored else LAST),
        score=state.best_score if scored else None,
        step=state.best_step if scored else state.step,
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
        state.model.train()
    if state.validation_due:  # the run was stopped before or during it
        _validate(state, valid_tracks, record, signals)
    then = time.perf_counter()
    for batch in _batches(segments, state):
        began = time.perf_counter()
        with signals.finish_first():
            value = _step(state, batch, loss, record.log)
            if state.skipped_in_a_row > MAX_SKIPPED:
                n = state.skipped_in_a_row
                raise record.diverged(f"{n} steps in a row with NaN or Inf")
            record.step(value, began - then, time.perf_counter() - began)
            record.keep_state_if_due()
        if state.validation_due:
            _validate(state, valid_tracks, record, signals)
            if segments.n_quiet:
                record.log(
                    f"{segments.n_quiet} excerpts so far are quieter than "
                    f"min_active_db: the last of {segments.MAX_DRAWS} choices was taken"
                )
        if progress:
            score = state.history[-1]["usdr"] if state.history else None
            progress(state.step, state.config.steps, value, score)
        then = time.perf_counter()


def _step(
    state: TrainState, batch: Segment, loss: Loss, log: Callable[[str], None]
) -> float:
    """Do one step of the run; returns its loss, NaN if it was skipped."""
    config = state.config
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(state.step, config)
    sources = batch.sources.to(state.device)
    optimizer, present = state.optimizer, batch.present
    value = train_step(state.model, sources, optimizer, config, loss, present)
    state.step += 1
    if math.isfinite(value):
        state.skipped_in_a_row = 0
        state.update_average()
    else:
        state.n_skipped += 1
        state.skipped_in_a_row += 1
        first, end = (n * config.batch_size for n in (state.step - 1, state.step))
        log(
            f"step {state.step} skipped: NaN or Inf in loss or gradient (items {first} "
            f"… {end - 1} of RandomSegments with seed {config.seed})"
        )
    is_last = state.step == config.steps
    state.validation_due = is_last or state.step % config.valid_every == 0
    return value


def _validate(
    state: TrainState,
    tracks: Sequence[Track] | None,
    record: RunRecord,
    signals: StopSignals,
) -> None:
    """Score whole songs, if there are any, and save the weights."""
    scores = None
    if tracks is not None:
        try:
            scores = validate(state.evaluated, tracks, config_of(state.model).stems)
        except InputError as error:  # the songs are finite, see do_nothing_scores
            raise record.diverged("NaN or Inf in a validation") from error
    n_absent = sum(len(track.absent) for track in tracks or ())
    with signals.finish_first():
        record.validation(scores, n_absent)


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
        balance=config.balance,
        min_active_db=config.min_active_db,
        level_db=config.level_db,
        gain_db=config.gain_db,
        channel_flip=flip,
        sign_flip=flip,
        silence=config.silence,
        matched=config.matched,
        mixup=config.mixup,
        effects=config.effects,
        effect_probability=config.effect_probability,
    )


def _batches(segments: RandomSegments, state: TrainState) -> Iterator[Segment]:
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


def rehearse(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    loss: Loss,
) -> None:
    """Run one step and one short separation on a copy: they would fail later, too.

    An InputError if the loss or the gradient is not finite.
    """
    model = copy.deepcopy(model).train()
    items = [segments[item] for item in range(config.batch_size)]
    sources, present = map(torch.stack, zip(*items, strict=True))
    sources = sources.to(next(model.parameters()).device)
    value = batch_loss(model, sources, config, loss, present)
    value.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf)
    if not (value.isfinite() and norm.isfinite()):
        raise InputError(
            f"the first batch gives the loss {value.item():.3g} and the gradient norm "
            f"{norm.item():.3g}, and both must be finite. Look for NaN in the data and "
            "in the weights of the model."
        )
    if valid_tracks:
        separate(model, valid_tracks[0].mixture(0.0, config.segment))
