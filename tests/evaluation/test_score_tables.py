"""Tables of scores: both aggregations named, intervals, and what was left out."""

import pytest

from mssedu.errors import InputError
from mssedu.evaluation.score_tables import (
    long_table,
    mean_of_stems,
    score_note,
    score_table,
    track_table,
)
from mssedu.evaluation.track import TrackScores
from tests.evaluation.test_result import evaluation, track


@pytest.fixture
def found():
    return evaluation(
        track("a", 1.0, 5.0),
        track("b", None, 6.0, leak=-30.4),
        track("c", 4.0, 7.0),
        track("d", 10.0, 8.0),
    )


def test_a_line_per_row_and_aggregation(found):
    head, lines = score_table(found, "usdr")
    assert head == ("usdr, dB", "aggregation", "voice", "rest", "average")
    assert [line[:2] for line in lines[5:]] == [
        ("model", "mean of tracks"),
        ("", "95 % interval"),
        ("", "median of tracks"),
        ("", "95 % interval"),
        ("", "standard deviation"),
    ]
    assert lines[5] == ("model", "mean of tracks", "5.00", "6.50", "5.75")
    assert lines[6][2:] == ("1.0…10.0", "5.5…7.5", "")
    assert lines[7][2:] == ("4.00", "6.50", "5.25")
    assert lines[9][2:] == ("4.58", "1.29", "")  # of 1, 4, 10; of 5, 6, 7, 8
    assert score_table(found, "usdr", ["mean of tracks"])[1] == [
        *lines[:2],
        *lines[5:7],
    ]


def test_few_tracks_have_no_brackets_and_the_note_says_so():
    found = evaluation(track("a", None, 5.0, leak=-30.0), track("b", None, 6.0))
    _, lines = score_table(found, "usdr")
    assert lines[3] == ("model", "mean of tracks", "–", "5.50", "–")
    assert lines[5] == ("", "standard deviation", "–", "0.71", "")
    assert len(lines) == 6
    assert "2 tracks: too few for an interval" in score_note(found, "usdr")


def test_the_note_tells_definition_silence_and_level(found):
    note = score_note(found, "usdr")
    assert note.startswith("usdr: words; higher is better. 4 tracks; intervals: boot")
    assert "Silent, so without a ratio: voice in 1, rest in 0." in note
    assert "There the estimates are at: voice -30 dBFS." in note
    assert "cap" not in note
    assert "Lags" not in note


def test_the_note_tells_caps_and_lags():
    a = track("a", 1.0, 2.0)
    fields = {**a.as_json(), "capped": ["usdr model voice", "csdr model voice"]}
    note = score_note(evaluation(TrackScores(**fields | {"lag": -12})), "usdr")
    assert "1 scores are ±100 by cap" in note
    assert "Lags taken out, samples: a -12." in note
    assert "Silent" not in note


def test_one_track(found):
    assert track_table(found, "b", "usdr") == (
        ("usdr, dB", "voice", "rest"),
        [("silence", "0.00", "0.00"), ("model", "–", "6.00")],
    )


def test_csv_has_one_number_a_line(found):
    head, lines = long_table(found, ["usdr"])
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


def test_unknown_metric(found):
    with pytest.raises(KeyError):
        score_note(found, "csdr")
    with pytest.raises(InputError, match="a metric of"):
        track_table(found, "a", "csdr")
