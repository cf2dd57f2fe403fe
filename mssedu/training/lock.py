"""One process at a time trains in a run folder.

    run folder/run.lock    there while a process trains

The lock is one of the operating system (package filelock). It ends with its process,
also after a crash or kill -9, so a file that is left behind blocks no run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mssedu.audio.disk import check_folder
from mssedu.errors import InputError, MssEduError
from mssedu.training.distributed import is_first, raise_together

LOCK = "run.lock"
# The workers that read songs for a killed run end up to five seconds after it, and
# until then they keep its lock.
WAIT_SECONDS = 10.0


@contextmanager
def locked(run_dir: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Create the folder, and let no other process train there while open.

    Of several processes that train together, the first one holds the lock. Where the
    file system has no locks, a sentence is logged, and the run begins without.

    Raises:
        InputError: another process trains there, or nothing can be written there.
    """
    is_new = not run_dir.exists()
    lock = FileLock(run_dir / LOCK, timeout=WAIT_SECONDS)
    error: MssEduError | None = None
    if is_first():
        try:
            _hold(lock, run_dir, log)
        except MssEduError as found:
            error = found
    raise_together(error)
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes no open file
                (run_dir / LOCK).unlink()
            lock.release()
        if is_new and is_first():
            with suppress(OSError):  # it is not empty
                run_dir.rmdir()


def _hold(lock: FileLock, run_dir: Path, log: Callable[[str], None]) -> None:
    check_folder(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{run_dir.absolute()} is in use: another process trains there. Wait until "
            "it ends, stop it, or choose another folder with --run-dir (run_dir in "
            "Python)."
        ) from error
    except OSError as error:
        log(
            f"{run_dir / LOCK} cannot be locked ({error.strerror or error}): start no "
            "second process in this folder"
        )
