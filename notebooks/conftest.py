"""How nbval runs the notebooks: as slow tests, the longest first, without pictures."""

import json
import math
import os
import tempfile
from functools import cache
from pathlib import Path

import pytest

# Solved exercises and answers of listening tests are not those of whoever runs this.
SCRATCH = tempfile.TemporaryDirectory()
os.environ["MSSEDU_PROGRESS"] = str(Path(SCRATCH.name) / "progress.json")
collect_ignore = ["py"]  # the texts are tested as notebooks; importing would run them


def pytest_collectstart(collector):
    """Leave out what differs by machine (stderr) or is left out of the file (html)."""
    path = getattr(collector, "path", None)
    if path is not None and Path(path).suffix == ".ipynb":
        collector.skip_compare += ("stderr", "text/html", "image/svg+xml")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Mark cells as slow; order notebooks so that no worker waits long at the end.

    Tests that are no notebooks come first, then the notebook that takes longest. Cells
    keep their order. pytest-xdist keeps all of it with --no-loadscope-reorder.
    """
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: -seconds(item.path))


@cache
def seconds(path):
    """How long a notebook ran when it was built; infinite for another file."""
    if path.suffix != ".ipynb":
        return math.inf
    return json.loads(path.read_text("utf-8"))["metadata"]["mssedu"]["seconds"]
