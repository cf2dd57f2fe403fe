"""The checked exercises of the notebooks, one file per topic.

    exercise("mixing.mix")   one exercise by id: .check(answer), .hint(1), .solution()
    list_exercises()         every id

A topic file holds one tuple, EXERCISES. Topics are named by subject and not by notebook
number, so that chapters can move.
"""

import importlib

from mssedu.course.exercises.exercise import Exercise, Outcome, Page, Status
from mssedu.errors import check_name

TOPICS = (
    "setup",
    "mixing",
    "stft",
    "masks",
    "metrics",
    "data",
    "unet",
    "gating",
    "recurrence",
    "waveform",
    "hybrid",
    "transformer",
    "chunking",
    "listening",
    "panel",
)  # in the order of the notebooks

__all__ = ["Exercise", "Outcome", "Page", "Status", "exercise", "list_exercises"]


def exercise(id: str) -> Exercise:
    """The exercise of that id.

    Raises:
        InputError: no such id; the message names the nearest one.

    Example:
        >>> exercise("setup.quiz").check()
        ○ setup.quiz: not attempted yet. Put your code in place of `...`.
    """
    topic = id.partition(".")[0]
    known = _topic(topic) if topic in TOPICS else {}
    if id not in known:
        check_name("exercise", id, list_exercises())
    return known[id]


def list_exercises() -> list[str]:
    """Every exercise id, in the order of the notebooks.

    Example:
        >>> "mixing.mix" in list_exercises()
        True
    """
    return [id for topic in TOPICS for id in _topic(topic)]


def _topic(name: str) -> dict[str, Exercise]:
    module = importlib.import_module(f"mssedu.course.exercises.{name}")
    return {exercise.id: exercise for exercise in module.EXERCISES}
