"""Tables in four formats."""

import csv
import io
import re

import pytest
from pandas import NA, DataFrame
from rich.console import Console

from mssedu.cli import card, evaluate
from mssedu.cli import commands as cli
from mssedu.cli.console import out, say
from mssedu.errors import InputError
from mssedu.evaluation.published import published_table
from mssedu.reports.tables import latex_text, note, render, texts

HEAD, ROWS = ("model", "field, s"), [("open_unmix", "≥ 6.00"), ("a&b", "50 %")]


def frame_of(head, rows):
    return DataFrame(rows, columns=list(head))


def test_markdown():
    assert render(frame_of(HEAD, [*ROWS, ("x|y", "1")]), "markdown").splitlines() == [
        "| model | field, s |",
        "| --- | --- |",
        "| open_unmix | ≥ 6.00 |",
        "| a&b | 50 % |",
        r"| x\|y | 1 |",
    ]


def test_latex():
    latex = render(frame_of(HEAD, ROWS), "latex").splitlines()
    assert latex[0] == r"\begin{tabular}{ll}"
    assert latex[1] == r"\toprule"
    assert latex[4] == r"open\_unmix & $\geq$ 6.00 \\"
    assert latex[5] == r"a\&b & 50 \% \\"
    assert latex[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert latex_text("a\\b{c}~") == r"a\textbackslash{}b\{c\}\textasciitilde{}"


def test_csv_is_read_back():
    rows = [("a,b", 'say "x"'), ("line\nbreak", "–")]
    text = render(frame_of(HEAD, rows), "csv")
    assert [tuple(row) for row in csv.reader(io.StringIO(text))] == [HEAD, *rows]


class Terminal(io.StringIO):
    """A screen, as a program sees it."""

    def isatty(self):
        return True


LONG = ("aggregation", "-100.0…-10 0.0", "x" * 70, "a stem of many words", "end")


@pytest.mark.parametrize("settings", [{}, {"force_terminal": True}])
def test_a_table_in_a_pipe_is_as_wide_as_it_needs(settings):
    """Colors that are forced upon a pipe make no terminal of it."""
    console = Console(file=io.StringIO(), width=30, soft_wrap=True, **settings)
    table = frame_of(LONG, [LONG, ("a", "b", "c", "d", "e")])
    console.print(render(table), markup=False)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4  # head, rule, two rows
    for cell in LONG:
        assert cell in lines[0]
        assert cell in lines[2]


def test_a_table_on_a_terminal_keeps_to_its_width():
    console = Console(file=Terminal(), width=60, soft_wrap=True, no_color=True)
    console.print(render(frame_of(LONG, [LONG])))
    text = re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("x") == 2 * 70  # folded, nothing is lost


@pytest.mark.parametrize("show", [say, evaluate._print, out.print])
def test_the_commands_print_tables_whole_in_a_pipe(show, capsys):
    show(render(frame_of(LONG, [LONG])))
    lines = capsys.readouterr().out.splitlines()
    assert all(cell in lines[2] for cell in LONG)


@pytest.mark.parametrize("command", ["models", "published"])
def test_long_tables_of_the_command_line_are_whole_in_a_pipe(command, capsys):
    assert cli.main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = card.sizes() if command == "models" else published_table(sources=False)
    table = table.select_dtypes(exclude="number")
    for number, row in enumerate(texts(table)[1]):
        assert all(cell in lines[2 + number] for cell in row)


def test_table_shows_brackets():
    console = Console(file=io.StringIO(), width=80)
    console.print(render(DataFrame({"a": ["[bold]"]})))
    assert "[bold]" in console.file.getvalue()


def test_notes_are_comments_where_there_are_such():
    assert note("one\ntwo", "csv") == "# one\n# two"
    assert note("one", "latex") == "% one"
    assert note("one") == note("one", "markdown") == "\none"


def test_cells_are_text_numbers_or_missing():
    frame = DataFrame(
        {
            "stem": ["bass", None, "-0.5"],
            "usdr": [5.333, float("nan"), -0.25],
            "n": [3, 4, 5],
            "mixed": [1.0, "4.5…6.1", NA],
        }
    )
    assert texts(frame) == (
        ["stem", "usdr", "n", "mixed"],
        [
            ["bass", "5.33", "3", "1.00"],
            ["–", "–", "4", "4.5…6.1"],
            ["-0.5", "-0.25", "5", "–"],
        ],
    )
    assert render(frame, "csv", decimals=1).splitlines()[1:] == [
        "bass,5.3,3,1.0",
        ",,4,4.5…6.1",
        "-0.5,-0.2,5,",
    ]
    _, rows = texts(frame, formats={"usdr": "+.1f"})
    assert [row[1] for row in rows] == ["+5.3", "–", "-0.2"]


def test_an_index_is_printed_if_it_has_a_name():
    frame = DataFrame({"usdr": [1.0]}, index=["bass"])
    assert texts(frame) == (["usdr"], [["1.00"]])
    assert texts(frame.rename_axis("stem")) == (["stem", "usdr"], [["bass", "1.00"]])


def test_unknown_format():
    with pytest.raises(InputError, match="unknown format 'html'"):
        render(DataFrame(), "html")


def test_no_text_of_a_csv_is_a_formula():
    """Names of songs come from outside; numbers, and texts of numbers, stay."""
    names = [
        "=1+1",
        "+1-1",
        "-a",
        "@x",
        "\tx",
        "\rx",
        "a=b\r\n=1\r=1",
        "-0.5",
        "+1e3",
        "-5%",
    ]
    frame = DataFrame({"=song": names, "usdr": [-1.5] * len(names)})
    head, *rows = csv.reader(io.StringIO(render(frame, "csv"), newline=""))
    assert head == ["'=song", "usdr"]
    safe = [f"'{name}" for name in names[:5]] + ["'\nx", "a=b\n=1\n=1"] + names[7:]
    assert rows == [[name, "-1.50"] for name in safe]
    assert render(frame.set_index("=song"), "csv") == render(frame, "csv")
