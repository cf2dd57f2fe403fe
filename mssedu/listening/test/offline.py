"""A test that runs without Python: send one HTML file, receive small result files.

    results.sqlite ──write_test_page──▶ test.html ──listeners──▶ results_CODE.json
                   ◀──────────────merge_answers───────────────────┘

The HTML file contains numbered sounds in random order, and the pages of many listeners;
the browser chooses one of them at random. It contains letters and no names of systems,
which are found again here. Every answer passes through a `Session`, so answers that
break its rules do not get into the results. Notebook: 13.
"""

import base64
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssedu.audio.files import write_text
from mssedu.errors import check_range
from mssedu.listening.test.design import Design
from mssedu.listening.test.merge import merge_answers
from mssedu.listening.test.pages import form_questions, local_page, page_settings
from mssedu.listening.test.schedule import MOST_LISTENERS, SCORED, Page, plan
from mssedu.listening.test.stimuli import encode_stimuli, load_stimuli
from mssedu.listening.test.store import ResultStore

__all__ = ["merge_answers", "page_data", "write_test_page"]


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
    check_range("n_listeners", n_listeners, 1, MOST_LISTENERS)
    write_text(path, local_page(page_data(store, n_listeners)))
    return Path(path)


def page_data(store: ResultStore, n_listeners: int) -> dict[str, Any]:
    """All that the page needs: letters and numbers, no names of systems."""
    design = store.design
    store.hand_out(n_listeners)
    names = [(t.name, stimulus) for t in design.trials for stimulus in design.stimuli]
    random.Random(design.sha256()).shuffle(names)
    numbers = {name: number for number, name in enumerate(names)}
    files, shapes = [""] * len(names), [dict[str, int]()] * len(names)
    for trial in design.trials:
        stimuli = load_stimuli(design, trial.name)
        store.log_gains(trial.name, stimuli.log())
        encoded = encode_stimuli(stimuli)
        for stimulus, file in encoded.files.items():
            place = numbers[trial.name, stimulus]
            files[place] = base64.b64encode(file).decode()
            shapes[place] = encoded.shape
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
