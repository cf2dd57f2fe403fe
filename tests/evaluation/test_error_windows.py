"""Windows: the score and level of each is that of its samples alone."""

import numpy as np
import pytest
import torch

from mssedu.audio.tensors import rms_db
from mssedu.errors import InputError
from mssedu.evaluation.error_windows import (
    AUDIBLE_DB,
    Windows,
    score_by_level,
    score_windows,
    worst_windows,
)
from mssedu.metrics.ratios import usdr

RATE = 1000


@pytest.fixture
def song():
    """References and estimates (2, 2, 3300)."""
    references = torch.randn(2, 2, 3300)
    return references, references + 0.3 * torch.randn(2, 2, 3300)


def windows_of(references, estimates, mixture=None):
    mixture = references.sum(0) if mixture is None else mixture
    return score_windows(
        references=references, estimates=estimates, mixture=mixture, sample_rate=RATE
    )


def test_each_window_is_scored_alone(song):
    found = windows_of(*song)
    assert found.seconds.tolist() == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5])
    for number, middle in enumerate(found.seconds.tolist()):
        start = round((middle - 0.5) * RATE)
        s, e = (audio[..., start : start + RATE] for audio in song)
        torch.testing.assert_close(
            found.usdr[:, number], usdr(reference=s, estimate=e), atol=1e-4, rtol=0
        )
        levels = [rms_db(stem) for stem in s]
        assert found.level_db[:, number].tolist() == pytest.approx(levels, abs=1e-4)


@pytest.mark.parametrize("samples", [1, 3, 999, 1000])
def test_a_short_song_is_one_window(song, samples):
    s, e = (audio[..., :samples] for audio in song)
    found = windows_of(s, e)
    assert found.usdr.shape == (2, 1)
    torch.testing.assert_close(
        found.usdr[:, 0], usdr(reference=s, estimate=e), atol=1e-4, rtol=0
    )
    assert found.seconds.tolist() == pytest.approx([samples / 2 / RATE])


def test_silence_has_no_score_and_is_not_audible(song):
    references, estimates = song
    references[1, :, :1000] = 0
    found = windows_of(references, estimates)
    assert found.usdr.isnan().tolist() == [5 * [False], [True] + 4 * [False]]
    assert found.level_db[1, 0] == -torch.inf
    assert not found.audible[1, 0]
    nothing = torch.zeros(2, 2, 3300)
    assert not windows_of(nothing, nothing).audible.any()


def test_audible_is_what_is_loud_enough_in_its_song():
    mixture = torch.ones(1, 2000)
    levels = torch.tensor([AUDIBLE_DB + 0.1, AUDIBLE_DB - 0.1])
    references = (10 ** (levels / 20))[:, None, None].expand(2, 1, 2000)
    found = windows_of(references, references, mixture)
    assert found.audible.all(1).tolist() == [True, False]
    quieter = windows_of(0.01 * references, references, 0.01 * mixture)
    assert quieter.audible.all(1).tolist() == [True, False]


def test_score_by_level_is_what_numpy_says():
    level = 40 * torch.rand(500) - 50
    scores = torch.randn(500) + level
    scores[::7] = torch.nan
    level[3] = -torch.inf
    middle, quartiles, n = score_by_level(scores, level, step_db=10.0)
    assert middle.tolist() == [-45, -35, -25, -15]
    for place, step in enumerate(middle):
        inside = ((level - step).abs() < 5) & scores.isfinite()
        group = scores[inside].numpy()
        wanted = np.quantile(group, [0.25, 0.5, 0.75])
        assert quartiles[place].tolist() == pytest.approx(wanted.tolist(), abs=1e-4)
        assert int(n[place]) == len(group)


def test_score_by_level_of_nothing():
    middle, quartiles, n = score_by_level(torch.full((3,), torch.nan), torch.zeros(3))
    assert (middle.shape, quartiles.shape, n.shape) == ((0,), (0, 3), (0,))


@pytest.fixture
def scored():
    scores = torch.tensor([[5.0, 1.0, 2.0, torch.nan, 9.0], [4.0, -9.0, 3.0, 0.0, 8.0]])
    audible = torch.ones(2, 5).bool()
    audible[1, 1] = False
    return Windows(torch.arange(5) / 2, scores, torch.zeros(2, 5), audible)


def test_worst_windows(scored):
    assert worst_windows(scored, 3, 0.0) == [(1, 3), (0, 1), (0, 2)]
    assert worst_windows(scored, 0, 0.0) == []
    every = worst_windows(scored, 99, 0.0)
    assert len(every) == 8  # neither the silent window nor the inaudible one
    apart = worst_windows(scored, 99, 1.0)
    assert apart == [(1, 3), (0, 1), (1, 0), (0, 4)]  # (0, 2) is 0.5 s from (0, 1)


def test_what_it_refuses(song):
    references, estimates = song
    with pytest.raises(InputError, match="estimate"):
        windows_of(references, estimates[:1])
    with pytest.raises(InputError, match="empty"):
        windows_of(references[..., :0], estimates[..., :0])
    with pytest.raises(InputError, match="step_db"):
        score_by_level(torch.zeros(3), torch.zeros(3), step_db=0.0)
    with pytest.raises(InputError, match="level_db"):
        score_by_level(torch.zeros(2, 3), torch.zeros(2, 3))
