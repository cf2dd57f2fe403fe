"""What is shown and said, as plain values; refusals come back as words."""

import json

import pytest

from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.dialog import take, view
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

TRIAL = Trial("a song", {"good": "g.wav", "bad": "b.wav"}, "true.wav", "mix.wav")


def session(test="mushra", **settings):
    design = Design("Ears", test, (TRIAL,), n_replicates=0, **settings)
    return Session(ResultStore(":memory:", design))


def test_every_page_is_plain_and_tells_no_names():
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
            assert take(listener, word) == ""
    assert kinds == ["consent", "questionnaire", "rating"]
    end = view(listener)
    assert (end["kind"], end["place"]) == ("end", 3)


def test_what_the_pages_without_sounds_ask():
    listener = session(consent="Agree?", questionnaire={"age": ("young", "old")})
    assert view(listener)["asked"] == "Agree?"
    take(listener, {"kind": "answer", "answers": {"consent": "yes"}})
    take(listener, {"kind": "next"})
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
    wrong = take(listener, {"kind": "choose", "label": "A"})
    assert "Listen to" in wrong
    assert view(listener)["state"]["choice"] == ""
    assert "Do that first" in take(listener, {"kind": "next"})
    assert take(listener, {"kind": "shout"}) == ""


def test_words_of_the_wrong_form_are_an_error():
    with pytest.raises(TypeError):
        take(session(), {"kind": "heard", "how": "loud"})


def test_who_declines_has_refused():
    listener = session(consent="Agree?")
    take(listener, {"kind": "answer", "answers": {"consent": "no"}})
    assert view(listener)["kind"] == "refused"
