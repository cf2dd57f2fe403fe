"""Print a DataFrame on the terminal, or write it in Markdown, LaTeX or CSV.

    DataFrame ──texts──▶ titles and cells ──render──▶ one text, or an object for rich

The rest of the package makes DataFrames of numbers. How many decimals they show is
decided here, where they are printed.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from mssedu.errors import check_name

if TYPE_CHECKING:  # pandas and rich are loaded when a table is printed
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table

Format = Literal["table", "markdown", "latex", "csv"]
FORMATS = get_args(Format)
MISSING = "–"  # a cell without a value; in CSV it is empty
UNLIMITED = 1_000_000  # characters: wider than any table
# Characters that mean something else in LaTeX, or that its fonts lack
_LATEX = {letter: "\\" + letter for letter in "&%$#_{}"}
_LATEX |= {"≥": r"$\geq$", "≤": r"$\leq$", "±": r"$\pm$", "<": "$<$", ">": "$>$"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "−": "$-$"}
_LATEX |= {"^": r"\textasciicircum{}", "…": r"\ldots{}", "–": "--"}
_NUMBER = re.compile(r"[+-](\d+(\.\d+)?(e[+-]?\d+)?%?|inf)", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\n")  # a cell that begins so is computed


def render(
    frame: "DataFrame",
    form: str = "table",
    decimals: int = 2,
    formats: Mapping[str, str] | None = None,
) -> Any:
    """A table as an object for rich's print, or as text in another format.

    On a terminal, long cells are folded to its width. In a file or a pipe, a table is
    as wide as it needs; print it there with soft_wrap, as `cli.console.out` does.

    Args:
        frame: text is printed as it is, a missing value as a dash (in CSV: as nothing).
            An index is printed only if it has a name.
        form: "table", "markdown", "latex" (for the package booktabs) or "csv".
        decimals: of floats.
        formats: column -> format specification of its floats, such as "+.2f".

    Raises:
        InputError: another form.

    Example:
        >>> import pandas
        >>> frame = pandas.DataFrame({"model": ["open_unmix"], "usdr": [6.0]})
        >>> print(render(frame, "markdown"))
        | model | usdr |
        | --- | --- |
        | open_unmix | 6.00 |
    """
    check_name("format", form, FORMATS)
    missing = "" if form == "csv" else MISSING
    head, rows = texts(frame, decimals, formats, missing)
    if form == "markdown":
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join(f"| {' | '.join(map(_markdown, line))} |" for line in lines)
    if form == "latex":
        body = [" & ".join(map(latex_text, line)) + r" \\" for line in (head, *rows)]
        begin = rf"\begin{{tabular}}{{{'l' * len(head)}}}"
        parts = [begin, r"\toprule", body[0], r"\midrule", *body[1:]]
        return "\n".join([*parts, r"\bottomrule", r"\end{tabular}"])
    if form == "csv":
        text = io.StringIO()
        lines = [[csv_cell(cell) for cell in line] for line in (head, *rows)]
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue().rstrip("\n")
    return _for_terminal(head, rows)


def texts(
    frame: "DataFrame",
    decimals: int = 2,
    formats: Mapping[str, str] | None = None,
    missing: str = MISSING,
) -> tuple[list[str], list[list[str]]]:
    """The titles and the cells of a table as texts, row by row.

    Arguments are those of `render`; `missing` stands for NaN and None.

    Example:
        >>> import pandas
        >>> texts(pandas.DataFrame({"stem": ["bass"], "usdr": [5.333]}))
        (['stem', 'usdr'], [['bass', '5.33']])
    """
    named = [name for name in frame.index.names if name is not None]
    if named:
        frame = frame.reset_index(named)
    head = [str(column) for column in frame.columns]
    columns = []
    for position, name in enumerate(head):
        form = (formats or {}).get(name, f".{decimals}f")
        column = frame.iloc[:, position]
        cells = [f"{c:{form}}" if isinstance(c, float) else str(c) for c in column]
        pairs = zip(cells, column.isna(), strict=True)
        columns.append([missing if empty else cell for cell, empty in pairs])
    rows = [list(row) for row in zip(*columns, strict=True)]
    return head, rows


def note(text: str, form: str = "table") -> str:
    """A remark below a table, as its format takes it: a comment in LaTeX and CSV."""
    if form in ("latex", "csv"):
        mark = "% " if form == "latex" else "# "
        return "\n".join(mark + line for line in text.splitlines())
    return "\n" + text


def csv_cell(value: Any) -> Any:
    """A value for a CSV file, in which spreadsheets find no formula in a text.

    Names of songs and remarks of listeners come from outside. A text that begins as a
    formula, and is no number, gets an apostrophe in front; its line ends become "\\n",
    because "\\r" would begin a new row.

    Example:
        >>> csv_cell("=1+1"), csv_cell("good"), csv_cell(-1.5)
        ("'=1+1", 'good', -1.5)
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(_FORMULA) else text


def latex_text(text: str) -> str:
    """A text in which the special characters of LaTeX are escaped."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _markdown(text: str) -> str:
    return text.replace("|", r"\|")


def _for_terminal(head: list[str], rows: list[list[str]]) -> Any:
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
