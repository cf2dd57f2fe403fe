"""Statistics of ratings: whose ratings count, means with intervals, and tests.

    ratings ──screen────────▶ the listeners who can do the task (mushra)
            ──listener_means─▶ (listeners, stimuli) ─┬─ summarize ▶ means, intervals
                                                     ├─ friedman  ▶ any difference?
                                                     └─ compare   ▶ between which two?

The unit of analysis is the listener. Two ratings of one person are not independent: a
test on all rows finds differences that do not exist (notebook 14 counts how often).
Ratings are neither normal nor equally spread, so the tests use ranks. Before the test
starts, `power_table` shows which differences a panel of some size can find.

Post-screening excludes a listener with all ratings, by the two rules of the standard:

    hidden reference rated below 90 in more than 15 % of the items
    mid anchor rated above 90       in more than 15 % of the items

Where more than a quarter of all listeners rate the mid anchor above 90, the item does
not count for the second rule: a bass, for example, has no energy above 7 kHz, so that
its anchor sounds like the reference.

Sources: Mendonça and Delikaris-Manias 2018, "Statistical tests with MUSHRA data";
Friedman 1937; Wilcoxon 1945; Holm 1979; ITU-R BS.1534-3, §4.1.2, as quoted in public
analysis code. Notebook: 14.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from mssedu.audio.words import counted
from mssedu.errors import InputError, check_name, check_range
from mssedu.evaluation.statistics import (
    PairedTest,
    bootstrap_interval,
    holm,
    mean_interval,
    paired_test,
    smallest_p,
)
from mssedu.listening.test.design import REFERENCE

SIGNIFICANT = 0.05
GOOD = 90.0  # a reference should get at least this rating, and an anchor at most
MOST_MISSES = 0.15  # share of the items that a listener may miss
FAULTY_ITEM = 0.25  # share of the listeners who may rate the mid anchor above GOOD
Interval = tuple[float, float]


@dataclass(frozen=True)
class Screening:
    """Which listeners count."""

    included: tuple[str, ...]
    excluded: dict[str, str]  # listener -> reason
    faulty_items: tuple[str, ...]  # items whose mid anchor sounds like the reference

    def apply(self, ratings: DataFrame) -> DataFrame:
        """The ratings of the listeners who count."""
        return ratings[ratings.listener.isin(self.included)]


@dataclass(frozen=True)
class Rated:
    """The ratings of one stimulus, one value per listener."""

    stimulus: str
    n: int  # listeners
    mean: float
    t_interval: Interval | None  # 95 %; None for fewer than two listeners
    bootstrap: Interval | None  # 95 %; None for fewer than three listeners
    median: float
    quartiles: Interval


@dataclass(frozen=True)
class Friedman:
    """Result of a test whether any of several stimuli is rated unlike the others."""

    statistic: float
    p: float
    n: int  # listeners
    n_stimuli: int


@dataclass(frozen=True)
class Compared:
    """Result of a test between two stimuli; differences are second - first."""

    first: str
    second: str
    test: PairedTest
    p_holm: float  # corrected for the number of pairs


@dataclass(frozen=True)
class Power:
    """What a panel of some size can show about each pair of several systems."""

    n: int  # listeners
    smallest_p: float  # after Holm's correction, if all listeners agree
    chance: float  # probability of finding a true difference of the given size


# ---- whose ratings count ------------------------------------------------------------


def screen(ratings: DataFrame, mid_anchor: str = "anchor70") -> Screening:
    """Apply both rules; a rule is skipped if the test does not have its stimulus.

    An item is a trial with a question; each replicate counts as one more item. Choose
    the rules before the results are known, and report which listeners they exclude.
    `ratings` are as `export.ratings_frame` returns them; without any, the function
    raises InputError.
    """
    check_not_empty(ratings)
    reference = ratings[ratings.stimulus == REFERENCE]
    anchor = ratings[ratings.stimulus == mid_anchor]
    reference = reference.assign(missed=reference.score < GOOD)
    anchor = anchor.assign(missed=anchor.score > GOOD)
    share = anchor.groupby(["trial", "question"]).missed.transform("mean")
    faulty = anchor[share > FAULTY_ITEM]
    items = sorted({*zip(faulty.trial, faulty.question, strict=True)})
    rules = {
        "hidden reference below 90": reference,
        f"{mid_anchor} above 90": anchor[share <= FAULTY_ITEM],
    }
    reasons: dict[str, list[str]] = {}
    for rule, rows in rules.items():
        shares = rows.groupby("listener").missed.mean()
        for listener, missed in shares[shares > MOST_MISSES].items():
            text = f"{rule} in {missed:.0%} of the items"
            reasons.setdefault(listener, []).append(text)
    listeners = ratings.listener.unique()
    return Screening(
        included=tuple(name for name in listeners if name not in reasons),
        excluded={
            name: ", ".join(reasons[name]) for name in listeners if name in reasons
        },
        faulty_items=tuple(f"{trial} ({question})" for trial, question in items),
    )


def check_not_empty(ratings: DataFrame) -> None:
    """Raise InputError if there is no rating."""
    if not len(ratings):
        raise InputError("there are no ratings. Wait until a listener finishes a page.")


# ---- means and tests ----------------------------------------------------------------


def listener_means(ratings: DataFrame, question: str | None = None) -> DataFrame:
    """Mean rating of each listener for each stimulus, without replicates.

    Args:
        ratings: as `export.ratings_frame` returns them.
        question: of the test; may be omitted if there is only one.

    Returns:
        listeners × stimuli, without the listeners who have not rated every stimulus.

    Raises:
        InputError: an unknown question, or several questions and none is chosen.
    """
    rows = of_question(ratings, question)
    rows = rows[~rows.replicate.astype(bool)]
    means = rows.groupby(["listener", "stimulus"], sort=False).score.mean().unstack()
    return means[rows.stimulus.unique()].dropna()


def of_question(ratings: DataFrame, question: str | None = None) -> DataFrame:
    """The ratings of one question; the name may be omitted if there is only one.

    Raises InputError for an unknown name, or for several questions without a name.
    """
    questions = list(ratings.question.unique())
    if question is None:
        if len(questions) == 1:
            return ratings
        names = ", ".join(questions) or "none"
        raise InputError(f"question is not given. Choose one of: {names}.")
    check_name("question", question, questions)
    return ratings[ratings.question == question]


def summarize(means: DataFrame, seed: int = 0) -> list[Rated]:
    """Mean, intervals, median and quartiles of every stimulus.

    `means` is as `listener_means` returns it, and `seed` is of the bootstrap, which
    resamples listeners. No listeners raise InputError.
    """
    check_range("number of listeners in means", len(means), 1)
    summaries = []
    for stimulus in means.columns:
        scores = means[stimulus].astype(float).tolist()
        n, mean, t_interval = len(scores), float(np.mean(scores)), None
        if n > 1:
            center, half_width = mean_interval(scores)
            t_interval = (center - half_width, center + half_width)
        bootstrap = bootstrap_interval(scores, seed=seed)
        low, median, high = np.percentile(scores, [25, 50, 75]).tolist()
        ends = (low, high)
        rated = Rated(stimulus, n, mean, t_interval, bootstrap, median, ends)
        summaries.append(rated)
    return summaries


def friedman(means: DataFrame) -> Friedman:
    """Test whether any stimulus is rated unlike the others, by ranks within listeners.

    Args:
        means: as `listener_means` returns them, without the anchors: these differ from
            the systems by design.

    Raises:
        InputError: fewer than three stimuli or two listeners.
    """
    from scipy import stats

    check_range("number of stimuli in means", means.shape[1], 3)
    check_range("number of listeners in means", len(means), 2)
    columns = [means[stimulus] for stimulus in means.columns]
    if all((column == columns[0]).all() for column in columns):
        return Friedman(0.0, 1.0, *means.shape)  # the ranks have no variance
    result = stats.friedmanchisquare(*columns)
    return Friedman(float(result.statistic), float(result.pvalue), *means.shape)


def compare(means: DataFrame, seed: int = 0) -> list[Compared]:
    """Test all pairs of stimuli: Wilcoxon's signed-rank test, Holm's correction.

    `means` is as `listener_means` returns it, and `seed` is of the bootstrap intervals.
    Fewer than two stimuli, or no listeners, raise InputError.
    """
    check_range("number of stimuli in means", means.shape[1], 2)
    pairs = list(itertools.combinations(means.columns, 2))
    tests = [paired_test(list(means[a]), list(means[b]), seed=seed) for a, b in pairs]
    corrected = holm([test.p for test in tests])
    rows = zip(pairs, tests, corrected, strict=True)
    return [Compared(a, b, test, p) for (a, b), test, p in rows]


# ---- before the test starts ---------------------------------------------------------


def power_table(
    n_systems: int,
    listeners: Sequence[int] = (4, 5, 6, 8, 10, 12, 16, 20, 24),
    *,
    d_z: float = 0.8,
    n_runs: int = 1000,
    seed: int = 0,
) -> list[Power]:
    """What panels of several sizes can show.

    The chance is the share of simulated panels in which a pair that truly differs
    passes the strictest step of Holm's method.

    Args:
        n_systems: number of systems, at least two, each compared with each.
        listeners: sizes of the panel.
        d_z: true mean difference over its standard deviation between listeners; 0.2 is
            called small, 0.5 medium, 0.8 large.
        n_runs: simulated panels per size.
        seed: of these panels.

    Example:
        >>> [panel.smallest_p for panel in power_table(2, (5, 6), n_runs=1)]
        [0.0625, 0.03125]
    """
    from scipy import stats

    draw = np.random.default_rng(seed)
    table = []
    for n in listeners:
        lowest, chance = _lowest_p(n, n_systems), 0.0
        if lowest < SIGNIFICANT:
            differences = draw.normal(d_z, 1.0, (n_runs, n))
            p = stats.wilcoxon(differences, axis=1).pvalue
            chance = float((math.comb(n_systems, 2) * p < SIGNIFICANT).mean())
        table.append(Power(n, lowest, chance))
    return table


def power_note(n_listeners: int, n_systems: int) -> str:
    """A sentence on what a panel of this size can show about at least two systems.

    Example:
        >>> print(power_note(5, 2))
        With 5 listeners no difference can be significant: p cannot fall below 0.062. At
        least 6 listeners are needed.
    """
    panel = f"With {counted(n_listeners, 'listener')}"
    lowest = _lowest_p(n_listeners, n_systems)
    if lowest < SIGNIFICANT:
        return f"{panel} p can fall to {lowest:.2g}, if they all agree."
    needed = n_listeners
    while _lowest_p(needed, n_systems) >= SIGNIFICANT:
        needed += 1
    return (
        f"{panel} no difference can be significant: p cannot fall below {lowest:.2g}. "
        f"At least {needed} listeners are needed."
    )


def _lowest_p(n_listeners: int, n_systems: int) -> float:
    """The lowest p that a pair can have after Holm's correction for all pairs."""
    check_range("n_systems", n_systems, 2)
    return min(1.0, math.comb(n_systems, 2) * smallest_p(n_listeners))
