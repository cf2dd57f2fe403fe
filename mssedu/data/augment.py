"""Augmentations: pure functions that make many training examples out of few songs.

All take sources (…, stems, channels, samples), return new ones of the same shape and
leave their input untouched. Randomness comes from the generator given and from nothing
else, so the same generator state gives the same result, on any device.

    random_gain     a new balance of the stems           each stem by itself
    flip_channels   left becomes right                   each stem by itself
    flip_sign       the waveform upside down, inaudible  each stem by itself
    remix           stems of different songs together    within groups of a batch

The mixture of augmented sources is their sum: compute it afterwards.

Source: Uhlich et al. 2017, "Improving music source separation based on deep neural
networks through data augmentation and network blending", section 3; flip_sign and the
groups of remix: Défossez et al. 2019, "Music source separation in the waveform domain",
section 5.
"""

import torch
from torch import Tensor

from mssedu.errors import InputError, check_range, message


def random_gain(
    sources: Tensor,
    low_db: float = -10.0,
    high_db: float = 6.0,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Each stem louder or softer by its own gain, uniform in dB.

    Args:
        sources: (…, stems, channels, samples).
        low_db: smallest gain, dB.
        high_db: largest gain, dB, at least low_db.

    Returns:
        the same shape.

    Raises:
        InputError: low_db above high_db, or no stem axis.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> random_gain(torch.ones(4, 2, 9), -6, -6, generator=generator)[0, 0, 0]
        tensor(0.5012)
    """
    if not low_db <= high_db:
        got = f"{low_db} and {high_db}"
        remedy = "Exchange the two."
        raise InputError(message("random_gain", "low_db ≤ high_db", got, remedy))
    share = _draw("random_gain", sources, generator)
    return sources * 10 ** ((low_db + (high_db - low_db) * share) / 20)


def flip_channels(
    sources: Tensor, probability: float = 0.5, *, generator: torch.Generator
) -> Tensor:
    """Each stem with its channels in reverse order (left ↔ right), by chance.

    Args:
        sources: (…, stems, channels, samples); one channel stays as it is.
        probability: of a flip, 0 … 1.

    Returns:
        the same shape.

    Raises:
        InputError: a probability outside its range, or no stem axis.
    """
    check_range("probability", probability, 0, 1)
    flip = _draw("flip_channels", sources, generator) < probability
    return torch.where(flip, sources.flip(-2), sources)


def flip_sign(
    sources: Tensor, probability: float = 0.5, *, generator: torch.Generator
) -> Tensor:
    """Each stem multiplied by -1, by chance: another mixture, the same sound.

    Args:
        sources: (…, stems, channels, samples).
        probability: of a flip, 0 … 1.

    Returns:
        the same shape.

    Raises:
        InputError: a probability outside its range, or no stem axis.
    """
    check_range("probability", probability, 0, 1)
    flip = _draw("flip_sign", sources, generator) < probability
    return torch.where(flip, -sources, sources)


def random_silence(
    sources: Tensor, probability: float = 0.1, *, generator: torch.Generator
) -> Tensor:
    """Each stem silent by chance, as it often is in real songs.

    Args:
        sources: (…, stems, channels, samples).
        probability: of silence, 0 … 1.

    Returns:
        the same shape.

    Raises:
        InputError: a probability outside its range, or no stem axis.
    """
    check_range("probability", probability, 0, 1)
    silent = _draw("random_silence", sources, generator) < probability
    return sources.masked_fill(silent, 0.0)


def remix(
    sources: Tensor, group_size: int | None = None, *, generator: torch.Generator
) -> Tensor:
    """Stems shuffled across the batch, each stem by its own permutation.

    Args:
        sources: (batch, stems, channels, samples).
        group_size: examples that exchange stems; a divisor of batch; all of it if None.

    Returns:
        the same shape; every stem of the batch occurs exactly once.

    Raises:
        InputError: not four axes, or a batch that is no multiple of group_size.

    Example:
        >>> sources = torch.arange(3.0).reshape(3, 1, 1, 1)
        >>> shuffled = remix(sources, generator=torch.Generator().manual_seed(0))
        >>> sorted(shuffled.flatten().tolist())
        [0.0, 1.0, 2.0]
    """
    if sources.ndim != 4 or sources.shape[0] < 1:
        wanted = "(batch ≥ 1, stems, channels, samples)"
        remedy = "Stack the examples of a batch along a first axis."
        raise InputError(message("remix", wanted, tuple(sources.shape), remedy))
    batch, stems = sources.shape[:2]
    size = batch if group_size is None else group_size
    if size < 1 or batch % size:
        allowed = [n for n in range(1, batch + 1) if batch % n == 0]
        wanted = f"a group_size that divides the batch of {batch}"
        remedy = f"Choose one of {allowed}, or another batch size."
        raise InputError(message("remix", wanted, size, remedy))
    # Sorting uniform draws gives a permutation per (group, stem).
    device = generator.device
    draws = torch.rand(batch // size, size, stems, generator=generator, device=device)
    offsets = torch.arange(0, batch, size, device=device)[:, None, None]
    order = (draws.argsort(dim=1) + offsets).reshape(batch, stems).to(sources.device)
    return sources[order, torch.arange(stems, device=sources.device)]


def _draw(where: str, sources: Tensor, generator: torch.Generator) -> Tensor:
    """One uniform number in [0, 1) per stem, shaped (…, stems, 1, 1)."""
    if sources.ndim < 3:
        wanted = "sources (…, stems, channels, samples)"
        remedy = "Add the missing axes, e.g. audio[None] for a single stem."
        raise InputError(message(where, wanted, tuple(sources.shape), remedy))
    shape = (*sources.shape[:-2], 1, 1)
    # Drawn on the generator's device: a CPU generator then serves a GPU batch too.
    draws = torch.rand(shape, generator=generator, device=generator.device)
    return draws.to(sources.device, sources.dtype)
