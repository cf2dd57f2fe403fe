"""Exercises on gates: the gated linear unit, its gradient, a fair comparison."""

import torch
from torch import nn

from mssedu.course.exercises.kinds import (
    Exercise,
    expect,
    expect_close,
    expect_differs,
    expect_number,
    expect_pair,
    expect_tensor,
)


def _verify_glu(glu) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(2, 6, 8, generator=generator)
    for dim, shape in ((1, (2, 3, 8)), (2, (2, 6, 4)), (-1, (2, 6, 4))):
        result = glu(x, dim)
        expect_tensor(result, shape, f"the result for dim {dim}")
        values, gates = x.chunk(2, dim)
        swapped = gates * values.sigmoid()
        expect_differs(result, swapped, "the *second* half should be the gate.")
        text = "each value should be a · σ(b): first half times sigmoid of second half"
        wanted = nn.functional.glu(x, dim)
        expect_close(result, wanted, f"{text} (dim {dim}).")


def _verify_gradient(gate_gradient) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = 3 * torch.randn(2, 50, generator=generator)
    a.requires_grad_(), b.requires_grad_()
    wanted = torch.autograd.grad((a * b.sigmoid()).sum(), (a, b))
    result = gate_gradient(a.detach(), b.detach())
    expect_pair(result, "return two tensors: the derivatives by a and by b.")
    for got, name, right in zip(result, "ab", wanted, strict=True):
        expect_tensor(got, (50,), f"the derivative by {name}")
        text = f"the derivative by {name} differs from that of autograd."
        expect_close(got, right, text, tolerance=1e-4)


def _n_parameters(n: int, width: int, n_in: int, n_out: int, kernel_size: int) -> int:
    first = n * width * (n_in * kernel_size + 1)
    return first + n * width * (width * kernel_size + 1) + n_out * (width + 1)


def _verify_matched_width(matched_width) -> None:
    for width, *sizes in (
        (64, 2, 8, 5),
        (96, 64, 64, 3),
        (100, 1, 500, 1),
        (3, 2, 2, 9),
    ):
        got = matched_width(width, *sizes)
        expect_number(got, "the width")
        expect(int(got) == got, f"the width should be a whole number, not {got}.")
        budget = _n_parameters(1, width, *sizes)
        widths = range(1, width + 1)
        best = min(widths, key=lambda w: abs(_n_parameters(2, w, *sizes) - budget))
        case = f"ReLU of width {width} has {budget} parameters (n_in, n_out, k {sizes})"
        count = _n_parameters(2, int(got), *sizes)
        text = f"{case}: GLU of width {got} has {count}, and width {best} is nearest."
        expect(int(got) == best, text)


EXERCISES = (
    Exercise(
        id="gating.glu",
        question="""
            Write `glu(x, dim)` for a tensor of any shape. Split it into two halves
            along `dim`. The first half is the values; the sigmoid of the second half
            is their gates.
            """,
        solution_source="""
            def glu(x, dim):
                half = x.shape[dim] // 2
                values, gates = x.split(half, dim)
                return values * torch.sigmoid(gates)
            """,
        verify=_verify_glu,
        hints=(
            "`x.chunk(2, dim)` gives both halves.",
            "Multiply the first by `torch.sigmoid` of the second.",
        ),
        noticed="The output has half of the channels, so the layer before needs twice.",
        wrong=(
            ("values, gates =", "gates, values =", "*second* half"),
            ("sigmoid", "tanh", "a · σ(b)"),
            (
                "def glu(x, _):\n    a, b = x.chunk(2, 1)\n    return a * b.sigmoid()",
                "shape (2, 6, 4)",
            ),
            ("torch.sigmoid(gates)", "(gates > 0)", "a · σ(b)"),
            ("values * torch", "torch", "a · σ(b)"),
        ),
    ),
    Exercise(
        id="gating.gradient",
        question="""
            Let y = a · σ(b), value by value. Write `gate_gradient(a, b)`, which returns
            two tensors: the derivatives of y with respect to a and with respect to b.
            Do not use autograd.
            """,
        solution_source="""
            def gate_gradient(a, b):
                gate = torch.sigmoid(b)
                return gate, a * gate * (1 - gate)
            """,
        verify=_verify_gradient,
        hints=(
            "For a, the gate is only a factor.",
            "The derivative of σ(b) is σ(b) · (1 - σ(b)).",
        ),
        noticed="An open gate passes the gradient to a, and gets next to none itself.",
        wrong=(
            (" * (1 - gate)", "", "the derivative by b differs"),
            ("a * gate * (", "gate * (", "the derivative by b"),
            ("return gate,", "return a * gate,", "derivative by a"),
            ("return gate, ", "return ", "return two tensors"),
        ),
    ),
    Exercise(
        id="gating.matched_width",
        question="""
            A network has three convolutions with biases: from `n_in` channels to
            `width`, from `width` to `width`, from `width` to `n_out`. The first two
            have kernels of `kernel_size`, and ReLU or GLU follows them; the kernel of
            the last is 1. Write `matched_width(relu_width, n_in, n_out, kernel_size)`.
            It returns the width at which the number of parameters with GLU is nearest
            to that with ReLU at `relu_width`.
            """,
        solution_source="""
            def matched_width(relu_width, n_in, n_out, kernel_size):
                def count(width, outputs):
                    first = outputs * width * (n_in * kernel_size + 1)
                    second = outputs * width * (width * kernel_size + 1)
                    return first + second + n_out * (width + 1)

                budget = count(relu_width, 1)
                widths = range(1, relu_width + 1)
                return min(widths, key=lambda width: abs(count(width, 2) - budget))
            """,
        verify=_verify_matched_width,
        hints=(
            "A convolution has outputs · (inputs · kernel_size + 1) parameters.",
            "Before a GLU it has 2 · width outputs; after it there are width inputs.",
            "Count for all widths and take `min(widths, key=...)` of the difference.",
        ),
        noticed="It is about 1 / √2 of the width if the middle layer has most weights.",
        wrong=(
            ("count(width, 2)", "count(width, 1)", "nearest"),
            ("n_out * (", "outputs * n_out * (", "nearest"),
            (
                "def matched_width(width, *_):\n    return width // 2",
                "GLU of width 32 has",
            ),
            (
                "def matched_width(width, *_):\n    return round(width / 2**0.5)",
                "is nearest",
            ),
            (
                "def matched_width(width, *_):\n    return width / 2**0.5",
                "a whole number",
            ),
        ),
    ),
)
