"""Short-time Fourier transform with perfect reconstruction for any length.

    waveform (…, samples) ──stft──▶ spectrogram (…, bins, frames) ──istft──▶ waveform

Frames are centered: frame m contains the samples around m · hop_length, with zeros
beyond both ends, so that the first and the last sample have the same weight as all
others. The inverse adds the windowed frames and divides by the sum of the squared
windows (weighted overlap-add). It is exact wherever that sum is not zero. Whether it is
follows from the sizes alone: no value of a tensor decides what is computed, so that a
model with these two functions can be exported and compiled.

Source: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier
transform". Notebook: 02.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mssedu.errors import InputError, check_name, check_range

Window = Literal["hann", "rectangle"]


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
    window: Window = "hann",
    pad_mode: str = "constant",
    normalized: bool = False,
) -> Tensor:
    """Complex spectrogram of a waveform.

    Args:
        audio: (…, samples), at least one sample.
        n_fft: window and transform length, samples, even.
        hop_length: samples between frames; n_fft // 4 is usual.
        window: the periodic "hann" window, or "rectangle": all samples count alike.
        pad_mode: the samples beyond both ends: "constant" (zeros) or "reflect", which
            needs more than n_fft // 2 samples.
        normalized: divide by sqrt(n_fft), so that the transform preserves the energy.

    Returns:
        (…, bins, frames) complex, bins = n_fft // 2 + 1, frames = `n_frames`.

    Raises:
        InputError: odd n_fft, a hop outside 1 … n_fft, too few samples, or an unknown
            window.

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
        window=_window(window, n_fft, audio),
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
    window: Window = "hann",
    normalized: bool = False,
) -> Tensor:
    """Waveform of a complex spectrogram: the exact inverse of `stft`.

    Args:
        spectrogram: (…, bins, frames) complex; n_fft = 2 · (bins - 1).
        hop_length: samples between frames, as in `stft`.
        length: number of samples of the result, as before `stft`.
        window: as in `stft`.
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
    check_covers(window, n_fft, hop_length)
    weight = _window(window, n_fft, spectrogram.real)
    # The same scale as in `stft` where it is normalized
    norm = "ortho" if normalized else "backward"
    waves = torch.fft.irfft(spectrogram.reshape(-1, bins, frames).mT, n_fft, norm=norm)
    total = overlap_add(waves * weight, hop_length)
    weights = overlap_add(weight.square().expand(1, frames, -1), hop_length)
    first = n_fft // 2  # the frames are centered
    total = total[:, first : first + length] / weights[:, first : first + length]
    return total.reshape(*spectrogram.shape[:-2], length)


def overlap_add(pieces: Tensor, hop_length: int) -> Tensor:
    """Add pieces of a signal that start `hop_length` samples after one another.

    Args:
        pieces: (batch, frames, n_fft).
        hop_length: samples, at most n_fft.

    Returns:
        (batch, samples); samples is hop_length times a whole number.

    Example:
        >>> overlap_add(torch.ones(1, 3, 4), 2)
        tensor([[1., 1., 2., 2., 2., 2., 1., 1.]])
    """
    batch, frames, n_fft = pieces.shape
    n_parts = -(-n_fft // hop_length)
    # A piece is cut into parts of hop_length samples; those of equal rank are apart.
    total = pieces.new_zeros(batch, frames + n_parts - 1, hop_length)
    for rank, part in enumerate(pieces.split(hop_length, dim=-1)):
        total[:, rank : rank + frames, : part.shape[-1]] += part
    return total.flatten(1)


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


def check_covers(window: Window, n_fft: int, hop_length: int) -> None:
    """Raise InputError unless the windows cover every sample, so that `istft` exists.

    A rectangle always does. Hann windows are 0 at their ends; where only two of them
    meet, the sum of their squares is least in the middle of the place where they meet.

    Example:
        >>> check_covers("hann", 1024, 512)
    """
    check_name("window", window, get_args(Window))
    place = (n_fft - hop_length) // 2
    waves = [math.sin(math.pi * p / n_fft) for p in (place, place + hop_length)]
    least = sum(wave**4 for wave in waves)  # a Hann window is the square of a sine
    if window == "hann" and least < 1e-6:
        raise InputError(
            f"hop_length = {hop_length} with n_fft = {n_fft} does not cover every "
            "sample with a window. Use a smaller hop_length: n_fft // 4 is usual with "
            "Hann windows."
        )


def _window(window: Window, n_fft: int, like: Tensor) -> Tensor:
    """A window (n_fft,) on the device and in the precision of `like`."""
    check_name("window", window, get_args(Window))
    if window == "rectangle":
        return like.new_ones(n_fft)
    return torch.hann_window(n_fft, dtype=like.dtype, device=like.device)


def _check_sizes(n_fft: int, hop_length: int) -> None:
    if n_fft < 2 or n_fft % 2:
        raise InputError(
            f"n_fft must be even and at least 2, got {n_fft}. Add 1 to it."
        )
    check_range("hop_length", hop_length, 1, n_fft)
