"""One listener on the way through a test: what is shown, said and kept.

    session.page ─▶ labels, questions        what a page shows; never a system's name
       heard · rate · choose · answer ─▶ store, at once
       missing ─▶ what is still to be done   ([] : `finish` leads to the next page)

Every rule of a test is here and none in the page that the browser shows. A session
keeps nothing of its own: made again from the same store and listener, after a reload,
a crash or a week, it is where it was. Notebook: 13.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.schedule import SCORED, Page
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore

LONGEST_AWAY = 600.0  # seconds between two actions that still count as work


class Session:
    """The test as one listener takes it.

    Attributes:
        listener: anonymous id; give it to a new session to go on.
        number: of the listener, from 0 in the order of arrival.
        design: the test.

    Example:
        >>> from mssedu.listening.test.design import Design, Trial
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"})
        >>> test = Design("?", "2afc", (trial,), reference=False)
        >>> session = Session(ResultStore(":memory:", test))
        >>> session.labels
        ('A', 'B')
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin a test, or go on with it.

        Args:
            store: where the answers go.
            listener: id of an earlier session; None: a new listener.
            clock: gives seconds.

        Raises:
            InputError: an unknown listener.
        """
        self._store, self._clock = store, clock
        self.design = store.design
        self.listener = store.add_listener() if listener is None else listener
        self.number = store.number(self.listener)
        self._pages = store.pages(self.listener)
        self._since = clock()
        self._arrive()

    # ---- what is shown --------------------------------------------------------------

    @property
    def page(self) -> Page | None:
        """The page to be shown; None at the end, or if consent was refused."""
        ended = self.refused or self._number == len(self._pages)
        return None if ended else self._pages[self._number]

    @property
    def progress(self) -> tuple[int, int]:
        """Pages that are finished, and all."""
        return self._number, len(self._pages)

    @property
    def refused(self) -> bool:
        """Whether the listener did not consent."""
        return self.answers.get("consent") == "no"

    @property
    def labels(self) -> tuple[str, ...]:
        """What the stimuli of the page are called, in their order."""
        return self.page.labels if self.page else ()

    @property
    def sounds(self) -> dict[str, str]:
        """All that can be played: label -> stimulus. Not for the listener's eyes."""
        return self.page.sounds(self.design) if self.page else {}

    def load_sounds(self) -> tuple[dict[str, Tensor], int]:
        """The sounds of this page: label -> (channels, samples), and the rate in Hz.

        What was done to their levels is logged in the store.

        Raises:
            InputError: a page without sounds, or as `load_stimuli`.
            AudioFileError: a file that cannot be read.
        """
        page = self._scored_page("listen", True)
        found = load_stimuli(self.design, page.trial)
        self._store.log_gains(page.trial, found.log())
        sounds = {label: found.sounds[name] for label, name in self.sounds.items()}
        return sounds, found.sample_rate

    @property
    def answers(self) -> dict[str, str]:
        """Consent and questionnaire: name -> answer."""
        rows = self._store.rows("answers", self.listener)
        return {row["name"]: row["answer"] for row in rows}

    @property
    def scores(self) -> dict[tuple[str, str], float]:
        """The ratings of this page so far: (question, label) -> score; no choices."""
        rows = [] if self.design.test in CHOICES else self._here("ratings")
        return {(row["question"], row["label"]): row["score"] for row in rows}

    @property
    def choice(self) -> str | None:
        """The label that was chosen on this page, if any."""
        page, rows = self.page, self._here("ratings")
        if page is None or self.design.test not in CHOICES or not rows:
            return None
        return self.labels[page.stimuli.index(rows[0]["stimulus"])]

    @property
    def missing(self) -> list[str]:
        """What is still to be done on this page, a sentence each."""
        page = self.page
        if page is None:
            return []
        if page.kind == "consent":
            return [] if "consent" in self.answers else ["Agree or decline."]
        if page.kind == "questionnaire":
            asked = self.design.questionnaire
            return [f"Answer {name!r}." for name in asked if name not in self.answers]
        listen = [f"Listen to {label}." for label in self.unheard]
        if self.design.test in CHOICES:
            return listen or ([] if self.choice else ["Choose one."])
        rated = self.scores
        unrated = [
            f"Rate {label}" + (f" ({question})." if len(page.questions) > 1 else ".")
            for label in self.labels
            for question in page.questions
            if (question, label) not in rated
        ]
        return [*listen, *unrated]

    @property
    def unheard(self) -> list[str]:
        """Labels of what was not played long enough to be rated."""
        seconds = {row["label"]: row["seconds"] for row in self._here("heard")}
        least = self.design.least_heard_seconds
        return [label for label in self.sounds if seconds.get(label, 0.0) < least]

    # ---- what the listener does -----------------------------------------------------

    def heard(self, label: str, seconds: float, *, begun: bool = True) -> None:
        """Note that a sound was played.

        Args:
            label: a key of `sounds`.
            seconds: how long.
            begun: whether it was begun anew, or has gone on since the last note.

        Raises:
            InputError: no such sound here, or no length of time.
        """
        check_name("sound", label, self.sounds, where=self._where)
        check_range("seconds", seconds, 0, math.inf, high_open=True, where=self._where)
        self._store.heard(self._place, label, seconds, begun=begun)
        self._spend()

    def rate(self, label: str, score: float, question: str | None = None) -> None:
        """Rate a stimulus; it may be changed until the page is finished.

        Args:
            label: of the stimulus.
            score: 0 … 100 in mushra; 1, 2 … 5 in acr.
            question: its name; not needed if the page has only one.

        Raises:
            InputError: another page, label, question or score, or a sound that was not
                listened to.
        """
        page = self._scored_page("rate", self.design.test not in CHOICES)
        check_name("label", label, self.labels, where=self._where)
        if question is None and len(page.questions) == 1:
            question = page.questions[0]
        check_name("question", str(question), page.questions, where=self._where)
        low, high = self.design.rating_range
        check_range("score", score, low, high, where=self._where)
        if self.design.test == "acr" and score != int(score):
            remedy = "Choose one of them."
            raise InputError(message(self._where, "1, 2, 3, 4 or 5", score, remedy))
        self._require_heard(label)
        stimulus = page.stimuli[self.labels.index(label)]
        self._store.rate(self._place, str(question), label, stimulus, float(score))
        self._spend()

    def choose(self, label: str) -> None:
        """Choose one of two; it may be changed until the page is finished.

        Args:
            label: "A" or "B".

        Raises:
            InputError: another page or label, or a sound that was not listened to.
        """
        page = self._scored_page("choose", self.design.test in CHOICES)
        check_name("label", label, self.labels, where=self._where)
        self._require_heard(*self.sounds)
        chosen = page.stimuli[self.labels.index(label)]
        correct = page.x in ("", chosen)
        (question,) = page.questions
        self._store.rate(self._place, question, "", chosen, float(correct))
        self._spend()

    def answer(self, answers: Mapping[str, str]) -> None:
        """Answer the questionnaire, or "consent" with "yes" or "no".

        Raises:
            InputError: another page, an unknown question, an empty answer, or one that
                is not among the choices.
        """
        page = self.page
        asked: Mapping[str, tuple[str, ...]] = {}
        if page is not None and page.kind == "consent":
            asked = {"consent": ("yes", "no")}
        elif page is not None and page.kind == "questionnaire":
            asked = self.design.questionnaire
        for name, answer in answers.items():
            check_name("question", name, asked, where=self._where)
            if asked[name]:
                check_name(
                    f"value for {name!r}", answer, asked[name], where=self._where
                )
            elif not answer.strip():
                remedy = "Write a word, such as none."
                wanted = f"an answer to {name!r}"
                raise InputError(message(self._where, wanted, repr(answer), remedy))
        self._store.answer(self.listener, answers)
        self._spend()

    def comment(self, text: str) -> None:
        """Keep a remark on this page, in the place of an earlier one."""
        if self.page is not None:
            self._spend(comment=text)

    def finish(self) -> None:
        """Leave the page for the next one; there is no way back.

        Raises:
            InputError: something is missing, or the test is over.
        """
        missing = self.missing if self.page else ["The test is over."]
        if missing:
            remedy = "Do that first."
            wanted = "a page on which all is done"
            raise InputError(message(self._where, wanted, " ".join(missing), remedy))
        self._spend(finished=True)
        self._arrive()

    # ---- within ---------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"page {self._number + 1} of {len(self._pages)}"

    @property
    def _place(self) -> tuple[str, int]:
        return self.listener, self._number

    def _arrive(self) -> None:
        """Find the first page that is not finished."""
        rows = self._store.rows("pages", self.listener)
        done = {row["page"] for row in rows if row["finished"]}
        n = len(self._pages)
        self._number = next((i for i in range(n) if i not in done), n)

    def _here(self, table: str) -> list[dict[str, Any]]:
        rows = self._store.rows(table, self.listener)
        return [row for row in rows if row["page"] == self._number]

    def _spend(self, *, comment: str | None = None, finished: bool = False) -> None:
        """Note the time since the last action; a long break is none of it."""
        now = self._clock()
        seconds, self._since = now - self._since, now
        seconds = seconds if seconds <= LONGEST_AWAY else 0.0
        self._store.spend(self._place, seconds, comment=comment, finished=finished)

    def _require_heard(self, *labels: str) -> None:
        """Raise InputError for what was not listened to."""
        unheard = [label for label in self.unheard if label in labels]
        if unheard:
            got = f"{self.design.least_heard_seconds:g} s not played"
            remedy = f"Listen to {', '.join(unheard)}."
            wanted = "a sound that was heard"
            raise InputError(message(self._where, wanted, got, remedy))

    def _scored_page(self, what: str, fits: bool) -> Page:
        page = self.page
        if page is None or page.kind not in SCORED or not fits:
            kind = page.kind if page else "end of the test"
            wanted = f"a page on which to {what}"
            remedy = "Look at session.page.kind and design.test."
            got = f"{kind} of {self.design.test}"
            raise InputError(message(self._where, wanted, got, remedy))
        return page
