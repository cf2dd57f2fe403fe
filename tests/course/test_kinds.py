"""What a check returns and shows, and the helpers that judge an answer."""

import math
import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from mssedu.course.exercises import Status, expect, kinds
from mssedu.course.exercises.kinds import checks
from mssedu.course.exercises.limits import TooLong, forbidden, time_limit
from mssedu.errors import InputError


def double(x):
    """Write `double`."""
    return 2 * x


@checks(
    double,
    hints=("Twice.", "2 * x"),
    noticed="Twice is x + x.",
    wrong=(
        ("2 * x", "x", "double(2) should be 4, not 2"),
        ("def double(x):\n    return x**2 + 1", "not 5"),
    ),
)
def _verify_double(answer):
    expect.that(answer(2) == 4, f"double(2) should be 4, not {answer(2)}.")


DOUBLE = replace(_verify_double, id="test.double")


def _divide(x):
    y = x - x
    return x / y


@pytest.mark.parametrize(
    ("answer", "status", "shown"),
    [
        (lambda x: 2 * x, Status.PASS, "✔ test.double: correct. Twice is x + x."),
        (lambda x: x, Status.FAIL, "✘ test.double: double(2) should be 4, not 2."),
        (lambda x: ..., Status.NOT_ATTEMPTED, "`...` and return the result."),
        (lambda x: None, Status.FAIL, "returned None. Is a `return` missing?"),
        (lambda x: np.float32(2 * x), Status.PASS, "✔"),
        (lambda x: np.array(2 * x), Status.PASS, "✔"),
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


def test_an_exercise_has_the_name_of_its_file_and_check():
    assert _verify_double.id == "test_kinds.double"


def test_the_starter_is_the_solution_without_its_body():
    body = "    return ...  # your code here"
    assert DOUBLE.starter_source == f"def double(x):\n{body}"
    value = checks(
        """
        x_2 = 4
        """,
        hints=(),
        noticed="",
        wrong=(),
        question="What is `x_2`?",
        starter="\n    x_2 = ...\n",
    )(_verify_double.verify)
    assert (value.starter_source, value.solution_source) == ("x_2 = ...", "x_2 = 4")
    assert value.answer == "x_2"


def test_the_answer_is_what_the_solution_defines():
    assert DOUBLE.answer == "double"


def test_a_wrong_answer_is_a_change_of_the_solution_or_other_code():
    assert DOUBLE.wrong_answers == [
        ("def double(x):\n    return x", "double(2) should be 4, not 2"),
        ("def double(x):\n    return x**2 + 1", "not 5"),
    ]
    with pytest.raises(AssertionError, match="no '3"):
        _ = replace(DOUBLE, wrong=(("3 * x", "x", "never"),)).wrong_answers


def test_an_answer_must_not_change_its_input():
    def verify(answer):
        answer(1, torch.ones(2))

    each = replace(DOUBLE, verify=verify)
    assert each.check(lambda _, x: x + 1).status is Status.PASS
    outcome = each.check(lambda _, x: x.add_(1))
    assert outcome.status is Status.FAIL
    assert "changes its argument 2" in outcome.text


def test_expect_speaks_only_when_broken():
    expect.that(torch.tensor(True), "never")
    with pytest.raises(expect.Wrong, match="too big"):
        expect.that(2 < 1, "too big")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "mid should be a tensor, not float"),
        (torch.zeros(2), r"mid should have the shape \(3,\), not \(2,\)"),
        (torch.tensor([0.0, math.nan, 1.0]), "mid should have finite values"),
    ],
)
def test_expect_tensor(value, text):
    with pytest.raises(expect.Wrong, match=text):
        expect.tensor(value, (3,), "mid")


def test_expect_items():
    assert expect.items((1, 2), 2, "never") == (1, 2)
    assert expect.items([1], 1, "never") == [1]
    assert expect.items(torch.ones(2, 3), 2, "never")[0].equal(torch.ones(3))
    for value in ((1,), torch.zeros(3), torch.tensor(2.0), "ab", None):
        with pytest.raises(expect.Wrong, match="two things"):
            expect.items(value, 2, "two things")


@pytest.mark.parametrize("value", ["1", True, torch.zeros(2), [1]])
def test_expect_number_refuses(value):
    with pytest.raises(expect.Wrong, match="gain should be one number"):
        expect.number(value, "gain")


@pytest.mark.parametrize(
    "value",
    [1, 1.5, torch.tensor(1.0), torch.ones(1), np.float32(2), Fraction(1, 2)],
)
def test_expect_number_accepts(value):
    assert expect.number(value, "gain") == value


def test_expect_close():
    expect.close(torch.ones(3), 1.0 + 1e-6, "never")
    with pytest.raises(expect.Wrong, match="far apart"):
        expect.close(1.0, [1.0, 1.1], "far apart")
    with pytest.raises(expect.Wrong, match="far apart"):
        expect.close(1.0, math.nan, "far apart")
    with pytest.raises(expect.Wrong, match=r"mid should have the shape \(1,\)"):
        expect.close(torch.ones(3), torch.ones(1), "never", what="mid")
    with pytest.raises(expect.Wrong, match="far apart"):
        expect.close(torch.tensor([1j]), torch.tensor([0j]), "far apart")


def test_expect_close_names_a_known_mistake():
    with pytest.raises(expect.Wrong, match=r"^far apart Twice\.$"):
        expect.close(2, 1, "far apart", mistakes={"Thrice.": 3, "Twice.": 2})
    with pytest.raises(expect.Wrong, match=r"^far apart$"):
        expect.close(4, 1, "far apart", mistakes={"Thrice.": 3})


def test_expect_same_compares_item_by_item():
    expect.same((1.0, torch.ones(2)), (1.00001, torch.ones(2)), "never")
    for got in (1.0, (1.0,), (1.0, torch.zeros(2)), (1.0, torch.ones(3)), "ab"):
        with pytest.raises(expect.Wrong):
            expect.same(got, (1.0, torch.ones(2)), "differs")


# ---- NumPy, returns, limits ---------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        np.ones((2, 3)),
        np.ones((2, 3), dtype="float32")[:, ::-1],
        np.broadcast_to(np.float32(1), (2, 3)),
    ],
)
def test_arrays_count_as_tensors(given):
    def verify(answer):
        expect.that(expect.tensor(answer(0), (2, 3)).equal(torch.ones(2, 3)), "no")
        expect.that(expect.tensor(answer(1)[0], (2, 3)).equal(torch.ones(2, 3)), "no")

    each = replace(DOUBLE, verify=verify)
    assert each.check(lambda n: [given] if n else given).status is Status.PASS


def test_values_of_numpy_count():
    def verify(answer):
        expect.that(answer == {"a": 3, "b": [1, 2], "c": ["x"]}, f"not {answer}")

    value = {"a": np.int64(3), "b": [np.int64(1), 2], "c": np.array(["x"])}
    assert replace(DOUBLE, verify=verify).check(value).status is Status.PASS


def test_a_stub_of_nbgrader_is_not_attempted():
    def double(x):
        raise NotImplementedError

    outcome = DOUBLE.check(double)
    assert outcome.status is Status.NOT_ATTEMPTED
    assert not outcome
    assert DOUBLE.check(lambda x: 2 * x)


def test_an_endless_loop_is_stopped(monkeypatch):
    monkeypatch.setattr(kinds, "LONGEST_CHECK", 0.2)

    def double(x):
        while True:
            x += 1

    outcome = DOUBLE.check(double)
    assert outcome.status is Status.ERROR
    assert "Is there a loop that does not end?" in outcome.text


def test_a_loop_that_catches_exceptions_is_stopped():
    def stubborn():
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    with pytest.raises(TooLong), time_limit(0.2):
        stubborn()


def test_a_block_in_time_is_left_alone_in_any_thread():
    ended = []

    def work():
        with time_limit(5.0):
            ended.append(sum(range(1000)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [499500]


def test_a_forbidden_function_is_refused():
    with forbidden(["softmax"], "not that one"):
        assert torch.ones(3).sum() == 3
        with pytest.raises(expect.Wrong, match="not that one"):
            torch.ones(3).softmax(0)
        with pytest.raises(expect.Wrong, match="not that one"):
            torch.nn.functional.softmax(torch.ones(3), 0)
    assert torch.ones(2).softmax(0).sum() == 1


def test_a_package_without_solutions_says_so():
    page = replace(DOUBLE, solution_source="", wrong=()).solution()
    assert repr(page) == "The solutions are with your teacher."
