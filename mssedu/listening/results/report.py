"""The report of a listening test: an HTML page, tables for LaTeX, and a figure.

    ResultStore ─▶ screen ─┬─▶ report.html    tables, figure, how they were made
                           ├─▶ QUESTION.tex   the table for a paper
                           └─▶ ratings.pdf    the figure for a paper

The page states every choice that the numbers depend on: which listeners are excluded
and why, the unit of analysis, and what a panel of this size cannot show. Notebook: 14.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib.figure import Figure
from pandas import DataFrame

from mssedu.audio.files import write_text, written_whole
from mssedu.errors import InputError
from mssedu.figures.scores import boxes_figure
from mssedu.listening.results import tables
from mssedu.listening.results.agreement import rank_agreement, replicate_agreement
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.results.ratings import (
    Screening,
    check_not_empty,
    listener_means,
    screen,
)
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.store import ResultStore
from mssedu.reports.page import (
    facts_table,
    heading,
    html_table,
    paragraph,
    picture,
    write_page,
)
from mssedu.reports.tables import note, render, texts

MOST_LEVEL = 6  # up to this number of stimuli, the names fit below the figure unturned
_STYLE = "td, th { white-space: nowrap; }"
_BOXES = (
    "Each point is a listener: the mean of all trials. Boxes: quartiles and median."
)
_MEANS = "Listener means; without replicates and practice trials."


def write_report(
    store: ResultStore,
    folder: str | Path,
    scores: Mapping[tuple[str, str], float] | None = None,
) -> Path:
    """Write report.html, a LaTeX table per question and the figure; returns the page.

    In mushra, post-screening excludes the ratings of some listeners; the page names
    them and the reason.

    Args:
        store: the results.
        folder: of the files, created if it does not exist.
        scores: (trial, system) -> usdr in dB, as `excerpt_scores` returns them, to
            compare with the ratings.

    Raises:
        InputError: no listener has finished a page, or all are excluded.
    """
    folder, design = Path(folder), store.design
    ratings = ratings_frame(store)
    check_not_empty(ratings)
    screening, counted = None, ratings
    if design.test == "mushra":
        screening = screen(ratings)
        counted = screening.apply(ratings)
        if not len(counted):
            raise InputError(
                f"all listeners are excluded: {screening.excluded}. Check the files "
                "of the references."
            )
    latex = {}  # name of the file -> table and note
    if design.test in CHOICES:
        table = tables.choice_table(counted, design.test)
        text = tables.choice_note(design.test)
        parts = [_html(table), paragraph(text, note=True)]
        latex[design.test] = (table, text)
    else:
        figure = ratings_figure(store, counted)
        with written_whole(folder / "ratings.pdf") as temporary:
            figure.savefig(temporary)
        parts = [picture(_BOXES, figure)]
        for question, text in design.questions.items():
            means = _means(store, counted, question)
            table = tables.rating_table(means)
            latex[question] = (table, _MEANS)
            parts += [heading(f"{question}: {text}"), _html(table)]
            rows = counted[counted.question == question]
            parts += _findings(means, rows, list(design.conditions), scores)
    for name, (table, text) in latex.items():
        lines = (render(table, "latex", formats=tables.FORMATS), note(text, "latex"))
        write_text(folder / f"{name}.tex", "\n".join(lines) + "\n")
    facts = facts_table(_facts(store, ratings, screening))
    page = [heading(design.title, 1), *parts, heading("How it was made"), facts]
    return write_page(folder / "report.html", design.title, page, style=_STYLE)


def ratings_figure(store: ResultStore, ratings: DataFrame) -> Figure:
    """Box plots of listener means, side by side for each stimulus.

    `ratings` are those of the listeners who count, as `ratings_frame` returns them.
    """
    low, high = store.design.rating_range
    boxes = {
        question: _means(store, ratings, question).astype(float).to_dict("list")
        for question in store.design.questions
    }
    figure = boxes_figure({f"rating ({low:g} … {high:g})": boxes})
    if len(store.design.stimuli) > MOST_LEVEL:
        figure.axes[0].tick_params(axis="x", labelrotation=20)
    return figure


def _findings(
    means: DataFrame,
    rows: DataFrame,
    systems: list[str],
    scores: Mapping[tuple[str, str], float] | None,
) -> Iterator[str]:
    """What the ratings of one question say about the systems: tests and agreement."""
    if len(systems) > 1:
        yield _html(tables.pair_table(means[systems]))
        yield paragraph(tables.pair_note(means[systems]), note=True)
    agreement = replicate_agreement(rows, systems).values()
    defined = [value for value in agreement if not math.isnan(value)]
    if defined:
        text = (
            "Concordance of the first and the second ratings of a listener: "
            f"{min(defined):.2f} … {max(defined):.2f} ({len(defined)} listeners, "
            "systems only)."
        )
        yield paragraph(text, note=True)
    if scores:
        order = rank_agreement(rows, scores)
        text = (
            f"Mean ratings against usdr of the same {order.n} excerpts: Kendall's τ "
            f"{order.kendall:.2f}, Spearman's ρ {order.spearman:.2f}; systems within a "
            f"trial (mean of {order.n_trials}): τ {order.kendall_within:.2f}, ρ "
            f"{order.spearman_within:.2f}."
        )
        yield paragraph(text, note=True)


def _means(store: ResultStore, ratings: DataFrame, question: str) -> DataFrame:
    """Listener means, in the order of the design: systems, reference, anchors."""
    means = listener_means(ratings, question)
    return means[[name for name in store.design.stimuli if name in means]]


def _html(table: DataFrame) -> str:
    head, rows = texts(table, formats=tables.FORMATS)
    return html_table(head, rows)


def _facts(
    store: ResultStore, ratings: DataFrame, screening: Screening | None
) -> dict[str, str]:
    """How the test was made: a name and a text for each line."""
    design = store.design
    gains = [abs(row["gain_db"]) for row in store.rows("gains")]
    n_began, n_rated = len(store.listeners()), ratings.listener.nunique()
    facts = {
        "test": design.test,
        "listeners": f"{n_began} began, {n_rated} rated",
        "ratings": f"{len(ratings)} on finished pages, without practice trials",
        "trials": f"{len(design.counted)}, per listener "
        f"{design.trials_per_listener or 'all'}",
        "stimuli": ", ".join(design.stimuli),
        "loudness": "matched by BS.1770" if design.match_loudness else "not matched",
        "largest gain": f"{max(gains):.1f} dB" if gains else "not logged",
        "seed": str(design.seed),
        "sha256 of the test": design.sha256(),
    }
    if screening is not None:
        reasons = [f"{who} ({why})" for who, why in screening.excluded.items()]
        facts["excluded by BS.1534"] = "; ".join(reasons) or "nobody"
        if screening.faulty_items:
            facts["no mid anchor in"] = ", ".join(screening.faulty_items)
    return facts
