"""What a stranger with the link may send: nothing breaks, and nobody else suffers."""

import contextlib
import json
import logging
import math
import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssedu.listening.results.export import write_json
from mssedu.listening.test import server as module
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.server import LARGEST_BODY
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore
from tests.listening.serving import serving

HEARD = {"kind": "heard", "label": "A", "seconds": 2.0}
RATE = {"kind": "rate", "label": "A", "score": 50, "question": "quality"}
ASKED = {"age": ("young", "old"), "gear": ()}


def store_of(path, **changes):
    trial = Trial("song", {"a": "a.wav", "b": "b.wav"})
    design = Design("?", "mushra", (trial,), reference=False, n_replicates=0, **changes)
    return ResultStore(path, design)


@pytest.fixture
def store(tmp_path):
    with store_of(tmp_path / "x.sqlite") as store:
        yield store


@pytest.fixture
def ask(store):
    with serving(store) as ask:
        yield ask


# ---- malformed messages -------------------------------------------------------------

DEEP = "[" * 3000 + "]" * 3000
# What may stand in place of the body, of its parts, of the words and of their values
BODIES = ["", "{", "null", "[]", "3", '"x"', DEEP, '{"a": NaN}', "\ufeff{}", "{}"]
LISTENERS = [{}, [1], 3, True, "x" * 3000, None]
PLACES = ["0", None, 0.5, True, -1, [], 10**30]
NO_WORDS = [None, [], "x", 3, {}, {"kind": "shout"}, {"kind": {}}]
BAD_WORDS = [
    {"kind": "next", "x": 1},
    {"kind": "heard", "label": "A"},
    {"kind": "heard", "seconds": 1},
    {**HEARD, "listener": "somebody"},
    {"kind": "rate"},
    {"kind": "choose"},
    {"kind": "comment"},
]
BAD_VALUES = [
    (HEARD, "seconds", ["2", None, [], True, -1, 1e308, 10**400]),
    (HEARD, "seconds", [math.nan, math.inf, -math.inf]),
    (HEARD, "label", [None, 3, {}, []]),
    (HEARD, "begun", ["x", 1, []]),
    (RATE, "score", ["50", None, True, math.nan, math.inf, 10**400]),
    (RATE, "question", [3, [], {}]),
    ({"kind": "comment"}, "text", [{}, [], 3, None, "x" * 3000]),
    ({"kind": "answer"}, "answers", [None, [], "x", {"age": 3}]),
]
WORDS = NO_WORDS + BAD_WORDS
WORDS += [{**w, name: v} for w, name, values in BAD_VALUES for v in values]


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_are_no_message(ask, body):
    for path in ("/begin", "/tell"):
        status, text = ask.request(path, body.encode(), method="POST", **JSON_TYPE)
        assert status == 400
        assert json.loads(text)["error"].endswith(".")


JSON_TYPE = {"Content_Type": "application/json"}


def test_parts_that_are_no_message(ask, store, caplog):
    shown = ask.begin()
    listener = shown["listener"]
    for value in LISTENERS[:-1]:
        assert ask.begin(value) in (400, 404)
    for value in LISTENERS:
        content = {"listener": value, "place": 0, "words": HEARD}
        assert ask("/tell", content) in (400, 404)
    for value in PLACES:
        assert (
            ask("/tell", {"listener": listener, "place": value, "words": HEARD}) == 400
        )
    for words in WORDS:
        content = {"listener": listener, "place": 0, "words": words}
        status, text = ask.request("/tell", json.dumps(content))
        assert status == 400, words
        assert re.fullmatch(r"[^\n]{10,300}\.", json.loads(text)["error"])
    for visit, number in (({}, 1), ("x", "1"), ("x", -1), ("x", 10**30), ("x", 0.5)):
        content = {"listener": listener, "place": 0, "words": HEARD}
        assert ask("/tell", {**content, "visit": visit, "number": number}) == 400
    assert not caplog.records
    for table in ("heard", "ratings", "pages", "answers"):
        assert store.rows(table) == []


def test_words_that_break_a_rule_are_refused_in_the_page(ask, store):
    shown = ask.begin()
    ask.tell(shown, **HEARD)
    for words in (
        {**HEARD, "label": "Z"},
        {**RATE, "label": "Z"},
        {**RATE, "label": "\ud800"},
        {**RATE, "score": 101},
        {**RATE, "question": "'; DROP TABLE ratings; --"},
        {"kind": "choose", "label": "A"},
        {"kind": "answer", "answers": {"'; DROP TABLE answers; --": "x"}},
        {"kind": "next"},
    ):
        assert ask.tell(shown, **words)["state"]["error"]
    assert store.rows("ratings") == store.rows("answers") == []
    assert ask.begin("' OR 1=1; --") == 404
    for place in (1, 99, 2**40):  # of another page: the page is shown again
        assert ask.tell({**shown, "place": place}, **RATE)["view"]["place"] == 0


def test_half_a_character_is_stored_as_a_question_mark(ask, store, tmp_path):
    shown = ask.begin()
    body = {"listener": shown["listener"], "place": 0}
    words = {"kind": "comment", "text": "bad \ud800 good 𝄞 \x00"}
    text = json.dumps({**body, "words": words})
    assert r"\ud800" in text  # as JSON.stringify writes it
    status, _ = ask.request("/tell", text)
    assert status == 200
    assert store.rows("pages")[0]["comment"] == "bad ? good 𝄞 \x00"
    write_json(store, tmp_path / "results.json")


def test_half_a_character_in_an_answer(tmp_path):
    with store_of(tmp_path / "x.sqlite", questionnaire=ASKED) as store:
        session = Session(store)
        session.answer({"age": "old", "gear": "\udc00 ears"})
        assert session.answers == {"age": "old", "gear": "? ears"}


NASTY = [None, True, "", "A", "B", "quality", "age", "yes", "\ud800", "é", "50"]
NASTY += [0, 1, -1, 50, 2.5, 1e308, -0.0, math.nan, math.inf, 10**400, 2**63]
VALUES = st.recursive(
    st.sampled_from(NASTY) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["label", "seconds", "begun", "score", "question", "text", "answers", "x"]
)
KINDS = st.sampled_from(["heard", "rate", "choose", "comment", "answer", "next", "x"])
MESSAGES = st.one_of(
    VALUES,
    st.builds(
        lambda kind, rest: {**rest, "kind": kind},
        KINDS | VALUES,
        st.dictionaries(NAMES, VALUES, max_size=4),
    ),
    st.sampled_from([HEARD, RATE, {"kind": "next"}]),
)


def test_random_messages_hurt_nobody(tmp_path, caplog):
    """Anything in the place of words: no 5xx, no traceback, no nonsense is stored."""
    caplog.set_level(logging.INFO)
    with store_of(tmp_path / "x.sqlite") as store, serving(store) as ask:
        honest = ask.begin()
        ask.tell(honest, **HEARD)
        ask.tell(honest, **RATE)
        before = {t: store.rows(t, honest["listener"]) for t in ("heard", "ratings")}
        shown = ask.begin()

        @settings(
            max_examples=300,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(words=MESSAGES, part=st.none() | VALUES)
        def send(words, part):
            content = {"listener": shown["listener"], "place": 0, "words": words}
            if part is not None:
                content["place"] = part
            status, text = ask.request("/tell", json.dumps(content))
            assert 200 <= status < 300 or 400 <= status < 500, (status, content)
            json.loads(text)

        send()
        assert not [r for r in caplog.records if r.exc_info or r.levelno > logging.INFO]
        for table, rows in before.items():
            assert store.rows(table, honest["listener"]) == rows
        for row in store.rows("heard"):
            assert 0 <= row["seconds"] < 1000
            assert row["label"] in ("A", "B")
        for row in store.rows("ratings"):
            assert 0 <= row["score"] <= 100
        write_json(store, tmp_path / "results.json")


# ---- paths, methods, sizes, connections ---------------------------------------------

PATHS = [
    "/../x.sqlite",
    "/..%2fx.sqlite",
    "/%2e%2e/x.sqlite",
    "//x.sqlite",
    "/x.sqlite",
    "/.mssedu-token",
    "/static/booth.js",
    "/sounds/",
    "/sounds/../0",
    "/sounds/%2e%2e/0",
    "/sounds/0/../../x.sqlite",
    "/sounds/abc/-1",
    "/sounds/abc/x",
    "/sounds/abc/99999999999999999999",
    "/sounds/'/0",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(ask, path):
    status, text = ask.request(path)
    assert status == 404
    assert b"SQLite" not in text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods_do_nothing(ask, method):
    for path in ("/", "/begin", "/tell", "/sounds/00000000/0"):
        status, _ = ask.request(path, method=method, **JSON_TYPE)
        assert status == 405
    assert ask("/begin") == 405


def test_requests_are_small(ask, store):
    shown = ask.begin()
    text = "x" * (LARGEST_BODY + 1)
    body = {"listener": shown["listener"], "place": 0}
    content = {**body, "words": {"kind": "comment", "text": text}}
    with contextlib.suppress(ConnectionError):  # it does not read to the end
        assert ask("/tell", content) == 400
    assert store.rows("pages") == []
    for length in ("10000000000", "x", "-1"):
        answer = raw(ask, f"Content-Length: {length}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400")
    assert ask.begin()


def raw(ask, ending, seconds=20):
    """What the server sends until it closes the connection."""
    host, _, port = ask.host.rpartition(":")
    head = f"POST /begin HTTP/1.1\r\nHost: {ask.host}\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=seconds) as link:
        link.sendall(head + ending)
        return link.recv(1000)


def test_idle_and_slow_connections_are_closed(store, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(module, "_BODY_SECONDS", 0.3)
    with serving(store) as ask:
        host, _, port = ask.host.rpartition(":")
        links = [socket.create_connection((host, int(port))) for _ in range(40)]
        begun = b"POST /begin HTTP/1.1\r\nHost: x\r\n"
        for link in links[10:]:
            link.sendall(begun)
        for link in links[20:]:
            link.sendall(b"Content-Length: 100\r\n\r\n{")
        assert ask.begin()  # others are served meanwhile
        for link in links:
            link.settimeout(20)
            with contextlib.suppress(ConnectionError):
                while link.recv(1000):
                    pass
            link.close()


def test_a_listener_who_stops_reading_stops_nobody(store, caplog, tmp_path):
    files = {"a": bytes(4_000_000)}  # more than the system's buffers hold
    module_files = module.SoundFiles({**files, "b": files["a"]}, {})
    with serving(store) as ask, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Server, "_encode", lambda *_: module_files)
        shown = ask.begin()
        host, _, port = ask.host.rpartition(":")
        head = (
            f"GET /sounds/{shown['listener']}/0 HTTP/1.1\r\nHost: x\r\n"
            f"Cookie: {ask.cookie}={ask.token}\r\n\r\n"
        )
        links = [socket.create_connection((host, int(port))) for _ in range(3)]
        for link in links:
            link.sendall(head.encode())
            assert link.recv(100)
        assert len(ask(f"/sounds/{shown['listener']}/0")) == 8_000_000
        for link in links:
            link.close()  # in the middle of the sounds
        time.sleep(0.2)
        assert ask.begin()
    assert not caplog.records
