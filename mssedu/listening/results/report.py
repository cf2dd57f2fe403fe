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
from mssedu.listening.results.agreement import (
    RankAgreement,
    rank_agreement,
    replicate_agreement,
)
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.results.ratings import (
    Screening,
    check_not_empty,
    listener_means,
    screen,
)
from mssedu.listening.results.tables import (
    FORMATS,
    choice_note,
    choice_table,
    pair_note,
    pair_table,
    rating_table,
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
        folder: of the files; it is created if it does not exist.
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
                f"all listeners are excluded: {screening.excluded}. Check that the "
                "reference of each trial is the right file."
            )
    if design.test in CHOICES:
        parts = list(_choice_parts(counted, design.test))
    else:
        figure = ratings_figure(store, counted)
        with written_whole(folder / "ratings.pdf") as temporary:
            figure.savefig(temporary)
        parts = [picture(_BOXES, figure), *_rating_parts(store, counted, scores)]
    for name, (table, text) in _for_latex(store, counted).items():
        lines = [render(table, "latex", formats=FORMATS), note(text, "latex"), ""]
        write_text(folder / f"{name}.tex", "\n".join(lines))
    facts = facts_table(_facts(store, ratings, screening))
    page = [heading(design.title, 1), *parts, heading("How it was made"), facts]
    return write_page(folder / "report.html", design.title, page, style=_STYLE)


def ratings_figure(store: ResultStore, ratings: DataFrame) -> Figure:
    """Box plots of listener means, side by side for each stimulus.

    Args:
        store: the results, for the names of questions and stimuli.
        ratings: of the listeners who count.
    """
    low, high = store.design.rating_range
    boxes: dict[str, dict[str, list[float]]] = {}
    for question in store.design.questions:
        means = _means(store, ratings, question)
        boxes[question] = {name: list(map(float, means[name])) for name in means}
    figure = boxes_figure({f"rating ({low:g} … {high:g})": boxes})
    if len(store.design.stimuli) > MOST_LEVEL:
        figure.axes[0].tick_params(axis="x", labelrotation=20)
    return figure


def _rating_parts(
    store: ResultStore,
    ratings: DataFrame,
    scores: Mapping[tuple[str, str], float] | None,
) -> Iterator[str]:
    """Tables and notes of every question."""
    systems = list(store.design.conditions)
    for question, text in store.design.questions.items():
        means = _means(store, ratings, question)
        yield heading(f"{question}: {text}")
        yield _html(rating_table(means))
        if len(systems) > 1:
            yield _html(pair_table(means[systems]))
            yield paragraph(pair_note(means[systems]), note=True)
        rows = ratings[ratings.question == question]
        agreement = replicate_agreement(rows, systems)
        defined = [value for value in agreement.values() if not math.isnan(value)]
        if defined:
            text = (
                "Concordance of the first and the second ratings of a listener: "
                f"{min(defined):.2f} … {max(defined):.2f} ({len(defined)} listeners, "
                "systems only)."
            )
            yield paragraph(text, note=True)
        if scores:
            yield paragraph(_metric_note(rank_agreement(rows, scores)), note=True)


def _metric_note(agreement: RankAgreement) -> str:
    """How well the metric ranks the sounds as the listeners do."""
    return (
        f"Mean ratings against usdr of the same {agreement.n} excerpts: Kendall's τ "
        f"{agreement.kendall:.2f}, Spearman's ρ {agreement.spearman:.2f}; systems "
        f"within a trial (mean of {agreement.n_trials}): τ "
        f"{agreement.kendall_within:.2f}, ρ {agreement.spearman_within:.2f}."
    )


def _means(store: ResultStore, ratings: DataFrame, question: str) -> DataFrame:
    """Listener means, in the order of the design: systems, reference, anchors."""
    means = listener_means(ratings, question)
    return means[[name for name in store.design.stimuli if name in means]]


def _choice_parts(ratings: DataFrame, test: str) -> Iterator[str]:
    yield _html(choice_table(ratings, test))
    yield paragraph(choice_note(test), note=True)


def _html(table: DataFrame) -> str:
    head, rows = texts(table, formats=FORMATS)
    return html_table(head, rows)


def _for_latex(
    store: ResultStore, ratings: DataFrame
) -> dict[str, tuple[DataFrame, str]]:
    """Name of the file -> table and note."""
    test = store.design.test
    if test in CHOICES:
        return {test: (choice_table(ratings, test), choice_note(test))}
    text = "Listener means; without replicates and practice trials."
    return {
        question: (rating_table(_means(store, ratings, question)), text)
        for question in store.design.questions
    }


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
