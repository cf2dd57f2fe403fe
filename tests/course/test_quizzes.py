"""Quizzes: drawn from a pool, fair to guess, and patient with how letters are given."""

import random
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from mssedu.course import exercises
from mssedu.course.exercises import EXERCISES, Status, exercise
from mssedu.course.exercises.quizzes import N_QUESTIONS, make_quiz

FILE = Path(exercises.__file__).with_name("quizzes.toml")
POOLS = tomllib.loads(FILE.read_text("utf-8"))
QUESTIONS = [
    (f"{topic} {number}", question)
    for topic, pool in POOLS.items()
    for number, question in enumerate(pool, 1)
]
QUIZ = exercise("setup.quiz")
RIGHT = re.findall(r"\"([a-d])\"", QUIZ.solution_source)


def options_of(question):
    """The right option and the wrong ones of a question of the pool."""
    values = [value for key, value in question.items() if key != "question"]
    (right,) = [value for value in values if isinstance(value, str)]
    return right, [value for value in values if not isinstance(value, str)]


def right_letters(quiz):
    return re.findall(r"\"([a-d])\"", quiz.solution_source)


@pytest.mark.parametrize("topic", EXERCISES)
def test_every_chapter_has_a_pool(topic):
    assert len(POOLS[topic]) > N_QUESTIONS


@pytest.mark.parametrize(("place", "question"), QUESTIONS)
def test_a_question_has_four_options_of_like_length(place, question):
    right, wrong = options_of(question)
    shown = [right, *(option for option, _ in wrong)]
    assert len({*shown}) == len(shown) == 4, place
    assert all(reason for _, reason in wrong), place
    lengths = sorted(map(len, shown))
    assert lengths[-1] <= 2 * lengths[0] + 8, place


def test_the_longest_option_is_no_hint():
    longest = sum(
        len(right) > max(len(option) for option, _ in wrong)
        for right, wrong in (options_of(question) for _, question in QUESTIONS)
    )
    assert longest <= len(QUESTIONS) / 3


def test_the_right_option_may_have_any_letter():
    letters = Counter(
        letter
        for topic in EXERCISES
        for letter in right_letters(exercise(f"{topic}.quiz"))
    )
    total = letters.total()
    assert {*letters} == {*"abcd"}
    assert all(0.1 < count / total < 0.4 for count in letters.values()), letters


def test_another_variant_has_another_quiz(monkeypatch):
    quizzes = {QUIZ.question}
    for seed in ("1", "2", "3"):
        monkeypatch.setenv("MSSEDU_VARIANT", seed)
        other = exercise("setup.quiz")
        assert other.check(right_letters(other)).status is Status.PASS
        quizzes.add(other.question)
    assert len(quizzes) == 4


@pytest.mark.parametrize(
    "given",
    [
        RIGHT,
        tuple(RIGHT),
        "".join(RIGHT),
        ", ".join(RIGHT).upper(),
        [f" {letter.upper()}" for letter in RIGHT],
    ],
)
def test_letters_may_be_given_in_any_way(given):
    assert QUIZ.check(given).status is Status.PASS


def test_a_wrong_letter_gets_its_reason():
    wrong = next(letter for letter in "abcd" if letter != RIGHT[1])
    outcome = QUIZ.check([RIGHT[0], wrong, RIGHT[2]])
    assert f"question 2 is not {wrong}: " in outcome.text
    assert outcome.share == pytest.approx(2 / 3)
    assert "question 1 has the options a, b, c, d." in QUIZ.check("eab").text
    assert "a list of 3 letters" in QUIZ.check(["a", "b"]).text


def test_a_quiz_that_is_half_filled_is_judged():
    for open_answer in (..., "?", "", None):
        outcome = QUIZ.check([RIGHT[0], open_answer, RIGHT[2]])
        assert outcome.status is Status.FAIL
        assert "question 2 has no answer yet, the rest is right" in outcome.text
    wrong = next(letter for letter in "abcd" if letter != RIGHT[0])
    assert "question 1 is not" in QUIZ.check([wrong, ..., ...]).text
    for nothing in (..., None, [..., ..., ...], ["?", "", None]):
        assert QUIZ.check(nothing).status is Status.NOT_ATTEMPTED


def test_the_question_shows_every_option():
    assert QUIZ.question.count("    - **") == 4 * N_QUESTIONS
    assert QUIZ.starter_source.startswith("answers = [..., ..., ...]")


def test_a_question_has_one_right_option():
    two = {"question": "Which?", "a": "this", "b": "that"}
    with pytest.raises(AssertionError, match="one option should be right"):
        make_quiz("test.quiz", [two] * 4)


def test_guessing_a_quiz_is_rarely_right():
    draw = random.Random(0)
    guesses = [[draw.choice("abcd") for _ in range(3)] for _ in range(200)]
    lucky = sum(QUIZ.check(guess).status is Status.PASS for guess in guesses)
    assert lucky <= 12  # 200 / 64 are 3
