"""The server's answers, asked without a browser: who gets in, what comes out."""

import asyncio
import io
import json
import logging
import socket
import sqlite3
import threading

import pytest
import soundfile

from mssedu.errors import AudioFileError, InputError
from mssedu.listening.test import server as module
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.server import Server, kept_token
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.sounds import encode
from tests.listening.noise import write_noise
from tests.listening.serving import serving

RATE = 16000


@pytest.fixture
def store(tmp_path):
    write_noise(tmp_path, "ab", RATE)
    trials = tuple(Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}) for i in range(2))
    settings = {"reference": False, "folder": tmp_path, "n_replicates": 0}
    with ResultStore(
        tmp_path / "x.sqlite", Design("?", "mushra", trials, **settings)
    ) as s:
        yield s


@pytest.fixture
def ask(store):
    with serving(store) as ask:
        yield ask


# ---- who gets in --------------------------------------------------------------------


def test_no_door_opens_without_the_token(ask):
    for path, content in (("/", None), ("/begin", {"listener": None}), ("/tell", {})):
        assert ask(path, content, token="") == 403
        assert ask(path, content, token=ask.token[:-1]) == 403
    assert ask("/sounds/0/0", token="x") == 403
    assert ask("/").startswith(b"<!doctype html>")


def test_the_link_gives_a_cookie_and_leaves_the_address(ask):
    assert ask(f"/?token={ask.token}", token="") == 302
    assert ask.headers["Location"] == "/"
    cookie = ask.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "default-src 'none'" in ask.headers["Content-Security-Policy"]
    assert ask.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_nothing_else_is_there(ask):
    for path in ("/test.toml", "/x.sqlite", "/api/contents", "/../x.sqlite"):
        assert ask(path) == 404


def test_only_json_from_its_own_page_is_taken(ask, store):
    body = json.dumps({"listener": None})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "", "x/json"):
        status, text = ask.request("/begin", body, Content_Type=kind)
        assert (status, json.loads(text)) == (415, {"error": "Send application/json."})
    for origin in ("null", "http://elsewhere", f"http://{ask.host}0", "http://["):
        status, text = ask.request("/begin", body, Origin=origin)
        assert status == 403
        assert b"from the page of the test" in text
    assert store.listeners() == []
    status, _ = ask.request("/begin", body, Origin=f"http://{ask.host}")
    assert status == 200
    status, _ = ask.request(
        "/begin", body, Content_Type="application/json; charset=utf-8"
    )
    assert status == 200


def test_the_token_stays_when_the_server_starts_again(store, tmp_path):
    with serving(store) as ask:
        first, shown = ask.token, ask.begin()
        port = int(ask.host.rpartition(":")[2])
    with serving(store, port=port) as ask:  # a page that is open goes on
        assert ask.token == first
        assert ask.tell(shown, kind="comment", text="still here")["state"]
    (file,) = tmp_path.glob(".mssedu-token")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == first
    with serving(store, "other") as ask:
        assert ask.token == "other"
    assert file.read_text() == first


def test_a_token_file_without_a_token_is_replaced(tmp_path):
    path = tmp_path / "x.sqlite"
    for text in ("", "a b", "x\ny"):
        (tmp_path / ".mssedu-token").write_text(text)
        token = kept_token(path)
        assert len(token) > 20
        assert kept_token(path) == token
    assert kept_token(ResultStore(":memory:", one_design()).path) != token


def one_design():
    return Design("?", "2afc", (Trial("s", {"a": "a", "b": "b"}),), reference=False)


@pytest.mark.parametrize("token", ["", "a b", "a&b", "é", "a;b", "a/b"])
def test_a_token_fits_into_a_link(store, token):
    with pytest.raises(InputError, match="token"):
        Server(store, "127.0.0.1", 0, token)


# ---- what comes out -----------------------------------------------------------------


def test_words_that_are_none(ask, store):
    assert ask("/begin", []) == 400
    status, text = ask.request("/begin", '{"listener": "nobody"}')
    assert (status, json.loads(text)) == (404, {"error": "Nobody has this code."})
    shown = ask.begin()
    assert ask.tell(shown, kind="heard", how="loud") == 400
    assert store.rows("heard") == []


def test_a_page_and_its_sounds(ask, store):
    shown = ask.begin()
    assert shown["sounds"] == ["A", "B"]
    content = ask(f"/sounds/{shown['listener']}/0")
    (page, _) = store.pages(shown["listener"])
    found = load_stimuli(store.design, page.trial).sounds
    shape = json.loads(ask.headers["X-Shape"])
    assert shape == {"sample_rate": RATE, "channels": 1, "samples": RATE}
    sizes = json.loads(ask.headers["X-Sizes"])
    assert sum(sizes) == len(content)
    for name, size in zip(page.stimuli, sizes, strict=True):
        samples, rate = soundfile.read(io.BytesIO(content[:size]), dtype="int16")
        assert (samples.T.tobytes(), rate) == (encode(found[name])[0], RATE)
        content = content[size:]
    status, text = ask.request(f"/sounds/{shown['listener']}/1")
    assert (status, json.loads(text)) == (404, {"error": "This page is over."})
    assert len(store.rows("gains")) == 2


def test_listeners_share_the_encoded_sounds(ask, monkeypatch):
    loaded = []

    def load(design, trial):
        loaded.append(trial)
        return load_stimuli(design, trial)

    monkeypatch.setattr(module, "load_stimuli", load)
    codes = [ask.begin()["listener"] for _ in range(6)]
    threads = [
        threading.Thread(target=ask.request, args=(f"/sounds/{code}/0",))
        for code in codes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(loaded) == ["song 0", "song 1"]  # each once, of 6 listeners


def test_sounds_that_cannot_be_read(ask, store, caplog, tmp_path):
    shown = ask.begin()
    (tmp_path / "a.wav").rename(tmp_path / "c.wav")
    for _ in range(3):
        status, text = ask.request(f"/sounds/{shown['listener']}/0")
        assert status == 503
        assert "tell the person" in json.loads(text)["error"]
    assert len(caplog.records) == 1  # the host reads one line, with the reason
    assert "a.wav" in caplog.text
    with pytest.raises(AudioFileError):
        load_stimuli(store.design, "song 0")
    (tmp_path / "c.wav").rename(tmp_path / "a.wav")
    assert ask(f"/sounds/{shown['listener']}/0")


def test_words_are_kept_and_the_next_page_comes(ask, store):
    shown = ask.begin()
    early = ask.tell(shown, kind="rate", label="A", score=5, question="quality")
    assert "Listen to A" in early["state"]["error"]
    for score, label in enumerate("AB"):
        ask.tell(shown, kind="heard", label=label, seconds=2.0)
        ask.tell(shown, kind="rate", label=label, score=score, question="quality")
    second = ask.tell(shown, kind="next")["view"]
    assert (second["kind"], second["place"]) == ("rating", 1)
    assert [row["score"] for row in store.rows("ratings")] == [0, 1]
    # A word that comes late, or again, is not said of the next page
    late = ask.tell(shown, kind="heard", label="A", seconds=9.0)["view"]
    assert late == second
    assert [row["page"] for row in store.rows("heard")] == [0, 0]


def test_a_listener_comes_back_by_code(ask):
    shown = ask.begin()
    ask.tell(shown, kind="heard", label="B", seconds=2.0)
    again = ask.begin(shown["listener"])
    assert again["state"]["unheard"] == ["A"]
    assert {**again, "state": None} == {**shown, "state": None}


def test_a_message_that_comes_again_counts_once(store):
    heard = {"kind": "heard", "label": "A", "seconds": 2.0}
    rate = {"kind": "rate", "label": "A", "score": 5, "question": "quality"}
    with serving(store) as ask:
        shown = ask.begin()
        for _ in range(3):
            answer = ask.tell(shown, "visit", 1, **heard)
            assert answer["state"]["unheard"] == ["B"]
        for _ in range(3):
            assert ask.tell(shown, "visit", 2, **rate)["state"]["scores"]
    with serving(store) as ask:  # the number survives the server
        ask.tell(shown, "visit", 2, **rate)
        ask.tell(shown, "visit", 1, **heard)
        (played,), (rated,) = store.rows("heard"), store.rows("ratings")
        assert (played["seconds"], played["plays"]) == (2.0, 1)
        assert rated["changes"] == 0
        # Another visit, such as a second tab, has numbers of its own
        ask.tell(shown, "other", 1, **heard)
        ask.tell(shown, "visit", 3, **rate)
        (played,), (rated,) = store.rows("heard"), store.rows("ratings")
        assert (played["seconds"], played["plays"]) == (4.0, 2)
        assert rated["changes"] == 1


def test_listening_is_not_longer_than_the_page_is_open(ask, store):
    shown = ask.begin()
    for _ in range(3):
        ask.tell(shown, kind="heard", label="A", seconds=80_000)
    (row,) = store.rows("heard")
    assert 30 <= row["seconds"] < 60


# ---- a disk that fills --------------------------------------------------------------


def test_a_full_disk_is_said_once_and_nothing_is_lost(ask, store, caplog, monkeypatch):
    shown = ask.begin()
    ask.tell(shown, "visit", 1, kind="heard", label="A", seconds=2.0)
    rate = {"kind": "rate", "label": "A", "score": 5, "question": "quality"}

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "spend", full)  # after the rating, in its transaction
    body = {"listener": shown["listener"], "place": 0, "words": rate}
    body = json.dumps({**body, "visit": "visit", "number": 2})
    for _ in range(20):
        status, text = ask.request("/tell", body)
        assert status == 503
        text = json.loads(text)["error"]
        assert "cannot be saved now. Keep this page open" in text
    assert store.rows("ratings") == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is None
    assert "disk is full" in record.message
    assert "Make room" in record.message
    monkeypatch.undo()
    assert ask("/tell", json.loads(body))["state"]["scores"] == {"quality": {"A": 5}}
    assert caplog.records[-1].message == "Answers are saved again."
    assert len(caplog.records) == 2


def test_a_disk_that_is_really_full(ask, store, caplog):
    """SQLite's own error, in the middle of a transaction and at its end."""
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    shown = ask.begin()
    store._db.execute(f"PRAGMA max_page_count = {pages + 3}")
    saved, refused = 0, 0
    for number in range(1, 60):
        other = ask.begin()  # needs room as well: its pages are saved
        if other == 503:
            refused += 1
            continue
        text = {"kind": "comment", "text": f"{number} " + "x" * 1900}
        answer = ask.tell(other, "visit", number, **text)
        saved += answer != 503
        refused += answer == 503
    assert refused > 20
    assert len(store.rows("pages")) == saved
    assert len(caplog.records) <= 3
    assert "full" in caplog.text
    store._db.execute("PRAGMA max_page_count = 100000")
    assert ask.tell(shown, "visit", 1, kind="comment", text="room")["state"]
    assert len(store.rows("pages")) == saved + 1
    assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


# ---- addresses ----------------------------------------------------------------------


def test_an_address_of_ipv6_is_a_link(store):
    async def link():
        with Server(store, "::1", 0, "t") as server:
            return server.address

    assert asyncio.run(link()).startswith("http://[::1]:")


def test_a_link_for_the_network_names_this_machine(store):
    async def link():
        with Server(store, "0.0.0.0", 0, "t") as server:
            return server.address

    assert asyncio.run(link()).startswith(f"http://{socket.gethostname()}:")


def test_a_port_that_is_taken(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            Server(store, "127.0.0.1", port)
