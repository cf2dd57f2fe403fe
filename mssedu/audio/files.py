"""Files that are there whole or not at all, their hashes, and JSON.

A file is written beside its place, down to the disk, and then renamed: whoever reads
sees the old version or the new one, after a power cut, too.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder, which becomes `path` if all goes well.

    The folder is made where it is missing. After an error, the temporary file is
    removed, and `path` is as it was.

    Raises:
        OSError: the folder cannot be written, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "notes.txt"
        ...     with written_whole(file) as temporary:
        ...         _ = temporary.write_text("all of it")
        ...     file.read_text()
        'all of it'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same suffix, because some writers choose the format by it
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8 with "\\n" line ends, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, document: Any) -> None:
    """Write JSON, whole or not at all; letters of all scripts stay readable.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot hold.
        TypeError: a value is none that JSON can hold.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text)


def as_json(document: Any) -> Any:
    """A document as it reads after it was written: tuples are lists, for example.

    Example:
        >>> as_json({"stems": ("vocals", "other")})
        {'stems': ['vocals', 'other']}
    """
    return json.loads(json.dumps(document))


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
