"""A self-contained HTML page of one separated track: hear it, see it, read the scores.

Everything is inside the one file (mp3 players, PNG pictures), so that it can be mailed
or handed in. No script, nothing from the network.
"""

import base64
import html
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mssedu.audio import save_audio

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child { text-align: left; }
tr.model td { font-weight: 600; }
table.facts td { text-align: left; }
audio { width: 16rem; max-width: 100%; vertical-align: middle; }
figure { margin: 1.5rem 0; } img { max-width: 100%; background: #fff; }
figcaption, .note { color: #777; font-size: .9rem; }
"""


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
    gain = 1 / max(1.0, *(float(sound.abs().max()) for sound in sounds))
    parts = [
        f"<h1>{html.escape(page.title)}</h1><p>{html.escape(page.summary)}</p>",
        "<h2>Listen</h2>",
        _players(page, gain),
        "<h2>Scores</h2>",
        _scores(page),
        "<h2>Look</h2>",
        *(_picture(caption, figure) for caption, figure in page.figures.items()),
        "<h2>How it was made</h2>",
        _facts(page.facts),
    ]
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(page.title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )
    path = Path(path)
    path.write_text(text, "utf-8")
    return path


def _players(page: Page, gain: float) -> str:
    """A line per stem: the model's estimate beside the true stem."""
    mixture = _player(page.mixture * gain, page.sample_rate, "mixture")
    lines = [f"<tr><td>mixture</td><td>{mixture}</td><td></td></tr>"]
    for stem, estimate in page.estimates.items():
        ours = _player(estimate * gain, page.sample_rate, f"{stem}, estimate")
        truth = page.references[stem] * gain
        true = _player(truth, page.sample_rate, f"{stem}, true stem")
        name = html.escape(stem)
        lines.append(f"<tr><td>{name}</td><td>{ours}</td><td>{true}</td></tr>")
    note = ""
    if gain < 1:
        level = 20 * torch.tensor(gain).log10().item()
        note = (
            f'<p class="note">All sounds play {-level:.1f} dB softer than scored.</p>'
        )
    head = "<tr><th></th><th>estimate</th><th>true stem</th></tr>"
    return f"<table>{head}{''.join(lines)}</table>{note}"


def _player(audio: Tensor, sample_rate: int, label: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.mp3"
        save_audio(file, audio, sample_rate)
        data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<audio controls preload="metadata" aria-label="{html.escape(label)}" '
        f'src="data:audio/mpeg;base64,{data}"></audio>'
    )


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


def _picture(caption: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _facts(facts: Mapping[str, str]) -> str:
    lines = (
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f'<table class="facts">{"".join(lines)}</table>'
