"""Write a file whole or not at all; JSON, names and hashes of files.

The content is first written to a temporary file in the same folder and to the disk, and
then the file is renamed. So a reader sees the old version or the new one, even after a
power cut, and never half a file.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')  # on Windows, the strictest system
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
_MARKED = re.compile(r"-[0-9a-f]{8}$", re.IGNORECASE)  # as names that were changed end
_LONGEST = 200  # bytes; most file systems allow 255, with a suffix


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder, which is renamed to `path` at the end.

    The folder is created if it does not exist. After an error, such as an OSError of a
    full disk, the temporary file is removed, and `path` is unchanged.

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
    # The same name each time: what a killed process left is overwritten by the next.
    # The suffix stays, because some writers choose the format by it.
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8 with "\\n" as line end."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], document: Any) -> None:
    """Write JSON in UTF-8; NaN and infinite numbers are a ValueError."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text)


def as_json(document: Any) -> Any:
    """A document as it is after writing and reading: tuples become lists, for example.

    Example:
        >>> as_json({"stems": ("vocals", "other")})
        {'stems': ['vocals', 'other']}
    """
    return json.loads(json.dumps(document))


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


def file_name(name: str, *, marked: bool = False) -> str:
    """A name for the file of a song or system, which every file system accepts.

    A name with characters that a file name must not have, with a dot or a space at the
    end, reserved by Windows or too long is changed, and gets 8 digits of its hash, so
    that two names never share a file. If `marked`, it gets them in any case: many file
    systems take names that differ in upper and lower case only for one.

    Example:
        >>> file_name("Sodium"), file_name("AC/DC")
        ('Sodium', 'AC_DC-5a5abe39')
    """
    plain = _FORBIDDEN.sub("_", name).strip(" .") or "_"
    if len(plain.encode("utf-8", "surrogatepass")) > _LONGEST:
        plain = plain[: _LONGEST // 4]  # a character has 4 bytes at most
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    if plain == name and not marked and not _MARKED.search(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain}-{digest[:8]}"


def file_names(names: Iterable[str]) -> dict[str, str]:
    """`file_name` of each name, different even where upper and lower case are the same.

    Example:
        >>> file_names(["Intro", "Outro"])
        {'Intro': 'Intro', 'Outro': 'Outro'}
    """
    folded = {name: unicodedata.normalize("NFC", name).casefold() for name in names}
    uses = Counter(folded.values())
    return {name: file_name(name, marked=uses[one] > 1) for name, one in folded.items()}
