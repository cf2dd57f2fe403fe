"""Exercises on U-Nets: sizes behind strided layers, skips, counting parameters."""

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
from mssedu.models.spleeter import SpleeterConfig, UNet

_STUB = "    return ...  # your code here"


def _verify_conv_sizes(conv_sizes) -> None:
    for size, kernel, stride, padding, sizes in (
        (64, 5, 2, 2, [32, 16, 8]),
        (100, 5, 2, 2, [50, 25, 13]),
        (100, 4, 2, 1, [50, 25, 12]),
        (4096, 8, 4, 0, [1023, 254, 62]),
        (31, 3, 1, 1, [31, 31, 31]),
    ):
        got = conv_sizes(size, kernel, stride, padding, len(sizes))
        listed = isinstance(got, list | tuple) and len(got) == len(sizes)
        expect(listed, f"the result should be a list of {len(sizes)} sizes, not {got}.")
        what = f"{size} values, kernel {kernel}, stride {stride}, padding {padding}"
        for level, (mine, right) in enumerate(zip(got, sizes, strict=True), 1):
            expect_number(mine, f"the size behind level {level}")
            text = f"{what}: level {level} should give {right} values, not {mine}."
            expect_close(mine, right, text)


class _Layer:
    """A decoder layer that doubles width and height, and knows what it expects."""

    def __init__(self, n_in: int, n_out: int, seed: int) -> None:
        self.n_in = n_in
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(n_out, n_in, generator=generator) / n_in**0.5

    def __call__(self, x: Tensor) -> Tensor:
        got = x.shape[1]
        text = f"a layer was given {got} channels and needs {self.n_in}: join the "
        expect(got == self.n_in, text + "shortcut and the picture from below.")
        mixed = torch.einsum("oi,bihw->bohw", self.weight, x)
        return mixed.repeat_interleave(2, -1).repeat_interleave(2, -2)


def _verify_add_skips(decode) -> None:
    generator = torch.Generator().manual_seed(0)
    deepest = torch.randn(2, 4, 3, 2, generator=generator)
    shortcuts = [
        torch.randn(2, 4, 3 * 2**n, 2 * 2**n, generator=generator) for n in (3, 2, 1)
    ]
    layers = [_Layer(4, 4, 1), _Layer(8, 4, 2), _Layer(8, 4, 3), _Layer(8, 1, 4)]
    wanted = deepest
    for layer, shortcut in zip(layers, [*shortcuts[::-1], None], strict=True):
        wanted = layer(wanted)
        if shortcut is not None:
            wanted = torch.cat([shortcut, wanted], dim=1)
    used: list[Tensor] = [shortcut.clone() for shortcut in shortcuts]
    try:
        result = decode(deepest, used, list(layers))
    except RuntimeError as error:
        text = f"sizes do not fit: {str(error).splitlines()[0]}"
        expect("Sizes of tensors" not in str(error), f"{text} Smallest shortcut first.")
        raise
    expect_tensor(result, tuple(wanted.shape), "the picture")
    text = "the shortcut should come first, then the picture from below."
    expect_close(result, wanted, text, tolerance=1e-4)


def _verify_n_weights(n_weights) -> None:
    for channels, filters in (
        (2, (8, 16)),
        (1, (4,)),
        (2, (16, 32, 64, 128, 256, 512)),
    ):
        step = 2 ** len(filters)
        config = SpleeterConfig(
            channels=channels, filters=filters, bins=step, frames=64 * step
        )
        with torch.device("meta"):  # shapes only
            network = UNet(config)
        layers = (*network.encoder, *network.decoder)
        right = sum(p.numel() for layer in layers for p in layer.parameters())
        got = n_weights(channels, list(filters), 5)
        expect_number(got, "the number of weights")
        text = f"{channels} channels and filters {list(filters)} make {right:,} weights"
        expect_close(got, right, f"{text}, not {got:,}.")


_CONV_SIZES = """
    def conv_sizes(size, kernel, stride, padding, n_levels):
        sizes = []
        for _ in range(n_levels):
            size = (size + 2 * padding - kernel) // stride + 1
            sizes.append(size)
        return sizes
    """
_ADD_SKIPS = """
    def decode(deepest, shortcuts, layers):
        x = layers[0](deepest)
        for shortcut, layer in zip(reversed(shortcuts), layers[1:]):
            x = layer(torch.cat([shortcut, x], dim=1))
        return x
    """
_N_WEIGHTS = """
    def n_weights(channels, filters, kernel):
        total = 0
        n_in = channels
        for n_out in filters:
            total += kernel**2 * n_in * n_out + n_out
            n_in = n_out
        for n_out in [*reversed(filters[:-1]), 1]:
            total += kernel**2 * n_in * n_out + n_out
            n_in = 2 * n_out
        return total
    """

_QUIZ = (
    Question(
        "What does a U-Net gain by halving its picture?",
        {
            "Each value of the small picture sees a large part of the sound.": None,
            "Fine lines get sharper.": "they are lost; the skips bring them back.",
            "It needs fewer weights.": "the deepest layers have most of the weights.",
        },
    ),
    Question(
        "The sigmoid masks of two stems need not sum to one. What makes the estimates "
        "add up to the mixture all the same?",
        {
            "The loss.": "it may come close, but promises nothing.",
            "The ratio masks behind the networks.": None,
            "The skips.": "they hand over lines, not shares.",
        },
    ),
    Question(
        "`magnitude_l1` of an estimate is zero. What follows?",
        {
            "It sounds like the stem.": "its phase may be anybody's.",
            "It is the stem.": "the stem with its sign flipped scores zero, too.",
            "Its magnitudes are right; its phase may be wrong.": None,
        },
    ),
)

EXERCISES = (
    Exercise(
        id="unet.conv_sizes",
        notebook="06",
        question="""
            Write `conv_sizes(size, kernel, stride, padding, n_levels)`: a list of how
            many values are left of `size` behind each of `n_levels` equal
            convolutions, with `padding` zeros at *both* ends of each input.
            """,
        answer="conv_sizes",
        starter_source="def conv_sizes(size, kernel, stride, padding, n_levels):\n"
        + _STUB,
        solution_source=_CONV_SIZES,
        verify=_verify_conv_sizes,
        hints=(
            "The kernel lies at 0, stride, 2 · stride, … as long as it fits.",
            "It fits `(size + 2 * padding - kernel) // stride + 1` times.",
        ),
        noticed="100 becomes 50, 25, 13: an odd size cannot be doubled back to itself.",
        wrong_answers=(
            (_CONV_SIZES.replace(" + 1", ""), "level 1 should give 32 values, not 31"),
            (_CONV_SIZES.replace("2 * padding", "padding"), "level 1 should give 32"),
            (_CONV_SIZES.replace("//", "/"), "not 32.5"),
            ("def conv_sizes(*sizes):\n    return 32", "should be a list of 3 sizes"),
        ),
    ),
    Exercise(
        id="unet.add_skips",
        notebook="06",
        question="""
            Write `decode(deepest, shortcuts, layers)`, the way up of a U-Net. Pictures
            are (batch, channels, bins, frames). Each layer doubles bins and frames.
            `layers[0]` is given `deepest`; every later one is given a shortcut and the
            picture from below, joined in this order along the channels. `shortcuts` are
            listed as they were made on the way down: the largest first.
            """,
        answer="decode",
        starter_source="def decode(deepest, shortcuts, layers):\n" + _STUB,
        solution_source=_ADD_SKIPS,
        verify=_verify_add_skips,
        hints=(
            "The last shortcut made is needed first: `reversed(shortcuts)`.",
            "`torch.cat([shortcut, x], dim=1)` joins along the channels.",
        ),
        noticed="One line of code, and the fine structure is back at every size.",
        wrong_answers=(
            (_ADD_SKIPS.replace("reversed(shortcuts)", "shortcuts"), "do not fit"),
            (_ADD_SKIPS.replace("[shortcut, x]", "[x, shortcut]"), "come first"),
            (_ADD_SKIPS.replace("torch.cat([shortcut, x], dim=1)", "x"), "needs 8"),
            (
                _ADD_SKIPS.replace("torch.cat([shortcut, x], dim=1)", "x + shortcut"),
                "8",
            ),
        ),
    ),
    Exercise(
        id="unet.n_weights",
        notebook="06",
        question="""
            Write `n_weights(channels, filters, kernel)`: how many weights the encoder
            and the decoder of a U-Net have, biases included. Level n of the encoder
            makes `filters[n]` channels with kernels of `kernel` · `kernel`. The decoder
            goes back to `filters[-2]`, …, `filters[0]` and at last 1 channel; all its
            layers but the first are given a shortcut with as many channels again.
            """,
        answer="n_weights",
        starter_source="def n_weights(channels, filters, kernel):\n" + _STUB,
        solution_source=_N_WEIGHTS,
        verify=_verify_n_weights,
        hints=(
            "A layer has kernel² · channels in · channels out weights, and a bias for "
            "each channel out.",
            "The decoder makes `[*reversed(filters[:-1]), 1]` channels. Behind each "
            "but the last, the shortcut doubles what the next layer is given.",
        ),
        noticed="In Spleeter, the two deepest layers hold two thirds of all weights.",
        wrong_answers=(
            (_N_WEIGHTS.replace(" + n_out", ""), "make"),
            (_N_WEIGHTS.replace("n_in = 2 * n_out", "n_in = n_out"), "make"),
            (_N_WEIGHTS.replace("kernel**2", "kernel"), "make"),
        ),
    ),
    make_quiz("unet.quiz", "06", _QUIZ),
)
