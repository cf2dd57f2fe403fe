"""Scores of whole tracks, with models whose score is known beforehand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError
from mssedu.training.validation import do_nothing_scores, validate

STEMS, RATE = ("hum", "hiss"), 8000


class Share(nn.Module):
    """Every estimate is the mixture times a number."""

    def __init__(self, share):
        super().__init__()
        self.config = SimpleNamespace(
            stems=STEMS, sample_rate=RATE, channels=2, segment=0.05
        )
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, mixture):
        return (self.share * mixture).unsqueeze(1).expand(-1, len(STEMS), -1, -1)


def song(seed, hum=1.0, hiss=1.0):
    """Stems of exactly these powers, orthogonal to each other."""
    t = torch.arange(800 + 160 * seed) / RATE
    sources = {
        "hum": hum**0.5 * torch.sin(2 * torch.pi * 100 * t).expand(2, -1),
        "hiss": hiss**0.5 * torch.cos(2 * torch.pi * 100 * t).expand(2, -1),
    }
    return Track.from_audio(f"song {seed}", sources, RATE)


def test_the_mixture_scores_what_arithmetic_says():
    # Its error in one stem is the other stem: 10 log10(power ratio).
    scores = validate(Share(1.0), [song(0), song(1, hum=10.0)], STEMS)
    expected = torch.tensor([[0.0, 0.0], [10.0, -10.0]])
    torch.testing.assert_close(scores, expected, atol=1e-3, rtol=0)


def test_a_model_that_does_nothing_scores_as_doing_nothing():
    tracks = [song(0), song(1, hum=2.0)]
    baselines = do_nothing_scores(tracks, STEMS)
    for name, share in (("mixture", 1.0), ("silence", 0.0)):
        mean = float(validate(Share(share), tracks, STEMS).mean())
        assert mean == pytest.approx(baselines[name], abs=1e-4)
    assert baselines["silence"] == 0.0


def test_stems_follow_the_order_asked_for():
    scores = validate(Share(1.0), [song(0, hum=10.0)], STEMS[::-1])
    torch.testing.assert_close(
        scores[0], torch.tensor([-10.0, 10.0]), atol=1e-3, rtol=0
    )


def test_a_silent_stem_has_no_score_and_leaves_the_mean_alone():
    scores = validate(Share(1.0), [song(0, hiss=0.0)], STEMS)
    assert scores[0, 1].isnan()
    assert do_nothing_scores([song(0, hiss=0.0)], STEMS)["silence"] == 0.0


def test_silence_alone_cannot_be_scored():
    with pytest.raises(DatasetError, match="silent"):
        do_nothing_scores([song(0, hum=0.0, hiss=0.0)], STEMS)


def test_without_songs_there_is_nothing_to_compare():
    assert do_nothing_scores(None, STEMS) == {}


def test_nan_in_a_song_names_the_song():
    audio = {"hum": torch.full((2, 800), math.nan), "hiss": torch.ones(2, 800)}
    with pytest.raises(InputError, match=r"track 'Broken'.*NaN"):
        do_nothing_scores([Track.from_audio("Broken", audio, RATE)], STEMS)


def test_an_estimate_that_is_not_finite_is_an_error():
    with pytest.raises(InputError, match="NaN"):
        validate(Share(math.nan), [song(0)], STEMS)


def test_the_model_is_set_back_to_train_mode():
    model = Share(1.0).train()
    validate(model, [song(0)], STEMS)
    assert model.training
