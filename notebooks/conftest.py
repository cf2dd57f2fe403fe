"""How nbval compares the notebooks: numbers and texts, not pictures and players."""

from pathlib import Path

collect_ignore = ["py"]  # the texts are tested as notebooks; importing would run them


def pytest_collectstart(collector):
    """Leave out what differs by machine (stderr) or is left out of the file (html)."""
    path = getattr(collector, "path", None)
    if path is not None and Path(path).suffix == ".ipynb":
        collector.skip_compare += ("stderr", "text/html", "image/svg+xml")
