"""The server's answers, asked without a browser: who gets in, what comes out."""

import asyncio
import http.client
import json
import socket
import threading

import pytest

from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.server import Server
from mssedu.listening.test.stimuli import load_stimuli
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.sounds import encode
from tests.listening.noise import write_noise

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
    """Send a request to a server that runs in a thread; the answer, or its status."""
    loop, made = asyncio.new_event_loop(), []

    def run():
        asyncio.set_event_loop(loop)
        made.append(Server(store, "127.0.0.1", 0))
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    while not made:
        pass
    host, _, token = made[0].address.removeprefix("http://").partition("/?token=")

    cookie = f"mssedu-listen-{host.rpartition(':')[2]}"

    def ask(path, content=None, token=token, method=None):
        link = http.client.HTTPConnection(host, timeout=20)
        body = None if content is None else json.dumps(content)
        method = method or ("GET" if content is None else "POST")
        link.request(method, path, body, {"Cookie": f"{cookie}={token}"})
        answer = link.getresponse()
        ask.headers, text = answer.headers, answer.read()
        link.close()
        if answer.status != 200:
            return answer.status
        is_json = "json" in answer.headers["Content-Type"]
        return json.loads(text) if is_json else text

    ask.token = token
    yield ask
    loop.call_soon_threadsafe(made[0].__exit__)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def tell(ask, shown, **words):
    answer = {"listener": shown["listener"], "place": shown["place"], "words": words}
    return ask("/tell", answer)


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


def test_nothing_else_is_there(ask):
    for path in ("/test.toml", "/x.sqlite", "/api/contents", "/../x.sqlite"):
        assert ask(path) == 404


def test_words_that_are_none(ask, store):
    assert ask("/begin", []) == 400
    assert ask("/begin", {"listener": "nobody"}) == 404
    shown = ask("/begin", {"listener": None})
    assert tell(ask, shown, kind="heard", how="loud") == 500
    assert store.rows("heard") == []


def test_a_page_and_its_sounds(ask, store):
    shown = ask("/begin", {"listener": None})
    assert shown["sounds"] == ["A", "B"]
    sounds = ask(f"/sounds/{shown['listener']}/0")
    (page, _) = store.pages(shown["listener"])
    found = load_stimuli(store.design, page.trial).sounds
    assert sounds == b"".join(encode(found[name])[0] for name in page.stimuli)
    shape = json.loads(ask.headers["X-Shape"])
    assert shape == {"sample_rate": RATE, "channels": 1, "samples": RATE}
    assert ask(f"/sounds/{shown['listener']}/1") == 404  # not yet
    assert len(store.rows("gains")) == 2


def test_words_are_kept_and_the_next_page_comes(ask, store):
    shown = ask("/begin", {"listener": None})
    early = tell(ask, shown, kind="rate", label="A", score=5, question="quality")
    assert "Listen to A" in early["state"]["error"]
    for score, label in enumerate("AB"):
        tell(ask, shown, kind="heard", label=label, seconds=2.0)
        tell(ask, shown, kind="rate", label=label, score=score, question="quality")
    second = tell(ask, shown, kind="next")["view"]
    assert (second["kind"], second["place"]) == ("rating", 1)
    assert [row["score"] for row in store.rows("ratings")] == [0, 1]
    # A word that comes late, or again, is not said of the next page
    late = tell(ask, shown, kind="heard", label="A", seconds=9.0)["view"]
    assert late == second
    assert [row["page"] for row in store.rows("heard")] == [0, 0]


def test_a_listener_comes_back_by_code(ask):
    shown = ask("/begin", {"listener": None})
    tell(ask, shown, kind="heard", label="B", seconds=2.0)
    again = ask("/begin", {"listener": shown["listener"]})
    assert again["state"]["unheard"] == ["A"]
    assert {**again, "state": None} == {**shown, "state": None}


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
