"""Scores of an estimate against its reference; each named by its exact definition.

All take keyword-only `reference` and `estimate`, (…, channels, samples), give one
number per leading index and run on any device. Those that hear in frequency bands stand
in `spectral_metrics`, but are called from here like the others.

    name                range          a silent reference   known for
    usdr                -inf … 100 dB  NaN: undefined       a number a track (BSRNN)
    csdr                -inf … 100 dB  NaN: undefined       SiSEC, MUSDB18 tables
    nsdr                finite, dB     a finite penalty     MDX challenge, Demucs
    snr                 -inf … 100 dB  NaN: undefined       speech; usdr by channel
    si_sdr              -inf … 100 dB  NaN: undefined       speech; blind to gain
    si_sir, si_sar      -inf … 100 dB  NaN: undefined       what si_sdr's error is
    pes                 -120 … inf dB  what it is made for  leaks where nothing sounds
    log_wmse            … 73.7         finite, as any       errors as ears weigh them
    mrstft              0 … inf        NaN: undefined       a distance: 0 is perfect
    bleedless/fullness  0 … 100        finite               too much / too little sound

An estimate without error has no finite ratio: it scores CAP_DB. Notebook: 04.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mssedu.errors import InputError, message
from mssedu.metrics.spectral import bleedless, check_pair, fullness, log_wmse, mrstft

__all__ = [
    "CAP_DB",
    "bleedless",
    "csdr",
    "fullness",
    "log_wmse",
    "mrstft",
    "nsdr",
    "pes",
    "si_sar",
    "si_sdr",
    "si_sir",
    "snr",
    "usdr",
]

CAP_DB = 100.0  # a perfect estimate: float32 resolves about 140 dB, ears far less
FLOOR = 1e-12  # energy below which `pes` does not look: -120 dB
BLOCK = 2**20  # samples that are turned to float64 at once
RANK = 1e-10  # stems that differ by less of their energy count as one, in `si_sir`


# ---- signal to distortion -----------------------------------------------------------


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
    check_pair("usdr", reference, estimate)
    return _ratio_db(_energy(reference), _energy(reference - estimate))


def csdr(
    *,
    reference: Tensor,
    estimate: Tensor,
    sample_rate: int = 44100,
    museval: bool = False,
) -> Tensor:
    """SDR of BSS Eval v4: `usdr` of every second, then the median.

    The filters of BSS Eval only share the error out among its causes; its sum, and so
    the SDR, is the same without them. A frame whose reference is silent has no score;
    what is left at the end is not looked at.

    Args:
        reference, estimate: (…, channels, samples).
        sample_rate: Hz; a frame lasts one second.
        museval: as museval has it, a second in which any stem, true or estimated, is
            silent counts for no stem; then (…, stems, channels, samples).

    Returns:
        (…) dB float64, at most 100; NaN where no frame is left.

    Raises:
        InputError: the shapes differ, or have no stems with `museval`.

    Source: Stöter, Liutkus, Ito 2018, "The 2018 signal separation evaluation campaign".
    """
    check_pair("csdr", reference, estimate)
    if museval:
        _check_stems("csdr, museval=True", reference)
    scores = []
    for s, e in _seconds(sample_rate, reference, estimate):
        score = _ratio_db(_energy(s), _energy(s - e))
        if museval:  # silent, for museval, is what sums up to silence
            silent = (s.sum(-2) == 0).all(-1) | (e.sum(-2) == 0).all(-1)
            score = torch.where(silent.any(-1, keepdim=True), torch.nan, score)
        scores.append(score)
    return torch.stack(scores, -1).nanquantile(0.5, -1)


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
    check_pair("nsdr", reference, estimate)
    signal = _energy(reference) + 1e-7
    return 10 * torch.log10(signal / (_energy(reference - estimate) + 1e-7))


def snr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """`usdr` of every channel alone, then the mean of those that sound.

    On one channel it is usdr. On two, the quiet channel counts as much as the loud one.

    Args:
        reference: true source, (…, channels, samples).
        estimate: the same shape.

    Returns:
        (…) dB, at most 100; NaN where the reference is silent.

    Raises:
        InputError: the shapes differ.

    Source: as speech separation has it, e.g. torchmetrics' SignalNoiseRatio.
    """
    check_pair("snr", reference, estimate)
    signal = reference.square().sum(-1)
    return _ratio_db(signal, (reference - estimate).square().sum(-1)).nanmean(-1)


# ---- blind to gain ------------------------------------------------------------------


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
    check_pair("si_sdr", reference, estimate)
    energy = reference.square().sum((-2, -1), keepdim=True)
    scale = (reference * estimate).sum((-2, -1), keepdim=True) / energy
    target = scale * reference
    distortion = _energy(target - estimate)
    return _ratio_db(_energy(target), distortion, energy[..., 0, 0])


def si_sir(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Of the error that `si_sdr` sees, the part that the other stems explain.

    ‖α s‖² / ‖P ŝ - α s‖², where P ŝ is the sum of scaled stems that is closest to ŝ.
    One over the ratio adds up: 1 / si_sdr = 1 / si_sir + 1 / si_sar (not in dB).

    Args:
        reference: all true sources, (…, stems, channels, samples).
        estimate: the same shape; channels share one scale.

    Returns:
        (…, stems) dB, at most 100: no interference. NaN where the reference is silent,
        -inf where the estimate is.

    Raises:
        InputError: the shapes differ, or there is no axis of stems.

    Source: Le Roux, Wisdom, Erdogan, Hershey 2019, "SDR – half-baked or well done?".
    """
    target, interference, _, energy = _si_parts("si_sir", reference, estimate)
    return _ratio_db(target, interference, energy).to(reference.dtype)


def si_sar(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Of the error that `si_sdr` sees, the part that no stem explains: artifacts.

    ‖α s‖² / ‖ŝ - P ŝ‖², P ŝ as in `si_sir`. BSS Eval's SAR puts ‖P ŝ‖² on top.

    Args:
        reference: all true sources, (…, stems, channels, samples).
        estimate: the same shape; channels share one scale.

    Returns:
        (…, stems) dB, at most 100: no artifacts. NaN where the reference is silent,
        -inf where the estimate is.

    Raises:
        InputError: the shapes differ, or there is no axis of stems.

    Source: Le Roux, Wisdom, Erdogan, Hershey 2019, "SDR – half-baked or well done?".
    """
    target, _, artifacts, energy = _si_parts("si_sar", reference, estimate)
    return _ratio_db(target, artifacts, energy).to(reference.dtype)


def _si_parts(where: str, reference: Tensor, estimate: Tensor) -> tuple[Tensor, ...]:
    """Energies of target, interference, artifacts and reference, (…, stems) float64.

    From inner products alone: ‖P ŝ‖² = dᵀ G⁻¹ d for G the stems' with each other and d
    theirs with ŝ. Stems have unit energy, so that quiet ones count; equal ones as one.
    """
    check_pair(where, reference, estimate)
    _check_stems(where, reference)
    gram = cross = total = reference.new_zeros((), dtype=torch.float64)
    parts = reference.split(BLOCK, -1), estimate.split(BLOCK, -1)
    for s, e in zip(*parts, strict=True):
        s, e = s.double().flatten(-2), e.double().flatten(-2)
        gram = gram + s @ s.mT
        cross = cross + s @ e.mT
        total = total + e.square().sum(-1)
    energy = gram.diagonal(dim1=-2, dim2=-1)
    unit = torch.where(energy > 0, energy.rsqrt(), 0.0)
    gram, cross = gram * unit[..., None] * unit[..., None, :], cross * unit[..., None]
    inverse = torch.linalg.pinv(gram, hermitian=True, rtol=RANK)
    explained = (cross * (inverse @ cross)).sum(-2)
    target = cross.diagonal(dim1=-2, dim2=-1).square()
    interference = (explained - target).clamp_min(0)
    return target, interference, (total - explained).clamp_min(0), energy


# ---- silence ------------------------------------------------------------------------


def pes(*, reference: Tensor, estimate: Tensor, sample_rate: int = 44100) -> Tensor:
    """Predicted energy at silence: what is heard of a stem while it rests.

    10 log10(Σ ŝ² + 1e-12), mean over the seconds in which the reference is all zeros:
    those that every ratio leaves out. Less 10 log10(channels · sample_rate), it is the
    level in dB below full scale.

    Args:
        reference, estimate: (…, channels, samples).
        sample_rate: Hz; a frame lasts one second.

    Returns:
        (…) dB float64, the lower the better, -120 for silence; NaN where the stem
        never rests for a whole frame.

    Raises:
        InputError: the shapes differ.

    Source: Schulze-Forster et al. 2019, "Weakly informed audio source separation".
    """
    check_pair("pes", reference, estimate)
    levels = []
    for s, e in _seconds(sample_rate, reference, estimate):
        level = 10 * torch.log10(_energy(e) + FLOOR)
        levels.append(torch.where(_energy(s) == 0, level, torch.nan))
    return torch.stack(levels, -1).nanmean(-1)


# ---- shared parts -------------------------------------------------------------------


def _energy(audio: Tensor) -> Tensor:
    return audio.square().sum((-2, -1))


def _seconds(sample_rate: int, *audios: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Whole frames of one second, float64; all there is if it is shorter."""
    for start in range(max(audios[0].shape[-1] // sample_rate, 1)):
        span = slice(start * sample_rate, (start + 1) * sample_rate)
        yield tuple(audio[..., span].double() for audio in audios)


def _ratio_db(
    signal: Tensor, distortion: Tensor, energy: Tensor | None = None
) -> Tensor:
    """10 log10(signal / distortion), capped; NaN where the reference has no energy."""
    energy = signal if energy is None else energy
    ratio = 10 * torch.log10(signal / distortion)
    ratio = torch.where(signal > 0, ratio, -torch.inf)  # 0/0: a silent estimate
    return torch.where(energy > 0, ratio.clamp_max(CAP_DB), torch.nan)


def _check_stems(where: str, reference: Tensor) -> None:
    if reference.ndim < 3:
        remedy = "Stack all stems of the track on an axis before the channels."
        wanted, got = "(…, stems, channels, samples)", tuple(reference.shape)
        raise InputError(message(where, wanted, got, remedy))
