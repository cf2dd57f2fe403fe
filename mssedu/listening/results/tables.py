"""Results of a listening test as DataFrames, and the notes below them.

    listener means ─▶ rating_table: a line per stimulus
                   ─▶ pair_table:   a line per pair of systems, with Holm's correction
    choices ────────▶ choice_table: a line per listener and pair, then one per pair

Intervals and p-values are text, all else is numbers. The values of a table with more
digits come from the functions that it is made of, such as `ratings.summarize`. To print
a table: `mssedu.reports.tables.render(table, "markdown", formats=FORMATS)`.

A note says how a table was made, and what a panel of this size cannot show. Notebook:
14.
"""

from typing import TYPE_CHECKING

from mssedu.evaluation.comparison import p_text
from mssedu.listening.results.choices import Choices, by_listener, pooled
from mssedu.listening.results.ratings import (
    Interval,
    compare,
    friedman,
    power_note,
    summarize,
)

if TYPE_CHECKING:
    from pandas import DataFrame

# How the numbers of all three tables are printed: column -> format specification
FORMATS = {
    "mean": ".1f",
    "median": ".1f",
    "second − first": "+.1f",
    "rank-biserial": "+.2f",
    "d′": ".2f",
}


def rating_table(means: "DataFrame") -> "DataFrame":
    """Mean, intervals, median and quartiles of every stimulus.

    The columns: stimulus, listeners, mean, 95 % (t), 95 % (bootstrap), median,
    quartiles.

    Args:
        means: as `ratings.listener_means` returns them.

    Raises:
        InputError: there are no listeners.
    """
    from pandas import DataFrame

    lines = [
        {
            "stimulus": one.stimulus,
            "listeners": one.n,
            "mean": one.mean,
            "95 % (t)": _interval_text(one.t_interval),
            "95 % (bootstrap)": _interval_text(one.bootstrap),
            "median": one.median,
            "quartiles": _interval_text(one.quartiles),
        }
        for one in summarize(means)
    ]
    return DataFrame(lines)


def pair_table(means: "DataFrame") -> "DataFrame":
    """Differences between all pairs of systems, and their tests.

    The columns: first, second, second − first, 95 % interval, p, p (Holm),
    rank-biserial.

    Args:
        means: as `ratings.listener_means` returns them, only the systems.

    Raises:
        InputError: fewer than two systems, or no listeners.
    """
    from pandas import DataFrame

    lines = [
        {
            "first": one.first,
            "second": one.second,
            "second − first": one.test.difference,
            "95 % interval": _interval_text(one.test.interval, "+.1f"),
            "p": p_text(one.test.p),
            "p (Holm)": p_text(one.p_holm),
            "rank-biserial": float(one.test.rank_biserial),
        }
        for one in compare(means)
    ]
    return DataFrame(lines)


def pair_note(means: "DataFrame") -> str:
    """How the pairs were tested, Friedman's test of all systems, and the power."""
    n, n_systems = means.shape
    parts = [
        "Wilcoxon signed-rank tests of listener means, two-sided, with Holm's "
        "correction for all pairs; intervals: percentile bootstrap over listeners."
    ]
    if n_systems > 2 and n > 1:
        result = friedman(means)
        text = (
            f"Friedman's test of all {n_systems} systems: χ² = {result.statistic:.1f}"
        )
        parts.append(f"{text}, p = {p_text(result.p)}.".replace("= <", "< "))
    return " ".join([*parts, power_note(n, n_systems)])


def choice_table(ratings: "DataFrame", test: str) -> "DataFrame":
    """Answers of every listener to every pair, then of all listeners together.

    The columns: listener (or "all"), first, second, correct (2afc: for the second),
    answers, 95 % of the share, d′ (infinite if all answers are the same), p, p (Holm).

    Args:
        ratings: as `export.ratings_frame` returns them.
        test: "abx" or "2afc".

    Raises:
        InputError: another test, or no answers.
    """
    from pandas import DataFrame

    lines = [
        {
            "listener": one.listener,
            "first": one.first,
            "second": one.second,
            **_choice_cells(one.choices, test),
            "p (Holm)": p_text(one.p_holm),
        }
        for one in by_listener(ratings, test)
    ]
    lines += [
        {
            "listener": "all",
            "first": first,
            "second": second,
            **_choice_cells(choices, test),
            "p (Holm)": None,
        }
        for (first, second), choices in pooled(ratings, test).items()
    ]
    return DataFrame(lines)


def choice_note(test: str) -> str:
    """How choices were tested, and what the lines of all listeners do not show."""
    side = "one-sided" if test == "abx" else "two-sided"
    return (
        f"Exact binomial tests, {side}, with Holm's correction for all lines; "
        "intervals: Clopper-Pearson; d′ is infinite (inf) if all answers are the same. "
        "The lines of all listeners together describe these listeners only, because "
        "the answers of one person are not independent of one another."
    )


def _choice_cells(choices: Choices, test: str) -> dict[str, object]:
    return {
        "correct" if test == "abx" else "for the second": choices.count,
        "answers": choices.n,
        "95 % of the share": _interval_text(choices.interval, ".2f"),
        "d′": choices.d_prime,
        "p": p_text(choices.p),
    }


def _interval_text(interval: Interval | None, form: str = ".1f") -> str | None:
    """Both ends; None where there is no interval."""
    if interval is None:
        return None
    return f"{interval[0]:{form}} … {interval[1]:{form}}"
