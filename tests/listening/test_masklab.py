"""The mask lab in Python: masks by rule and with a brush, and their results."""

import numpy as np
import pytest
import torch

from mssedu.errors import InputError
from mssedu.listening import MaskLab
from mssedu.listening.widgets.masklab import paint
from mssedu.masks import ideal_binary_mask, ideal_ratio_mask
from mssedu.metrics.ratios import usdr
from mssedu.spectral import stft

RATE = 8000


def tone(hz):
    return 0.4 * torch.sin(2 * torch.pi * hz * torch.arange(RATE) / RATE)[None]


SOURCES = {"low": tone(300), "high": tone(2000)}
MIXTURE = SOURCES["low"] + SOURCES["high"]


@pytest.fixture
def lab():
    return MaskLab(MIXTURE, RATE, SOURCES, n_fft=512, hop_length=128)


def test_result_and_removed_sum_to_the_mixture(lab):
    lab.exponent = 0.5
    torch.testing.assert_close(lab.result + lab.removed, MIXTURE)


def test_without_a_floor_the_mask_is_the_oracle(lab):
    lab.threshold_db = -120
    magnitudes = torch.stack([stft(s, 512, 128) for s in SOURCES.values()])
    for exponent in (1.0, 2.0):
        lab.exponent = exponent
        oracle = ideal_ratio_mask(magnitudes, exponent)[0]
        # The floor takes part where both sources are as quiet as it is.
        loud = magnitudes.abs().amax(0) > 1e-3 * magnitudes.abs().max()
        torch.testing.assert_close(lab.mask[loud], oracle[loud], atol=3e-3, rtol=0)
    lab.exponent = 20
    clear = (oracle - 0.5).abs() > 0.2
    binary = ideal_binary_mask(magnitudes)[0]
    torch.testing.assert_close(lab.mask[loud & clear], binary[loud & clear], atol=0.02,
                               rtol=0)  # fmt: skip


def test_it_separates_tones(lab):
    assert usdr(reference=SOURCES["low"], estimate=lab.result) > 25
    before = lab._caption
    lab.target = "high"
    assert usdr(reference=SOURCES["high"], estimate=lab.result) > 25
    torch.testing.assert_close(lab.sounds["reference"], SOURCES["high"])
    assert "as low is" in before
    assert "as high is" in lab._caption


def test_without_sources_it_is_a_gate():
    quiet = 0.001 * torch.randn(1, RATE)
    lab = MaskLab(tone(500) + quiet, RATE, n_fft=512, hop_length=128)
    assert list(lab.sounds) == ["mixture", "result", "removed"]
    assert repr(lab) == (
        "MaskLab(sample_rate=8000, seconds=1.0, threshold_db=-60.0, exponent=2.0)"
    )
    lab.exponent, lab.threshold_db = 20, -30
    middle = lab.mask[0, :, 30]
    assert middle[32] == pytest.approx(1, abs=1e-3)  # the tone's bin
    assert middle[60:].max() < 1e-3
    lab.threshold_db = -120
    assert lab.mask[0, :, 30].median() > 0.9


def test_strokes_decide_over_the_rule(lab):
    lab.paint(0, [(0.5, 300)], seconds=2, octaves=1)
    assert not lab.mask[:, 15:25, 20:40].any()
    assert lab.result.abs().max() < 0.1
    lab.paint(1, [(0.5, 2000)], seconds=2, octaves=0.5)
    assert usdr(reference=SOURCES["high"], estimate=lab.result) > 15
    assert repr(lab).endswith("target='low', strokes=2)")
    lab.strokes = []
    assert usdr(reference=SOURCES["low"], estimate=lab.result) > 25


def test_every_change_is_sent(lab, monkeypatch):
    sent = []
    monkeypatch.setattr(MaskLab, "send", lambda self, *message: sent.append(message))
    lab.threshold_db = -20
    (content, buffers) = sent.pop()
    assert content["names"] == ["mask", "1", "2", "3"]
    assert content["scales"][0] == 1.0
    samples = np.frombuffer(buffers[1], "<i2") / 32767
    np.testing.assert_allclose(samples, lab.result[0], atol=1e-4)
    assert len(buffers[0]) == 256 * lab.mask.shape[-1]


def test_silence_has_no_share():
    lab = MaskLab(torch.zeros(1, 800), RATE, {"a": torch.zeros(1, 800)})
    assert lab._caption == (
        "The result has 0.0 % of the mixture's energy. "
        "True a is silent, so there is no usdr."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold_db", 1.0), ("exponent", 0.0), ("exponent", float("nan"))],
)
def test_settings_outside_their_range_are_refused(lab, name, value):
    with pytest.raises(InputError, match=name):
        setattr(lab, name, value)


def test_an_unknown_target_is_refused(lab):
    with pytest.raises(InputError, match=r"target 'hihg'.*: high, low"):
        lab.target = "hihg"
    with pytest.raises(InputError, match="hihg"):
        MaskLab(MIXTURE, RATE, SOURCES, target="hihg")
    with pytest.raises(InputError, match="There is none"):
        MaskLab(MIXTURE, RATE, target="high")


def test_a_source_called_mixture_is_refused():
    with pytest.raises(InputError, match="called 'mixture'"):
        MaskLab(MIXTURE, RATE, {"mixture": MIXTURE})


def test_a_brush_without_size_is_refused(lab):
    with pytest.raises(InputError, match="value"):
        lab.paint(2, [(0, 100)])
    with pytest.raises(InputError, match="seconds"):
        lab.paint(1, [(0, 100)], seconds=0)
    with pytest.raises(InputError, match="octaves"):
        lab.paint(1, [(0, 100)], octaves=0)


# ---- the brush ----------------------------------------------------------------------

HOP, BINS, FRAMES = 80, 401, 100  # 10 Hz and 10 ms a step, at 8000 Hz


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


def test_the_mask_itself_is_not_changed():
    mask = torch.zeros(1, BINS, FRAMES)
    paint(mask, [stroke((0.5, 1000))], RATE, HOP)
    assert not mask.any()
    assert torch.equal(paint(mask, [], RATE, HOP), mask)
    assert not paint(mask, [stroke()], RATE, HOP).any()  # a stroke without points


def test_zero_hz_can_be_reached():
    assert painted(stroke((0.5, 0.0), octaves=3.0))[0, 0, 50] == 1
