"""Figures of listening tests: does a low-pass anchor keep the standard's tolerance?

    response_db        gain of a filter at some frequencies
    tolerance_figure   gains of filters and, in gray, what ITU-R BS.1534 forbids

For the anchor of 3.5 kHz the standard asks for ±0.1 dB up to 3.5 kHz, -25 dB from 4 kHz
and -50 dB from 4.5 kHz on. For another cutoff the same distances are drawn.

Style and rules are those of mssedu.figures. Notebook: 13.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mssedu.errors import InputError, check_range, message
from mssedu.figures.sound import COLORS, STYLE

RIPPLE_DB = 0.1  # allowed up to the cutoff, to either side
STOPS = ((500.0, -25.0), (1000.0, -50.0))  # Hz above the cutoff, highest gain in dB
_SHOWN_DB, _ZOOM_DB = 100.0, 0.3  # what the panels reach down to
_POINTS = 1200  # of a curve
_COLORS = (COLORS["drums"], COLORS["vocals"], COLORS["bass"], COLORS["other"])
_STYLES = ("-", "--", "-.", ":")  # a second sign beside the color


def response_db(taps: Tensor, hz: Tensor, sample_rate: int) -> Tensor:
    """Gain of a filter at some frequencies, dB; -300 at the lowest.

    Args:
        taps: of the filter, (taps,).
        hz: frequencies, (points,).
        sample_rate: Hz.

    Example:
        >>> response_db(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 2000.0]), 8000)
        tensor([ 0.0000, -3.0103], dtype=torch.float64)
    """
    angles = 2 * math.pi / sample_rate * hz.double()[:, None] * torch.arange(len(taps))
    turned = torch.polar(taps.double().expand_as(angles), -angles)
    return 20 * turned.sum(1).abs().clamp_min(1e-15).log10()


def tolerance_figure(
    taps: Mapping[str, Tensor], sample_rate: int, cutoff_hz: float = 3500.0
) -> Figure:
    """Low-pass filters against the tolerance: close up what passes, then all of it.

    Args:
        taps: label -> filter, (taps,).
        sample_rate: Hz.
        cutoff_hz: up to here all should pass.

    Raises:
        InputError: no filters, or a cutoff that leaves nothing to take away.

    Example:
        >>> figure = tolerance_figure({"average": torch.full((9,), 1 / 9)}, 44100)
        >>> figure.axes[0].get_ylabel()
        'Gain (dB)'
    """
    where = "tolerance_figure"
    if not taps:
        remedy = "Name them, such as {'mine': taps}."
        raise InputError(message(where, "at least one filter", "none", remedy))
    most = sample_rate / 2 - STOPS[-1][0]
    check_range("cutoff_hz", cutoff_hz, 0, most, low_open=True, high_open=True)
    top = min(2 * cutoff_hz + STOPS[-1][0], sample_rate / 2)
    hz = torch.linspace(0, top, _POINTS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.2))
        near, far = figure.subplots(1, 2)
    for index, (label, filter_taps) in enumerate(taps.items()):
        gain = response_db(filter_taps, hz, sample_rate).clamp_min(-_SHOWN_DB)
        look = {"color": _COLORS[index % 4], "linestyle": _STYLES[index % 4]}
        for axes in (near, far):
            axes.plot(hz / 1000, gain, label=label if axes is far else None, **look)
    for axes, limits in ((near, (-_ZOOM_DB, _ZOOM_DB)), (far, (-_SHOWN_DB, 5))):
        for left, right, low, high in _forbidden(cutoff_hz, top):
            box = ([left / 1000, right / 1000], low, high)
            axes.fill_between(*box, color=COLORS["reference"], alpha=0.5, linewidth=0)
        axes.set(xlabel="Frequency (kHz)", ylabel="Gain (dB)", ylim=limits)
        axes.grid(alpha=0.3)
    near.set(xlim=(0, (cutoff_hz + STOPS[0][0]) / 1000), title="What passes")
    far.set(xlim=(0, top / 1000), title="All")
    figure.legend(loc="outside upper center", ncols=len(taps), frameon=False)
    return figure


def _forbidden(cutoff_hz: float, top: float) -> Sequence[tuple[float, ...]]:
    """Boxes where no gain may lie: from and to in Hz, from and to in dB."""
    (near, near_db), (far, far_db) = STOPS
    return (
        (0.0, cutoff_hz, RIPPLE_DB, 50.0),
        (0.0, cutoff_hz, -2 * _SHOWN_DB, -RIPPLE_DB),
        (cutoff_hz + near, cutoff_hz + far, near_db, 50.0),
        (cutoff_hz + far, top, far_db, 50.0),
    )
