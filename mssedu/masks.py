"""Time-frequency masks: the oracles, which know the answer, and soft masks.

A mask multiplies the mixture's spectrogram bin by bin. The oracles below are made from
the true sources, so they bound what any masking model of the same kind can reach.

    sources (…, stems, channels, bins, frames) ──▶ mask of the same shape, real

Axis -4 is the stem axis everywhere. Notebook: 03.
"""

import torch
from torch import Tensor


def ideal_binary_mask(sources: Tensor) -> Tensor:
    """One where a source is the loudest of all in its bin, zero elsewhere (IBM).

    Args:
        sources: complex spectrograms or magnitudes, (…, stems, channels, bins, frames).

    Returns:
        0 or 1, the same shape; the first of equal sources wins, so the stems sum to 1.

    Source: Wang 2005, "On ideal binary mask as the computational goal of auditory
    scene analysis".
    """
    magnitude = sources.abs()
    winner = magnitude.argmax(dim=-4, keepdim=True)
    return torch.zeros_like(magnitude).scatter_(-4, winner, 1.0)


def soft_masks(magnitude: Tensor, exponent: float = 2.0) -> Tensor:
    """Share of each stem in a bin: magnitude^exponent over its sum across stems.

    Args:
        magnitude: estimated or true magnitudes, (…, stems, channels, bins, frames) ≥ 0.
        exponent: 1 amplitude ratio, 2 power ratio (Wiener-like); the larger, the
            closer to a binary mask.

    Returns:
        0 … 1, the same shape; sums to 1 over stems (equal shares where all are silent).

    Example:
        >>> soft_masks(torch.tensor([3.0, 1.0]).reshape(2, 1, 1, 1), 1.0).flatten()
        tensor([0.7500, 0.2500])

    Source: Liutkus and Badeau 2015, "Generalized Wiener filtering with fractional
    power spectrograms".
    """
    # Dividing by the loudest stem first keeps the power inside the float range.
    loudest = magnitude.amax(dim=-4, keepdim=True)
    power = (magnitude / loudest.clamp_min(torch.finfo(loudest.dtype).tiny)) ** exponent
    total = power.sum(dim=-4, keepdim=True)
    equal = torch.full_like(power, 1.0 / magnitude.shape[-4])
    return torch.where(total > 0, power / total.clamp_min(1e-12), equal)


def ideal_ratio_mask(sources: Tensor, exponent: float = 1.0) -> Tensor:
    """Soft masks of the true magnitudes (IRM); `exponent` 2 gives the power ratio.

    Args:
        sources: complex spectrograms or magnitudes, (…, stems, channels, bins, frames).
        exponent: as in `soft_masks`.

    Returns:
        0 … 1, the same shape; sums to 1 over stems.
    """
    return soft_masks(sources.abs(), exponent)


def phase_sensitive_mask(sources: Tensor, mixture: Tensor) -> Tensor:
    """Real mask that brings mask · mixture as near to each source as a real mask can.

    The projection of the source on the mixture, |S|/|X| · cos(angle between them),
    truncated to 0 … 1 (PSM).

    Args:
        sources: complex, (…, stems, channels, bins, frames).
        mixture: complex, (…, channels, bins, frames).

    Returns:
        0 … 1, shaped like `sources`; zero where the mixture is silent.

    Source: Erdogan, Hershey, Watanabe, Le Roux 2015, "Phase-sensitive and recognition-
    boosted speech separation using deep recurrent neural networks", eq. 8.
    """
    mixture = mixture.unsqueeze(-4)
    power = mixture.abs().square()
    projection = (sources * mixture.conj()).real
    return (projection / power.clamp_min(torch.finfo(power.dtype).tiny)).clamp(0, 1)


def apply_mask(mask: Tensor, mixture: Tensor) -> Tensor:
    """Masked mixture: each stem's mask times the one mixture spectrogram.

    Args:
        mask: (…, stems, channels, bins, frames).
        mixture: complex, (…, channels, bins, frames).

    Returns:
        complex, shaped like `mask`.
    """
    return mask * mixture.unsqueeze(-4)


def wiener(
    magnitude: Tensor,
    mixture: Tensor,
    n_iterations: int = 1,
    *,
    residual: bool = False,
) -> Tensor:
    """Multichannel Wiener filter: sources told apart by loudness and by direction.

    The magnitudes with the mixture's phase are a first estimate, which
    `expectation_maximization` refines.

    Args:
        magnitude: estimated magnitudes, (…, stems, channels, bins, frames) ≥ 0.
        mixture: complex, (…, channels, bins, frames).
        n_iterations: EM steps; 0 gives the first estimate.
        residual: add one more stem, what the first estimates leave of the mixture. With
            a single stem EM needs it, or nothing would compete for the mixture.

    Returns:
        complex, shaped like `magnitude`, or with the residual as one stem more.

    Source: Uhlich et al. 2017, "Improving music source separation based on deep neural
    networks through data augmentation and network blending". The same numbers as the
    function of this name in Open-Unmix (github.com/sigsep/open-unmix-pytorch, MIT),
    except for bins where the mixture is exactly zero: they stay zero here.
    """
    estimate = magnitude * mixture.sgn().unsqueeze(-4)
    if residual:
        rest = mixture.unsqueeze(-4) - estimate.sum(dim=-4, keepdim=True)
        estimate = torch.cat([estimate, rest], dim=-4)
    return expectation_maximization(estimate, mixture, n_iterations)


def expectation_maximization(
    estimate: Tensor, mixture: Tensor, n_iterations: int = 1
) -> Tensor:
    """Refine estimates under the local Gaussian model of Duong et al.

    Each step takes from the estimates their power v in every bin and, for every
    frequency, the covariance R between channels, which tells the direction. Then the
    mixture is shared out anew: source j gets v_j R_j (Σ v R + noise)⁻¹ · mixture.

    Args:
        estimate: complex, (…, stems, channels, bins, frames).
        mixture: complex, (…, channels, bins, frames).
        n_iterations: steps; one or two are the custom.

    Returns:
        complex, shaped like `estimate`; the sources sum to nearly the mixture.

    Source: Nugraha, Liutkus, Vincent 2016, "Multichannel audio source separation with
    deep neural networks", with the weights of Liutkus et al. 2014.
    """
    if n_iterations == 0:
        return estimate
    epsilon = 1e-10
    # Stereo that is nearly mono needs double precision, which Apple's GPUs lack.
    exact = torch.complex64 if mixture.device.type == "mps" else torch.complex128
    # Epsilon is an absolute power, so the loudest bin is brought down to 10 at most.
    loudest = mixture.abs().amax(dim=(-3, -2, -1), keepdim=True)
    scale = (loudest / 10).clamp_min(1.0)
    x = (mixture / scale).to(exact)
    y = (estimate / scale.unsqueeze(-4)).to(exact)
    noise = epsilon**0.5 * torch.eye(x.shape[-3], dtype=exact, device=x.device)
    for _ in range(n_iterations):
        power = y.abs().square().mean(dim=-3)  # (…, stems, bins, frames)
        weight = epsilon + power.sum(dim=-1)  # (…, stems, bins)
        covariance = torch.einsum("...sifm,...sjfm->...sijf", y, y.conj())
        covariance = covariance / weight[..., None, None, :]
        total = torch.einsum("...sfm,...sijf->...ijfm", power.to(exact), covariance)
        whitened = _solve(total + noise[..., None, None], x)
        y = torch.einsum("...sijf,...jfm->...sifm", covariance, whitened)
        y = y * power.unsqueeze(-3)
    return y.to(estimate.dtype) * scale.unsqueeze(-4)


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix⁻¹ · vector for (…, channels, channels, bins, frames), by formula if small.

    The formula is much faster than a general solver for millions of 2 × 2 matrices.
    """
    if vector.shape[-3] == 1:
        return vector / matrix[..., 0, :, :]
    if vector.shape[-3] == 2:
        (a, b), (c, d) = (row.unbind(-3) for row in matrix.unbind(-4))
        left, right = vector.unbind(-3)
        solution = torch.stack([d * left - b * right, a * right - c * left], dim=-3)
        return solution / (a * d - b * c).unsqueeze(-3)
    square = matrix.movedim((-4, -3), (-2, -1))
    return torch.linalg.solve(square, vector.movedim(-3, -1)).movedim(-1, -3)
