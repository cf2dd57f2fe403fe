"""One step of a run: a batch becomes a loss, the loss a gradient, and that new weights.

    sources ─ sum ─▶ mixture ─ model ─▶ estimate ─ loss ─▶ gradient ─ clip ─▶ optimizer

Notebook: 05.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mssedu.models.contract import config_of
from mssedu.training.config import TrainConfig, weights
from mssedu.training.distributed import average
from mssedu.training.noise import quantization_noise
from mssedu.training.objective import Loss, svd_penalty
from mssedu.training.optimizers import step_if

# They relate an error to the mixture, as the sum of all rows of the reference.
OF_MIXTURE = {"thresholded_snr", "log_wmse_loss"}
LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Done:
    """A step whose loss is still on its device."""

    step: int
    loss: Tensor
    learning_rate: float
    waiting: float  # seconds, for data
    computing: float  # seconds


def train_step(
    model: nn.Module,
    sources: Tensor,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    loss: Loss,
    present: Tensor | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """One step: separate a batch, compute the loss, update the weights.

    No value is copied from a GPU, if the optimizer is a fused one (see `step_if`) and
    `present` is on the CPU.

    Args:
        model: in train mode, on the device of `sources`.
        sources: (batch, parts, channels, samples), the model's stems first; the mixture
            is the sum of all.
        optimizer: of the model's parameters.
        config: gives precision, clip_norm, accumulate, noise_bits and svd_penalty.
        loss: one of mssedu.training.losses.LOSSES, or of `create_loss`.
        present: bool (batch, parts); None: no part is absent from a song.
        scaler: of the run, for float16; None multiplies the loss by 1.

    Returns:
        the loss before the update, a scalar on the device of `sources`; NaN if it or
        its gradient is not finite, and then the weights are not changed.
    """
    optimizer.zero_grad()
    if sources.device.type == "cpu" and not sources.isfinite().all():
        # NaN would stay in the running statistics of batch norm.
        return torch.tensor(math.nan)
    scaler = scaler or torch.amp.GradScaler(sources.device.type, enabled=False)
    total = sources.new_zeros(())
    rows = (
        [None] * config.accumulate
        if present is None
        else present.chunk(config.accumulate)
    )
    bits = config.noise_bits
    with quantization_noise(model, bits) if bits else nullcontext():
        for part, here in zip(sources.chunk(config.accumulate), rows, strict=True):
            value = batch_loss(model, part, config, loss, here) / config.accumulate
            scaler.scale(value).backward()
            total += value.detach()
    # All matrices may be frozen.
    if config.svd_penalty and (penalty := svd_penalty(model)).requires_grad:
        scaler.scale(config.svd_penalty * penalty).backward()
    (total,) = average(model, total)
    scaler.unscale_(optimizer)
    max_norm = config.clip_norm or math.inf
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    is_finite = total.isfinite() & norm.isfinite()
    step_if(is_finite, optimizer)
    scaler.update()
    return torch.where(is_finite, total, math.nan)


def batch_loss(
    model: nn.Module,
    sources: Tensor,
    config: TrainConfig,
    loss: Loss,
    present: Tensor | None = None,
) -> Tensor:
    """Loss of the model on a batch, a scalar.

    The stems that the model estimates come first; the others are part of the mixture
    only, and a loss of OF_MIXTURE gets them as a row that is not compared. Stems that
    are not `present` have no reference: they are not compared. A model with the method
    `magnitudes` (see `mssedu.models.contract`) is compared before its inverse STFT if
    the loss of the config is magnitude_mse alone.
    """
    n_stems = len(config_of(model).stems)
    reference = sources[:, :n_stems]
    separate: Any = model
    if config.loss == ("magnitude_mse",) and hasattr(model, "magnitudes"):
        separate = cast(Any, model).magnitudes
        reference = cast(Any, model).magnitude(reference)
    low = LOW.get(config.precision)
    with torch.autocast(sources.device.type, low, enabled=low is not None):
        estimate = separate(sources.sum(1)).float()
    if sources.shape[1] > n_stems and OF_MIXTURE & weights("loss", config.loss).keys():
        rest = sources[:, n_stems:].sum(1, keepdim=True)
        estimate, reference = (torch.cat([x, rest], 1) for x in (estimate, reference))
        rows = torch.ones(reference.shape[:2], dtype=torch.bool)
        rows = rows if present is None else present[:, : n_stems + 1].clone()
        rows[:, -1] = False
        return loss(estimate=estimate, reference=reference, present=rows)
    if present is None or present[:, :n_stems].all():
        return loss(estimate=estimate, reference=reference)
    return loss(estimate=estimate, reference=reference, present=present[:, :n_stems])
