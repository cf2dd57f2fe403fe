"""Exercises on hybrids: matching branches, channels to stems, frequency embedding."""

import math

import torch

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.spectral import complex_as_channels


def align(n_samples, strides):
    """Write `align(n_samples, strides)` for a time branch whose layers have these
    strides. Return two numbers: the `hop_length` at which an STFT has one frame for
    each step of the last layer, and the number of steps of that layer for `n_samples`
    samples. Each layer rounds up.
    """
    hop_length = math.prod(strides)
    steps = n_samples
    for stride in strides:
        steps = math.ceil(steps / stride)
    return hop_length, steps


@checks(
    align,
    hints=(
        "A step of the last layer is `strides[-1]` steps of the layer before it.",
        "Multiply all strides: `math.prod(strides)`. Then divide and round up.",
    ),
    noticed="One second has 44 steps in both branches, so they can be added.",
    wrong=(
        ("math.prod", "sum", "need the hop 1024, not 20"),
        ("strides)\n", "strides[:-1])\n", "1024, not 256"),
        ("ceil", "floor", "44 steps of 44100 samples, not 43"),
        ("(steps / stride)", "(steps / stride) + 1", "not 45"),
        ("math.ceil(steps / stride)", "steps // stride + 1", "4 steps of 64 samples"),
        ("return hop_length, steps", "return steps", "two numbers"),
    ),
    varied=lambda draw: (
        draw.randint(1, 500_000),
        tuple(draw.randint(2, 8) for _ in range(draw.randint(1, 5))),
    ),
)
def _verify_align(answer) -> None:
    others = ((1000, (8, 2, 5)), (64, (4, 4)), (3, (4, 4)))
    for n_samples, strides in ((44100, (4,) * 5), (44101, (4,) * 4), *others):
        result = answer(n_samples, strides)
        text = f"return two numbers, hop_length and steps, not {result}."
        hop_length, steps = expect.items(result, 2, text)
        hop, wanted = align(n_samples, strides)
        text = f"strides {strides} should need the hop {hop}, not {hop_length}."
        expect.close(expect.number(hop_length, "the hop"), hop, text)
        text = f"strides {strides} should leave {wanted} steps of {n_samples} samples"
        steps = expect.number(steps, "the number of steps")
        expect.close(steps, wanted, f"{text}, not {steps}.")


def to_stems(x, stems):
    """Write `to_stems(x, stems)`, the way back from channels to spectrograms. The last
    layer of a network puts out `x` (batch, stems · channels · 2, bins, frames), real.
    Return complex spectrograms (batch, stems, channels, bins, frames). The order of the
    second axis of `x` is: stem 0 left real, stem 0 left imaginary, stem 0 right real,
    stem 0 right imaginary, then the same for stem 1, and so on.
    """
    parts = x.unflatten(1, (stems, -1, 2))
    return torch.complex(parts[:, :, :, 0], parts[:, :, :, 1])


@checks(
    to_stems,
    hints=(
        "`x.unflatten(1, (stems, -1, 2))` makes three axes of one: stems, channels, "
        "parts. The index of the last of them changes fastest.",
        "`torch.complex(real, imaginary)` joins the two parts.",
    ),
    noticed="Nothing is lost: a network that puts out both parts chooses the phase.",
    wrong=(
        ("(stems, -1, 2))", "(2, stems, -1)).movedim(1, 3)", "first half of the axis"),
        ("(stems, -1, 2))", "(-1, stems, 2)).transpose(1, 2)", "stem 0 come first"),
        ("[:, :, :, 0], parts[:, :, :, 1]", "[:, :, :, 1], parts[:, :, :, 0]", "value"),
        ("torch.complex(parts[:, :, :, 0], parts[:, :, :, 1])", "parts", "the shape"),
        (
            "torch.complex(parts[:, :, :, 0], parts[:, :, :, 1])",
            "parts.norm(dim=3)",
            "co",
        ),
    ),
)
def _verify_to_stems(answer) -> None:
    for stems, channels in ((4, 2), (3, 1), (2, 2)):
        shape = (3, stems, channels, 5, 4)
        spectrograms = expect.noise(*shape, dtype=torch.complex64)
        x = complex_as_channels(spectrograms.flatten(1, 2))
        case = f"{stems} stems, {channels} channels"
        result = expect.tensor(answer(x, stems), shape, f"the result for {case}")
        expect.that(result.is_complex(), "the result should be complex.")
        real, imaginary = x.chunk(2, 1)
        halves = torch.complex(real, imaginary).unflatten(1, (stems, channels))
        other = x.unflatten(1, (channels, stems, 2)).transpose(1, 2)
        swapped = torch.complex(other[:, :, :, 0], other[:, :, :, 1])
        mistakes = {
            "You take the real parts from the first half of the axis.": halves,
            "All channels of stem 0 come first, then those of stem 1.": swapped,
        }
        text = f"each pair of channels should be one complex value ({case})."
        expect.close(result, spectrograms, text, mistakes=mistakes)


def add_place(x, embedding, strength):
    """Write `add_place(x, embedding, strength)`, which marks the place of each bin with
    few numbers: neighboring bins share a row. Return `x` (batch, width, bins, frames)
    plus `strength` times the `embedding` (bands, width). Each of its rows belongs to a
    band of bins / bands neighboring bins, a whole number; the lowest band comes first.
    """
    per_band = x.shape[2] // len(embedding)
    rows = embedding.repeat_interleave(per_band, dim=0)
    return x + strength * rows.T[:, :, None]


@checks(
    add_place,
    hints=(
        "`embedding.repeat_interleave(n, dim=0)` has each row n times: one per bin.",
        "The axes of `rows.T` are (width, bins), as in `x`.",
        "`[:, :, None]` adds an axis of length 1, which is used for every frame.",
    ),
    noticed="If width equals bins, a missing `.T` raises no error.",
    wrong=(
        (".T", "", "(6 bins, 6 bands, width 6)"),
        ("strength * ", "", "should get strength times the row of its band"),
        ("x + ", "x * ", "the same vector in every frame"),
        ("return x", "return x.neg_()", "changes its argument 1"),
        ("repeat_interleave(per_band, dim=0)", "repeat(per_band, 1)", "of its band"),
    ),
)
def _verify_add_place(answer) -> None:
    for width, bins, bands in ((6, 6, 6), (3, 8, 4), (5, 12, 3)):
        x = expect.noise(2, width, bins, 4)
        embedding = expect.noise(bands, width, seed=1)
        added = expect.tensor(answer(x, embedding, 0.2), (2, width, bins, 4)) - x
        text = "a bin should get the same vector in every frame and every example."
        expect.close(added, added[:1, ..., :1].expand_as(added), text)
        text = "bin f should get strength times the row of its band"
        wanted = add_place(x, embedding, 0.2) - x
        expect.close(
            added, wanted, f"{text} ({bins} bins, {bands} bands, width {width})."
        )
