"""Tables of texts, for the terminal, Markdown, LaTeX or CSV.

    head, rows ──render──▶ one text, or an object that rich prints

Whoever makes numbers makes texts of them first: a table knows nothing of decibels.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from mssedu.errors import check_name

if TYPE_CHECKING:  # rich is loaded when a table is printed
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table

Format = Literal["table", "markdown", "latex", "csv"]
FORMATS = get_args(Format)
UNLIMITED = 1_000_000  # letters: wider than any table
Head = tuple[str, ...]
Rows = Sequence[tuple[str, ...]]
# Letters that mean something else in LaTeX, or that its fonts lack
_LATEX = {letter: "\\" + letter for letter in "&%$#_{}"}
_LATEX |= {
    "…": r"\ldots{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
_LATEX |= {"^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}


def render(head: Head, rows: Rows, form: str = "table") -> Any:
    """A table as an object for rich's print, or as text in another format.

    The object folds long cells to the width of a terminal. In a file or a pipe it is as
    wide as it needs; print it there with soft_wrap, as `mssedu.cli.console.out` does.

    Args:
        head: titles of the columns.
        rows: as many texts each.
        form: "table", "markdown", "latex" (for the package booktabs) or "csv".

    Raises:
        InputError: another form.

    Example:
        >>> print(render(("model", "s"), [("open_unmix", "6.0")], "markdown"))
        | model | s |
        | --- | --- |
        | open_unmix | 6.0 |
    """
    check_name("format", form, FORMATS)
    if form == "markdown":
        lines = [head, ("---",) * len(head), *rows]
        return "\n".join(f"| {' | '.join(map(_markdown, line))} |" for line in lines)
    if form == "latex":
        body = [" & ".join(map(latex_text, line)) + r" \\" for line in (head, *rows)]
        begin = rf"\begin{{tabular}}{{{'l' * len(head)}}}"
        parts = [begin, r"\toprule", body[0], r"\midrule", *body[1:]]
        return "\n".join([*parts, r"\bottomrule", r"\end{tabular}"])
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([head, *rows])
        return text.getvalue().rstrip("\n")
    return _for_terminal(head, rows)


def note(text: str, form: str = "table") -> str:
    """A remark below a table, as its format takes it: a comment in LaTeX and CSV.

    Example:
        >>> note("Mean of 50 tracks.", "latex")
        '% Mean of 50 tracks.'
    """
    if form in ("latex", "csv"):
        mark = "% " if form == "latex" else "# "
        return "\n".join(mark + line for line in text.splitlines())
    return "\n" + text


def latex_text(text: str) -> str:
    """Letters that mean something else in LaTeX, masked."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _markdown(text: str) -> str:
    return text.replace("|", r"\|")


def _for_terminal(head: Head, rows: Rows) -> Any:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for title in head:
        table.add_column(escape(title), overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return _Unbroken(table)


@dataclass(frozen=True)
class _Unbroken:
    """A table whose cells are folded on a terminal only."""

    table: "Table"

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[Segment]":
        # Colors may be forced upon a pipe, so rich's own is_terminal does not serve.
        if not console.file.isatty():
            options = options.update(width=UNLIMITED)
        yield from console.render(self.table, options)
