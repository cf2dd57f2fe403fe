"""The layer of RoFormers with fewer passes over memory, for `fast.pack`.

Its matrix products stay as they are. What stands between them reads and writes all
features again and again, and that is shortened: the gains of a norm become part of the
weights after it, so that the norm is one division; rotary positions are one complex
product, in place of six steps on every second feature; GELU works in place.

Of the other newer models, BSRNN and SCNet spend most of their time in LSTMs. In
MDX-Net, batch norms as part of the convolutions saved less than a tenth.
Notebook: 12.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.models.blocks.rotary import RMSNorm, RotaryLayer

Forward = Callable[..., Tensor]
SMALLEST = 1e-12  # norm that a norm divides by at least, as in the plain form


def rotary_layer(layer: RotaryLayer) -> Forward:
    """The forward of a RoFormer layer in float32.

    Args:
        layer: in eval mode, with its final weights, which are copied where a norm
            precedes them.
    """
    # b sequence, m position, n (query, key, value), h head, d feature of a head
    attend, n_heads = layer.attend, layer.attend.n_heads
    parts: Any = layer.feed_forward
    norm, up, _, _, down, _ = parts
    to_qkv, to_gates = (
        _after_norm(attend.norm, part) for part in (attend.qkv, attend.gates)
    )
    widen, out, narrow = _after_norm(norm, up), _plain(attend.out), _plain(down)

    def forward(x: Tensor, turns: Tensor) -> Tensor:
        circle = torch.complex(turns[0], turns[1])
        y = _unit(x)
        pattern = "b m (n h d) -> n b h m d"
        q, k, v = rearrange(to_qkv(y), pattern, n=3, h=n_heads)
        values = F.scaled_dot_product_attention(_turn(q, circle), _turn(k, circle), v)
        gates = rearrange(to_gates(y).sigmoid_(), "b m h -> b h m 1")
        x = x + out(rearrange(values * gates, "b h m d -> b m (h d)"))
        y = torch.ops.aten.gelu_(widen(_unit(x)))
        return layer.norm(narrow(y).add_(x))

    return forward


def _unit(x: Tensor) -> Tensor:
    """Divided by the norm of the last axis."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * norm.clamp_min_(SMALLEST).reciprocal_()


def _after_norm(norm: RMSNorm, linear: nn.Linear) -> Forward:
    """A linear layer of a vector of norm 1, with the rest of the RMS norm in it."""
    gain = norm.gain * norm.gain.numel() ** 0.5
    weight, bias = (linear.weight * gain).detach(), linear.bias
    return lambda x: F.linear(x, weight, bias)


def _plain(linear: nn.Linear) -> Forward:
    """A linear layer as torch computes it, though `pack` may replace its forward."""
    return lambda x: F.linear(x, linear.weight, linear.bias)


def _turn(x: Tensor, circle: Tensor) -> Tensor:
    """Rotary positions: each pair of features is a complex number."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * circle).flatten(-2)
