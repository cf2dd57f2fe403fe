"""Parts of self-contained HTML pages: players, pictures, tables, one style.

Everything is inside the one file (mp3 players, PNG pictures), so that it can be mailed
or handed in. No script, nothing from the network; light and dark as the reader's
system is set.
"""

import base64
import html
import io
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from mssedu.audio.writer import AudioWriter

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


def write_page(
    path: str | Path, title: str, parts: Iterable[str], *, style: str = ""
) -> Path:
    """Write a page of HTML parts.

    Args:
        path: of the .html file.
        title: plain text.
        parts: HTML, one after the other.
        style: CSS beside that of all pages.
    """
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )
    path = Path(path)
    path.write_text(text, "utf-8")
    return path


def joint_gain(sounds: Iterable[Tensor]) -> float:
    """The factor ≤ 1 that keeps all of them within full scale."""
    return 1 / max([1.0, *(float(sound.abs().max()) for sound in sounds)])


def gain_note(gain: float) -> str:
    """A line on how much softer all sounds are, if they are."""
    if gain >= 1:
        return ""
    level = 20 * math.log10(gain)
    return f'<p class="note">All sounds play {-level:.1f} dB softer than scored.</p>'


def player(
    audio: Tensor, sample_rate: int, label: str, *, bitrate: int | None = None
) -> str:
    """A player of an mp3 file.

    Args:
        audio: (channels, samples) within full scale.
        sample_rate: Hz.
        label: what it plays, for those who do not see where it stands.
        bitrate: kbit/s; None: variable, about 250.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.mp3"
        with AudioWriter(file, sample_rate, *audio.shape, bitrate=bitrate) as writer:
            writer.write(audio)
        data = base64.b64encode(file.read_bytes()).decode()
    return (
        f'<audio controls preload="metadata" aria-label="{html.escape(label)}" '
        f'src="data:audio/mpeg;base64,{data}"></audio>'
    )


def picture(caption: str, figure: Figure) -> str:
    """A figure with its caption."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Plain texts, in a box of class "wide"."""
    lines = [_line("th", head), *(_line("td", row) for row in rows)]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _line(cell: str, texts: Sequence[str]) -> str:
    cells = (f"<{cell}>{html.escape(text)}</{cell}>" for text in texts)
    return f"<tr>{''.join(cells)}</tr>"


def facts_table(facts: Mapping[str, str]) -> str:
    """Names and values, a line each."""
    lines = (
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f'<table class="facts">{"".join(lines)}</table>'
