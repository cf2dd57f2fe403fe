"""Tables in four formats."""

import csv
import io

import pytest
from rich.console import Console

from mssedu.checks import InputError
from mssedu.tables import latex_text, note, render

HEAD, ROWS = ("model", "field, s"), [("open_unmix", "≥ 6.00"), ("a&b", "50 %")]


def test_markdown():
    assert render(HEAD, [*ROWS, ("x|y", "1")], "markdown").splitlines() == [
        "| model | field, s |",
        "| --- | --- |",
        "| open_unmix | ≥ 6.00 |",
        "| a&b | 50 % |",
        r"| x\|y | 1 |",
    ]


def test_latex():
    latex = render(HEAD, ROWS, "latex").splitlines()
    assert latex[0] == r"\begin{tabular}{ll}"
    assert latex[1] == r"\toprule"
    assert latex[4] == r"open\_unmix & $\geq$ 6.00 \\"
    assert latex[5] == r"a\&b & 50 \% \\"
    assert latex[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert latex_text("a\\b{c}~") == r"a\textbackslash{}b\{c\}\textasciitilde{}"


def test_csv_is_read_back():
    rows = [("a,b", 'say "x"'), ("line\nbreak", "–")]
    text = render(HEAD, rows, "csv")
    assert [tuple(row) for row in csv.reader(io.StringIO(text))] == [HEAD, *rows]


def test_table_shows_brackets():
    console = Console(file=io.StringIO(), width=80)
    console.print(render(("a",), [("[bold]",)]))
    assert "[bold]" in console.file.getvalue()


def test_notes_are_comments_where_there_are_such():
    assert note("one\ntwo", "csv") == "# one\n# two"
    assert note("one", "latex") == "% one"
    assert note("one") == note("one", "markdown") == "\none"


def test_unknown_format():
    with pytest.raises(InputError, match="a format of"):
        render(("a",), [], "html")
