"""Grade notebooks that students handed in: each runs in a process of its own.

    folder of notebooks ──for each──▶ `answers` in a new process ──▶ points ──▶ table

The process has limits of time and memory, and the checks are those of this package, not
what the notebook says about itself. It is no sandbox: the code of a student can read
and write what the teacher can. For strangers, run the command in a container.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mssedu.audio.files import write_text
from mssedu.course.exercises import EXERCISES, exercise, list_exercises
from mssedu.errors import DatasetError, check_range

_NAME = re.compile(r"(?:^|.*[^0-9])([0-9]{2})_\w*$")  # 03_masks…, or Li_03_masks…
COLUMNS = ("student", "notebook", "exercise", "points", "of", "outcome")


@dataclass(frozen=True)
class Limits:
    """What a notebook that is graded may use."""

    cell_seconds: float = 120.0  # of one cell
    seconds: float = 900.0  # of a whole notebook
    memory_gb: float = 8.0  # of its process; not enforced on Windows and macOS


def find_submissions(folder: Path) -> list[tuple[str, str, Path]]:
    """(student, number of the notebook, path) of all notebooks in a folder.

    The student is the name of the first folder inside, or else that of the file.

    Raises:
        DatasetError: there is no notebook whose name has a number of a chapter.
    """
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        match = _NAME.match(path.stem)
        hidden = any(part.startswith(".") for part in parts)
        if match and match[1] in EXERCISES.values() and not hidden:
            student = parts[0] if len(parts) > 1 else path.stem
            found.append((student, match[1], path))
    if not found:
        text = f"{folder} has no notebook of the course, such as Li/03_masks.ipynb"
        raise DatasetError(f"{text}. Choose a folder that has one folder per student.")
    return found


def grade(
    folder: Path,
    *,
    seed: int = 0,
    hidden_seed: int | None = None,
    limits: Limits | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """The points of each student in each exercise, one row each.

    Args:
        folder: one folder per student, with notebooks whose names begin as in the
            course ("03_…"). Notebooks directly in it count as a student each.
        seed: the one that the folder of the students was made with.
        hidden_seed: other numbers for the checks, which only the teacher knows; an
            answer must pass both. No other numbers if None.
        limits: of time and memory; `Limits()` if None.
        progress: called with the notebooks done, their total, and a name.

    Returns:
        A table with the columns student, notebook, exercise, points, of, outcome.

    Raises:
        DatasetError: there is no notebook of the course in the folder.
        InputError: a seed or a limit is below its range.
    """
    limits = limits or Limits()
    check_range("seed", seed, 0)
    check_range("hidden_seed", hidden_seed or 0, 0)
    for name, value in vars(limits).items():
        check_range(name, value, 0, low_open=True)
    found = find_submissions(folder)
    rows: list[tuple[str, str, str, float, int, str]] = []
    for done, (student, number, path) in enumerate(found):
        if progress is not None:
            progress(done, len(found), f"{student} {number}")
        judged = _judge(path, number, seed, hidden_seed, limits)
        for id in list_exercises(number):
            points, outcome = judged.get(id, (0.0, "no result"))
            rows.append((student, number, id, points, exercise(id).points, outcome))
    return pd.DataFrame(rows, columns=COLUMNS)


def _judge(
    path: Path, number: str, seed: int, hidden_seed: int | None, limits: Limits
) -> dict[str, tuple[float, str]]:
    """{exercise: (points, outcome)} of one notebook, from a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        task = Path(scratch) / "task.json"
        order = {
            "notebook": str(path.resolve()),
            "number": number,
            "seed": seed,
            "hidden_seed": hidden_seed,
            "cell_seconds": limits.cell_seconds,
            "memory_gb": limits.memory_gb,
            "result": str(result),
        }
        write_text(task, json.dumps(order))
        environment = os.environ | {
            "MSSEDU_PROFILE": os.environ.get("MSSEDU_PROFILE", "smoke"),
            "MSSEDU_PROGRESS": str(Path(scratch) / "progress.json"),
            "MSSEDU_VARIANT": str(seed),
            "MPLBACKEND": "agg",
        }
        # -P: a file beside the notebook cannot take the place of a package
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mssedu.course.answers", str(task)],
            cwd=path.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=limits.seconds)
            why = f"the process ended with code {process.returncode}"
        except subprocess.TimeoutExpired:
            why = f"the notebook took more than {limits.seconds:.0f} s"
        finally:
            _end(process)
        if not result.exists():
            return dict.fromkeys(list_exercises(number), (0.0, why))
        return {id: tuple(pair) for id, pair in json.loads(result.read_text()).items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and, where the system has groups, all that it started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # it has ended, and left nothing behind
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def totals(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per student: the points in each notebook, their sum, and the most.

    Args:
        scores: as `grade` returns it.
    """
    by_notebook = scores.pivot_table(
        index="student", columns="notebook", values="points", aggfunc="sum"
    )
    possible = scores.groupby("student")["of"].sum()
    table = by_notebook.assign(sum=by_notebook.sum(axis=1), of=possible)
    table.columns.name = None
    return table.reset_index()
