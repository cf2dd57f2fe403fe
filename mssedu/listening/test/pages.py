"""What a listener's page shows and sends, and the page as one HTML file.

    session ──view───────▶ what is shown: consent, questions, letters, no system's name
            ──page_state─▶ the answers on this page so far, and what is missing
            ◀─perform──── heard · rate · choose · comment · answer · next

    HTML: engine ─ booth ─ alone ─┬─ remote.js   answers go to `mssedu listen serve`
                                  └─ local.js    answers go to the browser, then a file

The notebook, the server and the offline page use the same plain values, both ways. The
HTML file loads no script and no style from the network. Notebook: 13.
"""

import html
import json
from collections.abc import Mapping
from typing import Any

from mssedu.errors import InputError
from mssedu.listening.test.design import CHOICES, WORDS, Design
from mssedu.listening.test.messages import check_message
from mssedu.listening.test.schedule import SCORED
from mssedu.listening.test.session import Session
from mssedu.listening.widgets.base import joined, static_text

_STYLES = ("style.css", "booth.css", "alone.css")
_SHELL = ("timeline.js", "booth.js", "alone.js")


def page_settings(design: Design) -> dict[str, Any]:
    """What all rating pages of a test have in common."""
    kind = "choice" if design.test in CHOICES else design.test
    scale = {"start": design.slider_start, "words": list(WORDS)}
    return {"title": design.title, "kind": kind, **scale}


def form_questions(design: Design) -> dict[str, Any]:
    """What the pages without sounds ask: the consent and the questionnaire."""
    questions = {name: list(choices) for name, choices in design.questionnaire.items()}
    return {"consent": design.consent, "questionnaire": questions}


def page_state(session: Session, error: str = "") -> dict[str, Any]:
    """The answers on this page so far, what is missing, and what went wrong."""
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
    """All that the page of the session shows.

    "kind" is "consent", "questionnaire", "rating", "end" or "refused"; "sounds" are
    the names of what can be played.
    """
    design, page, (done, n) = session.design, session.page, session.progress
    shown = {"listener": session.listener, "place": done, "state": page_state(session)}
    if page is None:
        return {**shown, "kind": "refused" if session.refused else "end"}
    if page.kind not in SCORED:
        return {**shown, "kind": page.kind, "asked": form_questions(design)[page.kind]}
    settings = {
        **page_settings(design),
        "progress": f"Page {done + 1} of {n}",
        "training": page.kind == "training",
        "questions": {name: design.questions[name] for name in page.questions},
        "labels": [*page.labels],
    }
    return {**shown, "kind": "rating", "page": settings, "sounds": [*session.sounds]}


def perform(session: Session, message: Mapping[str, Any]) -> str:
    """Do what a listener's message asks for.

    A message has a "kind" and the arguments of the session's method. Returns which rule
    it breaks, for the listener to read; empty if none.

    Raises:
        InputError: as `check_message`.
    """
    arguments = check_message(dict(message))
    kind = arguments.pop("kind")
    if kind == "heard":
        arguments["seconds"] = session.credible(
            arguments["label"], arguments["seconds"]
        )
    try:
        getattr(session, "finish" if kind == "next" else kind)(**arguments)
    except InputError as error:
        return str(error)
    return ""


def remote_page(title: str) -> str:
    """The page of a test whose answers go to the server that it came from."""
    return _page("remote.js", "remoteDesk", {"title": title})


def local_page(test: dict[str, Any]) -> str:
    """The page of a test, of `offline.page_data`, that keeps answers in the browser."""
    return _page("local.js", "new LocalDesk(test, openStorage())", test)


def _page(script: str, desk: str, test: dict[str, Any]) -> str:
    # Without "<", no text of the test can end the <script> element around it.
    data, code = json.dumps(test).replace("<", "\\u003c"), joined(*_SHELL, script)
    title, style = html.escape(test["title"]), static_text(*_STYLES)
    page = static_text("alone.html")
    return page.format(title=title, style=style, test=data, script=code, desk=desk)
