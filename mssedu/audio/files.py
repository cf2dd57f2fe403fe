"""Write a file whole or not at all; JSON, names and hashes of files.

The content is first written to a temporary file in the same folder and to the disk, and
then the file is renamed. So a reader sees the old version or the new one, even after a
power cut, and never half a file.
"""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

from mssedu.errors import DiskError, InputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')  # on Windows, the strictest system
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
_MARKED = re.compile(r"-[0-9a-f]{8}$", re.IGNORECASE)  # as names that were changed end
_LONGEST = 200  # bytes; most file systems allow 255, with a suffix
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


# ---- folders ------------------------------------------------------------------------


def cache_folder() -> Path:
    """Folder of what can be had again: $MSSEDU_CACHE, or the platform's for caches."""
    if chosen := os.environ.get("MSSEDU_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "mssedu"
    default = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "mssedu"


# ---- room on the disk ---------------------------------------------------------------


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
    if len(name_bytes(plain)) > _LONGEST:
        plain = plain[: _LONGEST // 4]  # a character has 4 bytes at most
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    if plain == name and not marked and not _MARKED.search(name):
        return name
    digest = hashlib.sha256(name_bytes(name)).hexdigest()
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


# ---- paths made of names ------------------------------------------------------------


def path_inside(folder: str | os.PathLike[str], name: str | Path) -> Path:
    """The path of a file with a name, which may have subfolders, below a folder.

    Links are not followed: a link in the folder may point to another disk.

    Raises:
        InputError: the path is not below the folder, such as that of "../song.wav".

    Example:
        >>> path_inside("out", "song/bass.wav").as_posix()
        'out/song/bass.wav'
    """
    path, parts = Path(folder, name), Path(name).parts
    is_inside = path.absolute().is_relative_to(Path(folder).absolute())
    if not is_inside or ".." in parts or not parts or "\0" in str(name):
        raise InputError(
            f"{str(name)!r} is no name of a file in {os.fspath(folder)}. Choose names "
            "without .. and without a folder at the start."
        )
    return path


def name_bytes(name: str) -> bytes:
    """A text with names of files as bytes for a hash; the names need not be UTF-8."""
    return name.encode("utf-8", "surrogatepass")


def disk_name(path: Path) -> Path | bytes:
    """A path for libsndfile: as bytes where the name on the disk is no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def check_creatable(path: Path) -> None:
    """Create the folder of a file, and find out whether the file can have its name.

    Raises:
        InputError: the file system has no such names: too long, or of other characters.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.open("xb").close()
            path.unlink()
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        if code not in (None, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise  # such as a folder that must not be written to
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{os.fspath(path)!r} cannot be the name of a file here: {reason}. Choose "
            "a shorter name, of letters and digits."
        ) from error
