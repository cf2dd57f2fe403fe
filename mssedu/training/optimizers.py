"""Optimizers by name, and the learning rate of each step.

    adam       the gradient divided by its usual size; weight decay is a part of it
    adamw      the same, and the weights shrink apart from the gradient
    muon       for each matrix, the momentum with all singular values made equal; adamw
               for vectors and kernels

    constant   ▔▔▔▔▔▔▔▔     plateau    ▔▔▔▔▁▁▁▁     every schedule first rises for
    cosine     ▔▔╲▁▁        restarts   ╲▁╲▁╲▁╲▁     warmup_steps
    decay      ▔▔▀▀▄▄▁▁

No schedule has a state: the rate follows from the step and, for plateaus, from the
history of the validations. So a run that is resumed goes on with the same rates.

Sources: Kingma and Ba 2015, "Adam: a method for stochastic optimization"; Loshchilov
and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts" (cosine,
restarts), and 2019, "Decoupled weight decay regularization" (adamw); Jordan et al.
2024, "Muon: an optimizer for hidden layers in neural networks"; Liu et al. 2025, "Muon
is scalable for LLM training" (the scale of its step, with which one learning rate fits
both parts).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mssedu.errors import InputError
from mssedu.training.config import TrainConfig


def create_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimizer of a run, for the weights that are not frozen.

    On CUDA, Adam and AdamW are fused: one kernel changes all weights.

    Raises:
        InputError: muon for a model without matrices.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    rate, decay, betas = config.learning_rate, config.weight_decay, config.betas
    fused = True if trained[0].device.type == "cuda" else None
    if config.optimizer == "adam":
        return torch.optim.Adam(
            trained, rate, betas=betas, weight_decay=decay, fused=fused
        )
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            trained, rate, betas=betas, weight_decay=decay, fused=fused
        )
    matrices = [p for p in trained if p.ndim == 2]
    if not matrices:
        raise InputError(
            f"the optimizer muon is for matrices, and {type(model).__name__} has none. "
            "Choose --optimizer adamw."
        )
    others = [p for p in trained if p.ndim != 2]
    muon = torch.optim.Muon(
        matrices, rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
    )
    if not others:
        return muon
    adamw = torch.optim.AdamW(others, rate, betas=betas, weight_decay=decay)
    return TwoOptimizers(muon, adamw)


class TwoOptimizers(Optimizer):
    """Two optimizers that look like one; the first has the first group of weights."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        super().__init__([*first.param_groups, *second.param_groups], {})
        self.parts = (first, second)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Both steps; `load_state_dict` has replaced groups and state in between."""
        groups = (self.param_groups[:1], self.param_groups[1:])
        for part, own in zip(self.parts, groups, strict=True):
            part.param_groups, part.state = own, self.state
            part.step()


def step_if(is_finite: Tensor, optimizer: Optimizer) -> None:
    """Change the weights if a scalar on their device is true.

    A fused optimizer reads the scalar on the device, as it does for float16, so nothing
    waits. The others need an `if` of Python, which waits for the device.
    """
    if optimizer.defaults.get("fused"):
        fused: Any = optimizer
        fused.grad_scale, fused.found_inf = None, (~is_finite).float()
        try:
            optimizer.step()
        finally:
            del fused.grad_scale, fused.found_inf
    elif is_finite:
        optimizer.step()


# ---- learning rate ------------------------------------------------------------------


def learning_rate_at(
    step: int, config: TrainConfig, spent: float | None = None
) -> float:
    """Learning rate of a step, from 0: a linear rise, then the schedule.

    The cosine follows the share of the steps or, if the run has a budget of computing
    time, the share of the budget that is `spent`. A plateau multiplies the rate by
    `plateau_drop`.

    Example:
        >>> config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
        >>> [learning_rate_at(step, config) for step in (0, 4, 9, 99)]
        [0.1, 0.5, 1.0, 1.0]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule in ("constant", "plateau"):
        return config.learning_rate
    if config.schedule == "decay":
        n_changes = step // config.decay_every
        return config.learning_rate * config.decay_factor**n_changes
    step -= config.warmup_steps
    done = step / (config.steps - config.warmup_steps)
    done = done if spent is None else spent
    if config.schedule == "restarts":
        done = step % config.restart_every / config.restart_every
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def plateau_drop(is_better: Iterable[bool], config: TrainConfig) -> float:
    """The factor of all plateaus so far; 1 unless the schedule is plateau.

    Args:
        is_better: for each validation, whether it was the best one until then.

    Example:
        >>> config = TrainConfig(schedule="plateau", plateau_patience=2)
        >>> plateau_drop([True, False, False, True, False], config)
        0.3
    """
    if config.schedule != "plateau":
        return 1.0
    drop, n_worse = 1.0, 0
    for better in is_better:
        n_worse = 0 if better else n_worse + 1
        if n_worse and n_worse >= config.plateau_patience:
            drop, n_worse = drop * config.plateau_factor, 0
    return drop


def n_since_best(is_better: Sequence[bool]) -> int:
    """How many validations have followed the best one, for `early_stop`.

    Example:
        >>> n_since_best([True, False, True, False, False])
        2
    """
    n = len(is_better)
    return next((n for n, better in enumerate(reversed(is_better)) if better), n)
