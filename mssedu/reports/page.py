"""Parts of self-contained HTML pages: players, pictures, tables, one style.

Everything is inside one file (MP3 players, PNG pictures), so that it can be sent by
mail or handed in. It contains no script and loads nothing from the network; its colors
are light or dark, as the system of the reader is set.
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

from mssedu.audio.files import write_text
from mssedu.audio.writer import AudioWriter
from mssedu.figures.style import DPI

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child { text-align: left; }
tr.bold td { font-weight: 600; }
table.facts td { text-align: left; }
div.wide { overflow-x: auto; }
h1, h2, table.facts td { overflow-wrap: anywhere; }
audio { max-width: 100%; vertical-align: middle; }
figure { margin: 1.5rem 0; } img { max-width: 100%; background: #fff; }
figcaption, .note { color: inherit; opacity: .75; font-size: .9rem; }
.players { display: grid; gap: .2rem 1rem; margin: .5rem 0;
           grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.players figure { margin: 0; } .players audio { width: 100%; }
"""


def write_page(
    path: str | Path, title: str, parts: Iterable[str], *, style: str = ""
) -> Path:
    """Write a page of HTML parts.

    Args:
        path: of the .html file.
        title: plain text.
        parts: HTML, one after the other.
        style: CSS in addition to that of all pages.
    """
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )
    write_text(path, text)
    return Path(path)


def heading(text: str, level: int = 2) -> str:
    """A heading; level 1 is the title of the page."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str, *, note: bool = False) -> str:
    """A paragraph of plain text; a note is small and pale. Empty text gives nothing."""
    start = '<p class="note">' if note else "<p>"
    return f"{start}{html.escape(text)}</p>" if text else ""


class Players:
    """The audio players of a page, all with the same gain.

    Args:
        sounds: all sounds of the page, each (channels, samples). If one of them
            exceeds full scale, the gain lowers all of them.
        sample_rate: Hz, of all sounds.
        bitrate: kbit/s of the MP3 files; variable, about 250, if None.
    """

    def __init__(
        self, sounds: Iterable[Tensor], sample_rate: int, bitrate: int | None = None
    ) -> None:
        self.gain = 1 / max([1.0, *(float(sound.abs().max()) for sound in sounds)])
        self.sample_rate, self.bitrate = sample_rate, bitrate
        self.n = 0  # players made so far

    @property
    def note(self) -> str:
        """A line on how much softer all sounds are; empty if they are not."""
        level = -20 * math.log10(self.gain)
        text = f"All sounds play {level:.1f} dB softer than scored."
        return paragraph(text if self.gain < 1 else "", note=True)

    def row(self, sounds: Mapping[str, Tensor], what: str) -> str:
        """Players side by side, each below its label.

        Args:
            sounds: label -> (channels, samples).
            what: words that a screen reader reads before the label.
        """
        self.n += len(sounds)
        parts = []
        for label, sound in sounds.items():
            parts.append(
                f"<figure><figcaption>{html.escape(label)}</figcaption>"
                '<audio controls preload="metadata" '
                f'aria-label="{html.escape(f"{what}, {label}")}" '
                f'src="data:audio/mpeg;base64,{self._mp3(sound)}"></audio></figure>'
            )
        return f'<div class="players">{"".join(parts)}</div>'

    def _mp3(self, sound: Tensor) -> str:
        """The sound, with the gain, as an MP3 file in base64."""
        form = (self.sample_rate, *sound.shape)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "sound.mp3"
            with AudioWriter(file, *form, bitrate=self.bitrate) as writer:
                writer.write(sound * self.gain)
            return base64.b64encode(file.read_bytes()).decode()


def picture(caption: str, figure: Figure) -> str:
    """A figure with its caption; its own text, if it has one, is for screen readers."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    alt = html.escape(getattr(figure, "alt", "")) or text
    image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def html_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, bold: str = ""
) -> str:
    """A table of plain texts; the row whose first cell is `bold` is in bold."""
    lines = [_line("th", head), *(_line("td", row, row[0] == bold) for row in rows)]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def facts_table(facts: Mapping[str, str]) -> str:
    """Names and values, a line each."""
    lines = "".join(_line("td", item) for item in facts.items())
    return f'<table class="facts">{lines}</table>'


def _line(cell: str, texts: Sequence[str], bold: bool = False) -> str:
    cells = "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in texts)
    return f'<tr class="bold">{cells}</tr>' if bold else f"<tr>{cells}</tr>"
