"""The answers of a listening test, in one SQLite file that survives a crash.

    listeners  number, anonymous id, the pages in the order in which they are shown
    pages      seconds spent, comment, time of finishing
    heard      how often and how long each sound of a page was played
    ratings    one row per stimulus and question, changed in place
    answers    consent and questionnaire
    gains      the gain of each sound from loudness matching
    drawn      the number that a merged listener had where the pages were drawn
    handed_out the number of listeners that an offline page has pages for
    clocks     when a listener came to the current page, and did something last
    messages   the last message of each open page, so that none counts twice

Each call is one transaction that is on the disk before it returns (write-ahead log,
synchronized), so a process that is killed at any moment loses no saved answer.
Several processes may write at once: one waits for the other. The log needs a local
disk: do not use a network drive while the test runs.

Source: https://sqlite.org/wal.html. Notebook: 13.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mssedu.audio.files import tupled
from mssedu.errors import DatasetError, InputError, MssEduError, check_name
from mssedu.evaluation.result import first_difference
from mssedu.listening.test.design import Design, design_from
from mssedu.listening.test.names import shown
from mssedu.listening.test.schedule import Page, plan

WAIT_SECONDS = 30.0  # longest wait for another process that writes
_TABLES = """
CREATE TABLE IF NOT EXISTS test (
    id INTEGER PRIMARY KEY CHECK (id = 1), design TEXT NOT NULL, started TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS listeners (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL, started TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pages (
    listener TEXT, page INTEGER, seconds REAL NOT NULL DEFAULT 0,
    comment TEXT NOT NULL DEFAULT '', finished TEXT, PRIMARY KEY (listener, page));
CREATE TABLE IF NOT EXISTS heard (
    listener TEXT, page INTEGER, label TEXT, seconds REAL NOT NULL,
    plays INTEGER NOT NULL, PRIMARY KEY (listener, page, label));
CREATE TABLE IF NOT EXISTS ratings (
    listener TEXT, page INTEGER, question TEXT, label TEXT, stimulus TEXT NOT NULL,
    score REAL NOT NULL, changes INTEGER NOT NULL DEFAULT 0, rated TEXT NOT NULL,
    PRIMARY KEY (listener, page, question, label));
CREATE TABLE IF NOT EXISTS answers (
    listener TEXT, name TEXT, answer TEXT NOT NULL, PRIMARY KEY (listener, name));
CREATE TABLE IF NOT EXISTS gains (
    trial TEXT, stimulus TEXT, gain_db REAL NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (trial, stimulus));
CREATE TABLE IF NOT EXISTS drawn (
    listener TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS handed_out (
    id INTEGER PRIMARY KEY CHECK (id = 1), n_listeners INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clocks (
    listener TEXT PRIMARY KEY, arrived REAL NOT NULL, acted REAL NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    listener TEXT, visit TEXT, number INTEGER NOT NULL,
    PRIMARY KEY (listener, visit));
"""
_OF_LISTENERS = ("pages", "heard", "ratings", "answers")  # tables of their answers
_RESULTS = ("listeners", *_OF_LISTENERS, "gains", "drawn")
_OF_PAGES = ("clocks", "messages")  # of use while a test runs; not part of the results

Place = tuple[str, int]  # listener, number of the page


class ResultStore:
    """The results of one test; a context manager, which closes the file.

    Args:
        path: of the SQLite file; created if it does not exist.
        design: the test; None: the one that the file was created for.

    Raises:
        InputError: the file belongs to another test, or contains no test and no design
            is given.
        DatasetError: the file does not exist, or is not a results file.
    """

    def __init__(self, path: str | Path, design: Design | None = None) -> None:
        self.path = Path(path)
        where = str(self.path.absolute())
        if design is None and not self.path.exists():
            raise DatasetError(f"{where} does not exist. Name the results of a test.")
        # A kernel receives widget messages in one thread and runs cells in another.
        self._lock = threading.RLock()
        self._writing = False  # whether a transaction is open
        self._db = sqlite3.connect(
            path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row
        try:
            _write_ahead(self._db)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")  # deletes leave no traces
            self._db.executescript(_TABLES)
            self.design = self._settle_design(where, design)
        except (sqlite3.DatabaseError, MssEduError) as error:
            self.close()
            if isinstance(error, MssEduError):
                raise
            raise DatasetError(f"{where} is not a results file: {error}.") from error

    def __enter__(self) -> "ResultStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; all answers are written already."""
        self._db.close()

    # ---- listeners ------------------------------------------------------------------

    def add_listener(self) -> str:
        """Add a listener with a number, an anonymous id and pages; return the id."""
        listener = secrets.token_hex(4)
        with self._transaction():
            number = self._next_number()
            pages = json.dumps([asdict(page) for page in plan(self.design, number)])
            row = (number, listener, pages, _now())
            self._db.execute("INSERT INTO listeners VALUES (?, ?, ?, ?)", row)
        return listener

    def listeners(self) -> list[str]:
        """Ids, in the order of arrival."""
        rows = self._read("SELECT id FROM listeners ORDER BY number")
        return [row["id"] for row in rows]

    def number(self, listener: str) -> int:
        """The number of a listener, counted from 0 in the order of arrival."""
        rows = self._read("SELECT number FROM listeners WHERE id = ?", listener)
        if not rows:
            raise InputError(
                f"{self.path} has no listener {shown(listener)}. Check the code."
            )
        return int(rows[0]["number"])

    def pages(self, listener: str) -> tuple[Page, ...]:
        """The pages of a listener, in order; raise InputError for an unknown id."""
        number = self.number(listener)
        (row,) = self._read("SELECT plan FROM listeners WHERE number = ?", number)
        return tuple(Page(**page) for page in tupled(json.loads(row["plan"])))

    def withdraw(self, listener: str) -> None:
        """Delete all answers of a listener, which everyone may ask for at any time.

        The number is not used again, so that the pages of the others do not change.
        """
        self.number(listener)
        with self._transaction():
            for table in (*_OF_LISTENERS, *_OF_PAGES):
                self._db.execute(f"DELETE FROM {table} WHERE listener = ?", (listener,))

    def merge(self, document: Mapping[str, Any]) -> list[str]:
        """Add listeners of the same test, whose rows were checked; returns the new ids.

        Listeners that are here already do not change. An error changes nothing. The
        document has the "design" and, as `rows` returns them, the rows of each table;
        "drawn" in the row of a listener is the number that the pages were drawn with.
        Use `merge.merge_results` for rows from elsewhere: it checks them.
        """
        self.check_test(document["design"])
        known = {*self.listeners()}
        new = [row for row in document["listeners"] if row["id"] not in known]
        ids = {row["id"] for row in new}
        with self._transaction():
            for row in new:
                member = (self._next_number(), row["id"], row["plan"], row["started"])
                self._db.execute("INSERT INTO listeners VALUES (?, ?, ?, ?)", member)
                if row.get("drawn") is not None:
                    place = (row["id"], row["drawn"])
                    self._db.execute("INSERT INTO drawn VALUES (?, ?)", place)
            for table in _OF_LISTENERS:
                columns = self._read("SELECT name FROM pragma_table_info(?)", table)
                marks = ", ".join("?" * len(columns))
                for row in (r for r in document[table] if r["listener"] in ids):
                    values = tuple(row[column["name"]] for column in columns)
                    self._db.execute(f"INSERT INTO {table} VALUES ({marks})", values)
        return sorted(ids)

    def check_test(self, design: Mapping[str, Any]) -> None:
        """Raise InputError if answers belong to a test with another design."""
        difference = first_difference(self.design.as_json(), dict(design))
        if difference:
            raise InputError(
                f"the answers belong to another test than {self.path} ({difference}). "
                "Analyze the two tests separately."
            )

    def hand_out(self, n_listeners: int) -> None:
        """Save for how many listeners an offline page has pages."""
        self._write(
            "INSERT INTO handed_out VALUES (1, ?) ON CONFLICT DO UPDATE "
            "SET n_listeners = max(n_listeners, excluded.n_listeners)",
            (n_listeners,),
        )

    def handed_out(self) -> int | None:
        """For how many listeners offline pages have pages; None: there are none."""
        rows = self._read("SELECT n_listeners FROM handed_out")
        return int(rows[0]["n_listeners"]) if rows else None

    # ---- what a listener does -------------------------------------------------------

    def rate(
        self, place: Place, question: str, label: str, stimulus: str, score: float
    ) -> None:
        """Save a rating; it replaces an earlier one.

        For a choice the label is "", and the score is 1, or 0 if it was wrong.
        """
        row = (*place, question, label, stimulus, score, _now())
        self._write(
            "INSERT INTO ratings VALUES (?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE "
            "SET stimulus = excluded.stimulus, score = excluded.score, "
            "rated = excluded.rated, changes = changes + 1",
            row,
        )

    def heard(
        self, place: Place, label: str, seconds: float, *, begun: bool = True
    ) -> None:
        """Add to the seconds a sound was played, and with `begun` to its plays."""
        self._write(
            "INSERT INTO heard VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET seconds = seconds + excluded.seconds, plays = plays + excluded.plays",
            (*place, label, seconds, int(begun)),
        )

    def spend(
        self,
        place: Place,
        seconds: float,
        *,
        comment: str | None = None,
        finished: bool = False,
        at: float | None = None,
    ) -> None:
        """Add to the time spent on a page; save its comment; mark it as finished.

        `at` is the time of the listener's clock, for `clock`.
        """
        end, listener = _now() if finished else None, place[0]
        with self._transaction():
            self._db.execute(
                "INSERT INTO pages VALUES (?, ?, ?, coalesce(?, ''), ?) ON CONFLICT DO "
                "UPDATE SET seconds = seconds + excluded.seconds, "
                "comment = coalesce(?, comment), finished = coalesce(?, finished)",
                (*place, seconds, comment, end, comment, end),
            )
            if at is not None:
                self._db.execute(
                    "INSERT INTO clocks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "acted = excluded.acted, "
                    "arrived = iif(?, excluded.arrived, arrived)",
                    (listener, at, at, finished),
                )

    def clock(self, listener: str, now: float) -> tuple[float, float]:
        """When a listener came to the current page, and did something last.

        Both are `now`, and are saved, for a listener of whom neither is known.
        """
        query = "SELECT arrived, acted FROM clocks WHERE listener = ?"
        if not self._read(query, listener):
            first = (listener, now, now)
            self._write("INSERT OR IGNORE INTO clocks VALUES (?, ?, ?)", first)
        (row,) = self._read(query, listener)
        return float(row["arrived"]), float(row["acted"])

    @contextmanager
    def message(
        self, listener: str, visit: str | None, number: int | None
    ) -> Iterator[bool]:
        """A message of a listener's page, whose effects are saved together or not.

        Yields whether it is new. A page sends a message again if no answer came; the
        messages of a visit (one opening of the page) have increasing numbers. Without
        a visit and a number, every message is new.
        """
        with self._transaction():
            if visit is None or number is None:
                yield True
                return
            changed = self._db.execute(
                "INSERT INTO messages VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
                "SET number = excluded.number WHERE number < excluded.number",
                (listener, visit, number),
            )
            yield changed.rowcount == 1

    def answer(self, listener: str, answers: Mapping[str, str]) -> None:
        """Save answers to the questionnaire, all or none."""
        rows = [(listener, name, answer) for name, answer in answers.items()]
        self._write("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", *rows)

    def log_gains(self, trial: str, gains: Iterable[tuple[str, float, str]]) -> None:
        """Save the gain of each stimulus: name, dB, reason."""
        rows = [(trial, *gain) for gain in gains]
        self._write("INSERT OR REPLACE INTO gains VALUES (?, ?, ?, ?)", *rows)

    def rows(self, table: str, listener: str | None = None) -> list[dict[str, Any]]:
        """All rows of a table, or those of one listener."""
        known = _OF_LISTENERS if listener else _RESULTS
        check_name("table", table, known, where=str(self.path))
        where, values = ("WHERE listener = ?", [listener]) if listener else ("", [])
        rows = self._read(f"SELECT * FROM {table} {where} ORDER BY rowid", *values)
        return [dict(row) for row in rows]

    def tables(self, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """All rows of several tables, as they are at one moment: name -> rows."""
        with self._lock:
            if self._writing:
                return {name: self.rows(name) for name in names}
            self._db.execute("BEGIN")
            try:
                return {name: self.rows(name) for name in names}
            finally:
                self._db.execute("COMMIT")

    def _settle_design(self, where: str, design: Design | None) -> Design:
        """The design of the file; raise InputError if another one is given."""
        if design is not None:
            values = (json.dumps(design.as_json()), _now())
            self._db.execute("INSERT OR IGNORE INTO test VALUES (1, ?, ?)", values)
        row = self._db.execute("SELECT design FROM test").fetchone()
        if row is None:
            raise InputError(f"{where} contains no test. Pass the design of its test.")
        try:
            stored = json.loads(row["design"])
        except ValueError as error:
            raise DatasetError(f"{where} has a damaged design: {error}.") from error
        if design is None:
            return design_from(stored, where, self.path.parent, begun=True)
        difference = first_difference(stored, design.as_json())
        if difference:
            raise InputError(
                f"{where} has answers to another version of this test ({difference}). "
                "Undo the change, or choose another results file."
            )
        return design

    def _next_number(self) -> int:
        (row,) = self._read("SELECT coalesce(max(number) + 1, 0) FROM listeners")
        return int(row[0])

    def _read(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _write(self, query: str, *rows: tuple[object, ...]) -> None:
        with self._transaction():
            self._db.executemany(query, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Save what is written inside together or not at all; may be nested."""
        with self._lock:
            if self._writing:  # inside a larger transaction, which saves it
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")  # waits here, not at the first write
            self._writing = True
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk can end it in SQLite itself
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._writing = False


def _write_ahead(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; SQLite itself does not wait for a locked file."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.02)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
