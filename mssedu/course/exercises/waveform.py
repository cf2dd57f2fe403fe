"""Exercises on waveform models: lengths of input, averaging over shifts, level."""

import math

import torch
from torch import Tensor, nn

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks


def input_length(samples, depth, kernel_size, stride, context, padding):
    """Write `input_length(samples, depth, kernel_size, stride, context, padding)`. It
    returns the smallest length of input for which a padded Demucs without resampling
    makes at least `samples` of output and uses every frame. It has `depth` levels.

    - On the way down, a level has a convolution of `kernel_size` and `stride`. Its
      input gets `padding` zeros, both ends together.
    - On the way up, a level has a convolution of `context` frames without padding, then
      a transposed one of `kernel_size` and `stride`. From the result of the transposed
      one, `padding` samples are dropped, both ends together.
    - On the way up, each level has at least one frame after the convolution of
      `context` frames.
    """
    length = samples
    for _ in range(depth):
        frames = math.ceil((length + padding - kernel_size) / stride) + 1
        length = max(frames, 1) + context - 1
    for _ in range(depth):
        length = (length - 1) * stride + kernel_size - padding
    return length


@checks(
    input_length,
    hints=(
        "Go down from `samples`: how many frames does level 1 need?",
        "Down: `ceil((length + padding - kernel_size) / stride) + 1`, at least 1, and "
        "`context - 1` more, which are lost on the way up.",
        "Then up again, `(length - 1) * stride + kernel_size - padding`, without "
        "context.",
    ),
    noticed="Demucs v2 has no padding; it pads the mixture to this length, then crops.",
    wrong=(
        ("math.ceil(", "int(", "it should be"),
        ("context - 1", "0", "context 3, padding 0) it should be"),
        (") + 1\n", ")\n", "it should be"),
        ("return length", "return samples", "not 44100"),
        ("(length - 1) *", "length *", "it should be"),
        ("length + padding", "length", "padding 4) it should be"),
        ("kernel_size - padding", "kernel_size", "padding 4) it should be"),
        ("length + padding", "length + 2 * padding", "padding 4) it should be"),
    ),
    varied=lambda draw: (
        draw.randint(1, 500_000),
        draw.randint(1, 6),
        draw.randint(6, 9),
        draw.randint(2, 5),
        draw.choice([1, 3, 5]),
        draw.randint(0, 5),
    ),
)
def _verify_valid_length(answer) -> None:
    for samples, depth, kernel_size, stride, context, padding in (
        (100, 1, 8, 4, 1, 0),
        (44_100, 5, 8, 4, 3, 0),
        (44_100, 6, 8, 4, 3, 0),
        (1, 4, 8, 4, 3, 0),
        (10_000, 3, 6, 3, 5, 0),
        (10_000, 4, 8, 4, 1, 4),
        (44_100, 5, 8, 4, 3, 4),
        (7_000, 3, 7, 3, 3, 2),
    ):
        sizes = (samples, depth, kernel_size, stride, context, padding)
        wanted = input_length(*sizes)
        got = answer(*sizes)
        case = f"{samples} samples (depth {depth}, kernel {kernel_size}, stride "
        case += f"{stride}, context {context}, padding {padding})"
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

_MEDIAN = """
    def shift_average(model, mixture, shifts):
        late = [torch.nn.functional.pad(mixture, (s, 0)) for s in shifts]
        moved = [model(x)[..., s:] for x, s in zip(late, shifts, strict=True)]
        return torch.stack(moved).median(0).values
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
        (
            "torch.nn.functional.pad(mixture, (shift, 0))",
            "torch.cat([mixture[:, :shift], mixture], 1)",
            "put one zero in front",
        ),
        (_MEDIAN, "the mean of the three"),
    ),
)
def _verify_shift_average(answer) -> None:
    mixture, inputs = expect.noise(2, 50), []

    def model(late: Tensor) -> Tensor:
        inputs.append(late)
        return _every_third(late)

    same = answer(model, mixture, [0])
    text = "a single shift of 0 should give the model's own output."
    expect.close(same, _every_third(mixture), text, what="the estimate")
    result = answer(model, mixture, [0, 1, 2])
    expect.tensor(result, (2, 2, 50), "the estimate")
    text = "the stems should still add up to the mixture: shift back, take the mean."
    expect.close(result.sum(0), mixture, text)
    inputs.clear()
    answer(model, mixture, [1])
    late = nn.functional.pad(mixture, (1, 0))
    text = "a shift of 1 should put one zero in front of the mixture, nothing more."
    expect.that(any(one.equal(late) for one in inputs), text)
    text = "a stem should be the mean of the three estimates, each shifted back."
    expect.close(result, shift_average(_every_third, mixture, [0, 1, 2]), text)


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


_CENTERED = """
    def normalized(model, mixture):
        mono = mixture.mean(0)
        mean, level = mono.mean(), mono.std() + 1e-5
        return level * model((mixture - mean) / level) + mean
    """


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
        (_CENTERED, "Do not remove the mean"),
        (_CENTERED.replace(" + mean", ""), "Do not remove the mean"),
    ),
)
def _verify_normalized(answer) -> None:
    mixture = expect.noise(2, 2000, seed=1)  # so many that n and n - 1 are alike
    mixture[1] *= 0.3
    mixture += 0.2
    result = expect.tensor(answer(_squash, mixture), (2, 2, 2000), "the estimate")
    text = "the stems should add up to the mixture: restore the level."
    mean = mixture.mean(0).mean()
    removed = "Do not remove the mean: the question changes the deviation only."
    centered = {removed: mixture - mean, f"{removed} ": mixture + mean}
    total = result.sum(0)
    expect.close(total, mixture, text, tolerance=1e-3, mistakes=centered)
    loud = answer(_squash, 10 * mixture)
    text = "a mixture ten times as loud should give estimates ten times as loud."
    expect.close(loud, 10 * result, text, tolerance=0.02)
    text = "divide both channels by one number, the deviation of the mono mixture."
    expect.close(result, normalized(_squash, mixture), text, tolerance=1e-3)
    silence = answer(_squash, 0 * mixture)
    expect.tensor(silence, (2, 2, 2000), "the estimate of silence")
