"""Concordance against its definition's known values; ranks within and over songs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from mssedu.audio.tensors import save_audio
from mssedu.errors import InputError
from mssedu.listening.results.agreement import (
    concordance,
    excerpt_scores,
    rank_agreement,
    replicate_agreement,
)
from mssedu.listening.test.design import Design, Trial


def line(listener, trial, stimulus, score, replicate=False):
    return {
        "listener": listener,
        "trial": trial,
        "question": "quality",
        "stimulus": stimulus,
        "score": score,
        "replicate": replicate,
    }


# ---- concordance --------------------------------------------------------------------


def test_same_and_mirrored():
    values = [10.0, 30.0, 70.0]
    assert concordance(values, values) == pytest.approx(1)
    assert concordance(values, [80 - v for v in values]) < 0
    assert concordance([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_a_shift_lowers_it_where_correlation_stays():
    """Same spread s², shifted by d: 2 s² / (2 s² + d²)."""
    values = np.random.default_rng(0).normal(50, 10, 1000)
    variance = values.var()
    for shift in (5, 20):
        expected = 2 * variance / (2 * variance + shift**2)
        assert concordance(values, values + shift) == pytest.approx(expected)


def test_it_is_correlation_times_bias_correction():
    """Lin 1989, eq. 5: ρ_c = ρ C_b, C_b = 2 / (v + 1 / v + u²)."""
    draw = np.random.default_rng(1)
    a = draw.normal(50, 10, 500)
    b = 0.5 * a + draw.normal(30, 5, 500)
    v = a.std() / b.std()
    u = (a.mean() - b.mean()) / math.sqrt(a.std() * b.std())
    expected = np.corrcoef(a, b)[0, 1] * 2 / (v + 1 / v + u * u)
    assert concordance(a, b) == pytest.approx(expected)


def test_nothing_varies():
    assert math.isnan(concordance([5, 5], [5, 5]))
    with pytest.raises(InputError, match="got 2 and 3"):
        concordance([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="got 1 and 1"):
        concordance([1], [1])


def test_replicates_are_matched_by_trial_and_stimulus():
    scores = {"a": 10.0, "b": 50.0, "c": 90.0, "reference": 100.0}
    steady = [line("steady", "x", s, v) for s, v in scores.items()]
    steady += [line("steady", "x", s, scores[s], True) for s in reversed(scores)]
    steady += [line("steady", "y", "a", 77.0)]
    turned = [line("turned", "x", s, v) for s, v in scores.items()]
    turned += [line("turned", "x", s, 100.0 - scores[s], True) for s in "abc"]
    found = replicate_agreement(pd.DataFrame([*steady, *turned]), systems=list("abc"))
    assert found["steady"] == pytest.approx(1)
    assert found["turned"] == pytest.approx(-1)
    once = replicate_agreement(pd.DataFrame(steady[:4]))
    assert math.isnan(once["steady"])


def test_scores_are_of_what_was_heard(tmp_path):
    """Noise at −20 dB in the excerpt, and at 0 dB elsewhere: only the first counts."""
    rate = 8000
    clean = torch.randn(1, 2 * rate, generator=torch.Generator().manual_seed(0)) / 4
    other = torch.randn(1, 2 * rate, generator=torch.Generator().manual_seed(1)) / 4
    gain = torch.full((1, 2 * rate), 1.0)
    gain[:, :rate] = 0.1
    for name, audio in {"r": clean, "a": clean + gain * other, "b": clean / 2}.items():
        save_audio(tmp_path / f"{name}.wav", audio, rate, subtype="float32")
    files = {"a": "a.wav", "b": "b.wav"}
    trial = Trial("song", files, "r.wav", duration_seconds=1.0)
    found = excerpt_scores(Design("?", "acr", (trial,), folder=tmp_path))
    assert found["song", "a"] == pytest.approx(20, abs=0.3)
    assert found["song", "b"] == pytest.approx(6.02, abs=0.01)
    save_audio(tmp_path / "r.wav", 0 * clean, rate)
    silent = Design("?", "acr", (trial,), folder=tmp_path)
    assert excerpt_scores(silent) == {}
    alone = Trial("song", files)
    with pytest.raises(InputError, match="'song' has no reference"):
        excerpt_scores(Design("?", "acr", (alone,), reference=False, folder=tmp_path))


# ---- ranks --------------------------------------------------------------------------


def test_songs_can_hide_that_systems_are_ranked_the_wrong_way():
    """Simpson's paradox: hard and easy songs agree, systems within them do not."""
    ratings, scores = [], {}
    for number, song in enumerate(("hard", "medium", "easy")):
        for place, system in enumerate("abc"):
            ratings.append(line("L", song, system, 30.0 * number + place))
            scores[song, system] = 10.0 * number - place
    found = rank_agreement(pd.DataFrame(ratings), scores)
    assert found.kendall == pytest.approx(0.5)  # 27 of 36 pairs agree, 9 do not
    assert found.spearman > 0.7
    assert found.kendall_within == found.spearman_within == -1
    assert (found.n, found.n_trials) == (9, 3)


def test_known_values():
    """Kendall 1948's first example: ranks of mathematics and music, τ = 0.11."""
    music = [5, 7, 3, 10, 1, 9, 6, 2, 8, 4]
    ratings = [line("L", "x", str(i), float(i)) for i in range(10)]
    scores = {("x", str(i)): float(m) for i, m in enumerate(music)}
    found = rank_agreement(pd.DataFrame(ratings), scores)
    pairs = [(i, j) for i in range(10) for j in range(i)]
    agree = sum(1 if music[i] > music[j] else -1 for i, j in pairs)
    assert found.kendall == pytest.approx(agree / len(pairs))
    squares = sum((i + 1 - m) ** 2 for i, m in enumerate(music))
    assert found.spearman == pytest.approx(1 - 6 * squares / 990)


def test_listeners_are_averaged_and_the_rest_is_left_out():
    ratings = [line(n, "x", s, v) for n, s, v in [("1", "a", 10.0), ("2", "a", 30.0)]]
    ratings += [line("1", "x", "b", 15.0), line("1", "x", "reference", 100.0)]
    scores = {("x", "a"): 2.0, ("x", "b"): 1.0, ("y", "a"): 5.0}
    found = rank_agreement(pd.DataFrame(ratings), scores)
    assert (found.n, found.kendall) == (2, 1.0)


def test_what_does_not_vary_has_no_order():
    ratings = pd.DataFrame([line("1", "x", s, 5.0) for s in "ab"])
    found = rank_agreement(ratings, {("x", "a"): 1.0, ("x", "b"): 2.0})
    assert math.isnan(found.kendall)
    assert math.isnan(found.kendall_within)
    assert found.n_trials == 0
    with pytest.raises(InputError, match="scores has values for 1"):
        rank_agreement(ratings, {("x", "a"): 1.0})
