"""What a listener's page may send, and the check of its form.

    bytes of a request ──read_document──▶ plain values ──check_fields──▶ known names,
                                                        check_message    right types

Everything that a browser sends passes through here, once. What is well-formed may still
break a rule of the test, such as a rating before listening: that is for `Session`.
Notebook: 13.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from mssedu.errors import InputError, check_name, check_range
from mssedu.listening.test.names import shown
from mssedu.listening.test.session import LONGEST_HEARD, checked_text

LARGEST = 2**53  # from here on, a browser's numbers are not exact
Check = Callable[[str, Any], object]  # of a name and its value


def read_document(body: bytes) -> Any:
    """The JSON document in the body of a request; raise InputError if it is none."""
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise InputError("the request is not JSON. Send a JSON object.") from error


def check_fields(
    what: str,
    document: Any,
    fields: Mapping[str, Check],
    optional: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The values of a JSON object, after a check of their names and types.

    Args:
        what: the object is, for messages.
        document: plain values, of any form.
        fields: name -> check of the value.
        optional: names that may be missing, or null.

    Raises:
        InputError: no object, or an unknown, missing or wrong value.
    """
    if not isinstance(document, dict):
        raise InputError(f"{what} must be a JSON object, got {shown(document)}.")
    unknown = [name for name in document if name not in fields]
    if unknown:
        known = ", ".join(fields)
        raise InputError(
            f"{what} has the unknown name {shown(unknown[0])}. Its names are {known}."
        )
    values = {}
    for name, check in fields.items():
        if document.get(name) is None and name in optional:
            continue
        if name not in document:
            raise InputError(f"{what} has no {name!r}. Add it.")
        check(name, document[name])
        values[name] = document[name]
    return values


def check_message(message: Any) -> dict[str, Any]:
    """A message of the listener's page: its "kind", and values as `MESSAGES` has them.

    Raises:
        InputError: an unknown kind, or as `check_fields`.

    Example:
        >>> check_message({"kind": "choose", "label": "A"})
        {'kind': 'choose', 'label': 'A'}
        >>> check_message({"kind": "choose", "label": 1})
        Traceback (most recent call last):
        mssedu.errors.InputError: label must be a text, got 1.
    """
    kind = message.get("kind") if isinstance(message, dict) else None
    if not isinstance(kind, str):
        raise InputError(f"a message must have a kind, got {shown(message)}.")
    check_name("kind of message", kind[:40], MESSAGES)
    fields = {"kind": checked_text, **MESSAGES[kind]}
    return check_fields(f"the message {kind!r}", message, fields, OPTIONAL)


def check_whole(name: str, value: Any) -> None:
    """Raise InputError unless a value is a whole number from 0 to 2⁵³."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise InputError(f"{name} must be a whole number ≥ 0, got {shown(value)}.")


def _number(name: str, value: Any) -> None:
    """Raise InputError unless a value is a finite number; `true` is none."""
    if type(value) not in (int, float) or not -LARGEST <= value <= LARGEST:
        raise InputError(f"{name} must be a finite number, got {shown(value)}.")


def _seconds(name: str, value: Any) -> None:
    _number(name, value)
    check_range(name, value, 0, LONGEST_HEARD)


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, got {shown(value)}.")


def _texts(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a JSON object, got {shown(value)}.")
    for question, answer in value.items():
        checked_text(f"the answer to {shown(question)}", answer)


# Kind of a message -> what it contains: the arguments of the session's method
MESSAGES: Mapping[str, Mapping[str, Check]] = {
    "heard": {"label": checked_text, "seconds": _seconds, "begun": _flag},
    "rate": {"label": checked_text, "score": _number, "question": checked_text},
    "choose": {"label": checked_text},
    "comment": {"text": checked_text},
    "answer": {"answers": _texts},
    "next": {},
}
OPTIONAL = ("begun", "question")
