"""Scores of an estimate against its reference; each named by its exact definition.

All take keyword-only `reference` and `estimate`, (…, channels, samples), give one
number per leading index and run on any device in the precision given.

    name     range, dB     a silent reference   known for
    usdr     -inf … 100    NaN: undefined       one number a track (BSRNN's "uSDR")
    nsdr     finite        a finite penalty     the MDX challenge's formula, literally
    si_sdr   -inf … 100    NaN: undefined       speech separation; blind to gain

Notebook: 04.
"""

import torch
from torch import Tensor

from mssedu.checks import InputError, message

CAP_DB = 100.0  # a perfect estimate: float32 resolves about 140 dB, ears far less


def usdr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Signal-to-distortion ratio over a whole track: 10 log10(Σ s² / Σ (s - ŝ)²).

    Args:
        reference: true source, (…, channels, samples).
        estimate: the same shape; silence scores 0 dB, twice the source too.

    Returns:
        (…) dB, at most 100; NaN where the reference is silent: leave such stems out of
        a mean, and count them.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> s = torch.ones(2, 1000)
        >>> usdr(reference=s, estimate=0.9 * s).round(decimals=3)
        tensor(20.)

    Source: Mitsufuji et al. 2022, "Music Demixing Challenge 2021", eq. 1.
    """
    _check_pair("usdr", reference, estimate)
    signal = reference.square().sum((-2, -1))
    distortion = (reference - estimate).square().sum((-2, -1))
    return _ratio_db(signal, distortion)


def nsdr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """The "new SDR" of the MDX challenges and of Demucs: usdr with 1e-7 added twice.

    10 log10((Σ s² + 1e-7) / (Σ (s - ŝ)² + 1e-7)). Equal to `usdr` on every audible
    stem; on a silent one it is finite and falls with any leaked energy (-100 dB and
    below), which wrecks a mean. Use it to compare with published tables only.

    Args:
        reference: true source, (…, channels, samples).
        estimate: the same shape.

    Returns:
        (…) dB.

    Raises:
        InputError: the shapes differ.

    Source: Défossez 2021, "Hybrid spectrogram and waveform source separation", 4.2.
    """
    _check_pair("nsdr", reference, estimate)
    signal = reference.square().sum((-2, -1)) + 1e-7
    distortion = (reference - estimate).square().sum((-2, -1)) + 1e-7
    return 10 * torch.log10(signal / distortion)


def si_sdr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Scale-invariant SDR: the reference is first scaled to fit the estimate best.

    All channels share one scale and no mean is removed, so a wrong balance between
    channels counts as distortion.

    Args:
        reference: true source, (…, channels, samples).
        estimate: the same shape.

    Returns:
        (…) dB, at most 100; NaN where the reference is silent, -inf where the estimate
        is silent or orthogonal to the reference.

    Raises:
        InputError: the shapes differ.

    Source: Le Roux, Wisdom, Erdogan, Hershey 2019, "SDR – half-baked or well done?",
    eq. 3.
    """
    _check_pair("si_sdr", reference, estimate)
    energy = reference.square().sum((-2, -1), keepdim=True)
    scale = (reference * estimate).sum((-2, -1), keepdim=True) / energy
    target = scale * reference
    distortion = (target - estimate).square().sum((-2, -1))
    return _ratio_db(target.square().sum((-2, -1)), distortion, energy[..., 0, 0])


def _ratio_db(
    signal: Tensor, distortion: Tensor, energy: Tensor | None = None
) -> Tensor:
    """10 log10(signal / distortion), capped; NaN where the reference has no energy."""
    energy = signal if energy is None else energy
    ratio = 10 * torch.log10(signal / distortion)
    ratio = torch.where(signal > 0, ratio, -torch.inf)  # 0/0: a silent estimate
    return torch.where(energy > 0, ratio.clamp_max(CAP_DB), torch.nan)


def _check_pair(where: str, reference: Tensor, estimate: Tensor) -> None:
    if reference.shape == estimate.shape and reference.ndim >= 2:
        return
    got = f"reference {tuple(reference.shape)} and estimate {tuple(estimate.shape)}"
    remedy = "Bring both to the same stems, channels and length."
    raise InputError(message(where, "two (…, channels, samples) alike", got, remedy))
