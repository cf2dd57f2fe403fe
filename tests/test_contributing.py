"""CONTRIBUTING.md and README.md say what is so."""

import re
from pathlib import Path

from mssedu import errors
from mssedu.course.exercises import list_exercises
from mssedu.data.layouts import LAYOUTS
from mssedu.metrics.table import METRICS
from mssedu.models import MODELS

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_model_is_the_one_that_passes_the_contract_test():
    (shown,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    file = (ROOT / "tests/models/example_model.py").read_text("utf-8")
    assert shown.strip() == file.strip()
    assert len(shown.splitlines()) <= 40


def test_the_files_and_tables_of_contributing_exist():
    paths = re.findall(r"`((?:mssedu|tests|notebooks)/[\w/.]+)`", CONTRIBUTING)
    paths = [path for path in paths if not re.search("NAME|NN_|TOPIC", path)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert all((MODELS, METRICS, LAYOUTS, list_exercises()))


def test_the_tree_of_the_readme_has_a_line_for_every_folder():
    tree = README[README.index("## Where to find what") :]
    entries = {path.name for path in (ROOT / "mssedu").iterdir()}
    entries = {n for n in entries if not n.startswith("__")}
    lines = re.findall(r"^  (\w+)(?:/|\.py) {2,}", tree, re.MULTILINE)
    assert sorted(lines) == sorted(name.removesuffix(".py") for name in entries)


def test_the_errors_are_documented():
    names = [n for n, v in vars(errors).items() if isinstance(v, type)]
    named = [n for n in names if n.startswith("MssEdu") or n.endswith("Error")]
    assert [n for n in named if n not in (errors.__doc__ or "")] == []
