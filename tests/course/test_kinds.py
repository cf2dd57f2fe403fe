"""What a check returns and shows, and the helpers that judge an answer."""

import math
from dataclasses import replace

import pytest
import torch

from mssedu.course.exercises import Status, exercise
from mssedu.course.exercises.kinds import (
    Exercise,
    Wrong,
    expect,
    expect_close,
    expect_number,
    expect_pair,
    expect_tensor,
    make_quiz,
)
from mssedu.errors import InputError


def _verify(double):
    expect(double(2) == 4, f"double(2) should be 4, not {double(2)}.")


DOUBLE = Exercise(
    id="test.double",
    question="Write `double`.",
    solution_source="""
        def double(x):
            return 2 * x
        """,
    verify=_verify,
    hints=("Twice.", "2 * x"),
    noticed="Twice is x + x.",
    wrong=(
        ("2 * x", "x", "double(2) should be 4, not 2"),
        ("def double(x):\n    return x**2 + 1", "not 5"),
    ),
)


def _divide(x):
    y = x - x
    return x / y


@pytest.mark.parametrize(
    ("answer", "status", "shown"),
    [
        (lambda x: 2 * x, Status.PASS, "✔ test.double: correct. Twice is x + x."),
        (lambda x: x, Status.FAIL, "✘ test.double: double(2) should be 4, not 2."),
        (lambda x: None, Status.NOT_ATTEMPTED, "`...` and return the result."),
        (lambda x: (..., x), Status.NOT_ATTEMPTED, "○ test.double: not attempted yet."),
        (..., Status.NOT_ATTEMPTED, "Put your code in place of `...`."),
        (None, Status.NOT_ATTEMPTED, "○ test.double"),
        ({"a": ...}, Status.NOT_ATTEMPTED, "○ test.double"),
        (
            _divide,
            Status.ERROR,
            "⚠ test.double: your code raised ZeroDivisionError in line 3 of _divide: "
            "division by zero",
        ),
        (5, Status.ERROR, "your code raised TypeError: 'int' object is not callable"),
    ],
)
def test_outcomes(answer, status, shown):
    outcome = DOUBLE.check(answer)
    assert outcome.status is status
    assert shown in repr(outcome)


def test_an_error_without_text_still_reads_well():
    def double(x):
        raise KeyError

    text = DOUBLE.check(double).text
    assert text.endswith("raised KeyError in line 2 of double: no message")


def test_pages_render_as_markdown():
    assert DOUBLE.solution()._repr_markdown_() == (
        "```python\ndef double(x):\n    return 2 * x\n```"
    )
    assert repr(DOUBLE.hint(2)) == "**Hint 2 of 2.** 2 * x"
    assert DOUBLE._repr_markdown_() == "**Exercise `test.double`.** Write `double`."
    assert repr(DOUBLE) == "Exercise test.double. Write `double`."


def test_no_such_hint():
    with pytest.raises(InputError, match=r"hint number .* 1 to 2, got 3"):
        DOUBLE.hint(3)


def test_the_starter_is_the_solution_without_its_body():
    body = "    return ...  # your code here"
    assert DOUBLE.starter_source == f"def double(x):\n{body}"
    assert replace(DOUBLE, id="test.other").starter_source == DOUBLE.starter_source
    own = replace(DOUBLE, starter_source="\n    double = ...\n")
    assert own.starter_source == "double = ..."


def test_the_answer_is_what_the_solution_defines():
    assert DOUBLE.answer == "double"
    assert replace(DOUBLE, solution_source="x_2 = 4").answer == "x_2"


def test_a_wrong_answer_is_a_change_of_the_solution_or_other_code():
    assert DOUBLE.wrong_answers == [
        ("def double(x):\n    return x", "double(2) should be 4, not 2"),
        ("def double(x):\n    return x**2 + 1", "not 5"),
    ]
    with pytest.raises(AssertionError, match="no '3"):
        _ = replace(DOUBLE, wrong=(("3 * x", "x", "never"),)).wrong_answers


def test_expect_speaks_only_when_broken():
    expect(torch.tensor(True), "never")
    with pytest.raises(Wrong, match="too big"):
        expect(2 < 1, "too big")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "mid should be a tensor, not float"),
        (torch.zeros(2), r"mid should have the shape \(3,\), not \(2,\)"),
        (torch.tensor([0.0, math.nan, 1.0]), "mid should have finite values"),
    ],
)
def test_expect_tensor(value, text):
    with pytest.raises(Wrong, match=text):
        expect_tensor(value, (3,), "mid")


def test_expect_pair():
    expect_pair((1, 2), "never")
    expect_pair([1, 2], "never")
    for value in ((1,), torch.zeros(2), "ab", None):
        with pytest.raises(Wrong, match="two things"):
            expect_pair(value, "two things")


@pytest.mark.parametrize("value", ["1", True, torch.zeros(2), [1]])
def test_expect_number_refuses(value):
    with pytest.raises(Wrong, match="gain should be one number"):
        expect_number(value, "gain")


@pytest.mark.parametrize("value", [1, 1.5, torch.tensor(1.0), torch.ones(1)])
def test_expect_number_accepts(value):
    expect_number(value, "gain")


def test_expect_close():
    expect_close(torch.ones(3), 1.0 + 1e-6, "never")
    with pytest.raises(Wrong, match="far apart"):
        expect_close(1.0, torch.tensor([1.0, 1.1]), "far apart")
    with pytest.raises(Wrong, match="far apart"):
        expect_close(1.0, math.nan, "far apart")


def test_quiz_gives_the_reason_for_a_wrong_letter():
    quiz = exercise("setup.quiz")
    assert quiz.starter_source.startswith("answers = [..., ..., ...]")
    assert (
        "question 2 is not a: that is the factor 0.71" in quiz.check(list("bac")).text
    )
    assert "question 1 has the options a, b, c." in quiz.check(["d", "a", "a"]).text
    assert quiz.check(["b", ..., "a"]).status is Status.NOT_ATTEMPTED
    assert "1. A and B are two recordings" in quiz.question
    assert "    - **b** They are equal" in quiz.question


def test_a_quiz_has_one_right_option_per_question():
    two = {"question": "Which?", "a": "this", "b": "that"}
    with pytest.raises(AssertionError, match="one option should be right"):
        make_quiz("test.quiz", [two])
