"""Augmentations: pure functions that make many training examples out of few songs.

All functions take sources (…, stems, channels, samples) and return new sources of the
same shape; the input does not change. InputError: there is no stem axis, or an argument
is out of range. All random numbers come from the generator, so the same state of the
generator gives the same result, on any device.

    random_gain     a new balance of the stems                  for each stem
    flip_channels   left becomes right                          for each stem
    flip_sign       the waveform times -1, which is inaudible   for each stem
    random_silence  some stems are silent                       for each stem
    remix           stems of different songs in one example     in groups of a batch

The mixture of augmented sources is their sum: compute it afterwards.

Source: Uhlich et al. 2017, "Improving music source separation based on deep neural
networks through data augmentation and network blending", section 3; flip_sign and the
groups of remix: Défossez et al. 2019, "Music source separation in the waveform domain",
section 5.
"""

import torch
from torch import Tensor

from mssedu.errors import InputError, check_axes, check_range


def random_gain(
    sources: Tensor,
    low_db: float = -10.0,
    high_db: float = 6.0,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Multiply each stem by its own gain, which is uniform in dB.

    Args:
        sources: (…, stems, channels, samples).
        low_db, high_db: smallest and largest gain, dB.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> random_gain(torch.ones(4, 2, 9), -6, -6, generator=generator)[0, 0, 0]
        tensor(0.5012)
    """
    check_range("high_db", high_db, low_db)
    share = _uniform(sources, generator)
    return sources * 10 ** ((low_db + (high_db - low_db) * share) / 20)


def flip_channels(
    sources: Tensor, probability: float = 0.5, *, generator: torch.Generator
) -> Tensor:
    """Reverse the channels of a stem (left ↔ right) with a probability of 0 … 1."""
    chosen = chosen_stems(sources, probability, generator)
    return torch.where(chosen, sources.flip(-2), sources)


def flip_sign(
    sources: Tensor, probability: float = 0.5, *, generator: torch.Generator
) -> Tensor:
    """Multiply a stem by -1 with a probability of 0 … 1.

    The stem sounds the same, but the mixture differs.
    """
    return torch.where(chosen_stems(sources, probability, generator), -sources, sources)


def random_silence(
    sources: Tensor, probability: float = 0.1, *, generator: torch.Generator
) -> Tensor:
    """Silence a stem with a probability of 0 … 1, as stems often are in real songs."""
    return sources.masked_fill(chosen_stems(sources, probability, generator), 0.0)


def remix(
    sources: Tensor, group_size: int | None = None, *, generator: torch.Generator
) -> Tensor:
    """Shuffle the stems across the batch, each stem with its own permutation.

    Args:
        sources: (batch, stems, channels, samples).
        group_size: number of examples that exchange stems, a divisor of batch. None:
            the whole batch.

    Returns:
        the same shape; every stem of the batch occurs exactly once.

    Example:
        >>> sources = torch.arange(3.0).reshape(3, 1, 1, 1)
        >>> shuffled = remix(sources, generator=torch.Generator().manual_seed(0))
        >>> sorted(shuffled.flatten().tolist())
        [0.0, 1.0, 2.0]
    """
    check_axes("sources", sources, ("batch", "stems", "channels", "samples"))
    batch, stems = sources.shape[:2]
    size = batch if group_size is None else group_size
    if size < 1 or batch % size:
        divisors = [str(n) for n in range(1, batch + 1) if batch % n == 0]
        raise InputError(
            f"group_size must divide the batch of {batch}, got {size}. Choose one of "
            f"{', '.join(divisors)}."
        )
    # The order of uniform random numbers is a random permutation per (group, stem).
    device = generator.device
    draws = torch.rand(batch // size, size, stems, generator=generator, device=device)
    offsets = torch.arange(0, batch, size, device=device)[:, None, None]
    order = (draws.argsort(dim=1) + offsets).reshape(batch, stems).to(sources.device)
    return sources[order, torch.arange(stems, device=sources.device)]


def chosen_stems(
    sources: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """Whether each stem is chosen by chance, bool (…, stems, 1, 1)."""
    check_range("probability", probability, 0, 1)
    return _uniform(sources, generator) < probability


def _uniform(sources: Tensor, generator: torch.Generator) -> Tensor:
    """One uniform number in [0, 1) per stem, shaped (…, stems, 1, 1)."""
    if sources.ndim < 3:
        raise InputError(
            "sources must be (…, stems, channels, samples), got the shape "
            f"{tuple(sources.shape)}. Add the missing axes, e.g. audio[None]."
        )
    shape = (*sources.shape[:-2], 1, 1)
    # On the device of the generator, so a CPU generator also serves a batch on the GPU.
    numbers = torch.rand(shape, generator=generator, device=generator.device)
    return numbers.to(sources.device, sources.dtype)
