"""The command `mssedu course`: folders for a class, grades, slides, progress.

mssedu course student OUT --seed 7        what students get: no solutions inside
mssedu course instructor OUT --seed 7     the notebooks with their solutions
mssedu course grade HANDED_IN --seed 7    run each notebook, and make a table of points
mssedu course slides OUT --notebooks 03   a deck of slides, one for each chapter
mssedu course html OUT                    the notebooks as pages that work offline
mssedu course progress                    the exercises solved on this computer
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from mssedu.audio.words import counted
from mssedu.cli.console import bar, say

OUT = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
NUMBERS = tyro.conf.arg(metavar="[NUMBER …]", help_behavior_hint="(default: all)")
Notebooks = Annotated[tuple[str, ...], NUMBERS]


def student(out_dir: OUT, notebooks: Notebooks = (), seed: int = 0) -> int:
    """Make the folder that students get: notebooks, songs, a package without solutions.

    Args:
        out_dir: new folder for the notebooks
        notebooks: numbers of the notebooks, such as 02 03
        seed: number of your course, from which the quizzes and the numbers of the
            checks follow
    """
    from mssedu.course.handout import make_student

    with_numbers = make_student(out_dir, notebooks, seed)
    notebooks_ = counted(len(with_numbers), "notebook")
    say(f"{out_dir}: {notebooks_}; README.md says how to begin")
    return 0


def instructor(out_dir: OUT, notebooks: Notebooks = (), seed: int = 0) -> int:
    """Make the notebooks with their solutions, with the marks of nbgrader.

    Args:
        out_dir: new folder for the notebooks
        notebooks: numbers of the notebooks, such as 02 03
        seed: number of your course, the same as for the students
    """
    from mssedu.course.handout import make_instructor

    written = make_instructor(out_dir, notebooks, seed)
    say(f"{out_dir}: {counted(len(written), 'notebook')}, with the solutions")
    return 0


def grade(
    folder: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("points.csv"),
    seed: int = 0,
    hidden_seed: int | None = None,
    cell_seconds: float = 120.0,
    seconds: float = 900.0,
    memory_gb: float = 8.0,
) -> int:
    """Run the notebooks of a class, each in its own process, and give points.

    The process has limits, but it is no sandbox: run this in a container if you do not
    trust the notebooks.

    Args:
        folder: one folder for each student, with the notebooks inside
        out: write a row for each student and exercise to this file
        seed: number of your course, as for the students
        hidden_seed: other numbers for the checks that students do not know (None: no
            others)
        cell_seconds: stop a cell after this time
        seconds: stop a notebook after this time
        memory_gb: memory of a notebook; not enforced on Windows and macOS
    """
    from mssedu.audio.disk import check_folder
    from mssedu.audio.files import write_text
    from mssedu.course.grading import Limits, totals
    from mssedu.course.grading import grade as run
    from mssedu.reports.tables import render

    check_folder(out.parent)
    with bar("grading") as update:
        scores = run(
            folder,
            seed=seed,
            hidden_seed=hidden_seed,
            limits=Limits(cell_seconds, seconds, memory_gb),
            progress=update,
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, scores.to_csv(index=False))
    say(render(totals(scores)))
    say(f"{counted(len(scores), 'row')}: {out}")
    return 0


def slides(out_dir: OUT, notebooks: Notebooks = ()) -> int:
    """Make a deck of slides for each chapter: its figures, and what to notice in them.

    Each deck is one file that needs no network. The arrow keys turn its pages.

    Args:
        out_dir: folder for the decks
        notebooks: numbers of the notebooks, such as 02 03
    """
    from mssedu.course.pages import make_slides

    for path in make_slides(out_dir, notebooks):
        say(f"{path}")
    return 0


def html(out_dir: OUT, notebooks: Notebooks = ()) -> int:
    """Make a page of each notebook that needs no network, to read or to print.

    Args:
        out_dir: folder for the pages
        notebooks: numbers of the notebooks, such as 02 03
    """
    from mssedu.course.pages import make_pages

    for path in make_pages(out_dir, notebooks):
        say(f"{path}")
    return 0


def progress(forget: bool = False) -> int:
    """Show which exercises were solved on this computer; the list is sent nowhere.

    Args:
        forget: delete the list
    """
    from mssedu.course.exercises import EXERCISES, list_exercises
    from mssedu.course.progress import progress_file, solved

    if forget:
        progress_file().unlink(missing_ok=True)
    known = solved()
    total = 0
    for number in sorted({*EXERCISES.values()}):
        ids = list_exercises(number)
        total += len(ids)
        marks = [f"{'✔' if id in known else '○'} {id}" for id in ids]
        say(f"{number}  {'  '.join(marks)}")
    say(
        f"{len({*known} & {*list_exercises()})} of {total} exercises: {progress_file()}"
    )
    return 0


SUBCOMMANDS: dict[str, Callable[..., int]] = {
    "student": student,
    "instructor": instructor,
    "grade": grade,
    "slides": slides,
    "html": html,
    "progress": progress,
}
_CHOICES = [
    Annotated[Any, tyro.conf.subcommand(name, constructor=command)]
    for name, command in SUBCOMMANDS.items()
]


def course(
    code: Annotated[
        Union[(*_CHOICES, Annotated[None, tyro.conf.Suppress])],  # type: ignore[valid-type]
        tyro.conf.arg(name="", help="Choose one; each has a --help of its own."),
    ],
) -> int:
    """Make what a class needs, grade it, and show your own progress."""
    return int(code or 0)  # tyro has run the subcommand
