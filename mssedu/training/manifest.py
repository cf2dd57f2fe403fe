"""The manifest of a run: what a reader needs in order to repeat it, and what it took.

    run folder/manifest.json
        recipe        file, hash and changes, if the run was started from one
        code          commit, whether files differ from it, version
        data          hashes of the songs for training and for validation
        environment   Python, torch, system, processor, card, threads
        seed, steps, best score, and hours of the clock, processor hours, energy

All settings are in config.json. The file is written when a run begins, and with each
state that is saved, so that its numbers are those of last.safetensors.
"""

import functools
import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import mssedu
from mssedu.audio.files import write_json
from mssedu.training.runs import read_run
from mssedu.training.state import TrainState
from mssedu.weights.checkpoint import git_commit

FILE = "manifest.json"
_CPU_INFO = Path("/proc/cpuinfo")


def write_manifest(run_dir: Path, state: TrainState) -> Path:
    """Write manifest.json of a run whose config.json is there; returns its path."""
    command = (read_run(run_dir).get("phases") or [{}])[-1].get("command") or {}
    time = state.watch.facts
    joules = time.get("energy_joules")
    path = run_dir / FILE
    document = {
        "recipe": command.get("recipe"),
        "code": {
            "mssedu": mssedu.__version__,
            "commit": git_commit(),
            "differs_from_commit": differs_from_commit(),
        },
        "data": dict(state.data),
        "environment": environment(state.device),
        "seed": state.config.seed,
        "steps": state.step,
        "finished": state.is_finished,
        "best_score": state.best_score if math.isfinite(state.best_score) else None,
        "best_step": state.best_step,
        "hours": round(time["wall_seconds"] / 3600, 5),
        "processor_hours": round(time["processor_seconds"] / 3600, 5),
        "energy_kwh": None if joules is None else round(joules / 3.6e6, 6),
    }
    write_json(path, document)
    return path


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and hardware on which a run computes."""
    is_cuda = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "card": torch.cuda.get_device_name(device) if is_cuda else None,
    }


@functools.cache
def processor_name() -> str:
    """The name of the processor, as the system gives it."""
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def differs_from_commit() -> bool | None:
    """Whether files of the checkout differ from its commit; None if that is unknown.

    Then the commit alone does not say which code has run.
    """
    if git_commit() is None:
        return None
    root = Path(mssedu.__file__).parents[1]
    command = ["git", "-C", str(root), "status", "--porcelain", "--", "mssedu"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # git is missing or hangs
        return None
    return bool(done.stdout.strip()) if done.returncode == 0 else None
