"""What was said is what is exported, under webMUSHRA's names."""

import csv
import json

import pandas as pd
import pytest

from mssedu.errors import DatasetError, InputError
from mssedu.listening.results.export import (
    COLUMNS,
    content_sha256,
    ratings_frame,
    read_json,
    write_csv,
    write_json,
)
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
    for i in range(3)
)
QUALITY = {"a": 40, "b": 60, "reference": 100, "anchor35": 10, "anchor70": 30}


def panel(test="mushra", n=2, title="Bake-off", **changes):
    store = ResultStore(":memory:", Design(title, test, TRIALS, **changes))
    for _ in range(n):
        sit_through(Session(store), QUALITY)
    return store


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_per_rating_with_all_that_is_known():
    store = panel(consent="?", training=("song 0",))
    store.log_gains("song 1", [("a", -2.5, "matched")])
    frame = ratings_frame(store)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 2 * (2 + 1) * 5  # listeners × (trials + replicate) × stimuli
    assert {*frame.trial} == {"song 1", "song 2"}  # training does not count
    assert frame.replicate.sum() == 2 * 5
    logged = (frame.trial == "song 1") & (frame.stimulus == "a")
    assert {*frame.gain_db[logged]} == {-2.5}
    assert frame.gain_db.notna().sum() == 2 + (logged & frame.replicate).sum()
    assert (frame.heard_seconds == 3).all()
    assert (frame.plays == 1).all()


def test_the_frame_says_what_was_said():
    store = ResultStore(":memory:", Design("?", "mushra", TRIALS, n_replicates=0))
    session = Session(store)
    said = {}
    while session.page:
        for label in session.sounds:
            session.heard(label, 1)
        for number, label in enumerate(session.labels):
            session.rate(label, 10 * number)
            said[session.page.trial, session.sounds[label]] = 10.0 * number
        session.comment(session.page.trial + ", indeed")
        session.finish()
    frame = ratings_frame(store)
    found = {(r.trial, r.stimulus): r.score for r in frame.itertuples()}
    assert found == said
    assert (frame.comment == frame.trial + ", indeed").all()


def test_unfinished_pages_are_left_out():
    store = ResultStore(":memory:", Design("?", "mushra", TRIALS))
    assert len(ratings_frame(store)) == 0
    session = Session(store)
    session.heard("A", 1)
    session.rate("A", 5)
    assert len(ratings_frame(store)) == 0
    assert len(store.rows("ratings")) == 1


def test_mushra_csv_has_the_columns_of_webmushra(tmp_path):
    store = panel(questionnaire={"age": ("30", "40"), "gear": ()})
    path = write_csv(store, tmp_path / "results")
    assert path == tmp_path / "results" / "mushra.csv"
    rows = read(path)
    rated = ["rating_stimulus", "rating_score", "rating_time", "rating_comment"]
    head = ["session_test_id", "age", "gear", "session_uuid", "trial_id", *rated]
    assert list(rows[0])[:9] == head
    assert len(rows) == 2 * 4 * 5
    assert {row["session_test_id"] for row in rows} == {"Bake-off"}
    assert {row["session_uuid"] for row in rows} == {*store.listeners()}
    assert {row["rating_stimulus"] for row in rows} == {*QUALITY}
    assert {row["age"] for row in rows} == {"30"}
    frame = ratings_frame(store)
    assert [float(row["rating_score"]) for row in rows] == frame.score.tolist()
    milliseconds = (1000 * frame.seconds).round().tolist()
    assert [float(row["rating_time"]) for row in rows] == milliseconds


def test_another_program_finds_the_mean_of_each_stimulus(tmp_path):
    """The two columns that analysis scripts for webMUSHRA group by."""
    store = panel(n=3, n_replicates=0)
    table = pd.read_csv(write_csv(store, tmp_path))
    theirs = table.groupby("rating_stimulus").rating_score.mean()
    ours = ratings_frame(store).groupby("stimulus").score.mean()
    assert theirs.to_dict() == pytest.approx(ours.to_dict())


@pytest.mark.parametrize("test", ["abx", "2afc"])
def test_choices_are_paired_comparisons(tmp_path, test):
    store = panel(test, reference=test == "abx", n_repetitions=4)
    path = write_csv(store, tmp_path)
    assert path.name == "paired_comparison.csv"
    rows = read(path)
    assert list(rows[0])[:8] == [
        "session_test_id",
        "trial_id",
        "choice_reference",
        "choice_non_reference",
        "choice_answer",
        "choice_time",
        "choice_comment",
        "session_uuid",
    ]
    for row, ours in zip(rows, ratings_frame(store).itertuples(), strict=True):
        pair = {row["choice_reference"], row["choice_non_reference"]}
        assert pair == {ours.first, ours.second}
        picked = row["choice_reference"] == row["chosen"]
        assert row["choice_answer"] == ("correct" if picked else "incorrect")
        if test == "abx":
            assert row["choice_reference"] == row["x"]
            assert (ours.score == 1) == picked
        else:
            assert row["choice_reference"] == "a"
        assert (row["label"] == "A") or (row["label"] == "B")


def test_acr_is_a_line_per_sound_with_all_questions(tmp_path):
    store = panel("acr", n=1)
    path = write_csv(store, tmp_path)
    assert path.name == "lss.csv"
    rows = read(path)
    assert list(rows[0])[:6] == [
        "session_test_id",
        "trial_id",
        "stimuli_rating1",
        "stimuli_rating2",
        "stimuli",
        "rating_time",
    ]
    assert len(rows) == 3 * 3 + 1
    frame = ratings_frame(store)
    quality = frame[frame.question == "quality"].score.tolist()
    bleed = frame[frame.question == "contamination"].score.tolist()
    assert [float(row["stimuli_rating1"]) for row in rows] == quality
    assert [float(row["stimuli_rating2"]) for row in rows] == bleed


def test_one_question_has_no_number(tmp_path):
    store = panel("acr", n=1, questions={"quality": "?"})
    assert "stimuli_rating" in read(write_csv(store, tmp_path))[0]


@pytest.mark.parametrize("test", ["mushra", "acr", "abx", "2afc"])
def test_without_answers_there_is_a_head_only(tmp_path, test):
    path = write_csv(panel(test, n=0), tmp_path)
    assert len(path.read_text("utf-8").splitlines()) == 1


def test_json_brings_everything_to_another_machine(tmp_path):
    there = panel(questionnaire={"gear": ()})
    there.log_gains("song 1", [("a", -2.5, "matched")])
    path = write_json(there, tmp_path / "results.json")
    here = ResultStore(":memory:", there.design)
    assert sorted(read_json(path, here)) == sorted(there.listeners())
    for table in ("ratings", "heard", "pages", "answers"):
        ours, theirs = (sorted(map(str, s.rows(table))) for s in (here, there))
        assert ours == theirs
    assert len(ratings_frame(here)) == len(ratings_frame(there))
    assert read_json(path, here) == []


def test_files_that_are_no_results(tmp_path):
    store = panel(n=1)
    path = tmp_path / "results.json"
    with pytest.raises(DatasetError, match=r"results\.json does not exist"):
        read_json(path, store)
    path.write_text("[1]")
    with pytest.raises(DatasetError, match="TypeError"):
        read_json(path, store)
    path.write_text('{"format": 99}')
    with pytest.raises(DatasetError, match="format 99"):
        read_json(path, store)
    write_json(store, path)
    document = json.loads(path.read_text("utf-8"))
    del document["heard"]
    document["listeners"][0]["id"] = "new"
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="KeyError: 'heard'"):
        read_json(path, store)
    other = ResultStore(":memory:", Design("Other", "mushra", TRIALS))
    with pytest.raises(InputError, match="another test"):
        read_json(write_json(store, path), other)


FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "-x\r=1",
    "=cmd|' /C'!A1",
)


def test_no_text_of_a_listener_is_a_formula(tmp_path):
    """Spreadsheets compute a cell that begins with one of these signs."""
    asked = {"=1+2": (), "trial_id": (), "score": ()}
    store = panel(n=0, questionnaire=asked, n_replicates=0, title="=2+3")
    for text in FORMULAS:
        session = Session(store)
        session.answer({"=1+2": text, "trial_id": text, "score": "-5"})
        session.finish()
        while session.page:
            for label in session.sounds:
                session.heard(label, 1)
            for label in session.labels:
                session.rate(label, 0)
            session.comment(text)
            session.finish()
    path = write_csv(store, tmp_path)
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert not [cell for cell in head if cell.startswith(("=", "+", "-", "@"))]
    for row in (dict(zip(head, row, strict=True)) for row in rows):
        text = row["rating_comment"]
        assert text == row["'=1+2"] == row["trial_id (answer)"]
        assert text[0] == "'"
        assert text[1:] in {formula.replace("\r", "\n") for formula in FORMULAS}
        assert row["session_test_id"] == "'=2+3"
        assert row["score"] == "-5"  # a number stays a number
        assert row["trial_id"].startswith("song")
    assert len(rows) == len(FORMULAS) * 3 * 5
    assert pd.read_csv(path).rating_score.tolist() == [0.0] * len(rows)
    comments = {row["comment"] for row in store.rows("pages") if row["comment"]}
    assert comments == {*FORMULAS}  # the results have what was said


def test_results_name_their_content(tmp_path):
    store = panel(n=1)
    path = write_json(store, tmp_path / "results.json")
    document = json.loads(path.read_text("utf-8"))
    assert document["sha256"] == content_sha256(document)
    assert document["design_sha256"] == store.design.sha256()
    path.write_text(json.dumps(document, indent=4, sort_keys=True))  # the same content
    with ResultStore(":memory:", store.design) as here:
        assert read_json(path, here) == store.listeners()
        document["ratings"][0]["score"] += 1
        path.write_text(json.dumps(document))
        with pytest.raises(DatasetError, match=r"results\.json was changed"):
            read_json(path, here)


def test_the_results_are_those_of_one_moment():
    """A listener who goes on during the export must not look impossible."""
    store = panel(n=1)
    tables = store.tables(("listeners", "ratings"))
    assert [row["id"] for row in tables["listeners"]] == store.listeners()
    assert tables["ratings"] == store.rows("ratings")
    store.add_listener()  # the transaction is over
