"""Results from elsewhere: what a listener cannot have done does not get in.

The forgeries change a file that mssedu has written, and its sha256, as one would who
knows the format. Not found, in principle: answers that were invented but are possible,
such as ratings of 100 for all, another number in the file of an offline page, which
gives the letters another meaning, or a copy with other times.
"""

import copy
import json
import math
import re
import sqlite3

import pytest

from mssedu.errors import DatasetError, InputError, MssEduError, MssEduWarning
from mssedu.listening.results.export import (
    content_sha256,
    merge_file,
    ratings_frame,
    read_json,
    write_csv,
    write_json,
)
from mssedu.listening.results.report import write_report
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.merge import impossible, merge_answers
from mssedu.listening.test.schedule import plan
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

TRIALS = tuple(
    Trial(f"song {i}", {"good": "a.wav", "weak": "b.wav"}, "r.wav") for i in range(3)
)
ASKED = {"age": ("young", "old"), "gear": ()}
DESIGN = Design("?", "mushra", TRIALS, consent="Agree?", questionnaire=ASKED)
QUALITY = {"good": 80, "weak": 40, "reference": 100, "anchor35": 10, "anchor70": 30}
TIME = "2026-01-02T03:04:05.678Z"


def results(path, n=2, design=DESIGN):
    """The document of a results file with n listeners."""
    with ResultStore(":memory:", design) as store:
        for _ in range(n):
            sit_through(Session(store), QUALITY)
        return json.loads(write_json(store, path).read_text("utf-8"))


def written(path, document):
    """The file of a document, with its sha256."""
    path.write_text(json.dumps({**document, "sha256": content_sha256(document)}))
    return path


@pytest.fixture
def store():
    with ResultStore(":memory:", DESIGN) as store:
        yield store


# ---- forged results.json ------------------------------------------------------------


def change(table, **values):
    """Change the first row of a table."""

    def forge(document, rows):
        rows[table][0].update(values)

    return forge


def swapped(document, rows):
    names = {"reference": "weak", "weak": "reference"}
    for row in rows["ratings"]:
        row["stimulus"] = names.get(row["stimulus"], row["stimulus"])


def swapped_in_the_plan(document, rows):
    swapped(document, rows)
    text = rows["listeners"][0]["plan"]
    swap = text.replace('"weak"', '"?"').replace('"reference"', '"weak"')
    rows["listeners"][0]["plan"] = swap.replace('"?"', '"reference"')


def removed(table, n=None):
    def forge(document, rows):
        gone = rows[table][:n]
        document[table] = [row for row in document[table] if row not in gone]

    return forge


def doubled(table):
    def forge(document, rows):
        document[table].append(dict(rows[table][0]))

    return forge


def renamed(document, rows):
    for table, row in ((t, r) for t in rows for r in rows[t]):
        row["id" if table == "listeners" else "listener"] = "=cmd|' /C calc'!A1"


def asked_nothing(document, rows):
    document["answers"].append({**rows["answers"][0], "name": "mine"})


def backwards(document, rows):
    rows["listeners"][0]["started"] = "2099-01-01T00:00:00.000+00:00"


FORGERIES = {
    "score 1e9": (change("ratings", score=1e9), "score must be from 0 to 100"),
    "score below": (change("ratings", score=-1), "score"),
    "score text": (change("ratings", score="abc"), "must be a number"),
    "score NaN": (change("ratings", score=math.nan), "score"),
    "unknown stimulus": (change("ratings", stimulus="mine"), "the results have"),
    "label Z": (change("ratings", label="Z"), "label 'Z'"),
    "unknown question": (change("ratings", question="mine"), "question 'mine'"),
    "nothing played": (removed("heard"), "Listen to"),
    "systems swapped": (swapped, "the results have"),
    "systems swapped in the plan too": (swapped_in_the_plan, "test draws"),
    "plan []": (change("listeners", plan="[]"), "test draws"),
    "plan junk": (change("listeners", plan="junk"), "JSONDecodeError"),
    "plan null": (change("listeners", plan=None), "TypeError"),
    "number -1": (change("listeners", number=-1), "number of the listener"),
    "number 1e12": (change("listeners", number=10**12), "number of the listener"),
    "page 999": (change("ratings", page=999), "page must be"),
    "page text": (change("pages", page="1"), "page must be"),
    "page left out": (removed("pages", 1), "answers are on the pages"),
    "rating left out": (removed("ratings", 1), "not finished"),
    "rating twice": (doubled("ratings"), "twice"),
    "page twice": (doubled("pages"), "twice"),
    "answer twice": (doubled("answers"), "twice"),
    "seconds inf": (change("heard", seconds=math.inf), "heard must be"),
    "seconds of a year": (change("heard", seconds=3e7), "heard must be"),
    "longer than the page": (change("heard", seconds=9000.0), "seconds of"),
    "page seconds": (change("pages", seconds=9000.0), "seconds must be"),
    "plays -5": (change("heard", plays=-5), "plays"),
    "plays 1.5": (change("heard", plays=1.5), "plays"),
    "changes": (change("ratings", changes=-1), "changes"),
    "rated never": (change("ratings", rated="<b>"), "not a time"),
    "rated long ago": (
        change("ratings", rated="2001-01-01T00:00:00Z"),
        "before it was",
    ),
    "rated in the future": (
        change("ratings", rated="2101-01-01T00:00Z"),
        "before it was",
    ),
    "no offset": (change("pages", finished="2026-01-01"), "not a time"),
    "started": (change("listeners", started="<b>"), "not a time"),
    "started after the end": (backwards, "finished before"),
    "a formula as id": (renamed, "not a code"),
    "consent": (change("answers", answer="perhaps"), "answer to 'consent'"),
    "an answer to nothing": (asked_nothing, "no page has asked for .*mine"),
    "a book as remark": (change("pages", comment="x" * 10**6), "characters"),
    "a list as remark": (change("pages", comment=[]), "is not a text"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_listener_is_left_out_and_the_other_kept(store, tmp_path, name):
    forge, reason = FORGERIES[name]
    document = results(tmp_path / "results.json")
    first, second = (row["id"] for row in document["listeners"])
    mine = {"listeners": [document["listeners"][0]]}
    for table in ("pages", "heard", "ratings", "answers"):
        mine[table] = [row for row in document[table] if row["listener"] == first]
    forge(document, mine)
    path = written(tmp_path / "forged.json", document)
    merged = merge_file(path, store)
    assert merged.added == (second,)
    ((_, why),) = merged.refused
    assert re.search(reason, why), why
    assert len(why) < 400
    assert store.listeners() == [second]
    assert len(ratings_frame(store)) == 4 * 5


def test_a_file_of_forgers_only_is_an_error(store, tmp_path):
    document = results(tmp_path / "results.json", n=1)
    document["ratings"][0]["score"] = 1e9
    path = written(tmp_path / "forged.json", document)
    with pytest.raises(InputError, match=r"forged\.json: listener .* score"):
        read_json(path, store)
    assert store.listeners() == []
    assert store.rows("ratings") == []


def test_good_listeners_come_in_with_a_warning_of_the_others(store, tmp_path):
    document = results(tmp_path / "results.json")
    document["ratings"][0]["score"] = 1e9
    path = written(tmp_path / "forged.json", document)
    with pytest.warns(MssEduWarning, match="is refused: score"):
        assert read_json(path, store) == [document["listeners"][1]["id"]]


def test_a_file_that_was_edited_is_refused_as_a_whole(store, tmp_path):
    path = tmp_path / "results.json"
    document = results(path)
    text = path.read_text("utf-8")
    score = document["ratings"][3]["score"]
    path.write_text(text.replace(f'"score": {score}', f'"score": {score / 2}'))
    with pytest.raises(DatasetError, match=r"results\.json was changed"):
        merge_file(path, store)
    del document["sha256"]
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="KeyError: 'sha256'"):
        merge_file(path, store)
    path.write_text(text)
    assert len(merge_file(path, store).added) == 2
    assert document["design_sha256"] == DESIGN.sha256()


def test_a_file_of_an_older_version_has_no_hash(store, tmp_path):
    """Its merged listeners have a number that their pages were not drawn with."""
    document = results(tmp_path / "results.json")
    for name in ("sha256", "design_sha256", "drawn"):
        del document[name]
    for row in document["listeners"]:
        row["number"] += 1
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**document, "format": 1}))
    assert len(merge_file(path, store).added) == 2


def test_results_go_from_machine_to_machine(store, tmp_path):
    """A merged listener has another number, and is merged elsewhere all the same."""
    sit_through(Session(store), QUALITY)
    document = results(tmp_path / "a.json")
    assert len(merge_file(tmp_path / "a.json", store).added) == 2
    write_json(store, tmp_path / "b.json")
    with ResultStore(":memory:", DESIGN) as third:
        assert len(merge_file(tmp_path / "b.json", third).added) == 3
        again = merge_file(tmp_path / "a.json", third)
        assert again.known == tuple(row["id"] for row in document["listeners"])
        assert (again.added, again.refused) == ((), ())
        assert len(ratings_frame(third)) == 3 * 4 * 5


@pytest.mark.parametrize("test", ["mushra", "acr", "abx", "2afc"])
@pytest.mark.parametrize("n_pages", [0, 1, 3, None])
def test_every_honest_listener_comes_through(tmp_path, test, n_pages):
    changes = {"consent": "?", "questionnaire": ASKED, "training": ("song 0",)}
    design = Design("?", test, TRIALS, trials_per_listener=1, **changes)
    with ResultStore(":memory:", design) as there:
        for _ in range(3):
            session = Session(there)
            sit_through(session, QUALITY, n_pages=n_pages)
            if session.sounds:
                session.heard("A", 2.5)
                session.comment("a remark")
        assert impossible(there) == {}
        write_json(there, tmp_path / "results.json")
        with ResultStore(":memory:", design) as here:
            assert len(read_json(tmp_path / "results.json", here)) == 3
            for table in ("pages", "heard", "ratings", "answers"):
                rows = (sorted(map(str, s.rows(table))) for s in (here, there))
                assert next(rows) == next(rows)


def test_who_was_interrupted_or_declined_or_withdrew_comes_through(store, tmp_path):
    with ResultStore(":memory:", DESIGN) as there:
        declined, stopped, gone = (Session(there) for _ in range(3))
        declined.answer({"consent": "no"})
        # The program was killed between the two writes of one action.
        there.answer(stopped.listener, {"consent": "yes"})
        sit_through(gone, QUALITY)
        there.withdraw(gone.listener)
        assert impossible(there) == {}
        write_json(there, tmp_path / "results.json")
    merged = merge_file(tmp_path / "results.json", store)
    assert len(merged.added) == 3
    assert merge_file(tmp_path / "results.json", store).known == merged.added


def test_the_same_answers_under_another_code_are_a_copy(store, tmp_path):
    document = results(tmp_path / "results.json", n=1)
    text = json.dumps(document).replace(document["listeners"][0]["id"], "0badc0de")
    copied = written(tmp_path / "copy.json", json.loads(text))
    assert read_json(tmp_path / "results.json", store)
    ((who, why),) = merge_file(copied, store).refused
    assert (who, "copy under another code" in why) == ("'0badc0de'", True)
    both = json.loads(text)
    for table in ("listeners", "pages", "heard", "ratings", "answers"):
        both[table] += document[table]
    path = written(tmp_path / "both.json", both)
    with ResultStore(":memory:", DESIGN) as other:
        merged = merge_file(path, other)
        assert (len(merged.added), len(merged.refused)) == (1, 1)


def test_other_answers_under_the_same_code_do_not_replace_the_first(store, tmp_path):
    document = results(tmp_path / "results.json", n=1)
    read_json(tmp_path / "results.json", store)
    before = store.rows("ratings")
    document["ratings"][0]["score"] = 55.5
    ((_, why),) = merge_file(written(tmp_path / "b.json", document), store).refused
    assert "is here already, with other ratings" in why
    assert store.rows("ratings") == before


def test_who_has_withdrawn_does_not_come_back(store, tmp_path):
    document = results(tmp_path / "results.json", n=1)
    read_json(tmp_path / "results.json", store)
    store.withdraw(document["listeners"][0]["id"])
    assert merge_file(tmp_path / "results.json", store).added == ()
    assert store.rows("ratings") == []


# ---- forged files of an offline page ------------------------------------------------

PAGE_DESIGN = Design("?", "mushra", TRIALS, anchors=(), questionnaire={"age": ()})


def page_file(number=5, **changes):
    """What the browser of a listener saves who has finished all pages."""
    blank = {"seconds": 7.5, "comment": "", "finished": TIME}
    done = []
    for page in plan(PAGE_DESIGN, number):
        labels = ("Reference", *page.labels) if page.stimuli else ()
        ratings = [
            {"question": "quality", "label": label, "score": 10 * place}
            for place, label in enumerate(page.labels)
        ]
        ratings = [{**rating, "rated": TIME, "changes": 1} for rating in ratings]
        heard = {label: {"seconds": 2.5, "plays": 3} for label in labels}
        done.append({**blank, "heard": heard, "ratings": ratings})
    start = {"sha256": PAGE_DESIGN.sha256(), "listener": "abcd0123", "number": number}
    start |= {"started": TIME, "answers": {"age": "old"}, "pages": done}
    return {**start, **changes}


def in_page(path, value):
    """Change one value on the second page."""

    def forge(document):
        *places, last = path
        place = document["pages"][1]
        for name in places:
            place = place[name]
        place[last] = value

    return forge


def whole(**changes):
    return lambda document: document.update(changes)


PAGE_FORGERIES = {
    "id is a script": whole(listener="<script>alert(1)</script>"),
    "id is a formula": whole(listener="=HYPERLINK(1)"),
    "id is a megabyte": whole(listener="x" * 10**6),
    "id is a number": whole(listener=12345678),
    "id has a line end": whole(listener="abcd0123\n"),
    "id in capitals": whole(listener="ABCD0123"),
    "id in other digits": whole(listener="١٢٣٤٥٦٧٨"),
    "number -1": whole(number=-1),
    "number 1e12": whole(number=10**12),
    "number 1.5": whole(number=5.5),
    "number true": whole(number=True),
    "page seconds inf": in_page(["seconds"], math.inf),
    "page seconds negative": in_page(["seconds"], -1),
    "page seconds of a week": in_page(["seconds"], 604800),
    "heard inf": in_page(["heard", "A", "seconds"], math.inf),
    "heard NaN": in_page(["heard", "A", "seconds"], math.nan),
    "heard 1e308": in_page(["heard", "A", "seconds"], 1e308),
    "heard more than the page": in_page(["heard", "A", "seconds"], 5000),
    "not heard": in_page(["heard", "A", "seconds"], 0.1),
    "plays -5": in_page(["heard", "A", "plays"], -5),
    "another sound": in_page(["heard", "Z"], {"seconds": 1, "plays": 1}),
    "started is a tag": whole(started="<b>"),
    "started is a number": whole(started=5),
    "rated is a tag": in_page(["ratings", 0, "rated"], "<b>"),
    "finished in words": in_page(["finished"], "yesterday"),
    "finished before it began": in_page(["finished"], "2020-01-01T00:00:00Z"),
    "score 1e9": in_page(["ratings", 0, "score"], 1e9),
    "score text": in_page(["ratings", 0, "score"], "100"),
    "score NaN": in_page(["ratings", 0, "score"], math.nan),
    "changes": in_page(["ratings", 0, "changes"], -1),
    "another question": in_page(["ratings", 0, "question"], "__proto__"),
    "label twice": in_page(["ratings", 1, "label"], "A"),
    "no answer": whole(answers={}),
    "an answer to nothing": whole(answers={"age": "old", "__proto__": "x"}),
    "an answer of a megabyte": whole(answers={"age": "x" * 10**6}),
    "a remark of a megabyte": in_page(["comment"], "x" * 10**6),
    "a page too many": lambda document: document["pages"].append({}),
    "pages in another order": lambda document: document["pages"].reverse(),
    "of another test": whole(sha256="0" * 64),
}


def test_the_page_file_itself_is_taken():
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        assert merge_answers(store, page_file()) == ["abcd0123"]
        assert merge_answers(store, page_file()) == []


@pytest.mark.parametrize("name", PAGE_FORGERIES)
def test_a_forged_page_file_is_refused(tmp_path, name):
    document = page_file()
    PAGE_FORGERIES[name](document)
    path = tmp_path / "results_x.json"
    path.write_text(json.dumps(document))
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        with pytest.raises(MssEduError) as caught:
            merge_answers(store, copy.deepcopy(document))
        assert len(str(caught.value)) < 400
        with pytest.raises(MssEduError, match=r"results_x\.json"):
            read_json(path, store)
        assert store.listeners() == []
        for table in ("pages", "heard", "ratings", "answers"):
            assert store.rows(table) == []


def test_a_copied_page_file_is_refused():
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        merge_answers(store, page_file())
        for copied in (
            page_file(listener="0badc0de"),
            page_file(6, listener="0badc0de"),
        ):
            with pytest.raises(InputError, match="copy under another code"):
                merge_answers(store, copied)
        changed = page_file(pages=page_file()["pages"][:1])
        with pytest.raises(InputError, match="is here already, with other pages"):
            merge_answers(store, changed)


def test_a_number_that_no_page_has_is_refused():
    with ResultStore(":memory:", PAGE_DESIGN) as store:
        store.hand_out(4)
        store.hand_out(3)  # a second file with fewer
        with pytest.raises(InputError, match=r"number of the listener .* 0 to 3"):
            merge_answers(store, page_file(4))
        assert merge_answers(store, page_file(3)) == ["abcd0123"]


# ---- results that an older version has taken ----------------------------------------

SPOILED = {
    "seconds inf": "UPDATE heard SET seconds = 9e999 WHERE listener = ?",
    "a score of 1e9": "UPDATE ratings SET score = 1e9 WHERE listener = ?",
    "a text as score": "UPDATE ratings SET score = 'abc' WHERE listener = ?",
    "an unknown stimulus": "UPDATE ratings SET stimulus = 'x' WHERE listener = ?",
    "a plan of junk": "UPDATE listeners SET plan = 'junk' WHERE id = ?",
    "an empty plan": "UPDATE listeners SET plan = '[]' WHERE id = ?",
    "a stimulus twice": """UPDATE listeners SET plan =
        replace(plan, '"weak"', '"good"') WHERE id = ?""",
    "page 999": "UPDATE ratings SET page = 999 WHERE listener = ? AND page = 3",
    "a deep plan": f"UPDATE listeners SET plan = '{'[' * 5000}' WHERE id = ?",
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_listener_stops_nobody(tmp_path, name):
    path = tmp_path / "results.sqlite"
    with ResultStore(path, DESIGN) as store:
        bad, *good = (Session(store) for _ in range(3))
        for session in (bad, *good):
            sit_through(session, QUALITY)
    with sqlite3.connect(path) as db:
        db.execute(SPOILED[name], (bad.listener,))
    db.close()
    with ResultStore(path, DESIGN) as store:
        assert [*impossible(store)] == [bad.listener]
        for write in (write_report, write_csv) if name == "page 999" else (write_csv,):
            with pytest.warns(MssEduWarning, match=f"'{bad.listener}' is left out"):
                write(store, tmp_path / "out")
        with pytest.warns(MssEduWarning, match=f"'{bad.listener}' is left out"):
            write_json(store, tmp_path / "out" / "results.json")
        left_out = impossible(store)
        assert {*ratings_frame(store, left_out).listener} == {s.listener for s in good}
    document = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert bad.listener not in json.dumps(document)
    assert len(document["listeners"]) == 2


def test_long_remarks_of_an_older_version_are_no_fault():
    with ResultStore(":memory:", DESIGN) as store:
        session = Session(store)
        sit_through(session, QUALITY)
        store.spend((session.listener, 2), 0.0, comment="x" * 5000)
        store.answer(session.listener, {"gear": "y" * 5000})
        assert impossible(store) == {}
