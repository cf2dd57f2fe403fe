"""Results of a listening test as a DataFrame, CSV and JSON.

    ResultStore ─┬─ ratings_frame ─▶ a line per rating, with all that is known about it
                 ├─ write_csv ─────▶ the columns of webMUSHRA, then our own
                 └─ write_json ────▶ everything; read_json merges it into another store

The files have the names that webMUSHRA gives them: mushra.csv, paired_comparison.csv
and lss.csv (one sound, several questions). Programs that read them find every column
under its name; a time is in milliseconds, for a whole page. Practice pages and
unfinished pages are only in the JSON.

A listener whose answers no test can give is left out of all three, with a warning: one
bad message of a browser, or one file that an older version has merged, must not stop
the others. A results.json names the sha256 of its content, so that a change of it is
found; it does not prove who wrote it.

Source: webMUSHRA 1.4, service/write.php. Notebooks: 13, 14.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pandas import DataFrame

from mssedu.audio.files import write_json as write_document
from mssedu.audio.files import written_whole
from mssedu.errors import DatasetError, InputError, MssEduError, MssEduWarning
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.merge import Merged, impossible, merge_page, merge_results
from mssedu.listening.test.names import shown
from mssedu.listening.test.replay import FAULTS, LONGEST_REASON
from mssedu.listening.test.schedule import pairs
from mssedu.listening.test.store import ResultStore
from mssedu.reports.tables import csv_cell

FORMAT = 2  # of the JSON
_CHOOSE = (
    "Choose a file that mssedu listen export has written, or that a listener has saved."
)
UNSIGNED = 1  # the format of older versions, without a hash
FILES = {
    "mushra": "mushra.csv",
    "acr": "lss.csv",
    **dict.fromkeys(CHOICES, "paired_comparison.csv"),
}
_RATED = ("listener", "trial", "question", "stimulus", "score", "replicate")
_SHOWN = ("page", "label", "first", "second", "x")
_ACTIONS = ("heard_seconds", "plays", "changes", "gain_db", "rated")
COLUMNS = (*_RATED, *_SHOWN, "seconds", *_ACTIONS, "comment")
_EXTRA = ["question", "replicate", "page", "label", *_ACTIONS]  # after webMUSHRA's
Columns = dict[str, Any]  # name -> Series or list of values
_TABLES = ("listeners", "pages", "heard", "ratings", "answers", "gains", "drawn")


def ratings_frame(
    store: ResultStore, left_out: Collection[str] | None = None
) -> DataFrame:
    """All ratings of finished pages, a line each, without practice pages.

    `left_out` are listeners who do not count; None: those of `impossible`, of whom a
    warning tells.

    The columns: listener, trial, question, stimulus, score, replicate (whether the page
    is shown again); page, label, first, second, x (how it was shown); seconds (spent on
    the whole page), heard_seconds, plays, changes, gain_db, rated (time) and comment.
    In a choice, `stimulus` is the chosen one of `first` and `second`, and `score` is 1
    if it is right (abx).
    """
    gains = {(g["trial"], g["stimulus"]): g["gain_db"] for g in store.rows("gains")}
    played = {(h["listener"], h["page"], h["label"]): h for h in store.rows("heard")}
    rows = [row for row in store.rows("pages") if row["finished"]]
    visits = {(row["listener"], row["page"]): row for row in rows}
    without = _left_out(store) if left_out is None else left_out
    plans = {who: store.pages(who) for who in store.listeners() if who not in without}
    designed = {frozenset(pair): pair for pair in pairs(store.design)}
    lines = []
    for row in store.rows("ratings"):
        place = (row["listener"], row["page"])
        if row["listener"] not in plans:
            continue
        page = plans[row["listener"]][row["page"]]
        if place not in visits or page.kind != "trial":
            continue
        label = row["label"] or page.labels[page.stimuli.index(row["stimulus"])]
        first, second = designed.get(frozenset(page.stimuli), ("", ""))
        sound = played.get((*place, label), {"seconds": 0.0, "plays": 0})
        lines.append(
            {
                **row,
                "trial": page.trial,
                "replicate": page.replicate,
                "label": label,
                "first": first,
                "second": second,
                "x": page.x,
                "seconds": visits[place]["seconds"],
                "heard_seconds": sound["seconds"],
                "plays": sound["plays"],
                "gain_db": gains.get((page.trial, row["stimulus"])),
                "comment": visits[place]["comment"],
            }
        )
    return DataFrame(lines, columns=list(COLUMNS))


def write_csv(
    store: ResultStore, folder: str | Path, left_out: Collection[str] | None = None
) -> Path:
    """Write the results in webMUSHRA's columns, then our own; returns the file.

    The file has webMUSHRA's name; the folder is created if it does not exist. A text
    that a spreadsheet would compute gets an apostrophe in front, as `csv_cell` says.
    `left_out` is as in `ratings_frame`.
    """
    design, frame = store.design, ratings_frame(store, left_out)
    frame["milliseconds"] = (1000 * frame.seconds).round()
    if design.test == "acr":
        columns = _likert(frame, list(design.questions))
    else:
        columns = _mushra(frame) if design.test == "mushra" else _choices(frame)
    answers = {(a["listener"], a["name"]): a["answer"] for a in store.rows("answers")}
    head = {"session_test_id": [design.title] * len(columns["session_uuid"])}
    for name in design.questionnaire:
        given = [answers.get((who, name), "") for who in columns["session_uuid"]]
        free = name not in columns and name not in head
        head[name if free else f"{name} (answer)"] = given
    table = DataFrame({**head, **columns}).map(csv_cell).rename(columns=csv_cell)
    path = Path(folder) / FILES[design.test]
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return path


def write_json(
    store: ResultStore, path: str | Path, left_out: Collection[str] | None = None
) -> Path:
    """Write the content of a store, whole or not at all; returns the file.

    `left_out` is as in `ratings_frame`.
    """
    without = _left_out(store) if left_out is None else left_out
    tables = store.tables(_TABLES)
    for name, rows in tables.items():
        who = "id" if name == "listeners" else "listener"
        tables[name] = [row for row in rows if row.get(who) not in without]
    tables["gains"] = [g for g in tables["gains"] if math.isfinite(g["gain_db"])]
    design = {"design_sha256": store.design.sha256(), "design": store.design.as_json()}
    document = {"format": FORMAT, **design, **tables}
    write_document(path, {**document, "sha256": content_sha256(document)})
    return Path(path)


def content_sha256(document: dict[str, Any]) -> str:
    """Hash of a results file, without the line that names it."""
    content = {name: value for name, value in document.items() if name != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def merge_file(path: str | Path, store: ResultStore) -> Merged:
    """Merge a results file into a store, and say what became of its listeners.

    Args:
        path: a file that `write_json` has written, or the results of one listener from
            a test in a single HTML file.
        store: of the same test.

    Raises:
        DatasetError: no such file, one of another kind or format, or one that was
            changed after it was written.
        InputError: results of another test.
    """
    where = Path(path).absolute()
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        if "format" in document:
            _check_file(document, where)
            return merge_results(store, document)
        ours = document["sha256"] == store.design.sha256()
    except MssEduError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{where} does not exist. {_CHOOSE}") from error
    except (OSError, *FAULTS) as error:
        raise _no_results(where, error) from error
    if not ours:
        raise InputError(f"{where} has answers to another test than {store.path}.")
    try:
        return merge_page(store, document)
    except FAULTS as error:
        raise _no_results(where, error) from error


def read_json(path: str | Path, store: ResultStore) -> list[str]:
    """As `merge_file`; returns the ids of the listeners who are new.

    A warning names the listeners who were refused.

    Raises:
        DatasetError, InputError: as `merge_file`, or all listeners were refused.
    """
    merged = merge_file(path, store)
    for listener, reason in merged.refused:
        text = f"{Path(path).absolute()}: listener {listener} is refused: {reason}"
        if not merged.added and not merged.known:
            raise InputError(text)
        warnings.warn(text, MssEduWarning, stacklevel=2)
    return sorted(merged.added)


def _check_file(document: dict[str, Any], where: Path) -> None:
    """Raise DatasetError for another format, and for content that was changed."""
    if document["format"] not in (FORMAT, UNSIGNED):
        raise DatasetError(
            f"{where} has the format {shown(document['format'])}, and this mssedu "
            f"reads {FORMAT}. Update mssedu to the version that wrote the file."
        )
    for name in ("design", *_TABLES[:-1]):  # before the hash, for a better message
        document[name]
    if document["format"] == FORMAT and document["sha256"] != content_sha256(document):
        raise DatasetError(
            f"{where} was changed after mssedu listen export had written it: its "
            "sha256 does not fit. Use the original file."
        )


def _no_results(where: Path, error: BaseException) -> DatasetError:
    why = f"({type(error).__name__}: {error})."
    if isinstance(error, MssEduError):
        why = f"that can be read: {error}"
    return DatasetError(
        f"{where} has no results of a listening test {why[:LONGEST_REASON]} {_CHOOSE}"
    )


def _left_out(store: ResultStore) -> dict[str, str]:
    """Listeners whose answers no test can give -> reason; a warning names each."""
    faults = impossible(store)
    for listener, reason in faults.items():
        text = f"listener {shown(listener)} is left out: {reason}"
        warnings.warn(text, MssEduWarning, stacklevel=3)
    return faults


def _mushra(frame: DataFrame) -> Columns:
    return {
        "session_uuid": frame.listener,
        "trial_id": frame.trial,
        "rating_stimulus": frame.stimulus,
        "rating_score": frame.score,
        "rating_time": frame.milliseconds,
        "rating_comment": frame.comment,
        **frame[_EXTRA],
    }


def _choices(frame: DataFrame) -> Columns:
    """In webMUSHRA, the reference of a choice is X (abx), or the first of the two."""
    reference = frame.x.where(frame.x != "", frame["first"])
    other = frame["second"].where(frame["second"] != reference, frame["first"])
    right = frame.stimulus == reference
    return {
        "trial_id": frame.trial,
        "choice_reference": reference,
        "choice_non_reference": other,
        "choice_answer": right.map({True: "correct", False: "incorrect"}),
        "choice_time": frame.milliseconds,
        "choice_comment": frame.comment,
        "session_uuid": frame.listener,
        "chosen": frame.stimulus,
        "x": frame.x,
        **frame[_EXTRA],
    }


def _likert(frame: DataFrame, questions: list[str]) -> Columns:
    """A line per sound, with all questions, which are on the same page."""
    first = frame[frame.question == questions[0]]
    scores = frame.set_index(["listener", "page", "question"]).score
    places = list(zip(first.listener, first.page, strict=True))
    columns: Columns = {"trial_id": first.trial}
    for number, question in enumerate(questions, 1):
        name = f"stimuli_rating{number if len(questions) > 1 else ''}"
        columns[name] = [scores[(*place, question)] for place in places]
    return columns | {
        "stimuli": first.stimulus,
        "rating_time": first.milliseconds,
        "session_uuid": first.listener,
        **first[[*_EXTRA[1:], "comment"]],
    }
