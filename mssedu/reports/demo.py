"""The HTML page of `mssedu demo`: one separated song, with players, scores, figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from mssedu.reports.page import (
    Players,
    facts_table,
    heading,
    html_table,
    paragraph,
    picture,
    write_page,
)

_SCORES = (
    "Higher is better. Silence always scores 0 dB. “mixture” is the score of the "
    "mixture as the estimate of each stem. “irm” is the ideal ratio mask, which is "
    "computed from the true stems and shows how well such a mask can separate them."
)


@dataclass(frozen=True)
class Page:
    """The content of the page."""

    title: str
    summary: str  # a paragraph of plain text
    definition: str  # of the scores
    rows: Mapping[str, Mapping[str, float | None]]  # row -> stem -> dB
    mixture: Tensor  # (channels, samples)
    estimates: Mapping[str, Tensor]  # stem -> (channels, samples)
    references: Mapping[str, Tensor]  # the same stems
    sample_rate: int
    figures: Mapping[str, Figure]  # caption -> figure
    facts: Mapping[str, str]  # name -> value, printed at the end


def write_report(path: str | Path, page: Page) -> Path:
    """Write the page as one HTML file.

    If a sound exceeds full scale, all sounds are lowered by the same gain.
    """
    sounds = [page.mixture, *page.estimates.values(), *page.references.values()]
    players = Players(sounds, page.sample_rate)
    parts = [
        heading(page.title, 1),
        paragraph(page.summary),
        heading("Listen"),
        players.note,
        players.row({"mixture": page.mixture}, page.title),
    ]
    for stem, estimate in page.estimates.items():
        pair = {f"{stem}, estimate": estimate, f"{stem}, true": page.references[stem]}
        parts.append(players.row(pair, page.title))
    parts += [
        heading("Scores"),
        _scores(page),
        heading("Figures"),
        *(picture(caption, figure) for caption, figure in page.figures.items()),
        heading("How it was made"),
        facts_table(page.facts),
    ]
    return write_page(path, page.title, parts)


def _scores(page: Page) -> str:
    """A row of scores for silence, mixture, model and oracle."""
    stems = list(page.estimates)
    rows = [
        (name, *(_number(scores[stem]) for stem in stems))
        for name, scores in page.rows.items()
    ]
    table = html_table((f"{page.definition} (dB)", *stems), rows, bold="model")
    return table + paragraph(_SCORES, note=True)


def _number(score: float | None) -> str:
    return "silent" if score is None else f"{score:.2f}"
