"""Exercises on scores: the new SDR, a score without gain, from frames to one number."""

import math
import random

import torch
from torch import Tensor

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.metrics.ratios import nsdr, si_sdr


def _pair() -> tuple[Tensor, Tensor]:
    """Three stems, (3, 2, 400); the last one is silent, but its estimate is not."""
    reference, error = expect.noise(2, 3, 2, 400)
    reference[:, 1] *= 0.2  # channels that count differently
    reference[2] = 0
    return reference, 0.6 * reference + 0.1 * error


def new_sdr(reference, estimate):
    """Write `new_sdr(reference, estimate)` for (stems, channels, samples). Its score of
    a stem is 10 log10((Σ s² + 1e-7) / (Σ (s - ŝ)² + 1e-7)), where the sums are over
    channels and samples.
    """
    signal = reference.square().sum((-2, -1))
    error = (reference - estimate).square().sum((-2, -1))
    return 10 * torch.log10((signal + 1e-7) / (error + 1e-7))


@checks(
    new_sdr,
    hints=(
        "`x.square().sum((-2, -1))` is the energy of each stem.",
        "Add 1e-7 to both energies, divide, and take 10 · `torch.log10`.",
    ),
    noticed="For a silent stem, any leak makes the score very low: 1e-7 / leak.",
    wrong=(
        ("(signal + 1e-7)", "signal", "finite values"),
        ("(error + 1e-7)", "error", "below as well"),
        ("sum((-2, -1))", "mean((-2, -1))", "add 1e-7 above"),
        ("10 * ", "20 * ", "then take 10 log10"),
        ("torch.log10", "torch.log", "then take 10 log10"),
        ("(-2, -1)", "-1", "shape (3,), not (3, 2)"),
    ),
)
def _verify_nsdr(answer) -> None:
    reference, estimate = _pair()
    scores = answer(reference, estimate)
    expect.tensor(scores, (3,), "the scores of three stems, one of them silent,")
    wanted = nsdr(reference=reference, estimate=estimate)
    text = "sum over channels and samples, then take 10 log10 of the ratio: stem 0 "
    text += f"should score {wanted[0]:.2f} dB, not {scores[0]:.2f}."
    expect.close(scores[:2], wanted[:2], text, tolerance=1e-3)
    text = f"the silent stem should score {wanted[2]:.1f} dB, not {scores[2]:.1f}: add "
    expect.close(scores[2], wanted[2], text + "1e-7 above.", tolerance=1e-2)
    text = "a perfect estimate should have a finite score: add 1e-7 below as well."
    perfect = answer(reference, reference)
    expect.that(torch.isfinite(perfect).all(), text)
    expect.close(perfect[2], 0.0, "a silent estimate of silence should score 0 dB.")


def scale_invariant(reference, estimate):
    """Write `scale_invariant(reference, estimate)` for (stems, channels, samples). It
    returns the si_sdr of each stem in dB. α = ⟨s, ŝ⟩ / ‖s‖² is one number for both
    channels of a stem. No stem is silent.
    """
    energy = reference.square().sum((-2, -1), keepdim=True)
    scale = (reference * estimate).sum((-2, -1), keepdim=True) / energy
    target = scale * reference
    error = (target - estimate).square().sum((-2, -1))
    return 10 * torch.log10(target.square().sum((-2, -1)) / error)


@checks(
    scale_invariant,
    hints=(
        "⟨s, ŝ⟩ is `(reference * estimate).sum((-2, -1), keepdim=True)`.",
        "The target is α times the reference; divide its energy by the error's.",
    ),
    noticed="A gain that differs between channels still counts as an error.",
    wrong=(
        ("scale * reference", "reference", "scale first"),
        ("(-2, -1), keep", "-1, keep", "one α for both"),
        ("target.square()", "reference.square()", "scale first"),
        ("/ energy", "/ energy.sqrt()", "one α for both"),
    ),
)
def _verify_si_sdr(answer) -> None:
    reference, estimate = (part[:2] for part in _pair())
    scores = answer(reference, estimate)
    expect.tensor(scores, (2,), "the scores of two stems")
    again = answer(reference, 0.25 * estimate)
    text = f"with a quarter of the gain stem 0 scores {again[0]:.2f}, not "
    text += f"{scores[0]:.2f} dB: scale first."
    expect.close(again, scores, text, tolerance=1e-3)
    wanted = si_sdr(reference=reference, estimate=estimate)
    text = "scale the reference, with one α for both channels: stem 0 should "
    text += f"score {wanted[0]:.2f} dB, not {scores[0]:.2f}."
    expect.close(scores, wanted, text, tolerance=1e-3)


def aggregate(tracks):
    """`tracks` is a list with one tensor (stems, frames) of SDRs for each song. Songs
    have different numbers of frames, and a frame in which the stem is silent has the
    score NaN. Write `aggregate(tracks)`. It returns two tensors with one value for each
    stem: the median over songs of the median over frames, and the number of songs in
    which the stem is present.
    """
    medians = torch.stack([f.nanquantile(0.5, dim=1) for f in tracks])
    counts = medians.isfinite().sum(0)
    return medians.nanquantile(0.5, dim=0), counts


def _track(draw: random.Random, n_silent: int) -> Tensor:
    """Scores of two stems in five frames; the first stem is silent in some of them."""
    scores = torch.tensor([[draw.gauss(5, 4) for _ in range(5)] for _ in range(2)])
    scores[0, :n_silent] = math.nan
    return scores


@checks(
    aggregate,
    hints=(
        "`frames.nanquantile(0.5, dim=1)` leaves the values NaN out.",
        "Stack the medians of all songs; a stem that is absent is still NaN there.",
    ),
    noticed="Report the count too: the median of two songs says little.",
    wrong=(
        ("nanquantile", "quantile", "finite values"),
        ("nanquantile(0.5, dim=0)", "nanmedian(dim=0).values", "the lower of two"),
        ("f.nan", "f.nan_to_num().nan", "is not a zero"),
        ("nanquantile(0.5, dim=1)", "nanmean(1)", "medians"),
        (
            "aggregate = lambda f: (torch.cat(f, 1).nanquantile(0.5, 1), 0)",
            "each track",
        ),
        ("medians.isfinite().sum(0)", "[len(tracks)] * 2", "in 2 tracks, not 3"),
        ("dim=0), counts", "dim=0)", "shape (2,)"),
    ),
    varied=lambda draw: ([_track(draw, n) for n in (2, 5, 5, draw.randint(0, 5))],),
)
def _verify_aggregate(answer) -> None:
    nan = math.nan
    tracks = [
        torch.tensor([[1.0, 2.0, 9.0, nan], [4.0, 6.0, nan, nan]]),
        torch.tensor([[5.0, 7.0], [nan, nan]]),
        torch.tensor([[0.0, 3.0, 3.5, 40.0, 50.0], [1.0, 2.0, 3.0, 8.0, 9.0]]),
    ]
    result = answer(tracks)
    text = f"return two tensors, medians and counts, not {result}."
    medians, counts = expect.items(result, 2, text)
    expect.tensor(medians, (2,), "the medians of two stems")
    reasons = {
        "nanmedian takes the lower of two middle values: use nanquantile(0.5).": 3.0,
        "A NaN is not a zero: leave it out.": 2.0,
        "Take the median of each track first, then that of the tracks.": 4.25,
    }
    for stem, wanted in enumerate((3.5, 4.0)):
        text = f"stem {stem} should score {wanted} dB, not {float(medians[stem]):.2f}: "
        text += "the median of medians, without NaN."
        expect.close(medians[stem], wanted, text, mistakes=reasons)
    expect.that(len(counts) == 2, "count the tracks of two stems.")
    for stem, wanted in enumerate((3, 2)):
        count = expect.number(counts[stem], f"the count of stem {stem}")
        text = f"stem {stem} is present in {wanted} tracks, not {int(count)}."
        expect.close(count, wanted, text)
