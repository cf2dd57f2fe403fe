"""Means, medians, intervals, and the file that holds them."""

import json
import statistics
from dataclasses import asdict

import pandas
import pytest

from mssedu.errors import DatasetError, InputError
from mssedu.evaluation.result import (
    AGGREGATIONS,
    Evaluation,
    first_difference,
    load_evaluation,
    mean_of_stems,
)
from mssedu.evaluation.statistics import bootstrap_interval
from mssedu.evaluation.track import TrackScores
from mssedu.reports.tables import render, texts

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
    with pytest.raises(InputError, match="unknown track"):
        found.of_track("z", "usdr")
    with pytest.raises(InputError, match="unknown metric"):
        found.mean("csdr", "model", "voice")
    with pytest.raises(InputError, match="unknown row"):
        found.mean("usdr", "irm", "voice")
    with pytest.raises(InputError, match="unknown stem"):
        found.mean("usdr", "model", "bass")
    with pytest.raises(InputError, match="mode of tracks"):
        found.summary("usdr", "model", "voice", "mode of tracks")


def test_files_that_are_none(tmp_path, found):
    with pytest.raises(DatasetError, match="no such file"):
        load_evaluation(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text("{}")
    with pytest.raises(DatasetError, match=r"no evaluation .*KeyError"):
        load_evaluation(tmp_path)
    found.save(path)
    path.write_text(path.read_text("utf-8").replace('"format": 1', '"format": 9'))
    with pytest.raises(DatasetError, match="format 9"):
        load_evaluation(tmp_path)


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


# ---- tables -------------------------------------------------------------------------


@pytest.fixture
def four():
    return evaluation(
        track("a", 1.0, 5.0),
        track("b", None, 6.0, leak=-30.4),
        track("c", 4.0, 7.0),
        track("d", 10.0, 8.0),
    )


def lines_of(frame):
    """The cells as they are printed."""
    return [tuple(row) for row in texts(frame)[1]]


def test_a_line_per_row_and_aggregation(four):
    table = four.table("usdr")
    assert [*table] == ["usdr, dB", "aggregation", "voice", "rest", "average"]
    lines = lines_of(table)
    assert [line[:2] for line in lines[5:]] == [
        ("model", "mean of tracks"),
        ("", "95 % interval"),
        ("", "median of tracks"),
        ("", "95 % interval"),
        ("", "standard deviation"),
        ("", "n (tracks)"),
    ]
    assert lines[5] == ("model", "mean of tracks", "5.00", "6.50", "5.75")
    assert lines[6][2:] == ("1.0…10.0", "5.5…7.5", "")
    assert lines[7][2:] == ("4.00", "6.50", "5.25")
    assert lines[9][2:] == ("4.58", "1.29", "")  # of 1, 4, 10; of 5, 6, 7, 8
    assert lines[10][2:] == ("3", "4", "")
    only_means = four.table("usdr", ["mean of tracks"])
    assert lines_of(only_means) == [*lines[:2], *lines[5:7], lines[10]]
    assert table.loc[5, "voice"] == 5.0  # a number


def test_few_tracks_have_no_brackets_and_the_note_says_so():
    found = evaluation(track("a", None, 5.0, leak=-30.0), track("b", None, 6.0))
    lines = lines_of(found.table("usdr"))
    assert lines[3] == ("model", "mean of tracks", "–", "5.50", "–")
    assert lines[5] == ("", "standard deviation", "–", "0.71", "")
    assert lines[6] == ("", "n (tracks)", "0", "2", "")
    assert len(lines) == 7
    assert "2 tracks: too few for an interval" in found.note("usdr")


def test_the_note_has_definition_silence_and_level(four):
    note = four.note("usdr")
    assert note.startswith("usdr: words; higher is better. 4 tracks; intervals: boot")
    assert "Silent, so without a ratio: voice in 1, rest in 0." in note
    assert "There the estimates are at: voice -30 dBFS." in note
    assert "cap" not in note
    assert "Lags" not in note


def test_the_note_has_caps_and_lags():
    a = track("a", 1.0, 2.0)
    fields = {**asdict(a), "capped": ["usdr model voice", "csdr model voice"]}
    note = evaluation(TrackScores(**fields | {"lag": -12})).note("usdr")
    assert "1 scores are ±100 by cap" in note
    assert "samples: a -12." in note
    assert "Silent" not in note


def test_the_table_of_one_track(four):
    assert texts(four.track_table("b", "usdr")) == (
        ["usdr, dB", "voice", "rest"],
        [["silence", "0.00", "0.00"], ["model", "–", "6.00"]],
    )


def test_the_frame_has_every_score_once(four, tmp_path):
    frame = four.frame()
    assert [*frame] == ["track", "row", "metric", "stem", "value"]
    assert len(frame) == 4 * 2 * 2  # tracks, rows, stems
    chosen = frame.query("row == 'model' and stem == 'voice'")
    assert chosen.value.mean() == four.mean("usdr", "model", "voice")
    assert chosen.value.isna().tolist() == [False, True, False, False]
    frame.to_csv(tmp_path / "scores.csv", index=False)
    assert pandas.read_csv(tmp_path / "scores.csv").equals(frame)


def test_the_summaries_have_one_number_a_line(four):
    head, lines = texts(four.summaries(), decimals=4)
    assert len(lines) == 2 * 3 * 2  # rows, aggregations, stems
    line = dict(zip(head, lines[6], strict=True))
    assert (line["row"], line["aggregation"]) == ("model", "mean of tracks")
    assert (line["stem"], line["value"], line["n_tracks"]) == ("voice", "5.0000", "3")
    assert (line["low"], line["n_silent"]) == ("1.0000", "1")
    assert (line["version"], line["definition"]) == ("1", "words")


def test_the_mean_of_stems_needs_all():
    assert mean_of_stems([1.0, 3.0]) == 2.0
    assert mean_of_stems([1.0, None]) is None
    assert mean_of_stems([]) is None


# ---- absent stems --------------------------------------------------------------------


def without_voice(name, rest):
    """Scores of a track that has no reference of the voice."""
    rows = {"silence": {"voice": None, "rest": 0.0}}
    rows["model"] = {"voice": None, "rest": rest}
    about = (name, "test", 3.0, f"hash of {name}")
    return TrackScores(*about, {"usdr": rows}, {}, [], absent=["voice"])


@pytest.fixture
def uneven():
    """In b the voice is silent, from c and d it is absent."""
    return evaluation(
        track("a", 1.0, 5.0),
        track("b", None, 6.0, leak=-30.4),
        without_voice("c", 7.0),
        without_voice("d", 8.0),
        track("e", 4.0, 9.0),
    )


def test_absent_is_not_silent(uneven):
    assert (uneven.n_silent("voice"), uneven.n_absent("voice")) == (1, 2)
    assert (uneven.n_silent("rest"), uneven.n_absent("rest")) == (0, 0)
    assert uneven.level_at_silence("model", "voice") == -30.4
    assert uneven.by_track("usdr", "model", "voice") == {"a": 1.0, "e": 4.0}
    note = uneven.note("usdr")
    assert "Silent, so without a ratio: voice in 1, rest in 0." in note
    assert "so without any score: voice from 2, rest from 0." in note
    assert "it is not silence" in note
    assert "the average weighs all stems alike" in note


def test_each_mean_has_its_number_of_tracks(uneven):
    lines = lines_of(uneven.table("usdr"))
    model = {line[1]: line[2:] for line in lines[-6:]}
    assert model["mean of tracks"] == ("2.50", "7.00", "4.75")
    assert model["n (tracks)"] == ("2", "5", "")
    silence = {line[1]: line[2:] for line in lines[:-6]}
    assert silence["n (tracks)"] == ("3", "5", "")
    latex = render(uneven.table("usdr"), "latex")
    assert r" & n (tracks) & 2 & 5 &  \\" in latex
    summaries = uneven.summaries().set_index(["row", "aggregation", "stem"])
    line = summaries.loc[("model", "mean of tracks", "voice")]
    assert line[["n_tracks", "n_silent", "n_absent"]].tolist() == [2, 1, 2]


def test_an_absent_stem_has_no_lines_in_the_frame(uneven):
    frame = uneven.frame()
    assert len(frame) == 5 * 2 * 2 - 2 * 2
    voices = frame.query("stem == 'voice' and row == 'model'")
    assert voices.track.tolist() == ["a", "b", "e"]
    assert voices.value.isna().tolist() == [False, True, False]


def test_the_table_of_a_track_says_absent(uneven):
    _, lines = texts(uneven.track_table("c", "usdr"))
    assert lines == [["silence", "absent", "0.00"], ["model", "absent", "7.00"]]
    assert texts(uneven.track_table("b", "usdr"))[1][1] == ["model", "–", "6.00"]


def test_absent_stems_are_saved_and_older_files_have_none(uneven, found, tmp_path):
    path = uneven.save(tmp_path)
    assert load_evaluation(path) == uneven
    document = json.loads(path.read_text("utf-8"))
    counts = document["summary"]["usdr"]["model"]["n_tracks"]
    assert counts == {"voice": 2, "rest": 5}
    document = json.loads(found.save(path).read_text("utf-8"))
    for scores in document["tracks"]:
        assert scores.pop("absent") == []
    path.write_text(json.dumps(document))
    assert load_evaluation(path) == found
    document["tracks"][1]["absent"] = "voice"
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"tracks\.1\.absent is not a list"):
        load_evaluation(path)


@pytest.mark.parametrize("part", ["metrics", "rows", "stems"])
def test_a_file_without_scores_is_refused(found, tmp_path, part):
    path = found.save(tmp_path)
    document = json.loads(path.read_text("utf-8"))
    place = document if part == "stems" else document["definitions"]
    place[part] = type(place[part])()
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=f"{part} is empty"):
        load_evaluation(path)


def test_numbers_that_json_lacks_are_refused(found, tmp_path):
    path = found.save(tmp_path)
    path.write_text(path.read_text("utf-8").replace('"lag": 0', '"lag": Infinity'))
    with pytest.raises(DatasetError, match="Infinity is no number of JSON"):
        load_evaluation(path)


@pytest.mark.parametrize("place", ["scores", "at_silence"])
def test_numbers_that_no_metric_gives_are_refused(four, tmp_path, place):
    path = four.save(tmp_path)
    document = json.loads(path.read_text("utf-8"))
    scores = document["tracks"][1]
    if place == "scores":
        scores["scores"]["usdr"]["model"]["rest"] = -1e200
    else:
        scores["at_silence"]["voice"]["model"] = -1e200
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=rf"tracks\.1\.{place} has -1e\+200"):
        load_evaluation(path)


@pytest.mark.parametrize("method", ["table", "note", "title"])
def test_tables_of_unknown_metrics(four, method):
    with pytest.raises(InputError, match="unknown metric 'csdr'"):
        getattr(four, method)("csdr")
