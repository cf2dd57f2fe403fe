"""Folders for a class: marks for nbgrader, and a package that holds no solution."""

import ast
import json
import os
import subprocess
import sys
import zipfile

import nbformat
import pytest

from mssedu.course.build import notebook_path, texts
from mssedu.course.exercises import EXERCISES, exercise, list_exercises
from mssedu.course.exercises.sealed import seal, unseal, without_solutions
from mssedu.course.handout import for_class, make_instructor, student_wheel
from mssedu.errors import InputError


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package for students, unpacked as pip would do it."""
    folder = tmp_path_factory.mktemp("student")
    with zipfile.ZipFile(student_wheel(folder)) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def notebook(number="00", **options):
    (text,) = texts(number)
    found = nbformat.read(notebook_path(text), as_version=4)
    for_class(found, **options)
    nbformat.validate(found)
    return found


def marked(cells, **wanted):
    marks = [(cell, cell.metadata.get("nbgrader", {})) for cell in cells]
    return [
        cell
        for cell, mark in marks
        if mark and all(mark[name] == value for name, value in wanted.items())
    ]


def test_a_notebook_for_students_has_no_solution():
    found = notebook(solved=False)
    answers = marked(found.cells, solution=True)
    asked = [exercise(id) for id in list_exercises("00")]
    assert [cell.source for cell in answers] == [each.starter_source for each in asked]
    assert "SOLUTION" not in nbformat.writes(found)
    checks = marked(found.cells, grade=True, locked=True)
    assert [cell.source for cell in checks] == [
        f'exercise("{each.id}").check({each.answer})' for each in asked
    ]
    assert [cell.metadata.nbgrader.points for cell in checks] == [2, 2, 3]
    ids = [cell.metadata.nbgrader.grade_id for cell in answers + checks]
    assert len({*ids}) == len(ids)


def test_a_notebook_for_the_teacher_has_solutions_between_marks():
    found = notebook(solved=True)
    answer = marked(found.cells, grade_id="setup-safe_gain")[0].source
    head, begin, *body, end = answer.splitlines()
    assert head == "def safe_gain(audio):"
    assert (begin.strip(), end.strip()) == ("### BEGIN SOLUTION", "### END SOLUTION")
    assert f"{head}\n" + "\n".join(body) == exercise("setup.safe_gain").solution_source
    value = marked(found.cells, grade_id="setup-settings")[0].source
    assert value.startswith("### BEGIN SOLUTION\nsettings = {")
    (check,) = marked(found.cells, grade_id="setup-safe_gain-check")
    assert 'assert exercise("setup.safe_gain").check(safe_gain)' in check.source


def test_a_seed_chooses_the_quiz_that_is_shown(monkeypatch):
    shown = str(notebook(solved=False, seed=7))
    monkeypatch.setenv("MSSEDU_VARIANT", "7")
    question = exercise("setup.quiz").question.splitlines()[2]
    assert question[3:] in shown
    assert '"MSSEDU_VARIANT", "7"' in shown


def test_a_folder_with_files_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="has files already"):
        make_instructor(tmp_path, ["00"])
    with pytest.raises(InputError, match="notebook '99'"):
        make_instructor(tmp_path / "new", ["99"])
    with pytest.raises(InputError, match="seed must be at least 0"):
        make_instructor(tmp_path / "new", ["00"], seed=-1)


def test_a_sealed_text_comes_back():
    assert unseal(seal("answer = 42 · λ")) == "answer = 42 · λ"
    assert unseal("[[setup]]") == "[[setup]]"
    assert "answer" not in seal("answer = 42")


def test_what_only_a_solution_uses_is_left_out():
    source = '''
_TRAP = "def f(x): return 3 * x"
_USED = 4


def f(x):
    """Write `f(x)`."""
    return 2 * x


def g(x):
    """Write `g(x)`."""
    return x + 1


@checks(f, hints=("Twice.",), noticed="n", wrong=((_TRAP, "no"),))
def _verify_f(answer):
    expect.close(answer(2), _USED, "no")


@checks(g, hints=(), noticed="n", wrong=(("1", "2", "no"),), varied=lambda draw: (1,))
def _verify_g(answer):
    expect.close(answer(2), g(2), "no")
'''
    questions = {"_verify_f": ("Write f.", "def f(x):"), "_verify_g": ("Write g.", "g")}
    bare = without_solutions(source, questions)
    assert "2 * x" not in bare
    assert "_TRAP" not in bare
    assert "varied" not in bare
    assert "x + 1" in bare  # the check compares with it
    assert "question='Write f.'" in bare
    assert "_USED = 4" in bare


def lines_of(source):
    """The lines of a solution that say how it is done."""
    body = ast.unparse(ast.parse(source)).splitlines()
    return [line.strip() for line in body if len(line.strip()) > 25]


def test_no_file_of_the_package_shows_a_solution(package):
    files = [
        (package / "mssedu/course/exercises" / f"{topic}.py").read_text("utf-8")
        for topic in EXERCISES
    ]
    files.append((package / "mssedu/course/exercises/quizzes.toml").read_text("utf-8"))
    everything = "\n".join(files)
    for id in list_exercises():
        each = exercise(id)
        for line in lines_of(each.solution_source):
            assert line not in everything, id
        assert each.verify.__name__ not in everything, id


_PROGRAM = """
import json, sys
import mssedu
from mssedu.course.exercises import exercise, list_exercises
import importlib
cases = json.load(open(sys.argv[1]))
found = {}
for id in list_exercises():
    each = exercise(id)
    namespace = dict(vars(importlib.import_module(cases[id]["module"])))
    results = []
    for source in cases[id]["sources"]:
        space = dict(namespace)
        exec(source, space)
        results.append(repr(each.check(space[each.answer])))
    found[id] = [repr(each.solution()), *results]
print(json.dumps([mssedu.__file__, found]))
"""


@pytest.mark.slow
def test_the_package_for_students_checks_as_this_one_does(package, tmp_path):
    cases = {}
    for id in list_exercises():
        each = exercise(id)
        sources = [each.solution_source, each.starter_source, each.wrong_answers[0][0]]
        module = f"mssedu.course.exercises.{id.partition('.')[0]}"
        cases[id] = {"module": module, "sources": sources}
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, str(tmp_path / "cases.json")],
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    file, found = json.loads(done.stdout.splitlines()[-1])
    assert file.startswith(str(package))
    for id, (solution, right, starter, wrong) in found.items():
        assert solution == "The solutions are with your teacher."
        assert right.startswith("✔"), right
        assert starter.startswith("○"), starter
        assert wrong.startswith("✘"), wrong
        assert exercise(id).wrong_answers[0][1] in wrong


def test_pip_knows_the_package(package):
    (info,) = package.glob("*.dist-info")
    assert "+student" in info.name
    metadata = (info / "METADATA").read_text("utf-8")
    assert "Version: " in metadata
    assert "Requires-Dist: torch" in metadata
    names = {line.split(",")[0] for line in (info / "RECORD").read_text().splitlines()}
    assert "mssedu/__init__.py" in names
    assert "mssedu/course/exercises/quizzes.toml" in names
