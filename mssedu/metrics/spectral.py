"""Scores of spectra: errors of equal energy at different frequencies can differ.

    log_wmse               error, weighted by the sensitivity of hearing
    mrstft                 distance of magnitudes at several window lengths
    bleedless, fullness    mel bands: how much too loud, how much too soft

Each is the formula of one published program: compare only numbers of one definition.
None of them replaces a listening test. Arguments are those of `ratios`, with the same
errors. Notebook: 04.
"""

import math
import warnings
from collections.abc import Callable, Iterator

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.errors import InputError
from mssedu.metrics.pairs import check_pair
from mssedu.spectral import stft

ERROR_FLOOR = 1e-8  # relative error in log_wmse: a perfect estimate scores 73.7
MIXTURE_FLOOR = 1e-16  # lowest mean square of a mixture in log_wmse
MAGNITUDE_FLOOR = 1e-4  # lowest magnitude in mrstft; zero has no logarithm
N_FFTS = (1024, 2048, 4096)  # windows of mrstft, samples: 23, 46 and 93 ms
MEL_BANDS = 512  # in bleedless and fullness
MEL_RANGE_DB = 80.0  # levels further below the loudest band are raised to this


def log_wmse(
    *, reference: Tensor, estimate: Tensor, mixture: Tensor, sample_rate: int = 44100
) -> Tensor:
    """Logarithm of the mean square error, weighted by the sensitivity of hearing.

    -4 ln(Σ h(s - ŝ)² / Σ h(x)² + 1e-8), mean over channels; h is `hearing_weight` and x
    the mixture. One gain for all three changes nothing.

    Args:
        reference, estimate: (…, channels, samples).
        mixture: of the sources; (channels, samples) is enough for all stems.
        sample_rate: Hz; only scores at one sample rate are comparable.

    Returns:
        (…), 73.7 at most, the higher the better; 20 dB less error is 18.4 more. Finite
        for a silent reference, which is its purpose.

    Source: Jordal 2023, github.com/nomonosound/log-wmse-audio-quality; with the edges
    and without the tolerance, as torch-log-wmse 1.1.
    """
    check_pair(reference, estimate)
    if mixture.shape[-2:] != reference.shape[-2:]:
        raise InputError(
            "mixture and reference must have the same channels and samples, got "
            f"{tuple(mixture.shape)} and {tuple(reference.shape)}."
        )
    samples = reference.shape[-1]
    n_fft = next_fast_len(samples + sample_rate // 10, real=True)  # room for the decay
    weight = hearing_weight(n_fft, sample_rate).to(reference)
    weight[1 : (n_fft + 1) // 2] *= 2  # negative frequencies

    def power(audio: Tensor) -> Tensor:
        """Mean square of the filtered audio, (…, channels), by Parseval's theorem."""
        spectra = (torch.fft.rfft(row, n_fft) for row in audio.reshape(-1, samples))
        energies = [(s.abs().square() * weight).sum() for s in spectra]
        return torch.stack(energies).view(audio.shape[:-1]) / (n_fft * samples)

    error = power(reference - estimate) / power(mixture).clamp_min(MIXTURE_FLOOR)
    return -4 * (error + ERROR_FLOOR).log().mean(-1)


def hearing_weight(n_fft: int, sample_rate: int) -> Tensor:
    """The weight of the power at each frequency in `log_wmse`, a model of hearing.

    A shelf of 5 dB above 1.5 kHz, a bump of 2.5 dB at 500 Hz, less and less below
    120 Hz and above 10 kHz.

    Args:
        n_fft: samples of the FFT whose bins are weighted.
        sample_rate: Hz, above 20000; otherwise an InputError.

    Returns:
        (bins) float64 factors of power.

    Source: the filters that log-wmse-audio-quality's impulse response was made of, in
    the formulas of Bristow-Johnson's "Audio EQ Cookbook".
    """
    if sample_rate <= 20000:
        raise InputError(
            "log_wmse needs a sample_rate above 20000 Hz, for its filter at 10 kHz, "
            f"got {sample_rate} Hz. Leave log_wmse out."
        )
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
    with a hop of a quarter; magnitudes of at least 1e-4. Phase does not count. The
    first term depends on the loud parts, the second on quiet parts as well.

    Args:
        reference, estimate: (…, channels, samples).

    Returns:
        (…), the lower the better, 0 at best; NaN where the reference is silent.

    Source: Yamamoto, Song, Kim 2020, "Parallel WaveGAN", eq. 4–6; as in auraloss.
    """
    distance = _each(_stft_distance, reference, estimate)
    return torch.where((reference != 0).any(-1).any(-1), distance, torch.nan)


def _stft_distance(reference: Tensor, estimate: Tensor) -> Tensor:
    """Of two (channels, samples); one channel at a time saves memory."""
    total = reference.new_zeros(())
    for n_fft in N_FFTS:
        error, energy, log_error = reference.new_zeros(3)
        for channel in zip(reference, estimate, strict=True):
            spectra = (stft(audio, n_fft, n_fft // 4).abs() for audio in channel)
            magnitude, estimated = (s.clamp_min(MAGNITUDE_FLOOR) for s in spectra)
            error += (magnitude - estimated).square().sum()
            energy += magnitude.square().sum()
            log_difference = (magnitude.log() - estimated.log()).abs()
            log_error += log_difference.mean() / len(reference)
        total += (error / energy).sqrt() + log_error
    return total / len(N_FFTS)


def bleedless(
    *, reference: Tensor, estimate: Tensor, sample_rate: int = 44100
) -> Tensor:
    """How little the estimate has that the reference has not.

    100 / (1 + mean excess): the excess in dB, over all mel bands and frames in which
    the estimate is louder; bands more than 80 dB below the loudest are raised to -80
    dB. The number of these bands does not count.

    Args:
        reference, estimate: (…, channels, samples); the level matters.
        sample_rate: Hz.

    Returns:
        (…), 0 … 100, the higher the better; finite for silence.

    Source: utils/metrics.py of github.com/ZFTurbo/Music-Source-Separation-Training.
    """
    return _closeness(reference, estimate, sample_rate, sign=1)


def fullness(
    *, reference: Tensor, estimate: Tensor, sample_rate: int = 44100
) -> Tensor:
    """How little of the reference is missing in the estimate: `bleedless`, reversed.

    100 / (1 + mean deficit): the deficit in dB, over all mel bands and frames in which
    the estimate is softer; 100 for a silent reference. An estimate with more of
    everything has a higher fullness and a lower bleedless: report both.
    """
    return _closeness(reference, estimate, sample_rate, sign=-1)


def _closeness(
    reference: Tensor, estimate: Tensor, sample_rate: int, sign: int
) -> Tensor:
    """100 / (1 + mean of the differences in dB that have this sign)."""

    def closeness(s: Tensor, e: Tensor) -> Tensor:
        excess = sign * (_mel_db(e, sample_rate) - _mel_db(s, sample_rate))
        mean = excess[excess > 0].mean().nan_to_num(0.0)  # NaN if there is no such band
        return 100 / (1 + mean)

    return _each(closeness, reference, estimate)


def _each(
    score: Callable[[Tensor, Tensor], Tensor], reference: Tensor, estimate: Tensor
) -> Tensor:
    """The score of every (channels, samples), in the shape of the leading axes."""
    check_pair(reference, estimate)
    shape = reference.shape[-2:]
    items = (audio.reshape(-1, *shape) for audio in (reference, estimate))
    scores = [score(s, e) for s, e in zip(*items, strict=True)]
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
