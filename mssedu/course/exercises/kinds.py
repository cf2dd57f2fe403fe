"""What an exercise is, and how an answer is judged (quizzes: `quizzes`).

    ex = exercise("mixing.mix")      the question (Jupyter renders it)
    ex.check(mix)                    ✔ passed  ✘ failed, why  ○ not attempted  ⚠ error
    ex.hint(1), ex.solution()        help, in this order

A topic file writes an exercise as two functions: the solution, whose docstring is the
question, and below it the check, with hints and wrong answers in its decorator:

    def double(x):
        "Write `double(x)`, two times x."
        return 2 * x

    @checks(double, hints=…, noticed=…, wrong=…, varied=…)
    def _verify_double(answer):
        expect.close(answer(2), 4, "double(2) should be 4.")

A test proves for every exercise that the starter counts as not attempted, that the
solution passes, and that each wrong answer fails with its own message. A course can
have numbers of its own (`expect.variant`): then the checks use other sounds, and the
answer must agree with the solution for the arguments that `varied` draws.
"""

import ast
import functools
import inspect
import random
import re
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mssedu.course.exercises.expect import Wrong, same, that, variant
from mssedu.course.exercises.limits import LONGEST_CHECK, TooLong, time_limit
from mssedu.course.progress import record
from mssedu.errors import check_range

CODE_POINTS = 2  # of an exercise with code; a question of a quiz has one
N_DRAWS = 5  # arguments that are tried with the numbers of a course


class Status(Enum):
    """How a check ended; the value is the mark in front of its text."""

    PASS = "✔"
    FAIL = "✘"
    NOT_ATTEMPTED = "○"
    ERROR = "⚠"


@dataclass(frozen=True, repr=False)
class Outcome:
    """What `check` returns: a status and one text, shown as a single line.

    It counts as True if the answer is right. `share` is the share of the points, 0 … 1:
    a quiz gives a part of them for a part of the answers.
    """

    status: Status
    text: str
    share: float = 0.0

    def __bool__(self) -> bool:
        return self.status is Status.PASS

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


Varied = Callable[[random.Random], tuple[Any, ...]]


@dataclass(frozen=True, repr=False)
class Exercise:
    """One task of a notebook: what is asked, how it is judged, how it is solved.

    A wrong answer is a change of the solution, (old, new, message), where `new` takes
    the place of `old`; or other code, (source, message). The message is a part of the
    text that the student reads.
    """

    id: str  # "topic.name"; the topic is the file of this folder
    question: str  # Markdown
    solution_source: str  # defines the answer; empty in a package for students
    starter_source: str  # as in the notebook
    verify: Callable[[Any], None]  # raises Wrong unless the answer is right
    hints: tuple[str, ...]  # each says more than the one before
    noticed: str  # follows "correct.": what the right answer teaches
    wrong: tuple[tuple[str, ...], ...]
    points: int = CODE_POINTS
    is_quiz: bool = False
    solve: Callable[..., Any] | None = None  # the solution, if it is a function
    varied: Varied | None = None  # draws arguments of the function

    @property
    def answer(self) -> str:
        """The name that the starter and the solution define."""
        return re.findall(r"\w+", self.starter_source.removeprefix("def "))[0]

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
        """Judge the function or value that the question asks for.

        In a notebook, a right answer is kept in the list of `mssedu course progress`.
        """
        try:
            with time_limit(LONGEST_CHECK):
                watched = answer if self.is_quiz else _watched(answer)
                self.verify(watched)
                self._check_varied(watched)
        except NotAttempted:
            return self._not_attempted(answer)
        except Wrong as wrong:
            return Outcome(Status.FAIL, f"{self.id}: {wrong}", wrong.share)
        except TooLong:
            text = (
                f"your code was stopped after {LONGEST_CHECK:.0f} s. Is there a loop "
            )
            text += "that does not end?"
            return Outcome(Status.ERROR, f"{self.id}: {text}")
        except Exception as error:  # whatever a student's code may raise
            if isinstance(error, NotImplementedError) and not str(error):
                return self._not_attempted(answer)  # the stub of nbgrader
            return Outcome(Status.ERROR, f"{self.id}: {_short(error, answer)}")
        record(self.id)
        return Outcome(Status.PASS, f"{self.id}: correct. {self.noticed}", 1.0)

    def _not_attempted(self, answer: Any) -> Outcome:
        text = "not attempted yet. Put your code in place of `...`"
        text += " and return the result." if callable(answer) else "."
        return Outcome(Status.NOT_ATTEMPTED, f"{self.id}: {text}")

    def _check_varied(self, answer: Callable[..., Any]) -> None:
        """Compare the answer with the solution for the numbers of a course."""
        if not variant() or self.varied is None or self.solve is None:
            return
        draw = random.Random(f"{variant()} {self.id}")
        for _ in range(N_DRAWS):
            arguments = self.varied(draw)
            shown = ", ".join(_shown(argument) for argument in arguments)
            text = f"{self.answer}({shown}) gives another result than the solution."
            same(answer(*arguments), self.solve(*arguments), text)

    def hint(self, number: int = 1) -> Page:
        """Show a hint; a later one says more.

        Raises:
            InputError: there is no hint of that number.
        """
        check_range("hint number", number, 1, len(self.hints))
        return Page(f"**Hint {number} of {len(self.hints)}.** {self.hints[number - 1]}")

    def solution(self) -> Page:
        """Show one right answer, to read after trying."""
        if not self.solution_source:
            return Page("The solutions are with your teacher.")
        return Page(f"```python\n{self.solution_source}\n```")

    def __repr__(self) -> str:
        return f"Exercise {self.id}. {self.question}"

    def _repr_markdown_(self) -> str:
        return f"**Exercise `{self.id}`.** {self.question}"


# ---- how an exercise is written -----------------------------------------------------


def checks(
    solution: Callable[..., Any] | str,
    *,
    hints: tuple[str, ...],
    noticed: str,
    wrong: tuple[tuple[str, ...], ...],
    varied: Varied | None = None,
    question: str = "",
    starter: str = "",
) -> Callable[[Callable[[Any], None]], Exercise]:
    """Make the exercise "file.name" of the function below, `_verify_name`.

    The solution is a function, whose docstring is the question, or code that sets a
    value. An empty starter is the function without its body. `varied` draws arguments
    of the function with a `random.Random`, for checks with the numbers of a course.
    """
    solve = solution if callable(solution) else None
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
        return Exercise(
            id=id,
            question=question,
            solution_source=source,
            starter_source=starter,
            verify=verify,
            hints=hints,
            noticed=noticed,
            wrong=wrong,
            solve=solve,
            varied=varied,
        )

    return make


def _dedent(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


# ---- what `check` makes of an answer ------------------------------------------------


def _watched(answer: Any) -> Any:
    """The answer; a function works on copies of tensors and must not change them."""
    if not callable(answer):
        if answer is None:
            raise NotAttempted
        return _plain(_attempted(answer))

    @functools.wraps(answer)
    def call(*arguments: Any) -> Any:
        own = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
        result = _attempted(answer(*own))
        text = "the function returned None. Is a `return` missing?"
        that(result is not None, text)
        for number, (before, after) in enumerate(zip(arguments, own, strict=True), 1):
            same = not isinstance(before, Tensor) or before.equal(after)
            text = f"the function changes its argument {number}: make a new tensor."
            that(same, text)
        return _plain(result)

    return call


def _attempted(value: Any) -> Any:
    """Return the value; raise NotAttempted if it is, or contains, the placeholder."""
    inside = value.values() if isinstance(value, dict) else value
    unfinished = isinstance(value, dict | list | tuple) and any(
        v is ... for v in inside
    )
    if value is ... or unfinished:
        raise NotAttempted
    return value


def _plain(value: Any) -> Any:
    """The same with tensors for NumPy's arrays, and Python's numbers for NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.ndim == 0 or value.dtype.kind not in "biufc":
            return value.tolist()
        tensor = torch.from_numpy(value.copy())
        single = {torch.float64: torch.float32, torch.complex128: torch.complex64}
        return tensor.to(single.get(tensor.dtype, tensor.dtype))
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return value


def _shown(value: Any) -> str:
    """An argument as a message shows it: a tensor by its shape."""
    if isinstance(value, Tensor) and value.numel() > 8:
        return f"a tensor {tuple(value.shape)}"
    return getattr(value, "__name__", repr(value))


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
