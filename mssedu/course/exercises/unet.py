"""Exercises on U-Nets: sizes after strided layers, skips, numbers of parameters."""

import torch
from torch import Tensor

from mssedu.course.exercises.kinds import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.models.spleeter import SpleeterConfig, UNet


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
            expect_number(mine, f"the size after level {level}")
            text = f"{what}: level {level} should give {right} values, not {mine}."
            expect_close(mine, right, text)


class _Layer:
    """A decoder layer that doubles width and height, and checks its input channels."""

    def __init__(self, n_in: int, n_out: int, seed: int) -> None:
        self.n_in = n_in
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(n_out, n_in, generator=generator) / n_in**0.5

    def __call__(self, x: Tensor) -> Tensor:
        got = x.shape[1]
        text = f"a layer got {got} channels and needs {self.n_in}: join the shortcut "
        expect(got == self.n_in, text + "and the input from below.")
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
        unequal = "Sizes of tensors" in str(error)
        expect(not unequal, f"{text} Use the smallest shortcut first.")
        raise
    expect_tensor(result, tuple(wanted.shape))
    text = "the shortcut should come first, then the input from below."
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
        text = f"{channels} channels and filters {list(filters)} need {right:,} weights"
        expect_close(got, right, f"{text}, not {got:,}.")


EXERCISES = (
    Exercise(
        id="unet.conv_sizes",
        question="""
            Write `conv_sizes(size, kernel, stride, padding, n_levels)`. A row of `size`
            values passes `n_levels` equal convolutions, with `padding` zeros at *both*
            ends of each input. Return the list of the sizes after each level.
            """,
        solution_source="""
            def conv_sizes(size, kernel, stride, padding, n_levels):
                sizes = []
                for _ in range(n_levels):
                    size = (size + 2 * padding - kernel) // stride + 1
                    sizes.append(size)
                return sizes
            """,
        verify=_verify_conv_sizes,
        hints=(
            "The kernel begins at 0, stride, 2 · stride, … as long as it fits.",
            "It fits `(size + 2 * padding - kernel) // stride + 1` times.",
        ),
        noticed="100 becomes 50, 25, 13; doubling 13 gives 26, not 25.",
        wrong=(
            (" + 1", "", "level 1 should give 32 values, not 31"),
            ("2 * padding", "padding", "level 1 should give 32"),
            ("//", "/", "not 32.5"),
            ("def conv_sizes(*sizes):\n    return 32", "should be a list of 3 sizes"),
        ),
    ),
    Exercise(
        id="unet.add_skips",
        question="""
            Write `decode(deepest, shortcuts, layers)`, the decoder of a U-Net. Tensors
            are (batch, channels, bins, frames). Each layer doubles bins and frames.
            The input of `layers[0]` is `deepest`. The input of every later layer is a
            shortcut and the output of the layer before, joined in this order along the
            channels. `shortcuts` are in the order of the encoder: the largest first.
            """,
        solution_source="""
            def decode(deepest, shortcuts, layers):
                x = layers[0](deepest)
                for shortcut, layer in zip(reversed(shortcuts), layers[1:]):
                    x = layer(torch.cat([shortcut, x], dim=1))
                return x
            """,
        verify=_verify_add_skips,
        hints=(
            "The last shortcut of the encoder comes first: `reversed(shortcuts)`.",
            "`torch.cat([shortcut, x], dim=1)` joins along the channels.",
        ),
        noticed="This one line brings the fine structure back at every size.",
        wrong=(
            ("reversed(shortcuts)", "shortcuts", "do not fit"),
            ("[shortcut, x]", "[x, shortcut]", "come first"),
            ("torch.cat([shortcut, x], dim=1)", "x", "needs 8"),
            ("torch.cat([shortcut, x], dim=1)", "x + shortcut", "8"),
        ),
    ),
    Exercise(
        id="unet.n_weights",
        question="""
            Write `n_weights(channels, filters, kernel)`, the number of weights, biases
            included, of the encoder and the decoder of a U-Net. Level n of the encoder
            has `filters[n]` output channels and kernels of `kernel` · `kernel`. The
            output channels of the decoder are `filters[-2]`, …, `filters[0]` and at
            last 1. All layers of the decoder but the first also get a shortcut, which
            doubles their input channels.
            """,
        solution_source="""
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
            """,
        verify=_verify_n_weights,
        hints=(
            "A layer has kernel² · channels in · channels out weights, and a bias for "
            "each channel out.",
            "The decoder has `[*reversed(filters[:-1]), 1]` output channels. After "
            "each layer but the last, the shortcut doubles the channels.",
        ),
        noticed="In Spleeter, the two deepest layers have two thirds of all weights.",
        wrong=(
            (" + n_out", "", "need"),
            ("n_in = 2 * n_out", "n_in = n_out", "need"),
            ("kernel**2", "kernel", "need"),
        ),
    ),
)
