"""Exercises on masks: ratio, phase-sensitive, estimates that add up, binary or soft."""

import torch

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.masks import ideal_ratio_mask, phase_sensitive_mask, soft_masks

_SHAPE = (3, 2, 5, 4)  # stems, channels, bins, frames
_SOURCES = expect.noise(*_SHAPE, dtype=torch.complex64)


def ratio_mask(sources, exponent):
    """Write `ratio_mask(sources, exponent)`, the ideal ratio mask. `sources` are
    complex spectrograms (stems, channels, bins, frames). The mask of a stem in a bin is
    its magnitude to the power `exponent`, divided by the sum of this over all stems. A
    bin in which all stems are silent must not become NaN.
    """
    power = sources.abs() ** exponent
    return power / power.sum(0).clamp_min(1e-12)


@checks(
    ratio_mask,
    hints=(
        "`sources.abs() ** exponent` is the power of each stem.",
        "Divide by its sum over the stem axis; `clamp_min(1e-12)` avoids 0 / 0.",
    ),
    noticed="Exponent 2, the Wiener filter, is the best one if angles are random.",
    wrong=(
        ("** exponent", "", "share of |S|^2"),
        ("sum(0)", "sum(1, keepdim=True)", "sum to 1 over the stems"),
        (".clamp_min(1e-12)", "", "finite values"),
        ("power.sum(0)", "(sources.sum(0).abs())", "sum to 1"),
    ),
)
def _verify_ratio(answer) -> None:
    for exponent in (1.0, 2.0):
        mask = expect.tensor(answer(_SOURCES, exponent), _SHAPE, "the mask")
        expect.that(not mask.is_complex(), "the mask should be real: use magnitudes.")
        text = f"the masks should sum to 1 over the stems (exponent {exponent:g})."
        expect.close(mask.sum(0), torch.ones(_SHAPE[1:]), text)
        text = f"the mask of a stem should be its share of |S|^{exponent:g}."
        expect.close(mask, ideal_ratio_mask(_SOURCES, exponent), text)
    expect.tensor(answer(0 * _SOURCES, 2.0), _SHAPE, "the mask of a silent bin")


def phase_sensitive(sources, mixture):
    """Write `phase_sensitive(sources, mixture)`, the mask |S| / |X| · cos(θ), clamped
    to 0 … 1. θ is the angle between the stem S (stems, channels, bins, frames) and the
    mixture X (channels, bins, frames), both complex.
    """
    angle = sources.angle() - mixture.angle()
    ratio = sources.abs() / mixture.abs().clamp_min(1e-12)
    return (ratio * torch.cos(angle)).clamp(0, 1)


@checks(
    phase_sensitive,
    hints=(
        "`sources.angle() - mixture.angle()` is θ. Use `.clamp(0, 1)` at the end.",
        "Without angles: the real part of `sources / mixture` is the same number.",
    ),
    noticed="Where stem and mixture have opposite signs, the mask is zero.",
    wrong=(
        (".clamp(0, 1)", "", "be in 0 … 1, not in"),
        (" * torch.cos(angle)", "", "cos(angle"),
        ("- mixture.angle()", "", "cos(angle"),
        (".clamp(0, 1)", ".abs().clamp(0, 1)", "cos(angle"),
    ),
)
def _verify_phase_sensitive(answer) -> None:
    mixture = _SOURCES.sum(0)
    mask = expect.tensor(answer(_SOURCES, mixture), _SHAPE, "the mask")
    expect.that(not mask.is_complex(), "the mask should be real: take the real part.")
    low, high = float(mask.min()), float(mask.max())
    text = f"the mask should be in 0 … 1, not in {low:.2f} … {high:.2f}."
    expect.that(low >= 0 and high <= 1, text)
    wanted = phase_sensitive_mask(_SOURCES, mixture)
    text = "each bin should be |S| / |X| · cos(angle between S and X), clamped to 0 … 1"
    expect.close(mask, wanted, f"{text}.", tolerance=1e-4)


def share_out(magnitudes, mixture):
    """Each of three models has estimated the magnitude of one stem. These magnitudes do
    not add up to the mixture. Write `share_out(magnitudes, mixture)`. It returns
    complex estimates (stems, channels, bins, frames) that do: multiply the complex
    `mixture` by the share of each stem in the magnitudes (exponent 1). Where all
    magnitudes are zero, the shares are equal.
    """
    total = magnitudes.sum(0)
    equal = torch.full_like(magnitudes, 1 / len(magnitudes))
    mask = torch.where(total > 0, magnitudes / total, equal)
    return mask * mixture


@checks(
    share_out,
    hints=(
        "First make masks that sum to 1, then multiply by the mixture.",
        "`torch.where(total > 0, magnitudes / total, equal)` chooses bin by bin.",
    ),
    noticed="Masks that sum to one keep the whole mixture.",
    wrong=(
        ("mask *", "magnitudes *", "add up"),
        (", equal)", ", 0 * equal)", "all are silent"),
        ("* mixture", "* mixture.abs()", "be complex"),
        ("mask *", "equal *", "of the magnitudes"),
    ),
)
def _verify_share_out(answer) -> None:
    magnitudes, mixture = expect.noise(*_SHAPE, seed=1).abs(), _SOURCES.sum(0)
    magnitudes[:, 0, 0, 0] = 0
    estimates = expect.tensor(answer(magnitudes, mixture), _SHAPE, "the estimates")
    expect.that(estimates.is_complex(), "the estimates should be complex.")
    text = "the estimates should add up to the mixture, also where all are silent."
    expect.close(estimates.sum(0), mixture, text)
    text = "each stem should be its share of the magnitudes, times the mixture."
    expect.close(estimates, soft_masks(magnitudes, 1.0) * mixture, text)


@checks(
    "crossing = 2**0.5 - 1",
    hints=(
        "Set both errors equal and divide by r².",
        "(1 + r)² = 2. Take the square root.",
    ),
    noticed="That is -7.7 dB: in most bins of music the difference is larger.",
    wrong=(
        ("crossing = 0.5", "at 0.5 the amplitude ratio mask is better"),
        ("crossing = 0.3", "at 0.3 the binary mask is better"),
        ("crossing = 2**0.5", "between 0 and 1"),
        ("crossing = (2**0.5 - 1) ** 2", "the binary mask is better"),
        ('crossing = "0.41"', "should be one number, not str"),
    ),
    question="""
    In one bin, the magnitude of one stem is r times that of the other (r < 1), and the
    angle between them is unknown. The mean squared error of the binary mask is r², and
    that of the amplitude ratio mask is 2r² / (1 + r)². At which r, to two decimals, are
    both equally good? Below it, the binary mask is better.
    """,
    starter="crossing = ...",
)
def _verify_crossing(answer) -> None:
    ratio = expect.number(answer, "crossing")
    expect.that(0 < ratio < 1, f"crossing should be between 0 and 1, not {ratio:g}.")
    binary, soft = ratio**2, 2 * ratio**2 / (1 + ratio) ** 2
    better = "binary" if binary < soft else "amplitude ratio"
    text = f"at {ratio:g} the {better} mask is better: {binary:.4f}, {soft:.4f}."
    expect.close(ratio, 2**0.5 - 1, text, tolerance=0.005)
