"""The rules of a test, one by one; a session has no data beside the store."""

import itertools
import sqlite3

import pytest

from mssedu.errors import InputError
from mssedu.listening.test.design import Design, Trial
from mssedu.listening.test.session import Session
from mssedu.listening.test.store import ResultStore

TRIALS = tuple(
    Trial(f"song {i}", {"a": "a.wav", "b": "b.wav"}, reference="r.wav")
    for i in range(3)
)


def begin(test="mushra", clock=None, **changes):
    changes.setdefault("n_replicates", 0)
    design = Design("?", test, TRIALS, **changes)
    ticks = itertools.count()
    return Session(
        ResultStore(":memory:", design), clock=clock or (lambda: next(ticks))
    )


def hear_all(session):
    for label in session.sounds:
        session.heard(label, 1.0)


def rate_all(session, score=50):
    hear_all(session)
    for label, question in itertools.product(session.labels, session.page.questions):
        session.rate(label, score, question)


# ---- what is shown ------------------------------------------------------------------


def test_a_page_of_mushra():
    session = begin()
    assert session.labels == ("A", "B", "C", "D", "E")
    assert list(session.sounds) == ["Reference", *"ABCDE"]
    assert sorted(session.sounds.values()) == [
        "a",
        "anchor35",
        "anchor70",
        "b",
        "reference",
        "reference",
    ]
    assert session.progress == (0, 3)


def test_a_page_without_reference():
    assert list(begin(reference=False).sounds) == ["A", "B"]


def test_x_is_one_of_the_two():
    sounds = begin("abx", reference=False).sounds
    assert list(sounds) == ["A", "B", "X"]
    assert sounds["X"] in (sounds["A"], sounds["B"])


def test_in_acr_nothing_is_compared():
    assert list(begin("acr").sounds) == ["A"]


# ---- the rules ----------------------------------------------------------------------


def test_a_sound_must_be_heard_before_it_is_rated():
    session = begin(least_heard_seconds=2)
    with pytest.raises(InputError, match=r"Listen to A .* 2 s"):
        session.rate("A", 50)
    session.heard("A", 1.5)
    with pytest.raises(InputError, match="Listen to A"):
        session.rate("A", 50)
    session.heard("A", 0.5)  # together they are enough
    session.rate("A", 50)
    assert session.scores == {("quality", "A"): 50.0}


def test_the_rule_can_be_switched_off():
    session = begin(least_heard_seconds=0)
    session.rate("A", 50)
    assert session.missing == [f"Rate {label}." for label in "BCDE"]


def test_all_must_be_rated_and_the_reference_heard():
    session = begin()
    assert session.missing[0] == "Listen to Reference."
    assert len(session.missing) == 6 + 5
    for label in "ABCDE":
        session.heard(label, 1)
        session.rate(label, 0)  # where the slider starts counts as well, if it is said
    with pytest.raises(InputError, match=r"not finished: Listen to Reference\."):
        session.finish()
    session.heard("Reference", 1)
    assert session.missing == []
    session.finish()
    assert session.progress == (1, 3)
    assert session.scores == {}


@pytest.mark.parametrize("score", [-1, 101, float("nan")])
def test_ratings_have_a_range(score):
    session = begin(least_heard_seconds=0)
    with pytest.raises(InputError, match="score must be from 0 to 100"):
        session.rate("A", score)


def test_acr_has_five_ratings_and_two_questions():
    session = begin("acr", least_heard_seconds=0)
    with pytest.raises(InputError, match=r"score .* got 2\.5"):
        session.rate("A", 2.5, "quality")
    with pytest.raises(InputError, match="score must be from 1 to 5"):
        session.rate("A", 6, "quality")
    with pytest.raises(InputError, match="question"):
        session.rate("A", 3)
    session.rate("A", 3, "quality")
    assert session.missing == ["Rate A (contamination)."]


def test_labels_questions_and_sounds_are_checked():
    session = begin()
    with pytest.raises(InputError, match="label 'F'"):
        session.rate("F", 50)
    with pytest.raises(InputError, match="label 'Reference'"):
        session.rate("Reference", 50)
    with pytest.raises(InputError, match="sound 'anchor35'"):
        session.heard("anchor35", 1)
    for seconds in (float("inf"), float("nan"), -1.0, 1e308):
        with pytest.raises(InputError, match="seconds"):
            session.heard("A", seconds)


def test_a_rating_may_be_changed_until_the_page_is_left():
    session = begin(least_heard_seconds=0)
    session.rate("A", 10)
    session.rate("A", 20)
    assert session.scores == {("quality", "A"): 20.0}


def test_a_choice_needs_all_sounds():
    session = begin("abx", reference=False)
    session.heard("A", 1)
    session.heard("B", 1)
    with pytest.raises(InputError, match="Listen to X"):
        session.choose("A")
    session.heard("X", 1)
    assert session.missing == ["Choose one."]
    session.choose("A")
    assert session.choice == "A"
    session.choose("B")
    assert session.choice == "B"
    assert session.scores == {}  # would tell whether it was right
    session.finish()
    assert session.choice is None


@pytest.mark.parametrize("test", ["abx", "2afc"])
def test_only_x_makes_an_answer_wrong(test):
    session = begin(test, reference=False, least_heard_seconds=0)
    for label in ("A", "B"):
        session.choose(label)
        (row,) = session._store.rows("ratings", session.listener)
        chosen = session.sounds[label]
        assert row["stimulus"] == chosen
        assert row["score"] == (test == "2afc" or chosen == session.sounds["X"])


def test_rating_and_choosing_are_not_mixed_up():
    with pytest.raises(InputError, match=r"choose here: .* mushra"):
        begin().choose("A")
    with pytest.raises(InputError, match=r"rate here: .* 2afc"):
        begin("2afc").rate("A", 1)


# ---- consent and questionnaire ------------------------------------------------------


def test_consent_comes_first():
    session = begin(consent="Do you agree?")
    assert session.page.kind == "consent"
    assert session.missing == ["Agree or decline."]
    with pytest.raises(InputError, match="consent"):
        session.rate("A", 1)
    with pytest.raises(InputError, match="maybe"):
        session.answer({"consent": "maybe"})
    session.answer({"consent": "yes"})
    session.finish()
    assert session.page.kind == "trial"


def test_who_does_not_consent_is_asked_nothing_else():
    session = begin(consent="Do you agree?")
    session.answer({"consent": "no"})
    assert session.refused
    assert session.page is None
    assert session.missing == []
    with pytest.raises(InputError, match="The test is over"):
        session.finish()
    again = Session(session._store, session.listener)
    assert again.page is None


def test_the_questionnaire():
    session = begin(questionnaire={"age": ("< 30", "≥ 30"), "headphones": ()})
    assert session.missing == ["Answer 'age'.", "Answer 'headphones'."]
    with pytest.raises(InputError, match="answer to 'age'"):
        session.answer({"age": "12"})
    with pytest.raises(InputError, match="'headphones' is empty"):
        session.answer({"headphones": " "})
    with pytest.raises(InputError, match="question 'name'"):
        session.answer({"name": "Bob"})
    session.answer({"age": "< 30"})
    assert session.missing == ["Answer 'headphones'."]
    session.answer({"headphones": "none"})
    session.finish()
    assert session.answers == {"age": "< 30", "headphones": "none"}


# ---- the way through, and back into it ----------------------------------------------


def test_to_the_end():
    session = begin(training=("song 1",))
    kinds = []
    while session.page:
        kinds.append(session.page.kind)
        rate_all(session)
        session.finish()
    assert kinds == ["training", "trial", "trial"]
    assert session.progress == (3, 3)
    assert session.sounds == {}
    with pytest.raises(InputError, match="The test is over"):
        session.finish()
    with pytest.raises(InputError, match="over"):
        session.rate("A", 1)
    session.comment("too late")  # is not kept anywhere


def test_a_new_session_is_where_the_old_one_was():
    session = begin()
    rate_all(session)
    session.finish()
    session.heard("Reference", 1)
    session.heard("A", 1)
    session.rate("A", 33)
    again = Session(session._store, session.listener)
    assert again.progress == (1, 3)
    assert again.page == session.page
    assert again.sounds == session.sounds
    assert again.scores == {("quality", "A"): 33.0}
    assert again.missing == session.missing
    again.rate("A", 34)  # heard before, and need not be heard again


def test_an_unknown_listener():
    session = begin()
    with pytest.raises(InputError, match="nobody"):
        Session(session._store, "nobody")


def test_listeners_are_numbered_and_anonymous():
    session = begin()
    other = Session(session._store)
    assert (session.number, other.number) == (0, 1)
    assert len(session.listener) == len(other.listener) == 8
    assert session.listener != other.listener


def test_time_is_counted_without_breaks():
    now = [100.0]
    session = begin(clock=lambda: now[0])
    now[0] += 5
    session.heard("A", 1)
    now[0] += 3600  # lunch
    session.heard("B", 1)
    now[0] += 7
    session.comment("loud")
    session.comment("very loud")
    (row,) = session._store.rows("pages")
    assert (row["seconds"], row["comment"]) == (12.0, "very loud")
    again = Session(session._store, session.listener, clock=lambda: now[0])
    now[0] += 3
    again.heard("C", 1)
    (row,) = session._store.rows("pages")
    assert row["seconds"] == 15.0


def test_a_restart_does_not_stop_the_time_of_a_page():
    now = [100.0]
    session = begin(clock=lambda: now[0])
    store = session._store
    for _ in range(5):
        now[0] += 20  # while nobody listens
        session = Session(store, session.listener, clock=lambda: now[0])
        now[0] += 1
        session.heard("A", 1)
    (row,) = store.rows("pages")
    assert row["seconds"] == 5 * 21
    now[0] += 3600  # a break
    Session(store, session.listener, clock=lambda: now[0]).heard("A", 1)
    now[0] -= 50  # the clock of the machine is set
    Session(store, session.listener, clock=lambda: now[0]).heard("A", 1)
    (row,) = store.rows("pages")
    assert row["seconds"] == 5 * 21


def test_results_of_an_earlier_version_have_no_clock_yet(tmp_path):
    path = tmp_path / "x.sqlite"
    with ResultStore(path, Design("?", "mushra", TRIALS)) as store:
        listener = Session(store).listener
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE clocks")
        old.execute("DROP TABLE messages")
    old.close()
    with ResultStore(path) as store:
        now = [5.0]
        session = Session(store, listener, clock=lambda: now[0])
        now[0] += 2
        session.heard("A", 1)
        (row,) = store.rows("pages")
        assert row["seconds"] == 2
        with store.message(listener, "visit", 1) as new:
            assert new


# ---- texts --------------------------------------------------------------------------


def test_texts_have_a_longest_length():
    session = begin(questionnaire={"gear": ()})
    with pytest.raises(InputError, match=r"'gear' has 2001 characters"):
        session.answer({"gear": "x" * 2001})
    with pytest.raises(InputError, match="the remark has 3000"):
        session.comment("x" * 3000)
    with pytest.raises(InputError, match="the remark must be a text"):
        session.comment(5)
    session.answer({"gear": "x" * 2000})
    session.comment("😀" * 2000)
    assert len(session.answers["gear"]) == 2000


def test_half_a_character_becomes_a_question_mark():
    session = begin()
    session.comment("a \ud800 b")
    (row,) = session._store.rows("pages")
    assert row["comment"] == "a ? b"
