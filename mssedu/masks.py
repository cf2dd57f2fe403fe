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
