"""The report of a listening test: who listened, whose ratings count, what they say.

    ResultStore ─▶ screening ─▶ report.html    tables, figure, how it was made
                             ├▶ QUESTION.tex   the table for a paper
                             └▶ ratings.pdf    the figure for a paper

Every choice that the numbers depend on is written beside them: exclusions with their
reason, the unit of analysis, what so few listeners cannot show. Notebook: 14.
"""

import html
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from mssedu.errors import InputError, message
from mssedu.figures.evaluation import boxes_figure
from mssedu.listening.results.agreement import (
    RankAgreement,
    rank_agreement,
    replicate_agreement,
)
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.results.ratings import listener_means
from mssedu.listening.results.screening import Screening, screen
from mssedu.listening.results.tables import (
    Table,
    choice_note,
    choice_table,
    pair_note,
    pair_table,
    rating_table,
)
from mssedu.listening.test.design import CHOICES
from mssedu.listening.test.store import ResultStore
from mssedu.reports.page import facts_table, html_table, picture, write_page
from mssedu.reports.tables import note, render

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_LEVEL = 6  # names below the figure that find room side by side
_STYLE = "td, th { white-space: nowrap; } div.wide { overflow-x: auto; }"
_BOXES = (
    "Each point is a listener: the mean of all trials. Boxes: quartiles and median."
)


def write_report(
    store: ResultStore,
    folder: str | Path,
    scores: Mapping[tuple[str, str], float] | None = None,
) -> Path:
    """Write report.html, a LaTeX table per question and the figure; returns the page.

    In MUSHRA, the ratings of those whom post-screening excludes are left out; the page
    names them.

    Args:
        store: the results.
        folder: made if it is not there.
        scores: (trial, system) -> usdr in dB, as `excerpt_scores` gives them, to set
            against the ratings.

    Raises:
        InputError: nobody has finished a page, or everyone is excluded.
    """
    folder = Path(folder)
    ratings, design = ratings_frame(store), store.design
    if not len(ratings):
        remedy = "Wait for listeners to finish a page."
        raise InputError(message("listen report", "ratings", "none", remedy))
    screening = screen(ratings) if design.test == "mushra" else None
    counted = screening.apply(ratings) if screening else ratings
    if not len(counted):
        remedy = "Look at the exclusions: is the hidden reference the right file?"
        got = f"all excluded: {screening.excluded}" if screening else "none"
        raise InputError(message("listen report", "listeners who count", got, remedy))
    folder.mkdir(parents=True, exist_ok=True)
    chosen = design.test in CHOICES
    found = (
        _choices(counted, design.test) if chosen else _ratings(store, counted, scores)
    )
    parts = list(found)
    for name, (table, text) in _for_latex(store, counted).items():
        lines = [render(*table, "latex"), note(text, "latex"), ""]
        (folder / f"{name}.tex").write_text("\n".join(lines), "utf-8")
    if not chosen:
        figure = ratings_figure(store, counted)
        figure.savefig(folder / "ratings.pdf")
        parts.insert(0, picture(_BOXES, figure))
    head = f"<h1>{html.escape(design.title)}</h1>"
    facts = facts_table(_facts(store, ratings, screening))
    page = [head, *parts, "<h2>How it was made</h2>", facts]
    return write_page(folder / "report.html", design.title, page, style=_STYLE)


def ratings_figure(store: ResultStore, ratings: "DataFrame") -> Figure:
    """Box plots of listener means, side by side for each stimulus.

    Args:
        store: the results, for the names of questions and stimuli.
        ratings: of those who count.
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


def _ratings(
    store: ResultStore,
    ratings: "DataFrame",
    scores: Mapping[tuple[str, str], float] | None,
) -> Iterator[str]:
    """Tables of every question."""
    systems = list(store.design.conditions)
    for question, text in store.design.questions.items():
        means = _means(store, ratings, question)
        yield f"<h2>{html.escape(question)}: {html.escape(text)}</h2>"
        yield html_table(*rating_table(means))
        if len(systems) > 1:
            yield html_table(*pair_table(means[systems])) + _note(
                pair_note(means[systems])
            )
        rows = ratings[ratings.question == question]
        again = replicate_agreement(rows, systems)
        steady = [value for value in again.values() if not math.isnan(value)]
        if steady:
            low, high = min(steady), max(steady)
            yield _note(
                "Asked again, listeners agree with themselves with a concordance of "
                f"{low:.2f} … {high:.2f} ({len(steady)} listeners, systems only)."
            )
        if scores:
            yield _note(_metric_note(rank_agreement(rows, scores)))


def _metric_note(found: RankAgreement) -> str:
    """How well the metric ranks what listeners heard."""
    return (
        f"Mean ratings against usdr of the same {found.n} excerpts: Kendall's τ "
        f"{found.kendall:.2f}, Spearman's ρ {found.spearman:.2f}; systems within a "
        f"trial (mean of {found.n_trials}): τ {found.kendall_within:.2f}, "
        f"ρ {found.spearman_within:.2f}."
    )


def _means(store: ResultStore, ratings: "DataFrame", question: str) -> "DataFrame":
    """Listener means, in the order of the design: systems, reference, anchors."""
    means = listener_means(ratings, question)
    return means[[name for name in store.design.stimuli if name in means]]


def _choices(ratings: "DataFrame", test: str) -> Iterator[str]:
    yield html_table(*choice_table(ratings, test)) + _note(choice_note(test))


def _for_latex(
    store: ResultStore, ratings: "DataFrame"
) -> dict[str, tuple[Table, str]]:
    """Name of the file -> table and note."""
    design = store.design
    if design.test in CHOICES:
        return {
            design.test: (choice_table(ratings, design.test), choice_note(design.test))
        }
    text = "Listener means; replicates and training left out."
    return {
        question: (rating_table(_means(store, ratings, question)), text)
        for question in design.questions
    }


def _facts(
    store: ResultStore, ratings: "DataFrame", screening: Screening | None
) -> dict[str, str]:
    design = store.design
    gains = [abs(row["gain_db"]) for row in store.rows("gains")]
    n_began, n_rated = len(store.listeners()), ratings.listener.nunique()
    facts = {
        "test": design.test,
        "listeners": f"{n_began} began, {n_rated} rated",
        "ratings": f"{len(ratings)} on finished pages, training left out",
        "trials": f"{len(design.counted)}, per listener "
        f"{design.trials_per_listener or 'all'}",
        "stimuli": ", ".join(design.stimuli),
        "loudness": "matched to BS.1770" if design.match_loudness else "as it is",
        "largest gain": f"{max(gains):.1f} dB" if gains else "not logged",
        "seed": str(design.seed),
        "sha256 of the test": design.sha256(),
    }
    if screening is not None:
        gone = (f"{who} ({why})" for who, why in screening.excluded.items())
        facts["excluded by BS.1534"] = "; ".join(gone) or "nobody"
        if screening.faulty_items:
            facts["no mid anchor in"] = ", ".join(screening.faulty_items)
    return facts


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'
