"""Results of a listening test as a DataFrame, CSV and JSON.

    ResultStore ─┬─ ratings_frame ─▶ a line per rating, with all that is known about it
                 ├─ write_csv ─────▶ the columns of webMUSHRA, then our own
                 └─ write_json ────▶ everything; read_json merges it into another store

The files have the names that webMUSHRA gives them: mushra.csv, paired_comparison.csv
and lss.csv (one sound, several questions). Programs that read them find every column
under its name; a time is in milliseconds, for a whole page. Practice pages and
unfinished pages are only in the JSON.

Source: webMUSHRA 1.4, service/write.php. Notebooks: 13, 14.
"""

import json
from pathlib import Path
from typing import Any

from pandas import DataFrame

from mssedu.audio.files import write_json as write_document
from mssedu.audio.files import written_whole
from mssedu.errors import DatasetError, InputError
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.offline import merge_answers
from mssedu.listening.test.schedule import pairs
from mssedu.listening.test.store import ResultStore

FORMAT = 1  # of the JSON
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
_TABLES = ("listeners", "pages", "heard", "ratings", "answers", "gains")


def ratings_frame(store: ResultStore) -> DataFrame:
    """All ratings of finished pages, a line each, without practice pages.

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
    plans = {listener: store.pages(listener) for listener in store.listeners()}
    designed = {frozenset(pair): pair for pair in pairs(store.design)}
    lines = []
    for row in store.rows("ratings"):
        place = (row["listener"], row["page"])
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


def write_csv(store: ResultStore, folder: str | Path) -> Path:
    """Write the results in webMUSHRA's columns, then our own; returns the file.

    The file has webMUSHRA's name; the folder is created if it does not exist.
    """
    design, frame = store.design, ratings_frame(store)
    frame["milliseconds"] = (1000 * frame.seconds).round()
    if design.test == "acr":
        columns = _likert(frame, list(design.questions))
    else:
        columns = _mushra(frame) if design.test == "mushra" else _choices(frame)
    answers = {(a["listener"], a["name"]): a["answer"] for a in store.rows("answers")}
    head = {"session_test_id": [design.title] * len(columns["session_uuid"])}
    for name in design.questionnaire:
        head[name] = [answers.get((who, name), "") for who in columns["session_uuid"]]
    table = DataFrame({**head, **columns})
    path = Path(folder) / FILES[design.test]
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return path


def write_json(store: ResultStore, path: str | Path) -> Path:
    """Write all content of a store, whole or not at all; returns the file."""
    tables = {name: store.rows(name) for name in _TABLES}
    design = store.design.as_json()
    write_document(path, {"format": FORMAT, "design": design, **tables})
    return Path(path)


def read_json(path: str | Path, store: ResultStore) -> list[str]:
    """Merge the listeners of a results file into a store; returns their ids.

    Args:
        path: a file that `write_json` has written, or the results of one listener from
            a test in a single HTML file.
        store: of the same test.

    Raises:
        DatasetError: no such file, or one of another kind or format.
        InputError: results of another test.
    """
    where = Path(path).absolute()
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        if "sha256" in document:  # of one listener, from a page without Python
            return merge_answers(store, document)
        if document["format"] == FORMAT:
            return store.merge(document)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{where} has no results of a listening test ({type(error).__name__}: "
            f"{error}). Choose a file that mssedu listen export has written."
        ) from error
    raise DatasetError(
        f"{where} has the format {document['format']}, and this mssedu reads {FORMAT}. "
        "Update mssedu to the version that wrote the file."
    )


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
