"""An exercise is data: a question, a starter, a solution, hints and wrong answers.

    ex = exercise("mixing.mix")      the question (Jupyter renders it)
    ex.check(mix)                    ✔ passed  ✘ failed, why  ○ not attempted  ⚠ error
    ex.hint(1), ex.solution()        help, in this order

`verify` judges an answer with `expect…`: the first claim that does not hold becomes
the message. A test proves for every exercise that the starter counts as not attempted,
that the solution passes and that each listed wrong answer fails with its own message,
so no exercise can praise a mistake.
"""

import functools
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import check_range


class Status(Enum):
    """How a check ended; the value is the mark in front of its text."""

    PASS = "✔"
    FAIL = "✘"
    NOT_ATTEMPTED = "○"
    ERROR = "⚠"


@dataclass(frozen=True, repr=False)
class Outcome:
    """What `check` returns: a status and one text, shown as a single line."""

    status: Status
    text: str

    def __repr__(self) -> str:
        return f"{self.status.value} {self.text}"


@dataclass(frozen=True, repr=False)
class Page:
    """Markdown that a notebook renders and a terminal prints."""

    markdown: str

    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


class Wrong(Exception):  # noqa: N818 - a verdict on the answer, not a fault of ours
    """A claim about the answer that does not hold; the student reads its text."""


class NotAttempted(Exception):  # noqa: N818
    """The answer is still the placeholder of the starter."""


@dataclass(frozen=True, repr=False)
class Exercise:
    """One task of a notebook: what is asked, how it is judged, how it is solved.

    The sources may use what `imports` brings; a notebook imports the same names.
    """

    id: str  # "topic.name"; the topic is the file of this folder
    notebook: str  # number of the notebook that asks it, such as "01"
    question: str  # Markdown
    answer: str  # the name that the sources define: a function or a value
    starter_source: str  # stands in the notebook word by word
    solution_source: str  # shown by `solution` only
    verify: Callable[[Any], None]  # returns if the answer is right, else raises Wrong
    hints: tuple[str, ...]  # each says more than the one before
    noticed: str  # follows "correct.": what the right answer teaches
    wrong_answers: tuple[tuple[str, str], ...]  # (source, part of the message)
    imports: str = "import math\n\nimport torch"

    def __post_init__(self) -> None:
        for name in ("question", "starter_source", "solution_source"):
            object.__setattr__(self, name, _dedent(getattr(self, name)))
        wrong = tuple((_dedent(source), text) for source, text in self.wrong_answers)
        object.__setattr__(self, "wrong_answers", wrong)  # the way around frozen

    def check(self, answer: Any = ...) -> Outcome:
        """Judge an answer: passed, failed and why, not attempted, or an error.

        Args:
            answer: the function or value that the question asks for.
        """
        try:
            self.verify(_watched(answer))
        except NotAttempted:
            text = "not attempted yet. Put your code in place of `...`"
            text += " and return the result." if callable(answer) else "."
            return Outcome(Status.NOT_ATTEMPTED, f"{self.id}: {text}")
        except Wrong as wrong:
            return Outcome(Status.FAIL, f"{self.id}: {wrong}")
        except Exception as error:  # whatever a student's code may raise
            return Outcome(Status.ERROR, f"{self.id}: {_short(error, answer)}")
        return Outcome(Status.PASS, f"{self.id}: correct. {self.noticed}")

    def hint(self, number: int = 1) -> Page:
        """Show a hint; a later one says more.

        Raises:
            InputError: there is no hint of that number.
        """
        check_range("number", number, 1, len(self.hints), where=f"{self.id} hint")
        of = f"Hint {number} of {len(self.hints)}"
        return Page(f"**{of}.** {self.hints[number - 1]}")

    def solution(self) -> Page:
        """Show one right answer, to read after trying."""
        return Page(f"```python\n{self.solution_source}\n```")

    def __repr__(self) -> str:
        return f"Exercise {self.id}. {self.question}"

    def _repr_markdown_(self) -> str:
        return f"**Exercise `{self.id}`.** {self.question}"


def expect(claim: bool | Tensor, otherwise: str) -> None:
    """Raise Wrong with the text `otherwise` unless the claim holds."""
    if not claim:
        raise Wrong(otherwise)


def expect_tensor(value: Any, shape: tuple[int, ...], what: str = "the result") -> None:
    """Raise Wrong unless `value` is a tensor of that shape without NaN or Inf.

    Example:
        >>> expect_tensor(torch.zeros(2, 3), (2, 3))
        >>> expect_tensor(torch.zeros(3), (2, 3), "mid")
        Traceback (most recent call last):
        mssedu.course.exercises.exercise.Wrong: mid should have the shape (2, 3), not (3,).
    """
    kind = type(value).__name__
    expect(isinstance(value, Tensor), f"{what} should be a tensor, not {kind}.")
    got = tuple(value.shape)
    expect(got == shape, f"{what} should have the shape {shape}, not {got}.")
    finite = bool(torch.isfinite(value).all())
    expect(finite, f"{what} should have finite values, not NaN or Inf.")


def expect_number(value: Any, what: str = "the result") -> None:
    """Raise Wrong unless `value` is one number (a tensor of one element counts)."""
    single = isinstance(value, Tensor) and value.numel() == 1
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = type(value).__name__
    expect(single or is_number, f"{what} should be one number, not {kind}.")


def expect_close(
    got: Any, wanted: Any, otherwise: str, *, tolerance: float = 1e-5
) -> None:
    """Raise Wrong unless all values differ by at most `tolerance`."""
    difference = torch.as_tensor(got).double() - torch.as_tensor(wanted).double()
    expect(bool((difference.abs() <= tolerance).all()), otherwise)


def _dedent(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def _watched(answer: Any) -> Any:
    """The answer, or a function that notices that its body is still a placeholder."""
    if not callable(answer):
        return _attempted(answer)

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _attempted(answer(*args, **kwargs))

    return call


def _attempted(value: Any) -> Any:
    """Return the value; raise NotAttempted if it is, or holds, the placeholder."""
    inside = value.values() if isinstance(value, dict) else value
    held = isinstance(value, dict | list | tuple) and any(v is ... for v in inside)
    if value is None or value is ... or held:
        raise NotAttempted
    return value


def _short(error: Exception, answer: Any) -> str:
    """One line: the kind of error, the line of the answer it came from, its text."""
    code = getattr(answer, "__code__", None)
    lines = [
        line - code.co_firstlineno + 1
        for frame, line in traceback.walk_tb(error.__traceback__)
        if code is not None and frame.f_code is code
    ]
    place = f" in line {lines[-1]} of {answer.__name__}" if lines else ""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"your code raised {type(error).__name__}{place}: {first}"
