"""Where the chunks of a song lie, what a model is shown of it, and what is kept.

    song     ├──────────────────────────────────────────────┤
    kept     ├────length────┤
                        ├────length────┤           each starts one stride later
                                   ├────length────┤
                                              ├────┤ the rest
    shown              ├┈┈├────kept──────┤┈┈┤        with music around it, if so wanted

Without context the model is shown what is kept; the rest at the end in the middle of a
full chunk, music before it and zeros after it. That is how Demucs does it, so that the
same weights give the same estimate as there. With context it is shown the seconds
before and after, as far as the song has them, and no zeros: a model whose receptive
field ends within the context gives what it would give for the whole song at once.
Notebook: 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SHIFT_SECONDS = 0.5  # the farthest that a pass of `shifts` is moved, as in Demucs


@dataclass(frozen=True)
class Chunks:
    """The chunks of one song; everything in samples."""

    samples: int  # of the song
    length: int  # kept of a chunk, less at the ends of the song
    starts: Sequence[int]  # first sample of each, in order; < 0: begins before the song
    weight: Tensor  # (length,), > 0
    width: int  # shown to the model, ≥ length; with context more
    context: int = 0  # shown on either side

    def kept(self, start: int) -> tuple[int, int]:
        """First sample of a chunk that is kept, and the one after the last."""
        return max(start, 0), min(start + self.length, self.samples)

    def shown(self, start: int) -> tuple[int, int]:
        """What the model is shown for it; beyond the song there are zeros."""
        begin, end = self.kept(start)
        if self.context:
            return max(begin - self.context, 0), min(end + self.context, self.samples)
        # In the middle, but no zeros before a song that could fill the width itself.
        lowest = -(max(self.width - self.samples, 0) // 2)
        first = max(begin - (self.width - (end - begin)) // 2, lowest)
        return first, first + self.width

    @property
    def seams(self) -> list[int]:
        """Where a chunk begins or ends within the song: where a click could be."""
        edges = {edge for start in self.starts for edge in self.kept(start)}
        return sorted(edges - {0, self.samples})


def chunk_starts(
    samples: int, length: int, overlap: float, offsets: Sequence[int] = (0,)
) -> list[int]:
    """First sample of each chunk; what is left at the end is a shorter one.

    Args:
        offsets: one pass over the song for each, which begins so many samples before
            it: the chunks of all passes, in order.

    Example:
        >>> chunk_starts(samples=10, length=4, overlap=0.25)
        [0, 3, 6, 9]
        >>> chunk_starts(samples=4, length=4, overlap=0.25)
        [0]
        >>> chunk_starts(samples=6, length=4, overlap=0.0, offsets=(0, 1))
        [-1, 0, 3, 4]
    """
    stride = max(1, round(length * (1 - overlap)))
    passes = [
        [0] if samples == length and offset == 0 else range(-offset, samples, stride)
        for offset in offsets
    ]
    starts = sorted(start for each in passes for start in each)
    return [start for start in starts if start + length > 0]  # not all before the song


def random_offsets(shifts: int, sample_rate: int, seed: int) -> list[int]:
    """How far before the song each pass begins: 0 … 0.5 s, in samples.

    Args:
        shifts: passes; none gives a single one that is not moved.
        sample_rate: Hz.

    Example:
        >>> random_offsets(0, 44100, seed=0)
        [0]
    """
    if shifts == 0:
        return [0]
    generator = torch.Generator().manual_seed(seed)
    farthest = round(SHIFT_SECONDS * sample_rate)
    return torch.randint(0, farthest + 1, (shifts,), generator=generator).tolist()


def chunk_weight(length: int, window: str = "triangle") -> Tensor:
    """Weight of each sample of a chunk, (length,): largest in the middle, never 0.

    Args:
        window: "triangle", "hann", or "rectangle", which fades nothing.

    Example:
        >>> chunk_weight(4)
        tensor([0.5000, 1.0000, 1.0000, 0.5000])
    """
    rising = torch.arange(1, length + 1)
    triangle = torch.minimum(rising, rising.flip(0)).double()
    if window == "rectangle":
        weight = torch.ones(length)
    elif window == "hann":
        weight = (triangle * torch.pi / (length + 1)).sin().square()
    else:
        weight = triangle
    return (weight / weight.max()).float()
