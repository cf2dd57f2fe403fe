"""Training losses: how far an estimate is from its reference, as one number.

All take `estimate` and `reference` by keyword, and return a scalar whose gradient is
finite on silence, too. Shapes that differ are an InputError. `LOSSES` lists the losses
by the name that the config and the command line use.

`present`, bool (batch, stems), says which stems the songs have. Rows of stems that are
absent are left out: the loss is a mean over the others, and 0 if there are none. None:
all are present.

    name                    compares                        known for
    waveform_l1             samples                         Demucs
    waveform_mse            samples, large errors most      the loss that usdr follows
    si_sdr_loss             direction, blind to gain        Conv-TasNet
    spectrogram_l1          real and imaginary parts        Band-split RNN
    magnitude_l1            magnitudes, blind to phase      Spleeter
    magnitude_mse           magnitudes, large errors most   Open-Unmix
    multi_resolution_stft   samples + five spectrograms     BS-RoFormer
    thresholded_snr         error in dB below the mixture   MixIT, FUSS; learns fast
    band_split_l1           samples + real and imaginary    Band-Split RNN
    spectrogram_rmse        spectrograms, stem by stem      SCNet
    log_wmse_loss           error as hearing weighs it      log-WMSE; defined on silence

`mssedu.training.objective` adds them up with weights.

Notebook: 05.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mssedu.metrics.pairs import check_pair
from mssedu.metrics.spectral import log_wmse
from mssedu.spectral import stft
from mssedu.training.band_losses import band_split_l1, spectrogram_rmse

MAGNITUDE_AXES = ("batch", "stems", "channels", "bins", "frames")
AXES = ("batch", "stems", "channels", "samples")
FLOOR = 1e-8  # mean power at -80 dB re full scale: below it, a stem counts as silent


def waveform_l1(
    *, estimate: Tensor, reference: Tensor, present: Tensor | None = None
) -> Tensor:
    """Mean absolute difference of the samples.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        present: bool (batch, stems).

    Returns:
        scalar ≥ 0, in units of amplitude.

    Example:
        >>> zeros = torch.zeros(1, 4, 2, 100)
        >>> waveform_l1(estimate=zeros + 0.5, reference=zeros)
        tensor(0.5000)
    """
    estimate, reference = _compared(estimate, reference, present)
    return _mean((estimate - reference).abs())


def waveform_mse(
    *, estimate: Tensor, reference: Tensor, present: Tensor | None = None
) -> Tensor:
    """Mean squared difference of the samples.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        present: bool (batch, stems).

    Returns:
        scalar ≥ 0, in units of power.
    """
    estimate, reference = _compared(estimate, reference, present)
    return _mean((estimate - reference).square())


def si_sdr_loss(
    *, estimate: Tensor, reference: Tensor, present: Tensor | None = None
) -> Tensor:
    """Negative scale-invariant SDR, mean over batch and stems.

    Equal to -`mssedu.metrics.si_sdr` on audible stems. On a silent one, where SI-SDR is
    undefined, a floor of -80 dB makes the loss push the estimate towards silence.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        present: bool (batch, stems).

    Returns:
        scalar, dB; the lower the better.

    Source: Luo and Mesgarani 2019, "Conv-TasNet: Surpassing ideal time-frequency
    magnitude masking for speech separation".
    """
    estimate, reference = _compared(estimate, reference, present)
    energy = reference.square().mean((-2, -1), keepdim=True)
    scale = (reference * estimate).mean((-2, -1), keepdim=True) / (energy + FLOOR)
    target = scale * reference
    signal = target.square().mean((-2, -1)) + FLOOR
    distortion = (target - estimate).square().mean((-2, -1)) + FLOOR
    return 10 * _mean(torch.log10(distortion / signal))


def spectrogram_l1(
    *,
    estimate: Tensor,
    reference: Tensor,
    n_fft: int = 4096,
    hop_length: int = 1024,
    magnitude: bool = False,
    present: Tensor | None = None,
) -> Tensor:
    """Mean absolute difference of the spectrograms.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        n_fft: window length, samples, even.
        hop_length: samples between frames.
        magnitude: compare magnitudes; otherwise real and imaginary parts, so phase too.
        present: bool (batch, stems).

    Returns:
        scalar ≥ 0; the STFT keeps energy, so window lengths compare.

    Source: Luo and Yu 2023, "Music source separation with band-split RNN".
    """
    estimate, reference = _compared(estimate, reference, present)
    if not estimate.numel():
        return _mean(estimate)
    estimate = stft(estimate, n_fft, hop_length, normalized=True)
    reference = stft(reference, n_fft, hop_length, normalized=True)
    if magnitude:
        return _mean((estimate.abs() - reference.abs()).abs())
    return _mean(torch.view_as_real(estimate - reference).abs())


def magnitude_l1(
    *, estimate: Tensor, reference: Tensor, present: Tensor | None = None
) -> Tensor:
    """`spectrogram_l1` of the magnitudes: blind to phase, as masking models are.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        present: bool (batch, stems).

    Source: Hennequin, Khlif, Voituret, Moussallam 2020, "Spleeter: a fast and efficient
    music source separation tool with pre-trained models".
    """
    return spectrogram_l1(
        estimate=estimate, reference=reference, magnitude=True, present=present
    )


def magnitude_mse(
    *, estimate: Tensor, reference: Tensor, present: Tensor | None = None
) -> Tensor:
    """Mean squared difference of the magnitudes, with windows of 4096 samples.

    A model that has the method `magnitudes` is compared before its inverse STFT, with
    its own windows (see `mssedu.training.batch_loss`).

    Args:
        estimate, reference: (batch, stems, channels, samples), or magnitudes
            (batch, stems, channels, bins, frames).
        present: bool (batch, stems).

    Returns:
        scalar ≥ 0; the STFT is not normalized, as in the source.

    Source: Stöter, Uhlich, Liutkus, Mitsufuji 2019, "Open-Unmix - A reference
    implementation for music source separation".
    """
    if estimate.ndim == len(MAGNITUDE_AXES):
        check_pair(reference, estimate, MAGNITUDE_AXES)
        if present is not None:
            estimate, reference = estimate[present], reference[present]
        return _mean((estimate - reference).square())
    estimate, reference = _compared(estimate, reference, present)
    if not estimate.numel():
        return _mean(estimate)
    magnitudes = [stft(audio, 4096, 1024).abs() for audio in (estimate, reference)]
    return _mean((magnitudes[0] - magnitudes[1]).square())


def multi_resolution_stft(
    *,
    estimate: Tensor,
    reference: Tensor,
    n_ffts: tuple[int, ...] = (4096, 2048, 1024, 512, 256),
    present: Tensor | None = None,
) -> Tensor:
    """`waveform_l1` plus `spectrogram_l1` at several window lengths.

    Long windows resolve pitch, short windows resolve attacks; no window resolves both.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        n_ffts: window lengths, samples, even; each with a hop of a quarter.
        present: bool (batch, stems).

    Source: Lu, Wang, Kong, Hung 2023, "Music source separation with band-split RoPE
    transformer".
    """
    total = waveform_l1(estimate=estimate, reference=reference, present=present)
    for n_fft in n_ffts:
        total = total + spectrogram_l1(
            estimate=estimate,
            reference=reference,
            n_fft=n_fft,
            hop_length=n_fft // 4,
            present=present,
        )
    return total


def thresholded_snr(
    *,
    estimate: Tensor,
    reference: Tensor,
    threshold_db: float = 10.0,
    present: Tensor | None = None,
) -> Tensor:
    """Error of each stem in dB relative to the mixture, mean over batch and stems.

    10 log10(Σ (s - ŝ)² / Σ x² + 10^(-threshold_db / 10)). Large errors count by their
    ratio, so a loud example is worth no more than a soft one; errors below the
    threshold count by their energy, so that a quiet or silent stem stays quiet.

    Args:
        estimate, reference: (batch, stems, channels, samples); the stems of the
            reference add up to the mixture x.
        threshold_db: SNR at which the one changes into the other; the source uses 30.
        present: bool (batch, stems); the rows of absent stems are zeros.

    Returns:
        scalar, dB; the lower the better, -threshold_db at best.

    Source: Wisdom et al. 2020, "Unsupervised sound separation using mixture invariant
    training", eq. 2.
    """
    check_pair(reference, estimate, AXES)
    mixture = reference.sum(1, keepdim=True).square().mean((-2, -1)) + FLOOR
    distortion = (estimate - reference).square().mean((-2, -1))
    ratio = distortion / mixture
    ratio = ratio if present is None else ratio[present]
    return 10 * _mean(torch.log10(ratio + 10 ** (-threshold_db / 10)))


def log_wmse_loss(
    *,
    estimate: Tensor,
    reference: Tensor,
    sample_rate: int = 44100,
    present: Tensor | None = None,
) -> Tensor:
    """Negative `mssedu.metrics.log_wmse`, mean over batch and stems.

    Args:
        estimate, reference: (batch, stems, channels, samples); the stems of the
            reference add up to the mixture.
        sample_rate: Hz, above 20000; a run takes that of the model.
        present: bool (batch, stems); the rows of absent stems are zeros.

    Returns:
        scalar; the lower the better, -73.7 at best. Finite on a silent reference.

    Source: Jordal 2023, github.com/nomonosound/log-wmse-audio-quality.
    """
    check_pair(reference, estimate, AXES)
    score = log_wmse(
        reference=reference,
        estimate=estimate,
        mixture=reference.sum(1, keepdim=True),
        sample_rate=sample_rate,
    )
    return -_mean(score if present is None else score[present])


def _compared(
    estimate: Tensor, reference: Tensor, present: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The pair, after a check; with `present`, its rows (n, channels, samples)."""
    check_pair(reference, estimate, AXES)
    if present is None:
        return estimate, reference
    return estimate[present], reference[present]


def _mean(values: Tensor) -> Tensor:
    """The mean; 0 if nothing is compared."""
    return values.mean() if values.numel() else values.sum()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "waveform_l1": waveform_l1,
    "waveform_mse": waveform_mse,
    "si_sdr_loss": si_sdr_loss,
    "spectrogram_l1": spectrogram_l1,
    "magnitude_l1": magnitude_l1,
    "magnitude_mse": magnitude_mse,
    "multi_resolution_stft": multi_resolution_stft,
    "thresholded_snr": thresholded_snr,
    "band_split_l1": band_split_l1,
    "spectrogram_rmse": spectrogram_rmse,
    "log_wmse_loss": log_wmse_loss,
}
