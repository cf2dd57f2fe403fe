"""One process trains in a folder: a second is refused, and a killed one blocks none."""

import errno
import subprocess
import sys

import pytest
from filelock import FileLock

from mssedu.errors import InputError
from mssedu.training import lock
from tests.training.test_loop import run

HOLDER = """
import sys, time
from pathlib import Path
from mssedu.training.lock import locked
with locked(Path(sys.argv[1]), print):
    print("it holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that trains in tmp_path / "run"."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "it holds\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_gone(
    tmp_path, holder, monkeypatch
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(lock, "WAIT_SECONDS", 0.1)
        for resume in (False, "auto", True):
            with pytest.raises(InputError, match="run is in use: another process"):
                run(folder, resume=resume)
    assert [path.name for path in folder.iterdir()] == [lock.LOCK]
    holder.kill()  # as kill -9 does
    lines = []
    assert run(folder, log=lines.append).step
    assert not [line for line in lines if lock.LOCK in line]
    assert not (folder / lock.LOCK).exists()


def test_a_disk_without_locks_is_told_once(tmp_path, monkeypatch):
    def refused(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refused)
    lines = []
    with lock.locked(tmp_path, lines.append):
        pass
    (line,) = lines
    assert "run.lock cannot be locked (No locks available)" in line
    assert not [*tmp_path.iterdir()]


def test_a_start_that_fails_leaves_no_folder(tmp_path):
    with pytest.raises(InputError), lock.locked(tmp_path / "run", print):
        raise InputError("a gate")
    assert not [*tmp_path.iterdir()]
