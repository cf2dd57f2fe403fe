"""Quizzes: a few questions of a pool, with four options each.

The pool is quizzes.toml. Which questions a quiz has, and the order of the options,
follow from the variant of the course (`expect.variant`).
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from mssedu.course.exercises.expect import Wrong, items, that, variant
from mssedu.course.exercises.kinds import Exercise, NotAttempted

N_QUESTIONS = 3  # of a quiz
LETTERS = "abcdefgh"
OPEN = (..., None, "", "?")  # what stands for an answer that is not given


def make_quiz(id: str, pool: Sequence[Mapping[str, Any]]) -> Exercise:
    """A quiz: the answer is a list of letters, one per question.

    `pool` is as in quizzes.toml: "question" is the text, and each letter is the right
    option or a pair (wrong option, why it is wrong). The reason is the message.
    """
    draw = random.Random(f"{variant()} {id}")
    lines = ["Answer by letter."]
    right: list[str] = []
    options: list[str] = []  # of each question, the letters
    reasons: dict[tuple[int, str], str] = {}  # (number, wrong letter): the message
    for number, question in enumerate(draw.sample(pool, N_QUESTIONS), 1):
        lines.append(f"\n{number}. {question['question']}")
        choices = [value for key, value in question.items() if key != "question"]
        one = [choice for choice in choices if isinstance(choice, str)]
        assert len(one) == 1, f"{id} {number}: one option should be right, not {one}"
        draw.shuffle(choices)
        options.append(LETTERS[: len(choices)])
        for letter, choice in zip(options[-1], choices, strict=True):
            if isinstance(choice, str):
                right.append(letter)
                shown = choice
            else:
                shown, why = choice
                reasons[number, letter] = f"question {number} is not {letter}: {why}"
            lines.append(f"    - **{letter}** {shown}")
    wrong = [("answers = 3", "should be a list of")]
    for (number, letter), text in reasons.items():
        letters = [*right[: number - 1], letter, *right[number:]]
        wrong.append((f"answers = {letters}", text))

    def verify(answers: Any) -> None:
        given = _letters(answers, options)
        n_right = sum(a == b for a, b in zip(given, right, strict=True))
        for place in enumerate(given, 1):
            if place in reasons:
                raise Wrong(reasons[place], n_right / len(right))
        missing = [str(number) for number, one in enumerate(given, 1) if not one]
        if missing and n_right:
            text = f"question {' and '.join(missing)} has no answer yet, the rest is"
            raise Wrong(f"{text} right.", n_right / len(right))

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
        points=len(right),
        is_quiz=True,
    )


def _letters(answers: Any, options: Sequence[str]) -> list[str]:
    """One small letter per question, "" where there is none; a text is split up.

    Raises:
        NotAttempted: no question has an answer.
        Wrong: another number of answers, or a letter that is no option.
    """
    if answers is None or answers is ...:
        raise NotAttempted
    if isinstance(answers, str):
        answers = list(answers.replace(" ", "").replace(",", ""))
    text = f"answers should be a list of {len(options)} letters."
    given = []
    for number, one in enumerate(items(answers, len(options), text), 1):
        letter = "" if one in OPEN else str(one).strip().lower()
        known = options[number - 1]
        text = f"question {number} has the options {', '.join(known)}."
        that(letter == "" or (len(letter) == 1 and letter in known), text)
        given.append(letter)
    if not any(given):
        raise NotAttempted
    return given
