"""A self-contained HTML page of one separated track: hear it, see it, read the scores.

The parts that any page is made of are in `page`.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from mssedu.reports.page import (
    facts_table,
    gain_note,
    joint_gain,
    picture,
    player,
    write_page,
)


@dataclass(frozen=True)
class Page:
    """What the report shows."""

    title: str
    summary: str  # a paragraph, plain text
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

    All sounds are lowered by one joint gain if any of them exceeds full scale.
    """
    sounds = [page.mixture, *page.estimates.values(), *page.references.values()]
    gain = joint_gain(sounds)
    parts = [
        f"<h1>{html.escape(page.title)}</h1><p>{html.escape(page.summary)}</p>",
        "<h2>Listen</h2>",
        _players(page, gain),
        "<h2>Scores</h2>",
        _scores(page),
        "<h2>Look</h2>",
        *(picture(caption, figure) for caption, figure in page.figures.items()),
        "<h2>How it was made</h2>",
        facts_table(page.facts),
    ]
    return write_page(path, page.title, parts)


def _players(page: Page, gain: float) -> str:
    """A line per stem: the model's estimate beside the true stem."""
    mixture = player(page.mixture * gain, page.sample_rate, "mixture")
    lines = [f"<tr><td>mixture</td><td>{mixture}</td><td></td></tr>"]
    for stem, estimate in page.estimates.items():
        ours = player(estimate * gain, page.sample_rate, f"{stem}, estimate")
        truth = page.references[stem] * gain
        true = player(truth, page.sample_rate, f"{stem}, true stem")
        name = html.escape(stem)
        lines.append(f"<tr><td>{name}</td><td>{ours}</td><td>{true}</td></tr>")
    head = "<tr><th></th><th>estimate</th><th>true stem</th></tr>"
    return f"<table>{head}{''.join(lines)}</table>{gain_note(gain)}"


def _scores(page: Page) -> str:
    stems = list(page.estimates)
    head = "".join(f"<th>{html.escape(stem)}</th>" for stem in stems)
    lines = [f"<tr><th>{html.escape(page.definition)}, dB</th>{head}</tr>"]
    for row, scores in page.rows.items():
        cells = "".join(f"<td>{_number(scores[stem])}</td>" for stem in stems)
        lines.append(f'<tr class="{html.escape(row)}"><td>{html.escape(row)}</td>')
        lines.append(f"{cells}</tr>")
    note = (
        '<p class="note">Higher is better. Silence always scores 0 dB; “mixture” is '
        "what doing nothing scores; “irm” is the ideal ratio mask, which was shown "
        "the answer and bounds every mask of its kind.</p>"
    )
    return f"<table>{''.join(lines)}</table>{note}"


def _number(score: float | None) -> str:
    return "silent" if score is None else f"{score:.2f}"
