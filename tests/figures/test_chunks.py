"""Figures of chunks: what is drawn equals what was given, and the knobs turn."""

import base64
import math

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.figures.chunks import FLOOR_DB, ChunkLab, chunks_figure, error_db
from mssedu.models.contract import config_of
from mssedu.separation.chunks import Chunks, chunk_starts, chunk_weight

RATE = 1000


class Config:
    stems = ("even", "rest")
    sample_rate, channels, segment = RATE, 2, 1.0


class Neighbors(nn.Module):
    """The mean of a sample and its ten neighbors, and what is left."""

    config = Config()

    def forward(self, mixture):
        even = nn.functional.avg_pool1d(mixture, 11, 1, padding=5)
        return torch.stack([even, mixture - even], dim=1)


@pytest.fixture
def mixture():
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(2, 3 * RATE, generator=generator)


@pytest.fixture
def lab(mixture):
    hard = {"segment": 1.0, "overlap": 0.0, "window": "rectangle"}
    return ChunkLab(Neighbors(), mixture, "even", **hard)


def chunks_of(samples, length, overlap, window="triangle"):
    starts = chunk_starts(samples, length, overlap)
    return Chunks(samples, length, starts, chunk_weight(length, window), width=length)


@pytest.mark.parametrize(("gain", "level"), [(1.1, -20), (0.5, -6.02), (1.0, FLOOR_DB)])
def test_error_is_the_level_of_the_difference(gain, level):
    sound = torch.rand(2, 50) + 0.1
    error = error_db(reference=sound, estimate=gain * sound)
    assert error == pytest.approx(level, abs=0.01)


def test_error_against_silence_is_finite():
    silence = torch.zeros(1, 9)
    assert error_db(reference=silence, estimate=silence) == FLOOR_DB
    assert math.isfinite(error_db(reference=silence, estimate=silence + 1))


def test_shares_of_the_chunks_sum_to_one():
    chunks = chunks_of(1000, 400, 0.5)
    sound = torch.ones(1, 1000)
    figure = chunks_figure(chunks, RATE, reference=sound, estimate=sound)
    upper, lower = figure.axes
    total = torch.zeros(1000)
    for area, start in zip(upper.collections, chunks.starts, strict=True):
        x, y = torch.tensor(area.get_paths()[0].vertices).T
        begin, end = chunks.output_range(start)
        assert x.min() == pytest.approx(begin / RATE)
        assert x.max() == pytest.approx((end - 1) / RATE)
        total[begin:end] += float(y.max()) > 0.99
    assert total.min() >= 1, "each sample lies in a chunk that somewhere stands alone"
    assert upper.get_xlim() == lower.get_xlim() == (0, 1)


def test_the_error_is_drawn_where_it_is():
    sound = torch.ones(1, 1000)
    changed = sound.clone()
    changed[:, 500:505] += 0.1
    chunks = chunks_of(1000, 500, 0.0)
    figure = chunks_figure(chunks, RATE, reference=sound, estimate=changed)
    curve, *seams = figure.axes[1].lines
    seconds, levels = (torch.tensor(values) for values in curve.get_data())
    assert seconds[levels.argmax()] == pytest.approx(0.5025)
    assert levels.max() == pytest.approx(-20, abs=0.01)
    assert sorted(levels.tolist())[-2] == FLOOR_DB
    assert [line.get_xdata()[0] for line in seams] == [0.5]


@pytest.mark.parametrize("shapes", [((1, 10), (1, 9)), ((1, 9), (1, 9))])
def test_a_figure_refuses_other_lengths(shapes):
    reference, estimate = (torch.zeros(*shape) for shape in shapes)
    chunks = chunks_of(10, 5, 0.0)
    with pytest.raises(InputError, match="10 samples"):
        chunks_figure(chunks, RATE, reference=reference, estimate=estimate)


def test_a_lab_tells_error_chunks_and_work(lab):
    assert repr(lab).startswith("ChunkLab(even, segment=1.0, overlap=0.0")
    assert "3 chunks, 1.00 × the samples, error -" in lab.text
    hard = error_db(reference=lab.reference, estimate=lab.estimate)
    lab.set(segment=1.0, overlap=0.25, window="triangle", context=0.0)
    faded = error_db(reference=lab.reference, estimate=lab.estimate)
    assert faded < hard - 20
    lab.set(segment=1.0, overlap=0.0, window="rectangle", context=0.005)
    assert error_db(reference=lab.reference, estimate=lab.estimate) < -120
    assert "1.01 × the samples" in lab.text


def test_a_lab_plays_its_seams(lab):
    assert lab.chunks.seams == [RATE, 2 * RATE]
    sound = lab.seams()
    assert sound.shape == (2, RATE), "half a second each"
    middle = lab.estimate[:, RATE - 100 : RATE + 100]
    assert torch.equal(sound[:, 150:350], middle)
    assert sound[:, [0, 500]].abs().max() == 0, "faded, so that the cut does not click"
    lab.set(segment=3.0)
    assert torch.equal(lab.seams(), lab.estimate), "no seams"


def test_who_has_no_widgets_sees_a_picture(lab):
    bundle, metadata = lab._repr_mimebundle_()
    assert bundle["text/plain"] == repr(lab)
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert metadata == {"image/png": {"alt": lab.figure().alt}}


def test_the_knobs_turn(lab):
    *choices, text, picture, _, whole = lab.box.children
    knobs = {choice.description: choice for choice in choices}
    assert list(knobs) == ["segment", "overlap", "window", "context"]
    assert {name: knob.value for name, knob in knobs.items()} == lab.settings
    sound = whole.children[1]
    before = (bytes(picture.value), text.value, bytes(sound.value))
    knobs["overlap"].value = 0.25
    knobs["window"].value = "hann"
    assert lab.settings["overlap"], lab.settings["window"] == (0.25, "hann")
    after = (bytes(picture.value), text.value, bytes(sound.value))
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert text.value == lab.text


def test_a_lab_begins_at_any_setting(mixture):
    lab = ChunkLab(Neighbors(), mixture, "rest", segment=1.3)
    segment = lab.box.children[0]
    assert segment.value == 1.3
    assert list(segment.options) == sorted(segment.options)
    assert config_of(lab.model).stems[lab.row] == "rest"


def test_a_lab_of_a_stem_that_is_not_there(mixture):
    with pytest.raises(InputError, match="stem 'odd'"):
        ChunkLab(Neighbors(), mixture, "odd")
