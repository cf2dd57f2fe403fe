"""The two kinds of exercise, code and quiz, and the checks that judge an answer.

    ex = exercise("mixing.mix")      the question (Jupyter renders it)
    ex.check(mix)                    ✔ passed  ✘ failed, why  ○ not attempted  ⚠ error
    ex.hint(1), ex.solution()        help, in this order

A topic file writes an exercise as two functions: the solution, whose docstring is the
question, and below it the check, with hints and wrong answers in its decorator:

    def double(x):
        "Write `double(x)`, two times x."
        return 2 * x

    @checks(double, hints=…, noticed=…, wrong=…)
    def _verify_double(answer):
        expect.close(answer(2), 4, "double(2) should be 4.")

A test proves for every exercise that the starter counts as not attempted, that the
solution passes, and that each wrong answer fails with its own message.
"""

import ast
import functools
import inspect
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor

from mssedu.course.exercises.expect import Wrong, items, that
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


class NotAttempted(Exception):  # noqa: N818
    """The answer is still the placeholder of the starter."""


@dataclass(frozen=True, repr=False)
class Exercise:
    """One task of a notebook: what is asked, how it is judged, how it is solved.

    A wrong answer is a change of the solution, (old, new, message), where `new` takes
    the place of `old`; or other code, (source, message). The message is a part of the
    text that the student reads.
    """

    id: str  # "topic.name"; the topic is the file of this folder
    question: str  # Markdown
    solution_source: str  # defines the answer, a function or a value
    starter_source: str  # as in the notebook
    verify: Callable[[Any], None]  # raises Wrong unless the answer is right
    hints: tuple[str, ...]  # each says more than the one before
    noticed: str  # follows "correct.": what the right answer teaches
    wrong: tuple[tuple[str, ...], ...]

    @property
    def answer(self) -> str:
        """The name that the starter and the solution define."""
        return re.findall(r"\w+", self.solution_source.removeprefix("def "))[0]

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
        """Judge the function or value that the question asks for."""
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
        return Page(f"**Hint {number} of {len(self.hints)}.** {self.hints[number - 1]}")

    def solution(self) -> Page:
        """Show one right answer, to read after trying."""
        return Page(f"```python\n{self.solution_source}\n```")

    def __repr__(self) -> str:
        return f"Exercise {self.id}. {self.question}"

    def _repr_markdown_(self) -> str:
        return f"**Exercise `{self.id}`.** {self.question}"


# ---- the two kinds ------------------------------------------------------------------


def checks(
    solution: Callable[..., Any] | str,
    *,
    hints: tuple[str, ...],
    noticed: str,
    wrong: tuple[tuple[str, ...], ...],
    question: str = "",
    starter: str = "",
) -> Callable[[Callable[[Any], None]], Exercise]:
    """Make the exercise "file.name" of the function below, `_verify_name`.

    The solution is a function, whose docstring is the question, or code that sets a
    value. An empty starter is the function without its body.
    """
    if callable(solution):
        question = inspect.getdoc(solution) or ""
        lines = inspect.getsource(solution).splitlines()
        _, first, *_ = ast.parse("\n".join(lines)).body[0].body  # type: ignore[attr-defined]
        source = "\n".join([lines[0], *lines[first.lineno - 1 :]])
        starter = starter or f"{lines[0]}\n    return ...  # your code here"
    else:
        source = _dedent(solution)
    question, starter = _dedent(question), _dedent(starter)

    def make(verify: Callable[[Any], None]) -> Exercise:
        topic, name = verify.__module__.split(".")[-1], verify.__name__
        id = f"{topic}.{name.removeprefix('_verify_')}"
        return Exercise(id, question, source, starter, verify, hints, noticed, wrong)

    return make


def _dedent(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def make_quiz(id: str, questions: Sequence[Mapping[str, Any]]) -> Exercise:
    """A quiz: the answer is a list of letters, one per question.

    `questions` are as in quizzes.toml: "question" is the text, and each letter is the
    right option or a pair (wrong option, why it is wrong). The reason is the message.
    """
    lines = ["Answer by letter."]
    options: list[list[str]] = []
    right: list[str] = []
    reasons: dict[tuple[int, str], str] = {}  # (number, wrong letter): the message
    for number, question in enumerate(questions, 1):
        lines.append(f"\n{number}. {question['question']}")
        letters = [letter for letter in question if letter != "question"]
        one = [letter for letter in letters if isinstance(question[letter], str)]
        assert len(one) == 1, f"{id} {number}: one option should be right, not {one}"
        right += one
        options.append(letters)
        for letter in letters:
            shown = question[letter]
            if letter not in one:
                shown, why = shown
                reasons[number, letter] = f"question {number} is not {letter}: {why}"
            lines.append(f"    - **{letter}** {shown}")
    wrong = [('answers = "abc"', "should be a list of")]
    for (number, letter), text in reasons.items():
        letters = [*right[: number - 1], letter, *right[number:]]
        wrong.append((f"answers = {letters}", text))

    def verify(answers: Any) -> None:
        count = len(right)
        items(answers, count, f"answers should be a list of {count} letters.")
        for number, answer in enumerate(answers, 1):
            listed = ", ".join(options[number - 1])
            text = f"question {number} has the options {listed}."
            that(answer in options[number - 1], text)
            if (number, answer) in reasons:
                raise Wrong(reasons[number, answer])

    placeholders = ", ".join("..." for _ in right)
    return Exercise(
        id=id,
        question="\n".join(lines),
        solution_source=f"answers = {right}".replace("'", '"'),
        starter_source=f'answers = [{placeholders}]  # letters, such as "a"',
        verify=verify,
        hints=("Every answer is in this notebook, above the exercises.",),
        noticed=f"All {len(right)} answers are right.",
        wrong=tuple(wrong),
    )


# ---- what `check` makes of an answer ------------------------------------------------


def _watched(answer: Any) -> Any:
    """The answer; a function works on copies of tensors and must not change them."""
    if not callable(answer):
        return _attempted(answer)

    @functools.wraps(answer)
    def call(*arguments: Any) -> Any:
        own = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
        result = _attempted(answer(*own))
        for number, (before, after) in enumerate(zip(arguments, own, strict=True), 1):
            same = not isinstance(before, Tensor) or before.equal(after)
            text = f"the function changes its argument {number}: make a new tensor."
            that(same, text)
        return result

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
