"""What a run minimizes: losses by name and weight, stems by weight, and a penalty.

    Σ over losses  weight · loss  +  svd_penalty · Σ over matrices  (σ_max)²

A stem with the weight 2 counts like two stems in each mean. One loss with the weight 1
and no other weights is the function in `LOSSES` itself.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_name
from mssedu.models.contract import ModelConfig
from mssedu.training.config import TrainConfig, weights
from mssedu.training.losses import LOSSES

# It takes estimate, reference and, if some stems are absent, present.
Loss = Callable[..., Tensor]
N_TURNS = 4  # of the power iteration, from a good start


def create_loss(config: TrainConfig, model_config: ModelConfig) -> Loss:
    """The loss of a run, with the arguments of those in `mssedu.training.LOSSES`.

    Raises:
        InputError: an unknown loss or stem, or weights that are all 0.

    Example:
        >>> from mssedu.models.registry import model_config
        >>> config = TrainConfig(loss=("waveform_l1", "waveform_mse=0.5"))
        >>> loss = create_loss(config, model_config("spleeter"))
        >>> zeros = torch.zeros(1, 4, 2, 100)
        >>> loss(estimate=zeros + 1, reference=zeros)
        tensor(1.5000)
    """
    terms = weights("loss", config.loss)
    stem_weights = weights("stem_weights", config.stem_weights)
    losses = {}
    for name in terms:
        loss = LOSSES[check_name("loss", name, LOSSES)]
        if "sample_rate" in inspect.signature(loss).parameters:
            loss = partial(loss, sample_rate=model_config.sample_rate)
        losses[name] = loss
    for stem in stem_weights:
        check_name("stem in stem_weights", stem, model_config.stems)
    rows = [stem_weights.get(stem, 1.0) for stem in model_config.stems]
    if not any(terms.values()) or not any(rows):
        raise InputError(
            "all weights of loss or of stem_weights are 0, so there is nothing to "
            "learn. Give at least one a weight above 0."
        )
    if set(rows) != {1.0}:
        losses = {name: partial(_by_stem, loss, rows) for name, loss in losses.items()}
    if list(terms.values()) == [1.0]:
        return next(iter(losses.values()))
    return partial(_sum, losses, terms)


def _sum(
    losses: Mapping[str, Loss], terms: Mapping[str, float], **pair: Tensor
) -> Tensor:
    """The weighted sum of losses."""
    values = [weight * losses[name](**pair) for name, weight in terms.items() if weight]
    return torch.stack(values).sum()


def _by_stem(
    loss: Loss,
    rows: list[float],
    *,
    estimate: Tensor,
    reference: Tensor,
    present: Tensor | None = None,
) -> Tensor:
    """The weighted mean of the loss of each stem; a stem counts as often as present."""
    shape = reference.shape[:2]
    present = torch.ones(shape, dtype=torch.bool) if present is None else present
    total, count = estimate.new_zeros(()), 0.0
    for stem, weight in enumerate(rows):
        alone = torch.zeros_like(present)
        alone[:, stem] = present[:, stem]
        n = weight * float(alone.sum())
        if n:
            value = loss(estimate=estimate, reference=reference, present=alone)
            total, count = total + n * value, count + n
    return total / count if count else (0 * estimate).sum()


def svd_penalty(model: nn.Module) -> Tensor:
    """Sum of the squared largest singular values of all matrices that are trained.

    A kernel is a matrix with a row for each output channel. Some turns of a power
    iteration find the directions; the gradient is that of the value along them.

    Source: Défossez 2021, "Hybrid spectrogram and waveform source separation", section
    3.4: the penalty keeps a deep network with a skip around each block stable.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> layer.weight.data = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> round(svd_penalty(layer).item(), 3)
        9.0
    """
    values = [
        _largest(p.flatten(1)).square()
        for p in model.parameters()
        if p.requires_grad and p.ndim > 1
    ]
    return torch.stack(values).sum() if values else torch.zeros(())


def _largest(matrix: Tensor) -> Tensor:
    """The largest singular value."""
    with torch.no_grad():
        right = matrix[matrix.square().sum(1).argmax()]  # its longest row
        for _ in range(N_TURNS):
            left = nn.functional.normalize(matrix @ right, dim=0)
            right = nn.functional.normalize(matrix.T @ left, dim=0)
    return left @ matrix @ right
