"""What a page shows and sends, as plain values, and the HTML around it."""

import json
import re

import pytest

from mssedu.errors import InputError
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.pages import local_page, perform, remote_page, view
from mssedu.listening.test.session import CLOCK_TOLERANCE, LONGEST_TEXT, Session
from mssedu.listening.test.store import ResultStore
from mssedu.listening.widgets.base import static_text

HTML_TEST = {"title": "</script><b>Ears & eyes</b>", "sounds": []}
TRIAL = Trial("a song", {"good": "g.wav", "bad": "b.wav"}, "true.wav", "mix.wav")


def session(test="mushra", **settings):
    design = Design("Ears", test, (TRIAL,), n_replicates=0, **settings)
    return Session(ResultStore(":memory:", design))


# ---- plain values -------------------------------------------------------------------


def test_every_page_is_plain_and_contains_no_names():
    listener = session(consent="Agree?", questionnaire={"age": ("young", "old")})
    kinds = []
    for words in (
        [{"kind": "answer", "answers": {"consent": "yes"}}],
        [{"kind": "answer", "answers": {"age": "old"}}],
        [
            {"kind": "heard", "label": label, "seconds": 2.0}
            for label in ("Reference", *"ABCDE")
        ]
        + [
            {"kind": "rate", "label": label, "score": 5, "question": "quality"}
            for label in "ABCDE"
        ],
    ):
        shown = view(listener)
        assert json.loads(json.dumps(shown)) == shown
        for name in ("song", "good", "anchor", "wav"):
            assert name not in json.dumps({**shown, "page": None})
        kinds.append(shown["kind"])
        for word in (*words, {"kind": "next"}):
            assert perform(listener, word) == ""
    assert kinds == ["consent", "questionnaire", "rating"]
    end = view(listener)
    assert (end["kind"], end["place"]) == ("end", 3)


def test_what_the_pages_without_sounds_ask():
    listener = session(consent="Agree?", questionnaire={"age": ("young", "old")})
    assert view(listener)["asked"] == "Agree?"
    perform(listener, {"kind": "answer", "answers": {"consent": "yes"}})
    perform(listener, {"kind": "next"})
    assert view(listener)["asked"] == {"age": ["young", "old"]}
    assert view(listener)["state"]["missing"] == ["Answer 'age'."]


def test_what_a_rating_page_shows():
    shown = view(session(slider_start=10.0))
    assert shown["sounds"] == ["Reference", *"ABCDE"]
    assert shown["page"]["labels"] == [*"ABCDE"]
    assert shown["page"]["start"] == 10.0
    assert shown["page"]["progress"] == "Page 1 of 1"
    assert not shown["page"]["training"]


def test_refusals_are_words_and_nothing_is_kept():
    listener = session("abx")
    wrong = perform(listener, {"kind": "choose", "label": "A"})
    assert "Listen to" in wrong
    assert view(listener)["state"]["choice"] == ""
    assert "not finished" in perform(listener, {"kind": "next"})


def test_words_of_the_wrong_form_are_an_error():
    for words in ({"kind": "heard", "how": "loud"}, {"kind": "shout"}, {}):
        with pytest.raises(InputError, match="message"):
            perform(session(), words)


def test_listening_is_cut_to_the_time_since_the_page_began():
    now = [1000.0]
    design = Design("Ears", "mushra", (TRIAL,), n_replicates=0)
    store = ResultStore(":memory:", design)
    listener = Session(store, clock=lambda: now[0])

    def heard(label, seconds):
        perform(listener, {"kind": "heard", "label": label, "seconds": seconds})
        rows = store.rows("heard", listener.listener)
        return {row["label"]: row["seconds"] for row in rows}[label]

    assert heard("A", 500.0) == CLOCK_TOLERANCE
    assert heard("A", 500.0) == CLOCK_TOLERANCE
    now[0] += 20
    assert heard("A", 15.0) == CLOCK_TOLERANCE + 15
    assert heard("A", 15.0) == CLOCK_TOLERANCE + 20
    now[0] -= 100  # the clock was set
    assert heard("B", 2.0) == 2
    # The page began before this session, which a restarted server opens
    now[0] += 180
    listener = Session(store, listener.listener, clock=lambda: now[0])
    assert heard("C", 500.0) == CLOCK_TOLERANCE + 100


def test_who_declines_has_refused():
    listener = session(consent="Agree?")
    perform(listener, {"kind": "answer", "answers": {"consent": "no"}})
    assert view(listener)["kind"] == "refused"


# ---- HTML ---------------------------------------------------------------------------


def test_texts_of_the_test_stay_texts():
    for page in (remote_page(HTML_TEST["title"]), local_page(HTML_TEST)):
        assert (
            "<title>&lt;/script&gt;&lt;b&gt;Ears &amp; eyes&lt;/b&gt;</title>" in page
        )
        assert page.count("</script>") == 2
        (data,) = re.findall(r'type="application/json">(.*)</script>', page)
        assert json.loads(data)["title"] == HTML_TEST["title"]


def test_nothing_is_loaded_from_elsewhere():
    for page in (remote_page("?"), local_page(HTML_TEST)):
        assert not re.search(r"https?:|src=|<link|^import |@import|url\(", page, re.M)


def test_each_page_has_its_desk():
    assert "openTest(remoteDesk, test.title" in remote_page("?")
    assert "class LocalDesk" not in remote_page("?")
    local = local_page(HTML_TEST)
    assert "openTest(new LocalDesk(test, openStorage()), test.title" in local
    assert "remoteDesk" not in local_page(HTML_TEST)


def test_pages_and_sessions_limit_texts_alike():
    assert f"LONGEST_TEXT = {LONGEST_TEXT};" in static_text("booth.js")
