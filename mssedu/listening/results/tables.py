"""Results of a listening test as tables of texts, for terminal, HTML and LaTeX.

    listener means ─▶ rating_table: a line per stimulus
                   ─▶ pair_table:   a line per two systems, with Holm's p-values
    choices ────────▶ choice_table: a line per pair and listener, and one for all

How a table was made, and what so few listeners cannot show, stands in a note below it.
Notebook: 14.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mssedu.evaluation.comparison import p_text
from mssedu.evaluation.score_tables import NONE
from mssedu.listening.results.choices import Choices, by_listener, pooled
from mssedu.listening.results.ratings import (
    Interval,
    compare,
    friedman,
    power_note,
    summarize,
)
from mssedu.reports.tables import Head, Rows

if TYPE_CHECKING:
    from pandas import DataFrame

Table = tuple[Head, Rows]


def rating_table(means: "DataFrame") -> Table:
    """Mean, intervals and quartiles of every stimulus.

    Args:
        means: of `statistics.listener_means`.
    """
    head = (
        *("stimulus", "listeners", "mean", "95 % (t)"),
        *("95 % (bootstrap)", "median", "quartiles"),
    )
    lines = [
        (
            *(one.stimulus, str(one.n), f"{one.mean:.1f}", _span(one.t_interval)),
            *(_span(one.bootstrap), f"{one.median:.1f}", _span(one.quartiles)),
        )
        for one in summarize(means)
    ]
    return head, lines


def pair_table(means: "DataFrame") -> Table:
    """Differences of all pairs of systems.

    Args:
        means: of `statistics.listener_means`, the systems only.
    """
    head = (
        *("first", "second", "second − first", "95 % interval"),
        *("p", "p (Holm)", "rank-biserial"),
    )
    lines = [
        (
            *(one.first, one.second, f"{one.test.difference:+.1f}"),
            *(_span(one.test.interval, "+.1f"), p_text(one.test.p)),
            *(p_text(one.p_holm), f"{one.test.rank_biserial:+.2f}"),
        )
        for one in compare(means)
    ]
    return head, lines


def pair_note(means: "DataFrame") -> str:
    """How pairs were tested, whether all systems together differ, and the power."""
    n, n_systems = means.shape
    parts = [
        "Wilcoxon signed-rank tests of listener means, two-sided, with Holm's "
        "correction for all pairs; intervals: percentile bootstrap over listeners."
    ]
    if n_systems > 2 and n > 1:
        found = friedman(means)
        text = f"Friedman's test of all {n_systems} systems: χ² = {found.statistic:.1f}"
        parts.append(f"{text}, p = {p_text(found.p)}.".replace("= <", "< "))
    return " ".join([*parts, power_note(n, n_systems)])


def choice_table(ratings: "DataFrame", test: str) -> Table:
    """Answers of every listener to every pair, then of all together.

    Args:
        ratings: as `export.ratings_frame` gives them.
        test: "abx" or "2afc".
    """
    counted = "correct" if test == "abx" else "for the second"
    head = (
        *("listener", "first", "second", counted, "answers"),
        *("95 % of the share", "d′", "p", "p (Holm)"),
    )
    lines = [
        (*(o.listener, o.first, o.second), *_choices(o.choices), p_text(o.p_holm))
        for o in by_listener(ratings, test)
    ]
    for (first, second), found in pooled(ratings, test).items():
        lines.append(("all", first, second, *_choices(found), NONE))
    return head, lines


def choice_note(test: str) -> str:
    """How choices were tested, and what the line of all together does not say."""
    side = "one-sided" if test == "abx" else "two-sided"
    return (
        f"Exact binomial tests, {side}, with Holm's correction for all lines; "
        "intervals: Clopper-Pearson. The lines of all listeners together speak of "
        "these listeners only: one person's answers are not independent of one another."
    )


def _choices(found: Choices) -> Sequence[str]:
    distance = f"{found.d_prime:.2f}"
    if math.isinf(found.d_prime):
        distance = "> any" if found.d_prime > 0 else "< any"
    span = _span(found.interval, ".2f")
    return (str(found.count), str(found.n), span, distance, p_text(found.p))


def _span(interval: Interval | None, form: str = ".1f") -> str:
    if interval is None:
        return NONE
    return f"{interval[0]:{form}} … {interval[1]:{form}}"
