"""The HTML page of `mssedu demo`: one separated song, with players, scores, figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from mssedu.reports import page as html

_SCORES = (
    "Higher is better. Silence always scores 0 dB. “mixture” is the score of the "
    "mixture as the estimate of each stem. “irm” is the ideal ratio mask, which is "
    "computed from the true stems and shows how well such a mask can separate them. "
    "The row before it is the model that comes with the repository "
    "(data/models/README.md): it was trained for longer, mostly on songs of others."
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
    players = html.Players(sounds, page.sample_rate)
    parts = [html.heading(page.title, 1), html.paragraph(page.summary)]
    parts += [html.heading("Listen"), players.note]
    parts.append(players.row({"mixture": page.mixture}, page.title))
    for stem, estimate in page.estimates.items():
        pair = {f"{stem}, estimate": estimate, f"{stem}, true": page.references[stem]}
        parts.append(players.row(pair, page.title))
    parts += [html.heading("Scores"), _scores(page), html.paragraph(_SCORES, note=True)]
    parts.append(html.heading("Figures"))
    parts += [html.picture(caption, figure) for caption, figure in page.figures.items()]
    parts += [html.heading("How it was made"), html.facts_table(page.facts)]
    return html.write_page(path, page.title, parts)


def _scores(page: Page) -> str:
    """A row of scores for silence, mixture, model and oracle."""
    rows = []
    for name, scores in page.rows.items():
        numbers = [scores[stem] for stem in page.estimates]
        rows.append([name, *("silent" if x is None else f"{x:.2f}" for x in numbers)])
    head = (f"{page.definition} (dB)", *page.estimates)
    return html.html_table(head, rows, bold="model")
