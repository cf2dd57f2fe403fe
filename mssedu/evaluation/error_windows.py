"""Scores along a song: usdr of short windows, beside the level of the true stem.

    reference, estimate (stems, channels, samples) ─▶ windows of 1 s, every 0.5 s
        ├─▶ usdr      of each window
        └─▶ level_db  of the true stem there; audible if it is loud enough in the song

One number per song does not show which moments are bad. Often these are quiet windows:
where the true stem is weak, even a small error gives a low ratio. Notebook: 04.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mssedu.audio.tensors import rms_db
from mssedu.errors import InputError, check_range
from mssedu.metrics.pairs import check_pair
from mssedu.metrics.ratios import usdr

HOP_SECONDS = 0.5  # between windows; a window is twice as long
AUDIBLE_DB = -25.0  # windows in which the stem is further below its song do not count
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Windows:
    """Scores and levels along a song, or along several, one after the other."""

    seconds: Tensor  # (windows): middle of each window in its song
    usdr: Tensor  # (stems, windows) dB; NaN where the true stem is silent
    level_db: Tensor  # (stems, windows): level of the true stem, dBFS
    audible: Tensor  # (stems, windows): whether the stem is loud enough to count


def score_windows(
    *, references: Tensor, estimates: Tensor, mixture: Tensor, sample_rate: int
) -> Windows:
    """Score windows of one second, every half second; a shorter song is one window.

    Less than half a second at the end is not scored.

    Args:
        references, estimates: (stems, channels, samples).
        mixture: (channels, samples); its level decides which windows are audible.
        sample_rate: Hz.

    Raises:
        InputError: the shapes differ, or have no samples.

    Example:
        >>> s = torch.ones(1, 1, 300)
        >>> scored = score_windows(
        ...     references=s, estimates=0.9 * s, mixture=s[0], sample_rate=100
        ... )
        >>> scored.seconds.tolist(), scored.usdr.round().tolist()
        ([0.5, 1.0, 1.5, 2.0, 2.5], [[20.0, 20.0, 20.0, 20.0, 20.0]])
    """
    check_pair(references, estimates, names=("references", "estimates"))
    samples = references.shape[-1]
    hop_length = max(1, round(HOP_SECONDS * sample_rate))
    length = min(2 * hop_length, samples)

    def windows(audio: Tensor) -> Tensor:
        """(channels, samples) -> (windows, channels, length), a view."""
        return audio.unfold(-1, length, hop_length).transpose(0, 1)

    # One stem at a time, because squaring copies the overlapping windows.
    scores, powers = [], []
    for s, e in zip(references, estimates, strict=True):
        scores.append(usdr(reference=windows(s), estimate=windows(e)))
        powers.append(windows(s).square().mean((-2, -1)))
    level_db = 10 * torch.stack(powers).log10()
    middles = length / 2 + hop_length * torch.arange(level_db.shape[-1])
    # The level of a silent stem is -inf: it is not audible, even in a silent song.
    audible = level_db >= max(rms_db(mixture) + AUDIBLE_DB, -200.0)
    return Windows(middles / sample_rate, torch.stack(scores), level_db, audible)


def score_by_level(
    usdr: Tensor, level_db: Tensor, *, step_db: float = 6.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Quartiles of the scores of all windows whose level is within the same step.

    Args:
        usdr: (windows) dB; NaN is left out.
        level_db: (windows) dBFS.
        step_db: height of a step; each step begins at a multiple of it.

    Returns:
        level (steps) dB, the middle of each step that has windows, from low to high;
        quartiles (steps, 3) dB; windows in each (steps).

    Raises:
        InputError: the shapes differ, or the step is not above 0.

    Example:
        >>> level, quartiles, n = score_by_level(
        ...     torch.tensor([1.0, 2, 3, 9]), torch.tensor([-20.0, -20, -20, -1])
        ... )
        >>> level.tolist(), quartiles[:, 1].tolist(), n.tolist()
        ([-21.0, -3.0], [2.0, 9.0], [3, 1])
    """
    check_range("step_db", step_db, 0, low_open=True)
    if usdr.shape != level_db.shape or usdr.ndim != 1:
        raise InputError(
            "usdr and level_db must have one axis (windows) and one length, got "
            f"{tuple(usdr.shape)} and {tuple(level_db.shape)}. Choose one stem."
        )
    finite = usdr.isfinite() & level_db.isfinite()
    steps = (level_db[finite] / step_db).floor()
    levels, n = steps.unique(return_counts=True)
    quartiles = usdr.new_zeros(len(levels), 3)
    for row, step in zip(quartiles, levels, strict=True):
        row[:] = usdr[finite][steps == step].quantile(usdr.new_tensor(QUARTILES))
    return (levels + 0.5) * step_db, quartiles, n


def worst_windows(
    windows: Windows, n: int, apart_seconds: float
) -> list[tuple[int, int]]:
    """The n audible windows of the lowest score, as (stem, window), the worst first.

    Two windows of the same stem are at least `apart_seconds` apart.
    """
    scores = windows.usdr.masked_fill(~windows.audible, torch.nan)
    chosen: list[tuple[int, int]] = []
    for place in scores.flatten().argsort().tolist():
        stem, window = divmod(place, scores.shape[-1])
        if len(chosen) == n or scores[stem, window].isnan():
            break  # NaN is sorted last
        here = windows.seconds[window]
        others = [windows.seconds[w] for s, w in chosen if s == stem]
        if all(abs(here - other) >= apart_seconds for other in others):
            chosen.append((stem, window))
    return chosen
