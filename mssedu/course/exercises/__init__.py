"""The exercises of the notebooks, one file per topic.

kinds          what an exercise is, and what `check` does
expect         the claims that a check makes about an answer
limits         the time of a check, and functions that an answer must not call
quizzes        how a quiz is made of the pool in quizzes.toml
sealed         the exercises without their solutions, for a package for students
setup … panel  the exercises of one notebook each

    exercise("mixing.mix")   one exercise by id: .check(answer), .hint(1), .solution()
    list_exercises()         every id

Topics are named by subject. The number of the notebook is in one place, the table
here, so that chapters can move.
"""

import functools
import importlib
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import lazy_loader

from mssedu.errors import check_name

if TYPE_CHECKING:
    from mssedu.course.exercises.kinds import Exercise

# topic (a file of this folder): the number of its notebook
EXERCISES = {
    "setup": "00",
    "mixing": "01",
    "stft": "02",
    "masks": "03",
    "metrics": "04",
    "data": "05",
    "unet": "06",
    "gating": "07",
    "recurrence": "08",
    "waveform": "09",
    "hybrid": "10",
    "transformer": "11",
    "chunking": "12",
    "listening": "13",
    "panel": "14",
    "architectures": "15",
    "htdemucs_lab": "16",
    "replication": "17",
}
_NAMES = {"kinds": ["Exercise", "Outcome", "Page", "Status"]}
__getattr__, _, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
__all__ += ["EXERCISES", "exercise", "list_exercises"]


def __dir__() -> list[str]:
    return __all__.copy()


def exercise(id: str) -> "Exercise":
    """The exercise of that id.

    Raises:
        InputError: no such id; the message names the nearest one.

    Example:
        >>> exercise("setup.quiz").check()
        ○ setup.quiz: not attempted yet. Put your code in place of `...`.
    """
    topic = id.partition(".")[0]
    known = _topic(topic) if topic in EXERCISES else {}
    if id not in known:
        check_name("exercise", id, list_exercises())
    return known[id]


def list_exercises(notebook: str | None = None) -> list[str]:
    """The ids of the exercises, in the order of the notebooks.

    Args:
        notebook: the number of one notebook, such as "01"; all if None.

    Raises:
        InputError: no exercise is in a notebook of that number.

    Example:
        >>> list_exercises("01")
        ['mixing.mix', 'mixing.mid_side', 'mixing.match_loudness', 'mixing.quiz']
    """
    if notebook is not None:
        check_name("notebook", notebook, EXERCISES.values())
    chosen = [t for t, number in EXERCISES.items() if notebook in (None, number)]
    return [id for topic in chosen for id in _topic(topic)]


def _topic(name: str) -> "dict[str, Exercise]":
    """The exercises of a topic, its quiz at the end."""
    from mssedu.course.exercises.expect import variant

    return _topic_of_variant(name, variant())


@functools.cache
def _topic_of_variant(name: str, variant: int) -> "dict[str, Exercise]":
    """As `_topic`, made once for each variant: the quiz depends on it."""
    from mssedu.course.exercises.kinds import Exercise
    from mssedu.course.exercises.quizzes import make_quiz
    from mssedu.course.exercises.sealed import SEAL, unseal

    module = importlib.import_module(f"{__name__}.{name}")
    pools = Path(__file__).with_name("quizzes.toml").read_text("utf-8")
    quizzes = tomllib.loads(unseal(pools))
    quiz = [make_quiz(f"{name}.quiz", quizzes[name])] if name in quizzes else []
    if pools.startswith(SEAL):  # a package for students
        quiz = [replace(each, solution_source="", wrong=()) for each in quiz]
    tasks = [value for value in vars(module).values() if isinstance(value, Exercise)]
    return {exercise.id: exercise for exercise in (*tasks, *quiz)}
