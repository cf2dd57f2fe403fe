"""Download a file once, go on where an earlier download stopped, and check its hash.

    address ─▶ name.part, from the byte where an earlier try ended ─sha256─▶ name

The file gets its name last, so a file with that name is complete. A broken connection
leaves name.part for the next try, and beside it, in name.part.version, what the server
calls this version of the file: two versions never mix. A wrong hash removes both.

Only https is used, because anybody on the way could change what http carries; http is
allowed to this machine itself.
"""

import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from mssedu.audio.disk import check_room
from mssedu.audio.files import file_sha256
from mssedu.errors import DownloadError, MssEduError, MssEduWarning

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
LARGEST = 4 * 10**9  # bytes of a file whose size is not published
THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
WEB_PAGE = (b"<!doctype html", b"<html")
Progress = Callable[[int, int | None], None]  # takes bytes done and total, if known


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a file, unless it is there already.

    Args:
        address: https://…, or http:// to this machine.
        path: where to write the file; a file that exists is only checked.
        sha256: all digits or the first ones, as published; None: a MssEduWarning says
            that nothing could be checked.
        size: bytes, as published; more are never taken. None: at most 4 GB.
        progress: is called with bytes done and total bytes (None if unknown).

    Returns:
        the full sha256.

    Raises:
        DownloadError: an address that is not allowed, no connection, no such file
            there, a web page in its place, too many bytes, or another checksum.
    """
    sha256 = (sha256 or "").lower()
    if not path.exists():
        _download(address, path, sha256, LARGEST if size is None else size, progress)
    digest = file_sha256(path)
    if not digest.startswith(sha256):
        raise DownloadError(
            f"{path.absolute()} has the sha256 {digest}, but {sha256}… is published. "
            "Remove the file to download it again."
        )
    if not sha256:
        warnings.warn(
            f"no checksum is published for {address}, so {path.name} could not be "
            f"checked; its sha256 is {digest}",
            MssEduWarning,
            stacklevel=2,
        )
    return digest


def _download(
    address: str, path: Path, sha256: str, size: int, progress: Progress | None
) -> None:
    """Write a whole file to `path`, or raise a DownloadError."""
    _check_address(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path.with_name(path.name + ".part"), is_checked=bool(sha256))
    cause = None
    try:
        done, total = _receive(address, part, size, progress)
        reason = f"only {done} of {total} bytes arrived"
        if total is None or done >= total:
            reason = ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, MssEduError):
            raise
        # OSError: HTTP's codes too; ValueError: an address that urllib cannot read
        reason, cause = str(getattr(error, "reason", None) or error), error
    if reason:
        known = f"sha256 {sha256}…" if sha256 else "sha256 not published"
        raise DownloadError(
            f"{address} cannot be downloaded: {reason}. Try again (the download goes "
            f"on where it stopped), or download the file ({known}) on another machine "
            f"and copy it to {path.absolute()}."
        ) from cause
    digest = file_sha256(part.path)
    if not digest.startswith(sha256):
        part.remove()
        raise DownloadError(
            f"the file from {address} has the sha256 {digest}, but {sha256}… is "
            "published. It was removed. Try again; if the hash is wrong again, do not "
            "trust this address."
        )
    part.path.replace(path)
    part.version_path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Part:
    """A file that is not complete, and what the server calls its version."""

    path: Path
    is_checked: bool  # by a hash, which would find a mix of two versions

    @property
    def version_path(self) -> Path:
        return self.path.with_name(self.path.name + ".version")

    def resume(self) -> tuple[int, str]:
        """Bytes that need not come again, and the version that they are of."""
        for path in (self.path, self.version_path):
            if path.is_symlink():  # it would write into the file that it points to
                path.unlink()
        version = ""
        if self.version_path.exists():
            version = self.version_path.read_text("latin-1").strip()
        if not self.path.exists() or not (version or self.is_checked):
            self.remove()
            return 0, ""
        return self.path.stat().st_size, version

    def open(self, done: int, version: str) -> IO[bytes]:
        """The file, to append to its first `done` bytes."""
        if not done:
            self.remove()
            if version:
                with _open(self.version_path, 0) as file:
                    file.write(version.encode("latin-1"))
        return _open(self.path, done)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.version_path.unlink(missing_ok=True)


def _open(path: Path, done: int) -> IO[bytes]:
    """Write a file after its first `done` bytes, if it is no link to another."""
    flags = os.O_WRONLY | os.O_CREAT
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o666)
    os.ftruncate(handle, done)
    os.lseek(handle, done, os.SEEK_SET)
    return os.fdopen(handle, "wb")


def _receive(
    address: str, part: _Part, size: int, progress: Progress | None
) -> tuple[int, int | None]:
    """Append the missing bytes to `part`; returns its bytes and the total if known."""
    done, version = part.resume()
    headers = {"User-Agent": "mssedu"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if version:  # another version is then sent from its beginning
            headers["If-Range"] = version
    request = urllib.request.Request(address, headers=headers)
    try:
        answer = _opener(address).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not done:  # 416: no bytes after those in `part`
            raise
        part.remove()
        return _receive(address, part, size, progress)
    with answer:
        if answer.status != 206:  # a server that cannot resume sends all of it
            done = 0
        total = _total(address, answer.headers, done, size)
        if "html" in answer.headers.get_content_type():
            raise _web_page(address)
        check_room(part.path, (total or 0) - done, f"the bytes of {address}")
        with part.open(done, version if done else _version(answer.headers)) as file:
            while block := answer.read(CHUNK):
                if not done and block.lstrip().lower().startswith(WEB_PAGE):
                    raise _web_page(address)
                done += len(block)
                if done > size:
                    raise _too_many(address, f"more than {size}", size)
                file.write(block)
                if progress:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
    return done, total


def _total(address: str, headers: Message, done: int, size: int) -> int | None:
    """Bytes of the whole file, as the server says; None if it does not."""
    missing = headers.get("Content-Length")
    if missing is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", missing):
        raise DownloadError(
            f"{address} cannot be downloaded: the server gives {missing[:40]!r} as the "
            "length of the file. Try again later, or download it with a browser."
        )
    start = re.match(r"bytes (\d{1,18})-", headers.get("Content-Range", ""))
    if start and int(start[1]) != done:
        raise DownloadError(
            f"{address} cannot be downloaded: the server goes on at byte {start[1]}, "
            f"not at {done}. Remove the .part file, and try again."
        )
    total = done + int(missing)
    if total > size:
        raise _too_many(address, str(total), size)
    return total


def _version(headers: Message) -> str:
    """What the server calls this version; empty if nothing that If-Range may have."""
    tag = headers.get("ETag", "")
    if tag.startswith("W/"):  # weak: the bytes may differ
        tag = ""
    return tag or headers.get("Last-Modified", "")


def _too_many(address: str, got: str, size: int) -> DownloadError:
    return DownloadError(
        f"{address} gives {got} bytes, and the file may have {size}. Do not trust this "
        "address: something else is there now."
    )


def _web_page(address: str) -> DownloadError:
    return DownloadError(
        f"{address} gives a web page in place of the file: it may want a login, or the "
        "file has moved. Open the address in a browser."
    )


# ---- addresses ----------------------------------------------------------------------


def _check_address(address: str) -> None:
    if not (_is_secure(address) or _is_local(address)):
        raise DownloadError(
            f"the address {address[:200]!r} must begin with https:// (or with "
            "http:// and name this machine). Download the file yourself, and give its "
            "path."
        )


def _is_secure(address: str) -> bool:
    return _parts(address)[0] == "https" and bool(_parts(address)[1])


def _is_local(address: str) -> bool:
    return _parts(address)[0] == "http" and _parts(address)[1] in THIS_MACHINE


def _parts(address: str) -> tuple[str, str]:
    """Scheme and host; empty if the address has another form."""
    try:
        parts = urllib.parse.urlsplit(address)
        return parts.scheme, parts.hostname or ""
    except ValueError:
        return "", ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a server to addresses that are as safe as the first one."""

    def __init__(self, address: str) -> None:
        self.is_local = _is_local(address)

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to the new address, or a DownloadError."""
        if not (_is_secure(newurl) or (self.is_local and _is_local(newurl))):
            raise DownloadError(
                f"{req.full_url} leads to {newurl[:200]!r}, which is not https. Do not "
                "trust this address."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(address: str) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects(address))
