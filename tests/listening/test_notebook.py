"""The rating page in the notebook: what it shows, which messages it accepts."""

import sqlite3

import pytest

from mssedu.errors import InputError
from mssedu.listening.results.export import ratings_frame
from mssedu.listening.test.design import Design, Trial, save_design
from mssedu.listening.test.notebook import ListeningTest, RatingPage
from tests.listening.noise import write_noise

RATE = 16000


@pytest.fixture
def folder(tmp_path, sent):
    write_noise(tmp_path, "abr", RATE)
    return tmp_path


def design(folder, test="acr", n=2, **changes):
    files = {"a": "a.wav", "b": "b.wav"}
    trials = tuple(Trial(f"song {i}", files, "r.wav") for i in range(n))
    settings = {"reference": False, "n_replicates": 0, "folder": folder, **changes}
    return Design("Booth", test, trials, **settings)


def open_test(folder, **changes):
    save_design(folder / "test.toml", design(folder, **changes))
    return ListeningTest(folder)


def page(test):
    return test.children[0]


def say(test, kind, **words):
    widget = page(test)
    widget._on_message(widget, {"kind": kind, **words}, [])


def test_to_the_end_by_messages(folder):
    test = open_test(folder, test="mushra", anchors=())
    for number in range(2):
        assert page(test)._page["progress"] == f"Page {number + 1} of 2"
        assert page(test)._names == ["A", "B"]
        assert page(test)._state["unheard"] == ["A", "B"]
        for score, label in enumerate("AB"):
            say(test, "heard", label=label, seconds=1.5, begun=True)
            say(test, "rate", label=label, score=score, question="quality")
        assert page(test)._state["scores"] == {"quality": {"A": 0, "B": 1}}
        assert page(test)._state["missing"] == []
        say(test, "comment", text="fine")
        old = page(test)
        say(test, "next")
        assert old.comm is None  # closed, and its sounds with it
    assert "Thank you" in page(test).value
    frame = ratings_frame(test.store)
    assert len(frame) == 4
    assert {*frame.comment} == {"fine"}


def test_the_page_knows_letters_only(folder, sent):
    test = open_test(folder, test="mushra", reference=True, anchors=("anchor35",))
    state = page(test).get_state()
    shown = repr([state["_page"], state["_state"], state["_names"], sent[0][0]])
    for name in ("anchor35", "a.wav", "song 0", "'a'", "'reference'"):
        assert name not in shown
    assert page(test)._names == ["Reference", *"ABCD"]


def test_an_early_answer_is_an_error_and_not_saved(folder):
    test = open_test(folder)
    say(test, "rate", label="A", score=3, question="quality")
    assert "Listen to A" in page(test)._state["error"]
    say(test, "next")
    assert not page(test).finished
    assert "Rate A (quality)." in page(test)._state["error"]
    say(test, "heard", label="A", seconds=2.0)
    assert page(test)._state["error"] == ""
    assert test.store.rows("ratings") == []


def test_an_answer_that_was_not_saved_is_an_error(folder):
    test = open_test(folder)
    test.store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        say(test, "heard", label="A", seconds=2.0)
    assert (
        page(test)._state["error"].startswith("Not saved! Cannot operate on a closed")
    )


def test_the_page_of_a_choice_has_no_score(folder):
    test = open_test(folder, test="abx")
    for label in ("A", "B", "X"):
        say(test, "heard", label=label, seconds=2.0)
    say(test, "choose", label="B")
    assert page(test)._state["choice"] == "B"
    assert page(test)._state["scores"] == {}


def test_the_listener_comes_back_to_the_same_page(folder):
    test = open_test(folder)
    say(test, "heard", label="A", seconds=2.0)
    say(test, "rate", label="A", score=4, question="quality")
    code = test.session.listener
    assert code in test.children[1].value
    again = ListeningTest(folder, listener=code)
    assert page(again)._state["scores"] == {"quality": {"A": 4.0}}
    assert page(again)._page == page(test)._page
    assert len(again.store.listeners()) == 1


def test_consent_and_questionnaire(folder):
    asked = {"age": ("< 30", "≥ 30"), "gear": ()}
    test = open_test(folder, consent="Agree <now>?", questionnaire=asked)
    text, buttons = page(test).children
    assert "Agree &lt;now&gt;?" in text.value
    buttons.children[0].click()
    age, gear, button, note = page(test).children
    age.value = "≥ 30"
    button.click()
    assert note.value == "Answer &#x27;gear&#x27;."
    gear.value = "speakers"
    button.click()
    assert isinstance(page(test), RatingPage)
    assert test.session.answers["age"] == "≥ 30"


def test_who_declines_sees_nothing_else(folder):
    test = open_test(folder, consent="?")
    page(test).children[1].children[1].click()
    assert "did not take part" in page(test).value


def test_repr_and_a_place_without_widgets(folder, monkeypatch):
    test = open_test(folder)
    assert repr(test) == "ListeningTest('Booth', page=1, of=4)"
    data, metadata = test._repr_mimebundle_()
    assert data["text/plain"] == repr(test)
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["image/png"]
    assert metadata["image/png"]["alt"].startswith(f"{test!r}: run the cell to take")
    monkeypatch.setenv("MSSEDU_LISTENING", "plain")
    assert test._repr_mimebundle_() == ({"text/plain": repr(test)}, {})


def test_unknown_messages_do_nothing(folder):
    test = open_test(folder)
    say(test, "shout", text="!")
    assert "kind of message 'shout'" in page(test)._state["error"]
    say(test, "heard", label="A", seconds="2")
    assert "seconds must be" in page(test)._state["error"]
    assert test.store.rows("pages") == []


def test_an_answer_that_is_too_long_says_so(folder):
    test = open_test(folder, questionnaire={"gear": ()})
    gear, button, note = page(test).children
    gear.value = "x" * 2001
    button.click()
    assert "2001 characters" in note.value


def test_a_design_needs_a_results_file(folder):
    with pytest.raises(InputError, match="results"):
        ListeningTest(design(folder))
    test = ListeningTest(design(folder), folder / "mine.sqlite")
    assert (folder / "mine.sqlite").exists()
    assert test.session.number == 0
