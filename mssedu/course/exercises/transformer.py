"""Exercises on transformers: attention, positions as sines, cross-attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.course.exercises.kinds import (
    Exercise,
    expect_close,
    expect_differs,
    expect_tensor,
)
from mssedu.models.blocks.transformer import sines_1d


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
        text = (
            "the weights of each query should sum to 1 over the keys: check with v = 1."
        )
        expect_close(attention(q, k, v * 0 + 1), 1.0, text, tolerance=1e-4)
        unscaled = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        text = "divide the scores by the square root of d, the last axis."
        expect_differs(result, unscaled, text)
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
        expect_differs(result, swapped, "the cosines come first, then the sines.")
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
        plain = F.scaled_dot_product_attention(x, other, other)
        expect_differs(result, plain, "this is the result without a mask.")
        inverted = F.scaled_dot_product_attention(x, other, other, padding[:, None])
        text = "padding is True where a key must get *no* weight."
        expect_differs(result, inverted, text)
        late = F.scaled_dot_product_attention(x, other, other * ~padding[..., None])
        text = "the remaining weights should sum to 1: mask before the softmax."
        expect_differs(result, late, text)
        filled = other.masked_fill(padding[..., None], 9.0)
        text = "the result should not depend on the values in the padding."
        expect_close(cross_attention(x, filled, padding), result, text, tolerance=1e-4)
        wanted = F.scaled_dot_product_attention(x, other, other, ~padding[:, None])
        text = "the result differs from PyTorch's with that mask."
        expect_close(result, wanted, text, tolerance=1e-4)


_MASK_LATE = """
    def cross_attention(x, other, padding):
        scores = x @ other.transpose(-2, -1) / math.sqrt(x.shape[-1])
        weights = scores.softmax(dim=-1)
        return weights.masked_fill(padding[:, None], 0.0) @ other
    """

EXERCISES = (
    Exercise(
        id="transformer.attention",
        question="""
            Write `attention(q, k, v)` for `q` (batch, heads, queries, d) and for `k`
            and `v` (batch, heads, keys, d): the softmax over the keys of
            q kᵀ / √d, times `v`. Do not use PyTorch's attention functions.
            """,
        solution_source="""
            def attention(q, k, v):
                scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
                return scores.softmax(dim=-1) @ v
            """,
        verify=_verify_attention,
        hints=(
            "`k.transpose(-2, -1)` swaps keys and d, and `@` multiplies matrices.",
            "The scores are (batch, heads, queries, keys); the keys are the last axis.",
        ),
        noticed="The same line works for every head and every song of the batch.",
        wrong=(
            (" / math.sqrt(q.shape[-1])", "", "the square root of d"),
            ("dim=-1", "dim=-2", "sum to 1 over the keys"),
            ("math.sqrt(q.shape[-1])", "q.shape[-1]", "differs"),
            ("softmax(dim=-1)", "sigmoid()", "sum to 1"),
            (" @ v", "", "should have the shape (2, 3, 5, 4)"),
        ),
    ),
    Exercise(
        id="transformer.positions",
        question="""
            Write `positions(frames, width)`, which returns a tensor (frames, width),
            without a loop. With h = width / 2 and i < h, column i is the cosine of
            m / 10000^(i / (h - 1)) for each frame m, and column h + i is its sine.
            """,
        solution_source="""
            def positions(frames, width):
                half = width // 2
                speed = 10000 ** -(torch.arange(half) / (half - 1))
                phase = torch.arange(frames)[:, None] * speed
                return torch.cat([phase.cos(), phase.sin()], dim=1)
            """,
        verify=_verify_positions,
        hints=(
            "`torch.arange(frames)[:, None]` times a row of h speeds is (frames, h).",
            "The speeds: `10000 ** -(torch.arange(h) / (h - 1))`.",
            "`torch.cat([phase.cos(), phase.sin()], dim=1)` joins both.",
        ),
        noticed="Fast waves distinguish neighboring frames, slow ones distant frames.",
        wrong=(
            (".cos()", "", "the phase m (50"),
            ("dim=1)", "dim=1).roll(width // 2, 1)", "come first"),
            ("/ (half - 1)", "/ half", "phase m / 10000 (50"),
            (
                "speed =",
                "speed = torch.linspace(1, 1e-4, half) #",
                "the columns between differ",
            ),
        ),
    ),
    Exercise(
        id="transformer.cross_attention",
        question="""
            The songs of a batch differ in length. The shorter ones are padded with
            zeros, which must not influence the result. Write
            `cross_attention(x, other, padding)`: each position of `x` (batch, queries,
            d) is a query, and each of `other` (batch, keys, d) is a key and a value.
            `padding` (batch, keys) is True where `other` is padding. There are no heads
            and no projections.
            """,
        solution_source="""
            def cross_attention(x, other, padding):
                scores = x @ other.transpose(-2, -1) / math.sqrt(x.shape[-1])
                scores = scores.masked_fill(padding[:, None], -math.inf)
                return scores.softmax(dim=-1) @ other
            """,
        verify=_verify_cross_attention,
        hints=(
            "A score of minus infinity gives a weight of zero.",
            "`scores.masked_fill(padding[:, None], -math.inf)`, before the softmax.",
        ),
        noticed="The softmax gives all the weight to the remaining keys.",
        wrong=(
            ("padding[:", "~padding[:", "*no* weight"),
            ("-math.inf", "0.0", "should not depend"),
            (_MASK_LATE, "mask before the softmax"),
            ("scores = scores.m", "scores.m", "without a mask"),
            ("x.shape[-1]", "1", "with that mask"),
        ),
    ),
)
