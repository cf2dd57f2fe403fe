"""Pages and slides of the notebooks that need no network: one HTML file each.

    built notebook ──formulas become pictures──▶ page (nbconvert, without its scripts)
                   ──a slide for each figure──▶ deck (arrow keys, or print it)

Other exports load MathJax and scripts from the network, and show `$$ … $$` without it.
"""

import base64
import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import nbformat
from matplotlib.mathtext import math_to_image
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbformat import NotebookNode

from mssedu.audio.files import write_text
from mssedu.course.build import notebook_path, texts

_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
# A formula in a line may go on in the next one, but not in the next paragraph.
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|(?<![\\$])\$(?! )((?:[^$\n]|\n(?!\s*\n))+?)(?<! )\$", re.DOTALL
)
_HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
_SCRIPT = re.compile(r"<script\b.*?</script>|<link\b[^>]*>", re.DOTALL)
_ANCHOR = re.compile(r'<a class="anchor-link".*?</a>')
_STYLE = """<style>.highlight pre { font-family: monospace; }
.jp-OutputArea-output pre { word-break: normal; overflow-wrap: anywhere; }
</style></head>"""
# TeX that matplotlib's reader has no word for, and what stands for it
_PLAIN = (
    (re.compile(r"\\tfrac"), r"\\frac"),
    (re.compile(r"\\(ge|le)(?![A-Za-z])"), r"\\\1q"),
    (re.compile(r"\\underbrace(\{[^{}]*\})_(\{\\text\{[^{}]*\}\})"), r"\\underset\2\1"),
    (re.compile(r"\\[lr]Vert"), r"\\|"),
    (re.compile(r"\\[lr]vert"), "|"),
    (re.compile(r"\\sqrt ?([A-Za-z0-9])"), r"\\sqrt{\1}"),
    (re.compile(r"\\text\{([^{}]*)\}"), lambda m: _upright(m[1])),
)
_DECK = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ margin: 0; font: 1.5rem/1.45 system-ui, sans-serif; color: #222; }}
section {{ box-sizing: border-box; height: 100vh; padding: 3vh 6vw; display: none;
  flex-direction: column; justify-content: center; overflow: auto; }}
section.now {{ display: flex; }}
section > img {{ width: 100%; height: 60vh; object-fit: contain;
  margin: auto; }}
h1, h2 {{ margin: 0 0 .5em; }} h2 {{ font-size: 1.8rem; }}
p img {{ vertical-align: middle; }} code {{ background: #eee; }}
footer {{ position: fixed; right: 1vw; bottom: 1vh; font-size: 1rem; color: #555; }}
@media print {{ section {{ display: flex; break-after: page; }}
  footer {{ display: none; }} }}
</style></head><body>
{slides}
<footer aria-live="polite"></footer>
<script>
const pages = document.querySelectorAll("section");
let now = 0;
function show(place) {{
  now = Math.max(0, Math.min(pages.length - 1, place));
  pages.forEach((page, index) => page.classList.toggle("now", index === now));
  document.querySelector("footer").textContent = `${{now + 1}} / ${{pages.length}}`;
}}
document.addEventListener("keydown", (event) => {{
  const step = {{ ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1 }};
  if (event.key in step) {{ event.preventDefault(); show(now + step[event.key]); }}
}});
document.addEventListener("click", () => show(now + 1));
show(0);
</script></body></html>
"""


def make_pages(out_dir: Path, numbers: Sequence[str] = ()) -> list[Path]:
    """Write each built notebook as a page that loads nothing; return the paths.

    Args:
        out_dir: folder for NN_topic.html; older pages there are replaced.
        numbers: of the notebooks, such as "03"; all if there are none.

    Raises:
        InputError: no notebook has one of the numbers.
        SetupError: this is no checkout with notebooks.
    """
    return _write(_page, out_dir, numbers)


def make_slides(out_dir: Path, numbers: Sequence[str] = ()) -> list[Path]:
    """Write a deck for each chapter, with a slide for each figure; return the paths.

    Args:
        out_dir: folder for NN_topic.html; older decks there are replaced.
        numbers: of the notebooks, such as "03"; all if there are none.

    Raises:
        InputError: no notebook has one of the numbers.
        SetupError: this is no checkout with notebooks.
    """
    return _write(_deck, out_dir, numbers)


def _write(
    render: Callable[[str, NotebookNode], str], out_dir: Path, numbers: Sequence[str]
) -> list[Path]:
    """Write a file for each built notebook; `render` makes HTML of name and content."""
    written = []
    for text in [text for number in numbers or ["all"] for text in texts(number)]:
        page = render(text.stem, nbformat.read(notebook_path(text), as_version=4))
        path = out_dir / f"{text.stem}.html"
        out_dir.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
        written.append(path)
    return written


def _page(name: str, notebook: NotebookNode) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(cell.source)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["text/html"] = _image(output)  # nbconvert shows it first
    body, _ = HTMLExporter(embed_images=True).from_notebook_node(
        notebook, {"metadata": {"name": name}}
    )
    return _SCRIPT.sub("", body).replace("</head>", _STYLE, 1)


def _deck(name: str, notebook: NotebookNode) -> str:
    slides = "\n".join(f"<section>{slide}</section>" for slide in _slides(notebook))
    title = _heading(notebook.cells[0].source) or name
    return _DECK.format(title=html.escape(title), slides=slides)


def _slides(notebook: NotebookNode) -> Iterator[str]:
    """The inside of each slide: title and aim, the figures, what to remember."""
    cells = notebook.cells
    first = cells[0].source.partition("\n| ")[0]
    yield _as_html(first)
    heading = ""
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            heading = _heading(cell.source) or heading
            if "## What to remember" in cell.source:
                rest = cell.source[cell.source.index("## What to remember") :]
                rest = re.split(r"\n## |\n\*\*What this", rest[3:])[0]
                yield _as_html(f"## {rest}")
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                note = _as_html(_note(cells[place + 1 :]))
                yield f"<h2>{html.escape(heading)}</h2>{_image(output, heading)}{note}"


def _image(output: NotebookNode, otherwise: str = "") -> str:
    """The image tag of a picture, with the text that stands for it."""
    known = output.get("metadata", {}).get("image/png", {})
    alt = html.escape(known.get("alt", otherwise), quote=True)
    data = "".join(output.data["image/png"].split())
    return f'<img alt="{alt}" src="data:image/png;base64,{data}">'


def _as_html(markdown: str) -> str:
    """HTML of a Markdown text with formulas, without the links to its headings."""
    return _ANCHOR.sub("", markdown2html_mistune(with_formulas(markdown)))


def _note(following: Sequence[NotebookNode]) -> str:
    """The paragraph on a figure: "What to notice", else the first one after it."""
    if not following or following[0].cell_type != "markdown":
        return ""
    paragraphs = following[0].source.split("\n\n")
    marked = [part for part in paragraphs if part.startswith("**What to notice.**")]
    return (
        marked or [part for part in paragraphs[:1] if part[:1] not in "#|$"] or [""]
    )[0]


def _heading(source: str) -> str:
    """The last heading in a Markdown text, or nothing."""
    found = _HEADING.findall(_CODE.sub("", source))
    return found[-1].replace("`", "") if found else ""


# ---- formulas -----------------------------------------------------------------------


def with_formulas(markdown: str) -> str:
    """A Markdown text with a picture in place of each formula; code stays as it is.

    Example:
        >>> with_formulas("a level of $20$ dB").startswith("a level of <img")
        True
    """
    parts = _CODE.split(markdown)
    parts[::2] = [_FORMULA.sub(_picture, part) for part in parts[::2]]
    return "".join(parts)


def _picture(found: re.Match[str]) -> str:
    """An image tag for a formula; the TeX itself where matplotlib cannot read it."""
    tex = " ".join((found[1] or found[2]).split())
    plain = tex
    for pattern, new in _PLAIN:
        plain = pattern.sub(new, plain)
    alt = html.escape(tex, quote=True)
    if found[1]:
        plain = plain.replace(r"\frac", r"\dfrac")  # large, on a line of its own
    svg = io.BytesIO()
    try:
        depth = math_to_image(f"${plain}$", svg, format="svg")
    except ValueError:
        return f"`{tex}`"
    source = base64.b64encode(svg.getvalue()).decode("ascii")
    inline = f"vertical-align: {-depth:g}pt"  # on the line of the text
    style = "display: block; margin: .7em 0" if found[1] else inline
    return f'<img alt="{alt}" style="{style}" src="data:image/svg+xml;base64,{source}">'


def _upright(words: str) -> str:
    """Upright letters in a formula, with their spaces."""
    return r"\mathrm{" + words.replace(" ", r"\ ") + "}"
