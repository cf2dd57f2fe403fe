"""Means of several evaluations, song by song."""

import pytest
import torch

from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.evaluation.repeats import mean_of_runs, song_means, stem_average
from mssedu.evaluation.run import evaluate

STEMS = ("hum", "hiss")


def song(number, *, silent=False):
    generator = torch.Generator().manual_seed(number)
    audio = torch.rand(2, 2, 8000, generator=generator) - 0.5
    if silent:
        audio[0] = 0
    tensors = dict(zip(STEMS, audio, strict=True))
    return Track.from_audio(f"song {number}", tensors, 44100)


def run(factor, songs):
    """An evaluation of estimates that are the stems times a factor."""
    return evaluate(
        None,
        songs,
        metrics=("usdr",),
        rows=("model",),
        estimates=lambda track: factor * track.sources(),
    )


def test_the_mean_of_runs_is_that_of_each_score():
    songs = [song(0), song(1, silent=True)]
    runs = [run(0.5, songs), run(0.9, songs)]
    merged = mean_of_runs(runs)
    for name in ("song 0", "song 1"):
        for stem in STEMS:
            pair = [r.tracks[name].scores["usdr"]["model"][stem] for r in runs]
            found = merged.tracks[name].scores["usdr"]["model"][stem]
            if pair[0] is None:
                assert (name, stem, found) == ("song 1", "hum", None)
            else:
                assert found == pytest.approx(sum(pair) / 2)
    # 20 log10(1 / (1 - factor)) dB, whatever the song
    means = song_means(merged, "usdr")
    assert means == pytest.approx({"song 0": 13.01, "song 1": 13.01}, abs=0.01)
    assert stem_average(merged, "usdr") == pytest.approx(13.01, abs=0.01)


def test_what_it_refuses():
    with pytest.raises(InputError, match="runs is empty"):
        mean_of_runs([])
    pair = [run(0.5, [song(0)]), run(0.5, [song(1)])]
    with pytest.raises(InputError, match="differ in more than their runs: songs"):
        mean_of_runs(pair)
