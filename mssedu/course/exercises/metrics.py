"""Exercises on scores: the new SDR, blind to gain, from frames to one number."""

import math

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
from mssedu.metrics.ratios import nsdr, si_sdr

_STUB = "    return ...  # your code here"


def _pair() -> tuple[Tensor, Tensor]:
    """Three stems, the last of them silent but for what leaks, (3, 2, 400) each."""
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(3, 2, 400, generator=generator)
    reference[:, 1] *= 0.2  # channels that count differently
    reference[2] = 0
    error = torch.randn(reference.shape, generator=generator)
    return reference, 0.6 * reference + 0.1 * error


def _verify_nsdr(new_sdr) -> None:
    reference, estimate = _pair()
    scores = new_sdr(reference, estimate)
    expect_tensor(scores, (3,), "the scores of three stems, one of them silent,")
    wanted = nsdr(reference=reference, estimate=estimate)
    apart = bool((scores[:2] - wanted[:2]).abs().max() > 1e-3)
    text = "sum over channels and samples, then 10 log10 of signal over error: stem 0 "
    text += f"should score {wanted[0]:.2f} dB, not {scores[0]:.2f}."
    expect(not apart, text)
    text = f"the silent stem should score {wanted[2]:.1f} dB, not {scores[2]:.1f}: add "
    expect_close(scores[2], wanted[2], text + "1e-7 above.", tolerance=1e-2)
    text = "a perfect estimate should have a finite score: add 1e-7 below as well."
    perfect = new_sdr(reference, reference)
    expect(bool(torch.isfinite(perfect).all()), text)
    expect_close(perfect[2], 0.0, "silence for silence should score 0 dB.")


def _verify_si_sdr(scale_invariant) -> None:
    reference, estimate = (part[:2] for part in _pair())
    scores = scale_invariant(reference, estimate)
    expect_tensor(scores, (2,), "the scores of two stems")
    again = scale_invariant(reference, 0.25 * estimate)
    text = (
        f"at a quarter of the volume stem 0 scores {again[0]:.2f}, not {scores[0]:.2f}"
    )
    expect_close(again, scores, text + " dB: scale first.", tolerance=1e-3)
    wanted = si_sdr(reference=reference, estimate=estimate)
    text = "one scale for both channels of a stem, put on the reference: stem 0 should "
    text += f"score {wanted[0]:.2f} dB, not {scores[0]:.2f}."
    expect_close(scores, wanted, text, tolerance=1e-3)


def _verify_aggregate(aggregate) -> None:
    none = math.nan
    tracks = [
        torch.tensor([[1.0, 2.0, 9.0, none], [4.0, 6.0, none, none]]),
        torch.tensor([[5.0, 7.0], [none, none]]),
        torch.tensor([[0.0, 3.0, 3.5, 40.0, 50.0], [1.0, 2.0, 3.0, 8.0, 9.0]]),
    ]
    result = aggregate(tracks)
    pair = isinstance(result, tuple | list) and len(result) == 2
    expect(pair, f"return two things, medians and counts, not {result}.")
    medians, counts = result
    expect_tensor(medians, (2,), "the medians of two stems")
    for stem, wanted in enumerate((3.5, 4.0)):
        text = f"stem {stem} should come to {wanted} dB, not {float(medians[stem]):.2f}"
        expect_close(medians[stem], wanted, text + _why(float(medians[stem])))
    expect(len(counts) == 2, "count the tracks of two stems.")
    for stem, wanted in enumerate((3, 2)):
        expect_number(counts[stem], f"the count of stem {stem}")
        text = f"stem {stem} sounds in {wanted} tracks, not in {int(counts[stem])}."
        expect_close(counts[stem], wanted, text)


def _why(got: float) -> str:
    reasons = {
        3.0: ": torch.nanmedian takes the lower of two middle values, the median lies "
        "halfway. Use nanquantile(0.5).",
        2.0: ": a NaN is no zero. Leave it out.",
        4.25: ": first the median of each track, then of the tracks.",
    }
    return reasons.get(round(got, 2), ": the median of medians, without NaN.")


_NSDR = """
    def new_sdr(reference, estimate):
        signal = reference.square().sum((-2, -1))
        error = (reference - estimate).square().sum((-2, -1))
        return 10 * torch.log10((signal + 1e-7) / (error + 1e-7))
    """
_SI_SDR = """
    def scale_invariant(reference, estimate):
        energy = reference.square().sum((-2, -1), keepdim=True)
        scale = (reference * estimate).sum((-2, -1), keepdim=True) / energy
        target = scale * reference
        error = (target - estimate).square().sum((-2, -1))
        return 10 * torch.log10(target.square().sum((-2, -1)) / error)
    """
_AGGREGATE = """
    def aggregate(tracks):
        medians = torch.stack([frames.nanquantile(0.5, dim=1) for frames in tracks])
        counts = medians.isfinite().sum(0)
        return medians.nanquantile(0.5, dim=0), counts
    """

_QUIZ = (
    Question(
        "A paper reports 9.0 dB csdr, yours reaches 9.3 dB usdr. Who is better?",
        {
            "You, by 0.3 dB.": "the definitions differ: that can be decibels.",
            "Nobody knows: the definitions differ.": None,
            "The paper: csdr is always lower.": "it may be higher or lower than usdr.",
        },
    ),
    Question(
        "An estimate has 3 dB usdr and 25 dB si_sdr. What do you try first?",
        {
            "Find the gain that is wrong.": None,
            "Take out a delay of a few milliseconds.": "si_sdr would be low as well.",
            "Train longer.": "what is wrong goes away with one factor.",
        },
    ),
    Question(
        "The singer rests for a whole song. What do you report for the vocals?",
        {
            "0 dB.": "that is what an empty estimate scores on a stem that sounds.",
            "nsdr, as it is finite.": "it is, at -76 dB or so, and wrecks the mean.",
            "No ratio, one song left out, and the level of what leaks.": None,
        },
    ),
)

EXERCISES = (
    Exercise(
        id="metrics.nsdr",
        notebook="04",
        question="""
            Write `new_sdr(reference, estimate)` for (stems, channels, samples): for
            each stem 10 log10((Σ s² + 1e-7) / (Σ (s - ŝ)² + 1e-7)), sums over channels
            and samples.
            """,
        answer="new_sdr",
        starter_source="def new_sdr(reference, estimate):\n" + _STUB,
        solution_source=_NSDR,
        verify=_verify_nsdr,
        hints=(
            "`x.square().sum((-2, -1))` is the energy of each stem.",
            "Add 1e-7 to both energies, divide, and take 10 · `torch.log10`.",
        ),
        noticed="On a silent stem the score is 1e-7 over the leak: any leak is a ruin.",
        wrong_answers=(
            (_NSDR.replace("(signal + 1e-7)", "signal"), "finite values"),
            (_NSDR.replace("(error + 1e-7)", "error"), "below as well"),
            (_NSDR.replace("sum((-2, -1))", "mean((-2, -1))"), "add 1e-7 above"),
            (_NSDR.replace("10 * ", "20 * "), "then 10 log10"),
            (_NSDR.replace("torch.log10", "torch.log"), "then 10 log10"),
            (_NSDR.replace("(-2, -1)", "-1"), "shape (3,), not (3, 2)"),
        ),
    ),
    Exercise(
        id="metrics.si_sdr",
        notebook="04",
        question="""
            Write `scale_invariant(reference, estimate)` for (stems, channels, samples):
            the si_sdr of each stem in dB. Its α = ⟨s, ŝ⟩ / ‖s‖² is one number a stem,
            for both channels. No stem is silent.
            """,
        answer="scale_invariant",
        starter_source="def scale_invariant(reference, estimate):\n" + _STUB,
        solution_source=_SI_SDR,
        verify=_verify_si_sdr,
        hints=(
            "⟨s, ŝ⟩ is `(reference * estimate).sum((-2, -1), keepdim=True)`.",
            "The target is α times the reference: its energy over that of the error.",
        ),
        noticed="A gain that differs between channels is an error still.",
        wrong_answers=(
            (_SI_SDR.replace("scale * reference", "reference"), "scale first"),
            (_SI_SDR.replace("(-2, -1), keep", "-1, keep"), "one scale for both"),
            (_SI_SDR.replace("target.square()", "reference.square()"), "scale first"),
            (_SI_SDR.replace("/ energy", "/ energy.sqrt()"), "one scale for both"),
        ),
    ),
    Exercise(
        id="metrics.aggregate",
        notebook="04",
        question="""
            `tracks` is a list with a tensor (stems, frames) of SDRs for each song.
            Songs have different numbers of frames; NaN stands where the stem rests.
            Write `aggregate(tracks)`. It returns two tensors, one value a stem: the
            median over songs of the median over frames, and in how many songs the stem
            sounds at all.
            """,
        answer="aggregate",
        starter_source="def aggregate(tracks):\n" + _STUB,
        solution_source=_AGGREGATE,
        verify=_verify_aggregate,
        hints=(
            "`frames.nanquantile(0.5, dim=1)` is the median of those that are numbers.",
            "Stack the medians of all songs; a stem that never sounds stays NaN there.",
        ),
        noticed="Do tell the count: a median of two songs is no median of fifty.",
        wrong_answers=(
            (_AGGREGATE.replace("nanquantile", "quantile"), "finite values"),
            (
                _AGGREGATE.replace(
                    "nanquantile(0.5, dim=0)", "nanmedian(dim=0).values"
                ),
                "the lower of two middle values",
            ),
            (_AGGREGATE.replace("frames.nan", "frames.nan_to_num().nan"), "is no zero"),
            (_AGGREGATE.replace("nanquantile(0.5, dim=1)", "nanmean(1)"), "medians"),
            (
                """
                def aggregate(tracks):
                    together = torch.cat(tracks, dim=1)
                    return together.nanquantile(0.5, dim=1), torch.tensor([3, 2])
                """,
                "first the median of each track",
            ),
            (
                _AGGREGATE.replace("medians.isfinite().sum(0)", "[len(tracks)] * 2"),
                "stem 1 sounds in 2 tracks, not in 3",
            ),
            (_AGGREGATE.replace(", counts\n", "\n"), "two things"),
        ),
    ),
    make_quiz("metrics.quiz", "04", _QUIZ),
)
