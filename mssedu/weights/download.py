"""Download a file once, go on where an earlier download stopped, and check its hash.

    address ─▶ name.part, from the byte where an earlier try ended ─sha256─▶ name

The file gets its name last, so a file with that name is complete. A broken connection
leaves the .part file for the next try; a wrong hash removes it.
"""

import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from mssedu.audio.files import file_sha256
from mssedu.errors import CheckpointError

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
Progress = Callable[[int, int | None], None]  # takes bytes done and total, if known


def cache_folder() -> Path:
    """Folder of downloaded files: $MSSEDU_CACHE, or else the platform's for caches."""
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
    """Download a file, unless it is there already.

    Args:
        address: https://…
        path: where to write the file; a file that exists is only checked.
        sha256: all digits or the first ones, as published; None checks nothing.
        progress: is called with bytes done and total bytes (None if unknown).

    Returns:
        the full sha256.

    Raises:
        CheckpointError: no connection, no such file there, or another checksum.
    """
    if path.exists():
        digest = file_sha256(path)
        if not digest.startswith(sha256 or ""):
            raise CheckpointError(
                f"{path.absolute()} has the sha256 {digest}, but {sha256}… is "
                "published. Remove the file to download it again."
            )
        return digest
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reason: object = None
    cause = None
    try:
        done, total = _fetch(address, part, progress)
        if total is not None and done < total:
            reason = f"only {done} of {total} bytes arrived"
    except (OSError, http.client.HTTPException) as error:  # OSError: HTTP's codes too
        reason, cause = getattr(error, "reason", None) or error, error
    if reason:
        known = f"sha256 {sha256}…" if sha256 else "sha256 not published"
        raise CheckpointError(
            f"{address} cannot be downloaded: {reason}. Try again (the download goes "
            f"on where it stopped), or download the file ({known}) on another machine "
            f"and copy it to {path.absolute()}."
        ) from cause
    digest = file_sha256(part)
    if not digest.startswith(sha256 or ""):
        part.unlink()
        raise CheckpointError(
            f"the file from {address} has the sha256 {digest}, but {sha256}… is "
            "published. It was removed. Try again; if the hash is wrong again, do not "
            "trust this address."
        )
    part.replace(path)
    return digest


def _fetch(
    address: str, part: Path, progress: Progress | None
) -> tuple[int, int | None]:
    """Append the missing bytes to `part`; returns its bytes and the total if known."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "mssedu"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(address, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not done:  # 416: no bytes after those in `part`
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
