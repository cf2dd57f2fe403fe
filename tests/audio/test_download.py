"""Downloads from a server on this machine: whole, resumed, broken, wrong, hostile."""

import hashlib
import socket

import pytest

from mssedu.audio import download as module
from mssedu.audio.download import fetch
from mssedu.errors import DiskError, DownloadError, MssEduWarning
from tests.file_server import CONTENT, serving

SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder" / "a.th"


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], SHA256.upper()])
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


def test_a_file_without_a_published_hash_is_announced_each_time(server, path):
    for _ in range(2):
        with pytest.warns(MssEduWarning, match=f"no checksum .*a.th .*{SHA256}"):
            assert fetch(f"{server.address}/file", path) == SHA256
    assert len(server.seen) == 1


def test_a_file_that_is_there_is_checked_and_not_fetched(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server.address, path, sha256=SHA256[:8]) == SHA256
    assert server.seen == []
    with pytest.raises(DownloadError, match=r"00000000.*Remove the file"):
        fetch(server.address, path, sha256="00000000")
    assert path.exists()  # it may be the user's own


def test_a_wrong_checksum_leaves_nothing(server, path):
    with pytest.raises(DownloadError, match=f"{SHA256}.*1234.*removed"):
        fetch(f"{server.address}/file", path, sha256="1234")
    assert list(path.parent.iterdir()) == []


def test_what_is_absent_names_address_hash_and_place(server, path):
    with pytest.raises(DownloadError) as caught:
        fetch(f"{server.address}/absent", path, sha256="8726e21a")
    for words in ("/absent", "Not Found", "8726e21a", str(path), "another machine"):
        assert words in str(caught.value)


def test_no_connection(monkeypatch, path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as bound:  # it does not listen, and nobody else can here
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/file"
        text = r"sha256 not published.*another machine"
        with pytest.raises(DownloadError, match=text) as caught:
            fetch(address, path)
    assert isinstance(caught.value.__cause__, OSError)


# ---- going on after a break ---------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "n_bytes"), [("file", 10), ("file", len(CONTENT)), ("norange", 10)]
)
def test_a_partial_file_is_completed_if_a_hash_can_check_it(
    server, path, kind, n_bytes
):
    path.parent.mkdir()
    path.with_name("a.th.part").write_bytes(CONTENT[:n_bytes])
    fetch(f"{server.address}/{kind}", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.seen[0] == f"bytes={n_bytes}-"


def test_a_broken_connection_keeps_what_has_come(server, path):
    with pytest.raises(DownloadError, match=r"1000 of 1280000 bytes.*Try"):
        fetch(f"{server.address}/short", path, sha256=SHA256)
    assert path.with_name("a.th.part").stat().st_size == 1000
    assert not path.exists()
    fetch(f"{server.address}/file", path, sha256=SHA256)
    assert server.seen[-1] == "bytes=1000-"


@pytest.mark.parametrize("version", ['"1"', None, 'W/"1"'])
@pytest.mark.parametrize("sha256", [True, False])
def test_two_versions_of_a_file_never_mix(server, path, version, sha256):
    new = CONTENT[::-1]
    server.version = version
    with pytest.raises(DownloadError, match="1000 of"):
        fetch(f"{server.address}/short", path, sha256=sha256 and SHA256)
    server.content, server.version = new, version and version.replace("1", "2")
    digest, address = hashlib.sha256(new).hexdigest(), f"{server.address}/file"
    if not sha256:
        with pytest.warns(MssEduWarning, match="no checksum"):
            fetch(address, path)
    elif version == '"1"':
        fetch(address, path, sha256=digest)
    else:  # the mix is found by its hash
        with pytest.raises(DownloadError, match="It was removed"):
            fetch(address, path, sha256=digest)
        fetch(address, path, sha256=digest)
    assert path.read_bytes() == new
    assert [p.name for p in path.parent.iterdir()] == ["a.th"]


def test_the_same_version_goes_on_without_a_hash(server, path):
    server.version = '"1"'
    with pytest.raises(DownloadError, match="1000 of"):
        fetch(f"{server.address}/short", path)
    with pytest.warns(MssEduWarning, match="no checksum"):
        assert fetch(f"{server.address}/file", path) == SHA256
    assert server.seen == [None, "bytes=1000-"]


def test_a_server_that_goes_on_elsewhere_is_refused(server, path):
    path.parent.mkdir()
    path.with_name("a.th.part").write_bytes(CONTENT[:10])
    with pytest.raises(DownloadError, match=r"at byte 15, not at 10"):
        fetch(f"{server.address}/elsewhere", path, sha256=SHA256)


@pytest.mark.parametrize("name", ["a.th.part", "a.th.part.version"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_not_written_through(server, path, name, there):
    victim = path.parent.parent / "victim"
    if there:
        victim.write_bytes(b"1")
    path.parent.mkdir()
    path.with_name(name).symlink_to(victim)
    server.version = '"1"'
    fetch(f"{server.address}/file", path, sha256=SHA256)
    assert victim.read_bytes() == b"1" if there else not victim.exists()
    assert path.read_bytes() == CONTENT


# ---- limits -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "nolength"])
def test_no_more_bytes_are_taken_than_the_file_may_have(server, path, kind):
    with pytest.raises(DownloadError, match=r"the file may have 5000\. Do not trust"):
        fetch(f"{server.address}/{kind}", path, sha256=SHA256, size=5000)
    assert not path.exists()
    part = path.with_name("a.th.part")
    assert not part.exists() or part.stat().st_size <= 5000
    fetch(f"{server.address}/{kind}", path, sha256=SHA256, size=len(CONTENT))


def test_a_file_of_unknown_size_has_a_limit_too(server, path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 5000)
    with pytest.raises(DownloadError, match="may have 5000"):
        fetch(f"{server.address}/file", path, sha256=SHA256)


def test_a_disk_without_room_is_named_before_the_download(server, path, monkeypatch):
    def check_room(path, n_bytes, purpose):
        raise DiskError(f"{purpose} need {n_bytes}")

    monkeypatch.setattr(module, "check_room", check_room)
    with pytest.raises(DiskError, match=f"/file need {len(CONTENT)}"):
        fetch(f"{server.address}/file", path, sha256=SHA256)


def test_a_length_that_is_no_number_is_named(server, path):
    with pytest.raises(DownloadError, match="gives 'abc' as the length"):
        fetch(f"{server.address}/badlength", path, sha256=SHA256)


@pytest.mark.parametrize("kind", ["html", "file"])
def test_a_web_page_is_not_taken_for_the_file(server, path, kind):
    server.content = b"\n<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(DownloadError, match="a web page in place of the file"):
        fetch(f"{server.address}/{kind}", path)
    assert not path.exists()


# ---- addresses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://example.com/a.th",
        "http://127.0.0.1.example.com/a.th",
        "http://localhost@example.com/a.th",
        "ftp://127.0.0.1/a.th",
        "file:///etc/hostname",
        "data:,x",
        "https:///a.th",
        "https://[a/a.th",
        "a.th",
        "",
    ],
)
def test_only_https_and_this_machine_are_asked(path, address):
    with pytest.raises(DownloadError, match="must begin with https://"):
        fetch(address, path, sha256=SHA256)
    assert not path.parent.exists()


def test_an_address_that_no_server_can_have_is_an_error_of_ours(path):
    for address in ("https://a b/c", "https://a\x00b/c", "http://localhost:x/a"):
        with pytest.raises(DownloadError):
            fetch(address, path, sha256=SHA256)


def test_a_redirect_is_followed_to_a_safe_address_only(server, path):
    for target in ("http://example.com/a", "file:///etc/hostname", "ftp://a/b"):
        with pytest.raises(DownloadError, match=r"not https|not allowed"):
            fetch(f"{server.address}/to={target}", path, sha256=SHA256)
    assert not path.exists()
    fetch(f"{server.address}/to={server.address}/file", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_a_secure_address_does_not_lead_to_this_machine():
    redirects = module._Redirects("https://example.com/a")
    request = module.urllib.request.Request("https://example.com/a")
    with pytest.raises(DownloadError, match="not https"):
        redirects.redirect_request(request, None, 302, "", {}, "http://localhost/a")
