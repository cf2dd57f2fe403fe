"""Exercises on U-Nets: sizes after strided layers, skips, numbers of parameters."""

import torch
from torch import Tensor

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.models.spleeter import SpleeterConfig, UNet


def conv_sizes(size, kernel, stride, padding, n_levels):
    """Write `conv_sizes(size, kernel, stride, padding, n_levels)`. A row of `size`
    values passes `n_levels` equal convolutions. Each input gets `padding` zeros, both
    ends together (p in this notebook). Return the list of the sizes after each level.
    """
    sizes = []
    for _ in range(n_levels):
        size = (size + padding - kernel) // stride + 1
        sizes.append(size)
    return sizes


@checks(
    conv_sizes,
    hints=(
        "The kernel begins at 0, stride, 2 · stride, … as long as it fits.",
        "It fits `(size + padding - kernel) // stride + 1` times.",
    ),
    noticed="100 becomes 50, 25, 13; doubling 13 gives 26, not 25.",
    wrong=(
        (" + 1", "", "level 1 should give 32 values, not 31"),
        ("+ padding", "+ 2 * padding", "level 1 should give 32"),
        ("//", "/", "not 50.5"),
        ("conv_sizes = lambda *_: 32", "should be a list of 3 sizes"),
    ),
    varied=lambda draw: (
        draw.randint(500, 5000),
        draw.randint(3, 9),
        draw.randint(2, 3),
        draw.randint(0, 4),
        draw.randint(2, 4),
    ),
)
def _verify_conv_sizes(answer) -> None:
    for size, kernel, stride, padding, sizes in (
        (64, 5, 2, 3, [32, 16, 8]),
        (100, 5, 2, 4, [50, 25, 13]),
        (100, 4, 2, 2, [50, 25, 12]),
        (4096, 8, 4, 0, [1023, 254, 62]),
        (31, 3, 1, 2, [31, 31, 31]),
    ):
        got = answer(size, kernel, stride, padding, 3)
        expect.items(got, 3, f"the result should be a list of 3 sizes, not {got}.")
        what = f"{size} values, kernel {kernel}, stride {stride}, padding {padding}"
        for level, (mine, right) in enumerate(zip(got, sizes, strict=True), 1):
            number = expect.number(mine, f"the size after level {level}")
            text = f"{what}: level {level} should give {right} values, not {mine}."
            expect.close(number, right, text)


class _Layer:
    """A decoder layer that doubles width and height, and checks its input channels."""

    def __init__(self, n_in: int, n_out: int, seed: int) -> None:
        self.n_in = n_in
        self.weight = expect.noise(n_out, n_in, seed=seed) / n_in**0.5

    def __call__(self, x: Tensor) -> Tensor:
        got = x.shape[1]
        text = f"a layer got {got} channels and needs {self.n_in}: join the shortcut "
        expect.that(got == self.n_in, text + "and the input from below.")
        mixed = torch.einsum("oi,bihw->bohw", self.weight, x)
        return mixed.repeat_interleave(2, -1).repeat_interleave(2, -2)


def decode(deepest, shortcuts, layers):
    """Write `decode(deepest, shortcuts, layers)`, the decoder of a U-Net. Tensors are
    (batch, channels, bins, frames). Each layer doubles bins and frames. The input of
    `layers[0]` is `deepest`. The input of every later layer is a shortcut and the
    output of the layer before, joined in this order along the channels. `shortcuts` are
    in the order of the encoder: the largest first.
    """
    x = layers[0](deepest)
    for shortcut, layer in zip(reversed(shortcuts), layers[1:], strict=True):
        x = layer(torch.cat([shortcut, x], dim=1))
    return x


@checks(
    decode,
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
)
def _verify_add_skips(answer) -> None:
    deepest = expect.noise(2, 4, 3, 2)
    shortcuts = [expect.noise(2, 4, 3 * 2**n, 2 * 2**n, seed=n) for n in (3, 2, 1)]
    layers = [_Layer(4, 4, 1), _Layer(8, 4, 2), _Layer(8, 4, 3), _Layer(8, 1, 4)]
    try:
        result = answer(deepest, [x.clone() for x in shortcuts], list(layers))
    except RuntimeError as error:
        text = f"sizes do not fit: {str(error).splitlines()[0]}"
        unequal = "Sizes of tensors" in str(error)
        expect.that(not unequal, f"{text} Use the smallest shortcut first.")
        raise
    text = "the shortcut should come first, then the input from below."
    expect.close(result, decode(deepest, shortcuts, layers), text, tolerance=1e-4)


def n_weights(channels, filters, kernel):
    """Write `n_weights(channels, filters, kernel)`, the number of weights, biases
    included, of the encoder and the decoder of a U-Net. Level n of the encoder has
    `filters[n]` output channels and kernels of `kernel` · `kernel`. The output channels
    of the decoder are `filters[-2]`, …, `filters[0]` and at last 1. All layers of the
    decoder but the first also get a shortcut, which doubles their input channels.
    """
    total = 0
    n_in = channels
    for n_out in filters:
        total += kernel**2 * n_in * n_out + n_out
        n_in = n_out
    for n_out in [*reversed(filters[:-1]), 1]:
        total += kernel**2 * n_in * n_out + n_out
        n_in = 2 * n_out
    return total


@checks(
    n_weights,
    hints=(
        "A layer has kernel² · inputs · outputs weights, and a bias for each output.",
        "The decoder has `[*reversed(filters[:-1]), 1]` output channels. After "
        "each layer but the last, the shortcut doubles the channels.",
    ),
    noticed="In Spleeter, the two deepest layers have two thirds of all weights.",
    wrong=(
        (" + n_out", "", "need"),
        ("n_in = 2 * n_out", "n_in = n_out", "need"),
        ("kernel**2", "kernel", "need"),
    ),
    varied=lambda draw: (
        draw.randint(1, 3),
        [draw.randint(2, 40) for _ in range(draw.randint(1, 5))],
        draw.randint(1, 7),
    ),
)
def _verify_n_weights(answer) -> None:
    cases = ((2, (8, 16)), (1, (4,)), (2, (16, 32, 64, 128, 256, 512)))
    for channels, filters in cases:
        step = 2 ** len(filters)
        config = SpleeterConfig(
            channels=channels, filters=filters, bins=step, frames=64 * step
        )
        with torch.device("meta"):  # shapes only
            network = UNet(config)
        layers = (*network.encoder, *network.decoder)
        right = sum(p.numel() for layer in layers for p in layer.parameters())
        text = f"{channels} channels and filters {list(filters)} need {right:,} weights"
        got = expect.number(answer(channels, list(filters), 5), "the number of weights")
        expect.close(got, right, f"{text}, not {got:,}.")
