"""The command `mssedu course`, from the folder of a class to its points."""

import csv
import json
import re

import nbformat
import pytest

from mssedu.cli import commands as cli
from mssedu.course.exercises import exercise


def run(*words):
    return cli.main([str(word) for word in ("course", *words)])


@pytest.mark.slow
def test_a_package_is_made_solved_and_graded(tmp_path, capsys, monkeypatch):
    out, handed_in = tmp_path / "out", tmp_path / "handed_in"
    assert run("student", out, "--notebooks", "00", "--seed", "7") == 0
    assert "1 notebook;" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} >= {"README.md", "data", "notebooks"}
    (wheel,) = out.glob("mssedu-*+student-*.whl")
    assert wheel.name in (out / "README.md").read_text("utf-8")
    (path,) = (out / "notebooks").glob("*.ipynb")
    monkeypatch.setenv("MSSEDU_VARIANT", "7")
    for student, change in (("Ana", str), ("Bo", lambda s: s.replace("/ 20", "/ 10"))):
        notebook = nbformat.read(path, as_version=4)
        kept = []
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            if cell.cell_type == "code" and "import" in cell.source[:20]:
                kept.append(cell)
            if grade_id and not grade_id.endswith("-check"):
                asked = exercise(grade_id.replace("-", "."))
                cell.source = change(asked.solution_source)
                kept.append(cell)
        notebook.cells = kept  # the answers alone, which takes seconds
        target = handed_in / student / path.name
        target.parent.mkdir(parents=True)
        target.write_text(nbformat.writes(notebook), "utf-8")
    points = tmp_path / "points.csv"
    words = ("--seed", 7, "--hidden-seed", 4711, "-o", points)
    assert run("grade", handed_in, *words) == 0
    shown = capsys.readouterr().out
    assert re.search(r"Ana\s+7", shown)
    assert re.search(r"Bo\s+5", shown)
    rows = list(csv.DictReader(points.read_text("utf-8").splitlines()))
    lost = [row["exercise"] for row in rows if float(row["points"]) == 0]
    assert lost == ["setup.safe_gain"]


def test_the_teacher_gets_solutions(tmp_path, capsys):
    assert run("instructor", tmp_path / "out", "--notebooks", "00", "01") == 0
    assert "2 notebooks, with the solutions" in capsys.readouterr().out
    text = (tmp_path / "out/notebooks/00_setup_and_listening.ipynb").read_text("utf-8")
    assert "### BEGIN SOLUTION" in text
    assert run("instructor", tmp_path / "out") == 2
    assert "has files already" in capsys.readouterr().err


def test_slides_and_pages(tmp_path, capsys):
    for kind in ("slides", "html"):
        assert run(kind, tmp_path / kind, "--notebooks", "00") == 0
        assert "00_setup_and_listening.html" in capsys.readouterr().out
        assert (tmp_path / kind / "00_setup_and_listening.html").stat().st_size > 5000


def test_progress_counts_what_is_solved(tmp_path, capsys, monkeypatch):
    file = tmp_path / "progress.json"
    monkeypatch.setenv("MSSEDU_PROGRESS", str(file))
    assert run("progress") == 0
    assert "0 of " in capsys.readouterr().out
    file.write_text(json.dumps({"mixing.mix": "2026-01-02"}), "utf-8")
    assert run("progress") == 0
    shown = capsys.readouterr().out
    assert "✔ mixing.mix" in shown
    assert "○ mixing.mid_side" in shown
    assert "1 of " in shown
    assert run("progress", "--forget") == 0
    assert not file.exists()


def test_grading_an_empty_folder_names_what_is_missing(tmp_path, capsys):
    assert run("grade", tmp_path) == 2
    assert "no notebook of the course" in capsys.readouterr().err
