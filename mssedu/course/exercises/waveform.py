"""Exercises on waveform models: valid lengths, averaging over shifts, input level."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from mssedu.course.exercises.exercise import (
    Exercise,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz
from mssedu.models import demucs


def _verify_valid_length(valid_length) -> None:
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
        got = valid_length(samples, depth, kernel_size, stride, context)
        expect_number(got, "the length")
        case = f"{samples} samples (depth {depth}, kernel {kernel_size}, "
        case += f"stride {stride}, context {context})"
        expect_close(got, wanted, f"for {case} it should be {wanted}, not {got}.")


def _odd_samples_lost(mixture: Tensor) -> Tensor:
    """A model of two stems that treats samples by their place: far from equivariant."""
    kept = mixture * (torch.arange(mixture.shape[-1]) % 3 == 0)
    return torch.stack([kept, mixture - kept])


def _verify_shift_average(shift_average) -> None:
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn(2, 50, generator=generator)
    same = shift_average(_odd_samples_lost, mixture, [0])
    expect_tensor(same, (2, 2, 50), "the estimate")
    text = "a single shift of 0 should give the model's own output."
    expect_close(same, _odd_samples_lost(mixture), text)
    result = shift_average(_odd_samples_lost, mixture, [0, 1, 2])
    expect_tensor(result, (2, 2, 50), "the estimate")
    text = (
        "the stems should still add up to the mixture: shift back, and take the mean."
    )
    expect_close(result.sum(0), mixture, text)
    late = nn.functional.pad(mixture, (1, 0))
    wanted = _odd_samples_lost(late)[..., 1:]
    result = shift_average(_odd_samples_lost, mixture, [1])
    text = "a shift of 1 should put one zero in front of the mixture, and nothing else."
    expect_close(result, wanted, text)


def _squash(mixture: Tensor) -> Tensor:
    """A model of two stems that hears loud and soft differently."""
    return torch.stack([torch.tanh(mixture), mixture - torch.tanh(mixture)])


def _verify_normalized(normalized) -> None:
    generator = torch.Generator().manual_seed(1)
    mixture = torch.randn(2, 200, generator=generator)
    mixture[1] *= 0.3
    result = normalized(_squash, mixture)
    expect_tensor(result, (2, 2, 200), "the estimate")
    text = "the stems should add up to the mixture: give the level back."
    expect_close(result.sum(0), mixture, text, tolerance=1e-3)
    loud = normalized(_squash, 10 * mixture)
    text = "a mixture ten times as loud should give estimates ten times as loud."
    expect_close(loud, 10 * result, text, tolerance=0.02)
    level = mixture.mean(0).std() + 1e-5
    wanted = level * _squash(mixture / level)
    text = "divide both channels by one number, the deviation of the mono mixture."
    expect_close(result, wanted, text, tolerance=1e-3)
    silence = torch.zeros(2, 200)
    expect_tensor(normalized(_squash, silence), (2, 2, 200), "the estimate of silence")


_STUB = "    return ...  # your code here"
_VALID_LENGTH = """
    def valid_length(samples, depth, kernel_size, stride, context):
        length = samples
        for _ in range(depth):
            length = max(math.ceil((length - kernel_size) / stride) + 1, 1)
            length += context - 1
        for _ in range(depth):
            length = (length - 1) * stride + kernel_size
        return length
    """
_SHIFT_AVERAGE = """
    def shift_average(model, mixture, shifts):
        total = 0
        for shift in shifts:
            late = torch.nn.functional.pad(mixture, (shift, 0))
            total = total + model(late)[..., shift:]
        return total / len(shifts)
    """
_NORMALIZED = """
    def normalized(model, mixture):
        level = mixture.mean(0).std() + 1e-5
        return level * model(mixture / level)
    """
_QUIZ = (
    Question(
        "A model has six levels of stride 4 and no resampling. Which shift of the "
        "input does it follow exactly, but for its edges?",
        {
            "4 samples": "the first level does; the second then sees one frame.",
            "24 samples": "the strides multiply: each level counts frames of the last.",
            "4096 samples": None,
        },
    ),
    Question(
        "Averaged over ten shifts, two outputs agree much better. The score rises by "
        "0.1 dB. Why so little?",
        {
            "Most of the model's error is the same at every shift.": None,
            "Ten shifts are too few.": "a thousand average the same part away.",
            "The shifts were undone wrongly.": "then the score would fall.",
        },
    ),
    Question(
        "Which convolution makes a sound longer?",
        {
            "one with stride 4": "it keeps one frame in four.",
            "a transposed one with stride 4": None,
            "one with a kernel of 8": "without padding it loses 7 samples.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="waveform.valid_length",
        notebook="09",
        question="""
            Write `valid_length(samples, depth, kernel_size, stride, context)`: the
            smallest length of input from which a Demucs without resampling makes at
            least `samples` of output, all frames used. Each of its `depth` levels has,
            on the way down, a convolution of `kernel_size` and `stride`; on the way up,
            a convolution of `context` frames, then a transposed one of `kernel_size`
            and `stride`. Nothing is padded. At least one frame has to leave each level
            on the way up.
            """,
        answer="valid_length",
        starter_source="""
            def valid_length(samples, depth, kernel_size, stride, context):
                return ...  # your code here
            """,
        solution_source=_VALID_LENGTH,
        verify=_verify_valid_length,
        hints=(
            "Go down from the wanted length: how many frames does level 1 need?",
            "Down: `ceil((length - kernel_size) / stride) + 1`, at least 1, and "
            "`context - 1` more, which the way up will lose.",
            "Then up again, `(length - 1) * stride + kernel_size`, without context.",
        ),
        noticed="Zeros fill the mixture up to it; the middle is cut out at the end.",
        wrong_answers=(
            (_VALID_LENGTH.replace("math.ceil(", "int("), "it should be"),
            (_VALID_LENGTH.replace("context - 1", "0"), "context 3) it should be"),
            (_VALID_LENGTH.replace("stride) + 1, 1)", "stride), 1)"), "it should be"),
            (_VALID_LENGTH.replace("return length", "return samples"), "not 44100"),
            (_VALID_LENGTH.replace("(length - 1) *", "length *"), "it should be"),
        ),
    ),
    Exercise(
        id="waveform.shift_average",
        notebook="09",
        question="""
            Write `shift_average(model, mixture, shifts)`. `model` makes estimates
            (stems, channels, samples) of a `mixture` (channels, samples) of any length.
            For each shift, put so many zeros in front of the mixture, separate, and cut
            the same number of samples from the front of the estimates. Return the mean.
            """,
        answer="shift_average",
        starter_source="def shift_average(model, mixture, shifts):\n" + _STUB,
        solution_source=_SHIFT_AVERAGE,
        verify=_verify_shift_average,
        hints=(
            "`torch.nn.functional.pad(mixture, (shift, 0))` puts zeros in front.",
            "`estimates[..., shift:]` moves the result back to its place.",
        ),
        noticed="It costs as many passes as there are shifts.",
        wrong_answers=(
            (_SHIFT_AVERAGE.replace("(shift, 0)", "(0, shift)"), "still add up"),
            (_SHIFT_AVERAGE.replace("shift:]", ":50]"), "still add up to the mixture"),
            (_SHIFT_AVERAGE.replace(" / len(shifts)", ""), "still add up"),
            (
                """
                def shift_average(model, mixture, shifts):
                    moved = [model(mixture.roll(s, -1)).roll(-s, -1) for s in shifts]
                    return torch.stack(moved).mean(0)
                """,
                "put one zero in front",
            ),
        ),
    ),
    Exercise(
        id="waveform.normalized",
        notebook="09",
        question="""
            Write `normalized(model, mixture)`: let a `model` as above hear the mixture
            (channels, samples) at a deviation of 1, and give the estimates the level of
            the mixture again. The deviation is that of the mono mixture, the mean of
            its channels, so that the balance of left and right stays. Silence must not
            become NaN: add 1e-5 to the deviation.
            """,
        answer="normalized",
        starter_source="def normalized(model, mixture):\n" + _STUB,
        solution_source=_NORMALIZED,
        verify=_verify_normalized,
        hints=(
            "`mixture.mean(0).std()` is the deviation of the mono mixture.",
            "Divide before the model, multiply after it.",
        ),
        noticed="Now the model need not learn every loudness anew.",
        wrong_answers=(
            (_NORMALIZED.replace("return level * model", "return model"), "level back"),
            (_NORMALIZED.replace("mixture.mean(0).std() + 1e-5", "1"), "ten times as"),
            (
                _NORMALIZED.replace("mean(0).std()", "std(-1)[:, None]"),
                "deviation of the",
            ),
            (_NORMALIZED.replace("+ 1e-5", ""), "finite values"),
        ),
    ),
    make_quiz("waveform.quiz", "09", _QUIZ),
)
