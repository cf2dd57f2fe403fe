"""Names of songs and stems as names of files, on every system and inside their folder.

A name from outside may hold "/", "..", letters that Windows forbids, or bytes that are
no text. `file_name` makes a safe name of it, `path_inside` refuses a path that leaves
the folder, and `check_creatable` asks the file system.
"""

import errno
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mssedu.errors import InputError

_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')  # on Windows, the strictest system
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
_MARKED = re.compile(r"-[0-9a-f]{8}$", re.IGNORECASE)  # as names that were changed end
_LONGEST = 200  # bytes; most file systems allow 255, with a suffix


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
