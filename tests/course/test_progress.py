"""The list of solved exercises: in Jupyter only, once each, and hard to break."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from mssedu.course import progress
from mssedu.course.exercises import Status, exercise

RIGHT = {
    "sample_rate": 44100,
    "stems": ("vocals", "drums", "bass", "other"),
    "segment": 8.0,
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "new" / "progress.json"
    monkeypatch.setenv("MSSEDU_PROGRESS", str(path))
    return path


def test_outside_of_jupyter_nothing_is_written(file):
    assert exercise("setup.settings").check(RIGHT).status is Status.PASS
    assert not file.exists()


def test_a_right_answer_is_kept_in_jupyter(file, monkeypatch):
    monkeypatch.setattr(progress, "_in_jupyter", lambda: True)
    exercise("setup.settings").check({})
    assert progress.solved() == {}
    exercise("setup.settings").check(RIGHT)
    (first,) = progress.solved().items()
    assert first[0] == "setup.settings"
    file.write_text(json.dumps({"setup.settings": "2020-01-01"}))
    exercise("setup.settings").check(RIGHT)
    assert progress.solved() == {"setup.settings": "2020-01-01"}


def test_a_damaged_file_counts_as_empty(file, monkeypatch):
    file.parent.mkdir()
    for content in ("{", "[1]"):
        file.write_text(content)
        assert progress.solved() == {}
    monkeypatch.setattr(progress, "_in_jupyter", lambda: True)
    progress.record("mixing.mix")
    assert list(progress.solved()) == ["mixing.mix"]


def test_a_full_disk_is_no_error(file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "_in_jupyter", lambda: True)
    monkeypatch.setattr(progress, "write_text", full)
    progress.record("mixing.mix")
    assert progress.solved() == {}


def test_without_a_variable_it_is_in_the_folder_of_the_user(monkeypatch):
    monkeypatch.delenv("MSSEDU_PROGRESS", raising=False)
    assert progress.progress_file().parts[-2:] == (".mssedu", "progress.json")


@pytest.mark.slow
def test_the_kernel_of_a_notebook_keeps_the_list(file):
    source = (
        f'from mssedu.course import exercise\nexercise("setup.settings").check({RIGHT})'
    )
    cells = [nbformat.v4.new_code_cell(source)]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=120).execute()
    assert list(progress.solved()) == ["setup.settings"]
