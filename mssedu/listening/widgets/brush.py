"""A brush on a mask: strokes in seconds and Hz become bins and frames.

    stroke = {"value": 1, "points": [(0.5, 440.0), …], "seconds": 0.1, "octaves": 0.25}

A dab covers an ellipse whose height is told in octaves, as the picture and the ear
count frequency. Strokes are kept in these units and not as pixels, so that they fit
every transform. Notebook: 03.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Point = Sequence[float]  # (seconds, Hz)


def paint(
    mask: Tensor,
    strokes: Sequence[Mapping[str, Any]],
    sample_rate: int,
    hop_length: int,
) -> Tensor:
    """The mask with strokes on it, later ones over earlier ones.

    Args:
        mask: (channels, bins, frames), 0 … 1; stays as it is.
        strokes: each with the value that it sets, points (seconds, Hz), and half the
            width (seconds) and half the height (octaves) of the brush.
        sample_rate: Hz.
        hop_length: samples between frames.

    Returns:
        A mask of the same shape.

    Example:
        >>> dot = {"value": 1, "points": [(0, 2000)], "seconds": 0.1, "octaves": 0.1}
        >>> paint(torch.zeros(1, 5, 2), [dot], 8000, 4000)[0, :, 0]
        tensor([0., 0., 1., 0., 0.])
    """
    mask = mask.clone()
    _, bins, frames = mask.shape
    seconds = torch.arange(frames) * hop_length / sample_rate
    step_hz = sample_rate / 2 / (bins - 1)
    # Bin 0 reaches from 0 to half a step; a logarithm needs a place above zero.
    octaves = (torch.arange(bins).clamp_min(0.5) * step_hz).log2()
    for stroke in strokes:
        width, height = stroke["seconds"], stroke["octaves"]
        for second, hz in _dabs(stroke["points"], width, height):
            across = (seconds - second) / width
            up = (octaves - torch.tensor(max(hz, 1.0)).log2()) / height
            mask[:, across.square() + up.square()[:, None] <= 1] = stroke["value"]
    return mask


def _dabs(points: Sequence[Point], width: float, height: float) -> Iterator[Point]:
    """The points, and others between them, no further apart than half a brush."""
    if points:
        yield points[0]
    for (t0, f0), (t1, f1) in itertools.pairwise(points):
        low, high = torch.tensor([max(f0, 1.0), max(f1, 1.0)]).log2().tolist()
        apart = max(abs(t1 - t0) / width, abs(high - low) / height)
        n = max(1, round(2 * apart + 0.5))
        for i in range(1, n + 1):
            yield t0 + (t1 - t0) * i / n, 2 ** (low + (high - low) * i / n)
