"""Statistics of choices between two sounds: difference or guessing, and preference.

    abx    right answers of n   ── one-sided binomial test ──▶ difference, or guessing?
    2afc   votes for one of n   ── two-sided binomial test ──▶ preference, or none?

The tests are exact for one listener who answers many times. The answers of several
listeners do not have one common probability: a pooled count describes these listeners
and does not generalize to others. So each listener is tested alone, and the p-values
are corrected by Holm's method.

d′ is the distance between two sounds in units of the listener's own uncertainty; it
does not depend on the kind of test. In abx the listener compares X with A and with B
(differencing model); 2afc follows Thurstone's case V.

Sources: Clopper and Pearson 1934; Macmillan and Creelman 2005, "Detection theory: a
user's guide", ch. 9; Thurstone 1927. Notebooks: 13, 14.
"""

import math
from dataclasses import dataclass

from pandas import DataFrame

from mssedu.audio.words import counted
from mssedu.errors import check_name, check_range
from mssedu.evaluation.statistics import holm
from mssedu.listening.results.ratings import SIGNIFICANT, check_not_empty
from mssedu.listening.test.design import CHOICES

FARTHEST = 20.0  # above this d′, a probability is 1 in floating point


@dataclass(frozen=True)
class Choices:
    """How often listeners gave one of two answers."""

    count: int
    n: int
    p: float  # if both answers were equally likely: abx one-sided, 2afc two-sided
    interval: tuple[float, float]  # of the share, 95 %, Clopper-Pearson
    d_prime: float  # infinite if all answers are the same; negative below chance


@dataclass(frozen=True)
class ListenerChoices:
    """The answers of one listener to one pair."""

    listener: str
    first: str
    second: str
    choices: Choices  # right answers (abx), or votes for `second` (2afc)
    p_holm: float  # corrected for the number of all lines


def count_choices(count: int, n: int, test: str) -> Choices:
    """Test, interval and d′ of a number of answers.

    Args:
        count: right answers (abx), or votes for one of the two (2afc).
        n: number of all answers.
        test: "abx" or "2afc".

    Raises:
        InputError: another test, no answers, or a count above n.

    Example:
        >>> round(count_choices(7, 8, "abx").p, 4)
        0.0352
    """
    from scipy.stats import binomtest

    check_name("test", test, CHOICES)
    check_range("n", n, 1)
    check_range("count", count, 0, n)
    side = "greater" if test == "abx" else "two-sided"
    p = float(binomtest(count, n, 0.5, alternative=side).pvalue)
    low, high = binomtest(count, n).proportion_ci(0.95, method="exact")
    d_prime = {"abx": abx_d_prime, "2afc": afc_d_prime}[test](count / n)
    return Choices(count, n, p, (float(low), float(high)), d_prime)


def least_correct(n: int, significant: float = SIGNIFICANT) -> int | None:
    """The fewest right answers of n with p < `significant`; None if n are too few.

    Example:
        >>> [least_correct(n) for n in (4, 8, 10, 12, 16, 20)]
        [None, 7, 9, 10, 12, 15]
    """
    from scipy.stats import binom

    check_range("n", n, 1)
    counts = (c for c in range(n + 1) if binom.sf(c - 1, n, 0.5) < significant)
    return next(counts, None)


def answers_note(n: int, test: str) -> str:
    """A sentence on what a listener can show who answers each pair n times.

    The arguments are those of `count_choices`.

    Example:
        >>> print(answers_note(16, "abx"))
        With 16 answers to each pair a listener can show a difference: p < 0.05 takes 12
        right answers.
        >>> print(answers_note(4, "2afc"))
        With 4 answers to each pair no listener can show a preference: p cannot fall
        below 0.12. At least 6 answers are needed: add trials or repetitions.
    """
    what, answers = {
        "abx": ("a difference", "right answers"),
        "2afc": ("a preference", "answers for the same system"),
    }[check_name("test", test, CHOICES)]
    given = f"With {counted(n, 'answer')} to each pair"
    lowest = count_choices(n, n, test).p
    if lowest < SIGNIFICANT:
        ps = {count: count_choices(count, n, test).p for count in range(n // 2, n + 1)}
        least = min(count for count, p in ps.items() if p < SIGNIFICANT)
        return (
            f"{given} a listener can show {what}: p < {SIGNIFICANT:g} takes {least} "
            f"{answers}."
        )
    needed = n
    while count_choices(needed, needed, test).p >= SIGNIFICANT:
        needed += 1
    return (
        f"{given} no listener can show {what}: p cannot fall below {lowest:.2g}. At "
        f"least {needed} answers are needed: add trials or repetitions."
    )


def abx_share_correct(d_prime: float) -> float:
    """Expected share of right abx answers: the listener chooses the sound nearer to X.

    This is the differencing model; a listener who judges each sound by itself would
    need a smaller d′ for the same share (1.8 in place of 2.0 for 75 %).

    Φ(d′ / √2) Φ(d′ / √6) + Φ(-d′ / √2) Φ(-d′ / √6).

    Example:
        >>> abx_share_correct(0.0)
        0.5
    """
    from scipy.stats import norm

    a, b = d_prime / math.sqrt(2), d_prime / math.sqrt(6)
    return float(norm.cdf(a) * norm.cdf(b) + norm.cdf(-a) * norm.cdf(-b))


def abx_d_prime(share_correct: float) -> float:
    """d′ of a share of right abx answers: the inverse of `abx_share_correct`.

    A share below one half gets the d′ of the mirrored share with a minus sign; a share
    outside 0 … 1 raises InputError.
    """
    from scipy.optimize import brentq

    check_range("share_correct", share_correct, 0, 1)
    share, distance = max(share_correct, 1 - share_correct), math.inf
    if share < 1:
        distance = brentq(lambda d: abx_share_correct(d) - share, 0, FARTHEST)
    return math.copysign(distance, share_correct - 0.5)


def afc_d_prime(share: float) -> float:
    """d′ of a share of votes in a choice between two, 0 … 1: √2 Φ⁻¹(share)."""
    from scipy.stats import norm

    check_range("share", share, 0, 1)
    return float(math.sqrt(2) * norm.ppf(share))


def by_listener(ratings: DataFrame, test: str) -> list[ListenerChoices]:
    """One result for every listener and pair.

    `ratings` are as `export.ratings_frame` returns them. Another test than "abx" or
    "2afc", or no answers, raise InputError.
    """
    check_not_empty(ratings)
    groups = ratings.groupby(["listener", "first", "second"], sort=False)
    counts = {names: _count(rows, test) for names, rows in groups}
    adjusted = holm([choices.p for choices in counts.values()])
    return [
        ListenerChoices(listener, first, second, counts[listener, first, second], p)
        for (listener, first, second), p in zip(counts, adjusted, strict=True)
    ]


def pooled(ratings: DataFrame, test: str) -> dict[tuple[str, str], Choices]:
    """All listeners together, pair by pair; this describes only these listeners.

    The arguments are those of `by_listener`.
    """
    check_name("test", test, CHOICES)
    groups = ratings.groupby(["first", "second"], sort=False)
    return {(first, second): _count(rows, test) for (first, second), rows in groups}


def _count(rows: DataFrame, test: str) -> Choices:
    """Right answers (abx), or votes for the second of the pair (2afc)."""
    hits = rows.score == 1 if test == "abx" else rows.stimulus == rows["second"]
    return count_choices(int(hits.sum()), len(rows), test)
