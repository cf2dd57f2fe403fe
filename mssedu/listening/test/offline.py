"""A test that runs without Python: send one HTML file, receive small result files.

    results.sqlite ──write_test_page──▶ test.html ──listeners──▶ results_CODE.json
                   ◀──────────────merge_answers───────────────────┘

The HTML file contains numbered sounds in random order, and the pages of many listeners;
the browser chooses one of them at random. It contains letters and no names of systems,
which are found again here. Every answer passes through a `Session`, so answers that
break its rules do not get into the results. Notebook: 13.
"""

import base64
import json
import random
from collections.abc import Mapping, Sequence
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


def write_test_page(
    store: ResultStore, path: str | Path, n_listeners: int = 100
) -> Path:
    """Write a test as one HTML file, for a browser without a network.

    The gains of the sounds are logged in the store.

    Args:
        store: the results; from now on the test cannot be changed.
        path: of the HTML file.
        n_listeners: number of page orders in the file; a listener gets a random one.

    Raises:
        InputError, AudioFileError: as `load_stimuli`.
    """
    check_range("n_listeners", n_listeners, 1)
    write_text(path, local_page(page_data(store, n_listeners)))
    return Path(path)


def merge_answers(store: ResultStore, document: Mapping[str, Any]) -> list[str]:
    """Add the saved file of a listener to a store; returns the id if it is new.

    Raises:
        InputError: answers to another test, or answers that the page does not allow.
        KeyError, TypeError, ValueError: the document has another form.
    """
    design = store.design
    if document["sha256"] != design.sha256():
        raise InputError(f"the answers belong to another test than {store.path}.")
    listener, pages = str(document["listener"]), plan(design, int(document["number"]))
    row = {
        "id": listener,
        "plan": json.dumps([asdict(page) for page in pages]),
        "started": str(document["started"]),
    }
    start = {"design": design.as_json(), "listeners": [row]}
    tables: dict[str, list[dict[str, Any]]]
    tables = {name: [] for name in ("pages", "heard", "ratings", "answers")}
    with ResultStore(":memory:", design) as scratch:
        scratch.merge({**start, **tables})
        _replay(Session(scratch, listener), document)
        tables = {name: scratch.rows(name) for name in tables}
    _restore_times(tables, document["pages"])
    return store.merge({**start, **tables})


def page_data(store: ResultStore, n_listeners: int) -> dict[str, Any]:
    """All that the page needs: letters and numbers, no names of systems."""
    design = store.design
    names = [(t.name, stimulus) for t in design.trials for stimulus in design.stimuli]
    random.Random(design.sha256()).shuffle(names)
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
    sounds = {k: numbers[page.trial, name] for k, name in page.sounds(design).items()}
    parts = {"questions": page.questions, "labels": page.labels, "sounds": sounds}
    return {"kind": page.kind, **parts}


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
            asked = session.design.questionnaire
            names = ["consent"] if page.kind == "consent" else [*asked]
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


def _restore_times(
    tables: Mapping[str, list[dict[str, Any]]], pages: Sequence[Mapping[str, Any]]
) -> None:
    """Put the times and counts of the listener in place of those of the replay."""
    for row in tables["pages"]:
        saved = pages[row["page"]]
        row["seconds"], end = float(saved["seconds"]), saved["finished"]
        row["finished"] = end and _utc(end)
    for row in tables["heard"]:
        row["plays"] = int(pages[row["page"]]["heard"][row["label"]]["plays"])
    for row in tables["ratings"]:
        ratings, key = pages[row["page"]]["ratings"], (row["question"], row["label"])
        if row["label"]:  # otherwise it is the only one of a choice
            ratings = [r for r in ratings if (r["question"], r["label"]) == key]
        (rating,) = ratings
        row["rated"], row["changes"] = _utc(rating["rated"]), int(rating["changes"])


def _utc(text: str) -> str:
    """A time of the browser, in the format of the store."""
    return datetime.fromisoformat(text).isoformat(timespec="milliseconds")
