"""Scores that hear in frequency bands, where errors differ in how much they disturb.

    log_wmse               error, weighted by how well ears hear each frequency
    mrstft                 magnitudes at several window lengths
    bleedless, fullness    mel bands: how much too loud, how much too soft

They are part of `mssedu.metrics` and called from there. Each is one published program's
formula: compare numbers of one definition only. None replaces listening. Notebook: 04.
"""

import math
import warnings
from collections.abc import Iterator

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.errors import InputError, message
from mssedu.spectral import stft

ERROR_FLOOR = 1e-8  # relative, in log_wmse: a perfect estimate scores 73.7
MIXTURE_FLOOR = 1e-16  # mean square of a mixture that counts as silent in log_wmse
MAGNITUDE_FLOOR = 1e-4  # in mrstft, so that digital silence has a logarithm
N_FFTS = (1024, 2048, 4096)  # windows of mrstft, samples: 23, 46 and 93 ms
MEL_BANDS = 512  # in bleedless and fullness
MEL_RANGE_DB = 80.0  # what lies further below the loudest band is lifted to there


def log_wmse(
    *, reference: Tensor, estimate: Tensor, mixture: Tensor, sample_rate: int = 44100
) -> Tensor:
    """Logarithm of the weighted mean square error: hears like an ear, endures silence.

    -4 ln(Σ h(s - ŝ)² / Σ h(x)² + 1e-8), mean over channels; h is `hearing_weight` and x
    the mixture. Gains that all three share change nothing.

    Args:
        reference, estimate: (…, channels, samples).
        mixture: what was separated; (channels, samples) serves all stems.
        sample_rate: Hz; scores compare at one rate only.

    Returns:
        (…), 73.7 at most, the higher the better; 20 dB less error is 18.4 more. Finite
        for a silent reference, for which it was made.

    Raises:
        InputError: the shapes differ.

    Source: Jordal 2023, github.com/nomonosound/log-wmse-audio-quality; with the edges
    and without the tolerance, as torch-log-wmse 1.1.
    """
    check_pair("log_wmse", reference, estimate)
    if mixture.shape[-2:] != reference.shape[-2:]:
        got = f"mixture {tuple(mixture.shape)} and reference {tuple(reference.shape)}"
        remedy = "Give the whole mixture that the estimate was made from."
        raise InputError(message("log_wmse", "channels and samples alike", got, remedy))
    samples = reference.shape[-1]
    n_fft = next_fast_len(samples + sample_rate // 10, real=True)  # the filter rings
    weight = hearing_weight(n_fft, sample_rate).to(reference)
    weight[1 : (n_fft + 1) // 2] *= 2  # negative frequencies

    def power(audio: Tensor) -> Tensor:
        """Mean square of what is heard, (…, channels), by Parseval's theorem."""
        spectra = (torch.fft.rfft(row, n_fft) for row in audio.reshape(-1, samples))
        energies = [(s.abs().square() * weight).sum() for s in spectra]
        return torch.stack(energies).view(audio.shape[:-1]) / (n_fft * samples)

    error = power(reference - estimate) / power(mixture).clamp_min(MIXTURE_FLOOR)
    return -4 * (error + ERROR_FLOOR).log().mean(-1)


def hearing_weight(n_fft: int, sample_rate: int) -> Tensor:
    """How much power of each frequency the ear takes in, as log_wmse has it.

    A shelf of 5 dB above 1.5 kHz, a bump of 2.5 dB at 500 Hz, less and less below
    120 Hz and above 10 kHz.

    Args:
        n_fft: of the spectrum to be weighted, samples.
        sample_rate: Hz, above 20000.

    Returns:
        (bins) float64 factors of power.

    Raises:
        InputError: the sample rate is too low for the filter at 10 kHz.

    Source: the filters that log-wmse-audio-quality's impulse response was made of, in
    the formulas of Bristow-Johnson's "Audio EQ Cookbook".
    """
    if sample_rate <= 20000:
        remedy = "Leave log_wmse out: it is defined for full-band music."
        raise InputError(message("log_wmse", "more than 20000 Hz", sample_rate, remedy))
    angle = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (2 * math.pi / n_fft)
    delay, weight = torch.exp(-1j * angle), torch.ones_like(angle)
    for sides in _hearing_filters(sample_rate):
        top, bottom = torch.zeros_like(delay), torch.zeros_like(delay)
        for total, factors in zip((top, bottom), sides, strict=True):
            for factor in reversed(factors):  # a + delay · (b + delay · c)
                total.mul_(delay).add_(factor)
        weight *= (top / bottom).abs().square()
    return weight


def _hearing_filters(sample_rate: int) -> Iterator[tuple[list[float], list[float]]]:
    """Numerator and denominator of every filter, as polynomials of a delay."""

    def turn(hz: float) -> tuple[float, float]:
        angle = 2 * math.pi * hz / sample_rate
        return math.cos(angle), math.sin(angle)

    gain, (cos, sin) = 10 ** (5 / 40), turn(1500)  # shelf: +5 dB, Q = 1/√2
    slope, up, down = math.sqrt(2 * gain) * sin, gain + 1, gain - 1
    rise = [up + down * cos + slope, -2 * (down + up * cos), up + down * cos - slope]
    fall = [up - down * cos + slope, 2 * (down - up * cos), up - down * cos - slope]
    yield [gain * side for side in rise], fall
    cos, sin = turn(120)  # high-pass: Butterworth, 12 dB an octave
    above, width = 1 + cos, sin / math.sqrt(2)
    yield [above / 2, -above, above / 2], [1 + width, -2 * cos, 1 - width]
    gain, (cos, sin) = 10 ** (2.5 / 40), turn(500)  # peak: +2.5 dB, Q = 1.5/√2
    width = sin * math.sqrt(2) / 3
    rise, fall = ([1 + w, -2 * cos, 1 - w] for w in (width * gain, width / gain))
    yield rise, fall
    edge = math.tan(math.pi * 10_000 / sample_rate)  # low-pass: 6 dB an octave,
    yield from [([edge, edge], [1 + edge, edge - 1])] * 2  # there and back


def mrstft(*, reference: Tensor, estimate: Tensor) -> Tensor:
    """Multi-resolution STFT distance: how far magnitudes are from each other.

    ‖S - Ŝ‖ / ‖S‖ + mean |ln S - ln Ŝ|, mean over windows of 1024, 2048 and 4096 samples
    with a hop of a quarter; magnitudes of at least 1e-4. Phase counts for nothing. The
    first term hears what is loud, the second what is quiet.

    Args:
        reference, estimate: (…, channels, samples).

    Returns:
        (…), the lower the better, 0 at best; NaN where the reference is silent.

    Raises:
        InputError: the shapes differ.

    Source: Yamamoto, Song, Kim 2020, "Parallel WaveGAN", eq. 4–6; as auraloss has it.
    """
    check_pair("mrstft", reference, estimate)
    shape = reference.shape[-2:]
    items = zip(
        reference.reshape(-1, *shape), estimate.reshape(-1, *shape), strict=True
    )
    distances = [_stft_distance(s, e) for s, e in items]
    distance = torch.stack(distances).view(reference.shape[:-2])
    return torch.where((reference != 0).any(-1).any(-1), distance, torch.nan)


def _stft_distance(reference: Tensor, estimate: Tensor) -> Tensor:
    """Of two (channels, samples); one channel at a time, to spare memory."""
    total = reference.new_zeros(())
    for n_fft in N_FFTS:
        error, energy, log_error = reference.new_zeros(3)
        for channel in zip(reference, estimate, strict=True):
            true, heard = (
                stft(audio, n_fft, n_fft // 4).abs().clamp_min(MAGNITUDE_FLOOR)
                for audio in channel
            )
            error += (true - heard).square().sum()
            energy += true.square().sum()
            log_error += (true.log() - heard.log()).abs().mean() / len(reference)
        total += (error / energy).sqrt() + log_error
    return total / len(N_FFTS)


def bleedless(
    *, reference: Tensor, estimate: Tensor, sample_rate: int = 44100
) -> Tensor:
    """How little there is in the estimate that is not in the reference.

    100 / (1 + mean excess), the excess in dB over all mel bands and frames in which the
    estimate is the louder; bands 80 dB below the loudest are lifted to there. How many
    such bands there are counts for nothing.

    Args:
        reference, estimate: (…, channels, samples); the level matters.
        sample_rate: Hz.

    Returns:
        (…), 0 … 100, the higher the better; finite for silence.

    Raises:
        InputError: the shapes differ.

    Source: utils/metrics.py of github.com/ZFTurbo/Music-Source-Separation-Training.
    """
    return _closeness("bleedless", reference, estimate, sample_rate, 1)


def fullness(
    *, reference: Tensor, estimate: Tensor, sample_rate: int = 44100
) -> Tensor:
    """How little of the reference is missing in the estimate: the twin of `bleedless`.

    100 / (1 + mean deficit), over all mel bands and frames in which the estimate is the
    softer. A model that lets more through is fuller and bleeds more: look at both.

    Args:
        reference, estimate: (…, channels, samples); the level matters.
        sample_rate: Hz.

    Returns:
        (…), 0 … 100, the higher the better; 100 for a silent reference.

    Raises:
        InputError: the shapes differ.

    Source: utils/metrics.py of github.com/ZFTurbo/Music-Source-Separation-Training.
    """
    return _closeness("fullness", reference, estimate, sample_rate, -1)


def _closeness(
    where: str, reference: Tensor, estimate: Tensor, sample_rate: int, sign: int
) -> Tensor:
    """100 / (1 + mean of the differences in dB that have this sign)."""
    check_pair(where, reference, estimate)
    shape, scores = reference.shape[-2:], []
    items = zip(
        reference.reshape(-1, *shape), estimate.reshape(-1, *shape), strict=True
    )
    for s, e in items:
        excess = sign * (_mel_db(e, sample_rate) - _mel_db(s, sample_rate))
        mean = excess[excess > 0].mean().nan_to_num(0.0)  # none at all: no number
        scores.append(100 / (1 + mean))
    return torch.stack(scores).view(reference.shape[:-2])


def _mel_db(audio: Tensor, sample_rate: int) -> Tensor:
    """(channels, samples) -> (channels, bands, frames) dB, at most 80 below the top."""
    from librosa.filters import mel

    with warnings.catch_warnings():  # the lowest bands are narrower than a bin
        warnings.filterwarnings("ignore", "Empty filters")
        bank = mel(sr=sample_rate, n_fft=4096, n_mels=MEL_BANDS)
    bands = torch.from_numpy(bank).to(audio)
    level = torch.stack([bands @ stft(channel).abs() for channel in audio])
    level = 20 * level.clamp_min(1e-10).log10()
    return level.clamp_min(level.max() - MEL_RANGE_DB)


def check_pair(where: str, reference: Tensor, estimate: Tensor) -> None:
    """Raise InputError unless both are (…, channels, samples) of one shape."""
    if reference.shape == estimate.shape and reference.ndim >= 2:
        return
    got = f"reference {tuple(reference.shape)} and estimate {tuple(estimate.shape)}"
    remedy = "Bring both to the same stems, channels and length."
    raise InputError(message(where, "two (…, channels, samples) alike", got, remedy))
