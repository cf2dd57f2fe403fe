"""Exercises on hybrids: matching branches, complex as channels, frequency embedding."""

import math

import torch
from torch import Tensor

from mssedu.course.exercises.kinds import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_pair,
    expect_tensor,
)
from mssedu.spectral import complex_as_channels


def _verify_align(align) -> None:
    for n_samples, strides in (
        (44100, (4, 4, 4, 4, 4)),
        (65536, (4, 4, 4, 4, 4)),
        (44101, (4, 4, 4, 4)),
        (1000, (8, 2, 5)),
        (3, (4, 4)),
    ):
        result = align(n_samples, strides)
        text = f"return two numbers, hop_length and steps, not {result}."
        hop_length, steps = expect_pair(result, text)
        expect_number(hop_length, "the hop")
        expect_number(steps, "the number of steps")
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
        text = "each real part should be next to its imaginary part; yours has all "
        expect(not in_blocks, text + "real parts first.")
        text = "channels 0 and 1 should be the real and imaginary part of channel 0."
        expect_close(result, complex_as_channels(spectrogram), text)


def _verify_add_place(add_place) -> None:
    generator = torch.Generator().manual_seed(1)
    for width, bins in ((3, 8), (6, 6)):
        x = torch.randn(2, width, bins, 4, generator=generator)
        before = x.clone()
        embedding = torch.randn(bins, width, generator=generator)
        result = add_place(x, embedding, 0.2)
        expect_tensor(result, (2, width, bins, 4), "the result")
        text = "do not change `x` itself: the encoder still needs it."
        expect(torch.equal(x, before), text)
        added: Tensor = result - before
        text = "a bin should get the same vector in every frame and every example."
        expect_close(added, added[:1, ..., :1].expand_as(added), text)
        text = "bin f should get strength times row f of the embedding"
        wanted = 0.2 * embedding.T[None, :, :, None].expand_as(x)
        expect_close(added, wanted, f"{text} ({bins} bins, width {width}).")


_IN_PLACE = """
    def add_place(x, embedding, strength):
        x += strength * embedding.T[:, :, None]

        return x
    """

EXERCISES = (
    Exercise(
        id="hybrid.align",
        question="""
            Write `align(n_samples, strides)` for a time branch whose layers have these
            strides. Return two numbers: the `hop_length` at which an STFT has one frame
            for each step of the last layer, and the number of steps of that layer for
            `n_samples` samples. Each layer rounds up.
            """,
        solution_source="""
            def align(n_samples, strides):
                hop_length = math.prod(strides)
                steps = n_samples
                for stride in strides:
                    steps = math.ceil(steps / stride)
                return hop_length, steps
            """,
        verify=_verify_align,
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
            ("return hop_length, steps", "return steps", "two numbers"),
        ),
    ),
    Exercise(
        id="hybrid.to_channels",
        question="""
            Write `to_channels(spectrogram)`. It turns a complex tensor (batch,
            channels, bins, frames) into a real one (batch, 2 · channels, bins, frames),
            in this order: left real, left imaginary, right real, right imaginary.
            """,
        solution_source="""
            def to_channels(spectrogram):
                parts = torch.stack([spectrogram.real, spectrogram.imag], dim=2)
                return parts.flatten(1, 2)
            """,
        verify=_verify_to_channels,
        hints=(
            "`.real` and `.imag` have the shape of the spectrogram. Join them on a "
            "new axis, right after the channels: `torch.stack(…, dim=2)`.",
            "`flatten(1, 2)` makes one axis of two; the index of the later axis "
            "changes fastest.",
        ),
        noticed="Nothing is lost: from both parts, a convolution can use the phase.",
        wrong=(
            ("dim=2", "dim=1", "all real parts first"),
            (
                "[spectrogram.real, spectrogram.imag]",
                "[spectrogram.abs(), spectrogram.angle()]",
                "channels 0 and 1 should be",
            ),
            (".flatten(1, 2)", "", "the shape (3, 4, 5, 4)"),
            (
                "[spectrogram.real, spectrogram.imag]",
                "[spectrogram.imag, spectrogram.real]",
                "the real and imaginary part of channel 0",
            ),
        ),
    ),
    Exercise(
        id="hybrid.add_place",
        question="""
            Write `add_place(x, embedding, strength)`, which marks the frequency of
            each bin. Return `x` (batch, width, bins, frames) plus `strength` times the
            `embedding` (bins, width), which has a row of `width` numbers for each bin.
            """,
        solution_source="""
            def add_place(x, embedding, strength):
                return x + strength * embedding.T[:, :, None]
            """,
        verify=_verify_add_place,
        hints=(
            "The axes of `embedding.T` are (width, bins), as in `x`.",
            "`[:, :, None]` adds an axis of length 1, which is used for every frame.",
        ),
        noticed="If width equals bins, a missing `.T` raises no error.",
        wrong=(
            (
                "embedding.T",
                "(embedding if embedding.shape[0] == embedding.shape[1] "
                "else embedding.T)",
                "(6 bins, width 6)",
            ),
            ("strength * ", "", "should get strength times row f"),
            ("x + ", "x * ", "the same vector in every frame"),
            (_IN_PLACE, "do not change `x`"),
        ),
    ),
)
