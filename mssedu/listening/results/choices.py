"""What choices between two say: is a difference heard, which version is preferred?

    abx    right answers of n   ── one-sided binomial test ──▶ heard, or guessed?
    2afc   votes for one of n   ── two-sided binomial test ──▶ preferred, or not?

Exact for the answers of one listener, who is asked again and again. Answers of several
listeners are no coin tosses of one coin: pooled, they say something about these
listeners, not about others. So every listener has a line, and p-values by Holm.

d′ tells how far apart two sounds are in units of the listener's own uncertainty,
whatever the test. In abx it is that of a listener who compares X with A and with B
(differencing model); in 2afc that of Thurstone's case V.

Sources: Clopper and Pearson 1934; Macmillan and Creelman 2005, "Detection theory: a
user's guide", ch. 9; Thurstone 1927. Notebooks: 13, 14.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.evaluation.statistics import holm
from mssedu.listening.test.design import CHOICES

if TYPE_CHECKING:
    from pandas import DataFrame

FARTHEST = 20.0  # d′ beyond which probabilities are 1 in floating point


@dataclass(frozen=True)
class Choices:
    """How often one of two answers was given."""

    count: int
    n: int
    p: float  # if both were equally likely: abx one-sided, 2afc two-sided
    interval: tuple[float, float]  # of the share, 95 %, Clopper-Pearson
    d_prime: float  # infinite where all answers are the same; negative below chance


@dataclass(frozen=True)
class ListenerChoices:
    """The answers of one listener to one pair."""

    listener: str
    first: str
    second: str
    choices: Choices  # right answers (abx), or votes for `second` (2afc)
    p_holm: float  # of all lines together


def count_choices(count: int, n: int, test: str) -> Choices:
    """Test, interval and d′ of a number of answers.

    Args:
        count: right answers, or votes for one of the two.
        n: all answers.
        test: "abx" or "2afc".

    Raises:
        InputError: another test, no answers, or more right ones than all.

    Example:
        >>> round(count_choices(7, 8, "abx").p, 4)
        0.0352
    """
    from scipy.stats import binomtest

    check_name("test", test, CHOICES)
    check_range("n", n, 1)
    check_range("count", count, 0, n)
    side = "greater" if test == "abx" else "two-sided"
    found = binomtest(count, n, 0.5, alternative=side)
    low, high = binomtest(count, n).proportion_ci(0.95, method="exact")
    distance = {"abx": abx_d_prime, "2afc": afc_d_prime}[test](count / n)
    return Choices(count, n, float(found.pvalue), (float(low), float(high)), distance)


def least_correct(n: int, significant: float = 0.05) -> int | None:
    """Fewest right answers of n for p below a level; None if all would not do.

    Example:
        >>> [least_correct(n) for n in (4, 8, 10, 12, 16, 20)]
        [None, 7, 9, 10, 12, 15]
    """
    from scipy.stats import binom

    check_range("n", n, 1)
    counts = (c for c in range(n + 1) if binom.sf(c - 1, n, 0.5) < significant)
    return next(counts, None)


def abx_share_correct(d_prime: float) -> float:
    """Share of right abx answers at some d′: X is the one it is nearer to.

    Example:
        >>> abx_share_correct(0.0)
        0.5
    """
    from scipy.stats import norm

    a, b = d_prime / math.sqrt(2), d_prime / math.sqrt(6)
    return float(norm.cdf(a) * norm.cdf(b) + norm.cdf(-a) * norm.cdf(-b))


def abx_d_prime(share_correct: float) -> float:
    """d′ of a share of right abx answers: the inverse of `abx_share_correct`.

    Below one half, the d′ of the mirrored share with a minus sign.

    Raises:
        InputError: a share outside 0 … 1.
    """
    from scipy.optimize import brentq

    check_range("share_correct", share_correct, 0, 1)
    share = max(share_correct, 1 - share_correct)
    if share == 1:
        distance = math.inf
    else:
        distance = brentq(lambda d: abx_share_correct(d) - share, 0, FARTHEST)
    return math.copysign(distance, share_correct - 0.5)


def afc_d_prime(share: float) -> float:
    """d′ of a share of votes in a choice between two: √2 Φ⁻¹(share).

    Raises:
        InputError: a share outside 0 … 1.
    """
    from scipy.stats import norm

    check_range("share", share, 0, 1)
    return float(math.sqrt(2) * norm.ppf(share))


def by_listener(ratings: "DataFrame", test: str) -> list[ListenerChoices]:
    """A line for every listener and pair.

    Args:
        ratings: as `export.ratings_frame` gives them.
        test: "abx" or "2afc".

    Raises:
        InputError: another test, or no answers.
    """
    check_name("test", test, CHOICES)
    if not len(ratings):
        remedy = "Wait for listeners to finish a page."
        raise InputError(message("by_listener", "answers", "none", remedy))
    keys, found = ["listener", "first", "second"], []
    for (listener, first, second), rows in ratings.groupby(keys, sort=False):
        hits = _hits(rows, test)
        found.append((listener, first, second, count_choices(hits, len(rows), test)))
    adjusted = holm([line[-1].p for line in found])
    return [
        ListenerChoices(*line, p_holm=p)
        for line, p in zip(found, adjusted, strict=True)
    ]


def pooled(ratings: "DataFrame", test: str) -> dict[tuple[str, str], Choices]:
    """All listeners together, pair by pair: true of these listeners only.

    Args:
        ratings: as `export.ratings_frame` gives them.
        test: "abx" or "2afc".

    Raises:
        InputError: another test.
    """
    check_name("test", test, CHOICES)
    groups = ratings.groupby(["first", "second"], sort=False)
    return {
        (first, second): count_choices(_hits(rows, test), len(rows), test)
        for (first, second), rows in groups
    }


def _hits(rows: "DataFrame", test: str) -> int:
    right = rows.score == 1 if test == "abx" else rows.stimulus == rows["second"]
    return int(right.sum())
