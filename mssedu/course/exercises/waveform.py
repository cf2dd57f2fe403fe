"""Exercises on waveform models: valid lengths, averaging over shifts, input level."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.models import demucs


def valid_length(samples, depth, kernel_size, stride, context):
    """Write `valid_length(samples, depth, kernel_size, stride, context)`. It returns
    the smallest length of input for which a Demucs without resampling makes at least
    `samples` of output and uses every frame. Each of its `depth` levels has a
    convolution of `kernel_size` and `stride` on the way down. On the way up it has a
    convolution of `context` frames, then a transposed one of `kernel_size` and
    `stride`. Nothing is padded. On the way up, each level has at least one frame after
    the convolution of `context` frames.
    """
    length = samples
    for _ in range(depth):
        length = max(math.ceil((length - kernel_size) / stride) + 1, 1)
        length += context - 1
    for _ in range(depth):
        length = (length - 1) * stride + kernel_size
    return length


@checks(
    valid_length,
    hints=(
        "Go down from `samples`: how many frames does level 1 need?",
        "Down: `ceil((length - kernel_size) / stride) + 1`, at least 1, and "
        "`context - 1` more, which are lost on the way up.",
        "Then up again, `(length - 1) * stride + kernel_size`, without context.",
    ),
    noticed="Demucs pads the mixture with zeros to this length, then crops.",
    wrong=(
        ("math.ceil(", "int(", "it should be"),
        ("context - 1", "0", "context 3) it should be"),
        ("stride) + 1, 1)", "stride), 1)", "it should be"),
        ("return length", "return samples", "not 44100"),
        ("(length - 1) *", "length *", "it should be"),
    ),
)
def _verify_valid_length(answer) -> None:
    for samples, depth, kernel_size, stride, context in (
        (100, 1, 8, 4, 1),
        (44_100, 5, 8, 4, 3),
        (44_100, 6, 8, 4, 3),
        (1, 4, 8, 4, 3),
        (10_000, 3, 6, 3, 5),
    ):
        plain = demucs.DemucsConfig(resample=False, depth=depth, context=context)
        config = replace(plain, kernel_size=kernel_size, stride=stride)
        wanted = demucs.valid_length(config, samples)
        got = answer(samples, depth, kernel_size, stride, context)
        case = f"{samples} samples (depth {depth}, kernel {kernel_size}, "
        case += f"stride {stride}, context {context})"
        text = f"for {case} it should be {wanted}, not {got}."
        expect.close(expect.number(got, "the length"), wanted, text)


def _every_third(mixture: Tensor) -> Tensor:
    """A model of two stems that depends on the index of a sample."""
    third = mixture * (torch.arange(mixture.shape[-1]) % 3 == 0)
    return torch.stack([third, mixture - third])


_ROLLED = """
    def shift_average(model, mixture, shifts):
        moved = [model(mixture.roll(s, -1)).roll(-s, -1) for s in shifts]
        return torch.stack(moved).mean(0)
    """


def shift_average(model, mixture, shifts):
    """Write `shift_average(model, mixture, shifts)`. `model` makes estimates (stems,
    channels, samples) of a `mixture` (channels, samples) of any length. For each shift,
    put that many zeros in front of the mixture, separate it, and drop as many samples
    from the front of the estimates. Return the mean.
    """
    total = 0
    for shift in shifts:
        late = torch.nn.functional.pad(mixture, (shift, 0))
        total = total + model(late)[..., shift:]
    return total / len(shifts)


@checks(
    shift_average,
    hints=(
        "`torch.nn.functional.pad(mixture, (shift, 0))` puts zeros in front.",
        "`estimates[..., shift:]` moves the result back in time.",
    ),
    noticed="The cost is one pass of the model for each shift.",
    wrong=(
        ("(shift, 0)", "(0, shift)", "still add up"),
        ("shift:]", ":50]", "still add up to the mixture"),
        (" / len(shifts)", "", "still add up"),
        (_ROLLED, "put one zero in front"),
    ),
)
def _verify_shift_average(answer) -> None:
    mixture = expect.noise(2, 50)
    same = answer(_every_third, mixture, [0])
    text = "a single shift of 0 should give the model's own output."
    expect.close(same, _every_third(mixture), text, what="the estimate")
    result = answer(_every_third, mixture, [0, 1, 2])
    expect.tensor(result, (2, 2, 50), "the estimate")
    text = "the stems should still add up to the mixture: shift back, take the mean."
    expect.close(result.sum(0), mixture, text)
    wanted = _every_third(nn.functional.pad(mixture, (1, 0)))[..., 1:]
    text = "a shift of 1 should put one zero in front of the mixture, nothing more."
    expect.close(answer(_every_third, mixture, [1]), wanted, text)


def _squash(mixture: Tensor) -> Tensor:
    """A model of two stems whose result depends on the level."""
    return torch.stack([torch.tanh(mixture), mixture - torch.tanh(mixture)])


def normalized(model, mixture):
    """Write `normalized(model, mixture)` for a `model` as above. Give it the mixture
    (channels, samples) with a standard deviation of 1, and bring the estimates back to
    the level of the mixture. Measure the deviation of the mono mixture, the mean of the
    channels, so that the balance of left and right does not change. Add 1e-5 to it, so
    that silence does not become NaN.
    """
    level = mixture.mean(0).std() + 1e-5
    return level * model(mixture / level)


@checks(
    normalized,
    hints=(
        "`mixture.mean(0).std()` is the deviation of the mono mixture.",
        "Divide before the model, multiply after it.",
    ),
    noticed="Now the model need not learn each loudness separately.",
    wrong=(
        ("return level * model", "return model", "restore the level"),
        ("mixture.mean(0).std() + 1e-5", "1", "ten times as"),
        ("mean(0).std()", "std(-1)[:, None]", "deviation of the"),
        ("+ 1e-5", "", "finite values"),
    ),
)
def _verify_normalized(answer) -> None:
    mixture = expect.noise(2, 200, seed=1)
    mixture[1] *= 0.3
    result = expect.tensor(answer(_squash, mixture), (2, 2, 200), "the estimate")
    text = "the stems should add up to the mixture: restore the level."
    expect.close(result.sum(0), mixture, text, tolerance=1e-3)
    loud = answer(_squash, 10 * mixture)
    text = "a mixture ten times as loud should give estimates ten times as loud."
    expect.close(loud, 10 * result, text, tolerance=0.02)
    text = "divide both channels by one number, the deviation of the mono mixture."
    expect.close(result, normalized(_squash, mixture), text, tolerance=1e-3)
    expect.tensor(answer(_squash, 0 * mixture), (2, 2, 200), "the estimate of silence")
