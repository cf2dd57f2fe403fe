"""A panel of simulated listeners whose true opinion is known, for notebooks and tests.

    rating = quality of the system          the mean opinion of all listeners
           + listener                       some listeners give higher ratings
           + trial                          some excerpts are harder to separate
           + listener × system              listeners prefer different systems
           + noise                          a second rating differs from the first

Because of the fourth part, ten ratings of one person are not ten independent opinions,
and tests on raw rows are wrong. With the spreads below, four equal systems and p < 0.05
for 12 listeners × 10 trials, an analysis of variance on raw rows finds a difference in
17 % of the panels, Friedman's test on raw rows in 45 %, and on listener means in 4 %.

    draw_ratings   only numbers, for simulations of thousands of panels
    sit_through    takes a real session as a listener would, page by page

Notebook: 14.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mssedu.errors import InputError, check_range
from mssedu.listening.results.choices import abx_share_correct
from mssedu.listening.test.design import CHOICES, REFERENCE
from mssedu.listening.test.schedule import Page
from mssedu.listening.test.session import Session

SECONDS = 3.0  # how long a simulated listener plays each sound
Quality = Mapping[str, float]  # stimulus -> 0 … 100
Qualities = Quality | Mapping[str, Quality]  # of all questions, or of each


@dataclass(frozen=True)
class Panel:
    """How much ratings vary: standard deviations ≥ 0, in points of 0 … 100."""

    listener: float = 8.0
    trial: float = 8.0
    listener_by_system: float = 5.0
    noise: float = 8.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("listener", "trial", "listener_by_system", "noise"):
            check_range(name, getattr(self, name), 0)


def draw_ratings(
    quality: Quality, n_listeners: int, n_trials: int, panel: Panel | None = None
) -> np.ndarray:
    """Ratings of a panel, (listeners, trials, stimuli), clipped to 0 … 100.

    Args:
        quality: true quality of each stimulus.
        n_listeners, n_trials: size of the panel and of the test.
        panel: standard deviations and seed.

    Raises:
        InputError: no stimuli, listeners or trials.

    Example:
        >>> draw_ratings({"a": 40.0, "b": 60.0}, 12, 10).shape
        (12, 10, 2)
    """
    panel = panel or Panel()
    shape = (n_listeners, n_trials, len(quality))
    if min(shape) < 1:
        raise InputError(
            f"n_listeners, n_trials and len(quality) must be positive, got {shape}."
        )
    draw = np.random.default_rng(panel.seed)
    n, t, s = shape
    ratings = (
        np.array(list(quality.values()))
        + panel.listener * draw.normal(size=(n, 1, 1))
        + panel.trial * draw.normal(size=(1, t, 1))
        + panel.listener_by_system * draw.normal(size=(n, 1, s))
        + panel.noise * draw.normal(size=shape)
    )
    return ratings.clip(0, 100)


def sit_through(
    session: Session,
    quality: Qualities,
    panel: Panel | None = None,
    *,
    n_pages: int | None = None,
) -> None:
    """Take a test to its end, as a listener of the panel would.

    The answers depend only on the panel and the number of the listener. In mushra the
    listeners recognize the hidden reference, because the open reference is beside it:
    its rating is exactly its quality. In abx and 2afc, d′ is the difference of the two
    qualities in units of the noise.

    Args:
        session: of a new listener, or of one who has stopped before the end.
        quality: stimulus -> quality 0 … 100, or question -> stimulus -> quality. A
            stimulus without a quality raises InputError.
        panel: standard deviations and seed.
        n_pages: number of pages after which to stop (None: at the end of the test).
    """
    panel = panel or Panel()
    done = 0
    while (page := session.page) and done != n_pages:
        if page.kind == "consent":
            session.answer({"consent": "yes"})
        elif page.kind == "questionnaire":
            forms = session.design.questionnaire  # the first answer, or free text
            session.answer({name: (*a, "simulated")[0] for name, a in forms.items()})
        else:
            for label in session.sounds:
                session.heard(label, max(SECONDS, session.design.least_heard_seconds))
            answer = _choose if session.design.test in CHOICES else _rate
            answer(session, page, quality, panel)
        session.finish()
        done += 1


def _rate(session: Session, page: Page, quality: Qualities, panel: Panel) -> None:
    """Rate by the model in the head of this file, clipped to the scale."""

    def part(spread: float, *names: object) -> float:
        return spread * float(_generator(panel, *names).normal())

    listener, number = session.number, session.progress[0]
    test = session.design.test
    for question in page.questions:
        for label, stimulus in zip(session.labels, page.stimuli, strict=True):
            score = _quality(quality, question, stimulus)
            if test != "mushra" or stimulus != REFERENCE:
                score += part(panel.listener, listener)
                score += part(panel.trial, page.trial)
                score += part(panel.listener_by_system, listener, question, stimulus)
                score += part(panel.noise, listener, number, question, stimulus)
                score = min(100.0, max(0.0, score))
            if test == "acr":
                score = 1 + round(score / 25)
            session.rate(label, score, question)


def _choose(session: Session, page: Page, quality: Qualities, panel: Panel) -> None:
    """Choose the sound nearer to X (abx) or the better one, with its probability."""
    (question,) = page.questions
    a, b = (_quality(quality, question, stimulus) for stimulus in page.stimuli)
    spread = panel.noise or 1e-9
    if page.x:
        chance, target = abx_share_correct(abs(a - b) / spread), page.x
    else:
        chance, target = 0.5 * math.erfc((b - a) / (2 * spread)), page.stimuli[0]
    draw = _generator(panel, session.number, session.progress[0])
    place = page.stimuli.index(target)
    session.choose(session.labels[place if draw.random() < chance else 1 - place])


def _quality(quality: Qualities, question: str, stimulus: str) -> float:
    own = quality.get(question)
    value = (own if isinstance(own, Mapping) else quality).get(stimulus)
    if not isinstance(value, int | float):
        raise InputError(f"quality has no number of {stimulus!r} for {question!r}.")
    return float(value)


def _generator(panel: Panel, *names: object) -> np.random.Generator:
    """Random numbers that depend only on the seed and the names."""
    return np.random.default_rng([panel.seed, zlib.crc32(repr(names).encode())])
