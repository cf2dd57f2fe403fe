"""Scores of an estimate against its reference, each named by its exact definition.

All of them take `reference` (the true source) and `estimate` by name, (…, channels,
samples), return one number per leading index, run on any device, and raise InputError
if the two shapes differ. The last three are in `spectral.py`.

    name                range          a silent reference   known for
    usdr                -inf … 100 dB  NaN: undefined       one number per track (BSRNN)
    csdr                -inf … 100 dB  NaN: undefined       SiSEC, MUSDB18 tables
    nsdr                finite, dB     a finite penalty     MDX challenge, Demucs
    snr                 -inf … 100 dB  NaN: undefined       speech; usdr by channel
    si_sdr              -inf … 100 dB  NaN: undefined       speech; ignores the gain
    si_sir, si_sar      -inf … 100 dB  NaN: undefined       the two parts of si_sdr
    pes                 -120 … inf dB  made for it          leaks where a stem is silent
    log_wmse            … 73.7         finite               errors weighted by hearing
    mrstft              0 … inf        NaN: undefined       a distance: 0 is perfect
    bleedless/fullness  0 … 100        finite               too much / too little sound

An estimate without error has no finite ratio: its score is CAP_DB. Notebook: 04.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mssedu.metrics.pairs import ANY, AXES, check_pair, fit_sources

STEMS = (ANY, "stems", "channels", "samples")  # axes for scores of all stems together
CAP_DB = 100.0  # score of a perfect estimate; float32 resolves about 140 dB
FLOOR = 1e-12  # added to energies in `pes`, whose lowest value is -120 dB
BLOCK = 2**20  # samples that are converted to float64 at once


# ---- signal to distortion -----------------------------------------------------------


def usdr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Signal-to-distortion ratio over a whole track: 10 log10(Σ s² / Σ (s - ŝ)²).

    Args:
        reference: true source, (…, channels, samples).
        estimate: the same shape; the score of silence is 0 dB, and so is that of 2 s.

    Returns:
        (…) dB, at most 100; NaN where the reference is silent: leave such stems out of
        a mean, and report how many there are.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> s = torch.ones(2, 1000)
        >>> usdr(reference=s, estimate=0.9 * s).round(decimals=3)
        tensor(20.)

    Source: Mitsufuji et al. 2022, "Music Demixing Challenge 2021", eq. 1.
    """
    check_pair(reference, estimate)
    return _ratio_db(_energy(reference), _energy(reference - estimate))


def csdr(
    *,
    reference: Tensor,
    estimate: Tensor,
    sample_rate: int = 44100,
    museval: bool = False,
) -> Tensor:
    """SDR of BSS Eval v4: `usdr` of every second, then the median.

    The filters of BSS Eval only divide the error among its causes; its sum, and so the
    SDR, is the same without them. A frame whose reference is silent has no score; a
    remainder of less than a second at the end is left out.

    Args:
        reference, estimate: (…, channels, samples).
        sample_rate: Hz; a frame lasts one second.
        museval: as in museval, a second in which any stem, true or estimated, is silent
            counts for no stem; the shape is then (…, stems, channels, samples).

    Returns:
        (…) dB float64, at most 100; NaN where no frame has a score.

    Source: Stöter, Liutkus, Ito 2018, "The 2018 signal separation evaluation campaign".
    """
    check_pair(reference, estimate, STEMS if museval else AXES)
    scores = []
    for s, e in _seconds(sample_rate, reference, estimate):
        score = _ratio_db(_energy(s), _energy(s - e))
        if museval:  # for museval, a stem is silent if the sum of its channels is
            silent = (s.sum(-2) == 0).all(-1) | (e.sum(-2) == 0).all(-1)
            score = torch.where(silent.any(-1, keepdim=True), torch.nan, score)
        scores.append(score)
    return torch.stack(scores, -1).nanquantile(0.5, -1)


def nsdr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """The "new SDR" of the MDX challenges and of Demucs: usdr with 1e-7 added twice.

    10 log10((Σ s² + 1e-7) / (Σ (s - ŝ)² + 1e-7)). It equals `usdr` on every audible
    stem. On a silent one it is finite and falls with the energy of the estimate, to
    -100 dB and below, which spoils a mean. Use it only to compare with published
    tables.

    Args:
        reference, estimate: (…, channels, samples).

    Returns:
        (…) dB.

    Source: Défossez 2021, "Hybrid spectrogram and waveform source separation", 4.2.
    """
    check_pair(reference, estimate)
    signal = _energy(reference) + 1e-7
    return 10 * torch.log10(signal / (_energy(reference - estimate) + 1e-7))


def snr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """`usdr` of every channel alone, then the mean of the channels that are not silent.

    On one channel it is usdr. On two, the quiet channel counts as much as the loud one.

    Args:
        reference, estimate: (…, channels, samples).

    Returns:
        (…) dB, at most 100; NaN where the reference is silent.

    Source: the usual definition in speech separation, as in torchmetrics.
    """
    check_pair(reference, estimate)
    signal = reference.square().sum(-1)
    return _ratio_db(signal, (reference - estimate).square().sum(-1)).nanmean(-1)


# ---- independent of gain ------------------------------------------------------------


def si_sdr(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Scale-invariant SDR: the reference is first scaled to fit the estimate.

    All channels share one scale and no mean is removed, so a wrong balance between
    channels counts as distortion.

    Args:
        reference, estimate: (…, channels, samples).

    Returns:
        (…) dB, at most 100; NaN where the reference is silent, -inf where the estimate
        is silent or orthogonal to the reference.

    Source: Le Roux, Wisdom, Erdogan, Hershey 2019, "SDR – half-baked or well done?",
    eq. 3.
    """
    check_pair(reference, estimate)
    energy = reference.square().sum((-2, -1), keepdim=True)
    scale = (reference * estimate).sum((-2, -1), keepdim=True) / energy
    target = scale * reference
    return _ratio_db(_energy(target), _energy(target - estimate), energy[..., 0, 0])


def si_sir(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """The first result of `si_sir_and_sar`: interference, the error by other stems."""
    return si_sir_and_sar(reference=reference, estimate=estimate)[0]


def si_sar(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """The second result of `si_sir_and_sar`: artifacts, the error by no stem."""
    return si_sir_and_sar(reference=reference, estimate=estimate)[1]


def si_sir_and_sar(*, reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """The two parts of the error in `si_sdr`: interference and artifacts.

    ‖α s‖² / ‖P ŝ - α s‖² and ‖α s‖² / ‖ŝ - P ŝ‖², where P ŝ is the sum of scaled stems
    that is closest to ŝ. Their inverses add up: 1 / si_sdr = 1 / si_sir + 1 / si_sar
    (not in dB). The SAR of BSS Eval has ‖P ŝ‖² in the numerator.

    Args:
        reference: all true sources, (…, stems, channels, samples).
        estimate: the same shape; all channels share one scale.

    Returns:
        SIR and SAR, (…, stems) dB each, at most 100: no interference, no artifacts. NaN
        where the reference is silent, -inf where the estimate is silent.

    Example:
        >>> s = torch.randn(2, 1, 8000)
        >>> sir, sar = si_sir_and_sar(reference=s, estimate=s + 0.1 * s.flip(0))
        >>> sir.round().tolist(), bool((sar > 90).all())
        ([20.0, 20.0], True)

    Source: Le Roux, Wisdom, Erdogan, Hershey 2019, "SDR – half-baked or well done?".
    """
    check_pair(reference, estimate, STEMS)
    # Inner products are enough: ‖P ŝ‖² = dᵀ G⁻¹ d, where G has the products of the
    # stems with each other, and d those of the stems with ŝ.
    gram = cross = total = reference.new_zeros((), dtype=torch.float64)
    blocks = reference.split(BLOCK, -1), estimate.split(BLOCK, -1)
    for s, e in zip(*blocks, strict=True):
        s, e = s.double().flatten(-2), e.double().flatten(-2)
        gram = gram + s @ s.mT
        cross = cross + s @ e.mT
        total = total + e.square().sum(-1)
    energy = gram.diagonal(dim1=-2, dim2=-1)
    gains, cross, _ = fit_sources(gram, cross)
    explained = (cross * gains).sum(-2)
    target = cross.diagonal(dim1=-2, dim2=-1).square()
    interference = (explained - target).clamp_min(0)
    artifacts = (total - explained).clamp_min(0)
    sir = _ratio_db(target, interference, energy)
    sar = _ratio_db(target, artifacts, energy)
    return sir.to(reference.dtype), sar.to(reference.dtype)


# ---- silence ------------------------------------------------------------------------


def pes(*, reference: Tensor, estimate: Tensor, sample_rate: int = 44100) -> Tensor:
    """Predicted energy at silence: the energy of the estimate where the stem is silent.

    10 log10(Σ ŝ² + 1e-12), mean over the seconds in which the reference is all zeros:
    those that every ratio leaves out. Subtract 10 log10(channels · sample_rate) to get
    the level in dB relative to full scale.

    Args:
        reference, estimate: (…, channels, samples).
        sample_rate: Hz; a frame lasts one second.

    Returns:
        (…) dB float64, the lower the better, -120 for silence; NaN where no frame of
        the stem is silent.

    Source: Schulze-Forster et al. 2019, "Weakly informed audio source separation".
    """
    check_pair(reference, estimate)
    levels = []
    for s, e in _seconds(sample_rate, reference, estimate):
        level = 10 * torch.log10(_energy(e) + FLOOR)
        levels.append(torch.where(_energy(s) == 0, level, torch.nan))
    return torch.stack(levels, -1).nanmean(-1)


# ---- shared parts -------------------------------------------------------------------


def _energy(audio: Tensor) -> Tensor:
    return audio.square().sum((-2, -1))


def _seconds(sample_rate: int, *audios: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Whole frames of one second, float64; a shorter sound is one frame."""
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
