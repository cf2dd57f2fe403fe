"""Figures of listening tests: filters of anchors, intervals, ratings against scores.

    response_db        gain of a filter at some frequencies
    tolerance_figure   gains of filters and, hatched, what ITU-R BS.1534 forbids
    coverage_figure    intervals of many panels, and the true value they should contain
    agreement_figure   a point per sound: what a metric says, what listeners say

For the anchor of 3.5 kHz the standard asks for ±0.1 dB up to 3.5 kHz, -25 dB from 4 kHz
and -50 dB from 4.5 kHz on. For another cutoff the same distances are drawn.
Notebooks: 13, 14.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from mssedu.errors import check_range
from mssedu.figures.style import (
    COLORS,
    GRAY,
    DescribedFigure,
    check_not_empty,
    describe,
    grid,
    label_lines,
    looks,
    whole_ticks,
)
from mssedu.figures.words import (
    listed,
    lowered,
    measured,
    named,
    report,
    topic_of,
    unit_of,
)

Interval = tuple[float, float]

RIPPLE_DB = 0.1  # the gain may differ so much from 0 dB up to the cutoff
STOPS = ((500.0, -25.0), (1000.0, -50.0))  # Hz above the cutoff, highest gain in dB
_SHOWN_DB, _ZOOM_DB = 100.0, 0.3  # the lower ends of the two panels are -100 and -0.3
_POINTS = 1200  # points of a curve


def response_db(taps: Tensor, hz: Tensor, sample_rate: int) -> Tensor:
    """Gain of a filter at some frequencies in dB, at least -300.

    Args:
        taps: impulse response of the filter, (taps,).
        hz: frequencies, (points,).
        sample_rate: Hz.

    Example:
        >>> response_db(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 2000.0]), 8000)
        tensor([ 0.0000, -3.0103], dtype=torch.float64)
    """
    angles = 2 * math.pi / sample_rate * hz.double()[:, None] * torch.arange(len(taps))
    rotated = torch.polar(taps.double().expand_as(angles), -angles)
    return 20 * rotated.sum(1).abs().clamp_min(1e-15).log10()


def tolerance_figure(
    taps: Mapping[str, Tensor], sample_rate: int, cutoff_hz: float = 3500.0
) -> DescribedFigure:
    """Low-pass filters and the tolerance: a close-up of the pass band, then all.

    Args:
        taps: label -> impulse response, (taps,).
        sample_rate: Hz.
        cutoff_hz: upper end of the pass band.

    Raises:
        InputError: no filters, or a cutoff too high for the standard's stop band.

    Example:
        >>> figure = tolerance_figure({"average": torch.full((9,), 1 / 9)}, 44100)
        >>> figure.axes[0].get_ylabel()
        'Gain (dB)'
    """
    check_not_empty("taps", taps, "filter")
    most = sample_rate / 2 - STOPS[-1][0]
    check_range("cutoff_hz", cutoff_hz, 0, most, low_open=True, high_open=True)
    top = min(2 * cutoff_hz + STOPS[-1][0], sample_rate / 2)
    hz = torch.linspace(0, top, _POINTS)
    figure, (near, far) = grid(("", ""), 2, height=3.2)
    gains = {}
    for label, (color, _, style) in looks(taps).items():
        gains[label] = response_db(taps[label], hz, sample_rate).clamp_min(-_SHOWN_DB)
        near.plot(hz / 1000, gains[label], style, color=color)
        far.plot(hz / 1000, gains[label], style, color=color, label=label)
    (stop_hz, stop_db), (far_hz, far_db) = STOPS
    forbidden = (  # from and to in Hz, from and to in dB
        (0.0, cutoff_hz, RIPPLE_DB, 50.0),
        (0.0, cutoff_hz, -2 * _SHOWN_DB, -RIPPLE_DB),
        (cutoff_hz + stop_hz, cutoff_hz + far_hz, stop_db, 50.0),
        (cutoff_hz + far_hz, top, far_db, 50.0),
    )
    for axes, limits in ((near, (-_ZOOM_DB, _ZOOM_DB)), (far, (-_SHOWN_DB, 5))):
        for left, right, low, high in forbidden:
            khz = [left / 1000, right / 1000]
            axes.fill_between(
                khz, low, high, fc="none", ec=GRAY, hatch="///", linewidth=0.8
            )
        axes.set(xlabel="Frequency (kHz)", ylabel="Gain (dB)", ylim=limits)
        axes.grid(alpha=0.3)
    near.set(xlim=(0, (cutoff_hz + stop_hz) / 1000), title="What passes")
    far.set(xlim=(0, top / 1000), title="All")
    figure.legend(loc="outside upper center", ncols=len(taps), frameon=False)
    caption = (
        f"Gain in dB by frequency in kHz of {listed(taps)}; what is hatched is outside "
        "the tolerance of ITU-R BS.1534."
    )
    parts = [f"{k} {_excess(hz, gain, forbidden)}" for k, gain in gains.items()]
    return describe(figure, caption, report("Tolerance", parts))


def _excess(
    hz: Tensor, gain: Tensor, forbidden: Sequence[tuple[float, float, float, float]]
) -> str:
    """How far a filter goes beyond the tolerance, at the worst frequency."""
    beyond = torch.zeros_like(gain)
    for left, right, low, high in forbidden:
        inside = (hz >= left) & (hz <= right)
        depth = gain - low if high > 0 else high - gain
        beyond = torch.where(inside, beyond.maximum(depth), beyond)
    worst = int(beyond.argmax())
    if float(beyond[worst]) <= 0:
        return "stays inside"
    where = f"{float(hz[worst]) / 1000:.2f} kHz"
    return f"is outside by up to {float(beyond[worst]):.1f} dB, at {where}"


def coverage_figure(
    panels: Mapping[str, Sequence[Interval]], truth: float, *, xlabel: str
) -> DescribedFigure:
    """Intervals of many simulated panels; those without the true value have crosses.

    Args:
        panels: title -> (low, high) of each interval.
        truth: the value that each interval should contain.
        xlabel: what was measured, and its unit.

    Raises:
        InputError: no titles, or no intervals under a title.

    Example:
        >>> figure = coverage_figure({"t": [(1.0, 3.0)]}, 2.0, xlabel="Rating")
        >>> figure.axes[0].get_title(loc="left")
        't: 0 of 1 miss'
    """
    check_not_empty("panels", panels, "title with intervals")
    for title, intervals in panels.items():
        check_not_empty(f"panels[{title!r}]", intervals, "interval")
    figure, cells = grid(panels, len(panels), height=3.2, share="x")
    parts, unit = [], unit_of(xlabel)
    for axes, (title, intervals) in zip(cells, panels.items(), strict=True):
        n_missed = 0
        for row, (low, high) in enumerate(intervals):
            missed = not low <= truth <= high
            color, marker = (COLORS["vocals"], "x") if missed else (GRAY, "")
            width = 1.8 if missed else 0.9
            axes.plot(
                (low, high), (row, row), color=color, marker=marker, ms=4, lw=width
            )
            n_missed += missed
        axes.axvline(truth, color=COLORS["mixture"], linewidth=0.8)
        text = f"{title}: {n_missed} of {len(intervals)} miss"
        axes.set_title(text, loc="left", fontsize="medium")
        axes.set(xlabel=xlabel, yticks=[])
        width = math.fsum(high - low for low, high in intervals) / len(intervals)
        parts.append(f"{text}, mean width {measured(width, unit)}")
    value = measured(truth, unit)
    caption = (
        f"{named(xlabel)}: intervals of {listed(panels)}; those with crosses miss "
        f"the true value of {value}, the vertical line."
    )
    return describe(figure, caption, report(f"Intervals without {value}", parts))


def agreement_figure(
    groups: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    point: str = "sound",
) -> DescribedFigure:
    """A point per sound at its score and rating; each group has a color and a marker.

    Args:
        groups: label -> (score, rating) of each sound.
        xlabel, ylabel: the score and the rating, with their units.
        point: what has a point, if not a sound, such as a system.

    Raises:
        InputError: no points at all.

    Example:
        >>> points = {"mask": [(10.0, 55.0), (12.0, 61.0)]}
        >>> figure = agreement_figure(points, xlabel="usdr (dB)", ylabel="Rating")
        >>> figure.axes[0].get_ylabel()
        'Rating'
    """
    sounds = [sound for group in groups.values() for sound in group]
    check_not_empty("groups", sounds, "sound that has a score and a rating")
    figure, (axes,) = grid(height=3.2)
    for label, (color, marker, _) in looks(groups).items():
        points = np.reshape(groups[label], (-1, 2))
        axes.plot(*points.T, marker, color=color, ms=7, mec="white", label=label)
    whole_ticks(axes.xaxis, [score for score, _ in sounds])
    whole_ticks(axes.yaxis, [rating for _, rating in sounds])
    label_lines(figure, axes, xlabel, ylabel)
    caption = f"{named(ylabel)} by {lowered(named(xlabel))}, a point for each {point}."
    parts = [f"{k} {_agreement(g)}" for k, g in groups.items() if len(g)]
    parts.append(f"all {_agreement(sounds)}")
    topic = f"{topic_of(ylabel, xlabel)}, correlation of the ranks"
    return describe(figure, caption, report(topic, parts))


def _agreement(sounds: Sequence[tuple[float, float]]) -> str:
    """Spearman's correlation of scores and ratings, where it is defined."""
    scores, ratings = (rankdata(column) for column in zip(*sounds, strict=True))
    many = f"of {len(sounds)} sounds"
    if len({*scores}) < 2 or len({*ratings}) < 2:
        return f"undefined ({many})"
    return f"{np.corrcoef(scores, ratings)[0, 1]:z.2f} ({many})"
