"""A panel of simulated listeners, whose true opinion is known: for notebooks and tests.

    rating = quality of the system          what all would agree on
           + listener                       one is strict, one is kind
           + trial                          one excerpt is harder than another
           + listener × system              one likes what another does not
           + noise                          nobody says the same twice

That fourth part makes ten ratings of one person less than ten opinions, and tests on
raw rows wrong. With the spreads below and no true difference, at p < 0.05 an analysis
of variance on raw rows of 12 listeners × 10 trials × 4 systems finds one in 17 % of the
panels, Friedman's test on raw rows in 45 %, and on listener means in 4 %.

    draw_ratings   numbers at once, for simulations of thousands of panels
    sit_through    takes a real session as a listener would, page by page

Notebook: 14.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mssedu.errors import InputError, check_range, message
from mssedu.listening.results.choices import abx_share_correct
from mssedu.listening.test.design import CHOICES, REFERENCE
from mssedu.listening.test.schedule import Page
from mssedu.listening.test.session import Session

SECONDS = 3.0  # that a simulated listener hears of each sound
Quality = Mapping[str, float]  # stimulus -> 0 … 100


@dataclass(frozen=True)
class Panel:
    """How unlike one another ratings are: standard deviations, in points of 0 … 100.

    Raises:
        InputError: a negative one.
    """

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
        n_listeners, n_trials: how many.
        panel: spreads and seed.

    Raises:
        InputError: no stimuli, listeners or trials.

    Example:
        >>> draw_ratings({"a": 40.0, "b": 60.0}, 12, 10).shape
        (12, 10, 2)
    """
    panel = panel or Panel()
    shape = (n_listeners, n_trials, len(quality))
    if min(shape) < 1:
        remedy = "Give at least one of each."
        wanted = "listeners, trials and stimuli"
        raise InputError(message("draw_ratings", wanted, shape, remedy))
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
    quality: Quality | Mapping[str, Quality],
    panel: Panel | None = None,
    *,
    n_pages: int | None = None,
) -> None:
    """Take a test to its end, as a listener of the panel would.

    Listeners of one number and panel always answer alike. In mushra they recognize the
    hidden reference, as the open one is beside it: it gets its quality exactly. In abx
    and 2afc, two sounds are as far apart (d′) as their qualities in units of noise.

    Args:
        session: of a new listener, or where one has stopped.
        quality: true quality of each stimulus, or question -> stimulus -> quality.
        panel: spreads and seed.
        n_pages: stop after so many; to the end if None.

    Raises:
        InputError: a stimulus whose quality is not given.
    """
    panel = panel or Panel()
    done = 0
    while (page := session.page) is not None and done != n_pages:
        if page.kind == "consent":
            session.answer({"consent": "yes"})
        elif page.kind == "questionnaire":
            asked = session.design.questionnaire
            session.answer({name: (*c, "simulated")[0] for name, c in asked.items()})
        else:
            for label in session.sounds:
                session.heard(label, max(SECONDS, session.design.least_heard_seconds))
            answer = _choose if session.design.test in CHOICES else _rate
            answer(session, page, quality, panel)
        session.finish()
        done += 1


def _rate(
    session: Session,
    page: Page,
    quality: Quality | Mapping[str, Quality],
    panel: Panel,
) -> None:
    for question in page.questions:
        for label, stimulus in zip(session.labels, page.stimuli, strict=True):
            score = _opinion(session, page, question, stimulus, quality, panel)
            if session.design.test == "acr":
                score = 1 + round(score / 25)
            session.rate(label, score, question)


def _choose(
    session: Session,
    page: Page,
    quality: Quality | Mapping[str, Quality],
    panel: Panel,
) -> None:
    """What is nearer to X, or what is better; with the right chance."""
    (question,) = page.questions
    a, b = (_quality(quality, question, stimulus) for stimulus in page.stimuli)
    spread = panel.noise or 1e-9
    if page.x:
        chance, target = abx_share_correct(abs(a - b) / spread), page.x
    else:
        chance = 0.5 * math.erfc((b - a) / (2 * spread))
        target = page.stimuli[0]
    hit = _generator(panel, session.number, session.progress[0]).random() < chance
    place = page.stimuli.index(target)
    session.choose(session.labels[place if hit else 1 - place])


def _opinion(
    session: Session,
    page: Page,
    question: str,
    stimulus: str,
    quality: Quality | Mapping[str, Quality],
    panel: Panel,
) -> float:
    """The model at the top of this file; each part has its own random numbers."""

    def part(spread: float, *names: object) -> float:
        return spread * float(_generator(panel, *names).normal())

    listener, number = session.number, session.progress[0]
    true = _quality(quality, question, stimulus)
    if session.design.test == "mushra" and stimulus == REFERENCE:
        return true
    score = (
        true
        + part(panel.listener, listener)
        + part(panel.trial, page.trial)
        + part(panel.listener_by_system, listener, question, stimulus)
        + part(panel.noise, listener, number, question, stimulus)
    )
    return min(100.0, max(0.0, score))


def _quality(
    quality: Quality | Mapping[str, Quality], question: str, stimulus: str
) -> float:
    own = quality.get(question)
    value = (own if isinstance(own, Mapping) else quality).get(stimulus)
    if not isinstance(value, int | float):
        remedy = "Name all stimuli of design.stimuli."
        wanted = f"the quality of {stimulus!r} for {question!r}"
        raise InputError(message("sit_through", wanted, dict(quality), remedy))
    return float(value)


def _generator(panel: Panel, *names: object) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed and the names."""
    return np.random.default_rng([panel.seed, zlib.crc32(repr(names).encode())])
