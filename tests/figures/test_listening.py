"""Figures of listening tests: gains as scipy finds them, gray as the standard asks."""

import numpy as np
import pytest
import torch
from scipy.signal import firwin, freqz

from mssedu.errors import InputError
from mssedu.figures.listening import response_db, tolerance_figure

RATE = 44100


def lowpass(n_taps, middle_hz=3750):
    taps = firwin(n_taps, middle_hz, window=("kaiser", 6.5), fs=RATE)
    return torch.from_numpy(taps)


@pytest.mark.parametrize("n_taps", [1, 64, 401])
def test_gain_is_that_of_scipy(n_taps):
    taps, hz = lowpass(n_taps), np.linspace(0, RATE / 2, 101)
    _, wanted = freqz(taps.numpy(), worN=hz, fs=RATE)
    found = response_db(taps, torch.from_numpy(hz), RATE)
    assert 10 ** (found / 20) == pytest.approx(np.abs(wanted), abs=1e-9)


def test_nothing_is_minus_300_db():
    assert response_db(torch.zeros(3), torch.tensor([100.0]), RATE).tolist() == [-300.0]


def test_filters_are_drawn_as_they_are_and_named():
    figure = tolerance_figure({"long": lowpass(401), "short": lowpass(101)}, RATE)
    near, far = figure.axes
    hz = torch.as_tensor(far.lines[0].get_xdata()) * 1000
    wanted = response_db(lowpass(401), hz, RATE).clamp_min(-100)
    assert far.lines[0].get_ydata() == pytest.approx(wanted, abs=1e-2)
    assert [line.get_label() for line in far.lines] == ["long", "short"]
    assert len(near.lines) == 2


@pytest.mark.parametrize("cutoff_hz", [3500, 7000])
def test_the_gray_begins_where_the_standard_says(cutoff_hz):
    figure = tolerance_figure({"mine": lowpass(401)}, RATE, cutoff_hz)
    spans = [box.get_datalim(box.axes.transData) for box in figure.axes[1].collections]
    edges = [(round(1000 * box.x0), round(box.y0, 1)) for box in spans]
    assert edges[0] == (0, 0.1)
    assert edges[2:] == [(cutoff_hz + 500, -25.0), (cutoff_hz + 1000, -50.0)]
    assert (round(1000 * spans[1].x1), round(spans[1].y1, 1)) == (cutoff_hz, -0.1)


def test_refusals():
    with pytest.raises(InputError, match="expected at least one filter, got none"):
        tolerance_figure({}, RATE)
    with pytest.raises(InputError, match=r"expected cutoff_hz in \(0, 3000"):
        tolerance_figure({"mine": lowpass(401)}, 8000)
