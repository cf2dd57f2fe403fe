"""A test that runs without Python: send one HTML file, receive small result files.

    results.sqlite ──write_test_page──▶ test.html ──listeners──▶ results_CODE.json
                   ◀──────────────taken_in────────────────────────┘

The HTML file contains numbered sounds in random order, and the pages of many listeners;
the browser chooses one of them at random. It contains letters and no names of systems,
which are found again here. Every answer passes through a `Session`, so answers that
break its rules do not get into the results. Notebook: 13.
"""

import base64
import json
import random
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mssedu.audio.files import write_text
from mssedu.audio.writer import flac_bytes
from mssedu.errors import InputError, check_range
from mssedu.listening.test.design import CHOICES, Design
from mssedu.listening.test.pages import form_questions, local_page, page_settings
from mssedu.listening.test.schedule import SCORED, Page, plan
from mssedu.listening.test.session import Session
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.sounds import encode, shape_of

_TIMED = ("pages", "heard", "ratings")  # tables with times and counts


def write_test_page(
    store: ResultStore, path: str | Path, n_listeners: int = 100
) -> Path:
    """Write a test as one HTML file, for a browser without a network.

    The changes of the levels of the sounds are logged in the store.

    Args:
        store: the results; from now on the test cannot be changed.
        path: of the HTML file.
        n_listeners: number of page orders in the file; a listener gets a random one.

    Raises:
        InputError: n_listeners is less than 1, or as `load_stimuli`.
        AudioFileError: a sound cannot be read.
    """
    check_range("n_listeners", n_listeners, 1)
    write_text(path, local_page(page_data(store, n_listeners)))
    return Path(path)


def taken_in(store: ResultStore, document: Mapping[str, Any]) -> list[str]:
    """Add the saved answers of a listener to a store; returns the id if it is new.

    Args:
        store: of the same test.
        document: the saved file.

    Raises:
        InputError: answers to another test, or answers that the page does not allow.
        KeyError, TypeError, ValueError: the document has another form.
    """
    design = store.design
    if document["sha256"] != design.sha256():
        raise InputError(
            f"the answers belong to another test than {store.path}. Merge them into "
            "the results of the test that wrote their page."
        )
    listener, pages = str(document["listener"]), plan(design, int(document["number"]))
    empty: dict[str, Any] = {name: [] for name in (*_TIMED, "answers")}
    row = {
        "id": listener,
        "plan": json.dumps([asdict(page) for page in pages]),
        "started": str(document["started"]),
    }
    start = {"design": design.as_json(), "listeners": [row], **empty}
    with ResultStore(":memory:", design) as scratch:
        scratch.merge(start)
        _replay(Session(scratch, listener), document)
        tables = {name: scratch.rows(name) for name in empty}
    for table in _TIMED:
        for row in tables[table]:
            row.update(_original(table, row, document["pages"][row["page"]]))
    return store.merge({**start, **tables})


def page_data(store: ResultStore, n_listeners: int) -> dict[str, Any]:
    """All that the page needs: letters and numbers, no names of systems."""
    design = store.design
    order = random.Random(design.sha256())
    names = [(t.name, stimulus) for t in design.trials for stimulus in design.stimuli]
    order.shuffle(names)
    numbers = {name: number for number, name in enumerate(names)}
    files, shapes = [""] * len(names), [dict[str, int]()] * len(names)
    for trial in design.trials:
        stimuli = load_stimuli(design, trial.name)
        store.log_gains(trial.name, stimuli.log())
        for stimulus, sound in stimuli.sounds.items():
            place = numbers[trial.name, stimulus]
            files[place] = base64.b64encode(_flac(sound, stimuli.sample_rate)).decode()
            shapes[place] = shape_of(sound, stimuli.sample_rate)

    return {
        "title": design.title,
        "sha256": design.sha256(),
        "page": page_settings(design),
        "questions": dict(design.questions),
        "asked": form_questions(design),
        "least_heard_seconds": design.least_heard_seconds,
        "plans": [
            [_shown(page, design, numbers) for page in plan(design, listener)]
            for listener in range(n_listeners)
        ],
        "sounds": files,
        "shapes": shapes,
    }


def _shown(
    page: Page, design: Design, numbers: Mapping[tuple[str, str], int]
) -> dict[str, Any]:
    """A page of a listener, with numbers for its sounds."""
    if page.kind not in SCORED:
        return {"kind": page.kind}
    sounds = {
        label: numbers[page.trial, stimulus]
        for label, stimulus in page.sounds(design).items()
    }
    parts = {"questions": page.questions, "labels": page.labels}
    return {"kind": page.kind, **parts, "sounds": sounds}


def _flac(sound: Tensor, sample_rate: int) -> bytes:
    """A FLAC file with the same samples that the notebook widget gets."""
    steps, _ = encode(sound)  # the full scale is 1, as stimuli never exceed it
    samples = np.frombuffer(steps, "<i2").astype(np.int16).reshape(sound.shape)
    return flac_bytes(torch.from_numpy(samples), sample_rate)


def _replay(session: Session, document: Mapping[str, Any]) -> None:
    """Repeat all actions of the listener in a session, which checks the rules."""
    answers = dict(document["answers"])
    for saved in document["pages"]:
        page = session.page
        if page is None:
            break
        if page.kind not in SCORED:
            names = (
                ["consent"] if page.kind == "consent" else session.design.questionnaire
            )
            session.answer({name: answers[name] for name in names if name in answers})
        for label, played in saved["heard"].items():
            session.heard(label, played["seconds"])
        for rating in saved["ratings"]:
            if session.design.test in CHOICES:
                session.choose(rating["label"])
            else:
                session.rate(rating["label"], rating["score"], rating["question"])
        if saved["comment"]:
            session.comment(saved["comment"])
        if saved["finished"]:
            session.finish()


def _original(
    table: str, row: Mapping[str, Any], saved: Mapping[str, Any]
) -> dict[str, Any]:
    """The times and counts of a row, which a replay does not reproduce."""
    if table == "pages":
        seconds, end = float(saved["seconds"]), saved["finished"]
        return {"seconds": seconds, "finished": end and _utc(end)}
    if table == "heard":
        return {"plays": int(saved["heard"][row["label"]]["plays"])}
    (rating,) = (
        r
        for r in saved["ratings"]
        if not row["label"]
        or (r["question"], r["label"]) == (row["question"], row["label"])
    )
    return {"rated": _utc(rating["rated"]), "changes": int(rating["changes"])}


def _utc(text: str) -> str:
    """A time of the browser, in the format of the store."""
    return datetime.fromisoformat(text).isoformat(timespec="milliseconds")
