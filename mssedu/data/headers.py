"""Headers of many files at once, and an index of them that makes the next time quick.

    files ──size, time──▶ index ──▶ known: sample rate, channels, length, codec
                            ▲
                            └── unknown or changed: each file is read once, in threads

The header of a .stem.mp4 or .mp3 does not say how long it is to the sample, so that its
packets are read: a minute for MUSDB18, at the first time. The index is in the folder
for caches. An entry counts only for the same path, size and times, and the same
versions of what read it. A damaged index is made again.
"""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mssedu
from mssedu.audio.containers import probe_streams
from mssedu.audio.disk import cache_folder
from mssedu.audio.files import write_json
from mssedu.audio.tensors import AudioInfo, audio_info, warn_of_damage
from mssedu.errors import MssEduError

FILE = "headers.json"
VERSION = 1  # of the index
RECENT = 3 * 10**9  # ns; clocks of file systems go in steps of up to two seconds
MAX_ENTRIES = 100_000  # the oldest are left out
N_THREADS = 8  # many, as most of them wait for the disk

Progress = Callable[[int, int], None]  # takes files done and all files


@dataclass(frozen=True)
class Header:
    """What is known of one stream of a file."""

    info: AudioInfo
    notes: tuple[str, ...] = ()  # what is damaged


class Headers:
    """The headers of some files; others are read when they are asked for."""

    def __init__(self, known: dict[Path, list[Header]]) -> None:
        self._known = known

    def info(self, path: Path, stream: int = 0) -> AudioInfo:
        """As `mssedu.audio.audio_info`, with its errors and warnings."""
        headers = self._known.get(path.absolute(), [])
        if not 0 <= stream < len(headers):
            return audio_info(path, stream=stream)
        header = headers[stream]
        warn_of_damage(path, header.notes)
        return header.info


def read_headers(paths: Iterable[Path], *, progress: Progress | None = None) -> Headers:
    """Read the headers of files, of all their streams, or find them in the index.

    A file that cannot be read is no error here, but where its header is asked for.

    Args:
        paths: of sound files, in any number and order.
        progress: is called with files done and files that are not in the index.
    """
    files = list(dict.fromkeys(path.absolute() for path in paths))
    index = _read_index()
    stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}
    known, unknown = {}, []
    for file, stamp in stamps.items():
        headers = _headers(index.get(str(file)), stamp)
        if headers is None:
            unknown.append(file)
        else:
            known[file] = headers
    new: dict[str, Any] = {}
    with ThreadPoolExecutor(N_THREADS) as pool:
        for done, (file, found) in enumerate(
            zip(unknown, pool.map(_read, unknown), strict=True), 1
        ):
            if progress:
                progress(done, len(unknown))
            if found is None:
                continue
            known[file] = found
            # A file may change again without a new time, if it has changed just now.
            settled = time.time_ns() - max(stamps[file][1:]) > RECENT
            if settled and _stamp(file) == stamps[file]:
                new[str(file)] = [stamps[file], [astuple(each) for each in found]]
    if new:
        _add_to_index(new)
    return Headers(known)


def _stamp(file: Path) -> list[int] | None:
    """What changes with a file: its size, and the times of its content and inode."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read(file: Path) -> list[Header] | None:
    try:
        rows = probe_streams(file)
    except (MssEduError, OSError):
        return None
    return [Header(AudioInfo(*row[:4]), row[4]) for row in rows]


# ---- the index ----------------------------------------------------------------------


def _index_path() -> Path:
    return cache_folder() / FILE


def _versions() -> list[str]:
    """Of what an entry depends on."""
    versions = [str(VERSION), f"mssedu {mssedu.__version__}"]
    for package in ("soundfile", "av"):
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return versions


def _read_index() -> dict[str, Any]:
    """File -> stamp and headers; empty if there is no index that can be used."""
    try:
        document = json.loads(_index_path().read_text("utf-8"))
        is_ours = document["versions"] == _versions()
        return dict(document["files"]) if is_ours else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _headers(entry: Any, stamp: list[int]) -> list[Header] | None:
    """The headers of an entry; None if it is of another state of the file."""
    try:
        old, rows = entry
        if old != stamp:
            return None
        return [Header(AudioInfo(*info), tuple(notes)) for info, notes in rows]
    except (ValueError, TypeError):  # no entry, or a damaged one
        return None


def _add_to_index(new: dict[str, Any]) -> None:
    """Write the index with new entries; what others have added meanwhile stays."""
    files = {name: old for name, old in _read_index().items() if name not in new} | new
    files = dict([*files.items()][-MAX_ENTRIES:])
    with suppress(OSError):  # a folder without the right to write, or a full disk
        _index_path().parent.mkdir(parents=True, exist_ok=True)
        write_json(_index_path(), {"versions": _versions(), "files": files})
