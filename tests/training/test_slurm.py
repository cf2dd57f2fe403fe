"""The script for Slurm: it starts torchrun, and is queued again when its time ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "recipes" / "slurm" / "train.sbatch"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")

# It stands for srun: it notes its words, and ends at SIGTERM with the code of a run.
SRUN = """#!/bin/bash
echo "$@" > srun.txt
trap 'echo TERM >> signals.txt; exit 143' TERM
echo begun > begun.txt
for _ in $(seq {turns}); do sleep 0.1; done
"""
SCONTROL = """#!/bin/bash
case "$1" in
    show) echo first; echo second ;;
    *) echo "$@" >> scontrol.txt ;;
esac
"""


def start(folder, turns):
    """The script with stand-ins for the commands of Slurm."""
    for name, text in (
        ("srun", SRUN.replace("{turns}", str(turns))),
        ("scontrol", SCONTROL),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "a[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }
    words = ["bash", str(SCRIPT), "SONGS", "--steps", "9"]
    return subprocess.Popen(words, cwd=folder, env=environment)


def wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")


def test_bash_can_read_the_script():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_a_finished_run_is_not_queued_again(tmp_path):
    assert start(tmp_path, turns=1).wait(60) == 0
    words = (tmp_path / "srun.txt").read_text().split()
    assert words[0] == "torchrun"
    assert " ".join(words).endswith("-m mssedu train SONGS --steps 9 --resume auto")
    assert words[words.index("--nproc-per-node") + 1] == "4"
    assert words[words.index("--nnodes") + 1] == "2"
    assert words[words.index("--rdzv-endpoint") + 1] == "first:20007"
    assert not (tmp_path / "scontrol.txt").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="other signals on Windows")
@pytest.mark.parametrize(("number", "again"), [("SIGUSR1", True), ("SIGTERM", False)])
def test_only_the_end_of_the_time_queues_it_again(tmp_path, number, again):
    process = start(tmp_path, turns=600)
    wait_for(tmp_path / "begun.txt")
    process.send_signal(getattr(signal, number))
    assert process.wait(60) == 143
    assert (tmp_path / "signals.txt").read_text() == "TERM\n"
    requeued = tmp_path / "scontrol.txt"
    assert requeued.exists() == again
    if again:
        assert requeued.read_text() == "requeue 7\n"
