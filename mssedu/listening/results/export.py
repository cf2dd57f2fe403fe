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
from typing import TYPE_CHECKING, Any

from mssedu.audio.files import write_json as write_document
from mssedu.audio.files import written_whole
from mssedu.errors import DatasetError, InputError
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.offline import taken_in
from mssedu.listening.test.schedule import pairs
from mssedu.listening.test.store import ResultStore

if TYPE_CHECKING:
    from pandas import DataFrame

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
_EXTRA = ("question", "replicate", "page", "label", *_ACTIONS)  # after webMUSHRA's
_TABLES = ("listeners", "pages", "heard", "ratings", "answers", "gains")


def ratings_frame(store: ResultStore) -> "DataFrame":
    """All ratings of finished pages, a line each, without practice pages.

    The columns: listener, trial, question, stimulus, score, replicate (whether the page
    is shown again); page, label, first, second, x (how it was shown); seconds (spent on
    the whole page), heard_seconds, plays, changes, gain_db, rated (time) and comment.
    In a choice, `stimulus` is the chosen one of `first` and `second`, and `score` is 1
    if it is right (abx).
    """
    import pandas as pd

    gains = {(g["trial"], g["stimulus"]): g["gain_db"] for g in store.rows("gains")}
    played = {
        (h["listener"], h["page"], h["label"]): (h["seconds"], h["plays"])
        for h in store.rows("heard")
    }
    visits = {
        (p["listener"], p["page"]): p for p in store.rows("pages") if p["finished"]
    }
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
        heard_seconds, plays = played.get((*place, label), (0.0, 0))
        lines.append(
            {
                "listener": row["listener"],
                "trial": page.trial,
                "question": row["question"],
                "stimulus": row["stimulus"],
                "score": row["score"],
                "replicate": page.replicate,
                "page": row["page"],
                "label": label,
                "first": first,
                "second": second,
                "x": page.x,
                "seconds": visits[place]["seconds"],
                "heard_seconds": heard_seconds,
                "plays": plays,
                "changes": row["changes"],
                "gain_db": gains.get((page.trial, row["stimulus"])),
                "rated": row["rated"],
                "comment": visits[place]["comment"],
            }
        )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def write_csv(store: ResultStore, folder: str | Path) -> Path:
    """Write the results in webMUSHRA's columns, then our own; returns the file.

    Args:
        store: the results.
        folder: of the file, whose name is webMUSHRA's; it is created if it does not
            exist.
    """
    test = store.design.test
    table = {"mushra": _mushra, "acr": _likert}.get(test, _choices)(store)
    path = Path(folder) / FILES[test]
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
            return taken_in(store, document)
        version = document["format"]
        if version == FORMAT:
            return store.merge(document)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{where} holds no results of a listening test ({type(error).__name__}: "
            f"{error}). Choose a file that mssedu listen export has written."
        ) from error
    raise DatasetError(
        f"{where} has the format {version}, and this version of mssedu reads format "
        f"{FORMAT}. Update mssedu to the version that wrote the file."
    )


def _mushra(store: ResultStore) -> "DataFrame":
    frame = ratings_frame(store)
    columns = {
        "trial_id": frame.trial,
        "rating_stimulus": frame.stimulus,
        "rating_score": frame.score,
        "rating_time": (1000 * frame.seconds).round(),
        "rating_comment": frame.comment,
    }
    return _joined(store, frame, columns, {c: frame[c] for c in _EXTRA})


def _choices(store: ResultStore) -> "DataFrame":
    """In webMUSHRA, the reference of a choice is X (abx), or the first of the two."""
    frame = ratings_frame(store)
    reference = frame.x.where(frame.x != "", frame["first"])
    other = frame["second"].where(frame["second"] != reference, frame["first"])
    right = frame.stimulus == reference
    columns = {
        "trial_id": frame.trial,
        "choice_reference": reference,
        "choice_non_reference": other,
        "choice_answer": right.map({True: "correct", False: "incorrect"}),
        "choice_time": (1000 * frame.seconds).round(),
        "choice_comment": frame.comment,
    }
    extra = {"chosen": frame.stimulus, "x": frame.x, **{c: frame[c] for c in _EXTRA}}
    return _joined(store, frame, columns, extra, uuid_last=True)


def _likert(store: ResultStore) -> "DataFrame":
    """A line per sound, with all questions, which are on the same page."""
    frame = ratings_frame(store)
    questions = list(store.design.questions)
    first = frame[frame.question == questions[0]]
    scores = frame.set_index(["listener", "page", "question"]).score
    places = list(zip(first.listener, first.page, strict=True))
    columns: dict[str, Any] = {"trial_id": first.trial}
    for number, question in enumerate(questions, 1):
        name = f"stimuli_rating{number if len(questions) > 1 else ''}"
        columns[name] = [scores[(*place, question)] for place in places]
    columns["stimuli"] = first.stimulus
    columns["rating_time"] = (1000 * first.seconds).round()
    extra = {c: first[c] for c in (*_EXTRA[1:], "comment")}
    return _joined(store, first, columns, extra, uuid_last=True)


def _joined(
    store: ResultStore,
    frame: "DataFrame",
    columns: dict[str, Any],
    extra: dict[str, Any],
    *,
    uuid_last: bool = False,
) -> "DataFrame":
    """Title, questionnaire, listener and other columns, in webMUSHRA's order."""
    import pandas as pd

    answers = {(a["listener"], a["name"]): a["answer"] for a in store.rows("answers")}
    head: dict[str, Any] = {"session_test_id": [store.design.title] * len(frame)}
    for name in store.design.questionnaire:
        head[name] = [answers.get((listener, name), "") for listener in frame.listener]
    uuid = {"session_uuid": frame.listener}
    parts = [head, columns, uuid, extra] if uuid_last else [head, uuid, columns, extra]
    return pd.DataFrame({k: v for part in parts for k, v in part.items()})
