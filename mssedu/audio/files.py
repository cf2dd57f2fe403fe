"""Write a file whole or not at all; JSON and hashes of files.

The content is first written to a temporary file in the same folder and to the disk, and
then the file is renamed. So a reader sees the old version or the new one, even after a
power cut, and never half a file.
"""

import hashlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

from mssedu.audio.disk import full_disk, is_full
from mssedu.errors import DiskError, InputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY = re.compile(r"\.mssedu-[0-9a-f]{8}\.tmp(\.[^.]+)?")  # names of `Staged`
_OLD = 86400  # seconds
_TYPES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
}
_TYPES |= {bool: "true or false", dict: "an object", None: "null"}


class Staged:
    """Files that get their names together at the end of a `with` block: all or none.

    Until then each is a temporary file in the folder of its name. After an error none
    is left. What a killed process left is removed by the next that writes into the
    folder; a lock protects the files of processes that still run.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = [Path(folder) / name for name in ("a.txt", "b.txt")]
        ...     with Staged() as staged:
        ...         for path in paths:
        ...             _ = staged.add(path).write_text("all of it")
        ...     [path.read_text() for path in paths]
        ['all of it', 'all of it']
    """

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path]] = []  # temporary file, path
        self._locks: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def add(self, path: str | os.PathLike[str]) -> Path:
        """A temporary file for `path`, whose folder is created if necessary."""
        path = Path(path)
        if path.is_dir():  # now, and not when the file gets its name
            raise InputError(f"{path} is a folder. Give the name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        # The suffix stays, because some writers choose the format by it.
        suffix = path.suffix if len(path.suffix) < 20 else ""
        while True:
            temporary = path.with_name(f".mssedu-{secrets.token_hex(4)}.tmp{suffix}")
            self._files.append((temporary, path))  # first: Ctrl-C may come at any time
            lock = temporary.open("xb")
            self._locks.append(lock)
            if fcntl is None:
                lock.close()  # Windows renames no open file
                return temporary
            with suppress(OSError):  # some network disks have no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink:
                return temporary
            self._files.pop()  # another writer took it for an old one, and removed it

    def __exit__(self, *error: object) -> None:
        named = []
        try:
            if error[0] is None:
                for temporary, _ in self._files:
                    with temporary.open("rb+") as file:
                        os.fsync(file.fileno())
                for temporary, path in self._files:
                    temporary.replace(path)
                    named.append(path)
        except BaseException:
            for path in named:
                path.unlink(missing_ok=True)
            raise
        finally:
            for lock in self._locks:
                lock.close()
            for temporary, _ in self._files:
                temporary.unlink(missing_ok=True)


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder, which is renamed to `path` at the end.

    The folder is created if it does not exist. After an error the temporary file is
    removed, and `path` is unchanged.

    Raises:
        DiskError: the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "notes.txt"
        ...     with written_whole(file) as temporary:
        ...         _ = temporary.write_text("all of it")
        ...     file.read_text()
        'all of it'
    """
    try:
        with Staged() as staged:
            yield staged.add(path)
    except OSError as error:
        if is_full(error) and not isinstance(error, DiskError):
            raise full_disk(path, error) from error
        raise


def sweep(folder: Path, *, below: bool = False) -> None:
    """Remove the temporary files that killed processes have left in a folder.

    With `below`, also those in its own folders, but not deeper.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if below and entry.is_dir(follow_symlinks=False):
                sweep(Path(entry.path))
            is_ours = _TEMPORARY.fullmatch(entry.name) is not None
            if is_ours and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_unused(Path(entry.path))


def _remove_unused(path: Path) -> None:
    """Remove a temporary file; an OSError if its process still runs."""
    if fcntl is None:  # Windows: an old file is of no process that still writes
        if time.time() - path.stat().st_mtime > _OLD:
            path.unlink()
        return
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8 with "\\n" as line end; what UTF-8 lacks becomes "?"."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_json(path: str | os.PathLike[str], document: Any) -> None:
    """Write JSON in UTF-8; NaN and infinite numbers are a ValueError."""
    write_bytes(path, json_bytes(document))


def json_bytes(document: Any) -> bytes:
    """The content of a JSON file; NaN and infinite numbers are a ValueError.

    File names on Linux can have bytes that are no UTF-8. JSON has escapes for them.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def as_json(document: Any) -> Any:
    """A document as it is after writing and reading: tuples become lists, for example.

    Example:
        >>> as_json({"stems": ("vocals", "other")})
        {'stems': ['vocals', 'other']}
    """
    return json.loads(json.dumps(document))


def misfit(document: Any, form: Any, place: str = "") -> str | None:
    """The first place where a JSON document does not have a form; None if it has it.

    Args:
        document: as json.loads returns it.
        form: a type, where float is any finite number and object any value; None; a
            tuple of such, of which one must fit; [form] for a list; {key: form} for an
            object with these keys and perhaps more; {str: form} for any keys.
        place: of the document in a larger one.

    Example:
        >>> misfit({"stems": ["bass", 1]}, {"stems": [str]})
        'stems.1 is not a text'
    """
    if isinstance(form, tuple):
        found = [misfit(document, one, place) for one in form]
        return None if None in found else found[0]
    inner: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(form, dict):
        if not isinstance(document, dict):
            return f"{place or 'it'} is not an object"
        if missing := [key for key in form if key is not str and key not in document]:
            return f"{place}.{missing[0]} is missing".removeprefix(".")
        any_key = dict.fromkeys(document, form[str]) if str in form else form
        inner = ((key, document[key], one) for key, one in any_key.items())
    elif isinstance(form, list):
        if not isinstance(document, list):
            return f"{place or 'it'} is not a list"
        inner = ((number, value, form[0]) for number, value in enumerate(document))
    elif not _is_of(document, form):
        return f"{place or 'it'} is not {_TYPES[form]}"
    for key, value, one in inner:
        if found_inside := misfit(value, one, f"{place}.{key}".removeprefix(".")):
            return found_inside
    return None


def _is_of(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind in (int, float):
        types = (int,) if kind is int else (int, float)
        is_number = isinstance(value, types) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return isinstance(value, kind)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tupled(document: Any) -> Any:
    """A document from JSON or TOML with tuples in place of its lists, at every depth.

    Example:
        >>> tupled({"stems": ["vocals", "other"]})
        {'stems': ('vocals', 'other')}
    """
    if isinstance(document, dict):
        return {name: tupled(value) for name, value in document.items()}
    return tuple(map(tupled, document)) if isinstance(document, list) else document
