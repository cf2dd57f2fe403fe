"""Results of a listening test as DataFrames, and the notes below them.

    listener means ─▶ rating_table: a line per stimulus
                   ─▶ screening_table: means before and after the post-screening
                   ─▶ pair_table:   a line per pair of systems, with Holm's correction
    choices ────────▶ choice_table: a line per listener and pair, then one per pair

Intervals and p-values are text, all else is numbers. The values of a table with more
digits come from the functions that it is made of, such as `ratings.summarize`. To print
a table: `mssedu.reports.tables.render(table, "markdown", formats=FORMATS)`.

A note says how a table was made, and what a panel of this size cannot show. Notebook:
14.
"""

from pandas import DataFrame

from mssedu.evaluation.comparison import p_text
from mssedu.listening.results.choices import Choices, by_listener, pooled
from mssedu.listening.results.ratings import compare, friedman, power_note, summarize


def formats(decimals: int = 1) -> dict[str, str]:
    """How the numbers of all tables are printed: column -> format specification.

    `decimals` are those of ratings: 1 for 0 … 100, and 2 for 1 … 5.
    """
    columns = ("mean", "mean, before", "mean, after", "median")
    return {
        **dict.fromkeys(columns, f".{decimals}f"),
        "second − first": f"+.{decimals}f",
        "rank-biserial": "+.2f",
        "d′": ".2f",
    }


FORMATS = formats()  # of ratings of 0 … 100


def rating_table(means: DataFrame, decimals: int = 1) -> DataFrame:
    """Mean, intervals, median and quartiles of every stimulus, as `summarize`.

    The columns: stimulus, listeners, mean, 95 % (t), 95 % (bootstrap), median,
    quartiles. `means` is as `ratings.listener_means` returns it, and `decimals` as in
    `formats`.
    """
    form = f".{decimals}f"
    return DataFrame(
        {
            "stimulus": one.stimulus,
            "listeners": one.n,
            "mean": one.mean,
            "95 % (t)": _interval_text(one.t_interval, form),
            "95 % (bootstrap)": _interval_text(one.bootstrap, form),
            "median": one.median,
            "quartiles": _interval_text(one.quartiles, form),
        }
        for one in summarize(means)
    )


def screening_table(before: DataFrame, after: DataFrame) -> DataFrame:
    """Means of every stimulus before and after the post-screening, side by side.

    The columns: stimulus, then listeners, mean and 95 % (t) before and after. Both
    arguments are as `ratings.listener_means` returns them; nobody may be left after.
    """
    columns = ["listeners", "mean", "95 % (t)"]
    table = rating_table(before).set_index("stimulus")[columns]
    rest = (
        rating_table(after) if len(after) else DataFrame(columns=["stimulus", *columns])
    )
    rest = rest.set_index("stimulus")[columns].reindex(table.index)
    rest["listeners"] = rest.listeners.fillna(0).astype(int)
    both = {"before": table, "after": rest}
    parts = {f"{k}, {when}": t[k] for when, t in both.items() for k in columns}
    return DataFrame(parts).reset_index()


def pair_table(means: DataFrame, decimals: int = 1) -> DataFrame:
    """Differences between all pairs of systems, and their tests, as `compare`.

    The columns: first, second, second − first, 95 % interval, p, p (Holm),
    rank-biserial. `means` is as `ratings.listener_means` returns it, for the systems,
    and `decimals` as in `formats`.
    """
    return DataFrame(
        {
            "first": one.first,
            "second": one.second,
            "second − first": one.test.difference,
            "95 % interval": _interval_text(one.test.interval, f"+.{decimals}f"),
            "p": p_text(one.test.p),
            "p (Holm)": p_text(one.p_holm),
            "rank-biserial": float(one.test.rank_biserial),
        }
        for one in compare(means)
    )


def pair_note(means: DataFrame) -> str:
    """How the pairs were tested, Friedman's test of all systems, and the power."""
    n, n_systems = means.shape
    parts = [
        "Wilcoxon signed-rank tests of listener means, two-sided, with Holm's "
        "correction for all pairs; intervals: percentile bootstrap over listeners."
    ]
    if n_systems > 2 and n > 1:
        result = friedman(means)
        text = (
            f"Friedman's test of all {n_systems} systems: χ² = {result.statistic:.1f}, "
            f"p = {p_text(result.p)}."
        )
        parts.append(text.replace("= <", "< "))
    return " ".join([*parts, power_note(n, n_systems)])


def choice_table(ratings: DataFrame, test: str) -> DataFrame:
    """Answers of every listener to every pair, then of all listeners together.

    The columns: listener (or "all"), first, second, correct (2afc: for the second),
    answers, 95 % of the share, d′ (infinite if all answers are the same), p, p (Holm).
    Arguments and errors are those of `by_listener`.
    """
    rows: list[tuple[str, str, str, Choices, str | None]] = [
        (one.listener, one.first, one.second, one.choices, p_text(one.p_holm))
        for one in by_listener(ratings, test)
    ]
    rows += [("all", *pair, one, None) for pair, one in pooled(ratings, test).items()]
    return DataFrame(
        {
            "listener": listener,
            "first": first,
            "second": second,
            "correct" if test == "abx" else "for the second": choices.count,
            "answers": choices.n,
            "95 % of the share": _interval_text(choices.interval, ".2f"),
            "d′": choices.d_prime,
            "p": p_text(choices.p),
            "p (Holm)": p_holm,
        }
        for listener, first, second, choices, p_holm in rows
    )


def choice_note(test: str) -> str:
    """How choices were tested, and what the lines of all listeners do not show."""
    side = "one-sided" if test == "abx" else "two-sided"
    return (
        f"Exact binomial tests, {side}, with Holm's correction for all lines; "
        "intervals: Clopper-Pearson; d′ is infinite (inf) if all answers are the same. "
        "The lines of all listeners together describe these listeners only, because "
        "the answers of one person are not independent of one another."
    )


def _interval_text(ends: tuple[float, float] | None, form: str) -> str | None:
    return None if ends is None else " … ".join(format(end, form) for end in ends)
