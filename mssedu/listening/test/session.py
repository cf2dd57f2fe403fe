"""One listener in a test: the current page, the answers, and the rules.

    session.page ─▶ labels, questions        what a page shows; never a system's name
       heard · rate · choose · answer ─▶ store, at once
       missing ─▶ what is still to be done   ([] : `finish` leads to the next page)

Every rule of a test is here, and none in the page of the browser. A session has no data
of its own: a new session of the same store and listener, after a reload, a crash or a
week, continues at the same page.

The seconds of a page are the times between two actions, also while the page was closed
or the server was down; a time of more than 10 minutes counts as a break. Notebook: 13.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mssedu.errors import InputError, check_name, check_range
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.names import shown
from mssedu.listening.test.schedule import SCORED, Page
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore

LONGEST_AWAY = 600.0  # seconds; a longer time between two actions is a break
LONGEST_HEARD = 86400.0  # seconds; a longer time of listening is an error
CLOCK_TOLERANCE = 30.0  # seconds of listening beyond the time: clocks are set
LONGEST_TEXT = 2000  # characters of a remark or an answer


class Session:
    """The test as one listener takes it.

    Attributes:
        listener: anonymous id; pass it to a new session to continue.
        number: of the listener, counted from 0 in the order of arrival.
        design: the test.

    Example:
        >>> from mssedu.listening.test.design import Design, Trial
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"})
        >>> test = Design("?", "2afc", (trial,), reference=False)
        >>> session = Session(ResultStore(":memory:", test))
        >>> for label in session.labels:
        ...     session.heard(label, seconds=2)
        >>> session.choose("A")
        >>> session.finish()
        >>> session.page is None
        True
    """

    def __init__(
        self,
        store: ResultStore,
        listener: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin a test, or continue it.

        Args:
            store: saves the answers.
            listener: id of an earlier session, else InputError; None: a new listener.
            clock: returns the time in seconds; it must go on when a program restarts.
        """
        self._store, self._clock = store, clock
        self.design = store.design
        self.listener = store.add_listener() if listener is None else listener
        self.number = store.number(self.listener)
        self._pages = store.pages(self.listener)
        self._arrived, self._acted = store.clock(self.listener, clock())
        self._arrive()

    # ---- what is shown --------------------------------------------------------------

    @property
    def page(self) -> Page | None:
        """The current page; None at the end, or if the listener declined."""
        ended = self.refused or self._number == len(self._pages)
        return None if ended else self._pages[self._number]

    @property
    def progress(self) -> tuple[int, int]:
        """The number of finished pages, and of all pages."""
        return self._number, len(self._pages)

    @property
    def refused(self) -> bool:
        """Whether the listener did not consent."""
        return self.answers.get("consent") == "no"

    @property
    def labels(self) -> tuple[str, ...]:
        """The letters of the stimuli of the page, in their order."""
        return self.page.labels if self.page else ()

    @property
    def sounds(self) -> dict[str, str]:
        """All that can be played: label -> stimulus. Never show it to a listener."""
        return self.page.sounds(self.design) if self.page else {}

    def load_sounds(self) -> tuple[dict[str, Tensor], int]:
        """The sounds of this page: label -> (channels, samples), and the rate in Hz.

        Their gains are logged in the store. Raises as `load_stimuli`, and InputError on
        a page without sounds.
        """
        page = self._scored_page("listen")
        stimuli = load_stimuli(self.design, page.trial)
        self._store.log_gains(page.trial, stimuli.log())
        sounds = {label: stimuli.sounds[name] for label, name in self.sounds.items()}
        return sounds, stimuli.sample_rate

    @property
    def answers(self) -> dict[str, str]:
        """Consent and questionnaire: name -> answer."""
        rows = self._store.rows("answers", self.listener)
        return {row["name"]: row["answer"] for row in rows}

    @property
    def scores(self) -> dict[tuple[str, str], float]:
        """The ratings of this page: (question, label) -> score; {} for a choice."""
        rows = [] if self.design.test in CHOICES else self._here("ratings")
        return {(row["question"], row["label"]): row["score"] for row in rows}

    @property
    def choice(self) -> str | None:
        """The chosen label of this page, if any."""
        page, rows = self.page, self._here("ratings")
        if page is None or self.design.test not in CHOICES or not rows:
            return None
        return self.labels[page.stimuli.index(rows[0]["stimulus"])]

    @property
    def missing(self) -> list[str]:
        """What is still to be done on this page, one sentence each."""
        page, design = self.page, self.design
        if page is None:
            return []
        if page.kind == "consent":
            return [] if "consent" in self.answers else ["Agree or decline."]
        if page.kind == "questionnaire":
            answers = self.answers
            return [f"Answer {n!r}." for n in design.questionnaire if n not in answers]
        listen = [f"Listen to {label}." for label in self.unheard]
        if design.test in CHOICES:
            return listen or ([] if self.choice else ["Choose one."])
        scores = self.scores
        unrated = [
            f"Rate {label}" + (f" ({question})." if len(page.questions) > 1 else ".")
            for label in page.labels
            for question in page.questions
            if (question, label) not in scores
        ]
        return [*listen, *unrated]

    @property
    def unheard(self) -> list[str]:
        """Labels of the sounds that were not played long enough to be rated."""
        seconds = {row["label"]: row["seconds"] for row in self._here("heard")}
        least = self.design.least_heard_seconds
        return [label for label in self.sounds if seconds.get(label, 0.0) < least]

    # ---- what the listener does -----------------------------------------------------

    def heard(self, label: str, seconds: float, *, begun: bool = True) -> None:
        """Save how long a sound was played.

        `begun` is False if it continues to play since the last call.
        """
        check_name("sound", label, self.sounds)
        check_range("seconds", seconds, 0, LONGEST_HEARD)
        self._store.heard(self._place, label, seconds, begun=begun)
        self._spend()

    def credible(self, label: str, seconds: float) -> float:
        """Seconds of listening to a sound, cut to the time since the page began."""
        open_seconds = max(0.0, self._clock() - self._arrived) + CLOCK_TOLERANCE
        played = (row for row in self._here("heard") if row["label"] == label)
        so_far = sum(row["seconds"] for row in played)
        return min(seconds, max(0.0, open_seconds - so_far))

    def rate(self, label: str, score: float, question: str | None = None) -> None:
        """Rate a stimulus; the rating may be changed until the page is finished.

        Args:
            label: of the stimulus.
            score: 0 … 100 in mushra; 1, 2 … 5 in acr.
            question: name of the question; None if the page has only one.

        Raises:
            InputError: a wrong argument, or a sound that was not played long enough.
        """
        page = self._scored_page("rate", self.design.test not in CHOICES)
        check_name("label", label, page.labels)
        if question is None and len(page.questions) == 1:
            question = page.questions[0]
        check_name("question", str(question), page.questions)
        check_range("score", score, *self.design.rating_range)
        if self.design.test == "acr" and score != int(score):
            raise InputError(f"score must be 1, 2, 3, 4 or 5, got {score}.")
        self._require_heard(label)
        stimulus = page.stimuli[page.labels.index(label)]
        self._store.rate(self._place, str(question), label, stimulus, float(score))
        self._spend()

    def choose(self, label: str) -> None:
        """Choose "A" or "B"; raise InputError if a sound was not played long enough.

        The choice may be changed until the page is finished.
        """
        page = self._scored_page("choose", self.design.test in CHOICES)
        check_name("label", label, page.labels)
        self._require_heard(*self.sounds)
        chosen, (question,) = page.stimuli[page.labels.index(label)], page.questions
        correct = page.x in ("", chosen)
        self._store.rate(self._place, question, "", chosen, float(correct))
        self._spend()

    def answer(self, answers: Mapping[str, str]) -> None:
        """Answer the questionnaire, or "consent" with "yes" or "no"."""
        forms = {
            "consent": {"consent": ("yes", "no")},
            "questionnaire": self.design.questionnaire,
        }
        asked = forms.get(self.page.kind, {}) if self.page else {}
        given = {}
        for name, answer in answers.items():
            check_name("question", name, asked)
            given[name] = checked_text(f"the answer to {name!r}", answer)
            if asked[name]:
                check_name(f"answer to {name!r}:", answer, asked[name])
            elif not answer.strip():
                raise InputError(f"the answer to {name!r} is empty.")
        self._store.answer(self.listener, given)
        self._spend()

    def comment(self, text: str) -> None:
        """Save a remark on this page; it replaces an earlier one."""
        if self.page is not None:
            self._spend(comment=checked_text("the remark", text))

    def finish(self) -> None:
        """Go to the next page; raise InputError if something is missing."""
        if self.page is None:
            raise InputError("The test is over.")
        if missing := self.missing:
            raise InputError(f"This page is not finished: {' '.join(missing)}")
        self._spend(finished=True)
        self._arrive()

    @property
    def _place(self) -> tuple[str, int]:
        return self.listener, self._number

    def _arrive(self) -> None:
        """Find the first page that is not finished."""
        rows = self._store.rows("pages", self.listener)
        done = {row["page"] for row in rows if row["finished"]}
        self._number = next(i for i in range(len(self._pages) + 1) if i not in done)

    def _here(self, table: str) -> list[dict[str, Any]]:
        rows = self._store.rows(table, self.listener)
        return [row for row in rows if row["page"] == self._number]

    def _spend(self, *, comment: str | None = None, finished: bool = False) -> None:
        """Save the time since the last action; a long break counts as 0."""
        now = self._clock()
        away = now - self._acted
        seconds = away if 0 <= away <= LONGEST_AWAY else 0.0
        self._store.spend(
            self._place, seconds, comment=comment, finished=finished, at=now
        )
        self._acted = now
        if finished:
            self._arrived = now

    def _require_heard(self, *labels: str) -> None:
        """Raise InputError for sounds that were not played long enough."""
        unheard = [label for label in self.unheard if label in labels]
        if unheard:
            seconds = f"{self.design.least_heard_seconds:g} s"
            raise InputError(f"Listen to {', '.join(unheard)} for at least {seconds}.")

    def _scored_page(self, action: str, fits: bool = True) -> Page:
        """The current page; raise InputError if the action does not fit it."""
        page = self.page
        if page is None:
            raise InputError(f"You cannot {action} now: the test is over.")
        if page.kind not in SCORED or not fits:
            kind = f"a {page.kind} page of {self.design.test}"
            raise InputError(f"You cannot {action} here: this is {kind}.")
        return page


def checked_text(name: str, text: object) -> str:
    """A text as the results can store it; raise InputError for a long text or none.

    A browser can send half of a character, which has no UTF-8: it becomes "?".
    """
    if not isinstance(text, str):
        raise InputError(f"{name} must be a text, got {shown(text)}.")
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"{name} has {len(text)} characters, and {LONGEST_TEXT} are allowed. "
            "Shorten it."
        )
    return text.encode(errors="replace").decode()
