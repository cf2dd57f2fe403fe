"""A listening test in the notebook: one widget for each page.

    Session ──labels, sounds, what is missing──▶ RatingPage ──▶ booth.js
            ◀──heard · rate · choose · next────

The session has the rules; this file shows the pages. Every answer is in the results
file before the page reacts, so nothing is lost if the browser closes or the kernel
dies: run the cell again with the listener's code. Notebook: 13.
"""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import ipywidgets
import traitlets

from mssedu.errors import InputError
from mssedu.listening.test.create import RESULTS
from mssedu.listening.test.design import Design, load_design
from mssedu.listening.test.pages import page_state, perform, view
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.base import (
    ListeningWidget,
    joined,
    shown_plain,
    static_text,
)
from mssedu.listening.widgets.still import Control, Lane, picture_data


class ListeningTest(ipywidgets.VBox):
    """Take a listening test, page by page; keys: 1 … 9, space, Tab and arrows.

    Attributes:
        session: the answers so far, and the current page.
        store: the results; see `mssedu.listening.results.ratings_frame(test.store)`.
    """

    children: Any  # of the box: the page, and a line with the listener's code

    def __init__(
        self,
        test: str | Path | Design,
        results: str | Path | None = None,
        *,
        listener: str | None = None,
    ) -> None:
        """Begin a test, or continue it.

        Args:
            test: folder that `mssedu listen create` has written, its test.toml, or a
                design.
            results: SQLite file of the answers; None: results.sqlite in the folder.
            listener: code of an earlier visit, which every page shows; None: a new
                listener.

        Raises:
            InputError: a design without a results file, an unknown listener, or as
                `ResultStore`.
            DatasetError: the test does not exist.
        """
        design = test if isinstance(test, Design) else load_design(test)
        if results is None and isinstance(test, Design):
            raise InputError("a Design has no folder for the results: name their file.")
        self.store = ResultStore(results or design.folder / RESULTS, design)
        self.session = Session(self.store, listener)
        super().__init__()
        self._turn()

    def __repr__(self) -> str:
        done, n = self.session.progress
        return f"ListeningTest({self.store.design.title!r}, page={done + 1}, of={n})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and one line for places without widgets or without a kernel."""
        if shown_plain():
            return {"text/plain": repr(self)}, {}
        data: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        lanes, controls = _drawn(self.session)
        picture, shown = picture_data(repr(self), lanes, controls, "take part")
        bundle = {**data, "text/plain": repr(self), "image/png": picture}
        return bundle, {"image/png": shown}

    def _turn(self) -> None:
        """Show the current page of the session, and close the widgets of the last."""
        page, session, old = self.session.page, self.session, self.children
        code = ipywidgets.HTML(f"<small>Your code: <b>{session.listener}</b></small>")
        if page is None:
            thanks = "You did not take part." if session.refused else "Done. Thank you!"
            body: ipywidgets.DOMWidget = ipywidgets.HTML(f"<h3>{thanks}</h3>")
        elif page.kind == "consent":
            body = _consent(session, self._turn)
        elif page.kind == "questionnaire":
            body = _questionnaire(session, self._turn)
        else:
            body = RatingPage(session)
            body.observe(lambda _: self._turn(), names=["finished"])
        self.children = (body, code)
        for widget in old:
            widget.close()


class RatingPage(ListeningWidget):
    """The sounds of one page, with sliders, scores or a choice below them."""

    _esm = joined("timeline.js", "booth.js")
    _css: Any = static_text("style.css", "booth.css")
    _page = traitlets.Dict().tag(sync=True)  # the parts that do not change
    _state = traitlets.Dict().tag(sync=True)  # answers, and what is missing
    finished = traitlets.Bool(False)

    def __init__(self, session: Session) -> None:
        """Show the current page of a session."""
        self.session = session
        sounds, sample_rate = session.load_sounds()
        shown = view(session)
        page, state = shown["page"], shown["state"]
        super().__init__(sounds, sample_rate, _page=page, _state=state)

    def _on_message(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        super()._on_message(_, content, buffers)
        if self.finished or content.get("kind") == "send":
            return
        try:
            wrong = perform(self.session, content)
        except InputError as error:
            self._state = {**self._state, "error": str(error)}
            return
        except Exception as error:  # such as a full disk; the page is where it is seen
            self._state = {**self._state, "error": f"Not saved! {error}"}
            raise
        if content.get("kind") == "next" and not wrong:
            self.finished = True
        else:
            self._state = page_state(self.session, wrong)


def _drawn(session: Session) -> tuple[list[Lane], list[Control]]:
    """A page in the picture of a saved notebook: its questions, without any sound."""
    shown = view(session)
    if shown["kind"] == "consent":
        return [], [("button", "I agree"), ("button", "I decline")]
    if shown["kind"] == "questionnaire":
        return [Lane(name) for name in session.design.questionnaire], [
            ("button", "Next")
        ]
    if shown["kind"] != "rating":
        return [], []
    page = shown["page"]
    answer: Literal["button", "slider"] = "slider"
    if page["kind"] != "mushra":
        answer = "button"
    controls: list[Control] = [("button", "Play")]
    controls += [(answer, label) for label in page["labels"]]
    return [Lane(name) for name in page["questions"]], [*controls, ("button", "Next")]


def _consent(session: Session, turn: Callable[[], None]) -> ipywidgets.VBox:
    text = ipywidgets.HTML(f"<p>{html.escape(session.design.consent)}</p>")
    yes = ipywidgets.Button(description="I agree", button_style="primary")
    no = ipywidgets.Button(description="I decline")

    def answer(button: ipywidgets.Button) -> None:
        session.answer({"consent": "yes" if button is yes else "no"})
        if not session.refused:
            session.finish()
        turn()

    for button in (yes, no):
        button.on_click(answer)
    return ipywidgets.VBox([text, ipywidgets.HBox([yes, no])])


def _questionnaire(session: Session, turn: Callable[[], None]) -> ipywidgets.VBox:
    fields: dict[str, Any] = {}
    for name, choices in session.design.questionnaire.items():
        look = {"description": name, "style": {"description_width": "initial"}}
        if choices:
            field = ipywidgets.RadioButtons(options=choices, value=None, **look)
        else:
            field = ipywidgets.Text(**look)
        fields[name] = field
    button = ipywidgets.Button(description="Next", button_style="primary")
    note = ipywidgets.HTML()

    def answer(_: ipywidgets.Button) -> None:
        answers = {name: field.value for name, field in fields.items() if field.value}
        try:
            session.answer(answers)
            wrong = " ".join(session.missing)
        except InputError as error:
            wrong = str(error)
        note.value = html.escape(wrong)
        if not wrong:
            session.finish()
            turn()

    button.on_click(answer)
    return ipywidgets.VBox([*fields.values(), button, note])
