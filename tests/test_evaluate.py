"""Scores between the rows that make them honest."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.checks import DatasetError, InputError
from mssedu.datasets.track import Track
from mssedu.evaluate import ROWS, evaluate, ideal_ratio_estimate
from mssedu.metrics import usdr

STEMS = ("voice", "rest")
RATE = 8000


class Shares(nn.Module):
    """Gives each stem a fixed share of the mixture."""

    def __init__(self, *shares):
        super().__init__()
        self.shares = torch.tensor(shares)[:, None, None]
        self.config = SimpleNamespace(
            stems=STEMS, sample_rate=RATE, channels=2, segment=1.0
        )

    def forward(self, mixture):
        return self.shares * mixture[:, None]


def song(name, *sources):
    return Track.from_audio(name, dict(zip(STEMS, sources, strict=True)), RATE)


@pytest.fixture
def tracks():
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(2, 12000, generator=generator) / 10 for _ in range(3)]
    silent = song("no voice", torch.zeros(2, 12000), noise[2])
    return [song("both", noise[0], noise[1]), silent]


def test_rows_and_closed_forms(tracks):
    result = evaluate(Shares(0.5, 0.5), tracks)
    both = result.tracks["both"]
    assert tuple(both) == result.rows == ROWS
    assert both["silence"] == {"voice": 0.0, "rest": 0.0}
    # half of the sum of two equally loud noises: the error is as loud as the stem / 2
    assert both["model"]["voice"] == pytest.approx(3.01, abs=0.2)
    assert both["mixture"]["voice"] == pytest.approx(0.0, abs=0.2)
    assert both["irm"]["voice"] > 3.5


def test_silent_stems_are_counted_and_left_out(tracks):
    result = evaluate(Shares(0.5, 0.5), tracks)
    assert result.tracks["no voice"]["model"]["voice"] is None
    assert result.n_silent("voice") == 1
    assert result.n_silent("rest") == 0
    assert result.mean("model", "voice") == result.tracks["both"]["model"]["voice"]
    assert result.leaks["no voice"]["voice"] == pytest.approx(-26.0, abs=0.2)
    assert "silent, so not counted: voice in 1, rest in 0" in result.table()
    only = evaluate(Shares(0.5, 0.5), tracks[1:])
    assert only.mean("model", "voice") is None
    assert "| model | – |" in only.table()


def test_json_has_null_for_what_is_undefined(tracks, tmp_path):
    path = evaluate(Shares(0.5, 0.5), tracks).save(tmp_path / "scores.json")
    document = json.loads(path.read_text("utf-8"))
    assert document["definition"] == "usdr"
    assert document["tracks"]["no voice"]["irm"]["voice"] is None
    assert document["n_silent"] == {"voice": 1, "rest": 0}


def test_the_oracle_in_chunks_equals_the_whole():
    """A silent neighbor: the mask is 1 and the oracle exact, at any length."""
    source = torch.randn(1, 2, 25 * RATE)
    sources = torch.cat([source, torch.zeros_like(source)])
    estimate = ideal_ratio_estimate(sources, sources.sum(0), RATE)
    score = usdr(reference=sources[0], estimate=estimate[0])
    assert score > 80


def test_estimates_that_exist_are_scored(tracks):
    truth = {track.name: track.sources() for track in tracks}
    result = evaluate(
        Shares(0.0, 0.0), tracks[:1], estimates=lambda track: truth[track.name]
    )
    assert result.tracks["both"]["model"] == {"voice": 100.0, "rest": 100.0}


def test_progress(tracks):
    calls = []
    evaluate(Shares(0.5, 0.5), tracks, progress=lambda *call: calls.append(call))
    assert calls == [(0, 2, "both"), (1, 2, "no voice"), (2, 2, "")]


def test_errors(tracks):
    with pytest.raises(DatasetError, match="at least one track"):
        evaluate(Shares(0.5, 0.5), [])
    model = Shares(0.5, 0.5)
    model.config.sample_rate = 44100
    with pytest.raises(InputError, match="expected 44100 Hz, 2 channels, got 8000 Hz"):
        evaluate(model, tracks)
    model = Shares(0.5, 0.5)
    model.config.stems = ("voise", "rest")
    with pytest.raises(InputError, match="Did you mean 'voice'"):
        evaluate(model, tracks)


def test_a_segment_longer_than_trained_is_announced_once(tracks):
    model = Shares(0.5, 0.5)
    model.config.segment_limit = 1.0
    with pytest.warns(UserWarning, match=r"3\.0 s > 1\.0 s trained") as caught:
        shortened = evaluate(model, tracks, segment=3.0)
    assert len(caught) == 1
    assert shortened.tracks == evaluate(model, tracks).tracks
    with pytest.raises(InputError, match="as trained"):
        evaluate(model, tracks, segment=3.0, strict_segment=True)
