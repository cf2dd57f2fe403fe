"""Exercises on gates: the gated linear unit, its gradient, a fair comparison."""

import torch
from torch import nn

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.course.exercises.limits import forbidden

AUTOGRAD = ("grad", "backward", "requires_grad_")  # functions that differentiate


def soft_glu(x, dim, sharpness):
    """Write `soft_glu(x, dim, sharpness)` for a tensor of any shape, a gated linear
    unit whose gates are softer or harder than usual. Split `x` into two halves along
    `dim`. The first half is the values; the gates are the sigmoid of `sharpness` times
    the second half.
    """
    half = x.shape[dim] // 2
    values, gates = x.split(half, dim)
    return values * torch.sigmoid(sharpness * gates)


@checks(
    soft_glu,
    hints=(
        "`x.chunk(2, dim)` gives both halves.",
        "Multiply the second half by `sharpness` before `torch.sigmoid`.",
    ),
    noticed="With a large sharpness a gate is a switch, and learns next to nothing.",
    wrong=(
        ("values, gates =", "gates, values =", "*second* half"),
        ("sigmoid", "tanh", "a · σ(k · b)"),
        ("x.split(half, dim)", "x.chunk(2, 1)", "shape (2, 6, 4)"),
        ("torch.sigmoid(sharpness * gates)", "(gates > 0)", "a · σ(k · b)"),
        ("values * torch", "torch", "a · σ(k · b)"),
        ("sharpness * gates", "gates", "the sharpness is not used"),
        ("torch.sigmoid(sharpness * gates)", "sharpness * gates.sigmoid()", "a · σ(k"),
    ),
)
def _verify_glu(answer) -> None:
    x = 3 * expect.noise(2, 6, 8)
    for dim, sharpness in ((1, 1.0), (2, 1.0), (-1, 0.3), (2, 5.0)):
        values, gates = x.chunk(2, dim)
        mistakes = {
            "The *second* half should be the gate.": gates
            * (sharpness * values).sigmoid(),
            "In your answer the sharpness is not used.": values * gates.sigmoid(),
        }
        text = "each value should be a · σ(k · b): first half times sigmoid of "
        text += f"sharpness times second half (dim {dim}, sharpness {sharpness:g})."
        scaled = torch.cat([values, sharpness * gates], dim)
        wanted, what = nn.functional.glu(scaled, dim), f"the result for dim {dim}"
        result = answer(x, dim, sharpness)
        expect.close(result, wanted, text, what=what, mistakes=mistakes)


def gate_gradient(a, b):
    """Let y = a · σ(b), value by value. Write `gate_gradient(a, b)`, which returns two
    tensors: the derivatives of y with respect to a and with respect to b. Do not use
    autograd.
    """
    gate = torch.sigmoid(b)
    return gate, a * gate * (1 - gate)


_AUTOGRAD = """
    def gate_gradient(a, b):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        return torch.autograd.grad((a * b.sigmoid()).sum(), (a, b))
    """

_FORWARD_MODE = """
    def gate_gradient(a, b):
        function = lambda a, b: a * b.sigmoid()
        return torch.func.vjp(function, a, b)[1](torch.ones_like(a))
    """


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
        (_AUTOGRAD, "without autograd"),
        (_FORWARD_MODE, "without autograd"),
    ),
)
def _verify_gradient(answer) -> None:
    a, b = 3 * expect.noise(2, 50, seed=1)
    a.requires_grad_(), b.requires_grad_()
    wanted = torch.autograd.grad((a * b.sigmoid()).sum(), (a, b))
    text = "return two tensors: the derivatives by a and by b."
    a, b = a.detach(), b.detach()
    by_hand = "find both derivatives by hand, without autograd."
    with torch.inference_mode(), forbidden(AUTOGRAD, by_hand):
        result = answer(a, b)
    expect.items(result, 2, text)
    for got, name, right in zip(result, "ab", wanted, strict=True):
        what = f"the derivative by {name}"
        text = f"{what} differs from that of autograd."
        expect.close(got, right, text, what=what, tolerance=1e-4)


def _n_parameters(n, width, n_in, n_out, kernel_size):
    first = n * width * (n_in * kernel_size + 1)
    return first + n * width * (width * kernel_size + 1) + n_out * (width + 1)


def equal_width(relu_width, n_in, n_out, kernel_size):
    """A network has three convolutions with biases.

    - The first leads from `n_in` channels to `width`, the second from `width` to
      `width`. Both have kernels of `kernel_size`, and ReLU or GLU follows them.
    - The third leads from `width` to `n_out`. Its kernel is 1.

    Write `equal_width(relu_width, n_in, n_out, kernel_size)`. It returns the width at
    which the number of parameters with GLU is nearest to that with ReLU at
    `relu_width`.
    """

    def count(width, outputs):
        first = outputs * width * (n_in * kernel_size + 1)
        second = outputs * width * (width * kernel_size + 1)
        return first + second + n_out * (width + 1)

    budget = count(relu_width, 1)
    widths = range(1, relu_width + 1)
    return min(widths, key=lambda width: abs(count(width, 2) - budget))


@checks(
    equal_width,
    hints=(
        "A convolution has outputs · (inputs · kernel_size + 1) parameters.",
        "Before a GLU it has 2 · width outputs; after it there are width inputs.",
        "Count for all widths and take `min(widths, key=...)` of the difference.",
    ),
    noticed="It is about 1 / √2 of the width if the middle layer has most weights.",
    wrong=(
        ("count(width, 2)", "count(width, 1)", "nearest"),
        ("n_out * (", "outputs * n_out * (", "nearest"),
        ("equal_width = lambda width, *_: width // 2", "GLU of width 32 has"),
        ("equal_width = lambda width, *_: round(width / 2**0.5)", "is nearest"),
        ("equal_width = lambda width, *_: width / 2**0.5", "a whole number"),
    ),
    varied=lambda draw: (
        draw.randint(4, 120),
        draw.randint(1, 64),
        draw.randint(1, 300),
        draw.randint(1, 9),
    ),
)
def _verify_matched_width(answer) -> None:
    cases = ((64, 2, 8, 5), (96, 64, 64, 3), (100, 1, 500, 1), (3, 2, 2, 9))
    for width, *sizes in cases:
        got = expect.number(answer(width, *sizes), "the width")
        expect.that(int(got) == got, f"the width should be a whole number, not {got}.")
        best = equal_width(width, *sizes)
        before, after = _n_parameters(1, width, *sizes), _n_parameters(2, got, *sizes)
        text = f"ReLU of width {width} has {before} parameters (n_in, n_out, k {sizes})"
        text += f": GLU of width {got} has {after}, and width {best} is nearest."
        expect.that(got == best, text)
