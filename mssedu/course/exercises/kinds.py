"""The two kinds of exercise, code and quiz, and the checks that judge an answer.

    ex = exercise("mixing.mix")      the question (Jupyter renders it)
    ex.check(mix)                    ✔ passed  ✘ failed, why  ○ not attempted  ⚠ error
    ex.hint(1), ex.solution()        help, in this order

An exercise is data: a question, a solution, hints and wrong answers. `verify` judges an
answer with `expect…`: the first claim that does not hold becomes the message. A test
proves for every exercise that the starter counts as not attempted, that the solution
passes, and that each listed wrong answer fails with its own message. So no exercise
accepts a known mistake.
"""

import functools
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import check_range

_BODY = "    return ...  # your code here"  # of a function that the student writes


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

    A wrong answer is a change of the solution, (old, new, message), where `new` takes
    the place of `old`; or other code, (source, message). The message is a part of the
    text that the student reads. All code may use what `imports` brings, because the
    notebook imports the same names.
    """

    id: str  # "topic.name"; the topic is the file of this folder
    question: str  # Markdown
    solution_source: str  # defines the answer, a function or a value
    verify: Callable[[Any], None]  # raises Wrong unless the answer is right
    hints: tuple[str, ...]  # each says more than the one before
    noticed: str  # follows "correct.": what the right answer teaches
    wrong: tuple[tuple[str, ...], ...]
    starter_source: str = ""  # as in the notebook; "": the solution without its body
    imports: str = "import math\n\nimport torch"

    def __post_init__(self) -> None:
        solution = _dedent(self.solution_source)
        signature = solution.partition("\n")[0]
        starter = _dedent(self.starter_source) or f"{signature}\n{_BODY}"
        question = _dedent(self.question)
        object.__setattr__(self, "question", question)  # the way around frozen
        object.__setattr__(self, "solution_source", solution)
        object.__setattr__(self, "starter_source", starter)

    @property
    def answer(self) -> str:
        """The name that the starter and the solution define."""
        name = re.match(r"(?:def )?(\w+)", self.solution_source)
        assert name, f"{self.id}: the solution should begin with a name"
        return name[1]

    @property
    def wrong_answers(self) -> list[tuple[str, str]]:
        """(source, part of the message) of each wrong answer."""
        answers = []
        for *change, text in self.wrong:
            if len(change) == 2:
                old, new = change
                assert old in self.solution_source, f"{self.id}: no {old!r} to replace"
                source = self.solution_source.replace(old, new)
            else:
                source = _dedent(change[0])
            answers.append((source, text))
        return answers

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
        check_range("hint number", number, 1, len(self.hints))
        of = f"Hint {number} of {len(self.hints)}"
        return Page(f"**{of}.** {self.hints[number - 1]}")

    def solution(self) -> Page:
        """Show one right answer, to read after trying."""
        return Page(f"```python\n{self.solution_source}\n```")

    def __repr__(self) -> str:
        return f"Exercise {self.id}. {self.question}"

    def _repr_markdown_(self) -> str:
        return f"**Exercise `{self.id}`.** {self.question}"


# ---- quizzes ------------------------------------------------------------------------


def make_quiz(id: str, questions: Sequence[Mapping[str, Any]]) -> Exercise:
    """A quiz: the answer is a list of letters, one per question.

    Each wrong option becomes a wrong answer; its message is the reason given there.

    Args:
        id: "topic.quiz".
        questions: as in quizzes.toml: "question" is the text, and each letter is the
            right option or a pair (wrong option, why it is wrong).
    """
    texts = [question["question"] for question in questions]
    options = [
        {letter: option for letter, option in question.items() if letter != "question"}
        for question in questions
    ]
    right = []
    for text, letters in zip(texts, options, strict=True):
        one = [letter for letter, option in letters.items() if isinstance(option, str)]
        assert len(one) == 1, f"{id}: {text}: one option should be right, not {one}"
        right += one

    def verify(answers: Any) -> None:
        count = len(options)
        listed = isinstance(answers, list | tuple) and len(answers) == count
        expect(listed, f"answers should be a list of {count} letters.")
        for number, (letters, answer) in enumerate(
            zip(options, answers, strict=True), 1
        ):
            known = answer in letters
            expect(known, f"question {number} has the options {', '.join(letters)}.")
            if not isinstance(letters[answer], str):
                raise Wrong(f"question {number} is not {answer}: {letters[answer][1]}")

    placeholders = ", ".join("..." for _ in options)
    return Exercise(
        id=id,
        question=_quiz_text(texts, options),
        solution_source=f"answers = {right}".replace("'", '"'),
        verify=verify,
        hints=("Every answer is in this notebook, above the exercises.",),
        noticed=f"All {len(options)} answers are right.",
        wrong=(
            ('answers = "abc"', "should be a list of"),
            *_wrong_letters(options, right),
        ),
        starter_source=f'answers = [{placeholders}]  # letters, such as "a"',
    )


def _quiz_text(texts: list[str], options: list[dict[str, Any]]) -> str:
    lines = ["Answer by letter."]
    for number, (text, letters) in enumerate(zip(texts, options, strict=True), 1):
        lines.append(f"\n{number}. {text}")
        for letter, option in letters.items():
            shown = option if isinstance(option, str) else option[0]
            lines.append(f"    - **{letter}** {shown}")
    return "\n".join(lines)


def _wrong_letters(
    options: list[dict[str, Any]], right: list[str]
) -> list[tuple[str, str]]:
    """(source, part of the message) of every wrong letter."""
    answers = []
    for index, letters in enumerate(options):
        for letter, option in letters.items():
            if letter != right[index]:
                source = f"answers = {[*right[:index], letter, *right[index + 1 :]]}"
                text = f"question {index + 1} is not {letter}: {option[1]}"
                answers.append((source, text))
    return answers


# ---- what `verify` claims about an answer -------------------------------------------


def expect(claim: bool | Tensor, otherwise: str) -> None:
    """Raise Wrong with the text `otherwise` unless the claim holds."""
    if not claim:
        raise Wrong(otherwise)


def expect_pair(value: Any, otherwise: str) -> Any:
    """Return a tuple or list of two; raise Wrong with that text for anything else."""
    expect(isinstance(value, tuple | list) and len(value) == 2, otherwise)
    return value


def expect_tensor(value: Any, shape: tuple[int, ...], what: str = "the result") -> None:
    """Raise Wrong unless `value` is a tensor of that shape without NaN or Inf.

    Example:
        >>> expect_tensor(torch.zeros(2, 3), (2, 3))
        >>> expect_tensor(torch.zeros(3), (2, 3), "mid")
        Traceback (most recent call last):
        mssedu.course.exercises.kinds.Wrong: mid should have the shape (2, 3), not (3,).
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
    expect(_is_close(got, wanted, tolerance), otherwise)


def expect_differs(
    got: Any, mistake: Any, otherwise: str, *, tolerance: float = 1e-4
) -> None:
    """Raise Wrong if `got` is what a known mistake gives, within `tolerance`."""
    expect(not _is_close(got, mistake, tolerance), otherwise)


def _is_close(got: Any, wanted: Any, tolerance: float) -> bool:
    difference = torch.as_tensor(got).double() - torch.as_tensor(wanted).double()
    return bool((difference.abs() <= tolerance).all())


# ---- what `check` makes of an answer ------------------------------------------------


def _dedent(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def _watched(answer: Any) -> Any:
    """The answer; a function also checks each result for the placeholder."""
    if not callable(answer):
        return _attempted(answer)

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _attempted(answer(*args, **kwargs))

    return call


def _attempted(value: Any) -> Any:
    """Return the value; raise NotAttempted if it is, or contains, the placeholder."""
    inside = value.values() if isinstance(value, dict) else value
    unfinished = isinstance(value, dict | list | tuple) and any(
        v is ... for v in inside
    )
    if value is None or value is ... or unfinished:
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
