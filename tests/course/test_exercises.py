"""Every exercise: starter not attempted, solution passes, wrong answers fail."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from mssedu.course import exercises
from mssedu.course.exercises import (
    EXERCISES,
    Exercise,
    Status,
    exercise,
    list_exercises,
)
from mssedu.errors import InputError

ALL = [exercise(id) for id in list_exercises()]
WRONG = [
    pytest.param(each, source, text, id=f"{each.id}-{number}")
    for each in ALL
    for number, (source, text) in enumerate(each.wrong_answers)
]


def answer_of(each: Exercise, source: str):
    """What the name of the answer means after this source ran in its topic file."""
    namespace = {**vars(importlib.import_module(each.verify.__module__))}
    exec(source, namespace)
    return namespace[each.answer]


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.id)
def test_starter_is_not_attempted(each):
    outcome = each.check(answer_of(each, each.starter_source))
    assert outcome.status is Status.NOT_ATTEMPTED, outcome


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.id)
def test_solution_passes(each):
    outcome = each.check(answer_of(each, each.solution_source))
    assert outcome.status is Status.PASS, outcome
    assert repr(outcome) == f"✔ {each.id}: correct. {each.noticed}"


@pytest.mark.parametrize(("each", "source", "text"), WRONG)
def test_wrong_answer_fails_with_its_message(each, source, text):
    outcome = each.check(answer_of(each, source))
    assert outcome.status is Status.FAIL, outcome
    assert text in outcome.text


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.id)
def test_exercise_is_complete(each):
    assert each.question
    assert each.noticed
    assert each.hints
    assert len(each.wrong_answers) >= 2
    assert each.id.partition(".")[0] in EXERCISES
    assert each.check().status is Status.NOT_ATTEMPTED
    alone = re.search(r":\n\s+\.\.\.", each.starter_source)
    assert not alone, "write `return ...`: ruff joins a lone `...` to the line above"


def test_ids_are_unique():
    ids = list_exercises()
    assert len(set(ids)) == len(ids)


def test_the_table_names_every_file_and_every_quiz():
    folder = Path(exercises.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "expect",
        "kinds",
    }
    quizzes = tomllib.loads((folder / "quizzes.toml").read_text("utf-8"))
    assert files == {*EXERCISES} >= {*quizzes}


def test_exercises_of_one_notebook():
    assert list_exercises("00") == ["setup.settings", "setup.safe_gain", "setup.quiz"]
    with pytest.raises(InputError, match="notebook '99'"):
        list_exercises("99")


def test_unknown_id_names_the_nearest():
    with pytest.raises(InputError, match=r"'mixing\.mx'\. Did you mean 'mixing\.mix'"):
        exercise("mixing.mx")
    with pytest.raises(InputError, match=r"Did you mean 'mixing\.mix'"):
        exercise("mixin.mix")
