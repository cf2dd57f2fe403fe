"""Each built notebook says what its text says, ran in order, and is small and clean.

These tests read; `make test` also runs every notebook with nbval, which compares only
cells that have outputs. So it must be proved here that the outputs are there.
"""

import ast
import importlib
import re

import nbformat
import pytest

from mssedu.course.build import notebook_path, stale, texts
from mssedu.course.exercises import exercise, list_exercises
from mssedu.course.notebook import show_source

TEXTS = texts()
HEADINGS = ("## Listen first", "## What to remember", "## Exercises", "## Sources")
ROWS = ("Path", "Before", "Time", "Data", "License", "Next")
HEADER = ("**Aim.**", *(f"| {row} |" for row in ROWS))
IMPORT = re.compile(r"\s*(import|from) [\w.]+")
FORBIDDEN = {
    "an address": r"0x[0-9a-f]{6,}",
    "sound in base64": r"data:audio",
    "a path of one machine": r"/home/|/Users/|/root/|/tmp/|[A-Z]:\\\\",
}


@pytest.fixture(params=TEXTS, ids=lambda text: text.stem)
def text(request):
    return request.param


@pytest.fixture
def notebook(text):
    return nbformat.read(notebook_path(text), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def imported(source):
    """Names that a piece of Python imports."""
    return {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def test_there_are_notebooks():
    numbers = [text.name[:2] for text in TEXTS]
    assert numbers == sorted(set(numbers))
    assert len(TEXTS) >= 2


def test_built_from_its_text(text):
    assert stale(text) == ""


def test_no_notebook_without_a_text(text):
    found = {path.stem for path in notebook_path(text).parent.glob("*.ipynb")}
    assert found == {path.stem for path in TEXTS}


def test_few_imports(text):
    lines = [ln for ln in text.read_text("utf-8").splitlines() if IMPORT.match(ln)]
    assert "import mssedu as ms" in lines
    assert len(lines) <= 12


def test_files_of_the_repository_are_found_beside_the_songs(text):
    # Else the package must be installed from the clone, and fails without a word.
    assert "__file__" not in text.read_text("utf-8")


def test_ran_once_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_cell_failed(notebook):
    kinds = {out.output_type for cell in code_cells(notebook) for out in cell.outputs}
    assert "error" not in kinds


def test_quoted_numbers_are_checked(notebook):
    checked = tagged(notebook, "nbval-check-output")
    assert len(checked) >= 3
    assert all(cell.outputs for cell in checked)


def test_nothing_of_one_machine_inside(text):
    content = notebook_path(text).read_text(encoding="utf-8")
    found = {kind for kind, regex in FORBIDDEN.items() if re.search(regex, content)}
    assert not found


def test_small_enough_for_git(text):
    assert notebook_path(text).stat().st_size < 800_000


def test_metadata(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    record = notebook.metadata.mssedu
    assert set(record) == {"digest", "profile", "seconds", "versions"}
    assert set(record.versions) == {"mssedu", "python", "torch"}
    assert record.seconds <= 240
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert set().union(*(cell.metadata for cell in notebook.cells)) <= {"tags"}
    assert "widgets" not in notebook.metadata


def test_shape_of_a_chapter(text, notebook):
    header = notebook.cells[0].source
    assert header.startswith(f"# {text.name[:2]} · ")
    assert [row for row in HEADER if row not in header] == []
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    lines = prose.splitlines()
    assert [heading for heading in HEADINGS if heading not in lines] == []


def test_shown_source_is_current(notebook):
    for cell in code_cells(notebook):
        call = re.fullmatch(r'show_source\("([\w.]+)"\)', cell.source.strip())
        assert bool(call) == ("show_source(" in cell.source), "the only line of a cell"
        if call:
            assert cell.outputs[0].data["text/plain"] == repr(show_source(call[1]))


def test_exercises_stand_in_the_notebook_word_by_word(text, notebook):
    number = text.name[:2]
    asked = [exercise(id) for id in list_exercises(number)]
    cells = tagged(notebook, "exercise")
    assert 2 <= len(asked) == len(cells)
    for each, cell in zip(asked, cells, strict=True):
        check = f'exercise("{each.id}").check({each.answer})'
        starter, last = cell.source.rsplit("\n", 1)
        assert starter.strip() == each.starter_source
        assert last == check
        shown = cell.outputs[0].data["text/plain"]
        assert shown.startswith(f"○ {each.id}: not attempted")
        assert f'exercise("{each.id}")' in [c.source for c in notebook.cells]


def test_solutions_need_only_what_the_notebook_imports(text, notebook):
    available = set().union(*(imported(cell.source) for cell in code_cells(notebook)))
    for each in map(exercise, list_exercises(text.name[:2])):
        topic = importlib.import_module(each.verify.__module__)
        names = ast.walk(ast.parse(each.solution_source))
        used = {node.id for node in names if isinstance(node, ast.Name)}
        needed = used & {*vars(topic)} - {each.answer}
        assert needed <= available, each.id
