"""No saved answer is lost: killed, reopened, written by several at once, merged."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mssedu.errors import DatasetError, InputError
from mssedu.listening.results.simulate import sit_through
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
    for i in range(3)
)
DESIGN = Design("?", "mushra", TRIALS, least_heard_seconds=0)
QUALITY = {"a": 40, "b": 60, "reference": 100, "anchor35": 10, "anchor70": 30}

# A listener in a process of its own, who tells each rating after it was made.
LISTENER = """
import sys
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from tests.listening.test_store import DESIGN
session = Session(ResultStore(sys.argv[1], DESIGN))
print(session.listener, flush=True)
while session.page:
    for number, label in enumerate(session.labels):
        session.heard(label, 1.0)
        session.rate(label, number)
        print(session.progress[0], label, number, flush=True)
        sys.stdin.readline()  # waits in mid-page
    session.heard("Reference", 1.0)
    session.finish()
"""


def start(program, path):
    words = [sys.executable, "-c", program, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(words, cwd=ROOT, text=True, bufsize=1, **pipes)


def tell(process, n):
    """The next n ratings that a process says it has made."""
    lines = []
    for _ in range(n):
        lines.append(process.stdout.readline().split())
        process.stdin.write("\n")
    return lines


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.stdin.close()
    process.stdout.close()


def stored(store, listener):
    rows = store.rows("ratings", listener)
    return [[str(r["page"]), r["label"], str(int(r["score"]))] for r in rows]


def test_two_listeners_killed_in_mid_test_lose_nothing_and_go_on(tmp_path):
    path = tmp_path / "results.sqlite"
    processes = [start(LISTENER, path), start(LISTENER, path)]
    names = [process.stdout.readline().strip() for process in processes]
    told = [[], []]
    for n in (4, 3):  # both at once, past the first page
        for said, process in zip(told, processes, strict=True):
            said += tell(process, n)
    for process in processes:
        kill(process)
    with ResultStore(path, DESIGN) as store:
        assert sorted(store.listeners()) == sorted(names)
        for name, said in zip(names, told, strict=True):
            found = stored(store, name)
            assert found[:7] == said
            # The eighth was asked for and may have been made, but was not told
            assert len(found) <= 8
            session = Session(store, name)
            assert session.progress == (1, 4)
            assert {label for _, label in session.scores} >= {"A", "B"}
            sit_through(session, QUALITY)
            assert session.page is None
            assert len(store.rows("ratings", name)) == 4 * 5


# Ten listeners, and no cleanup at the end: as if the process had been ended by force
TEN_LISTENERS = """
import os, sys
from mssedu.listening.test.store import ResultStore
from tests.listening.test_store import DESIGN
store = ResultStore(sys.argv[1], DESIGN)
for _ in range(10):
    listener = store.add_listener()
    for page in range(3):
        store.rate((listener, page), "quality", "A", "a", 50.0)
os._exit(0)
"""


def test_many_processes_write_at_once(tmp_path):
    path = tmp_path / "results.sqlite"  # made by whoever comes first
    processes = [start(TEN_LISTENERS, path) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    with ResultStore(path, DESIGN) as store:
        numbers = [row["number"] for row in store.rows("listeners")]
        assert sorted(numbers) == list(range(40))
        assert len(set(store.listeners())) == 40
        assert len(store.rows("ratings")) == 120


def test_opening_waits_for_whoever_makes_the_file(tmp_path):
    path = tmp_path / "results.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # for which SQLite does not wait by itself
    timer = threading.Timer(0.5, other.execute, ["COMMIT"])
    timer.start()
    with ResultStore(path, DESIGN) as store:
        assert store.listeners() == []
    timer.join()
    other.close()


def test_every_call_is_on_the_disk_when_it_returns(tmp_path):
    """Another connection, which shares nothing but the file, sees it at once."""
    path = tmp_path / "results.sqlite"
    store = ResultStore(path, DESIGN)
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # full
    listener = store.add_listener()
    counts = {"ratings": 0, "heard": 0, "pages": 0, "answers": 0, "gains": 0}

    def check(table):
        counts[table] += 1
        for name, count in counts.items():
            query = f"SELECT count(*) FROM {name}"
            assert other.execute(query).fetchone() == (count,), name

    store.rate((listener, 0), "quality", "A", "a", 1.0)
    check("ratings")
    store.heard((listener, 0), "A", 1.0)
    check("heard")
    store.spend((listener, 0), 1.0)
    check("pages")
    store.answer(listener, {"age": "30"})
    check("answers")
    store.log_gains("song 0", [("a", -1.0, "matched")])
    check("gains")
    other.close()
    store.close()


def test_answers_are_kept_all_or_none(tmp_path):
    with ResultStore(tmp_path / "results.sqlite", DESIGN) as store:
        listener = store.add_listener()
        with pytest.raises(sqlite3.IntegrityError):
            store.answer(listener, {"age": "30", "name": None})
        assert store.rows("answers") == []
        store.answer(listener, {"age": "30"})  # the transaction is over


def test_a_rating_is_changed_in_place():
    store = ResultStore(":memory:", DESIGN)
    place = (store.add_listener(), 0)
    for score in (10.0, 20.0, 30.0):
        store.rate(place, "quality", "A", "a", score)
    (row,) = store.rows("ratings")
    assert (row["score"], row["changes"]) == (30.0, 2)


def test_plays_and_seconds_add_up():
    store = ResultStore(":memory:", DESIGN)
    place = (store.add_listener(), 0)
    store.heard(place, "A", 1.5)
    store.heard(place, "A", 2.0)
    (row,) = store.rows("heard", place[0])
    assert (row["seconds"], row["plays"]) == (3.5, 2)
    store.heard(place, "A", 0.5, begun=False)  # it has gone on
    (row,) = store.rows("heard", place[0])
    assert (row["seconds"], row["plays"]) == (4.0, 2)


def test_a_page_stays_finished_and_keeps_its_comment():
    store = ResultStore(":memory:", DESIGN)
    place = (store.add_listener(), 0)
    store.spend(place, 1.0, comment="good")
    store.spend(place, 2.0, finished=True)
    store.spend(place, 4.0)
    (row,) = store.rows("pages")
    assert (row["seconds"], row["comment"]) == (7.0, "good")
    assert row["finished"]


def test_the_pages_of_a_listener_are_kept_as_they_were_drawn(tmp_path):
    """A newer version that draws others must not change a test that has begun."""
    path = tmp_path / "results.sqlite"
    with ResultStore(path, DESIGN) as store:
        listener = store.add_listener()
        pages = store.pages(listener)
    plan = sqlite3.connect(path).execute("SELECT plan FROM listeners").fetchone()[0]
    assert len(pages) == plan.count('"kind"') == 4
    with ResultStore(path) as store:  # the design comes from the file
        assert store.design == DESIGN
        assert store.pages(listener) == pages


def test_another_test_gets_another_file(tmp_path):
    path = tmp_path / "results.sqlite"
    ResultStore(path, DESIGN).close()
    changed = Design("?", "mushra", TRIALS, least_heard_seconds=0, seed=1)
    with pytest.raises(InputError, match=r"seed: 0, now 1"):
        ResultStore(path, changed)


def test_files_that_are_no_results(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.sqlite does not exist"):
        ResultStore(tmp_path / "none.sqlite")
    file = tmp_path / "text.sqlite"
    file.write_text("no database, but long enough to be taken for one" * 100)
    with pytest.raises(DatasetError, match=r"text\.sqlite is not a results file"):
        ResultStore(file, DESIGN)
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.sqlite contains no test"):
        ResultStore(empty)


def test_unknown_tables_and_listeners():
    store = ResultStore(":memory:", DESIGN)
    with pytest.raises(InputError, match="table 'scores'"):
        store.rows("scores")
    with pytest.raises(InputError, match="table 'gains'"):
        store.rows("gains", "somebody")
    with pytest.raises(InputError, match="somebody"):
        store.pages("somebody")


def test_who_withdraws_is_forgotten(tmp_path):
    path = tmp_path / "results.sqlite"
    store = ResultStore(path, DESIGN)
    one, two = Session(store), Session(store)
    for session in (one, two):
        sit_through(session, QUALITY, n_pages=2)
        session.comment("my secret remark " + session.listener)
    pages = store.pages(two.listener)
    store.withdraw(one.listener)
    for table in ("ratings", "heard", "pages", "answers"):
        assert store.rows(table, one.listener) == []
    assert len(store.rows("ratings", two.listener)) == 10
    assert store.pages(two.listener) == pages
    assert store.number(store.add_listener()) == 2  # no number is given twice
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    assert b"remark " + two.listener.encode() in path.read_bytes()
    assert b"remark " + one.listener.encode() not in path.read_bytes()


def test_results_of_two_machines_are_merged_once():
    here, there = ResultStore(":memory:", DESIGN), ResultStore(":memory:", DESIGN)
    for store in (here, there):
        sit_through(Session(store), QUALITY)
    names = ("listeners", "pages", "heard", "ratings", "answers")
    document = {"design": DESIGN.as_json(), **{n: there.rows(n) for n in names}}
    assert here.merge(document) == there.listeners()
    assert here.merge(document) == []
    assert len(here.listeners()) == 2
    (other,) = there.listeners()
    assert here.pages(other) == there.pages(other)
    assert here.rows("ratings", other) == there.rows("ratings")
    changed = {**document, "design": {**document["design"], "title": "!"}}
    with pytest.raises(InputError, match=r"another test .*title: "):
        here.merge(changed)


def test_a_broken_merge_changes_nothing():
    here, there = ResultStore(":memory:", DESIGN), ResultStore(":memory:", DESIGN)
    sit_through(Session(there), QUALITY, n_pages=1)
    names = ("listeners", "pages", "heard", "ratings", "answers")
    document = {"design": DESIGN.as_json(), **{n: there.rows(n) for n in names}}
    del document["ratings"][-1]["score"]
    with pytest.raises(KeyError):
        here.merge(document)
    assert here.listeners() == []
    assert here.rows("pages") == []


def test_a_busy_file_is_waited_for(tmp_path):
    path = tmp_path / "results.sqlite"
    with ResultStore(path, DESIGN) as store:
        listener = store.add_listener()
        begun, other = threading.Event(), []

        def occupy():
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            begun.set()
            threading.Event().wait(0.3)
            db.execute("COMMIT")
            other.append(True)
            db.close()

        thread = threading.Thread(target=occupy)
        thread.start()
        begun.wait()
        store.rate((listener, 0), "quality", "A", "a", 1.0)
        assert other == [True]
        thread.join()


def test_threads_of_one_process_share_a_store(tmp_path):
    """A kernel runs cells in one thread and hears its widgets in another."""
    with ResultStore(tmp_path / "results.sqlite", DESIGN) as store:
        listeners, failures = [store.add_listener() for _ in range(2)], []

        def answer(listener):
            try:
                for count in range(20):
                    store.rate((listener, 0), "quality", "A", "a", float(count))
                    store.answer(listener, {"age": "30", "gear": "none"})
                    store.rows("ratings")
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=answer, args=(i,)) for i in listeners]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [row["changes"] for row in store.rows("ratings")] == [19, 19]
        assert len(store.rows("answers")) == 4


def test_an_offline_page_is_counted_once():
    store = ResultStore(":memory:", DESIGN)
    assert store.handed_out() is None
    for n in (4, 3, 9):
        store.hand_out(n)
    assert store.handed_out() == 9


def test_a_megabyte_in_place_of_a_code_is_not_printed():
    store = ResultStore(":memory:", DESIGN)
    with pytest.raises(InputError, match="has no listener") as caught:
        store.number("x" * 10**6)
    assert len(str(caught.value)) < 200


def test_a_damaged_design_is_no_results_file(tmp_path):
    path = tmp_path / "results.sqlite"
    ResultStore(path, DESIGN).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE test SET design = 'junk'")
    db.close()
    with pytest.raises(DatasetError, match="damaged design"):
        ResultStore(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE test SET design = '[]'")
    db.close()
    with pytest.raises(InputError, match=r"results\.sqlite"):
        ResultStore(path)
