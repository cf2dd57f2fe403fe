"""Run one notebook and judge its answers: the process that `grading` starts.

    python -m mssedu.course.answers TASK.json

The cells run in order, as in Jupyter. A cell that fails does not stop the others. Then
the checks of this package judge what the names of the answers mean.
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.interactiveshell import InteractiveShell

from mssedu.audio.files import write_text
from mssedu.course.exercises import exercise, list_exercises
from mssedu.course.exercises.kinds import Outcome, Status
from mssedu.course.exercises.limits import TooLong, time_limit


def limit_memory(gigabytes: float) -> None:
    """Limit the memory of this process, where the system can do that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    most = int(gigabytes * 10**9)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def run_cells(source: str, cell_seconds: float) -> tuple[dict[str, Any], list[str]]:
    """The names after all code cells of a notebook ran, and what failed in which cell.

    Args:
        source: the JSON of a notebook.
        cell_seconds: limit of each cell.
    """
    notebook = nbformat.reads(source, as_version=4)
    shell = InteractiveShell.instance()
    faults = []
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        printed = io.StringIO()
        try:
            with (
                contextlib.redirect_stdout(printed),
                contextlib.redirect_stderr(printed),
                time_limit(cell_seconds),
            ):
                done = shell.run_cell(cell, store_history=False)
            error = done.error_before_exec or done.error_in_exec
        except TooLong as late:
            error = late
        if isinstance(error, TooLong):
            faults.append(f"cell {number} was stopped after {cell_seconds:.0f} s")
        elif error is not None:
            faults.append(f"cell {number} raised {type(error).__name__}")
    return shell.user_ns, faults


def judge(
    names: dict[str, Any], number: str, seed: int, hidden_seed: int | None
) -> dict[str, tuple[float, str]]:
    """Points and outcome of each exercise of a notebook.

    Args:
        names: what the names of the answers mean.
        number: of the notebook.
        seed: of the course.
        hidden_seed: a second one that code must pass too, or None.
    """
    judged = {}
    for id in list_exercises(number):
        os.environ["MSSEDU_VARIANT"] = str(seed)
        asked = exercise(id)
        outcome = asked.check(names.get(asked.answer, ...))
        if outcome and hidden_seed is not None and not asked.is_quiz:
            os.environ["MSSEDU_VARIANT"] = str(hidden_seed)
            again = exercise(id).check(names[asked.answer])
            if not again:
                text = f"passes the public check only. {again.text}"
                outcome = Outcome(Status.FAIL, text)
        judged[id] = (round(asked.points * outcome.share, 2), repr(outcome))
    return judged


def main(arguments: list[str]) -> int:
    """Run and judge the notebook of a task file; write the result that it names."""
    task = json.loads(Path(arguments[0]).read_text("utf-8"))
    list_exercises(task["number"])  # so that all is imported before the limit
    limit_memory(task["memory_gb"])
    source = Path(task["notebook"]).read_text("utf-8")
    try:
        names, faults = run_cells(source, task["cell_seconds"])
    except (nbformat.reader.NotJSONError, nbformat.ValidationError):
        names, faults = {}, ["the file is no notebook"]
    judged = judge(names, task["number"], task["seed"], task["hidden_seed"])
    if faults:
        listed = "; ".join(faults[:3])
        judged = {
            id: (points, outcome if points else f"{outcome} ({listed})")
            for id, (points, outcome) in judged.items()
        }
    write_text(task["result"], json.dumps(judged))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
