"""What stands around networks that estimate magnitudes: Open-Unmix, MMDenseLSTM, D3Net.

    mixture ─ any_stft ─▶ spectrogram ─ networks, one per stem ─▶ magnitudes
                              └──────── filter_windows ◀──────────────┘

`bin_statistics` gives the mean and the deviation of each bin over a data set, with
which such networks start: loud low bins and quiet high ones then count alike.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.masks import wiener
from mssedu.spectral import stft


def any_stft(mixture: Tensor, n_fft: int, hop_length: int) -> tuple[Tensor, int]:
    """STFT with reflected ends, of a mixture of any length.

    Reflection needs more samples than n_fft // 2; zeros fill up what is missing.

    Returns:
        spectrogram (…, bins, frames) and the number of samples that it is of: give it
        to `istft`, and cut its result to the samples of the mixture.

    Example:
        >>> spectrogram, length = any_stft(torch.zeros(2, 100), 4096, 1024)
        >>> spectrogram.shape, length
        (torch.Size([2, 2049, 3]), 2049)
    """
    samples = mixture.shape[-1]
    missing = max(n_fft // 2 + 1 - samples, 0)
    padded = F.pad(mixture, (0, missing))
    return stft(padded, n_fft, hop_length, pad_mode="reflect"), samples + missing


def filter_windows(
    magnitude: Tensor,
    spectrogram: Tensor,
    n_iterations: int,
    n_frames: int,
    *,
    residual: bool = False,
) -> Tensor:
    """Wiener filter over consecutive windows of frames, see `mssedu.masks.wiener`.

    The mixture is shared out among the sources. With the residual as one more source,
    sound that belongs to no stem goes there. A single stem always has this residual: it
    would be the whole mixture otherwise.

    Args:
        magnitude: estimates, (batch, stems, channels, bins, frames).
        spectrogram: of the mixture, complex, (batch, channels, bins, frames).
        n_iterations: EM steps; 0 keeps the magnitudes and the phase of the mixture.
        n_frames: of a window.
        residual: one more source for the rest; it is not returned.

    Returns:
        complex, shaped like `magnitude`.
    """
    n_stems = magnitude.shape[1]
    residual = residual or n_stems == 1
    if torch.compiler.is_exporting():
        side_by_side = (
            _in_windows(magnitude, n_frames),
            _in_windows(spectrogram, n_frames),
        )
        joined = wiener(*side_by_side, n_iterations, residual=residual)
        joined = joined.movedim(1, -2).flatten(-2)
        return joined[:, :n_stems, ..., : magnitude.shape[-1]]
    windows = zip(
        magnitude.split(n_frames, -1), spectrogram.split(n_frames, -1), strict=True
    )
    filtered = [wiener(*w, n_iterations, residual=residual) for w in windows]
    return torch.cat(filtered, dim=-1)[:, :n_stems]


def _in_windows(x: Tensor, n_frames: int) -> Tensor:
    """(batch, …, frames) -> (batch, windows, …, n_frames), with zeros at the end.

    The number of operations in an exported graph is fixed, so it cannot have a loop
    over the windows of a mixture of any length. Frames of zeros add nothing to the sums
    in `wiener`.
    """
    x = F.pad(x, (0, -x.shape[-1] % n_frames))
    return x.unflatten(-1, (-1, n_frames)).movedim(-2, 1)


def bin_statistics(
    excerpts: Iterable[Tensor], n_fft: int, hop_length: int, n_bins: int
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the magnitude in the lowest bins, over all frames.

    A bin that is almost always empty has the deviation of a bin 80 dB below the
    strongest, so that its reciprocal is finite.

    Args:
        excerpts: mixtures, (channels, samples) each.
        n_fft, hop_length: of the STFT.
        n_bins: how many of its bins.

    Returns:
        mean (n_bins,) and deviation (n_bins,) > 0.
    """
    magnitudes = [stft(x, n_fft, hop_length).abs() for x in excerpts]
    frames = torch.cat(magnitudes, dim=-1)[:, :n_bins].mean(0)
    deviation, mean = torch.std_mean(frames, dim=-1)
    return mean, deviation.clamp_min(1e-4 * deviation.max().clamp_min(1e-9))
