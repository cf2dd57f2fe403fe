"""Exercises on transformers: attention, positions as sines, cross-attention."""

import math

import torch
import torch.nn.functional as F

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.course.exercises.limits import forbidden
from mssedu.models.blocks.transformer import sines_1d

# PyTorch's functions that compute attention
ATTENTION = (
    "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math",
    "multi_head_attention_forward",
)


def attention(q, k, v):
    """Write `attention(q, k, v)` for `q` (batch, heads, queries, d) and for `k` and `v`
    (batch, heads, keys, d): the softmax over the keys of q kᵀ / √d, times `v`. Do not
    use PyTorch's attention functions.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return scores.softmax(dim=-1) @ v


@checks(
    attention,
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
        ("attention = F.scaled_dot_product_attention", "write it yourself"),
        (
            "attention = lambda q, k, v: F.scaled_dot_product_attention(q, k, v)",
            "without PyTorch's attention functions",
        ),
    ),
)
def _verify_attention(answer) -> None:
    for batch, heads, queries, keys, width in ((2, 3, 5, 7, 4), (1, 2, 6, 4, 16)):
        q = expect.noise(batch, heads, queries, width)
        k, v = expect.noise(2, batch, heads, keys, width, seed=1)
        text = "each query's weights should sum to 1 over the keys: check with v = 1."
        case = f"{queries} queries, {keys} keys, d = {width}"
        own = "write it yourself, without PyTorch's attention functions."
        with forbidden(ATTENTION, own):
            result = answer(q, k, v)
        expect.tensor(result, q.shape, f"the result for {case}")
        expect.close(answer(q, k, v * 0 + 1), 1.0, text, tolerance=1e-4)
        text = "Divide the scores by the square root of d, the last axis."
        unscaled = {text: F.scaled_dot_product_attention(q, k, v, scale=1.0)}
        wanted = F.scaled_dot_product_attention(q, k, v)
        text = f"the result differs from PyTorch's for {case}."
        expect.close(result, wanted, text, tolerance=1e-4, mistakes=unscaled)


def positions(moments, width):
    """Write `positions(moments, width)` for moments that need not be whole frames, such
    as those of a branch with another hop. `moments` (n,) are times in frames, for
    instance 0, 0.5, 1.0 or -3.2. Return a tensor (n, width). With h = width / 2 and
    i < h, column i is the cosine of m / 10000^(i / (h - 1)) for each moment m, and
    column h + i is its sine.
    """
    half = width // 2
    speed = 10000 ** -(torch.arange(half) / (half - 1))
    phase = moments[:, None] * speed
    return torch.cat([phase.cos(), phase.sin()], dim=1)


@checks(
    positions,
    hints=(
        "`moments[:, None]` times a row of h speeds is (n, h).",
        "The speeds: `10000 ** -(torch.arange(h) / (h - 1))`.",
        "`torch.cat([phase.cos(), phase.sin()], dim=1)` joins both.",
    ),
    noticed="Fast waves distinguish neighboring frames, slow ones distant frames.",
    wrong=(
        (".cos()", "", "the phase m (50"),
        ("dim=1)", "dim=1).roll(width // 2, 1)", "come first"),
        ("/ (half - 1)", "/ half", "phase m / 10000 (50"),
        ("speed =", "speed = torch.linspace(1, 1e-4, half) #", "columns between"),
        ("moments[:, None]", "torch.arange(len(moments))[:, None]", "from `moments`"),
        ("moments[:, None]", "moments.round()[:, None]", "from `moments`"),
    ),
)
def _verify_positions(answer) -> None:
    whole = {n: torch.arange(float(n)) for n in (50, 7, 1)}
    for (n, moments), width in zip(whole.items(), (8, 64, 4), strict=True):
        result, case = answer(moments, width), f"{n} frames, width {width}"
        expect.tensor(result, (n, width), f"the result for {case}")
        wanted, half = sines_1d(n, width), width // 2
        fastest, slowest = [0, half], [half - 1, width - 1]
        swapped = {"The cosines come first, then the sines.": wanted[:, [half, 0]]}
        text = f"columns 0 and width / 2 should have the phase m ({case})."
        right = wanted[:, fastest]
        expect.close(result[:, fastest], right, text, tolerance=1e-4, mistakes=swapped)
        text = f"the last cosine and sine should have the phase m / 10000 ({case})."
        expect.close(result[:, slowest], wanted[:, slowest], text, tolerance=1e-4)
        text = f"the columns between differ from the package's ({case})."
        expect.close(result, wanted, text, tolerance=1e-3)
    between = 10 * expect.noise(9)
    text = "take the moments from `moments`: they need not be whole, nor in order."
    wanted = positions(between, 16)
    expect.close(answer(between, 16), wanted, text, tolerance=1e-3)


_MASK_LATE = """
    def cross_attention(x, other, padding):
        scores = x @ other.transpose(-2, -1) / math.sqrt(x.shape[-1])
        weights = scores.softmax(dim=-1)
        return weights.masked_fill(padding[:, None], 0.0) @ other
    """


def cross_attention(x, other, padding):
    """The songs of a batch differ in length. The shorter ones are padded with zeros,
    which must not influence the result. Write `cross_attention(x, other, padding)`:
    each position of `x` (batch, queries, d) is a query, and each of `other` (batch,
    keys, d) is a key and a value. `padding` (batch, keys) is True where `other` is
    padding. There are no heads and no projections.
    """
    scores = x @ other.transpose(-2, -1) / math.sqrt(x.shape[-1])
    scores = scores.masked_fill(padding[:, None], -math.inf)
    return scores.softmax(dim=-1) @ other


@checks(
    cross_attention,
    hints=(
        "A score of minus infinity gives a weight of zero.",
        "`scores.masked_fill(padding[:, None], -math.inf)`, before the softmax.",
    ),
    noticed="The softmax gives all the weight to the remaining keys.",
    wrong=(
        ("padding[:", "~padding[:", "*no* weight"),
        ("-math.inf", "0.0", "use minus infinity"),
        (_MASK_LATE, "mask before the softmax"),
        ("scores = scores.m", "scores.m", "without a mask"),
        ("x.shape[-1]", "1", "with that mask"),
    ),
)
def _verify_cross_attention(answer) -> None:
    attend = F.scaled_dot_product_attention
    for batch, queries, keys, width in ((3, 4, 6, 8), (2, 5, 3, 4)):
        x = expect.noise(batch, queries, width)
        other = expect.noise(batch, keys, width, seed=1)
        padding = torch.arange(keys) >= torch.arange(1, batch + 1)[:, None]
        zeroed = other.masked_fill(padding[..., None], 0)
        inverted = attend(x, other, other, padding[:, None])
        late, zeros = attend(x, other, zeroed), attend(x, zeroed, other)
        mistakes = {
            "This is the result without a mask.": attend(x, other, other),
            "In `padding`, True is where a key must get *no* weight.": inverted,
            "The remaining weights should sum to 1: mask before the softmax.": late,
            "A score of 0 still gives a weight: use minus infinity.": zeros,
        }
        wanted = attend(x, other, other, ~padding[:, None])
        text = "the result differs from PyTorch's with that mask."
        result = answer(x, other, padding)
        expect.close(result, wanted, text, tolerance=1e-4, mistakes=mistakes)
