"""What a probe answers, and how it writes the command that mends it."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[3]  # the clone: mssedu is installed from it

Status = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """One line of the report; `command` mends it and is empty where nothing is wrong.

    `status` is ok (works), note (works, with a limit) or broken (exit code 3).
    """

    name: str
    status: Status
    seen: str
    command: str = ""


def shell(*words: str) -> str:
    """Words as one command line of this system, quoted where a space asks for it.

    Example:
        >>> shell("git", "restore", "data")
        'git restore data'
    """
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def pip_install(*words: str) -> str:
    """A pip install into the running Python, with the pins that CI ran."""
    pins = ROOT / "constraints.txt"
    constrained = ("-c", str(pins)) if pins.exists() else ()
    return shell(sys.executable, "-m", "pip", "install", *words, *constrained)
