"""What attention costs as a sequence gets longer: the usual kind, and the linear kind.

A transformer compares every position with every other one, so twice the length costs
four times as much. Linear attention computes sums over all positions once, so twice the
length costs twice as much. Projections and feed-forward layers are linear in both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mssedu.errors import InputError, check_range
from mssedu.inspect.complexity import count_flops, time_forward
from mssedu.models.blocks.transformer import (
    Attention,
    AttentionKind,
    LinearAttention,
    SelfAttentionLayer,
)

KINDS: dict[str, AttentionKind] = {"quadratic": Attention, "linear": LinearAttention}


@dataclass(frozen=True)
class AttentionCost:
    """The cost of a layer of one kind over sequences of several lengths."""

    lengths: tuple[int, ...]  # positions
    flops: tuple[int, ...]
    seconds: tuple[float, ...]  # on this device; empty if time was not measured


def attention_costs(
    lengths: Sequence[int],
    width: int = 384,
    n_heads: int = 8,
    *,
    timed: bool = True,
    device: str = "cpu",
) -> dict[str, AttentionCost]:
    """Measure a self-attention layer, with its feed-forward part, at several lengths.

    Args:
        lengths: positions, at least two different lengths. HTDemucs has 8 bins · 431
            frames = 3448 positions for 10 s.
        width: features of a position, a multiple of `n_heads`.
        n_heads: of the attention.
        timed: measure seconds, too; otherwise nothing is computed.
        device: for the time.

    Raises:
        InputError: fewer than two lengths, or one below 1.

    Example:
        >>> costs = attention_costs([1000, 2000], timed=False)
        >>> round(exponent(costs["linear"].lengths, costs["linear"].flops), 3)
        1.0
    """
    _check_lengths(lengths)
    costs = {}
    for name, kind in KINDS.items():
        with torch.device("meta"):
            layer = SelfAttentionLayer(width, 4 * width, n_heads, 0.0, kind)
            inputs = [torch.empty(1, length, width) for length in lengths]
        flops = tuple(count_flops(layer, x) for x in inputs)
        seconds: tuple[float, ...] = ()
        if timed:
            real = SelfAttentionLayer(width, 4 * width, n_heads, 0.0, kind).to(device)
            seconds = tuple(
                time_forward(real, torch.randn(1, length, width, device=device))
                for length in lengths
            )
        costs[name] = AttentionCost(tuple(lengths), flops, seconds)
    return costs


def exponent(lengths: Sequence[int], costs: Sequence[float]) -> float:
    """The power of the length that the cost follows: the slope of a line in logarithms.

    Args:
        lengths: at least two different ones.
        costs: of each length, above 0.

    Example:
        >>> round(exponent([10, 20, 40], [3, 12, 48]), 6)
        2.0
    """
    _check_lengths(lengths)
    xs, ys = [math.log(x) for x in lengths], [math.log(y) for y in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in xs)


def _check_lengths(lengths: Sequence[int]) -> None:
    for length in lengths:
        check_range("lengths", length, 1)
    if len(set(lengths)) < 2:
        raise InputError(
            f"lengths must hold at least two different numbers, got {[*lengths]}: the "
            "growth of a cost needs two places."
        )
