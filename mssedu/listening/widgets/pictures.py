"""Spectrogram images for the widgets: one byte per pixel, from `mssedu.spectral.stft`.

    audio ──spectral.stft──▶ power ──rows of octaves──▶ dB re loudest ──▶ 0 … 255

The browser adds the colors and computes no transform, so the picture shows what
`mssedu.spectral` computes. Row 0 is the lowest frequency. Notebooks: 02, 03.
"""

import matplotlib
import numpy as np
import torch
from torch import Tensor

from mssedu.spectral import stft

LOWEST_HZ = 30.0  # about the lowest note of a bass
RANGE_DB = 80.0  # levels further below the loudest pixel are black
N_ROWS = 256


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
    power = spectrogram.abs().square().mean(0).double()
    power = octave_rows(power, sample_rate).clamp_min(0)
    loudest = float(power.max())
    if not loudest:
        return torch.zeros(power.shape)
    level = 10 * (power / loudest).clamp_min(1e-30).log10()
    return (1 + level / RANGE_DB).clamp(0, 1).float()


def picture(
    audio: Tensor, sample_rate: int, n_fft: int, hop_length: int
) -> tuple[bytes, int]:
    """The spectrogram of (channels, samples) as bytes, and its number of frames."""
    image = level_image(stft(audio, n_fft, hop_length), sample_rate)
    return to_bytes(image), image.shape[1]


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
