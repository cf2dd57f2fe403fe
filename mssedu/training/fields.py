"""Fields of a model's config on the command line: --set channels=1 n_fft=2048."""

import dataclasses
import typing
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from mssedu.errors import InputError, check_name

# What a field of a model's config may be on the command line
WORDS = {"true": True, "yes": True, "false": False, "no": False}
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
EXAMPLES = {int: "2", float: "0.5", bool: "true", str: "relu"}


def parse_fields(config: Any, settings: Sequence[str]) -> dict[str, Any]:
    """Read fields of a model's config, as changes for `mssedu.create_model`.

    The type of a field says which values it takes: a whole number, a number, true or
    false, a word, or several of these with commas.

    Args:
        config: of the model's preset.
        settings: "FIELD=VALUE" each; the last value of a field counts.

    Raises:
        InputError: no "=", an unknown field, or a value that its type does not allow.

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
            raise InputError(
                f"--set takes FIELD=VALUE, got {text!r}. Write for example channels=1."
            )
        if name == "stems":
            raise InputError(f"--set cannot change stems, got {text!r}. Use --stems.")
        check_name("field in --set", name, known)
        changes[name] = _parse(name, types[name], value)
    return changes


def _parse(name: str, kind: Any, text: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_parse(name, inner[0], part) for part in parts)
    if origin is typing.Literal:
        return check_name(name, text, inner)
    if kind is bool and text.lower() in WORDS:
        return WORDS[text.lower()]
    if kind is str and text:
        return text
    if kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    raise InputError(
        f"{name} must be {KINDS[kind]}, got {text!r}. Write for example "
        f"{name}={EXAMPLES[kind]}."
    )
