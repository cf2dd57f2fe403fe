"""What the ratings of a panel say about systems: one number per listener, then tests.

    ratings ─▶ listener_means: (listeners, stimuli) ─┬─▶ summarize   means, intervals
                                                     ├─▶ friedman    any difference?
                                                     └─▶ compare     between which two?

The unit is the listener. Two ratings of one person are not two persons: a test on all
rows, of whatever kind, takes a taste for a fact (notebook 14 counts how often). Ratings
are neither normal nor equally spread, so ranks are tested. And before anyone listens:
`power_table` tells what so few listeners can show at all.

Sources: Mendonça and Delikaris-Manias 2018, "Statistical tests with MUSHRA data";
Friedman 1937; Wilcoxon 1945; Holm 1979. Notebook: 14.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.evaluation.statistics import (
    PairedTest,
    bootstrap_interval,
    holm,
    paired_test,
    smallest_p,
)

if TYPE_CHECKING:
    from pandas import DataFrame

SIGNIFICANT = 0.05
Interval = tuple[float, float]


@dataclass(frozen=True)
class Rated:
    """One stimulus, over all listeners."""

    stimulus: str
    n: int  # listeners
    mean: float
    t_interval: Interval | None  # 95 %; None for fewer than two listeners
    bootstrap: Interval | None  # 95 %; None for fewer than three
    median: float
    quartiles: Interval


@dataclass(frozen=True)
class Friedman:
    """Whether any of several stimuli is rated unlike the others."""

    statistic: float
    p: float
    n: int  # listeners
    n_stimuli: int


@dataclass(frozen=True)
class Compared:
    """Two stimuli; differences are second - first."""

    first: str
    second: str
    test: PairedTest
    p_holm: float  # of all pairs together


@dataclass(frozen=True)
class Power:
    """What a panel of some size can show, for each pair of several systems."""

    n: int  # listeners
    smallest_p: float  # after Holm, if all listeners agree
    chance: float  # of finding a true difference of the given size


def listener_means(ratings: "DataFrame", question: str | None = None) -> "DataFrame":
    """Mean rating of each listener for each stimulus; replicates left out.

    Args:
        ratings: as `export.ratings_frame` gives them.
        question: which; may be left out if there is only one.

    Returns:
        listeners × stimuli; listeners who have not rated all stimuli are left out.

    Raises:
        InputError: no such question, or more than one and none named.
    """
    rows = of_question(ratings, question)
    rows = rows[~rows.replicate.astype(bool)]
    means = rows.groupby(["listener", "stimulus"], sort=False).score.mean().unstack()
    return means[list(dict.fromkeys(rows.stimulus))].dropna()


def of_question(ratings: "DataFrame", question: str | None = None) -> "DataFrame":
    """The ratings of one question.

    Raises:
        InputError: no such question, or more than one and none named.
    """
    asked = list(dict.fromkeys(ratings.question))
    if question is None and len(asked) == 1:
        return ratings
    check_name("question", str(question), asked)
    return ratings[ratings.question == question]


def summarize(means: "DataFrame", seed: int = 0) -> list[Rated]:
    """Mean, intervals and quartiles of every stimulus.

    Args:
        means: of `listener_means`.
        seed: of the bootstrap, which draws listeners.

    Raises:
        InputError: no listeners.
    """
    from scipy import stats

    _require("summarize", "listeners", len(means), 1)
    found = []
    for stimulus in means.columns:
        scores = means[stimulus].to_numpy(float)
        n, mean, interval = len(scores), float(scores.mean()), None
        if n > 1:
            half = stats.t.ppf(0.975, n - 1) * scores.std(ddof=1) / np.sqrt(n)
            interval = (mean - float(half), mean + float(half))
        low, median, high = map(float, np.percentile(scores, [25, 50, 75]))
        drawn = bootstrap_interval(scores.tolist(), seed=seed)
        found.append(Rated(stimulus, n, mean, interval, drawn, median, (low, high)))
    return found


def friedman(means: "DataFrame") -> Friedman:
    """Is any stimulus rated unlike the others? Ranks within each listener.

    Args:
        means: of `listener_means`; leave out the anchors, which surely differ.

    Raises:
        InputError: fewer than three stimuli or two listeners.
    """
    from scipy import stats

    _require("friedman", "stimuli", means.shape[1], 3)
    _require("friedman", "listeners", len(means), 2)
    columns = [means[stimulus] for stimulus in means.columns]
    if all((column == columns[0]).all() for column in columns):
        return Friedman(0.0, 1.0, *means.shape)  # ranks would be divided by nothing
    found = stats.friedmanchisquare(*columns)
    return Friedman(float(found.statistic), float(found.pvalue), *means.shape)


def compare(means: "DataFrame", seed: int = 0) -> list[Compared]:
    """All pairs of stimuli: Wilcoxon signed-rank test over listeners, Holm over pairs.

    Args:
        means: of `listener_means`.
        seed: of the bootstrap intervals.

    Raises:
        InputError: fewer than two stimuli, or no listeners.
    """
    _require("compare", "stimuli", means.shape[1], 2)
    pairs = list(itertools.combinations(means.columns, 2))
    tests = [paired_test(list(means[a]), list(means[b]), seed=seed) for a, b in pairs]
    adjusted = holm([test.p for test in tests])
    return [
        Compared(a, b, test, p)
        for (a, b), test, p in zip(pairs, tests, adjusted, strict=True)
    ]


def power_table(
    n_systems: int,
    listeners: Sequence[int] = (4, 5, 6, 8, 10, 12, 16, 20, 24),
    *,
    d_z: float = 0.8,
    n_runs: int = 1000,
    seed: int = 0,
) -> list[Power]:
    """What panels of several sizes can show, before anyone has listened.

    The chance is counted in simulated panels: listeners differ by `d_z` standard
    deviations on average, and the first step of Holm has to be taken.

    Args:
        n_systems: which are compared with one another, each with each.
        listeners: sizes of the panel.
        d_z: true mean difference over its standard deviation between listeners; 0.2 is
            called small, 0.5 medium, 0.8 large.
        n_runs: simulated panels per size.
        seed: of these panels.

    Raises:
        InputError: fewer than two systems.

    Example:
        >>> [panel.smallest_p for panel in power_table(2, (5, 6), n_runs=1)]
        [0.0625, 0.03125]
    """
    from scipy import stats

    check_range("n_systems", n_systems, 2)
    n_pairs = n_systems * (n_systems - 1) // 2
    draw = np.random.default_rng(seed)
    table = []
    for n in listeners:
        smallest = min(1.0, n_pairs * smallest_p(n))
        chance = 0.0
        if smallest < SIGNIFICANT:
            differences = draw.normal(d_z, 1.0, (n_runs, n))
            p = stats.wilcoxon(differences, axis=1).pvalue
            chance = float((n_pairs * p < SIGNIFICANT).mean())
        table.append(Power(n, smallest, chance))
    return table


def power_note(n_listeners: int, n_systems: int) -> str:
    """A sentence on what so many listeners can show.

    Example:
        >>> print(power_note(5, 2))
        With 5 listeners this can never be significant: p cannot fall below 0.062. It
        takes 6.
    """
    n_pairs = n_systems * (n_systems - 1) // 2
    best = min(1.0, n_pairs * smallest_p(n_listeners))
    if best < SIGNIFICANT:
        return (
            f"With {n_listeners} listeners p can fall to {best:.2g}, if they all agree."
        )
    needed = n_listeners
    while n_pairs * smallest_p(needed) >= SIGNIFICANT:
        needed += 1
    return (
        f"With {n_listeners} listeners this can never be significant: p cannot fall "
        f"below {best:.2g}. It takes {needed}."
    )


def _require(where: str, what: str, n: int, least: int) -> None:
    if n < least:
        remedy = "Wait for more listeners, or name fewer things to compare."
        raise InputError(message(where, f"at least {least} {what}", n, remedy))
