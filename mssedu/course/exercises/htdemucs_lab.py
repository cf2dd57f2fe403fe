"""Exercises on variants of HTDemucs: counting, alignment, training and evaluation."""

import math

import torch
from torch import nn

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.inspect.thop import thop_counts
from mssedu.models.htdemucs_resolutions import MixingWeights


def layer_macs(n_in, n_out, kernel, stride, length):
    """Write `layer_macs(n_in, n_out, kernel, stride, length)`, which counts the
    multiplications of a transposed convolution over time, in two ways. It reads `n_in`
    channels of `length` steps and gives `n_out` channels of (length − 1) · stride +
    kernel steps; there is no padding. The package thop counts each number that comes
    *out* as n_in · kernel multiplications. In truth each number that goes *in* is
    multiplied by n_out · kernel weights. Return two numbers: the count of thop, and the
    true one.
    """
    length_out = (length - 1) * stride + kernel
    return n_out * length_out * n_in * kernel, n_in * length * n_out * kernel


@checks(
    layer_macs,
    hints=(
        "n_out · length_out numbers come out, and n_in · length numbers go in.",
        "thop: n_out · length_out · n_in · kernel. True: the same with `length` in "
        "place of `length_out`.",
    ),
    noticed="For long inputs thop counts `stride` times too many.",
    wrong=(
        ("(length - 1) * stride + kernel", "length * stride", "the last step"),
        (
            "return n_out * length_out * n_in * kernel, ",
            "return n_out * length_out * kernel, ",
            "all n_in channels",
        ),
        (
            "n_in * length * n_out * kernel",
            "n_out * length_out * n_in * kernel",
            "of what goes in",
        ),
        (
            "n_in * length * n_out * kernel",
            "2 * n_in * length * n_out * kernel",
            "not additions",
        ),
        (
            "return n_out * length_out * n_in * kernel, n_in * length * n_out * kernel",
            "return n_in * length * n_out * kernel, n_out * length_out * n_in * kernel",
            "thop's count comes first",
        ),
        (
            "return n_out * length_out * n_in * kernel, ",
            "return ",
            "two numbers",
        ),
    ),
    varied=lambda draw: tuple(draw.randint(1, 12) for _ in range(5)),
)
def _verify_layer_macs(answer) -> None:
    for n_in, n_out, kernel, stride, length in (
        (2, 3, 8, 4, 5),
        (48, 24, 8, 4, 1000),
        (3, 5, 17, 8, 11),
    ):
        sizes = (n_in, n_out, kernel, stride, length)
        about = f"layer_macs{sizes}"
        result = answer(*sizes)
        text = f"{about} should return two numbers: thop's count and the true one."
        pair = expect.items(result, 2, text)
        by_thop, true = (expect.number(one, "a count") for one in pair)
        layer = nn.ConvTranspose1d(n_in, n_out, kernel, stride)
        wanted = thop_counts(layer, torch.zeros(1, n_in, length))[0]
        right = layer_macs(*sizes)[1]
        short = n_out * length * stride * n_in * kernel
        mistakes = {
            "The output also has what the last step adds: kernel − stride more.": short,
            "Each number that comes out is a sum over all n_in channels.": wanted
            / n_in,
            "The order is another one: thop's count comes first.": right,
        }
        text = f"{about}: thop counts {wanted}, not {by_thop}."
        expect.close(by_thop, wanted, text, mistakes=mistakes)
        text = f"{about}: the true count is {right}, not {true}."
        mistakes = {
            "It depends on the length of what goes in, not of what comes out.": wanted,
            "Count multiplications, not additions as well.": 2 * right,
        }
        expect.close(true, right, text, mistakes=mistakes)


def align_levels(n_fft, hop_length, kernels, strides, pads):
    """Write `align_levels(n_fft, hop_length, kernels, strides, pads)` for two branches
    that have the same levels. The frequency branch begins with n_fft / 2 bins. A level
    adds `pad` zeros at both ends, and leaves (bins + 2 · pad − kernel) // stride + 1
    bins. Return two things: a list of the bins that are left after each level, and the
    number of steps that the time branch has in the time of one frame after the last
    level, `hop_length` divided by all strides. If the bins of a level with their zeros
    are fewer than its kernel, the list ends before this level; the steps count all
    levels.
    """
    bins, left = n_fft // 2, []
    for kernel, stride, pad in zip(kernels, strides, pads, strict=True):
        if bins + 2 * pad < kernel:
            break
        bins = (bins + 2 * pad - kernel) // stride + 1
        left.append(bins)
    return left, hop_length / math.prod(strides)


@checks(
    align_levels,
    hints=(
        "Keep the number of bins in a variable, and go over "
        "`zip(kernels, strides, pads)`.",
        "Stop with `break` if bins + 2 · pad < kernel; otherwise append the new number "
        "of bins.",
        "The steps are hop_length / math.prod(strides).",
    ),
    noticed=(
        "With pads of (kernel − stride) / 2 each level divides exactly. Pads of kernel "
        "/ 4 do so for kernel 8 and stride 4; with kernel 16 two of 16 bins are lost."
    ),
    wrong=(
        ("n_fft // 2, []", "n_fft // 2 + 1, []", "begins with n_fft / 2 bins"),
        (
            "(bins + 2 * pad - kernel) // stride + 1",
            "(bins + pad - kernel) // stride + 1",
            "at both ends",
        ),
        (
            "(bins + 2 * pad - kernel) // stride + 1",
            "bins // stride",
            "kernel is another matter than stride",
        ),
        ("if bins + 2 * pad < kernel", "if bins < 0", "ends before the level"),
        ("if bins + 2 * pad < kernel", "if bins + 2 * pad <= kernel", "just fits"),
        ("if bins + 2 * pad < kernel", "if bins < kernel", "just fits"),
        ("math.prod(strides)", "math.prod(strides[:-1])", "all strides"),
        ("math.prod(strides)", "sum(strides)", "all strides"),
    ),
    varied=lambda draw: _drawn_levels(draw),
)
def _verify_align_levels(answer) -> None:
    cases = (
        (62, 8, (4,), (2,), (1,)),  # an odd number of bins
        (4096, 1024, (8,) * 4, (4,) * 4, (2,) * 4),  # htdemucs
        (8192, 1024, (16,) * 4, (4,) * 4, (6,) * 4),  # c: exact
        (8192, 1024, (16,) * 4, (4,) * 4, (4,) * 4),  # c with the pads of htdemucs
        (8192, 1024, (16,) * 5, (4,) * 5, (4,) * 4 + (0,)),  # … and its merge
        (64, 8, (8, 10, 4), (4, 2, 2), (2, 1, 0)),  # a level that just fits
    )
    for n_fft, hop_length, kernels, strides, pads in cases:
        result = answer(n_fft, hop_length, kernels, strides, pads)
        about = f"n_fft {n_fft}, kernels {kernels}, strides {strides}, pads {pads}"
        text = "return two things: a list of bins, and the steps in a frame."
        left, steps = expect.items(result, 2, text)
        wanted, right = align_levels(n_fft, hop_length, kernels, strides, pads)
        text = "the first result should be a list of bins."
        expect.that(isinstance(left, list | tuple), text)
        text = f"{about}: the bins should be {wanted}, not {[*left]}."
        _check_bins([*left], wanted, n_fft, (kernels, strides, pads), text)
        text = f"a frame should last {right:g} steps with hop {hop_length}, not {steps}"
        steps = expect.number(steps, "the steps in a frame")
        expect.close(steps, right, f"{text}: divide by all strides {strides}.")


def _check_bins(left, wanted, n_fft, levels, text) -> None:
    """Raise Wrong with the reason that fits the mistake, unless the bins are right."""
    kernels, strides, pads = levels
    first = n_fft // 2
    with_top = align_levels(n_fft + 2, 1, kernels, strides, pads)[0]
    halves = [pad / 2 for pad in pads]
    at_one_end = [int(n) for n in align_levels(n_fft, 1, kernels, strides, halves)[0]]
    plain = [first // math.prod(strides[: i + 1]) for i in range(len(strides))]
    reasons = {
        "The list ends before the level whose kernel has too few bins.": (
            len(left) > len(wanted)
        ),
        "A kernel as long as the bins with their zeros just fits.": (
            len(left) < len(wanted)
        ),
        "The branch begins with n_fft / 2 bins.": left == with_top,
        "The zeros are added at both ends.": left == at_one_end,
        "The kernel is another matter than stride: use both.": left == plain,
    }
    if left != wanted:
        fitting = [reason for reason, fits in reasons.items() if fits]
        raise expect.Wrong(" ".join([text, *fitting[:1]]))


def _drawn_levels(draw):
    n = draw.randint(1, 5)
    strides = tuple(draw.choice((2, 4)) for _ in range(n))
    kernels = tuple(stride + 2 * draw.randint(0, 6) for stride in strides)
    pads = tuple(draw.randint(0, kernel // 2) for kernel in kernels)
    return 2 ** draw.randint(6, 13), 2 ** draw.randint(5, 11), kernels, strides, pads


def mixing_weights(raws, momentum):
    """Write `mixing_weights(raws, momentum)`, which follows the weights of the record
    through a training. `raws` (steps, resolutions) are the learned numbers at each
    step; their softmax are the weights. A moving average begins with equal weights. At
    each step it first becomes momentum · average + (1 − momentum) · weights. The
    training then uses momentum · average + (1 − momentum) · weights, with this new
    average. The evaluation uses the weights alone. Return two tensors: what the
    training used, (steps, resolutions), and what the evaluation uses after the last
    step, (resolutions,).
    """
    weights = raws.softmax(-1)
    average = torch.full_like(weights[0], 1 / len(weights[0]))
    used = []
    for row in weights:
        average = momentum * average + (1 - momentum) * row
        used.append(momentum * average + (1 - momentum) * row)
    return torch.stack(used), weights[-1]


@checks(
    mixing_weights,
    hints=(
        "`raws.softmax(-1)` has the weights of all steps; the average begins with "
        "1 / resolutions everywhere.",
        "In a loop over the rows, change the average, then append the mix. "
        "`torch.stack` makes one tensor of the list.",
    ),
    noticed="While the weights move, training and evaluation are two networks.",
    wrong=(
        ("raws.softmax(-1)", "raws", "softmax"),
        ("raws.softmax(-1)", "raws.softmax(0)", "over resolutions"),
        (
            "torch.full_like(weights[0], 1 / len(weights[0]))",
            "weights[0]",
            "begins with equal weights",
        ),
        (
            "        average = momentum * average + (1 - momentum) * row\n",
            "",
            "the average moves",
        ),
        (
            "        used.append(momentum * average + (1 - momentum) * row)",
            "        used.append(average)",
            "mixed once more",
        ),
        ("weights[-1]", "used[-1]", "evaluation uses the weights alone"),
        (", weights[-1]", "", "two tensors"),
    ),
    varied=lambda draw: (
        expect.noise(draw.randint(2, 9), draw.randint(2, 5), seed=draw.randint(0, 99)),
        draw.randint(1, 99) / 100,
    ),
)
def _verify_mixing_weights(answer) -> None:
    for steps, resolutions in ((6, 3), (1, 2), (4, 5)):
        raws = 2 * expect.noise(steps, resolutions)
        result = answer(raws, 0.9)
        text = "return two tensors: of the training, and of the evaluation."
        expect.that(isinstance(result, tuple | list), text)
        used, last = expect.items(result, 2, text)
        module = MixingWeights((resolutions,), mended=False)
        wanted = []
        for row in raws:
            nn.init.zeros_(module.raw).data += row
            wanted.append(module().detach())
        even = torch.full((resolutions,), 1 / resolutions)
        weights = raws.softmax(-1)
        shape, what = (steps, resolutions), "what the training used"
        used = expect.tensor(used, shape, what)
        expect.close(
            used,
            torch.stack(wanted),
            "the training should use other weights.",
            mistakes=_mistakes(raws, even),
        )
        text = "the evaluation uses the weights alone: the softmax of the last step."
        expect.close(last, weights[-1], text, what="what the evaluation uses")


def _mistakes(raws, even):
    """A sentence -> what that mistake gives, with the momentum 0.9."""
    weights = raws.softmax(-1)

    def follow(rows, average):
        used = []
        for row in rows:
            average = torch.lerp(average, row, 0.1)
            used.append(average)
        return torch.stack(used)

    own = follow(weights, even)
    return {
        "Turn the raw numbers into weights with a softmax.": torch.lerp(
            follow(raws, even), raws, 0.1
        ),
        "The softmax goes over resolutions, not over steps.": torch.lerp(
            follow(raws.softmax(0), even), raws.softmax(0), 0.1
        ),
        "The average begins with equal weights.": torch.lerp(
            follow(weights, weights[0]), weights, 0.1
        ),
        "At each step, the average moves first.": torch.lerp(
            even.expand_as(weights), weights, 0.1
        ),
        "The new average is mixed once more with the weights.": own,
    }
