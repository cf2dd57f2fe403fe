"""Scores along a song: every half second, beside the level of what was to be found.

    reference, estimate (stems, channels, samples) ─▶ windows of 1 s, every 0.5 s
        ├─▶ usdr      of each window
        └─▶ level_db  of the true stem there; audible if it is loud enough in the song

One number a song hides where it comes from: from quiet windows, often, in which a ratio
to the little that there is must be low. Notebook: 04.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mssedu.audio.tensors import rms_db
from mssedu.errors import InputError, check_range, message
from mssedu.metrics.ratios import usdr
from mssedu.metrics.spectral import check_pair

HOP_SECONDS = 0.5  # between windows of twice that
AUDIBLE_DB = -25.0  # a stem further below the level of its song is not judged
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Windows:
    """Scores and levels along a song, or along several, one after the other."""

    seconds: Tensor  # (windows): middle of each
    usdr: Tensor  # (stems, windows) dB; NaN where the true stem is silent
    level_db: Tensor  # (stems, windows): of the true stem, dB below full scale
    audible: Tensor  # (stems, windows): loud enough in its song to be judged


def score_windows(
    *, references: Tensor, estimates: Tensor, mixture: Tensor, sample_rate: int
) -> Windows:
    """Score windows of one second, every half second; a shorter song is one window.

    What is left at the end, less than half a second, is not looked at.

    Args:
        references, estimates: (stems, channels, samples).
        mixture: (channels, samples), whose level tells what is audible.
        sample_rate: Hz.

    Raises:
        InputError: the shapes differ, or have no samples.

    Example:
        >>> s = torch.ones(1, 1, 300)
        >>> found = score_windows(
        ...     references=s, estimates=0.9 * s, mixture=s[0], sample_rate=100
        ... )
        >>> found.seconds.tolist(), found.usdr.round().tolist()
        ([0.5, 1.0, 1.5, 2.0, 2.5], [[20.0, 20.0, 20.0, 20.0, 20.0]])
    """
    check_pair("score_windows", references, estimates)
    samples = references.shape[-1]
    check_range("samples", samples, 1)
    hop_length = max(1, round(HOP_SECONDS * sample_rate))
    length = min(2 * hop_length, samples)

    def windows(audio: Tensor) -> Tensor:
        """(channels, samples) -> (windows, channels, length), a view."""
        return audio.unfold(-1, length, hop_length).transpose(0, 1)

    # Stem by stem: overlapping windows are copied when they are squared.
    scores = torch.stack(
        [
            usdr(reference=windows(s), estimate=windows(e))
            for s, e in zip(references, estimates, strict=True)
        ]
    )
    level_db = torch.stack(
        [10 * windows(s).square().mean((-2, -1)).log10() for s in references]
    )
    middles = length / 2 + hop_length * torch.arange(scores.shape[-1])
    # A silent stem is at -inf and never audible, not even in a silent song.
    threshold = max(rms_db(mixture) + AUDIBLE_DB, -200.0)
    audible = level_db >= threshold
    return Windows(middles / sample_rate, scores, level_db, audible)


def score_by_level(
    usdr: Tensor, level_db: Tensor, *, step_db: float = 6.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Quartiles of the scores of all windows whose level lies within the same step.

    Args:
        usdr: (windows) dB; NaN is left out.
        level_db: (windows) dB below full scale.
        step_db: height of a step; steps lie between multiples of it.

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
        got = f"{tuple(usdr.shape)} and {tuple(level_db.shape)}"
        remedy = "Choose one stem, e.g. windows.usdr[0] and windows.level_db[0]."
        raise InputError(message("score_by_level", "two (windows) alike", got, remedy))
    kept = usdr.isfinite() & level_db.isfinite()
    steps = (level_db[kept] / step_db).floor()
    found = steps.unique()
    groups = [usdr[kept][steps == step] for step in found]
    shares = torch.tensor(QUARTILES, dtype=usdr.dtype)
    quartiles = [group.quantile(shares) for group in groups]
    n = torch.tensor([len(group) for group in groups], dtype=torch.long)
    level = (found + 0.5) * step_db
    return level, torch.stack(quartiles) if quartiles else usdr.new_zeros(0, 3), n


def worst_windows(
    windows: Windows, n: int, apart_seconds: float
) -> list[tuple[int, int]]:
    """The n audible windows of the lowest score, as (stem, window), the worst first.

    Args:
        windows: of one song.
        n: at most so many.
        apart_seconds: from a window to the next of the same stem, at least.
    """
    scores = windows.usdr.masked_fill(~windows.audible, torch.nan)
    n_windows = scores.shape[-1]
    chosen: list[tuple[int, int]] = []
    for place in scores.flatten().argsort().tolist():
        stem, window = divmod(place, n_windows)
        if len(chosen) == n or scores[stem, window].isnan():
            break  # NaN is sorted last
        here = windows.seconds[window]
        others = [windows.seconds[w] for s, w in chosen if s == stem]
        if all(abs(here - other) >= apart_seconds for other in others):
            chosen.append((stem, window))
    return chosen
