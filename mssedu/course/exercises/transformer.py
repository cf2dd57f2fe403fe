"""Exercises on transformers: attention, positions as sines, looking across."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz
from mssedu.models.blocks.transformer import sines_1d

_SUM = "the weights of each query should sum to 1 over the keys: check with values of 1"


def _verify_attention(attention) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    for batch, heads, queries, keys, width in ((2, 3, 5, 7, 4), (1, 2, 6, 4, 16)):
        q, k = noise(batch, heads, queries, width), noise(batch, heads, keys, width)
        v = noise(batch, heads, keys, width)
        result = attention(q, k, v)
        case = f"{queries} queries, {keys} keys, d = {width}"
        expect_tensor(result, tuple(q.shape), f"the result for {case}")
        expect_close(attention(q, k, v * 0 + 1), 1.0, f"{_SUM}.", tolerance=1e-4)
        plain = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        unscaled = torch.allclose(result, plain, atol=1e-4)
        expect(not unscaled, "divide the scores by the root of d, the last axis.")
        wanted = F.scaled_dot_product_attention(q, k, v)
        text = f"the result differs from PyTorch's for {case}."
        expect_close(result, wanted, text, tolerance=1e-4)


def _verify_positions(positions) -> None:
    for frames, width in ((50, 8), (7, 64), (1, 4)):
        result = positions(frames, width)
        case = f"{frames} frames, width {width}"
        expect_tensor(result, (frames, width), f"the result for {case}")
        wanted, half = sines_1d(frames, width), width // 2
        swapped = torch.cat([wanted[:, half:], wanted[:, :half]], dim=1)
        text = "the cosines come first, then the sines."
        expect(not torch.allclose(result, swapped, atol=1e-4), text)
        fastest, slowest = [0, half], [half - 1, width - 1]
        text = f"columns 0 and width / 2 should have the phase m ({case})."
        expect_close(result[:, fastest], wanted[:, fastest], text, tolerance=1e-4)
        text = f"the last cosine and sine should have the phase m / 10000 ({case})."
        expect_close(result[:, slowest], wanted[:, slowest], text, tolerance=1e-4)
        text = f"the columns between differ from the package's ({case})."
        expect_close(result, wanted, text, tolerance=1e-3)


def _verify_cross_attention(cross_attention) -> None:
    generator = torch.Generator().manual_seed(0)
    for batch, queries, keys, width in ((3, 4, 6, 8), (2, 5, 3, 4)):
        x = torch.randn(batch, queries, width, generator=generator)
        other = torch.randn(batch, keys, width, generator=generator)
        lengths = torch.arange(1, batch + 1)
        padding = torch.arange(keys) >= lengths[:, None]  # (batch, keys)
        result = cross_attention(x, other, padding)
        expect_tensor(result, (batch, queries, width))
        wanted = F.scaled_dot_product_attention(x, other, other)
        heard = torch.allclose(result, wanted, atol=1e-4)
        expect(not heard, "the padding is heard: the result is that without a mask.")
        inverted = F.scaled_dot_product_attention(x, other, other, padding[:, None])
        inverted_too = torch.allclose(result, inverted, atol=1e-4)
        expect(not inverted_too, "True marks the padding: these keys are *not* heard.")
        late = F.scaled_dot_product_attention(x, other, other * ~padding[..., None])
        masked_late = torch.allclose(result, late, atol=1e-4)
        text = "the weights that are left should sum to 1: mask before the softmax."
        expect(not masked_late, text)
        filled = other.masked_fill(padding[..., None], 9.0)
        text = "what stands in the padding should not matter, and it does."
        expect_close(cross_attention(x, filled, padding), result, text, tolerance=1e-4)
        wanted = F.scaled_dot_product_attention(x, other, other, ~padding[:, None])
        text = "the result differs from PyTorch's with that mask."
        expect_close(result, wanted, text, tolerance=1e-4)


_ATTENTION = """
    def attention(q, k, v):
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return scores.softmax(dim=-1) @ v
    """
_POSITIONS = """
    def positions(frames, width):
        half = width // 2
        speed = 10000 ** -(torch.arange(half) / (half - 1))
        phase = torch.arange(frames)[:, None] * speed
        return torch.cat([phase.cos(), phase.sin()], dim=1)
    """
_CROSS_ATTENTION = """
    def cross_attention(x, other, padding):
        scores = x @ other.transpose(-2, -1) / math.sqrt(x.shape[-1])
        scores = scores.masked_fill(padding[:, None], -math.inf)
        return scores.softmax(dim=-1) @ other
    """
_MASK_LATE = """
    def cross_attention(x, other, padding):
        scores = x @ other.transpose(-2, -1) / math.sqrt(x.shape[-1])
        weights = scores.softmax(dim=-1)
        return weights.masked_fill(padding[:, None], 0.0) @ other
    """

_QUIZ = (
    Question(
        "Without positions: you shuffle keys and values, both in the same way. What "
        "happens to what a query takes?",
        {
            "It takes the values of other moments.": (
                "each value still goes with its key, wherever the two stand."
            ),
            "Nothing changes.": None,
            "It is shuffled in the same way.": "that is what shuffled queries do.",
        },
    ),
    Question(
        "You let a transformer hear 20 s at once where it used to hear 10. How many "
        "times as many scores does each self-attention compute?",
        {
            "2": "there are twice the queries *and* twice the keys.",
            "4": None,
            "8": "two axes are twice as long, not three.",
        },
    ),
    Question(
        "In a trained model you switch the cross-attention off, and the score falls by "
        "0.1 dB. What do you know?",
        {
            "Cross-attention is worth 0.1 dB.": (
                "a model trained without it might be better, or worse, than this one."
            ),
            "This model makes little use of it on this song.": None,
            "Cross-attention is superfluous.": "longer training might bring it to use.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="transformer.attention",
        notebook="11",
        question="""
            Write `attention(q, k, v)` for `q` (batch, heads, queries, d) and for `k`
            and `v` (batch, heads, keys, d): the softmax over the keys of
            q kᵀ / √d, times `v`. Use no function named attention.
            """,
        answer="attention",
        starter_source="""
            def attention(q, k, v):
                return ...  # your code here
            """,
        solution_source=_ATTENTION,
        verify=_verify_attention,
        hints=(
            "`k.transpose(-2, -1)` swaps keys and d, and `@` multiplies matrices.",
            "The scores are (batch, heads, queries, keys); the keys are the last axis.",
        ),
        noticed="Every head and every song of the batch went through the same line.",
        wrong_answers=(
            (_ATTENTION.replace(" / math.sqrt(q.shape[-1])", ""), "the root of d"),
            (_ATTENTION.replace("dim=-1", "dim=-2"), "sum to 1 over the keys"),
            (_ATTENTION.replace("math.sqrt(q.shape[-1])", "q.shape[-1]"), "differs"),
            (_ATTENTION.replace("softmax(dim=-1)", "sigmoid()"), "sum to 1"),
            (_ATTENTION.replace(" @ v", ""), "should have the shape (2, 3, 5, 4)"),
        ),
    ),
    Exercise(
        id="transformer.positions",
        notebook="11",
        question="""
            Write `positions(frames, width)`, (frames, width), without a loop. With
            h = width / 2, column i < h holds the cosine of m / 10000^(i / (h - 1)) for
            each frame m, and column h + i its sine.
            """,
        answer="positions",
        starter_source="""
            def positions(frames, width):
                return ...  # your code here
            """,
        solution_source=_POSITIONS,
        verify=_verify_positions,
        hints=(
            "`torch.arange(frames)[:, None]` times a row of h speeds is (frames, h).",
            "The speeds: `10000 ** -(torch.arange(h) / (h - 1))`.",
            "`torch.cat([phase.cos(), phase.sin()], dim=1)` puts both side by side.",
        ),
        noticed="The fastest wave tells neighbors apart, the slowest the whole song.",
        wrong_answers=(
            (_POSITIONS.replace(".cos()", ""), "the phase m (50"),
            (_POSITIONS.replace("dim=1)", "dim=1).roll(width // 2, 1)"), "come first"),
            (_POSITIONS.replace("/ (half - 1)", "/ half"), "phase m / 10000 (50"),
            (
                _POSITIONS.replace(
                    "speed =", "speed = torch.linspace(1, 1e-4, half) #"
                ),
                "the columns between differ",
            ),
        ),
    ),
    Exercise(
        id="transformer.cross_attention",
        notebook="11",
        question="""
            Songs of a batch differ in length; the shorter ones are filled up with
            zeros, which nobody should listen to. Write
            `cross_attention(x, other, padding)`: each position of `x`
            (batch, queries, d) asks, each of `other` (batch, keys, d) is key and value.
            `padding` (batch, keys) is True where `other` is only filled up. No heads,
            no projections.
            """,
        answer="cross_attention",
        starter_source="""
            def cross_attention(x, other, padding):
                return ...  # your code here
            """,
        solution_source=_CROSS_ATTENTION,
        verify=_verify_cross_attention,
        hints=(
            "A weight of zero is a score of minus infinity.",
            "`scores.masked_fill(padding[:, None], -math.inf)`, before the softmax.",
        ),
        noticed="The softmax shares out among those who are left.",
        wrong_answers=(
            (_CROSS_ATTENTION.replace("padding[:", "~padding[:"), "*not* heard"),
            (_CROSS_ATTENTION.replace("-math.inf", "0.0"), "should not matter"),
            (_MASK_LATE, "mask before the softmax"),
            (_CROSS_ATTENTION.replace("scores = scores.m", "scores.m"), "is heard"),
            (_CROSS_ATTENTION.replace("x.shape[-1]", "1"), "with that mask"),
        ),
    ),
    make_quiz("transformer.quiz", "11", _QUIZ),
)
