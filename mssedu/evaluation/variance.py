"""Where the spread of scores comes from: songs, seeds, or both together.

    score of a song with a seed = mean + song + seed + residual

The three variances follow from the mean squares of a table with one score per cell
(two-way analysis of variance, both factors random). They say what the next study needs:
the error of the mean falls with more songs only as far as songs cause it, and with more
seeds only as far as seeds do.

Source: Searle, Casella, McCulloch 1992, "Variance components". Notebook: 17.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mssedu.errors import InputError


@dataclass(frozen=True)
class VarianceSplit:
    """Variances of songs, seeds and the residual, each in dB²; none is below 0."""

    song: float
    seed: float
    residual: float
    n_songs: int
    n_seeds: int

    def standard_error(self, n_songs: int, n_seeds: int) -> float:
        """Standard error of the mean, in dB, with other numbers of songs and seeds."""
        if n_songs < 1 or n_seeds < 1:
            raise InputError(
                f"n_songs and n_seeds must be at least 1, got {n_songs} and {n_seeds}. "
                "A mean needs a song and a seed."
            )
        cells = n_songs * n_seeds
        parts = (self.song / n_songs, self.seed / n_seeds, self.residual / cells)
        return math.sqrt(sum(parts))

    @property
    def shares(self) -> dict[str, float]:
        """The share of each part in the variance of the mean, 0 … 1."""
        parts = {
            "songs": self.song / self.n_songs,
            "seeds": self.seed / self.n_seeds,
            "residual": self.residual / (self.n_songs * self.n_seeds),
        }
        total = sum(parts.values())
        return {name: part / total if total else 0.0 for name, part in parts.items()}


def split_variance(scores: ArrayLike | Sequence[Sequence[float]]) -> VarianceSplit:
    """Estimate the variances of songs, seeds and the residual.

    Args:
        scores: (songs, seeds), dB, at least two of each, finite.

    Raises:
        InputError: another shape, or values that are not finite.

    Example:
        >>> split = split_variance([[1.0, 1.2], [5.0, 5.2], [3.0, 3.2]])
        >>> round(split.song, 2), round(split.seed, 2), round(split.residual, 2)
        (4.0, 0.02, 0.0)
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise InputError(
            "scores must be finite, (songs, seeds), two or more of each, got the "
            f"shape {table.shape}. Leave out songs that lack a score."
        )
    n_songs, n_seeds = table.shape
    songs, seeds = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    rest = table - songs - seeds + table.mean()
    residual = float((rest**2).sum()) / ((n_songs - 1) * (n_seeds - 1))
    song = float(songs.var(ddof=1)) - residual / n_seeds
    seed = float(seeds.var(ddof=1)) - residual / n_songs
    return VarianceSplit(max(song, 0.0), max(seed, 0.0), residual, n_songs, n_seeds)
