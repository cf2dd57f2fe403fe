"""Tables of texts, for the terminal, Markdown, LaTeX or CSV.

    head, rows ──render──▶ one text, or an object that rich prints

Whoever makes numbers makes texts of them first: a table knows nothing of decibels.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal, get_args

from mssedu.checks import check_name

Format = Literal["table", "markdown", "latex", "csv"]
FORMATS = get_args(Format)
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
    check_name("render", "format", form, FORMATS)
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
    return table
