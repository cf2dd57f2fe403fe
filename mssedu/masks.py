"""Time-frequency masks: the oracles, which need the true sources, and soft masks.

A mask multiplies the spectrogram of the mixture bin by bin. The oracles below are
computed from the true sources, so they are a bound for every model with masks of the
same kind.

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
        0 or 1, the same shape; of equal sources the first one gets the bin, so the
        masks sum to 1 over stems.

    Source: Wang 2005, "On ideal binary mask as the computational goal of auditory
    scene analysis".
    """
    magnitude = sources.abs()
    winner = magnitude.argmax(dim=-4, keepdim=True)
    return torch.zeros_like(magnitude).scatter_(-4, winner, 1.0)


def soft_masks(magnitude: Tensor, exponent: float = 2.0) -> Tensor:
    """Share of each stem in a bin: magnitude^exponent / sum of it over all stems.

    Args:
        magnitude: estimated or true magnitudes, (…, stems, channels, bins, frames) ≥ 0.
        exponent: 1: ratio of amplitudes; 2: ratio of powers (as in a Wiener filter).
            With a larger exponent, the mask is closer to a binary mask.

    Returns:
        0 … 1, the same shape; sums to 1 over stems (equal shares if all are silent).

    Example:
        >>> soft_masks(torch.tensor([3.0, 1.0]).reshape(2, 1, 1, 1), 1.0).flatten()
        tensor([0.7500, 0.2500])

    Source: Liutkus and Badeau 2015, "Generalized Wiener filtering with fractional
    power spectrograms".
    """
    # Dividing by the loudest stem first keeps the power in the range of the float type.
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
    """The real mask with the smallest error of mask · mixture in each bin (PSM).

    It is the projection of the source S on the mixture X, |S|/|X| · cos(angle between
    them), limited to 0 … 1.

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
    """Multiply the spectrogram of the mixture by the mask of each stem.

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
    """Multichannel Wiener filter: separates sources by their power and direction.

    The first estimate has the given magnitudes and the phase of the mixture. Then
    `expectation_maximization` refines it.

    Args:
        magnitude: estimated magnitudes, (…, stems, channels, bins, frames) ≥ 0.
        mixture: complex, (…, channels, bins, frames).
        n_iterations: EM steps; 0 returns the first estimate.
        residual: add one more stem, the mixture minus all first estimates. A single
            stem needs it: without it, EM gives the whole mixture to that stem.

    Returns:
        complex, shaped like `magnitude`, with one more stem if `residual`.

    Source: Uhlich et al. 2017, "Improving music source separation based on deep neural
    networks through data augmentation and network blending". The same numbers as the
    function of this name in Open-Unmix (github.com/sigsep/open-unmix-pytorch, MIT),
    except in bins where the mixture is exactly zero: they stay zero here.
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

    Each step computes from the estimates their power v in every bin and, for every
    frequency, the covariance R between channels, which depends on the direction. Then
    the new estimate of source j is v_j R_j (Σ v R + noise)⁻¹ · mixture.

    Args:
        estimate: complex, (…, stems, channels, bins, frames).
        mixture: complex, (…, channels, bins, frames).
        n_iterations: number of steps; one or two are usual.

    Returns:
        complex, shaped like `estimate`; the sum of the sources is nearly the mixture.

    Source: Nugraha, Liutkus, Vincent 2016, "Multichannel audio source separation with
    deep neural networks", with the weights of Liutkus et al. 2014.
    """
    if n_iterations == 0:
        return estimate
    epsilon = 1e-10
    # Stereo that is nearly mono needs double precision; Apple's GPUs do not have it.
    exact = torch.complex64 if mixture.device.type == "mps" else torch.complex128
    # Epsilon is an absolute power, so the loudest bin is scaled to 10 at most.
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
    """matrix⁻¹ · vector for (…, channels, channels, bins, frames).

    For one and two channels it uses the formula of the inverse, which is much faster
    than a general solver for millions of small matrices.
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
