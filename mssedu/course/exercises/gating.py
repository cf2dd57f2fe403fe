"""Exercises on gates: the gated linear unit, its gradient, a fair comparison."""

import torch
from torch import nn

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks


def glu(x, dim):
    """Write `glu(x, dim)` for a tensor of any shape. Split it into two halves along
    `dim`. The first half is the values; the sigmoid of the second half is their gates.
    """
    half = x.shape[dim] // 2
    values, gates = x.split(half, dim)
    return values * torch.sigmoid(gates)


@checks(
    glu,
    hints=(
        "`x.chunk(2, dim)` gives both halves.",
        "Multiply the first by `torch.sigmoid` of the second.",
    ),
    noticed="The output has half of the channels, so the layer before needs twice.",
    wrong=(
        ("values, gates =", "gates, values =", "*second* half"),
        ("sigmoid", "tanh", "a · σ(b)"),
        ("x.split(half, dim)", "x.chunk(2, 1)", "shape (2, 6, 4)"),
        ("torch.sigmoid(gates)", "(gates > 0)", "a · σ(b)"),
        ("values * torch", "torch", "a · σ(b)"),
    ),
)
def _verify_glu(answer) -> None:
    x = 3 * expect.noise(2, 6, 8)
    for dim in (1, 2, -1):
        values, gates = x.chunk(2, dim)
        swapped = {"The *second* half should be the gate.": gates * values.sigmoid()}
        text = "each value should be a · σ(b): first half times sigmoid of second half"
        text += f" (dim {dim})."
        wanted, what = nn.functional.glu(x, dim), f"the result for dim {dim}"
        expect.close(answer(x, dim), wanted, text, what=what, mistakes=swapped)


def gate_gradient(a, b):
    """Let y = a · σ(b), value by value. Write `gate_gradient(a, b)`, which returns two
    tensors: the derivatives of y with respect to a and with respect to b. Do not use
    autograd.
    """
    gate = torch.sigmoid(b)
    return gate, a * gate * (1 - gate)


@checks(
    gate_gradient,
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
)
def _verify_gradient(answer) -> None:
    a, b = 3 * expect.noise(2, 50, seed=1)
    a.requires_grad_(), b.requires_grad_()
    wanted = torch.autograd.grad((a * b.sigmoid()).sum(), (a, b))
    text = "return two tensors: the derivatives by a and by b."
    result = expect.items(answer(a.detach(), b.detach()), 2, text)
    for got, name, right in zip(result, "ab", wanted, strict=True):
        what = f"the derivative by {name}"
        text = f"{what} differs from that of autograd."
        expect.close(got, right, text, what=what, tolerance=1e-4)


def _n_parameters(n, width, n_in, n_out, kernel_size):
    first = n * width * (n_in * kernel_size + 1)
    return first + n * width * (width * kernel_size + 1) + n_out * (width + 1)


def matched_width(relu_width, n_in, n_out, kernel_size):
    """A network has three convolutions with biases: from `n_in` channels to `width`,
    from `width` to `width`, from `width` to `n_out`. The first two have kernels of
    `kernel_size`, and ReLU or GLU follows them; the kernel of the last is 1. Write
    `matched_width(relu_width, n_in, n_out, kernel_size)`. It returns the width at which
    the number of parameters with GLU is nearest to that with ReLU at `relu_width`.
    """

    def count(width, outputs):
        first = outputs * width * (n_in * kernel_size + 1)
        second = outputs * width * (width * kernel_size + 1)
        return first + second + n_out * (width + 1)

    budget = count(relu_width, 1)
    widths = range(1, relu_width + 1)
    return min(widths, key=lambda width: abs(count(width, 2) - budget))


@checks(
    matched_width,
    hints=(
        "A convolution has outputs · (inputs · kernel_size + 1) parameters.",
        "Before a GLU it has 2 · width outputs; after it there are width inputs.",
        "Count for all widths and take `min(widths, key=...)` of the difference.",
    ),
    noticed="It is about 1 / √2 of the width if the middle layer has most weights.",
    wrong=(
        ("count(width, 2)", "count(width, 1)", "nearest"),
        ("n_out * (", "outputs * n_out * (", "nearest"),
        ("matched_width = lambda width, *_: width // 2", "GLU of width 32 has"),
        ("matched_width = lambda width, *_: round(width / 2**0.5)", "is nearest"),
        ("matched_width = lambda width, *_: width / 2**0.5", "a whole number"),
    ),
)
def _verify_matched_width(answer) -> None:
    cases = ((64, 2, 8, 5), (96, 64, 64, 3), (100, 1, 500, 1), (3, 2, 2, 9))
    for width, *sizes in cases:
        got = expect.number(answer(width, *sizes), "the width")
        expect.that(int(got) == got, f"the width should be a whole number, not {got}.")
        best = matched_width(width, *sizes)
        before, after = _n_parameters(1, width, *sizes), _n_parameters(2, got, *sizes)
        text = f"ReLU of width {width} has {before} parameters (n_in, n_out, k {sizes})"
        text += f": GLU of width {got} has {after}, and width {best} is nearest."
        expect.that(got == best, text)
