"""Short-time Fourier transform with perfect reconstruction for any length.

    waveform (…, samples) ──stft──▶ spectrogram (…, bins, frames) ──istft──▶ waveform

Frames are centered: frame m contains the samples around m · hop_length, with zeros
beyond both ends, so that the first and the last sample have the same weight as all
others. The inverse adds the windowed frames and divides by the sum of the squared
windows (weighted overlap-add). It is exact wherever that sum is not zero.

Source: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier
transform". Notebook: 02.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mssedu.errors import InputError, check_range


def n_frames(n_samples: int, n_fft: int, hop_length: int) -> int:
    """Number of frames of the centered STFT: n_samples // hop_length + 1.

    With less than 75 % overlap, there may be one frame more. Otherwise, the last
    samples would be in the tail of the last window, too weak to be reconstructed.

    Example:
        >>> n_frames(44100, 4096, 1024), n_frames(511, 1024, 512)
        (44, 2)
    """
    covering = -((n_fft // 2 - hop_length - n_samples) // hop_length)
    return max(n_samples // hop_length, covering) + 1


def stft(
    audio: Tensor,
    n_fft: int = 4096,
    hop_length: int = 1024,
    *,
    window: Tensor | None = None,
    pad_mode: str = "constant",
    normalized: bool = False,
) -> Tensor:
    """Complex spectrogram of a waveform.

    Args:
        audio: (…, samples), at least one sample.
        n_fft: window and transform length, samples, even.
        hop_length: samples between frames; n_fft // 4 is usual.
        window: (n_fft,); None: the periodic Hann window.
        pad_mode: the samples beyond both ends: "constant" (zeros) or "reflect", which
            needs more than n_fft // 2 samples.
        normalized: divide by sqrt(n_fft), so that the transform preserves the energy.

    Returns:
        (…, bins, frames) complex, bins = n_fft // 2 + 1, frames = `n_frames`.

    Raises:
        InputError: odd n_fft, a hop outside 1 … n_fft, or too few samples.

    Example:
        >>> stft(torch.zeros(2, 44100), 4096, 1024).shape
        torch.Size([2, 2049, 44])
    """
    _check_sizes(n_fft, hop_length)
    samples, half = audio.shape[-1] if audio.ndim else 0, n_fft // 2
    least = half + 1 if pad_mode == "reflect" else 1
    if samples < least:
        raise InputError(
            f"audio must be (…, samples) with at least {least} samples for "
            f"pad_mode={pad_mode!r}, got the shape {tuple(audio.shape)}. Pad it with "
            "zeros."
        )
    flat = audio.reshape(-1, 1, samples)
    padded = F.pad(flat, (half, half), mode=pad_mode)[:, 0]
    frames = n_frames(samples, n_fft, hop_length)
    missing = (frames - 1) * hop_length + n_fft - padded.shape[-1]
    spectrogram = torch.stft(
        F.pad(padded, (0, max(missing, 0))),
        n_fft,
        hop_length,
        window=_hann(n_fft, audio) if window is None else window,
        center=False,
        normalized=normalized,
        return_complex=True,
    )
    return spectrogram.reshape(*audio.shape[:-1], *spectrogram.shape[-2:])


def istft(
    spectrogram: Tensor,
    hop_length: int = 1024,
    *,
    length: int,
    window: Tensor | None = None,
    normalized: bool = False,
) -> Tensor:
    """Waveform of a complex spectrogram: the exact inverse of `stft`.

    Args:
        spectrogram: (…, bins, frames) complex; n_fft = 2 · (bins - 1).
        hop_length: samples between frames, as in `stft`.
        length: number of samples of the result, as before `stft`.
        window: (n_fft,), as in `stft`; None: the periodic Hann window.
        normalized: as in `stft`.

    Returns:
        (…, length) real.

    Raises:
        InputError: too few frames for `length`, or a window and hop that do not cover
            every sample, so that there is no inverse.

    Example:
        >>> x = torch.randn(2, 5000)
        >>> torch.allclose(istft(stft(x), length=5000), x, atol=1e-5)
        True
    """
    bins, frames = spectrogram.shape[-2:]
    n_fft = 2 * (bins - 1)
    _check_sizes(n_fft, hop_length)
    check_range("length", length, 1, (frames - 1) * hop_length + n_fft // 2)
    window = _hann(n_fft, spectrogram.real) if window is None else window
    if not covers(window, hop_length):
        raise InputError(
            f"hop_length = {hop_length} with n_fft = {n_fft} does not cover every "
            "sample with a window. Use a smaller hop_length: n_fft // 4 is usual with "
            "Hann windows."
        )
    audio = torch.istft(
        spectrogram.reshape(-1, bins, frames),
        n_fft,
        hop_length,
        window=window,
        center=True,
        normalized=normalized,
        length=length,
    )
    return audio.reshape(*spectrogram.shape[:-2], length)


def complex_as_channels(spectrogram: Tensor) -> Tensor:
    """Turn each complex channel into two real channels, for networks of real numbers.

    Args:
        spectrogram: (…, channels, bins, frames) complex.

    Returns:
        (…, 2 · channels, bins, frames) real: the real part of a channel, then its
        imaginary part, then the next channel.

    Example:
        >>> complex_as_channels(torch.tensor([[[1.0 + 2.0j]]])).flatten()
        tensor([1., 2.])

    Source: Choi et al. 2020, "Investigating U-Nets with various intermediate blocks
    for spectrogram-based singing voice separation".
    """
    # c channels, f bins, m frames, r real and imaginary part
    parts = torch.view_as_real(spectrogram)
    return rearrange(parts, "... c f m r -> ... (c r) f m")


def channels_as_complex(parts: Tensor) -> Tensor:
    """The inverse of `complex_as_channels`.

    Args:
        parts: (…, 2 · channels, bins, frames) real, not bfloat16.

    Returns:
        (…, channels, bins, frames) complex.

    Example:
        >>> channels_as_complex(torch.tensor([[[1.0]], [[2.0]]])).flatten()
        tensor([1.+2.j])
    """
    pairs = rearrange(parts, "... (c r) f m -> ... c f m r", r=2)
    return torch.view_as_complex(pairs.contiguous())


def covers(window: Tensor, hop_length: int) -> bool:
    """Whether a window covers every sample: the condition for an inverse.

    The sum of the squared windows repeats every hop_length samples; it must not be 0.

    Example:
        >>> covers(torch.hann_window(1024), 512), covers(torch.hann_window(1024), 1024)
        (True, False)
    """
    padded = F.pad(window.square(), (0, -len(window) % hop_length))
    total = padded.reshape(-1, hop_length).sum(0)
    return bool(total.min() > 1e-6 * total.max())


def _hann(win_length: int, like: Tensor) -> Tensor:
    """Periodic Hann window on the device and in the precision of `like`."""
    return torch.hann_window(win_length, dtype=like.dtype, device=like.device)


def _check_sizes(n_fft: int, hop_length: int) -> None:
    if n_fft < 2 or n_fft % 2:
        raise InputError(
            f"n_fft must be even and at least 2, got {n_fft}. Add 1 to it."
        )
    check_range("hop_length", hop_length, 1, n_fft)
