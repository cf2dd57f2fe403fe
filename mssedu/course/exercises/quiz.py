"""A quiz is an exercise whose answer is a list of letters."""

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mssedu.course.exercises.exercise import Exercise, Wrong, expect


@dataclass(frozen=True)
class Question:
    """One question; `options` maps each offered answer to what it deserves to hear.

    The right answer hears None, every wrong one the reason why it is wrong.
    """

    text: str
    options: dict[str, str | None]

    @property
    def right(self) -> str:
        """Letter of the right option."""
        right = [letter for letter, why in self.letters() if why is None]
        assert len(right) == 1, f"{self.text}: one right option, not {right}"
        return right[0]

    def letters(self) -> list[tuple[str, str | None]]:
        """(letter, reason why it is wrong or None) of each option."""
        reasons = self.options.values()
        return list(zip(string.ascii_lowercase, reasons, strict=False))


def make_quiz(id: str, notebook: str, questions: tuple[Question, ...]) -> Exercise:
    """The quiz as an exercise: answered by a list of letters, one per question.

    Every wrong letter becomes a wrong answer whose message is the reason given.
    """
    right = [question.right for question in questions]
    placeholders = ", ".join("..." for _ in questions)
    return Exercise(
        id=id,
        notebook=notebook,
        question=_render(questions),
        answer="answers",
        starter_source=f'answers = [{placeholders}]  # letters, such as "a"',
        solution_source=f"answers = {right}".replace("'", '"'),
        verify=_verifier(questions),
        hints=("Every answer stands in this notebook, above the exercises.",),
        noticed=f"All {len(questions)} answers are right.",
        wrong_answers=tuple(_wrong_answers(questions, right)),
    )


def _render(questions: tuple[Question, ...]) -> str:
    lines = ["Answer by letter."]
    for number, question in enumerate(questions, 1):
        lines.append(f"\n{number}. {question.text}")
        for letter, option in zip(
            string.ascii_lowercase, question.options, strict=False
        ):
            lines.append(f"    - **{letter}** {option}")
    return "\n".join(lines)


def _verifier(questions: tuple[Question, ...]) -> Callable[[Any], None]:
    def verify(answers: Any) -> None:
        count = len(questions)
        listed = isinstance(answers, list | tuple) and len(answers) == count
        expect(listed, f"answers should be a list of {count} letters.")
        for number, (question, answer) in enumerate(
            zip(questions, answers, strict=True), 1
        ):
            letters = dict(question.letters())
            known = answer in letters
            expect(known, f"question {number} has the options {', '.join(letters)}.")
            if (why := letters[answer]) is not None:
                raise Wrong(f"question {number} is not {answer}: {why}")

    return verify


def _wrong_answers(
    questions: tuple[Question, ...], right: list[str]
) -> Iterator[tuple[str, str]]:
    """(source, part of the message) for every wrong letter."""
    yield 'answers = "abc"', "should be a list of"
    for index, question in enumerate(questions):
        for letter, why in question.letters():
            if why is not None:
                wrong = [*right[:index], letter, *right[index + 1 :]]
                yield (
                    f"answers = {wrong}",
                    f"question {index + 1} is not {letter}: {why}",
                )
