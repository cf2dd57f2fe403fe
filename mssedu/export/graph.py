"""The graph of a model, with complex numbers as pairs of real ones.

    model ── trace ──▶ graph with complex tensors ── as_real ──▶ the same, real only

`torch.export` records every operation of a forward, for a mixture of any length. Some
of them work on complex spectrograms, and ONNX has no complex numbers. `as_real` repeats
the recorded operations one by one, with two real tensors in the place of a complex one.
An operation that moves numbers without changing them, such as a reshape, is done to
both; those that compute follow the rules of complex arithmetic.

So the models keep the complex spectrograms of the textbooks, and an architecture that
somebody adds can be exported without a change.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as tree

from mssedu.errors import InputError
from mssedu.export.any_length import for_any_length
from mssedu.models.contract import config_of, eval_mode

# Of the traced mixture. More than one, so that a model which works in blocks has two of
# them: with one, the graph would be for mixtures of one block only.
EXAMPLE_SEGMENTS = 1.5

Operation = Callable[..., Any]


def trace(model: nn.Module, example_length: int | None = None) -> ExportedProgram:
    """The graph of a model in eval mode, for a batch of 1 and any number of samples.

    Args:
        model: follows the model contract; on the CPU.
        example_length: samples of the mixture of zeros that is traced; None for one and
            a half segments.

    Returns:
        the graph. As a program of torch it takes mixtures of at least two frames of the
        STFT; the ONNX file that is made of it takes one sample, too.

    Raises:
        InputError: a value in the mixture decides what the forward computes.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> program = trace(create_model("conv_tasnet", "tiny"))
        >>> program.module()(torch.zeros(1, 2, 5000)).shape
        torch.Size([1, 4, 2, 5000])
    """
    config = config_of(model)
    if example_length is None:
        segment = config.segment * config.sample_rate
        example_length = round(EXAMPLE_SEGMENTS * segment) | 1  # odd
    mixture = torch.zeros(1, config.channels, example_length)
    lengths = ({2: Dim.DYNAMIC},)
    with eval_mode(model), torch.no_grad(), without_notes(), for_any_length():
        try:
            return torch.export.export(model, (mixture,), dynamic_shapes=lengths)
        except GuardOnDataDependentSymNode as error:
            raise InputError(
                f"{type(model).__name__} cannot be exported: a value in a tensor "
                "decides what its forward computes. Let only shapes decide it."
            ) from error


def as_real(program: ExportedProgram) -> ExportedProgram:
    """The same graph without complex numbers.

    Two operations stay complex, because ONNX has both with real pairs: the Fourier
    transform of real numbers, and its inverse.

    Raises:
        InputError: the graph has a complex operation without a rule here.
    """
    (mixture,), _ = program.example_inputs or ((None,), None)
    lengths = (({2: Dim.DYNAMIC},),)
    with torch.no_grad(), without_notes():
        return torch.export.export(_AsReal(program), (mixture,), dynamic_shapes=lengths)


@contextmanager
def without_notes() -> Iterator[None]:
    """Without the notes of torch on its own parts, such as the weights of an LSTM."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# ---- complex numbers as pairs -------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A complex tensor as two real ones of its shape."""

    real: Tensor
    imag: Tensor


class _AsReal(nn.Module):
    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.graph_module = program.module()

    def forward(self, *mixture: Tensor) -> Tensor:
        return _PairInterpreter(self.graph_module).run(*mixture)


class _PairInterpreter(fx.Interpreter):
    """Runs a graph; every value in it that is complex is a `Pair`."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        name = target.name() if isinstance(target, torch._ops.OpOverload) else ""
        name = name.removeprefix("aten::").partition(".")[0]
        values = tree.tree_leaves((args, kwargs))
        is_complex = name in SOURCES or any(
            isinstance(value, Pair)
            or (isinstance(value, torch.dtype) and value.is_complex)
            for value in values
        )
        if not is_complex or name == "":
            return super().call_function(target, args, kwargs)
        if name in RULES:
            return RULES[name](*args, **kwargs)
        if name in MOVES:
            return _on_parts(target, args, kwargs)
        raise InputError(
            f"the model cannot be exported: there is no rule for {name} of complex "
            "numbers in mssedu.export.graph. Write it with real and imaginary parts."
        )


def _on_parts(target: Operation, args: Any, kwargs: Any) -> Any:
    """An operation on the real parts, and the same on the imaginary parts."""

    def part(value: Any, name: str) -> Any:
        if isinstance(value, torch.dtype) and value.is_complex:
            return value.to_real()
        return getattr(value, name) if isinstance(value, Pair) else value

    def run(name: str) -> Any:
        words, named = tree.tree_map(lambda value: part(value, name), (args, kwargs))
        return target(*words, **named)

    return tree.tree_map(Pair, run("real"), run("imag"))


def _bilinear(product: Operation, a: Any, b: Any) -> Pair:
    """A product of two numbers of which one or both are complex."""
    if not isinstance(a, Pair):
        return Pair(product(a, b.real), product(a, b.imag))
    if not isinstance(b, Pair):
        return Pair(product(a.real, b), product(a.imag, b))
    real = product(a.real, b.real) - product(a.imag, b.imag)
    return Pair(real, product(a.real, b.imag) + product(a.imag, b.real))


def _einsum(equation: str, factors: list[Any], **_: Any) -> Pair:
    a, b = factors
    return _bilinear(lambda x, y: torch.einsum(equation, x, y), a, b)


def _add(a: Any, b: Any) -> Pair:
    a, b = _complex(a), _complex(b)
    return Pair(a.real + b.real, a.imag + b.imag)


def _sub(a: Any, b: Any) -> Pair:
    a, b = _complex(a), _complex(b)
    return Pair(a.real - b.real, a.imag - b.imag)


def _complex(value: Any) -> Any:
    """A real number as a pair; a pair as it is."""
    return value if isinstance(value, Pair) else Pair(value, 0 * value)


def _div(a: Any, b: Any) -> Pair:
    if not isinstance(b, Pair):
        return Pair(a.real / b, a.imag / b)
    power = b.real.square() + b.imag.square()
    turned = _bilinear(torch.mul, a, Pair(b.real, -b.imag))
    return Pair(turned.real / power, turned.imag / power)


def _abs(x: Pair) -> Tensor:
    return (x.real.square() + x.imag.square()).sqrt()


def _sgn(x: Pair) -> Pair:
    size = _abs(x)
    divisor = torch.where(size > 0, size, 1.0)
    return Pair(x.real / divisor, x.imag / divisor)


def _to(x: Any, dtype: torch.dtype, *args: Any, **kwargs: Any) -> Pair:
    x = _complex(x)
    part = dtype.to_real()
    return Pair(x.real.to(part), x.imag.to(part))


def _eye(*sizes: int, dtype: torch.dtype, **_: Any) -> Pair:
    return _complex(torch.eye(*sizes, dtype=dtype.to_real()))


def _stft(*args: Any, **kwargs: Any) -> Pair:
    return _from_complex(torch.ops.aten.stft.default(*args, **kwargs))


def _rfft(*args: Any, **kwargs: Any) -> Pair:
    return _from_complex(torch.fft.rfft(*args, **kwargs))


def _irfft(x: Pair, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
    if not isinstance(n, torch.SymInt):
        return torch.fft.irfft(torch.complex(x.real, x.imag), n, dim, norm)
    # onnxruntime's inverse fails for lengths that depend on the mixture, such as the
    # frames of SCNet; they are short, so a matrix does it.
    length: Any = n
    moment = torch.arange(length)
    count, k = torch.ones_like(moment).sum(), moment[: n // 2 + 1, None]
    angle = 2 * math.pi * (k * moment).remainder(count) / count
    # All bins but the first, and the last of an even number, stand for two.
    twice = torch.where((k == 0) | (2 * k == count), 1.0, 2.0)
    real, imag = (part.movedim(dim, -1)[..., : n // 2 + 1] for part in (x.real, x.imag))
    y = real @ (twice * angle.cos()) - imag @ (twice * angle.sin())
    scales: dict[str | None, Any] = {"ortho": count.rsqrt(), "forward": 1.0}
    y = y * scales.get(norm, 1 / count)
    return y.movedim(-1, dim)


def _from_complex(x: Tensor) -> Pair:
    return Pair(*torch.view_as_real(x).unbind(-1))


SOURCES = {"stft", "fft_rfft", "complex", "view_as_complex"}  # real in, complex out

# Operations that move numbers, or add those of one tensor
_MOVES = """
    alias cat chunk clone contiguous detach expand expand_as flatten index index_select
    mT mean moveaxis movedim narrow neg new_zeros pad permute repeat reshape select
    slice split split_with_sizes squeeze stack sum transpose unbind unflatten unsqueeze
    view where zeros zeros_like
"""
MOVES = frozenset(_MOVES.split())
RULES: dict[str, Operation] = {
    "stft": _stft,
    "fft_rfft": _rfft,
    "fft_irfft": _irfft,
    "complex": Pair,
    "view_as_complex": lambda x: Pair(*x.unbind(-1)),
    "view_as_real": lambda x: torch.stack([x.real, x.imag], dim=-1),
    "real": lambda x: x.real,
    "imag": lambda x: x.imag,
    "conj": lambda x: Pair(x.real, -x.imag),
    "_conj": lambda x: Pair(x.real, -x.imag),
    "resolve_conj": lambda x: x,
    "_assert_tensor_metadata": lambda *_, **__: None,  # `trace` has checked it
    "abs": _abs,
    "sgn": _sgn,
    "angle": lambda x: torch.atan2(x.imag, x.real),
    "add": _add,
    "sub": _sub,
    "mul": lambda a, b: _bilinear(torch.mul, a, b),
    "matmul": lambda a, b: _bilinear(torch.matmul, a, b),
    "einsum": _einsum,
    "div": _div,
    "to": _to,
    "_to_copy": lambda x, dtype, **_: _to(x, dtype),
    "eye": _eye,
}
