"""Which pages one listener sees, and in which order.

    consent ▸ questionnaire ▸ training ▸ trials in random order, with their replicates

The order depends on the seed of the test and the number of the listener only: the same
two numbers give the same pages, and each listener has another order. If each listener
rates a subset of the trials, those that were used least come first, so that all are
used equally often. Notebook: 13.
"""

import itertools
import random
from collections import Counter
from dataclasses import dataclass, replace
from string import ascii_uppercase

from mssedu.listening.test.design import CHOICES, REFERENCE, Design, Trial

SCORED = ("training", "trial")  # kinds of pages on which sounds are judged
LABEL_X, LABEL_REFERENCE = "X", "Reference"
MOST_LISTENERS = 10_000  # of an offline page, or of results from elsewhere


@dataclass(frozen=True)
class Page:
    """One page of one listener."""

    kind: str  # "consent", "questionnaire", "training" or "trial"
    trial: str = ""
    questions: tuple[str, ...] = ()  # asked for each stimulus, or once for a choice
    stimuli: tuple[str, ...] = ()  # in the order on the page
    x: str = ""  # abx: the stimulus that X is
    replicate: bool = False  # a second rating of an earlier page, for consistency

    @property
    def labels(self) -> tuple[str, ...]:
        """The letters that stand for the stimuli, in their order."""
        return tuple(ascii_uppercase[: len(self.stimuli)])

    def sounds(self, design: Design) -> dict[str, str]:
        """All that can be played: label -> stimulus. Never show it to a listener."""
        sounds = dict(zip(self.labels, self.stimuli, strict=True))
        if self.x:
            sounds[LABEL_X] = self.x
        elif sounds and design.reference and design.test in ("mushra", "2afc"):
            sounds = {LABEL_REFERENCE: REFERENCE, **sounds}
        return sounds


def plan(design: Design, number: int) -> tuple[Page, ...]:
    """The pages of a listener, whose number is counted from 0.

    Example:
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"})
        >>> test = Design("?", "2afc", (trial,), reference=False, n_replicates=0)
        >>> [page.kind for page in plan(test, 0)]
        ['trial']
    """
    # A text as seed gives the same numbers on every machine.
    rng = random.Random(f"{design.seed} {number}")
    pages = [Page("consent")] if design.consent else []
    if design.questionnaire:
        pages.append(Page("questionnaire"))
    for name in design.training:
        pages += _pages(design, design.trial(name), "training", rng)
    chosen = [design.trial(name) for name in chosen_trials(design, number)]
    # All pages of one question come together, so that a listener attends to one thing.
    blocks: dict[tuple[str, ...], list[Page]] = {}
    for trial in chosen:
        for page in _pages(design, trial, "trial", rng):
            blocks.setdefault(page.questions, []).append(page)
    order = list(blocks.values())
    rng.shuffle(order)
    for block in order:
        rng.shuffle(block)
        # Choices have no replicates: n_repetitions repeats them.
        n_replicates = 0 if design.test in CHOICES else design.n_replicates
        pages += _with_replicates(block, n_replicates, rng)
    return tuple(pages)


def chosen_trials(design: Design, number: int) -> list[str]:
    """Names of the trials of a listener: all, or those that were used least so far.

    The number of the listener is counted from 0.
    """
    names = [trial.name for trial in design.counted]
    if design.trials_per_listener is None:
        return names
    count: Counter[str] = Counter()
    chosen: list[str] = []
    for listener in range(number + 1):
        random.Random(f"{design.seed} subset {listener}").shuffle(names)
        # sorted is stable, so the shuffled order decides between equal counts.
        chosen = sorted(names, key=count.__getitem__)[: design.trials_per_listener]
        count.update(chosen)
    return chosen


def pairs(design: Design) -> list[tuple[str, str]]:
    """What is compared in abx and 2afc: all pairs, or each system with the reference.

    Example:
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
        >>> pairs(Design("?", "abx", (trial,)))
        [('reference', 'a'), ('reference', 'b')]
    """
    if design.test == "abx" and design.reference:
        return [(REFERENCE, name) for name in design.conditions]
    return list(itertools.combinations(design.conditions, 2))


def _pages(design: Design, trial: Trial, kind: str, rng: random.Random) -> list[Page]:
    """All pages of a trial, each with its stimuli in a random order."""
    questions = tuple(design.questions)
    if design.test == "mushra":
        pages = [Page(kind, trial.name, (q,), design.stimuli) for q in questions]
        return [_shuffled(page, rng) for page in pages]
    if design.test == "acr":
        return [Page(kind, trial.name, questions, (s,)) for s in design.stimuli]
    pages = []
    for pair in pairs(design):
        # Both orders are equally frequent: always answering "A" is right half the time.
        turns = [number % 2 for number in range(design.n_repetitions)]
        rng.shuffle(turns)
        flip = rng.randrange(2)
        for turn in turns:
            way = pair if turn == flip else pair[::-1]
            page = Page(kind, trial.name, questions, way)
            if design.test == "abx":
                page = _shuffled(page, rng)
                page = replace(page, x=page.stimuli[turn ^ flip])
            pages.append(page)
    return pages


def _shuffled(page: Page, rng: random.Random) -> Page:
    stimuli = list(page.stimuli)
    rng.shuffle(stimuli)
    return replace(page, stimuli=tuple(stimuli))


def _with_replicates(block: list[Page], n: int, rng: random.Random) -> list[Page]:
    """The block, with n pages of its first half repeated in its second half."""
    half = (len(block) + 1) // 2
    first, second = block[:half], block[half:]
    for page in rng.sample(first, min(n, half)):
        place = rng.randint(min(1, len(second)), len(second))
        second.insert(place, replace(_shuffled(page, rng), replicate=True))
    return first + second
