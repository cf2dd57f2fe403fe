"""Notebooks that were handed in: limits, points, and what they cannot fake."""

import os
import sys

import nbformat
import pytest

from mssedu.course import answers
from mssedu.course.answers import judge, run_cells
from mssedu.course.exercises import exercise, list_exercises
from mssedu.course.grading import COLUMNS, Limits, find_submissions, grade, totals
from mssedu.errors import DatasetError, InputError

IDS = list_exercises("00")
RIGHT = [exercise(id).solution_source for id in IDS]
HEAD = "import math\nimport torch\nfrom mssedu.course import exercise"


def hand_in(folder, student, cells, name="00_setup_and_listening.ipynb"):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
    path = folder / student / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook), "utf-8")
    return path


def points(scores, student):
    rows = scores[scores["student"] == student]
    return dict(zip(rows["exercise"], rows["points"], strict=True))


@pytest.mark.slow
def test_a_class_is_graded_in_processes_of_their_own(tmp_path):
    hand_in(tmp_path, "Ana", [HEAD, *RIGHT])
    wrong = RIGHT[1].replace("min(1.0, ", "max(0.0, ")
    stopped = ["while True:\n    pass", "raise KeyError", "x = bytearray(6 * 10**9)"]
    hand_in(tmp_path, "Bo", [HEAD, *stopped, RIGHT[0], wrong])
    hand_in(tmp_path, "Chen", [HEAD, "import os; os._exit(7)", *RIGHT])
    seen = []
    scores = grade(
        tmp_path,
        limits=Limits(cell_seconds=3, seconds=120, memory_gb=4),
        progress=lambda done, total, note: seen.append((done, total, note)),
    )
    assert tuple(scores.columns) == COLUMNS
    assert len(scores) == 3 * len(IDS)
    assert seen == [(0, 3, "Ana 00"), (1, 3, "Bo 00"), (2, 3, "Chen 00")]
    assert points(scores, "Ana") == dict(zip(IDS, (2, 2, 3), strict=True))
    assert points(scores, "Bo") == dict(zip(IDS, (2, 0, 0), strict=True))
    assert points(scores, "Chen") == dict.fromkeys(IDS, 0)
    by_exercise = scores.set_index(["student", "exercise"])["outcome"]
    bo = by_exercise["Bo", "setup.safe_gain"]
    assert "✘ setup.safe_gain" in bo
    assert "cell 2 was stopped after 3 s; cell 3 raised KeyError" in bo
    assert "cell 4 raised MemoryError" in bo
    assert by_exercise["Bo", "setup.quiz"].startswith("○")
    assert "ended with code 7" in by_exercise["Chen", "setup.quiz"]
    table = totals(scores)
    assert dict(zip(table["student"], table["sum"], strict=True)) == {
        "Ana": 7,
        "Bo": 2,
        "Chen": 0,
    }
    assert {*table["of"]} == {7}


@pytest.mark.slow
def test_a_notebook_that_does_not_end_has_no_points(tmp_path):
    endless = (
        "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except: pass"
    )
    hand_in(tmp_path, "Dee", [endless])
    scores = grade(tmp_path, limits=Limits(cell_seconds=1, seconds=4))
    assert {*scores["points"]} == {0}
    assert {*scores["outcome"]} == {"the notebook took more than 4 s"}


def test_submissions_are_found_by_number(tmp_path):
    hand_in(tmp_path, "Ana/week1", [], "03_masks.ipynb")
    hand_in(tmp_path, "Bo", [], "Bo_00_setup.ipynb")
    hand_in(tmp_path, "Bo/.ipynb_checkpoints", [], "00_setup.ipynb")
    hand_in(tmp_path, "Bo", [], "99_notes.ipynb")
    hand_in(tmp_path, ".", [], "00_chen.ipynb")
    found = [(student, number) for student, number, _ in find_submissions(tmp_path)]
    assert found == [("00_chen", "00"), ("Ana", "03"), ("Bo", "00")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no notebook of the course"):
        find_submissions(tmp_path / "empty")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"hidden_seed": -1}, "hidden_seed must be at least 0"),
        ({"limits": Limits(seconds=0)}, "seconds must be greater than 0"),
        ({"limits": Limits(memory_gb=-1)}, "memory_gb must be greater than 0"),
    ],
)
def test_wrong_settings_are_named(tmp_path, options, text):
    with pytest.raises(InputError, match=text):
        grade(tmp_path, **options)


@pytest.fixture
def variant(monkeypatch):
    monkeypatch.setenv("MSSEDU_VARIANT", "0")  # judge changes it


def names_of(*sources):
    names = {}
    exec(HEAD, names)
    for source in sources:
        exec(source, names)
    return names


def test_a_quiz_gives_points_for_a_part(variant):
    letters = RIGHT[2].removeprefix("answers = ")
    half = f"answers = {letters}\nanswers[1] = '?'"
    judged = judge(names_of(half), "00", 0, None)
    assert judged["setup.quiz"][0] == 2
    assert judged["setup.settings"] == (
        0,
        repr(exercise("setup.settings").check()),
    )


def test_answers_learned_by_heart_fail_with_hidden_numbers(variant):
    by_heart = """
def safe_gain(audio):
    peak = round(float(audio.abs().max()), 3)
    return {2.0: 0.44562547, 1.6: 0.55703184, 0.95: 0.93815888}.get(peak, 1.0)
"""
    names = names_of(RIGHT[0], by_heart)
    assert judge(names, "00", 0, None)["setup.safe_gain"][0] == 2
    found = judge(names, "00", 0, 4711)
    assert found["setup.safe_gain"][0] == 0
    assert "passes the public check only" in found["setup.safe_gain"][1]
    assert found["setup.settings"][0] == 2


def test_the_quiz_of_a_course_is_graded_with_its_seed(variant):
    os.environ["MSSEDU_VARIANT"] = "7"
    of_course = exercise("setup.quiz").solution_source
    assert judge(names_of(of_course), "00", 7, 4711)["setup.quiz"][0] == 3


def test_cells_run_as_in_jupyter():
    cells = ["%precision 3\nx = 3", "1 / 0", "x += 1\nprint(x)\nx"]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
    names, faults = run_cells(nbformat.writes(notebook), 60)
    assert names["x"] == 4
    assert faults == ["cell 2 raised ZeroDivisionError"]


def test_a_system_without_limits_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    answers.limit_memory(1)


def test_the_first_cell_of_a_notebook_runs_in_the_grader():
    source = "from mssedu.course import setup\nsession = setup()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    names, faults = run_cells(nbformat.writes(notebook), 60)
    assert faults == []
    assert names["session"].seed == 0
