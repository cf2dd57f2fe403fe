"""Spectrogram images for the widgets: one byte per pixel, from `mssedu.spectral.stft`.

    audio ──spectral.stft──▶ power ──rows of octaves──▶ dB re loudest ──▶ 0 … 255

The browser adds the colors and computes no transform, so the picture shows what
`mssedu.spectral` computes. Row 0 is the lowest frequency. Notebooks: 02, 03.
"""

from collections.abc import Iterator

import matplotlib
import numpy as np
import torch
from torch import Tensor

from mssedu.spectral import n_frames, stft

LOWEST_HZ = 30.0  # about the lowest note of a bass
RANGE_DB = 80.0  # levels further below the loudest pixel are black
N_ROWS = 256
MOST_FRAMES = 8192  # columns of a picture: a canvas of any browser holds them
_PART_FRAMES = 2048  # frames transformed at once


def row_edges_hz(sample_rate: int) -> Tensor:
    """Limits of the rows in Hz, (N_ROWS + 1,), from 30 Hz to half the rate."""
    top = sample_rate / 2
    return LOWEST_HZ * (top / LOWEST_HZ) ** torch.linspace(0, 1, N_ROWS + 1)


def octave_rows(values: Tensor, sample_rate: int) -> Tensor:
    """Mean over the bins of each row: (bins, frames) to (N_ROWS, frames).

    Several low rows share one bin.
    """
    last = values.shape[0] - 1
    step_hz = sample_rate / 2 / last
    first = (row_edges_hz(sample_rate) / step_hz).round().long().clamp(max=last)
    low, high = first[:-1], torch.maximum(first[1:], first[:-1] + 1)
    total = torch.cat([torch.zeros(1, values.shape[1]), values.cumsum(0)])
    return (total[high] - total[low]) / (high - low)[:, None]


def to_bytes(image: Tensor) -> bytes:
    """Values 0 … 1 as one byte each, row by row."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy().tobytes()


def level_image(spectrogram: Tensor, sample_rate: int) -> Tensor:
    """Power in dB relative to the loudest pixel, 0 … 1 for the range of 80 dB.

    Args:
        spectrogram: complex (channels, bins, frames); the power is averaged over
            channels and over the bins of a row.
        sample_rate: Hz.

    Returns:
        (N_ROWS, frames); silence is 0 everywhere.
    """
    return _levels(_row_power(spectrogram, sample_rate))


def _row_power(spectrogram: Tensor, sample_rate: int) -> Tensor:
    power = spectrogram.abs().square().mean(0).double()
    return octave_rows(power, sample_rate).clamp_min(0)


def _levels(power: Tensor) -> Tensor:
    loudest = float(power.max())
    if not loudest:
        return torch.zeros(power.shape)
    level = 10 * (power / loudest).clamp_min(1e-30).log10()
    return (1 + level / RANGE_DB).clamp(0, 1).float()


def picture(
    audio: Tensor, sample_rate: int, n_fft: int, hop_length: int
) -> tuple[bytes, int, int]:
    """The spectrogram of (channels, samples) as bytes.

    A long sound is transformed in parts, so that the memory does not grow with it, and
    above 8192 frames a column is the mean power of several frames.

    Returns:
        The bytes, the number of columns, and the samples from one to the next.
    """
    power = torch.cat([*_parts(audio, sample_rate, n_fft, hop_length)], dim=1)
    together = -(-power.shape[1] // MOST_FRAMES)
    if together > 1:
        whole = power.shape[1] // together * together  # the last few are left out
        power = power[:, :whole].unflatten(1, (-1, together)).mean(-1)
    return to_bytes(_levels(power)), power.shape[1], hop_length * together


def _parts(
    audio: Tensor, sample_rate: int, n_fft: int, hop_length: int
) -> Iterator[Tensor]:
    """The power of consecutive frames, (N_ROWS, ≤ _PART_FRAMES) each.

    A part is transformed with some frames more on both sides, which are left out: at
    the ends of what `stft` gets, it sees silence.
    """
    frames = n_frames(audio.shape[-1], n_fft, hop_length)
    margin = -(-n_fft // hop_length)  # frames that reach over an end
    for first in range(0, frames, _PART_FRAMES):
        last = min(first + _PART_FRAMES, frames)
        begin = max(0, first - margin)
        end = (last + margin) * hop_length
        part = stft(audio[:, begin * hop_length : end], n_fft, hop_length)
        yield _row_power(part[..., first - begin : last - begin], sample_rate)


def axes(frames: int, hop_length: int) -> dict[str, float]:
    """What a page needs to draw the axes and the legend of a picture."""
    time = {"frames": frames, "hop_length": hop_length}
    return {**time, "lowest_hz": LOWEST_HZ, "range_db": RANGE_DB}


def palette() -> bytes:
    """256 colors as red, green, blue: the color map of the package's figures.

    Equal steps of level look equal, also to color-blind readers.
    """
    colors = matplotlib.colormaps["magma"](np.arange(256), bytes=True)
    return colors[:, :3].tobytes()
