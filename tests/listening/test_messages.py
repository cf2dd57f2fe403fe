"""The form of what a listener's page may send."""

import math

import pytest

from mssedu.errors import InputError
from mssedu.listening.test.messages import (
    MESSAGES,
    check_fields,
    check_message,
    check_whole,
    read_document,
)

HEARD = {"kind": "heard", "label": "A", "seconds": 2.0}
GOOD = [
    HEARD,
    {**HEARD, "begun": False},
    {**HEARD, "seconds": 0},
    {"kind": "rate", "label": "A", "score": -1, "question": "quality"},
    {"kind": "choose", "label": "A"},
    {"kind": "comment", "text": ""},
    {"kind": "comment", "text": "x" * 2000},
    {"kind": "answer", "answers": {}},
    {"kind": "answer", "answers": {"age": "old"}},
    {"kind": "next"},
]
BAD = {
    "kind": [None, [], "x", 3, {}, {"kind": None}, {"kind": ["heard"]}, {"kind": "x"}],
    "unknown name": [{"kind": "next", "now": 1}, {**HEARD, "listener": "x"}],
    "no 'seconds'": [{"kind": "heard", "label": "A"}],
    "no 'label'": [{"kind": "rate", "score": 5}, {"kind": "choose"}],
    "label must be a text": [{**HEARD, "label": value} for value in (None, 1, [], {})],
    "seconds must be": [
        {**HEARD, "seconds": value}
        for value in ("2", None, True, [], math.nan, math.inf, -1, 1e308, 10**400)
    ],
    "score must be a finite": [
        {"kind": "rate", "label": "A", "score": value}
        for value in ("50", True, math.nan, math.inf, 10**400, [5])
    ],
    "begun must be true": [{**HEARD, "begun": value} for value in ("x", 1, 0, [])],
    "text must be a text": [{"kind": "comment", "text": value} for value in ({}, 1)],
    "2001 characters": [{"kind": "comment", "text": "x" * 2001}],
    "answers must be": [{"kind": "answer", "answers": value} for value in ([], "x", 1)],
    "answer to 'age' must be a text": [{"kind": "answer", "answers": {"age": 12}}],
}


@pytest.mark.parametrize("message", GOOD)
def test_what_pages_send_passes(message):
    assert check_message(message) == message


def test_there_is_an_example_of_every_kind():
    assert {message["kind"] for message in GOOD} == {*MESSAGES}


@pytest.mark.parametrize(
    ("word", "message"), [(word, m) for word, many in BAD.items() for m in many]
)
def test_what_is_wrong_is_named_in_one_short_line(word, message):
    with pytest.raises(InputError, match=word) as caught:
        check_message(message)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_null_is_the_same_as_a_value_that_may_be_missing():
    assert check_message({**HEARD, "begun": None}) == HEARD


def test_values_are_quoted_in_short():
    with pytest.raises(InputError) as caught:
        check_message({**HEARD, "seconds": "x" * 10_000})
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 60_000, b"9" * 5000, b'{"a": }', b"\xef"]
)
def test_a_body_that_is_not_json(body):
    with pytest.raises(InputError, match="not JSON"):
        read_document(body)


def test_an_object_has_its_names_only():
    fields = {"place": check_whole}
    assert check_fields("it", {"place": 3}, fields) == {"place": 3}
    with pytest.raises(InputError, match="it must be a JSON object, got"):
        check_fields("it", [], fields)
    for value in (1.0, True, -1, 2**54, "0", None):
        with pytest.raises(InputError, match="place must be a whole number"):
            check_fields("it", {"place": value}, fields)
