"""The disk: the folder for caches, the free space, and whether a folder can be written.

What needs much space asks for it before the work, with `check_room`, and a disk that
fills up later gives an error with the same facts, with `room_for`.
"""

import errno
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mssedu.errors import DiskError, InputError


def cache_folder() -> Path:
    """Folder of what can be had again: $MSSEDU_CACHE, or the platform's for caches."""
    if chosen := os.environ.get("MSSEDU_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "mssedu"
    default = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "mssedu"


def free_bytes(path: str | os.PathLike[str]) -> int | None:
    """Free space on the disk of a file or folder, which need not exist yet.

    None if the file system does not say: some network disks report a size of 0.

    Example:
        >>> free_bytes("a/folder/that/does/not/exist") == free_bytes(".")
        True
    """
    folder = Path(path).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def check_room(path: str | os.PathLike[str], n_bytes: float, purpose: str) -> None:
    """Raise DiskError if the disk of `path` has less free space than `n_bytes`.

    Nothing happens if the file system does not say how much is free.

    Args:
        path: file or folder to write; it need not exist yet.
        n_bytes: what is written there, an upper bound.
        purpose: what needs the space, such as "the stems of Sodium".

    Example:
        >>> check_room("runs/scores", 1e18, "the stems of Sodium")
        Traceback (most recent call last):
        mssedu.errors.DiskError: runs/scores: the disk is too full: the stems of Sodium
        need 1000000000.0 GB, and ... GB are free. Make room, or choose another folder.
    """
    free = free_bytes(path)
    if free is not None and free < n_bytes:
        raise DiskError(
            f"{os.fspath(path)}: the disk is too full: {purpose} need "
            f"{size_text(n_bytes)}, and {size_text(free)} are free. Make room, or "
            "choose another folder."
        )


@contextmanager
def room_for(
    path: str | os.PathLike[str], n_bytes: float, purpose: str
) -> Iterator[None]:
    """`check_room`; a disk that fills up inside is a DiskError with the same facts."""
    check_room(path, n_bytes, purpose)
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        need = f"{purpose} need {size_text(n_bytes)} in all"
        raise full_disk(path, error, need) from error


def is_full(error: BaseException) -> bool:
    """Whether the reason of an error is a full disk, or the end of a quota."""
    full = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return isinstance(error, DiskError) or getattr(error, "errno", None) in full


def full_disk(
    path: str | os.PathLike[str], error: BaseException, need: str = ""
) -> DiskError:
    """The error to raise where a disk has filled up."""
    free = free_bytes(path)
    parts = [need] if need else []
    parts += [] if free is None else [f"{size_text(free)} are free"]
    reason = getattr(error, "strerror", None) or os.strerror(errno.ENOSPC)
    facts = f": {', and '.join(parts)}" if parts else ""
    return DiskError(
        f"{os.fspath(path)}: {reason}. The disk is full{facts}. Make room, then start "
        "again."
    )


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raise InputError unless a folder can be written to, or created; creates none.

    Example:
        >>> check_folder("a/new/folder")
    """
    there = Path(folder).absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    reason = None if os.access(there, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
    if not there.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    if reason:
        raise InputError(
            f"{os.fspath(folder)}: nothing can be written there ({there}: {reason}). "
            "Choose another folder."
        )


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless a file can be written at a path; creates none.

    Example:
        >>> check_file("a/new/folder/scores.json")
    """
    check_folder(Path(path).parent)
    if Path(path).is_dir():
        raise InputError(f"{os.fspath(path)} is a folder. Give the name of a file.")


def size_text(n_bytes: float) -> str:
    """A size in words, such as 1.5 GB; rounded up, never less than it is.

    Example:
        >>> size_text(1_230_000), size_text(999)
        ('1.3 MB', '1 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{math.ceil(n_bytes / size * 10) / 10:.1f} {unit}"
    return f"{math.ceil(n_bytes / 1e3)} kB"
