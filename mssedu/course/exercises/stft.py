"""Exercises on the STFT: counting frames, overlap-add, the hop that breaks it."""

import torch

from mssedu.course.exercises.exercise import (
    Exercise,
    expect,
    expect_close,
    expect_number,
    expect_tensor,
)
from mssedu.course.exercises.quiz import Question, make_quiz
from mssedu.spectral import stft


def _verify_frame_count(frame_count) -> None:
    for n_samples, n_fft, hop_length, centered, plain in (
        (44100, 4096, 1024, 44, 40),
        (4096, 4096, 1024, 5, 1),
        (1000, 1000, 250, 5, 1),
        (44099, 2048, 441, 100, 96),
        (99, 2048, 512, 1, 0),
    ):
        what = f"{n_samples} samples, n_fft {n_fft}, hop {hop_length}"
        got = frame_count(n_samples, n_fft, hop_length, True)
        expect_number(got, "the number of frames")
        text = f"centered frames of {what} should be {centered}, not {got}."
        expect_close(got, centered, text)
        got = frame_count(n_samples, n_fft, hop_length, False)
        text = f"frames that lie inside {what} should be {plain}, not {got}."
        expect_close(got, plain, text)


def _verify_overlap_add(overlap_add) -> None:
    generator = torch.Generator().manual_seed(0)
    for n_samples, n_fft, hop_length in (
        (1000, 64, 16),
        (1000, 64, 32),
        (999, 128, 24),
    ):
        audio = torch.randn(n_samples, generator=generator)
        window = torch.hann_window(n_fft)
        spectrogram = stft(audio, n_fft, hop_length)
        frames = torch.fft.irfft(spectrogram.T)  # (frames, n_fft), windowed once
        result = overlap_add(frames, window, hop_length, n_samples)
        case = f"n_fft {n_fft}, hop {hop_length}"
        expect_tensor(result, (n_samples,), f"the result for {case}")
        padded = torch.nn.functional.pad(audio, (n_fft // 2, 0))
        shifted = (result - padded[:n_samples]).abs().max() < 1e-3
        text = f"the first n_fft // 2 samples lie before the sound: drop them ({case})."
        expect(not shifted, text)
        text = (
            "add up what each frame weighs, and divide by it, to get back every sample"
        )
        expect_close(result, audio, f"{text} ({case}).", tolerance=1e-4)


def _ripple(window: torch.Tensor, hop_length: int) -> float:
    """How much the sum of shifted windows varies, in shares of its mean."""
    total = torch.zeros(hop_length, dtype=torch.float64)
    for first in range(0, len(window), hop_length):
        part = window[first : first + hop_length].double()
        total[: len(part)] += part
    return float((total.max() - total.min()) / total.mean())


def _verify_breaking_hop(breaking_hop) -> None:
    windows = {
        "the Hann window": torch.hann_window(64),
        "the Hamming window": torch.hamming_window(64),
        "a window of ones": torch.ones(64),
        "the sine window": torch.hann_window(64).sqrt(),
    }
    for tolerance in (0.01, 0.1):
        for name, window in windows.items():
            hops = [h for h in range(1, 65) if _ripple(window, h) > tolerance]
            got = breaking_hop(window, tolerance)
            expect_number(got, "the hop")
            text = (
                f"{name} should first vary by more than {tolerance:g} at hop {hops[0]}"
            )
            expect_close(got, hops[0], f"{text}, not {got}.")


_FRAME_COUNT = """
    def frame_count(n_samples, n_fft, hop_length, centered):
        if centered:
            return n_samples // hop_length + 1
        if n_samples < n_fft:
            return 0
        return (n_samples - n_fft) // hop_length + 1
    """
_OVERLAP_ADD = """
    def overlap_add(frames, window, hop_length, length):
        n_fft = len(window)
        n_samples = (len(frames) - 1) * hop_length + n_fft
        total, weight = torch.zeros(n_samples), torch.zeros(n_samples)
        for index, frame in enumerate(frames):
            here = slice(index * hop_length, index * hop_length + n_fft)
            total[here] += window * frame
            weight[here] += window * window
        first = n_fft // 2
        result = total / weight.clamp_min(1e-8)
        return result[first : first + length]
    """
_BREAKING_HOP = """
    def breaking_hop(window, tolerance):
        for hop_length in range(1, len(window) + 1):
            total = torch.zeros(hop_length)
            for index, value in enumerate(window):
                total[index % hop_length] += value
            if total.max() - total.min() > tolerance * total.mean():
                return hop_length
    """

_QUIZ = (
    Question(
        "You double `n_fft` and keep the ratio of hop and window. What happens?",
        {
            "Both resolutions get better.": "what frequency gains, time loses.",
            "Frequency gets finer, time gets coarser.": None,
            "Time gets finer, frequency gets coarser.": "it is the other way round.",
        },
    ),
    Question(
        "Which pair of window and hop has **no** inverse?",
        {
            "Hann 1024, hop 256": "four windows lie over every sample.",
            "Hann 1024, hop 700": "the windows still touch every sample, if unevenly.",
            "Hann 1024, hop 1024": None,
        },
    ),
    Question(
        "Random phase leaves drums that sound smeared. Why?",
        {
            "The magnitudes of a click tell no frequency.": "they tell it well enough.",
            "A click is where the phases of many bins agree.": None,
            "The inverse needs a longer window.": "it is exact with every window.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="stft.frame_count",
        notebook="02",
        question="""
            Write `frame_count(n_samples, n_fft, hop_length, centered)`. If `centered`,
            frame m has its middle on sample m · hop_length, from the first sample to
            the last that a middle can fall on or before. If not, frame m begins there,
            and every frame has to lie inside the sound. (The hop is at most a quarter
            of `n_fft`, so the library's extra frame is never needed.)
            """,
        answer="frame_count",
        starter_source="""
            def frame_count(n_samples, n_fft, hop_length, centered):
                return ...  # your code here
            """,
        solution_source=_FRAME_COUNT,
        verify=_verify_frame_count,
        hints=(
            "Count the hops that fit, then add the frame that stands at the start.",
            "Without centering the last frame begins at `n_samples - n_fft` at most.",
        ),
        noticed="A centered STFT has a frame for every sound, however short.",
        wrong_answers=(
            (_FRAME_COUNT.replace("+ 1", ""), "hop 1024 should be 44, not 43"),
            (_FRAME_COUNT.replace("n_samples //", "-1 - -n_samples //"), "5, not 4"),
            (_FRAME_COUNT.replace("(n_samples - n_fft)", "n_samples"), "inside 44100"),
            (_FRAME_COUNT.replace("return 0", "return 1"), "should be 0, not 1"),
            (_FRAME_COUNT.replace("//", "/"), "should be 44, not 44.06"),
        ),
    ),
    Exercise(
        id="stft.overlap_add",
        notebook="02",
        question="""
            Write `overlap_add(frames, window, hop_length, length)`: the last step of
            the inverse. `frames` (frames, n_fft) were windowed once, by `window`, and
            frame m begins n_fft // 2 samples before sample m · hop_length. Window each
            frame a second time, add all up, divide by the summed squared window, and
            return the `length` samples of the sound.
            """,
        answer="overlap_add",
        starter_source="""
            def overlap_add(frames, window, hop_length, length):
                return ...  # your code here
            """,
        solution_source=_OVERLAP_ADD,
        verify=_verify_overlap_add,
        hints=(
            "`total` and `weight` need `(len(frames) - 1) * hop_length + n_fft` zeros.",
            "In a loop, add `window * frame` to one, `window * window` to the other.",
            "Divide (`clamp_min` saves the edges), drop n_fft // 2 samples in front.",
        ),
        noticed="It works with every hop that leaves no sample without weight.",
        wrong_answers=(
            (_OVERLAP_ADD.replace("+= window * frame", "+= frame"), "every sample"),
            (_OVERLAP_ADD.replace("total / weight.clamp_min(1e-8)", "total"), "divide"),
            (_OVERLAP_ADD.replace("window * window", "window"), "every sample"),
            (_OVERLAP_ADD.replace("first = n_fft // 2", "first = 0"), "drop them"),
            (_OVERLAP_ADD.replace("[first : first + length]", ""), "the shape (1000,)"),
        ),
    ),
    Exercise(
        id="stft.breaking_hop",
        notebook="02",
        question="""
            Overlapping windows add up to a constant, if the hop is small enough. Write
            `breaking_hop(window, tolerance)`: the smallest hop at which the sum varies,
            from its lowest to its highest value, by more than `tolerance` times its
            mean. Look at the middle of a long sound, where the sum repeats with every
            hop.
            """,
        answer="breaking_hop",
        starter_source="""
            def breaking_hop(window, tolerance):
                return ...  # your code here
            """,
        solution_source=_BREAKING_HOP,
        verify=_verify_breaking_hop,
        hints=(
            "Sample n gets the window's values at n, n + hop, n + 2 · hop and so on.",
            "Fold the window to one hop: `total[index % hop_length] += value`.",
        ),
        noticed="The window of ones breaks first: smooth edges forgive an odd hop.",
        wrong_answers=(
            (_BREAKING_HOP.replace("+= value", "+= value**2"), "at hop 14, not 18"),
            (_BREAKING_HOP.replace("* total.mean()", ""), "14, not 10"),
            (_BREAKING_HOP.replace("return hop_length", "return hop_length - 1"), "13"),
        ),
    ),
    make_quiz("stft.quiz", "02", _QUIZ),
)
