"""A test that runs without Python: one HTML file goes out, small files come back.

    results.sqlite ──write_test_page──▶ test.html ──listeners──▶ results_CODE.json
                   ◀──────────────taken_in────────────────────────┘

The file holds sounds under numbers, in an order that tells nothing, and the pages of
many listeners, of which each draws one. It knows letters; which system a letter was is
found out here. Every answer is taken in by a `Session`, so what its rules refuse does
not get into the results. Notebook: 13.
"""

import base64
import io
import json
import random
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from mssedu.errors import InputError, check_range, message
from mssedu.listening.test.design import CHOICES, Design
from mssedu.listening.test.dialog import asked, page_settings
from mssedu.listening.test.schedule import SCORED, Page, plan
from mssedu.listening.test.session import Session
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore
from mssedu.listening.test.web_page import local_page
from mssedu.listening.widgets.sounds import encode, shape_of

_TIMED = ("pages", "heard", "ratings")  # tables that tell when, how long, how often


def write_test_page(
    store: ResultStore, path: str | Path, n_listeners: int = 100
) -> Path:
    """Write a test as one HTML file, for a browser without a network.

    What was done to the levels of the sounds is logged in the store.

    Args:
        store: the results; from now on the test cannot be changed.
        path: of the HTML file.
        n_listeners: how many orders of pages it holds; each listener draws one of them.

    Raises:
        InputError: less than one, or as `load_stimuli`.
        AudioFileError: a sound that cannot be read.
    """
    check_range("n_listeners", n_listeners, 1)
    Path(path).write_text(local_page(page_data(store, n_listeners)), "utf-8")
    return Path(path)


def taken_in(store: ResultStore, document: Mapping[str, Any]) -> list[str]:
    """Put what a listener has saved into a store; returns the id, if it is new.

    Args:
        store: of the same test.
        document: the saved file.

    Raises:
        InputError: answers to another test, or such as the page cannot have given.
        KeyError, TypeError, ValueError: no such document.
    """
    where, design = str(store.path), store.design
    if document["sha256"] != design.sha256():
        remedy = "Take them in where that page came from."
        text = message(where, "answers to this very test", "another test", remedy)
        raise InputError(text)
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
        _say_again(Session(scratch, listener), document)
        tables = {name: scratch.rows(name) for name in empty}
    for table in _TIMED:
        for row in tables[table]:
            row.update(_as_it_was(table, row, document["pages"][row["page"]]))
    return store.merge({**start, **tables})


def page_data(store: ResultStore, n_listeners: int) -> dict[str, Any]:
    """All that the page needs; letters and numbers, no names."""
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
        "asked": asked(design),
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
    """A page of a listener; its sounds are numbers."""
    if page.kind not in SCORED:
        return {"kind": page.kind}
    sounds = {
        label: numbers[page.trial, stimulus]
        for label, stimulus in page.sounds(design).items()
    }
    parts = {"questions": page.questions, "labels": page.labels}
    return {"kind": page.kind, **parts, "sounds": sounds}


def _flac(sound: Tensor, sample_rate: int) -> bytes:
    """A file whose samples are those that a notebook would send."""
    steps, _ = encode(sound)  # the full scale is 1: stimuli never exceed it
    samples = np.frombuffer(steps, "<i2").reshape(sound.shape).T
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _say_again(session: Session, document: Mapping[str, Any]) -> None:
    """Go through the pages as the listener did; the session knows the rules."""
    answers = dict(document["answers"])
    for said in document["pages"]:
        page = session.page
        if page is None:
            break
        if page.kind not in SCORED:
            names = (
                ["consent"] if page.kind == "consent" else session.design.questionnaire
            )
            session.answer({name: answers[name] for name in names if name in answers})
        for label, played in said["heard"].items():
            session.heard(label, played["seconds"])
        for rating in said["ratings"]:
            if session.design.test in CHOICES:
                session.choose(rating["label"])
            else:
                session.rate(rating["label"], rating["score"], rating["question"])
        if said["comment"]:
            session.comment(said["comment"])
        if said["finished"]:
            session.finish()


def _as_it_was(
    table: str, row: Mapping[str, Any], said: Mapping[str, Any]
) -> dict[str, Any]:
    """What saying it again cannot know: when, how long, how often."""
    if table == "pages":
        seconds, end = float(said["seconds"]), said["finished"]
        return {"seconds": seconds, "finished": end and _utc(end)}
    if table == "heard":
        return {"plays": int(said["heard"][row["label"]]["plays"])}
    (rating,) = (
        r
        for r in said["ratings"]
        if not row["label"]
        or (r["question"], r["label"]) == (row["question"], row["label"])
    )
    return {"rated": _utc(rating["rated"]), "changes": int(rating["changes"])}


def _utc(text: str) -> str:
    """A browser's time, written as the store does."""
    return datetime.fromisoformat(text).isoformat(timespec="milliseconds")
