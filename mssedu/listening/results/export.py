"""Results of a listening test as pandas, CSV and JSON.

    ResultStore ─┬─ ratings_frame ─▶ a line per rating, all that is known about it
                 ├─ write_csv ─────▶ the columns of webMUSHRA, then ours
                 └─ write_json ────▶ everything; read_json merges it into another store

webMUSHRA's files are mushra.csv, paired_comparison.csv and lss.csv (one sound, several
questions). Programs that read those find every column at its name; times are in
milliseconds of a whole page there. Training pages, and pages that were left
unfinished, are in the JSON only.

Source: webMUSHRA 1.4, service/write.php. Notebooks: 13, 14.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssedu.errors import DatasetError, InputError, message
from mssedu.evaluation.result import write_json as write_document
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
COLUMNS = (
    *(
        "listener",
        "trial",
        "question",
        "stimulus",
        "score",
        "replicate",
    ),  # who and what
    *("page", "label", "first", "second", "x"),  # how it was shown
    *("seconds", "heard_seconds", "plays", "changes", "gain_db", "rated", "comment"),
)
_EXTRA = (*("question", "replicate", "page", "label"), *COLUMNS[-6:-1])
_TABLES = ("listeners", "pages", "heard", "ratings", "answers", "gains")


def ratings_frame(store: ResultStore) -> "DataFrame":
    """All ratings of finished pages, a line each, training left out.

    Of a choice, `stimulus` is what was chosen of `first` and `second`, and `score`
    tells whether it was right (abx). `seconds` is the time spent on the whole page.
    """
    import pandas as pd

    gains = {(g["trial"], g["stimulus"]): g["gain_db"] for g in store.rows("gains")}
    heard = {
        (h["listener"], h["page"], h["label"]): (h["seconds"], h["plays"])
        for h in store.rows("heard")
    }
    done = {(p["listener"], p["page"]): p for p in store.rows("pages") if p["finished"]}
    shown = {listener: store.pages(listener) for listener in store.listeners()}
    known = {frozenset(pair): pair for pair in pairs(store.design)}
    lines = []
    for row in store.rows("ratings"):
        place = (row["listener"], row["page"])
        page = shown[row["listener"]][row["page"]]
        if place not in done or page.kind != "trial":
            continue
        label = row["label"] or page.labels[page.stimuli.index(row["stimulus"])]
        pair = known.get(frozenset(page.stimuli), ("", ""))
        seconds, plays = heard.get((*place, label), (0.0, 0))
        visit = done[place]
        line = (
            *(row["listener"], page.trial, row["question"], row["stimulus"]),
            *(row["score"], page.replicate, row["page"], label, *pair, page.x),
            *(visit["seconds"], seconds, plays, row["changes"]),
            *(gains.get((page.trial, row["stimulus"])), row["rated"], visit["comment"]),
        )
        lines.append(dict(zip(COLUMNS, line, strict=True)))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def write_csv(store: ResultStore, folder: str | Path) -> Path:
    """Write the results in webMUSHRA's columns, ours after them; returns the file.

    Args:
        store: the results.
        folder: made if it is not there; the name of the file is webMUSHRA's.
    """
    test = store.design.test
    table = {"mushra": _mushra, "acr": _likert}.get(test, _choices)(store)
    path = Path(folder) / FILES[test]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n")
    return path


def write_json(store: ResultStore, path: str | Path) -> Path:
    """Write all that a store holds, whole or not at all."""
    tables = {name: store.rows(name) for name in _TABLES}
    design = store.design.as_json()
    write_document(Path(path), {"format": FORMAT, "design": design, **tables})
    return Path(path)


def read_json(path: str | Path, store: ResultStore) -> list[str]:
    """Merge the listeners of a results file into a store; returns their ids.

    Args:
        path: what `write_json` wrote on another machine.
        store: of the same test.

    Raises:
        DatasetError: no such file, or one of another kind or format.
        InputError: results of another test.
    """
    where = str(Path(path).absolute())
    remedy = "Name a file that mssedu listen export --json has written."
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        if "sha256" in document:  # one listener's, from a page without Python
            return taken_in(store, document)
        version = document["format"]
        if version == FORMAT:
            return store.merge(document)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        got = f"{type(error).__name__}: {error}"
        text = message(where, "listening results", got, remedy)
        raise DatasetError(text) from error
    wanted = f"listening results of format {FORMAT}"
    raise DatasetError(message(where, wanted, version, remedy))


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
    """webMUSHRA's reference is what X is, or the first of two that are compared."""
    frame = ratings_frame(store)
    named = frame.x.where(frame.x != "", frame["first"])
    other = frame["second"].where(frame["second"] != named, frame["first"])
    right = frame.stimulus == named
    columns = {
        "trial_id": frame.trial,
        "choice_reference": named,
        "choice_non_reference": other,
        "choice_answer": right.map({True: "correct", False: "incorrect"}),
        "choice_time": (1000 * frame.seconds).round(),
        "choice_comment": frame.comment,
    }
    extra = {"chosen": frame.stimulus, "x": frame.x, **{c: frame[c] for c in _EXTRA}}
    return _joined(store, frame, columns, extra, uuid_last=True)


def _likert(store: ResultStore) -> "DataFrame":
    """A line per sound: all questions were asked on the same page."""
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
    """Title, questionnaire, listener and columns of a test, in webMUSHRA's order."""
    import pandas as pd

    answers = {(a["listener"], a["name"]): a["answer"] for a in store.rows("answers")}
    told: dict[str, Any] = {"session_test_id": [store.design.title] * len(frame)}
    for name in store.design.questionnaire:
        told[name] = [answers.get((listener, name), "") for listener in frame.listener]
    uuid = {"session_uuid": frame.listener}
    parts = [told, columns, uuid, extra] if uuid_last else [told, uuid, columns, extra]
    return pd.DataFrame({k: v for part in parts for k, v in part.items()})
