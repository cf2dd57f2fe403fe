"""Exercises on masks: ratio, phase-sensitive, sharing out, binary against soft."""

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
from mssedu.masks import ideal_ratio_mask, phase_sensitive_mask, soft_masks

_SHAPE = (3, 2, 5, 4)  # stems, channels, bins, frames
_STUB = "    return ...  # your code here"


def _spectrograms() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_SHAPE, dtype=torch.complex64, generator=generator)


def _verify_ratio(ratio_mask) -> None:
    sources = _spectrograms()
    for exponent in (1.0, 2.0):
        mask = ratio_mask(sources, exponent)
        expect_tensor(mask, _SHAPE, "the mask")
        expect(not mask.is_complex(), "the mask should be real: use magnitudes.")
        total = mask.sum(0)
        text = f"the masks should sum to 1 over the stems (exponent {exponent:g})."
        expect_close(total, torch.ones_like(total), text)
        wanted = ideal_ratio_mask(sources, exponent)
        text = f"a stem should get its share of |S|^{exponent:g}, the exponent's power."
        expect_close(mask, wanted, text)
    sources[:, 0, 0, 0] = 0
    expect_tensor(ratio_mask(sources, 2.0), _SHAPE, "the mask of a silent bin")


def _verify_phase_sensitive(phase_sensitive) -> None:
    sources = _spectrograms()
    mixture = sources.sum(0)
    mask = phase_sensitive(sources, mixture)
    expect_tensor(mask, _SHAPE, "the mask")
    expect(not mask.is_complex(), "the mask should be real: take the real part.")
    low, high = float(mask.min()), float(mask.max())
    text = f"the mask should lie in 0 … 1, not in {low:.2f} … {high:.2f}."
    expect(low >= 0 and high <= 1, text)
    wanted = phase_sensitive_mask(sources, mixture)
    text = "each bin should be |S| / |X| · cos(angle between S and X), cut to 0 … 1."
    expect_close(mask, wanted, text, tolerance=1e-4)


def _verify_share_out(share_out) -> None:
    generator = torch.Generator().manual_seed(1)
    magnitudes = torch.rand(_SHAPE, generator=generator)
    magnitudes[:, 0, 0, 0] = 0
    mixture = _spectrograms().sum(0)
    estimates = share_out(magnitudes, mixture)
    expect_tensor(estimates, _SHAPE, "the estimates")
    expect(estimates.is_complex(), "the estimates should be complex, like the mixture.")
    total, whole = torch.view_as_real(estimates.sum(0)), torch.view_as_real(mixture)
    text = "the estimates should add up to the mixture, also where a model is silent."
    expect_close(total, whole, text)
    wanted = soft_masks(magnitudes, 1.0) * mixture
    text = "each stem should get its share of the magnitudes, with the mixture's phase."
    expect_close(torch.view_as_real(estimates), torch.view_as_real(wanted), text)


def _verify_crossing(crossing) -> None:
    expect_number(crossing, "crossing")
    ratio = float(crossing)
    expect(0 < ratio < 1, f"crossing should lie between 0 and 1, not at {ratio:g}.")
    binary, soft = ratio**2, 2 * ratio**2 / (1 + ratio) ** 2
    better = "binary" if binary < soft else "amplitude ratio"
    text = f"at {ratio:g} the {better} mask is still better: {binary:.4f}, {soft:.4f}."
    expect(abs(ratio - (2**0.5 - 1)) < 0.005, text)


_RATIO = """
    def ratio_mask(sources, exponent):
        power = sources.abs() ** exponent
        return power / power.sum(0).clamp_min(1e-12)
    """
_PHASE_SENSITIVE = """
    def phase_sensitive(sources, mixture):
        angle = sources.angle() - mixture.angle()
        ratio = sources.abs() / mixture.abs().clamp_min(1e-12)
        return (ratio * torch.cos(angle)).clamp(0, 1)
    """
_SHARE_OUT = """
    def share_out(magnitudes, mixture):
        total = magnitudes.sum(0)
        equal = torch.full_like(magnitudes, 1 / len(magnitudes))
        mask = torch.where(total > 0, magnitudes / total, equal)
        return mask * mixture
    """

_QUIZ = (
    Question(
        "The ideal binary mask scores 9 dB on a stem. What does that tell?",
        {
            "No separator can score more.": "the bound is on binary masks alone.",
            "In no song a binary mask scores more.": "it was measured on one song.",
            "Masks of this kind can do that well here, if they know the answer.": None,
        },
    ),
    Question(
        "Why does the phase-sensitive mask turn a bin down where phases disagree?",
        {
            "Less of a wrongly directed number is nearer to the truth.": None,
            "It corrects the phase.": "it is real, so the phase stays the mixture's.",
            "To make the masks sum to one.": "once cut to 0 … 1 they do not.",
        },
    ),
    Question(
        "On drums the mixture scores -10 dB, silence 0 dB. Which is right?",
        {
            "A model with -3 dB separates a little.": "silence alone does better.",
            "The mixture is a worse estimate of the drums than nothing.": None,
            "The score is wrong.": "the error of silence is the stem itself: 0 dB.",
        },
    ),
)

EXERCISES = (
    Exercise(
        id="masks.ratio",
        notebook="03",
        question="""
            Write `ratio_mask(sources, exponent)`: the ideal ratio mask. `sources` are
            complex spectrograms (stems, channels, bins, frames). The share of a stem in
            a bin is its magnitude to the power `exponent`, over the sum of all stems.
            A bin where all are silent must not become NaN.
            """,
        answer="ratio_mask",
        starter_source="def ratio_mask(sources, exponent):\n" + _STUB,
        solution_source=_RATIO,
        verify=_verify_ratio,
        hints=(
            "`sources.abs() ** exponent` is the power of each stem.",
            "Divide by its sum over the stem axis; `clamp_min(1e-12)` prevents 0 / 0.",
        ),
        noticed="Exponent 2, the Wiener filter, is best if the angles are random.",
        wrong_answers=(
            (_RATIO.replace("** exponent", ""), "the exponent's power"),
            (
                _RATIO.replace("sum(0)", "sum(1, keepdim=True)"),
                "sum to 1 over the stems",
            ),
            (_RATIO.replace(".clamp_min(1e-12)", ""), "finite values"),
            (_RATIO.replace("power.sum(0)", "(sources.sum(0).abs())"), "sum to 1"),
        ),
    ),
    Exercise(
        id="masks.phase_sensitive",
        notebook="03",
        question="""
            Write `phase_sensitive(sources, mixture)`: |S| / |X| · cos(θ), cut to
            0 … 1. θ is the angle between the stem S (stems, channels, bins, frames) and
            the mixture X (channels, bins, frames), both complex.
            """,
        answer="phase_sensitive",
        starter_source="def phase_sensitive(sources, mixture):\n" + _STUB,
        solution_source=_PHASE_SENSITIVE,
        verify=_verify_phase_sensitive,
        hints=(
            "`sources.angle() - mixture.angle()` is θ. Cut with `.clamp(0, 1)`.",
            "Without angles: the real part of `sources / mixture` is the same thing.",
        ),
        noticed="Where stem and mixture point in opposite directions, it is zero.",
        wrong_answers=(
            (_PHASE_SENSITIVE.replace(".clamp(0, 1)", ""), "lie in 0 … 1, not in"),
            (_PHASE_SENSITIVE.replace(" * torch.cos(angle)", ""), "cos(angle"),
            (_PHASE_SENSITIVE.replace("- mixture.angle()", ""), "cos(angle"),
            (
                _PHASE_SENSITIVE.replace(".clamp(0, 1)", ".abs().clamp(0, 1)"),
                "cos(angle",
            ),
        ),
    ),
    Exercise(
        id="masks.share_out",
        notebook="03",
        question="""
            Three models have each guessed the magnitude of one stem. Their guesses do
            not add up. Write `share_out(magnitudes, mixture)`: complex estimates
            (stems, channels, bins, frames) that do. Each stem gets its share of the
            guesses (exponent 1) of the complex `mixture`; where all guesses are zero,
            the shares are equal.
            """,
        answer="share_out",
        starter_source="def share_out(magnitudes, mixture):\n" + _STUB,
        solution_source=_SHARE_OUT,
        verify=_verify_share_out,
        hints=(
            "First make masks that sum to 1, then multiply by the mixture.",
            "`torch.where(total > 0, magnitudes / total, equal)` chooses bin by bin.",
        ),
        noticed="Masks that sum to one lose nothing of the mixture.",
        wrong_answers=(
            (_SHARE_OUT.replace("mask *", "magnitudes *"), "add up"),
            (_SHARE_OUT.replace(", equal)", ", 0 * equal)"), "model is silent"),
            (_SHARE_OUT.replace("* mixture", "* mixture.abs()"), "be complex"),
            (_SHARE_OUT.replace("mask *", "equal *"), "of the magnitudes"),
        ),
    ),
    Exercise(
        id="masks.crossing",
        notebook="03",
        question="""
            Two stems meet in a bin, one r times as loud as the other (r < 1), at an
            unknown angle. The mean squared error of the binary mask is r², that of the
            amplitude ratio mask 2r² / (1 + r)². At which r, to two decimals, are both
            equally good? Below it, binary wins.
            """,
        answer="crossing",
        starter_source="crossing = ...",
        solution_source="crossing = 2**0.5 - 1",
        verify=_verify_crossing,
        hints=("Set both equal and divide by r².", "(1 + r)² = 2. Take the root."),
        noticed="That is -7.7 dB: in most bins of music one stem leads by more.",
        wrong_answers=(
            ("crossing = 0.5", "at 0.5 the amplitude ratio mask is still better"),
            ("crossing = 0.3", "at 0.3 the binary mask is still better"),
            ("crossing = 2**0.5", "between 0 and 1"),
            ("crossing = (2**0.5 - 1) ** 2", "the binary mask is still better"),
            ('crossing = "0.41"', "should be one number, not str"),
        ),
    ),
    make_quiz("masks.quiz", "03", _QUIZ),
)
