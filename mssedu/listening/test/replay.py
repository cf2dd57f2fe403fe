"""Answers from elsewhere: they count only if a listener could have given them.

    file of an offline page ──page_record──▶ Record ─┐
    listener of results.json ─row_record───▶ Record ─┼─ replayed ─▶ rows of the results,
    listener of our results ──row_record───▶ Record ─┘              or what is wrong

A record goes through a `Session`, action by action, so it meets the same rules as a
live listener: the pages that the test has drawn, sounds that were played before they
are rated, scores of the scale. Then its stimuli and scores must be those of the replay.

A replay cannot find answers that were invented but are possible. Notebook: 13.
"""

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from mssedu.audio.files import as_json, tupled
from mssedu.errors import InputError, MssEduError, check_name, check_range
from mssedu.listening.test.design import CHOICES, CONSENT, Design
from mssedu.listening.test.names import shown
from mssedu.listening.test.schedule import MOST_LISTENERS, SCORED, Page, plan
from mssedu.listening.test.session import CLOCK_TOLERANCE, LONGEST_TEXT, Session
from mssedu.listening.test.store import ResultStore

CODE = re.compile("[0-9a-f]{8}")  # of a listener
LONGEST_PAGE = 1e6  # seconds that a page can be open, about 12 days
MOST_COUNT = 10**9  # plays and changes
LONGEST_REASON = 300  # characters of a reason why a listener is left out
OLD_ORDERS = 200  # page orders that are tried for results of an older version
# What a document of another form raises, wherever it is read
_FORM = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
FAULTS = (MssEduError, RecursionError, sqlite3.Error, *_FORM)
TABLES = ("pages", "heard", "ratings", "answers")  # of the rows of a listener
Rows = dict[str, list[dict[str, Any]]]  # table -> rows


@dataclass(frozen=True)
class Record:
    """What one listener was shown and did, in plain values."""

    listener: str
    started: str
    pages: tuple[Page, ...]  # as they were shown
    order: int  # number that the pages were drawn with
    answers: dict[str, str]  # consent and questionnaire
    # of each page: seconds, comment, finished, heard {label: {seconds, plays}}, and
    # ratings [{label, rated, changes, and outside choices question, score}]
    done: list[dict[str, Any]]
    # page, question, label -> stimulus and score; None: the file does not say them
    said: dict[tuple[int, str, str], tuple[str, float]] | None = None
    unsaved: frozenset[int] = frozenset()  # pages without a row of their own

    def row(self) -> dict[str, Any]:
        """The row of the table "listeners"."""
        return {
            "id": self.listener,
            "plan": json.dumps([asdict(page) for page in self.pages]),
            "started": utc(self.started),
            "drawn": self.order,
        }


# ---- records ------------------------------------------------------------------------


def page_record(
    design: Design, document: Mapping[str, Any], n_orders: int | None = None
) -> Record:
    """The record in a file that an offline page has saved.

    Args:
        design: the test.
        document: of the file.
        n_orders: how many page orders the offline page has; None: not known.

    Raises:
        InputError: a document of another form.
    """
    try:
        check_code(document["listener"])
        order, most = document["number"], n_orders or MOST_LISTENERS
        check_whole("number of the listener", order, most - 1)
        done = [_form(page, f"page {n}") for n, page in enumerate(document["pages"], 1)]
        started, answers = document["started"], dict(document["answers"])
    except _FORM as error:
        if isinstance(error, InputError):
            raise
        raise InputError(reason_of(error)) from error
    pages = plan(design, order)
    return Record(document["listener"], started, pages, order, answers, done)


def row_record(
    row: Mapping[str, Any], rows: Rows, pages: tuple[Page, ...], order: int = 0
) -> Record:
    """The record in the rows of a listener.

    Args:
        row: of the table "listeners".
        rows: of the listener in the other tables.
        pages: as they were shown.
        order: number that they were drawn with.

    Raises:
        InputError: rows that do not fit together.
        KeyError, TypeError, …: rows of another form.
    """
    check_code(row["id"])
    done: dict[int, dict[str, Any]] = {}

    def place(entry: Mapping[str, Any]) -> dict[str, Any]:
        check_whole("page", entry["page"], len(pages) - 1)
        blank = {"seconds": 0.0, "comment": "", "finished": None}
        return done.setdefault(entry["page"], {**blank, "heard": {}, "ratings": []})

    saved: dict[int, Any] = {}
    for entry in rows.get("pages", []):
        _put(saved, entry["page"], entry)
        place(entry).update({k: entry[k] for k in ("seconds", "comment", "finished")})
    for entry in rows.get("heard", []):
        played = {"seconds": entry["seconds"], "plays": entry["plays"]}
        _put(place(entry)["heard"], entry["label"], played)
    said: dict[tuple[int, str, str], tuple[str, float]] = {}
    for entry in rows.get("ratings", []):
        key = (entry["page"], entry["question"], entry["label"])
        _put(said, key, (entry["stimulus"], entry["score"]))
        rating = {
            name: entry[name] for name in ("question", "score", "rated", "changes")
        }
        place(entry)["ratings"].append({**rating, "label": label_of(pages, entry)})
    if sorted(done) != [*range(len(done))]:
        raise InputError(f"the answers are on the pages {sorted(done)}, not in order.")
    answers: dict[str, str] = {}
    for entry in rows.get("answers", []):
        _put(answers, entry["name"], entry["answer"])
    pages_done = [_form(done[n], f"page {n + 1}") for n in sorted(done)]
    unsaved = frozenset({*done} - {*saved})
    who, started = row["id"], row["started"]
    return Record(who, started, pages, order, answers, pages_done, said, unsaved)


def _put(into: dict[Any, Any], key: Any, value: Any) -> None:
    if key in into:
        raise InputError(f"{shown(key)} is there twice.")
    into[key] = value


def label_of(pages: tuple[Page, ...], row: Mapping[str, Any]) -> str:
    """The letter that was rated or chosen; the row of a choice has only a stimulus."""
    if row["label"]:
        return str(row["label"])
    page = pages[row["page"]]
    check_name("stimulus", str(row["stimulus"])[:LONGEST_REASON], page.stimuli)
    return page.labels[page.stimuli.index(row["stimulus"])]


def pages_in(text: Any) -> tuple[Page, ...]:
    """The pages of a listener, from the text of a row."""
    return tuple(Page(**page) for page in tupled(json.loads(text)))


def check_page(design: Design, page: Page) -> None:
    """Raise InputError for a page that no order of the test has."""
    check_name("kind of page", page.kind, (CONSENT, "questionnaire", *SCORED))
    if page.kind not in SCORED:
        return
    design.trial(page.trial)
    for name in page.questions:
        check_name("question", name, design.questions)
    for name in (*page.stimuli, *([page.x] if page.x else [])):
        check_name("stimulus", name, design.stimuli)
    if not page.stimuli or len({*page.stimuli}) < len(page.stimuli):
        raise InputError(
            f"a page has the stimuli {page.stimuli}, each must be there once."
        )


class Orders:
    """The page orders of a test, to find the one that results were drawn with."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._old: list[Any] = []  # of the numbers 0, 1, …; made when they are needed

    def find(self, text: Any, number: Any) -> tuple[tuple[Page, ...], int]:
        """The pages in a text of JSON, and their number; InputError for other pages.

        The number is the one that the results name. Older versions gave another one to
        merged listeners, so the first 200 are tried as well.
        """
        check_whole("number of the listener", number, MOST_LISTENERS - 1)
        given = json.loads(text)
        if given == self._plain(number):
            return plan(self._design, number), number
        self._old = self._old or [*map(self._plain, range(OLD_ORDERS))]
        if given not in self._old:
            raise InputError(
                f"the pages are not those that the test draws for listener {number}: "
                "they were changed, or another version of mssedu has drawn them."
            )
        return plan(self._design, self._old.index(given)), self._old.index(given)

    def _plain(self, number: int) -> Any:
        return as_json([asdict(page) for page in plan(self._design, number)])


# ---- the rules ----------------------------------------------------------------------


def replayed(design: Design, record: Record, *, ours: bool = False) -> Rows:
    """Repeat all actions of a listener in a session, which checks the rules.

    Args:
        design: the test.
        record: what the listener did.
        ours: the record comes from our own results: its times and texts, which older
            versions did not limit, are not checked.

    Returns:
        The rows of the results, with the times of the record.

    Raises:
        InputError: what a listener cannot have done.
    """
    if not ours:
        _check_times(record)
    empty: Rows = {name: [] for name in TABLES}
    begin = {"design": design.as_json(), "listeners": [record.row()]}
    with ResultStore(":memory:", design) as scratch:
        scratch.merge({**begin, **empty})
        _repeat(Session(scratch, record.listener), record, ours)
        rows = {name: scratch.rows(name) for name in TABLES}
    found = {
        (rating["page"], rating["question"], rating["label"]): (
            rating["stimulus"],
            rating["score"],
        )
        for rating in rows["ratings"]
    }
    said = found if record.said is None else record.said
    for key in sorted({*found, *said}):
        if said.get(key) != found.get(key):
            raise InputError(
                f"page {key[0] + 1}, {key[2] or 'choice'}: the results have "
                f"{shown(said.get(key))}, and the page had {shown(found.get(key))}."
            )
    return rows if ours else _with_times(rows, record)


def reason_of(error: BaseException) -> str:
    """What is wrong with a listener, in a sentence of bounded length."""
    if isinstance(error, MssEduError):
        text = str(error)
    else:
        text = f"the answers have another form ({type(error).__name__}: {error})."
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def check_code(listener: Any) -> None:
    """Raise InputError unless a value is the code of a listener."""
    if not isinstance(listener, str) or not CODE.fullmatch(listener):
        raise InputError(
            f"the listener {shown(listener)} is not a code of 8 digits and letters a-f."
        )


def check_whole(name: str, value: Any, most: int = MOST_COUNT) -> None:
    """Raise InputError unless a value is a whole number from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise InputError(
            f"{name} must be a whole number from 0 to {most}, got {shown(value)}."
        )


def moment(text: Any) -> datetime:
    """A time with its offset from UTC; raise InputError for anything else."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time
    except (TypeError, ValueError):
        pass
    raise InputError(f"{shown(text)} is not a time such as 2026-01-02T03:04:05+00:00.")


def utc(text: str) -> str:
    """A time of the browser, in the format of the store."""
    return moment(text).isoformat(timespec="milliseconds")


def _form(page: Any, where: str) -> dict[str, Any]:
    """What was done on a page, after a check of its form: names, types, numbers ≥ 0."""
    page = {
        name: page[name]
        for name in ("seconds", "comment", "finished", "heard", "ratings")
    }
    if not isinstance(page["comment"], str):
        raise InputError(f"{where}: the remark {shown(page['comment'])} is not a text.")
    check_range("seconds", page["seconds"], 0, LONGEST_PAGE, where=where)
    for played in page["heard"].values():
        check_range("heard", played["seconds"], 0, LONGEST_PAGE, where=where)
        check_whole(f"{where}: plays", played["plays"])
    for rating in page["ratings"]:
        check_whole(f"{where}: changes", rating["changes"])
        moment(rating["rated"])
    if page["finished"] is not None:
        moment(page["finished"])
    return page


def _check_times(record: Record) -> None:
    """Raise InputError for times in another order, or longer than a page was open."""
    begun, tolerance = moment(record.started), timedelta(seconds=CLOCK_TOLERANCE)
    for number, page in enumerate(record.done, 1):
        where, longest = f"page {number}", LONGEST_PAGE
        times = [moment(rating["rated"]) for rating in page["ratings"]]
        if page["finished"] is not None:
            end = moment(page["finished"])
            open_seconds = max(0.0, (end - begun).total_seconds())
            longest = min(longest, open_seconds + CLOCK_TOLERANCE)
            if any(time - tolerance > end for time in (begun, *times)):
                raise InputError(f"{where} was finished before it was rated: {end}.")
        if any(time + tolerance < begun for time in times):
            raise InputError(f"{where} was rated before it was shown: {min(times)}.")
        check_range("seconds", page["seconds"], 0, longest, where=where)
        for label, played in page["heard"].items():
            what = f"seconds of {shown(label)}"
            check_range(what, played["seconds"], 0, longest, where=where)
        begun = end if page["finished"] is not None else begun


def _repeat(session: Session, record: Record, ours: bool) -> None:
    """Do all that the record says."""
    answers = dict(record.answers)
    for number, saved in enumerate(record.done):
        if session.page is None or session.progress[0] != number:
            raise InputError(f"page {number + 1} has answers, and comes after the end.")
        _answer(session, answers, ours)
        for label, played in saved["heard"].items():
            session.heard(label, played["seconds"], begun=played["plays"] > 0)
        for rating in saved["ratings"]:
            if session.design.test in CHOICES:
                session.choose(rating["label"])
            else:
                session.rate(rating["label"], rating["score"], rating["question"])
        if saved["comment"] and not ours:
            session.comment(saved["comment"])
        if saved["finished"]:
            session.finish()
    # Answers are saved before their page: a program may have been stopped in between.
    _answer(session, answers, ours)
    if answers:
        raise InputError(f"no page has asked for {shown([*answers])}.")


def _answer(session: Session, answers: dict[str, str], ours: bool) -> None:
    """Give the answers that the current page asks for, and remove them."""
    if session.page is None or session.page.kind in SCORED:
        return
    asked: Mapping[str, Any] = {CONSENT: ("yes", "no")}
    if session.page.kind != CONSENT:
        asked = session.design.questionnaire
    given = {name: answers.pop(name) for name in asked if name in answers}
    if ours:  # an older version has not limited them
        given = {k: v if asked[k] else v[:LONGEST_TEXT] for k, v in given.items()}
    session.answer(given)


def _with_times(rows: Rows, record: Record) -> Rows:
    """The rows of a replay with the times and counts of the listener."""
    done, last = record.done, len(record.done)
    pages = [p for p in rows["pages"] if p["page"] < last]
    pages = [p for p in pages if p["page"] not in record.unsaved]
    for row in pages:
        saved = done[row["page"]]
        row["seconds"], end = float(saved["seconds"]), saved["finished"]
        row["finished"] = end and utc(end)
    for row in rows["heard"]:
        row["plays"] = done[row["page"]]["heard"][row["label"]]["plays"]
    for row in rows["ratings"]:
        ratings, key = done[row["page"]]["ratings"], (row["question"], row["label"])
        if row["label"]:  # otherwise it is the only one of a choice
            ratings = [r for r in ratings if (r["question"], r["label"]) == key]
        if len(ratings) != 1:
            raise InputError(f"page {row['page'] + 1} has {shown(key)} twice.")
        row["rated"], row["changes"] = utc(ratings[0]["rated"]), ratings[0]["changes"]
    return {**rows, "pages": pages}
