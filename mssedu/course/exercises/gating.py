"""Exercises on gates: the gated linear unit, its gradient, a fair comparison."""

import torch
from torch import nn

from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz


def _verify_glu(glu) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(2, 6, 8, generator=generator)
    for dim, shape in ((1, (2, 3, 8)), (2, (2, 6, 4)), (-1, (2, 6, 4))):
        result = glu(x, dim)
        expect_tensor(result, shape, f"the result for dim {dim}")
        values, gates = x.chunk(2, dim)
        swapped = torch.allclose(result, gates * values.sigmoid(), atol=1e-5)
        expect(not swapped, "the *second* half should be the gate.")
        text = "each value should be a · σ(b): first half times sigmoid of the second"
        wanted = nn.functional.glu(x, dim)
        expect_close(result, wanted, f"{text} (dim {dim}).")


def _verify_gradient(gate_gradient) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = 3 * torch.randn(2, 50, generator=generator)
    a.requires_grad_(), b.requires_grad_()
    wanted = torch.autograd.grad((a * b.sigmoid()).sum(), (a, b))
    result = gate_gradient(a.detach(), b.detach())
    pair = isinstance(result, tuple | list) and len(result) == 2
    expect(pair, "return two tensors: the gradient to a, and the gradient to b.")
    for got, name, right in zip(result, "ab", wanted, strict=True):
        expect_tensor(got, (50,), f"the gradient to {name}")
        text = f"the gradient to {name} differs from what autograd finds."
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
        has = _n_parameters(2, int(got), *sizes)
        text = f"{case}: GLU of width {got} has {has}, of width {best} it is nearest."
        expect(int(got) == best, text)


_GLU = """
    def glu(x, dim):
        half = x.shape[dim] // 2
        values, gates = x.split(half, dim)
        return values * torch.sigmoid(gates)
    """
_GRADIENT = """
    def gate_gradient(a, b):
        gate = torch.sigmoid(b)
        return gate, a * gate * (1 - gate)
    """
_MATCHED_WIDTH = """
    def matched_width(relu_width, n_in, n_out, kernel_size):
        def count(width, outputs):
            first = outputs * width * (n_in * kernel_size + 1)
            second = outputs * width * (width * kernel_size + 1)
            return first + second + n_out * (width + 1)

        budget = count(relu_width, 1)
        widths = range(1, relu_width + 1)
        return min(widths, key=lambda width: abs(count(width, 2) - budget))
    """
_QUIZ = (
    Question(
        "A gate has b = 8, so it stands at 0.9997. What is true?",
        {
            "Neither a nor b learns any more.": "σ(b) is 1: a learns at full rate.",
            "a still learns, b hardly does.": None,
            "b learns fastest when the gate is open.": "its slope is largest at b = 0.",
        },
    ),
    Question(
        "At equal width, A with GLU beats B with ReLU. What do you know?",
        {
            "Gates are better.": "A also has about twice the parameters of B.",
            "Nothing about gates: A has more parameters.": None,
            "A was trained for longer.": "nothing in the question says so.",
        },
    ),
    Question(
        "Three seeds give +0.2, +1.1 and -0.4 dB. What may you write?",
        {
            "It is better by 0.3 dB.": "the interval, 0.3 ± 1.9 dB, holds zero too.",
            "It is better in two of three cases, so it is better.": (
                "a coin shows two or three heads of three half of the time."
            ),
            "These runs do not tell which is better.": None,
        },
    ),
)

EXERCISES = (
    Exercise(
        id="gating.glu",
        notebook="07",
        question="""
            Write `glu(x, dim)` for a tensor of any shape: split it into two halves
            along `dim`. The first half holds the values, the second, through a
            sigmoid, their gates.
            """,
        answer="glu",
        starter_source="""
            def glu(x, dim):
                return ...  # your code here
            """,
        solution_source=_GLU,
        verify=_verify_glu,
        hints=(
            "`x.chunk(2, dim)` gives both halves.",
            "Multiply the first by `torch.sigmoid` of the second.",
        ),
        noticed="Half of what goes in comes out, so the layer before needs twice.",
        wrong_answers=(
            (_GLU.replace("values, gates =", "gates, values ="), "*second* half"),
            (_GLU.replace("sigmoid", "tanh"), "a · σ(b)"),
            (_GLU.replace("dim", "1").replace("x, 1", "x, dim"), "shape (2, 6, 4)"),
            (_GLU.replace("torch.sigmoid(gates)", "(gates > 0)"), "a · σ(b)"),
            (_GLU.replace("values * torch", "torch"), "a · σ(b)"),
        ),
    ),
    Exercise(
        id="gating.gradient",
        notebook="07",
        question="""
            Let y = a · σ(b), value by value. Write `gate_gradient(a, b)`, which returns
            two tensors: the derivative of y with respect to a, and with respect to b.
            By hand, without autograd.
            """,
        answer="gate_gradient",
        starter_source="""
            def gate_gradient(a, b):
                return ...  # your code here
            """,
        solution_source=_GRADIENT,
        verify=_verify_gradient,
        hints=(
            "To a, the gate is just a factor.",
            "The derivative of σ(b) is σ(b) · (1 - σ(b)).",
        ),
        noticed="An open gate passes the gradient to a, and learns nothing itself.",
        wrong_answers=(
            (_GRADIENT.replace(" * (1 - gate)", ""), "the gradient to b differs"),
            (_GRADIENT.replace("a * gate * (", "gate * ("), "the gradient to b"),
            (_GRADIENT.replace("return gate,", "return a * gate,"), "gradient to a"),
            (_GRADIENT.replace("return gate, ", "return "), "return two tensors"),
        ),
    ),
    Exercise(
        id="gating.matched_width",
        notebook="07",
        question="""
            A network has three convolutions with biases, all of `kernel_size` but the
            last, whose kernel is 1: from `n_in` channels to `width`, from `width` to
            `width`, from `width` to `n_out`. A unit follows the first two. Write
            `matched_width(relu_width, n_in, n_out, kernel_size)`: the width at which
            the network with GLU comes nearest to the number of parameters that the
            network with ReLU has at `relu_width`.
            """,
        answer="matched_width",
        starter_source="""
            def matched_width(relu_width, n_in, n_out, kernel_size):
                return ...  # your code here
            """,
        solution_source=_MATCHED_WIDTH,
        verify=_verify_matched_width,
        hints=(
            "A convolution has outputs · (inputs · kernel_size + 1) parameters.",
            "Before a GLU it needs 2 · width outputs; the layer after it sees width.",
            "Count for all widths and take `min(widths, key=...)` of the difference.",
        ),
        noticed="Near 1 / √2 of the width where the middle layer holds most weights.",
        wrong_answers=(
            (_MATCHED_WIDTH.replace("count(width, 2)", "count(width, 1)"), "nearest"),
            (_MATCHED_WIDTH.replace("n_out * (", "outputs * n_out * ("), "nearest"),
            (
                """
                def matched_width(relu_width, n_in, n_out, kernel_size):
                    return relu_width // 2
                """,
                "GLU of width 32 has",
            ),
            (
                """
                def matched_width(relu_width, n_in, n_out, kernel_size):
                    return round(relu_width / math.sqrt(2))
                """,
                "it is nearest",
            ),
            (
                """
                def matched_width(relu_width, n_in, n_out, kernel_size):
                    return relu_width / math.sqrt(2)
                """,
                "a whole number",
            ),
        ),
    ),
    make_quiz("gating.quiz", "07", _QUIZ),
)
