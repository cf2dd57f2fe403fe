"""What all random effects share: which stems are changed, and by how much.

    sources ──changed──▶ the stems that chance picks ──drawn──▶ a value for each ──▶ …
                                                   └──each───▶ … one by one, in NumPy

Notebook: 05.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mssedu.data.augment import chosen_stems
from mssedu.errors import InputError, check_finite, check_range

Limits = tuple[float, float]  # the lowest and the highest value that is drawn
_WINDOW = 2048  # samples; librosa's windows for pitch and tempo


def changed(
    sources: Tensor,
    sample_rate: int,
    probability: float,
    generator: torch.Generator,
    change: Callable[[Tensor], Tensor],
) -> Tensor:
    """A copy of sources; chosen stems, as (n, channels, samples), are changed in it."""
    check_range("sample_rate", sample_rate, 1)
    picked = chosen_stems(sources, probability, generator)[..., 0, 0]
    if not sources.is_floating_point():
        raise InputError(
            f"sources must be of a float type, got {sources.dtype}. Use "
            "sources.float(), scaled to ±1."
        )
    out = sources.clone()
    if sources.numel() and picked.any():
        # A Fourier transform needs float32 at least.
        wide = torch.promote_types(sources.dtype, torch.float32)
        out[picked] = change(sources[picked].to(wide)).to(out.dtype)
    return out


def drawn(like: Tensor, limits: Limits, generator: torch.Generator) -> Tensor:
    """A uniform number between the limits for each stem, (…, 1, 1)."""
    shape = (*like.shape[:-2], 1, 1)
    share = torch.rand(shape, generator=generator, device=generator.device)
    dtype = like.dtype if like.is_floating_point() else torch.float32
    return (limits[0] + (limits[1] - limits[0]) * share).to(like.device, dtype)


def check_limits(name: str, limits: Limits, least: float, most: float) -> None:
    """Raise InputError unless limits are two numbers in order, from least to most."""
    if not (isinstance(limits, tuple) and len(limits) == 2):
        raise InputError(f"{name} must be a tuple of two numbers, got {limits!r}.")
    check_range(f"{name}[0]", limits[0], least, most)
    check_range(f"{name}[1]", limits[1], limits[0], most)


def each(
    stems: Tensor,
    sample_rate: int,
    values: Tensor,
    change: Callable[[NDArray[np.float32], float], NDArray[np.float32]],
) -> Tensor:
    """Stems (n, channels, samples), changed one by one, each with its own value."""
    check_finite("sources", stems, sample_rate)
    out, samples = torch.zeros_like(stems), stems.shape[-1]
    for row, stem, value in zip(out, stems, values.flatten().tolist(), strict=True):
        if not stem.any():
            continue
        audio = F.pad(stem, (0, max(_WINDOW - samples, 0))).cpu().float().numpy()
        new = torch.from_numpy(change(audio, value))[:, :samples]
        row[:, : new.shape[-1]] = new.to(row)
    return out
