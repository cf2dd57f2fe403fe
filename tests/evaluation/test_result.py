"""Means, medians, intervals, and the file that holds them."""

import json
import statistics

import pytest

from mssedu.errors import DatasetError, InputError
from mssedu.evaluation.result import (
    AGGREGATIONS,
    Evaluation,
    first_difference,
    load_evaluation,
    write_json,
)
from mssedu.evaluation.statistics import bootstrap_interval
from mssedu.evaluation.track import TrackScores

DEFINITIONS = {
    "metrics": {
        "usdr": {
            "definition": "words",
            "unit": "dB",
            "higher_is_better": True,
            "joint": False,
            "version": 1,
        }
    },
    "rows": {"silence": "zeros", "model": "the estimates"},
    "align": False,
}


def track(name, voice, rest, leak=None):
    scores = {"silence": {"voice": 0.0, "rest": 0.0}}
    scores["model"] = {"voice": voice, "rest": rest}
    levels = {} if leak is None else {"voice": {"silence": -150.0, "model": leak}}
    return TrackScores(
        name, "test", 3.0, f"hash of {name}", {"usdr": scores}, levels, []
    )


def evaluation(*tracks):
    about = {"sample_rate": 44100, "estimates": {"model": "Tiny"}}
    by_name = {t.name: t for t in tracks}
    rows, stems = ("silence", "model"), ("voice", "rest")
    return Evaluation(stems, ("usdr",), rows, by_name, about, DEFINITIONS)


@pytest.fixture
def found():
    return evaluation(
        track("a", 1.0, 5.0),
        track("b", None, 6.0, leak=-30.0),
        track("c", 4.0, 7.0),
        track("d", 10.0, 8.0),
        track("e", None, 1.0, leak=-40.0),
    )


def test_silent_tracks_are_left_out_and_counted(found):
    assert found.by_track("usdr", "model", "voice") == {"a": 1.0, "c": 4.0, "d": 10.0}
    assert found.mean("usdr", "model", "voice") == 5.0
    assert found.median("usdr", "model", "voice") == 4.0
    assert (found.n_silent("voice"), found.n_silent("rest")) == (2, 0)
    assert found.level_at_silence("model", "voice") == -35.0
    assert found.level_at_silence("model", "rest") is None


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_summaries_have_their_intervals(found, name):
    summary = found.summary("usdr", "model", "rest", name)
    scores = [5.0, 6.0, 7.0, 8.0, 1.0]
    statistic = AGGREGATIONS[name]
    expected = {"mean": statistics.mean, "median": statistics.median}[statistic](scores)
    assert summary.value == pytest.approx(expected)
    assert summary.interval == bootstrap_interval(scores, statistic)
    assert summary.interval[0] < summary.value < summary.interval[1]
    assert summary.n == 5


def test_few_tracks_have_no_interval_and_none_no_value():
    found = evaluation(track("a", None, 1.0, leak=-30.0), track("b", None, 2.0))
    summary = found.summary("usdr", "model", "voice", "mean of tracks")
    assert (summary.value, summary.interval, summary.n) == (None, None, 0)
    summary = found.summary("usdr", "model", "rest", "median of tracks")
    assert (summary.value, summary.interval, summary.n) == (1.5, None, 2)


def test_saved_and_loaded(found, tmp_path):
    path = found.save(tmp_path)
    assert path == tmp_path / "evaluation.json"
    assert load_evaluation(tmp_path) == load_evaluation(path) == found
    document = json.loads(path.read_text("utf-8"))
    assert document["summary"]["usdr"]["model"]["mean of tracks"]["voice"] == 5.0
    assert document["data_sha256"] == found.data_sha256
    assert found.save(tmp_path / "mine.json").name == "mine.json"


def test_the_data_hash_is_that_of_the_songs(found):
    tracks = list(found.tracks.values())
    assert evaluation(*tracks[::-1]).data_sha256 == found.data_sha256
    assert evaluation(*tracks[1:]).data_sha256 != found.data_sha256


def test_one_track(found):
    assert found.of_track("a", "usdr")["model"] == {"voice": 1.0, "rest": 5.0}


def test_unknown_names(found):
    with pytest.raises(InputError, match="a track of"):
        found.of_track("z", "usdr")
    with pytest.raises(InputError, match="a metric of"):
        found.mean("csdr", "model", "voice")
    with pytest.raises(InputError, match="a row of"):
        found.mean("usdr", "irm", "voice")
    with pytest.raises(InputError, match="a stem of"):
        found.mean("usdr", "model", "bass")
    with pytest.raises(InputError, match="a way to aggregate of"):
        found.summary("usdr", "model", "voice", "mode of tracks")


def test_files_that_are_none(tmp_path, found):
    with pytest.raises(DatasetError, match="an evaluation, got no such file"):
        load_evaluation(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text("{}")
    with pytest.raises(DatasetError, match="an evaluation, got KeyError"):
        load_evaluation(tmp_path)
    found.save(path)
    path.write_text(path.read_text("utf-8").replace('"format": 1', '"format": 9'))
    with pytest.raises(DatasetError, match="format 1, got 9"):
        load_evaluation(tmp_path)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, "a.b: [1], now [2]"),
        ({"a": 1}, {}, "a: no longer"),
        ({}, {"a": 1}, "a: new"),
        ({"a": "x" * 50}, {"a": ""}, f"a: {'x' * 37}…, now "),
    ],
)
def test_the_first_difference(old, new, words):
    assert first_difference(old, new) == words
