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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mssedu.errors import InputError
from mssedu.listening.test.design import CHOICES, WORDS, Design
from mssedu.listening.test.schedule import SCORED
from mssedu.listening.test.session import Session
from mssedu.listening.widgets.base import joined

_STATIC = Path(__file__).parents[1] / "static"
_STYLES = ("style.css", "booth.css", "alone.css")
_SHELL = ("timeline.js", "booth.js", "alone.js")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main></main>
<script id="test" type="application/json">{test}</script>
<script type="module">
{script}
const test = JSON.parse(document.getElementById("test").textContent);
openTest({desk}, test.title, document.querySelector("main"));
</script>
</body>
</html>
"""


# ---- plain values -------------------------------------------------------------------


def page_settings(design: Design) -> dict[str, Any]:
    """What all rating pages of a test have in common."""
    return {
        "title": design.title,
        "kind": "choice" if design.test in CHOICES else design.test,
        "start": design.slider_start,
        "words": list(WORDS),
    }


def form_questions(design: Design) -> dict[str, Any]:
    """What the pages without sounds ask: the consent and the questionnaire."""
    questions = {name: list(choices) for name, choices in design.questionnaire.items()}
    return {"consent": design.consent, "questionnaire": questions}


def rating_page(session: Session) -> dict[str, Any]:
    """The parts of a page with sounds that do not change while it is shown."""
    design, page, (done, n) = session.design, session.page, session.progress
    questions = page.questions if page else ()
    return {
        **page_settings(design),
        "progress": f"Page {done + 1} of {n}",
        "training": page is not None and page.kind == "training",
        "questions": {name: design.questions[name] for name in questions},
        "labels": list(session.labels),
    }


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
    """All that the page of the session shows, for a browser without a notebook.

    "kind" is "consent", "questionnaire", "rating", "end" or "refused"; "sounds" are
    the names of what can be played.
    """
    page, design = session.page, session.design
    common: dict[str, Any] = {
        "listener": session.listener,
        "place": session.progress[0],
        "state": page_state(session),
    }
    if page is None:
        return {**common, "kind": "refused" if session.refused else "end"}
    if page.kind in SCORED:
        settings = {"page": rating_page(session), "sounds": [*session.sounds]}
        return {**common, "kind": "rating", **settings}
    return {**common, "kind": page.kind, "asked": form_questions(design)[page.kind]}


def perform(session: Session, message: Mapping[str, Any]) -> str:
    """Do what a listener's message asks for; unknown kinds are ignored.

    Args:
        session: the listener's.
        message: "kind", and the arguments of the session's method.

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
    action = actions.get(message.get("kind"))
    if action is None:
        return ""
    try:
        action(**{name: value for name, value in message.items() if name != "kind"})
    except InputError as error:
        return str(error)
    return ""


# ---- HTML ---------------------------------------------------------------------------


def remote_page(title: str) -> str:
    """The page of a test whose answers go to the server that it came from."""
    return _page("remote.js", "remoteDesk", {"title": title})


def local_page(test: dict[str, Any]) -> str:
    """The page of a test that keeps its answers in the browser.

    Args:
        test: plain values, as `offline.page_data` makes them.
    """
    return _page("local.js", "new LocalDesk(test, localStorage)", test)


def _page(script: str, desk: str, test: dict[str, Any]) -> str:
    return _PAGE.format(
        title=html.escape(test["title"]),
        style="\n".join((_STATIC / name).read_text("utf-8") for name in _STYLES),
        # Without "<", no text of the test can end the <script> element around it.
        test=json.dumps(test).replace("<", "\\u003c"),
        script=joined(*_SHELL, script),
        desk=desk,
    )
