"""Train with the noise that a rounding to few bits makes, so that weights can be small.

    weights W ── + Δ/2 · u, u in [-1, 1] ──▶ W' ── forward, loss ──▶ gradient of W

Rounding to b bits moves each number by at most half a step Δ = (max W - min W) / (2^b -
1). The rounding itself has no useful gradient. Noise of the same size has one, and a
network that learns to tolerate it also tolerates the rounding. `quantized` then does
the rounding, group by group. In our only trial, 200 steps with 2 bits, the noise cost
more than it saved (benchmarks/RESULTS.md).

Paper: Défossez, Adi, Synnaeve 2022, "Differentiable model compression via pseudo
    quantization noise" (TMLR), sections 3.1 and 3.2.
Left out: learning the number of bits of each group (section 3.3); here it is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_range

GROUP = 8  # weights that share their smallest and largest value
LEAST = 512  # weights; smaller tensors are norms, scales and biases, and stay exact


@contextmanager
def quantization_noise(
    model: nn.Module,
    bits: int,
    *,
    group: int = GROUP,
    generator: torch.Generator | None = None,
) -> Iterator[None]:
    """While open, the weights of a model carry the noise of a rounding to `bits` bits.

    Open it around the forward and the backward of a training step, and close it before
    the optimizer step: the weights are exact again then, and their gradients are those
    of the noisy ones.

    Args:
        model: its parameters with at least 512 numbers get noise.
        bits: of a weight, 1 … 16.
        group: number of weights that share one scale.
        generator: of the noise, on the model's device; None for that of torch.

    Raises:
        InputError: bits or group out of range.

    Example:
        >>> layer = torch.nn.Linear(32, 32, bias=False)
        >>> before = layer.weight.detach().clone()
        >>> with quantization_noise(layer, bits=4):
        ...     torch.equal(layer.weight, before)
        False
        >>> torch.equal(layer.weight, before)
        True
    """
    _check(bits, group)
    weights = [p for p in model.parameters() if p.numel() >= LEAST]
    exact = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            step = _step(_groups(weight, group), bits)
            noise = torch.empty_like(_groups(weight, group))
            noise.uniform_(-0.5, 0.5, generator=generator)
            weight.add_(_ungrouped(noise * step, weight))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, exact, strict=True):
                weight.copy_(value)


def quantized(tensor: Tensor, bits: int, *, group: int = GROUP) -> Tensor:
    """A tensor whose groups of numbers have at most 2^bits different values each.

    Args:
        tensor: of floats, any shape.
        bits: of a number, 1 … 16.
        group: numbers that share their smallest and largest value.

    Returns:
        the rounded numbers, of the same shape and dtype; each is at most half a step
        from its original.

    Raises:
        InputError: bits or group out of range, or a tensor that is not of floats.

    Example:
        >>> quantized(torch.tensor([0.0, 0.4, 0.6, 1.0]), bits=1, group=4)
        tensor([0., 0., 1., 1.])
    """
    _check(bits, group)
    if not tensor.is_floating_point():
        raise InputError(
            f"tensor must be of a float type, got {tensor.dtype}. Use tensor.float()."
        )
    # The largest rank, 2^16 - 1, is above the largest number of float16.
    wide = torch.promote_types(tensor.dtype, torch.float32)
    groups = _groups(tensor.to(wide), group)
    low, step = groups.amin(1, keepdim=True), _step(groups, bits)
    # Where all numbers of a group are equal, the step is 0 and they stay as they are.
    rank = ((groups - low) / torch.where(step > 0, step, 1)).round()
    return _ungrouped(low + rank * step, tensor).to(tensor.dtype)


def _check(bits: int, group: int) -> None:
    check_range("bits", bits, 1, 16)
    check_range("group", group, 1)


def _groups(tensor: Tensor, group: int) -> Tensor:
    """(n, group): the numbers in their order; the last number fills up the last row."""
    flat = tensor.detach().flatten()
    missing = -len(flat) % group
    return torch.cat([flat, flat[-1:].expand(missing)]).reshape(-1, group)


def _ungrouped(groups: Tensor, like: Tensor) -> Tensor:
    return groups.flatten()[: like.numel()].reshape(like.shape)


def _step(groups: Tensor, bits: int) -> Tensor:
    spread = groups.amax(1, keepdim=True) - groups.amin(1, keepdim=True)
    return spread / (2**bits - 1)
