"""Losses of the papers on networks that split the spectrum into bands.

They are in `mssedu.training.LOSSES`, whose rules hold here too: `estimate` and
`reference` by keyword, rows of absent stems left out, a finite gradient on silence.

    name               compares                                   known for
    band_split_l1      samples + real and imaginary parts         Band-Split RNN
    spectrogram_rmse   real and imaginary parts, stem by stem     SCNet

Notebook: 15.
"""

import torch
from torch import Tensor

from mssedu.metrics.pairs import check_pair
from mssedu.spectral import stft

AXES = ("batch", "stems", "channels", "samples")
TINY = 1e-12  # mean power below which a root has no steep gradient


def band_split_l1(
    *,
    estimate: Tensor,
    reference: Tensor,
    n_fft: int = 2048,
    hop_length: int = 512,
    present: Tensor | None = None,
) -> Tensor:
    """Absolute difference of the samples, and of both parts of the spectrograms.

    The mean of the samples, that of the real parts and that of the imaginary parts are
    added with equal weights. The STFT is not normalized, so the spectrograms weigh most
    by far, and the samples keep the phase of neighboring frames together.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        n_fft: window length, samples, even.
        hop_length: samples between frames.
        present: bool (batch, stems).

    Returns:
        scalar ≥ 0.

    Example:
        >>> zeros = torch.zeros(1, 4, 2, 4096)
        >>> band_split_l1(estimate=zeros, reference=zeros)
        tensor(0.)

    Source: Luo and Yu 2023, "Music source separation with band-split RNN".
    """
    error = _error(estimate, reference, present)
    if not error.numel():
        return error.sum()
    parts = torch.view_as_real(stft(error, n_fft, hop_length))
    return error.abs().mean() + 2 * parts.abs().mean()


def spectrogram_rmse(
    *,
    estimate: Tensor,
    reference: Tensor,
    n_fft: int = 4096,
    hop_length: int = 1024,
    present: Tensor | None = None,
) -> Tensor:
    """Root mean square of the spectrogram's error, for each stem of each example.

    The mean of the roots follows the level of each stem: a quiet one counts more than
    in a mean of squares, in which the loudest one decides.

    Args:
        estimate, reference: (batch, stems, channels, samples).
        n_fft: window length, samples, even.
        hop_length: samples between frames.
        present: bool (batch, stems).

    Returns:
        scalar ≥ 0; the STFT keeps energy, so window lengths compare.

    Example:
        >>> zeros = torch.zeros(1, 4, 2, 4096)
        >>> bool(spectrogram_rmse(estimate=zeros + 1, reference=zeros) > 0.1)
        True

    Source: Tong et al. 2024, "SCNet: sparse compression network for music source
    separation".
    """
    error = _error(estimate, reference, present)
    if not error.numel():
        return error.sum()
    parts = torch.view_as_real(stft(error, n_fft, hop_length, normalized=True))
    return (parts.square().flatten(1).mean(1) + TINY).sqrt().mean()


def _error(estimate: Tensor, reference: Tensor, present: Tensor | None) -> Tensor:
    """The difference; with `present`, its rows (n, channels, samples)."""
    check_pair(reference, estimate, AXES)
    error = estimate - reference
    return error.flatten(0, 1) if present is None else error[present]
