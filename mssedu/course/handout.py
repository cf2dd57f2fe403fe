"""Folders for a class: notebooks for students, and for the teacher with solutions.

    student OUT       notebooks, a package without solutions, the demo songs
    instructor OUT    notebooks with the solutions, to read or to run

In both, the cells of the exercises have the marks that nbgrader knows: it can release
the notebooks of the teacher, collect, and grade. Without it, `grading` grades too.
"""

import base64
import hashlib
import importlib.metadata
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import mssedu
from mssedu.audio.files import write_text
from mssedu.course.build import notebook_path, texts
from mssedu.course.exercises import EXERCISES, exercise, list_exercises
from mssedu.course.exercises.kinds import Exercise
from mssedu.course.exercises.sealed import seal, sealed_module, without_solutions
from mssedu.data.loading import demo_data
from mssedu.errors import InputError, check_range

_CHECK = re.compile(r'exercise\("([\w.]+)"\)\.check\(\w+\)$')
_LEFT_OUT = ("__pycache__", ".pyc")
_FIRST_CELL = """import os
import sys

os.environ.setdefault("MSSEDU_VARIANT", "{seed}")  # the numbers of this course
if "google.colab" in sys.modules:  # upload the folder of the course as course.zip
    !unzip -q -n course.zip && pip install -q mssedu-*.whl
    %cd notebooks"""
_WHEEL = """Wheel-Version: 1.0
Root-Is-Purelib: true
Tag: py3-none-any
"""
_README = """# The course

1. Install Python 3.11 or newer, then in this folder: `pip install {wheel}`
2. Open the notebooks: `jupyter lab notebooks`
3. On Colab: pack this folder as `course.zip`, upload it beside a notebook, and run the
   first cell of the notebook.

Hand in the notebooks. Exercises check your answers while you work; the package that
comes with this folder has no solutions. `mssedu course progress` lists what you have
solved on this computer.
"""


def make_student(
    out_dir: Path, numbers: Sequence[str] = (), seed: int = 0
) -> list[Path]:
    """Write the folder that students get; return its notebooks.

    Args:
        out_dir: new or empty folder.
        numbers: of the notebooks, such as "03"; all if there are none.
        seed: chooses the numbers of the checks and the quizzes of this course.

    Raises:
        InputError: no notebook has one of the numbers, or the folder is not empty.
        SetupError, DatasetError: this is no checkout with notebooks and songs.
    """
    songs = demo_data()
    written = _notebooks(out_dir, numbers, seed, solved=False)
    wheel = student_wheel(out_dir)
    shutil.copytree(songs, out_dir / "data", dirs_exist_ok=True)
    write_text(out_dir / "README.md", _README.format(wheel=wheel.name))
    return written


def make_instructor(
    out_dir: Path, numbers: Sequence[str] = (), seed: int = 0
) -> list[Path]:
    """Write the notebooks with all solutions; return their paths.

    Args:
        out_dir: new or empty folder.
        numbers: of the notebooks, such as "03"; all if there are none.
        seed: as for the students, because the quizzes depend on it.

    Raises:
        InputError: no notebook has one of the numbers, or the folder is not empty.
        SetupError: this is no checkout with notebooks.
    """
    return _notebooks(out_dir, numbers, seed, solved=True)


# ---- notebooks ----------------------------------------------------------------------


def _notebooks(
    out_dir: Path, numbers: Sequence[str], seed: int, *, solved: bool
) -> list[Path]:
    check_range("seed", seed, 0)
    found = [text for number in numbers or ["all"] for text in texts(number)]
    if out_dir.exists() and any(out_dir.iterdir()):
        used = f"{out_dir} has files already"
        raise InputError(f"{used}. Choose a new folder, so that nothing is replaced.")
    folder = out_dir / "notebooks"
    folder.mkdir(parents=True)
    written = []
    for text in found:
        notebook = nbformat.read(notebook_path(text), as_version=4)
        path = folder / f"{text.stem}.ipynb"
        for_class(notebook, seed, solved=solved)
        write_text(path, nbformat.writes(notebook) + "\n")
        written.append(path)
    return written


def for_class(notebook: NotebookNode, seed: int = 0, *, solved: bool) -> None:
    """Change a built notebook into one for a class.

    A first cell sets the numbers of the course and installs the package on Colab. Each
    exercise becomes two cells, the answer and the check, with the marks of nbgrader.

    Args:
        notebook: it is changed.
        seed: chooses the numbers of the checks and the quizzes.
        solved: whether the answers are filled in, between the marks of nbgrader.
    """
    first = nbformat.v4.new_code_cell(_FIRST_CELL.format(seed=seed), id="first-cell")
    cells = [notebook.cells[0], first]
    with variant_set(seed):
        for cell in notebook.cells[1:]:
            asked = _CHECK.search(cell.source) if cell.cell_type == "code" else None
            if asked is None or "exercise" not in cell.metadata.get("tags", []):
                cells.append(cell)
            else:
                cells += _answer_and_check(exercise(asked[1]), cell.id, solved)
        for cell in cells:
            shown = re.fullmatch(r'exercise\("([\w.]+)"\)', cell.source.strip())
            if shown:  # the question of a quiz depends on the seed
                cell.outputs = [_shown(exercise(shown[1]))]
    notebook.cells = cells
    notebook.metadata["mssedu"] = {"variant": seed, "version": mssedu.__version__}


def _answer_and_check(
    asked: Exercise, id: str, solved: bool
) -> tuple[NotebookNode, NotebookNode]:
    """The cell for the answer, and the cell that checks it."""
    grade_id = asked.id.replace(".", "-")
    check = f'exercise("{asked.id}").check({asked.answer})'
    source = asked.starter_source
    if solved:
        source = _with_marks(asked.solution_source)
        hidden = f"### BEGIN HIDDEN TESTS\nassert {check}\n### END HIDDEN TESTS"
        check = f"{check}\n{hidden}"
    common = {"schema_version": 3, "task": False}
    answer = {"grade": False, "locked": False, "solution": True}
    graded = {"grade": True, "locked": True, "solution": False}
    return (
        nbformat.v4.new_code_cell(
            source,
            id=id,
            metadata={"nbgrader": common | answer | {"grade_id": grade_id}},
        ),
        nbformat.v4.new_code_cell(
            check,
            id=f"{id}-check",
            metadata={
                "nbgrader": common
                | graded
                | {"grade_id": f"{grade_id}-check", "points": asked.points}
            },
        ),
    )


def _with_marks(solution: str) -> str:
    """A solution between the marks of nbgrader; the line with `def` is outside."""
    begin, end = "### BEGIN SOLUTION", "### END SOLUTION"
    if not solution.startswith("def "):
        return f"{begin}\n{solution}\n{end}"
    head, body = solution.split("\n", 1)
    return f"{head}\n    {begin}\n{body}\n    {end}"


def _shown(asked: Exercise) -> NotebookNode:
    """What a notebook shows for `exercise("…")`."""
    data = {"text/markdown": asked._repr_markdown_(), "text/plain": repr(asked)}
    return nbformat.v4.new_output("execute_result", data, execution_count=None)


@contextmanager
def variant_set(seed: int) -> Iterator[None]:
    """While open, checks and quizzes have the numbers of a course."""
    before = os.environ.get("MSSEDU_VARIANT")
    os.environ["MSSEDU_VARIANT"] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MSSEDU_VARIANT"]
        else:
            os.environ["MSSEDU_VARIANT"] = before


# ---- the package for students -------------------------------------------------------


def student_wheel(out_dir: Path) -> Path:
    """Write this package as a wheel whose exercises have no solutions; return its path.

    The version has "+student" at its end. pip installs the wheel as any other.
    """
    version = f"{mssedu.__version__}+student"
    root = Path(mssedu.__file__).parent
    content: dict[str, bytes] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not any(part in str(path) for part in _LEFT_OUT):
            content[f"mssedu/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    folder = "mssedu/course/exercises"
    for topic in EXERCISES:
        name = f"{folder}/{topic}.py"
        content[name] = _sealed(topic, content[name].decode("utf-8")).encode("utf-8")
    quizzes = f"{folder}/quizzes.toml"
    content[quizzes] = seal(content[quizzes].decode("utf-8")).encode("utf-8")
    info = f"mssedu-{version}.dist-info"
    content |= {
        f"{info}/METADATA": _metadata(version).encode("utf-8"),
        f"{info}/WHEEL": _WHEEL.encode("utf-8"),
        f"{info}/entry_points.txt": b"[console_scripts]\nmssedu = mssedu.cli:main\n",
    }
    lines = [f"{name},{_digest(data)},{len(data)}" for name, data in content.items()]
    record = f"{info}/RECORD"
    content[record] = "\n".join([*lines, f"{record},,", ""]).encode("utf-8")
    target = out_dir / f"mssedu-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in content.items():
            wheel.writestr(name, data)
    return target


def _sealed(topic: str, source: str) -> str:
    """The file of a topic for students."""
    asked = {}
    for id in list_exercises(EXERCISES[topic]):
        each = exercise(id)
        if id.startswith(f"{topic}.") and not each.is_quiz:
            asked[each.verify.__name__] = (each.question, each.starter_source)
    return sealed_module(without_solutions(source, asked))


def _metadata(version: str) -> str:
    """The metadata of the installed package, with another version."""
    lines = ["Metadata-Version: 2.1", "Name: mssedu", f"Version: {version}"]
    found = importlib.metadata.metadata("mssedu")
    for name in ("Requires-Python", "Requires-Dist", "Provides-Extra"):
        lines += [f"{name}: {value}" for value in found.get_all(name) or []]
    return "\n".join([*lines, ""])


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode('ascii')}"
