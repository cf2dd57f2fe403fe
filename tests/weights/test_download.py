"""Downloads against a server on this machine: whole, resumed, broken, wrong, absent."""

import hashlib
import http.server
import os
import re
import socket
import threading
from pathlib import Path

import pytest

from mssedu.errors import CheckpointError
from mssedu.weights import download as module
from mssedu.weights.download import cache_folder, fetch

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at /file; what it is to do wrong stands in the path."""

    seen: list[str | None]

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.seen.append(asked)
        start = int(asked.removeprefix("bytes=")[:-1]) if asked else 0
        if "absent" in self.path:
            return self.send_error(404)
        if "norange" in self.path:
            asked, start = None, 0
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if asked else 200)
        if "nolength" not in self.path:
            self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = start + 1000 if "short" in self.path else None
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder" / "a.th"


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], None])
@pytest.mark.parametrize("kind", ["file", "nolength"])
def test_a_whole_file_arrives_with_its_name_and_its_hash(server, path, sha256, kind):
    seen = []
    got = fetch(
        f"{server.address}/{kind}",
        path,
        sha256=sha256,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert got == SHA256
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["a.th"]
    total = None if kind == "nolength" else len(CONTENT)
    assert seen[-1] == (len(CONTENT), total)
    assert len(seen) >= 2


def test_a_file_that_is_there_is_checked_and_not_fetched(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server.address, path, sha256=SHA256[:8]) == SHA256
    assert server.seen == []
    with pytest.raises(CheckpointError, match=r"00000000.*Remove the file"):
        fetch(server.address, path, sha256="00000000")
    assert path.exists()  # it may be the user's own


@pytest.mark.parametrize(
    ("kind", "n_bytes"), [("file", 10), ("file", len(CONTENT)), ("norange", 10)]
)
def test_a_partial_file_is_completed(server, path, kind, n_bytes):
    path.parent.mkdir()
    path.with_name("a.th.part").write_bytes(CONTENT[:n_bytes])
    fetch(f"{server.address}/{kind}", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.seen[0] == f"bytes={n_bytes}-"


def test_a_broken_connection_keeps_what_has_come(server, path):
    with pytest.raises(CheckpointError, match=r"1000 of 1280000 bytes.*Try"):
        fetch(f"{server.address}/short", path, sha256=SHA256)
    assert path.with_name("a.th.part").stat().st_size == 1000
    assert not path.exists()
    fetch(f"{server.address}/file", path, sha256=SHA256)
    assert server.seen[-1] == "bytes=1000-"


def test_a_wrong_checksum_leaves_nothing(server, path):
    with pytest.raises(CheckpointError, match=f"{SHA256}.*1234.*removed"):
        fetch(f"{server.address}/file", path, sha256="1234")
    assert list(path.parent.iterdir()) == []


def test_what_is_absent_names_address_hash_and_place(server, path):
    with pytest.raises(CheckpointError) as caught:
        fetch(f"{server.address}/absent", path, sha256="8726e21a")
    for words in ("/absent", "Not Found", "8726e21a", str(path), "another machine"):
        assert words in str(caught.value)


def test_no_connection(monkeypatch, path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as bound:  # it does not listen, and nobody else can here
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/file"
        text = r"sha256 not published.*another machine"
        with pytest.raises(CheckpointError, match=text) as caught:
            fetch(address, path)
    assert isinstance(caught.value.__cause__, OSError)


def test_the_cache_is_where_the_user_or_the_platform_says(monkeypatch):
    monkeypatch.setenv("MSSEDU_CACHE", "/a/b")
    assert cache_folder() == Path("/a/b")
    monkeypatch.delenv("MSSEDU_CACHE")
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/mssedu")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert re.search(r"\.cache.mssedu$", os.fspath(cache_folder()))
    monkeypatch.setattr(module.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/d")
    assert cache_folder() == Path("/d/mssedu")
