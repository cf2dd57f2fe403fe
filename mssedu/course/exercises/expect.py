"""What a check claims about an answer: the first claim that fails is the message.

Each function returns the answer, or raises Wrong with a text that the student reads.
"""

import os
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import InputError


class Wrong(Exception):  # noqa: N818 - a verdict on the answer, not a fault of ours
    """A claim about the answer that does not hold; the student reads its text."""

    def __init__(self, text: str, share: float = 0.0) -> None:
        super().__init__(text)
        self.share = share  # of the points, if a part of the answer is right


def variant() -> int:
    """The numbers that the checks use: MSSEDU_VARIANT, a whole number, or 0.

    A course chooses one for its graded work. Sounds, cases and quizzes follow from it,
    so that an answer cannot be a list of results for the checks that are public.

    Raises:
        InputError: MSSEDU_VARIANT is not a whole number from 0 on.
    """
    value = os.environ.get("MSSEDU_VARIANT", "0")
    if not value.isdecimal():
        text = f"MSSEDU_VARIANT must be a whole number from 0 on, got {value!r}."
        raise InputError(f"{text} Set it to 0 for the checks that are public.")
    return int(value)


def that(claim: bool | Tensor, otherwise: str) -> None:
    """Raise Wrong with the text `otherwise` unless the claim holds."""
    if not claim:
        raise Wrong(otherwise)


def items(value: Any, count: int, otherwise: str) -> Any:
    """Return `count` items as a tuple or list; raise Wrong for anything else.

    The items may also be the rows or numbers of a tensor.
    """
    if isinstance(value, Tensor) and value.ndim:
        value = list(value)
    that(isinstance(value, tuple | list) and len(value) == count, otherwise)
    return value


def number(value: Any, what: str = "the result") -> float:
    """Return one number (a tensor of one element counts); raise Wrong for others."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    that(is_number, f"{what} should be one number, not {type(value).__name__}.")
    return float(value) if not isinstance(value, int) else value


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


def same(got: Any, wanted: Any, otherwise: str) -> None:
    """Raise Wrong unless both agree to 1e-4 of the value, item by item."""
    if isinstance(wanted, tuple | list):
        pairs = zip(items(got, len(wanted), otherwise), wanted, strict=True)
        for mine, right in pairs:
            same(mine, right, otherwise)
        return
    what = "the result of your function"
    got = got if isinstance(wanted, Tensor) else number(got, what)
    if isinstance(wanted, Tensor) and wanted.ndim:
        tensor(got, wanted.shape, what)
    size = float(torch.as_tensor(wanted).double().abs().max())
    that(_is_close(got, wanted, 1e-4 * max(size, 1e-2)), otherwise)


def _is_close(got: Any, wanted: Any, tolerance: float) -> bool:
    a, b = (torch.as_tensor(x).to(torch.complex128) for x in (got, wanted))
    return bool(((a - b).abs() <= tolerance).all())


def noise(*shape: int, seed: int = 0, dtype: torch.dtype | None = None) -> Tensor:
    """Normally distributed numbers with a deviation of 1, the same in every check.

    Another variant of the course has other numbers.
    """
    generator = torch.Generator().manual_seed(seed + 1000 * variant())
    return torch.randn(shape, generator=generator, dtype=dtype)
