"""Figures of listening tests: filters, intervals and ratings are where they belong."""

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from scipy.signal import firwin, freqz

from mssedu.errors import InputError
from mssedu.figures.listening import (
    agreement_figure,
    coverage_figure,
    response_db,
    tolerance_figure,
)

RATE = 44100
INTERVALS = [(40.0, 60.0), (51.0, 70.0), (50.0, 52.0), (30.0, 49.9)]


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
    with pytest.raises(InputError, match="taps is empty"):
        tolerance_figure({}, RATE)
    with pytest.raises(InputError, match=r"cutoff_hz.* 3000"):
        tolerance_figure({"mine": lowpass(401)}, 8000)


def test_intervals_that_miss_the_truth_are_marked():
    figure = coverage_figure({"t": INTERVALS}, 50.0, xlabel="Rating")
    (axes,) = figure.axes
    *drawn, truth = axes.lines
    assert [tuple(line.get_xdata()) for line in drawn] == INTERVALS
    assert list(truth.get_xdata()) == [50, 50]
    held = drawn[0].get_color()
    marked = [not same_color(line.get_color(), held) for line in drawn]
    assert marked == [False, True, False, True], "an end of 50 holds 50"
    assert axes.get_title(loc="left") == "t: 2 of 4 miss"
    assert axes.get_xlabel() == "Rating"


def test_panels_share_the_axis():
    figure = coverage_figure({"a": INTERVALS, "b": [(0.0, 99.0)]}, 50.0, xlabel="x")
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert second.get_title(loc="left") == "b: 0 of 1 miss"


@pytest.mark.parametrize("panels", [{}, {"t": INTERVALS, "bootstrap": []}])
def test_no_intervals(panels):
    with pytest.raises(InputError, match=r"panels.* is empty"):
        coverage_figure(panels, 50.0, xlabel="Rating")


def test_each_sound_lies_at_its_score_and_rating():
    groups = {"mask": [(10.0, 50.0), (12.0, 61.0)], "model": [(5.0, 40.0)]}
    figure = agreement_figure(groups, xlabel="usdr (dB)", ylabel="Rating (points)")
    (axes,) = figure.axes
    drawn = {
        line.get_label(): list(zip(*line.get_data(), strict=True))
        for line in axes.lines
    }
    assert drawn == groups
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == len(groups)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == list(groups)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("usdr (dB)", "Rating (points)")
    assert figure.caption.endswith("a point for each sound.")
    figure = agreement_figure(groups, xlabel="x", ylabel="y", point="system")
    assert figure.caption.endswith("a point for each system.")


def test_no_sounds():
    with pytest.raises(InputError, match="groups is empty"):
        agreement_figure({"mask": []}, xlabel="x", ylabel="y")
