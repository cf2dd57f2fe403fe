"""What `import mssedu as ms` offers: every name resolves, from every folder."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import mssedu as ms

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for path in sorted((ROOT / "mssedu").rglob("__init__.py"))
]
FUNCTIONS = (
    "separate separate_file evaluate fit load_model create_model load_track "
    "load_dataset list_models look_inside"
)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_name_of_a_door_resolves(name):
    door = importlib.import_module(name)
    assert door.__all__
    assert {*dir(door)} == {*door.__all__}
    for attribute in door.__all__:
        getattr(door, attribute)


@pytest.mark.parametrize("name", FOLDERS)
def test_no_file_bears_the_name_of_a_public_function(name):
    door = importlib.import_module(name)
    files = {path.stem for path in Path(door.__file__).parent.glob("*.py")}
    names = {n for n in door.__all__ if callable(getattr(door, n))}
    assert not files & names


@pytest.mark.parametrize("name", FUNCTIONS.split())
def test_the_journey_is_made_of_functions(name):
    assert callable(getattr(ms, name))
    assert getattr(ms, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="seperate"):
        _ = ms.seperate


def test_the_documented_names_are_there():
    program = """
import mssedu as ms
print(ms.data.Track, ms.models.htdemucs, ms.metrics.usdr, ms.training.fit, ms.evaluate)
print(ms.listening.ListeningTest, ms.listening.Player, ms.figures.spectrogram_figure)
print(ms.course.exercise, ms.metrics.bss_eval, ms.evaluation.load_evaluation)
import mssedu.separation.tensors
assert callable(ms.separate) and callable(ms.evaluate)
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_python_m_mssedu_is_the_command():
    words = [sys.executable, "-m", "mssedu", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "separate" in done.stdout
