"""What a check claims about an answer: the first claim that fails is the message.

Each function returns the answer, or raises Wrong with a text that the student reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Wrong(Exception):  # noqa: N818 - a verdict on the answer, not a fault of ours
    """A claim about the answer that does not hold; the student reads its text."""


def that(claim: bool | Tensor, otherwise: str) -> None:
    """Raise Wrong with the text `otherwise` unless the claim holds."""
    if not claim:
        raise Wrong(otherwise)


def items(value: Any, count: int, otherwise: str) -> Any:
    """Return a tuple or list of `count` items; raise Wrong for anything else."""
    that(isinstance(value, tuple | list) and len(value) == count, otherwise)
    return value


def number(value: Any, what: str = "the result") -> float:
    """Return one number (a tensor of one element counts); raise Wrong for others."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    that(is_number, f"{what} should be one number, not {type(value).__name__}.")
    return value


def tensor(value: Any, shape: Sequence[int], what: str = "the result") -> Tensor:
    """Return a tensor of that shape without NaN or Inf; raise Wrong for others."""
    wanted, kind = tuple(shape), type(value).__name__
    that(isinstance(value, Tensor), f"{what} should be a tensor, not {kind}.")
    got = tuple(value.shape)
    that(got == wanted, f"{what} should have the shape {wanted}, not {got}.")
    text = f"{what} should have finite values, not NaN or Inf."
    that(torch.isfinite(value).all(), text)
    return value


def close(
    got: Any,
    wanted: Any,
    otherwise: str,
    *,
    what: str = "the result",
    tolerance: float = 1e-5,
    mistakes: Mapping[str, Any] | None = None,
) -> None:
    """Raise Wrong unless numbers or tensors differ by at most `tolerance`.

    If `wanted` is a tensor with axes, `tensor(got, wanted.shape, what)` comes first.
    `mistakes` maps a sentence, which follows `otherwise`, to what that mistake gives.
    """
    if isinstance(wanted, Tensor) and wanted.ndim:
        tensor(got, wanted.shape, what)
    if not _is_close(got, wanted, tolerance):
        for reason, mistake in (mistakes or {}).items():
            that(not _is_close(got, mistake, tolerance), f"{otherwise} {reason}")
        raise Wrong(otherwise)


def _is_close(got: Any, wanted: Any, tolerance: float) -> bool:
    a, b = (torch.as_tensor(x).to(torch.complex128) for x in (got, wanted))
    return bool(((a - b).abs() <= tolerance).all())


def noise(*shape: int, seed: int = 0, dtype: torch.dtype | None = None) -> Tensor:
    """Normally distributed numbers with a deviation of 1, the same in every check."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)
