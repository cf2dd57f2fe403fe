"""The report of a listening test: an HTML page, tables for LaTeX, and a figure.

    ResultStore ─▶ screen ─┬─▶ report.html    tables, figure, how they were made
                           ├─▶ QUESTION.tex   the table for a paper
                           └─▶ ratings.pdf    the figure for a paper

The page states every choice that the numbers depend on: which listeners are excluded
and why, with the means before and after it, the unit of analysis, and what a panel of
this size cannot show. Notebook: 14.
"""

import math
import textwrap
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pandas import DataFrame

from mssedu.audio.files import write_text, written_whole
from mssedu.audio.names import file_names
from mssedu.audio.words import counted
from mssedu.errors import InputError, MssEduWarning
from mssedu.figures.scores import boxes_figure
from mssedu.figures.style import DescribedFigure, describe
from mssedu.figures.words import listed
from mssedu.listening.results import tables
from mssedu.listening.results.agreement import rank_agreement, replicate_agreement
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.results.ratings import (
    Screening,
    check_not_empty,
    listener_means,
    screen,
)
from mssedu.listening.test.design import CHOICES, Design
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
LABEL_WIDTH = 20  # characters in a line below the figure
_DECIMALS = {"acr": 2}  # of ratings; one in other tests
_STYLE = ".wide td, .wide th { white-space: nowrap; }"
_BOXES = (
    "Each point is a listener: the mean of all trials. Boxes: quartiles and median."
)
_MEANS = "Listener means; without replicates and practice trials."


@dataclass(frozen=True)
class _Counted:
    """Whose ratings the numbers of a report are made of."""

    ratings: DataFrame  # of all listeners
    rows: DataFrame  # of those who count
    screening: Screening | None  # None: the test has no post-screening
    note: str  # what the reader must know about it


def report_files(design: Design) -> list[str]:
    """Names of the files of a report: a question may be called "clean/natural".

    Example:
        >>> from mssedu.listening.test.design import Trial
        >>> trial = Trial("song", {"a": "a.wav", "b": "b.wav"})
        >>> report_files(Design("?", "2afc", (trial,), reference=False))
        ['report.html', '2afc.tex']
    """
    if design.test in CHOICES:
        return ["report.html", f"{design.test}.tex"]
    names = file_names(design.questions).values()
    return ["report.html", "ratings.pdf", *(f"{name}.tex" for name in names)]


def write_report(
    store: ResultStore,
    folder: str | Path,
    scores: Mapping[tuple[str, str], float] | None = None,
    *,
    screening: bool = True,
    left_out: Collection[str] | None = None,
) -> Path:
    """Write report.html, a LaTeX table per question and the figure; returns the page.

    In mushra, post-screening excludes the ratings of some listeners; the page names
    them and the reason, and shows the means before and after it. If it excludes all of
    them, a warning says so, and the numbers are those of all listeners.

    Args:
        store: the results.
        folder: of the files, created if it does not exist.
        scores: (trial, system) -> usdr in dB, as `excerpt_scores` returns them, to
            compare with the ratings.
        screening: False: all listeners count.
        left_out: as in `ratings_frame`.

    Raises:
        InputError: no listener has finished a page, or scores are given to a test
            without ratings.
    """
    folder, design = Path(folder), store.design
    if scores and design.test in CHOICES:
        raise InputError(
            f"{design.test} has choices and no ratings that usdr could be compared "
            "with. Leave usdr out."
        )
    ratings = ratings_frame(store, left_out)
    check_not_empty(ratings)
    counted = _counted(ratings, design, screening)
    decimals = _DECIMALS.get(design.test, 1)
    parts, latex = [paragraph(counted.note)], {}  # name of the table -> table and note
    if design.test in CHOICES:
        table = tables.choice_table(counted.rows, design.test)
        text = tables.choice_note(design.test)
        parts += [_html(table), paragraph(text, note=True)]
        latex[design.test] = (table, text)
    else:
        parts += _figure(store, counted.rows, folder / "ratings.pdf")
        for question, text in design.questions.items():
            means = _means(store, counted.rows, question)
            parts.append(heading(f"{question}: {text}"))
            if means.empty:
                parts.append(paragraph("Nobody has rated every stimulus yet."))
                continue
            table = tables.rating_table(means, decimals)
            latex[question] = (table, _MEANS)
            before_and_after = _before_and_after(store, counted, question)
            parts += [_html(table, decimals), *before_and_after]
            rows = counted.rows[counted.rows.question == question]
            systems = list(design.conditions)
            parts += _pairs(means[systems], decimals)
            parts += _agreements(rows, systems, scores)
    names = file_names([design.test] if design.test in CHOICES else design.questions)
    for name, (table, text) in latex.items():
        lines = render(table, "latex", formats=tables.formats(decimals))
        write_text(folder / f"{names[name]}.tex", f"{lines}\n{note(text, 'latex')}\n")
    facts = facts_table(_facts(store, counted))
    page = [heading(design.title, 1), *parts, heading("How it was made"), facts]
    return write_page(folder / "report.html", design.title, page, style=_STYLE)


def ratings_figure(store: ResultStore, ratings: DataFrame) -> DescribedFigure:
    """Box plots of listener means, side by side for each stimulus.

    `ratings` are those of the listeners who count, as `ratings_frame` returns them.
    """
    low, high = store.design.rating_range
    boxes = {}
    for question in store.design.questions:
        means = _means(store, ratings, question).astype(float)
        if not means.empty:
            boxes[_drawn(question)] = means.rename(columns=_drawn).to_dict("list")
    figure = boxes_figure({f"rating ({low:g} … {high:g})": boxes})
    if len(store.design.stimuli) > MOST_LEVEL:
        figure.axes[0].tick_params(axis="x", labelrotation=20)
    caption = (
        f"Ratings of “{store.design.title}”, {low:g} to {high:g}: a point for each "
        f"listener, boxes from the lower to the upper quartile with the median; "
        f"{listed(boxes)}."
    )
    return describe(figure, caption, figure.alt)


def _counted(ratings: DataFrame, design: Design, screening: bool) -> _Counted:
    """Apply the post-screening, unless that is not wanted or leaves nobody."""
    if design.test != "mushra":
        return _Counted(ratings, ratings, None, "")
    result = screen(ratings)
    kept = result.apply(ratings)
    if not screening:
        return _Counted(ratings, ratings, result, "All listeners count: no screening.")
    if len(kept):
        return _Counted(ratings, kept, result, "")
    text = (
        f"Post-screening excludes all listeners ({len(result.excluded)}), so the "
        "numbers are those of all of them, and show nothing about the systems. Check "
        "the files of the references."
    )
    warnings.warn(text, MssEduWarning, stacklevel=3)
    return _Counted(ratings, ratings, result, text)


def _figure(store: ResultStore, ratings: DataFrame, path: Path) -> Iterator[str]:
    """Write the figure and show it, if anybody has rated every stimulus."""
    if all(_means(store, ratings, name).empty for name in store.design.questions):
        return
    figure = ratings_figure(store, ratings)
    with written_whole(path) as temporary:
        figure.savefig(temporary)
    yield picture(_BOXES, figure)


def _before_and_after(
    store: ResultStore, counted: _Counted, question: str
) -> Iterator[str]:
    """The means with and without the listeners whom the post-screening excludes."""
    if counted.screening is None or not counted.screening.excluded:
        return
    kept = counted.screening.apply(counted.ratings)
    both = [_means(store, rows, question) for rows in (counted.ratings, kept)]
    table = tables.screening_table(*both)
    yield paragraph("Before and after the post-screening:")
    yield _html(table)


def _drawn(name: str) -> str:
    """A name as the figure shows it: in short lines, and "$" begins no formula."""
    return textwrap.fill(name, LABEL_WIDTH).replace("$", r"\$")


def _pairs(means: DataFrame, decimals: int) -> Iterator[str]:
    """Tests of the differences between the systems."""
    if len(means.columns) > 1:
        yield _html(tables.pair_table(means, decimals), decimals)
        yield paragraph(tables.pair_note(means), note=True)


def _agreements(
    rows: DataFrame,
    systems: list[str],
    scores: Mapping[tuple[str, str], float] | None,
) -> Iterator[str]:
    """Whether the ratings of the systems are repeatable, and fit to the scores."""
    agreement = replicate_agreement(rows, systems).values()
    defined = [value for value in agreement if not math.isnan(value)]
    if defined:
        text = (
            "Concordance of the first and the second ratings of a listener: "
            f"{min(defined):.2f} … {max(defined):.2f} "
            f"({counted(len(defined), 'listener')}, systems only)."
        )
        yield paragraph(text, note=True)
    if scores:
        order = rank_agreement(rows, scores)
        text = (
            "Mean ratings against usdr of the same "
            f"{counted(order.n, 'excerpt')}: Kendall's τ "
            f"{order.kendall:.2f}, Spearman's ρ {order.spearman:.2f}; systems within a "
            f"trial (mean of {order.n_trials}): τ {order.kendall_within:.2f}, ρ "
            f"{order.spearman_within:.2f}."
        )
        yield paragraph(text, note=True)


def _means(store: ResultStore, ratings: DataFrame, question: str) -> DataFrame:
    """Listener means, in the order of the design: systems, reference, anchors."""
    if not (ratings.question == question).any():
        return DataFrame()
    means = listener_means(ratings, question)
    return means[[name for name in store.design.stimuli if name in means]]


def _html(table: DataFrame, decimals: int = 1) -> str:
    head, rows = texts(table, formats=tables.formats(decimals))
    return html_table(head, rows)


def _facts(store: ResultStore, counted: _Counted) -> dict[str, str]:
    """How the test was made: a name and a text for each line."""
    design, ratings = store.design, counted.ratings
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
    if counted.screening is not None:
        excluded, faulty = counted.screening.excluded, counted.screening.faulty_items
        reasons = [f"{who} ({why})" for who, why in excluded.items()]
        rule = "would exclude" if counted.note else "excludes"
        facts[f"BS.1534 {rule}"] = "; ".join(reasons) or "nobody"
        if faulty:
            facts["no mid anchor in"] = ", ".join(faulty)
    return facts
