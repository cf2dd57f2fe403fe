"""Strokes on a mask: where they land, and in which order."""

import torch

from mssedu.listening.widgets.brush import paint

RATE, HOP, BINS, FRAMES = 8000, 80, 401, 100  # 10 Hz and 10 ms a step


def stroke(*points, value=1, seconds=0.05, octaves=0.5):
    return {"value": value, "points": points, "seconds": seconds, "octaves": octaves}


def painted(*strokes, start=0.0):
    mask = torch.full((2, BINS, FRAMES), start)
    return paint(mask, strokes, RATE, HOP)


def test_a_dab_is_an_ellipse_in_seconds_and_octaves():
    mask = painted(stroke((0.5, 1000), seconds=0.055))
    assert torch.equal(mask[0], mask[1])
    across = mask[0, 100].nonzero()[:, 0]
    assert (across[0], across[-1]) == (45, 55)  # ± 55 ms
    up = mask[0, :, 50].nonzero()[:, 0] * 10
    assert up[0] == 710  # 1000 / √2, the next bin within
    assert up[-1] == 1410  # 1000 · √2
    assert mask[0, 71, 54] == 0  # a corner


def test_a_stroke_has_no_gaps():
    mask = painted(stroke((0.1, 200), (0.9, 3200)))
    columns = mask[0, :, 10:91].sum(0)
    assert (columns > 0).all()
    assert mask[0, 80, 50] == 1  # half way in time is half way in octaves: 800 Hz


def test_later_strokes_cover_earlier_ones():
    keep, remove = stroke((0.5, 1000)), stroke((0.5, 1000), value=0)
    assert not painted(keep, remove).any()
    assert painted(remove, keep).any()
    assert not painted(remove, start=1.0)[0, 100, 50]


def test_the_mask_given_stays_as_it_is():
    mask = torch.zeros(1, BINS, FRAMES)
    paint(mask, [stroke((0.5, 1000))], RATE, HOP)
    assert not mask.any()
    assert torch.equal(paint(mask, [], RATE, HOP), mask)
    assert not paint(mask, [stroke()], RATE, HOP).any()  # a stroke without points


def test_zero_hz_can_be_reached():
    assert painted(stroke((0.5, 0.0), octaves=3.0))[0, 0, 50] == 1
