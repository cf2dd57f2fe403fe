"""Exercises on hybrids: branches that meet, complex as channels, the place of a bin."""

import math

import torch
from torch import Tensor

from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz
from mssedu.spectral import complex_as_channels

_STUB = "    return ...  # your code here"


def _verify_align(align) -> None:
    for n_samples, strides in (
        (44100, (4, 4, 4, 4, 4)),
        (65536, (4, 4, 4, 4, 4)),
        (44101, (4, 4, 4, 4)),
        (1000, (8, 2, 5)),
        (3, (4, 4)),
    ):
        result = align(n_samples, strides)
        pair = isinstance(result, tuple | list) and len(result) == 2
        expect(pair, f"return two numbers, hop_length and steps, not {result}.")
        for value, what in zip(result, ("the hop", "the number of steps"), strict=True):
            expect_number(value, what)
        hop_length, steps = result
        hop = math.prod(strides)
        text = f"strides {strides} should need the hop {hop}, not {hop_length}."
        expect_close(hop_length, hop, text)
        wanted = -(-n_samples // hop)
        text = f"strides {strides} should leave {wanted} steps of {n_samples} samples"
        expect_close(steps, wanted, f"{text}, not {steps}.")


def _verify_to_channels(to_channels) -> None:
    generator = torch.Generator().manual_seed(0)
    for channels in (2, 1):
        shape = (3, channels, 5, 4)
        spectrogram = torch.randn(shape, dtype=torch.complex64, generator=generator)
        result = to_channels(spectrogram)
        expect_tensor(result, (3, 2 * channels, 5, 4), "the result")
        expect(not result.is_complex(), "the result should be real.")
        parts = torch.cat([spectrogram.real, spectrogram.imag], dim=1)
        in_blocks = channels > 1 and torch.equal(result, parts)
        text = "real and imaginary part should take turns, channel by channel; yours "
        expect(not in_blocks, text + "lists all real parts first.")
        text = "channels 0 and 1 should be real and imaginary part of the left channel."
        expect_close(result, complex_as_channels(spectrogram), text)


def _verify_add_place(add_place) -> None:
    generator = torch.Generator().manual_seed(1)
    for width, bins in ((3, 8), (6, 6)):
        x = torch.randn(2, width, bins, 4, generator=generator)
        before = x.clone()
        embedding = torch.randn(bins, width, generator=generator)
        result = add_place(x, embedding, 0.2)
        expect_tensor(result, (2, width, bins, 4), "the result")
        text = "leave `x` itself as it is: the encoder still needs it."
        expect(torch.equal(x, before), text)
        added: Tensor = result - before
        text = "each bin should add the same vector in every frame and every example."
        expect_close(added, added[:1, ..., :1].expand_as(added), text)
        text = "bin f should add strength times row f of the embedding to its channels"
        wanted = 0.2 * embedding.T[None, :, :, None].expand_as(x)
        expect_close(added, wanted, f"{text} ({bins} bins, width {width}).")


_ALIGN = """
    def align(n_samples, strides):
        hop_length = math.prod(strides)
        steps = n_samples
        for stride in strides:
            steps = math.ceil(steps / stride)
        return hop_length, steps
    """
_TO_CHANNELS = """
    def to_channels(spectrogram):
        parts = torch.stack([spectrogram.real, spectrogram.imag], dim=2)
        return parts.flatten(1, 2)
    """
_ADD_PLACE = """
    def add_place(x, embedding, strength):
        return x + strength * embedding.T[:, :, None]
    """

_QUIZ = (
    Question(
        "The paper's STFT has a hop of 1024 samples. Why just this number?",
        {
            "A quarter of the window is the best overlap.": "it is a good one, but "
            "another hop would separate as well, in a model without a second branch.",
            "Five layers of stride 4 make time 1024 times shorter.": None,
            "2048 bins need 1024 frames.": "frames depend on the length of the sound.",
        },
    ),
    Question(
        "What can complex as channels do that a mask between 0 and 1 can not?",
        {
            "Make an estimate whose phase is not the mixture's.": None,
            "Look at both channels at once.": "a network that paints masks can, too.",
            "Promise that the estimates add up to the mixture.": "it does not: each "
            "stem is drawn by itself.",
        },
    ),
    Question(
        "A branch is silenced after training, and the score falls by 9 dB. What "
        "follows?",
        {
            "Without it, no model could score better.": "a model that is trained "
            "without it learns to do without.",
            "The other branch has learned nothing.": "it has learned its part.",
            "This model relies on it.": None,
        },
    ),
)

EXERCISES = (
    Exercise(
        id="hybrid.align",
        notebook="10",
        question="""
            Write `align(n_samples, strides)` for a time branch whose layers have these
            strides. Return two numbers: the `hop_length` with which an STFT walks as
            fast as the last layer, and how many steps that layer leaves of `n_samples`
            samples. Each layer rounds up.
            """,
        answer="align",
        starter_source="def align(n_samples, strides):\n" + _STUB,
        solution_source=_ALIGN,
        verify=_verify_align,
        hints=(
            "A step of the last layer is `strides[-1]` steps of the layer before it.",
            "Multiply all strides: `math.prod(strides)`. Then divide and round up.",
        ),
        noticed="A second of sound is 44 steps in both branches: they can be added.",
        wrong_answers=(
            (_ALIGN.replace("math.prod", "sum"), "need the hop 1024, not 20"),
            (_ALIGN.replace("strides)\n", "strides[:-1])\n", 1), "1024, not 256"),
            (_ALIGN.replace("ceil", "floor"), "44 steps of 44100 samples, not 43"),
            (_ALIGN.replace("(steps / stride)", "(steps / stride) + 1"), "not 45"),
            (_ALIGN.replace("return hop_length, steps", "return steps"), "two numbers"),
        ),
    ),
    Exercise(
        id="hybrid.to_channels",
        notebook="10",
        question="""
            Write `to_channels(spectrogram)`: from (batch, channels, bins, frames),
            complex, to (batch, 2 · channels, bins, frames), real. Left real, left
            imaginary, right real, right imaginary.
            """,
        answer="to_channels",
        starter_source="def to_channels(spectrogram):\n" + _STUB,
        solution_source=_TO_CHANNELS,
        verify=_verify_to_channels,
        hints=(
            "`.real` and `.imag` have the shape of the spectrogram. Put them side by "
            "side on a new axis, right after the channels: `torch.stack(…, dim=2)`.",
            "`flatten(1, 2)` makes one axis of two; the later one runs faster.",
        ),
        noticed="Nothing is lost: a convolution that sees both parts sees the phase.",
        wrong_answers=(
            (_TO_CHANNELS.replace("dim=2", "dim=1"), "lists all real parts first"),
            (
                _TO_CHANNELS.replace("spectrogram.real", "spectrogram.abs()").replace(
                    "spectrogram.imag", "spectrogram.angle()"
                ),
                "channels 0 and 1 should be",
            ),
            (_TO_CHANNELS.replace(".flatten(1, 2)", ""), "the shape (3, 4, 5, 4)"),
            (
                _TO_CHANNELS.replace(
                    "[spectrogram.real, spectrogram.imag]",
                    "[spectrogram.imag, spectrogram.real]",
                ),
                "real and imaginary part of the left",
            ),
        ),
    ),
    Exercise(
        id="hybrid.add_place",
        notebook="10",
        question="""
            Write `add_place(x, embedding, strength)`: tell every bin where it is. To
            `x` (batch, width, bins, frames) add `strength` times the embedding, which
            has a row of `width` numbers for each bin: (bins, width).
            """,
        answer="add_place",
        starter_source="def add_place(x, embedding, strength):\n" + _STUB,
        solution_source=_ADD_PLACE,
        verify=_verify_add_place,
        hints=(
            "The axes of `embedding.T` are (width, bins), as in `x`.",
            "`[:, :, None]` adds an axis of length 1, which stands for every frame.",
        ),
        noticed="Where width equals bins, a forgotten `.T` raises no error. Beware.",
        wrong_answers=(
            (
                _ADD_PLACE.replace(
                    "embedding.T",
                    "(embedding if embedding.shape[0] == embedding.shape[1] "
                    "else embedding.T)",
                ),
                "(6 bins, width 6)",
            ),
            (_ADD_PLACE.replace("strength * ", ""), "should add strength times row f"),
            (_ADD_PLACE.replace("x + ", "x * "), "the same vector in every frame"),
            (
                _ADD_PLACE.replace("return x +", "x +=").strip("\n")
                + "\n        return x",
                "leave `x` itself",
            ),
        ),
    ),
    make_quiz("hybrid.quiz", "10", _QUIZ),
)
