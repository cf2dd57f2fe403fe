"""Which exercises a student has solved: one small file of this computer, sent nowhere.

The check of a right answer writes it, in Jupyter only. `mssedu course progress` shows
the file.
"""

import json
import os
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

from mssedu.audio.files import write_text


def progress_file() -> Path:
    """The file of solved exercises: MSSEDU_PROGRESS, or ~/.mssedu/progress.json."""
    named = os.environ.get("MSSEDU_PROGRESS")
    return Path(named) if named else Path.home() / ".mssedu" / "progress.json"


def solved() -> dict[str, str]:
    """The exercises that were solved on this computer, {id: day of the first time}.

    A file that is damaged counts as empty.
    """
    try:
        found = json.loads(progress_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record(id: str) -> None:
    """Add an exercise to the file, if this is Jupyter; a full disk is no fault here."""
    if not _in_jupyter() or id in (known := solved()):
        return
    known[id] = date.today().isoformat()
    with suppress(OSError):
        progress_file().parent.mkdir(parents=True, exist_ok=True)
        write_text(progress_file(), json.dumps(known, indent=1) + "\n")


def _in_jupyter() -> bool:
    """Whether the code runs in the kernel of a notebook."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
