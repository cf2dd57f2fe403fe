"""Exercises on masks: exponents, a limit, estimates that add up, binary or soft."""

import torch
from torch import Tensor

from mssedu.course.exercises import expect
from mssedu.course.exercises.kinds import checks
from mssedu.masks import soft_masks

_SHAPE = (3, 2, 5, 4)  # stems, channels, bins, frames


def _sources() -> Tensor:
    """Complex spectrograms of three stems; in one bin all stems are silent."""
    sources = expect.noise(*_SHAPE, dtype=torch.complex64)
    sources[:, 0, 1, 1] = 0
    return sources


def ratio_mask(sources, exponents):
    """Write `ratio_mask(sources, exponents)`, a ratio mask with an exponent for each
    stem. `sources` are complex spectrograms (stems, channels, bins, frames), and
    `exponents` (stems,) has one number per stem. The mask of a stem in a bin is its
    magnitude to the power of *its* exponent, divided by the sum of these powers over
    all stems. A bin in which all stems are silent must not become NaN.
    """
    power = sources.abs() ** exponents[:, None, None, None]
    return power / power.sum(0).clamp_min(1e-12)


@checks(
    ratio_mask,
    hints=(
        "`exponents[:, None, None, None]` has the shape (stems, 1, 1, 1).",
        "Divide the powers by their sum over the stem axis; `clamp_min(1e-12)` avoids "
        "0 / 0.",
    ),
    noticed="With the exponent 2 for all stems, this is the Wiener filter.",
    wrong=(
        (" ** exponents[:, None, None, None]", "", "with its own exponent"),
        ("exponents[:, None, None, None]", "exponents[0]", "with its own exponent"),
        ("exponents[:, None, None, None]", "2", "with its own exponent"),
        ("sum(0)", "sum(1, keepdim=True)", "sum to 1 over the stems"),
        (".clamp_min(1e-12)", "", "finite values"),
        ("power.sum(0)", "(sources.sum(0).abs())", "sum to 1"),
    ),
)
def _verify_ratio(answer) -> None:
    sources = _sources()
    silent = sources.abs().sum(0) == 0
    for numbers in ([1.0, 1.0, 1.0], [2.0, 1.0, 0.5], [0.7, 2.0, 1.3]):
        exponents = torch.tensor(numbers)
        mask = expect.tensor(answer(sources, exponents), _SHAPE, "the mask")
        expect.that(not mask.is_complex(), "the mask should be real: use magnitudes.")
        text = f"the masks should sum to 1 over the stems (exponents {numbers})."
        expect.close(mask.sum(0)[~silent], 1.0, text)
        wanted = ratio_mask(sources, exponents)[:, ~silent]
        text = f"each stem counts with its own exponent (exponents {numbers})."
        expect.close(mask[:, ~silent], wanted, text)


def limited_mask(sources, mixture, highest):
    """Write `limited_mask(sources, mixture, highest)`, the mask |S| / |X| · cos(θ),
    clamped to 0 … `highest`. θ is the angle between the stem S (stems, channels, bins,
    frames) and the mixture X (channels, bins, frames), both complex. Where the mixture
    is zero, the mask is zero.
    """
    angle = sources.angle() - mixture.angle()
    ratio = sources.abs() / mixture.abs() * torch.cos(angle)
    silent = mixture.abs() == 0
    return torch.where(silent, 0.0, ratio).clamp(0, highest)


@checks(
    limited_mask,
    hints=(
        "`sources.angle() - mixture.angle()` is θ; `.clamp(0, highest)` comes last.",
        "Without angles: the real part of `sources / mixture` is the same number. It "
        "is not finite where the mixture is zero: `torch.where` chooses bin by bin.",
    ),
    noticed="Above 1 the mask restores a stem that another one cancels in part.",
    wrong=(
        (".clamp(0, highest)", "", "be in 0 … 1, not in"),
        (" * torch.cos(angle)", "", "cos(angle"),
        ("- mixture.angle()", "", "cos(angle"),
        (".clamp(0, highest)", ".abs().clamp(0, highest)", "cos(angle"),
        ("clamp(0, highest)", "clamp(0, 1)", "clamped to 0 … 2.5"),
        ("torch.where(silent, 0.0, ratio)", "ratio", "finite values"),
        ("torch.where(silent, 0.0, ratio)", "ratio.nan_to_num(0)", "where the mixture"),
        (
            "limited_mask = lambda s, x, top: (s / x).real.clamp(0, top)",
            "the mask should have finite values",
        ),
    ),
)
def _verify_phase_sensitive(answer) -> None:
    sources = _sources()
    sources[:, 1, 2, 3] = torch.tensor([1, -1, 0])  # two stems that cancel
    mixture = sources.sum(0)
    heard = mixture.abs() > 0
    for highest in (1.0, 2.5):
        result = answer(sources, mixture, highest)
        mask = expect.tensor(result, _SHAPE, "the mask")
        text = "the mask should be real: take the real part."
        expect.that(not mask.is_complex(), text)
        low, high = float(mask.min()), float(mask.max())
        text = f"the mask should be in 0 … {highest:g}, not in {low:.2f} … {high:.2f}."
        expect.that(low >= 0 and high <= highest, text)
        wanted = (sources / mixture).real[:, heard].clamp(0, highest)
        text = "each bin should be |S| / |X| · cos(angle between S and X), clamped to "
        text += f"0 … {highest:g}."
        expect.close(mask[:, heard], wanted, text, tolerance=1e-4)
        text = "where the mixture is zero, the mask should be zero."
        expect.close(mask[:, ~heard], 0.0, text)


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
    magnitudes, mixture = expect.noise(*_SHAPE, seed=1).abs(), _sources().sum(0)
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
