"""Training: the loop by which every model of this package learns.

    tracks ──RandomSegments──▶ sources (batch, stems, channels, samples)
                                 │ sum of the stems
                               mixture ──model──▶ estimate ──loss──▶ gradient ──▶ Adam
                                                                                  │
    best.safetensors ◀── highest usdr on whole validation tracks ◀── running average

`fit` is the run, `train_step` one turn of its loop. A run writes to its folder only:

    config.json       what was trained, on what, by which version
    history.jsonl     a line per validation: loss, scores, seconds waited and computed
    last.safetensors  the newest state, from which `resume` goes on exactly
    best.safetensors  the weights with the highest score
    tensorboard/      curves

Notebook: 05.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mssedu.checks import InputError, MssEduError, SetupError, check_name, message
from mssedu.contract import prepare
from mssedu.datasets.segments import RandomSegments
from mssedu.datasets.track import Track
from mssedu.losses import LOSSES
from mssedu.separate import separate
from mssedu.separation.inference import reuse_memory
from mssedu.training.config import TrainConfig
from mssedu.training.preflight import check_run, pick_device
from mssedu.training.run_record import RunRecord, describe_run, start_folder
from mssedu.training.state import TrainState
from mssedu.training.validation import do_nothing_scores, validate

__all__ = ["FitResult", "TrainConfig", "fit", "learning_rate_at", "train_step"]

MAX_SKIPPED = 10  # steps in a row without a finite gradient; the next stops the run
NO_BETTER = (
    "the model is no better than no model: train longer, or try first whether it "
    "learns a single track"
)
N_PREPARE = 64  # training examples shown to a model that prepares itself

Loss = Callable[..., Tensor]  # keyword-only estimate and reference, as in mssedu.losses
Progress = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class FitResult:
    """What a finished run has reached."""

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
    """Separate a batch, measure the error, correct the weights.

    Args:
        model: in train mode, on the device of `sources`.
        sources: (batch, stems, channels, samples); the mixture is their sum.
        optimizer: of the model's parameters.
        config: gives precision and clip_norm.
        loss: one of mssedu.losses.LOSSES.

    Returns:
        loss before the correction; NaN if it or its gradient is not finite: then the
        weights stay as they are.
    """
    optimizer.zero_grad()
    if not sources.isfinite().all():
        return math.nan  # before batch norm takes them into its statistics
    value = batch_loss(model, sources, config, loss)
    value.backward()
    longest = config.clip_norm or math.inf
    norm = nn.utils.clip_grad_norm_(model.parameters(), longest)
    if not (value.isfinite() and norm.isfinite()):
        return math.nan
    optimizer.step()
    return value.item()


def batch_loss(
    model: nn.Module, sources: Tensor, config: TrainConfig, loss: Loss
) -> Tensor:
    """Error of the model on a batch, a scalar.

    The stems that the model estimates come first; any others only sound in the mixture.
    """
    low_precision = config.precision == "bfloat16"
    with torch.autocast(sources.device.type, torch.bfloat16, enabled=low_precision):
        estimate = model(sources.sum(1))
    reference = sources[:, : len(config.stems)]
    return loss(estimate=estimate.float(), reference=reference)


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then constant, or half a cosine that ends at 0.

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
    resume: bool = False,
    allow_config_change: bool = False,
    log: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train a model; its best weights end up in run_dir/best.safetensors.

    Args:
        model: of the registry; trained in place, on the device of the config.
        valid_tracks: separated whole and scored; None to keep the last weights only.
        resume: go on from run_dir/last.safetensors.
        allow_config_change: resume although the config is another one.
        log: is given a sentence now and then.
        progress: is given step, steps, loss and newest score (dB) after each step.

    Raises:
        InputError, DatasetError, SetupError: what the checks before step 1 find.
        CheckpointError: nothing whole to resume, or the config differs.
        MssEduError: NaN or Inf for more than MAX_SKIPPED steps in a row.
    """
    log = log or (lambda sentence: None)
    run_dir, last = Path(run_dir), Path(run_dir) / "last.safetensors"
    check_run(model, train_tracks, valid_tracks, config)
    loss = LOSSES[check_name("fit", "loss", config.loss, LOSSES)]
    segments = _segments(train_tracks, config)
    if not resume:
        prepare(
            model, (segments[i].sum(0) for i in range(min(N_PREPARE, len(segments))))
        )
    reuse_memory()
    model.to(pick_device(config.device))
    _rehearse(model, segments, valid_tracks, config, loss)
    baselines = do_nothing_scores(valid_tracks, config.stems) if valid_tracks else {}

    torch.manual_seed(config.seed)
    state = TrainState(model, config)
    if resume:
        log(state.restore(last, allow_config_change=allow_config_change))
    else:
        start_folder(run_dir)
        state.save(last)  # a full disk shows now, and there is always a way back
    log(describe_run(run_dir, state, train_tracks, valid_tracks, baselines))
    with RunRecord(run_dir, state, log) as record:
        _loop(state, segments, valid_tracks, loss, record, progress)

    if baselines and state.best_score <= max(baselines.values()):
        log(NO_BETTER)
    return _result(state, run_dir, baselines)


def _loop(
    state: TrainState,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    loss: Loss,
    record: RunRecord,
    progress: Progress | None,
) -> None:
    """All steps that are left, with a validation every now and then."""
    model, config, optimizer = state.model, state.config, state.optimizer
    skipped_in_a_row = 0
    score = state.history[-1]["usdr"] if state.history else None
    model.train()
    then = time.perf_counter()
    for sources in _batches(segments, state):
        arrived = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(state.step, config)
        value = train_step(model, sources.to(state.device), optimizer, config, loss)
        state.step += 1
        if math.isfinite(value):
            skipped_in_a_row = 0
            state.update_average()
        else:
            skipped_in_a_row += 1
            _note_skipped(state, skipped_in_a_row, record)
        record.step(value, arrived - then, time.perf_counter() - arrived)
        if state.step % config.valid_every == 0 or state.step == config.steps:
            scores = None
            if valid_tracks is not None:
                scores = validate(state.evaluated, valid_tracks, config.stems)
            record.validation(scores)
            score = state.history[-1]["usdr"]
        if progress:
            progress(state.step, config.steps, value, score)
        then = time.perf_counter()


def _result(state: TrainState, run_dir: Path, baselines: dict[str, float]) -> FitResult:
    """The best weights if some were scored, or else the last ones."""
    scored = math.isfinite(state.best_score)
    return FitResult(
        checkpoint=run_dir / f"{'best' if scored else 'last'}.safetensors",
        score=state.best_score if scored else None,
        step=state.best_step if scored else state.step,
        n_skipped=state.n_skipped,
        baselines=baselines,
        history=state.history,
    )


def _segments(tracks: Sequence[Track], config: TrainConfig) -> RandomSegments:
    """Training examples; stems that the model does not estimate come last."""
    others = [stem for stem in tracks[0].stems if stem not in config.stems]
    return RandomSegments(
        tracks,
        (*config.stems, *others),
        config.segment,
        config.steps * config.batch_size,
        seed=config.seed,
        remix=config.remix,
        level_db=config.level_db,
        gain_db=config.gain_db,
        silence=config.silence,
    )


def _batches(segments: RandomSegments, state: TrainState) -> DataLoader:
    """The batches of the steps that are left, in order."""
    size, steps = state.config.batch_size, state.config.steps
    return DataLoader(
        segments,
        size,
        sampler=range(state.step * size, steps * size),
        num_workers=state.config.n_workers,
        pin_memory=state.device.type == "cuda",
        generator=torch.Generator(),  # the global one belongs to the model's dropout
    )


def _rehearse(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    loss: Loss,
) -> None:
    """One step's forward and backward pass, and one separation, on a copy."""
    model = copy.deepcopy(model).train()
    device = next(model.parameters()).device
    sources = torch.stack([segments[item] for item in range(config.batch_size)])
    try:
        value = batch_loss(model, sources.to(device), config, loss)
        value.backward()
    except torch.OutOfMemoryError as error:
        remedy = "Halve batch_size or segment, or use precision bfloat16."
        wanted = f"memory for {config.batch_size} × {config.segment:g} s on {device}"
        raise SetupError(message("fit", wanted, "too little", remedy)) from error
    norm = nn.utils.get_total_norm(
        [p.grad for p in model.parameters() if p.grad is not None]
    )
    if not (value.isfinite() and norm.isfinite()):
        got = f"loss {value.item():.3g}, gradient norm {norm.item():.3g}"
        remedy = "Look for NaN in the data and in the model's weights."
        wanted = "a finite loss and gradient on the first batch"
        raise InputError(message("fit", wanted, got, remedy))
    if valid_tracks:
        excerpt = valid_tracks[0].mixture(0.0, config.segment)
        separate(model, excerpt)


def _note_skipped(state: TrainState, in_a_row: int, record: RunRecord) -> None:
    """Count a step without a finite gradient; too many in a row end the run."""
    state.n_skipped += 1
    size = state.config.batch_size
    items = f"items {(state.step - 1) * size} … {state.step * size - 1}"
    what = f"step {state.step} skipped: NaN or Inf in loss or gradient ({items} of "
    record.log(what + f"RandomSegments with seed {state.config.seed})")
    if in_a_row > MAX_SKIPPED:
        got = f"{in_a_row} steps in a row with NaN or Inf, up to step {state.step}"
        last = record.run_dir / "last.safetensors"
        remedy = f"Lower learning_rate or use float32; the last good state is {last}."
        raise MssEduError(message("fit", "a finite loss and gradient", got, remedy))
