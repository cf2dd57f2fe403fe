"""Fetch a file once: resumed where it stopped, checked, and never half there.

    address ─▶ name.part, from the byte where an earlier try ended ─sha256─▶ name

The file gets its name last, so whatever bears the name is whole. A broken connection
leaves the .part behind for the next try; a wrong checksum removes it.
"""

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from mssedu.errors import CheckpointError, message

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
Progress = Callable[[int, int | None], None]  # is given bytes done, bytes in all


def cache_folder() -> Path:
    """Where fetched files stay: $MSSEDU_CACHE, else the platform's place for caches."""
    if chosen := os.environ.get("MSSEDU_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "mssedu"
    default = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "mssedu"


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Make sure that `path` holds the file at `address`.

    Args:
        address: https://…
        path: where the file goes; one that is there already is only checked.
        sha256: in full or the first digits of it, as far as it is published; nothing
            is checked if None.
        progress: is called with the bytes done and in all, as far as known.

    Returns:
        the full sha256.

    Raises:
        CheckpointError: no connection, no such file there, or another checksum.
    """
    if path.exists():
        digest = _digest(path)
        if not digest.startswith(sha256 or ""):
            remedy = "Remove it, to fetch it again."
            wanted = f"a file with sha256 {sha256}…"
            raise CheckpointError(message(str(path.absolute()), wanted, digest, remedy))
        return digest
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        done, total = _fetch(address, part, progress)
    except (OSError, http.client.HTTPException) as error:  # OSError: HTTP's codes too
        reason = getattr(error, "reason", None) or error
        raise _unreachable(address, path, sha256, reason) from error
    if total is not None and done < total:
        raise _unreachable(address, path, sha256, f"{done} of {total} bytes only")
    digest = _digest(part)
    if not digest.startswith(sha256 or ""):
        part.unlink()
        remedy = (
            "It was removed; fetch it again, and distrust the address if it recurs."
        )
        wanted = f"a file with sha256 {sha256}…"
        raise CheckpointError(message(address, wanted, digest, remedy))
    part.replace(path)
    return digest


def _fetch(
    address: str, part: Path, progress: Progress | None
) -> tuple[int, int | None]:
    """Append to `part` what is missing; bytes it then has, and should have if known."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "mssedu"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(address, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not done:  # 416: nothing lies beyond what is there
            raise
        part.unlink()
        return _fetch(address, part, progress)
    with answer:
        if answer.status != 206:  # a server that cannot resume sends all of it
            done = 0
        missing = answer.headers.get("Content-Length")
        total = done + int(missing) if missing else None
        with part.open("ab" if done else "wb") as file:
            while block := answer.read(CHUNK):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
    return done, total


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreachable(
    address: str, path: Path, sha256: str | None, reason: object
) -> CheckpointError:
    known = f"sha256 {sha256}…" if sha256 else "sha256 not published"
    remedy = (
        f"Try again (it goes on where it stopped), or fetch the file ({known}) on "
        f"another machine and put it there yourself: {path.absolute()}."
    )
    return CheckpointError(message(address, "the file", reason, remedy))
