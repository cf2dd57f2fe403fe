"""Exercises on hybrids: matching branches, complex as channels, frequency embedding."""

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
        ("return hop_length, steps", "return steps", "two numbers"),
    ),
)
def _verify_align(answer) -> None:
    cases = ((44100, (4,) * 5), (44101, (4,) * 4), (1000, (8, 2, 5)), (3, (4, 4)))
    for n_samples, strides in cases:
        result = answer(n_samples, strides)
        text = f"return two numbers, hop_length and steps, not {result}."
        hop_length, steps = expect.items(result, 2, text)
        hop, wanted = align(n_samples, strides)
        text = f"strides {strides} should need the hop {hop}, not {hop_length}."
        expect.close(expect.number(hop_length, "the hop"), hop, text)
        text = f"strides {strides} should leave {wanted} steps of {n_samples} samples"
        steps = expect.number(steps, "the number of steps")
        expect.close(steps, wanted, f"{text}, not {steps}.")


def to_channels(spectrogram):
    """Write `to_channels(spectrogram)`. It turns a complex tensor (batch, channels,
    bins, frames) into a real one (batch, 2 · channels, bins, frames), in this order:
    left real, left imaginary, right real, right imaginary.
    """
    parts = torch.stack([spectrogram.real, spectrogram.imag], dim=2)
    return parts.flatten(1, 2)


@checks(
    to_channels,
    hints=(
        "`.real` and `.imag` have the shape of the spectrogram. Join them on a "
        "new axis, right after the channels: `torch.stack(…, dim=2)`.",
        "`flatten(1, 2)` makes one axis of two; the index of the later axis "
        "changes fastest.",
    ),
    noticed="Nothing is lost: from both parts, a convolution can use the phase.",
    wrong=(
        ("dim=2", "dim=1", "all real parts first"),
        (".real, spectrogram.imag", ".abs(), spectrogram.angle()", "0 and 1 should be"),
        (".flatten(1, 2)", "", "the shape (3, 4, 5, 4)"),
        (".real, spectrogram.imag", ".imag, spectrogram.real", "part of channel 0"),
    ),
)
def _verify_to_channels(answer) -> None:
    for channels in (2, 1):
        spectrogram = expect.noise(3, channels, 5, 4, dtype=torch.complex64)
        result = expect.tensor(answer(spectrogram), (3, 2 * channels, 5, 4))
        expect.that(not result.is_complex(), "the result should be real.")
        parts = torch.cat([spectrogram.real, spectrogram.imag], dim=1)
        blocks = {"Yours has all real parts first.": parts}
        text = "channels 0 and 1 should be the real and imaginary part of channel 0."
        wanted = complex_as_channels(spectrogram)
        expect.close(result, wanted, text, mistakes=blocks)


def add_place(x, embedding, strength):
    """Write `add_place(x, embedding, strength)`, which marks the frequency of each bin.
    Return `x` (batch, width, bins, frames) plus `strength` times the `embedding` (bins,
    width), which has a row of `width` numbers for each bin.
    """
    return x + strength * embedding.T[:, :, None]


@checks(
    add_place,
    hints=(
        "The axes of `embedding.T` are (width, bins), as in `x`.",
        "`[:, :, None]` adds an axis of length 1, which is used for every frame.",
    ),
    noticed="If width equals bins, a missing `.T` raises no error.",
    wrong=(
        (".T", "", "(6 bins, width 6)"),
        ("strength * ", "", "should get strength times row f"),
        ("x + ", "x * ", "the same vector in every frame"),
        ("return x", "return x.neg_()", "changes its argument 1"),
    ),
)
def _verify_add_place(answer) -> None:
    for width, bins in ((6, 6), (3, 8)):
        x = expect.noise(2, width, bins, 4)
        embedding = expect.noise(bins, width, seed=1)
        added = expect.tensor(answer(x, embedding, 0.2), (2, width, bins, 4)) - x
        text = "a bin should get the same vector in every frame and every example."
        expect.close(added, added[:1, ..., :1].expand_as(added), text)
        text = "bin f should get strength times row f of the embedding"
        wanted = add_place(x, embedding, 0.2) - x
        expect.close(added, wanted, f"{text} ({bins} bins, width {width}).")
