"""Fields of a model's config on the command line: --set channels=1 n_fft=2048.

What a value may be follows from the field's type in the config: a whole number, a
number, true or false, a word, or several of these with commas.
"""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from mssedu.errors import InputError, check_name, message

WHERE = "--set"
WORDS = {"true": True, "yes": True, "false": False, "no": False}
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
EXAMPLES = {int: "2", float: "0.5", bool: "true", str: "relu"}


def parse_fields(config: Any, settings: Sequence[str]) -> dict[str, Any]:
    """Read settings of a model, as changes for `mssedu.create_model`.

    Args:
        config: of the model's preset; says which fields there are and of what type.
        settings: "FIELD=VALUE" each; of several values of a field the last counts.

    Raises:
        InputError: no "=", an unknown field (with the nearest match), or a value that
            its type does not allow.

    Example:
        >>> from mssedu.models.registry import model_config
        >>> config = model_config("spleeter", "tiny")
        >>> parse_fields(config, ["channels=1", "filters=8,16", "softmax=true"])
        {'channels': 1, 'filters': (8, 16), 'softmax': True}
    """
    types = typing.get_type_hints(type(config))
    known = [f.name for f in dataclasses.fields(config) if f.name != "stems"]
    changes = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            remedy = "Write for example channels=1."
            raise InputError(message(WHERE, "FIELD=VALUE", repr(text), remedy))
        if name == "stems":
            remedy = "Name them with --stems."
            raise InputError(message(WHERE, "a field other than stems", text, remedy))
        check_name("config field", name, known, where=WHERE)
        changes[name] = _parse(name, types[name], value)
    return changes


def _parse(name: str, kind: Any, text: str) -> Any:
    """The value of a field of this type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_parse(name, inner[0], part) for part in parts)
    if origin is typing.Literal:
        return check_name(name, text, inner, where=WHERE)
    if kind is bool and text.lower() in WORDS:
        return WORDS[text.lower()]
    if kind is str and text:
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    remedy = f"Write for example {name}={EXAMPLES[kind]}."
    wanted = f"{KINDS[kind]} for {name}"
    raise InputError(message(WHERE, wanted, repr(text), remedy))
