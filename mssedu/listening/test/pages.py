"""What a session and the browser say to each other: plain values, both ways.

    session ──view──▶ what is shown: consent, questions, letters, never a system's name
            ──said──▶ what was said so far, and what is missing
            ◀─take─── heard · rate · choose · comment · answer · next

The same words serve the notebook (booth), a server (serve) and a page that needs no
Python (offline). Notebook: 13.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mssedu.errors import InputError
from mssedu.listening.test.design import CHOICES, WORDS, Design
from mssedu.listening.test.schedule import SCORED
from mssedu.listening.test.session import Session


def page_settings(design: Design) -> dict[str, Any]:
    """What all rating pages of a test have in common."""
    return {
        "title": design.title,
        "kind": "choice" if design.test in CHOICES else design.test,
        "start": design.slider_start,
        "words": list(WORDS),
    }


def asked(design: Design) -> dict[str, Any]:
    """What the pages without sounds ask."""
    questions = {name: list(choices) for name, choices in design.questionnaire.items()}
    return {"consent": design.consent, "questionnaire": questions}


def rating_page(session: Session) -> dict[str, Any]:
    """What a page with sounds shows, and what does not change on it."""
    design, page, (done, n) = session.design, session.page, session.progress
    questions = page.questions if page else ()
    return {
        **page_settings(design),
        "progress": f"Page {done + 1} of {n}",
        "training": page is not None and page.kind == "training",
        "questions": {name: design.questions[name] for name in questions},
        "labels": list(session.labels),
    }


def said(session: Session, error: str = "") -> dict[str, Any]:
    """What was said on this page so far, and what is missing."""
    scores: dict[str, dict[str, float]] = {}
    for (question, label), score in session.scores.items():
        scores.setdefault(question, {})[label] = score
    return {
        "missing": session.missing,
        "unheard": session.unheard,
        "scores": scores,
        "choice": session.choice or "",
        "error": error,
    }


def view(session: Session) -> dict[str, Any]:
    """All that the page of the session shows, for a browser without a notebook.

    "kind" is "consent", "questionnaire", "rating", "end" or "refused"; "sounds" are
    the names of what can be played.
    """
    page, design = session.page, session.design
    found: dict[str, Any] = {
        "listener": session.listener,
        "place": session.progress[0],
        "state": said(session),
    }
    if page is None:
        return {**found, "kind": "refused" if session.refused else "end"}
    if page.kind in SCORED:
        settings = {"page": rating_page(session), "sounds": [*session.sounds]}
        return {**found, "kind": "rating", **settings}
    return {**found, "kind": page.kind, "asked": asked(design)[page.kind]}


def take(session: Session, words: Mapping[str, Any]) -> str:
    """Do what a listener's message says; unknown kinds are ignored.

    Args:
        session: whose page it is.
        words: "kind", and the arguments of the session's method.

    Returns:
        What was wrong with it, for the listener to read; empty if nothing was.
    """
    actions: dict[Any, Callable[..., None]] = {
        "heard": session.heard,
        "rate": session.rate,
        "choose": session.choose,
        "comment": session.comment,
        "answer": session.answer,
        "next": session.finish,
    }
    action = actions.get(words.get("kind"))
    if action is None:
        return ""
    try:
        action(**{name: value for name, value in words.items() if name != "kind"})
    except InputError as error:
        return str(error)
    return ""
