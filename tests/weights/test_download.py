"""The cache of downloaded weights; tests/audio/test_download.py tests the downloads."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from mssedu.errors import CheckpointError
from mssedu.weights.download import cache_folder, fetch
from tests.file_server import CONTENT, serving


def test_weights_are_downloaded_up_to_their_size(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    digest, seen = hashlib.sha256(CONTENT).hexdigest(), []
    path = tmp_path / "new folder" / "a.th"
    with serving() as server:
        address = f"{server.address}/a.th"
        with pytest.raises(CheckpointError, match="may have 9"):
            fetch(address, path, sha256=digest, size=9)
        with pytest.raises(CheckpointError, match="must begin with https"):
            fetch(f"file://{path}", path, sha256=digest)
        got = fetch(
            address, path, sha256=digest, progress=lambda *counts: seen.append(counts)
        )
    assert got == digest
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_the_cache_is_where_the_user_or_the_platform_says(monkeypatch):
    monkeypatch.setenv("MSSEDU_CACHE", "/a/b")
    assert cache_folder() == Path("/a/b")
    monkeypatch.delenv("MSSEDU_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/mssedu")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert re.search(r"\.cache.mssedu$", os.fspath(cache_folder()))
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/d")
    assert cache_folder() == Path("/d/mssedu")
