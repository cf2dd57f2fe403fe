"""Recipes: an experiment is a text file with the difference from the defaults.

    recipes/open_unmix.toml ──read_recipe──▶ Recipe ──config──▶ TrainConfig
    steps=2000 model.hidden=256 ──changed──┘   └──fields──▶ --set of `mssedu train`

A recipe has a head, which says what it is, and two tables:

    title = "Open-Unmix on MUSDB18-HQ"
    source = "Stöter et al. 2019, Open-Unmix, JOSS"   where the settings are from
    ran = "transcribed"                               or the table [ran], see below

    [train]     fields of `TrainConfig`
    [model]     fields of the model's config, as after --set

`ran` says whether its authors have trained with it. "transcribed" means that the
settings are those of the source and that nobody here has run them. Otherwise it is a
table with date, hardware, hours and usdr (dB, mean of the stems on the test songs).

This file needs no torch.
"""

import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssedu.audio.files import misfit, tupled
from mssedu.errors import InputError, check_name
from mssedu.training.config import TrainConfig
from mssedu.training.fields import EXAMPLES, KINDS, parse_fields

if TYPE_CHECKING:
    from torch import nn

SUFFIX = ".toml"
FOLDER = "recipes"
TRANSCRIBED = "transcribed"
_RAN = {"date": str, "hardware": str, "hours": float}
_DOCUMENT = {
    "title": str,
    "source": str,
    "ran": (str, {"date": str}),
    "train": {str: object},
    "model": {str: object},
}
_KINDS = KINDS | {type(None): "none"}
_EXAMPLES = EXAMPLES | {type(None): "none"}


@dataclass(frozen=True)
class Recipe:
    """An experiment, as a file in `recipes/` describes it."""

    path: Path
    sha256: str  # of the settings, so a new title or [ran] changes nothing
    title: str
    source: str  # the paper, or the code, whose settings these are
    ran: str | Mapping[str, Any]  # "transcribed", or date, hardware, hours and usdr
    train: Mapping[str, Any]  # fields of TrainConfig
    model: Mapping[str, Any]  # fields of the model's config
    settings: tuple[str, ...] = ()  # changes on the command line, FIELD=VALUE each

    @property
    def name(self) -> str:
        """The name of the file, without its suffix."""
        return self.path.stem

    @property
    def config(self) -> TrainConfig:
        """The settings of the run; an InputError if one is out of its range."""
        return TrainConfig(**self.train)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the model, as --set takes them."""
        return tuple(f"{name}={_text(value)}" for name, value in self.model.items())

    @property
    def facts(self) -> dict[str, Any]:
        """What config.json of a run says about its recipe."""
        return {
            "name": self.name,
            "path": str(self.path.absolute()),
            "sha256": self.sha256,
            "settings": list(self.settings),
        }

    def new_model(self) -> "nn.Module":
        """A new model of the recipe; the seed decides on its first weights."""
        import torch

        from mssedu.models.registry import create_model

        config, changes = self.config, self._model_changes()
        torch.manual_seed(config.seed)
        return create_model(config.model, config.preset, config.stems, **changes)

    def model_config(self) -> Any:
        """The config of the model; an InputError if a field or value does not fit."""
        from mssedu.models.registry import model_config

        config, changes = self.config, self._model_changes()
        return model_config(config.model, config.preset, config.stems, **changes)

    def _model_changes(self) -> dict[str, Any]:
        from mssedu.models.names import is_own
        from mssedu.models.own import load_file
        from mssedu.models.registry import model_config

        config = self.config
        if is_own(config.model):
            load_file(config.model.rpartition(":")[0])
        base = model_config(config.model, config.preset, config.stems)
        return parse_fields(base, self.fields)

    def changed(self, settings: Sequence[str]) -> "Recipe":
        """The recipe with other values; the file is not changed.

        Args:
            settings: FIELD=VALUE each. A field is one of `TrainConfig`, or "model." and
                a field of the model's config. A value is written as in TOML; words need
                no quotation marks, lists may be written with commas only, and none
                stands for no value.

        Raises:
            InputError: no "=", an unknown field, or a value of another type.

        Example:
            >>> recipe = read_recipe(find_recipe("open_unmix.toml"))
            >>> changed = recipe.changed(["steps=10", "stems=vocals", "model.hidden=8"])
            >>> changed.config.steps, changed.config.stems, changed.fields[-1]
            (10, ('vocals',), 'hidden=8')
        """
        train, model = dict(self.train), dict(self.model)
        for text in settings:
            name, equals, value = (part.strip() for part in text.partition("="))
            if not (equals and name):
                raise InputError(
                    f"a setting must be FIELD=VALUE, got {text!r}. Write for example "
                    "steps=2000."
                )
            if name.startswith("model."):
                model[name.removeprefix("model.")] = _value(value)
            else:
                train |= _typed_fields({name: _value(value)}, "command line")
        every = (*self.settings, *settings)
        return replace(self, train=train, model=model, settings=every)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        path: of the file; see `find_recipe` for names alone.

    Raises:
        InputError: no such file, no TOML, a part of another form, an unknown field, or
            a value of another type.
    """
    path = Path(path)
    try:
        document = tupled(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}. Check the path of the "
            "recipe."
        ) from error
    except ValueError as error:  # also of the decoding
        raise InputError(
            f"{path} is not a recipe in TOML: {error}. Compare it with those in the "
            "folder recipes."
        ) from error
    document = {"train": {}, "model": {}} | document
    for key in document:
        check_name("part of a recipe", key, _DOCUMENT, where=str(path))
    if wrong := misfit(document, _DOCUMENT):
        raise InputError(
            f"{path}: {wrong}. A recipe has title, source, ran, [train] and [model]."
        )
    _check_ran(document["ran"], path)
    settings = [document["train"], document["model"]]
    text = json.dumps(settings, sort_keys=True, default=str)
    train = _typed_fields(document.pop("train"), str(path))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Recipe(path=path, sha256=sha256, train=train, **document)


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a file in the folder recipes.

    The folder is that of the repository that the package was installed from, or that
    the current folder is in.

    Raises:
        InputError: there is no such file.

    Example:
        >>> find_recipe("open_unmix.toml").parent.name
        'recipes'
    """
    path = Path(name)
    if path.suffix == SUFFIX and path.is_file():
        return path
    here = Path.cwd()
    clones = [Path(__file__).resolve().parents[2], here, *here.parents]
    folders = [folder for clone in clones if (folder := clone / FOLDER).is_dir()]
    if not folders:
        raise InputError(
            f"{path.absolute()} does not exist, and there is no folder {FOLDER} here: "
            "it is in the repository, not in an installed package. Give the path of a "
            "recipe."
        )
    found = {file.name: file for folder in reversed(folders) for file in _files(folder)}
    if path.name not in found:  # the folders have grids and protocols, too
        found = {name: file for name, file in found.items() if _is_recipe(file)}
    return found[check_name("recipe", path.name, found)]


def take_recipe(words: Sequence[str]) -> tuple[Recipe | None, list[str]]:
    """The recipe of a command line, if its first word is one, and the other words.

    Args:
        words: RECIPE.toml DATA FIELD=VALUE … and flags, or DATA and flags. The settings
            come before the first flag.

    Raises:
        InputError: no such recipe, or what `Recipe.changed` raises.
    """
    if not words or not words[0].endswith(SUFFIX):
        return None, [*words]
    recipe = read_recipe(find_recipe(words[0]))
    rest = [*words[1:]]
    has_data = bool(rest) and not rest[0].startswith("-")
    has_data = has_data and ("=" not in rest[0] or Path(rest[0]).exists())
    data = [rest.pop(0)] if has_data else []
    settings = []
    while rest and "=" in rest[0] and not rest[0].startswith("-"):
        settings.append(rest.pop(0))
    return recipe.changed(settings), [*data, *rest]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"*{SUFFIX}"))


def _is_recipe(path: Path) -> bool:
    """Whether a file has the head of a recipe, or cannot be read."""
    try:
        return "ran" in tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # `read_recipe` says what is wrong
        return True


def _check_ran(ran: Any, path: Path) -> None:
    if isinstance(ran, str) and ran != TRANSCRIBED:
        raise InputError(
            f"{path}: ran must be {TRANSCRIBED!r} or a table, got {ran!r}. Write [ran] "
            "with date, hardware, hours and usdr."
        )
    if isinstance(ran, str):
        return
    if wrong := misfit(ran, _RAN | ({"usdr": float} if "usdr" in ran else {})):
        raise InputError(
            f"{path}: [ran] must have date, hardware and hours, and may have usdr: "
            f"{wrong}."
        )


# ---- values -------------------------------------------------------------------------


def _typed_fields(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of TrainConfig with values of their types."""
    hints = typing.get_type_hints(TrainConfig)
    return {
        check_name("setting", name, hints, where=where): _typed(
            f"{where}: {name}", value, hints[name]
        )
        for name, value in fields.items()
    }


def _value(text: str) -> Any:
    """A value of the command line: as TOML reads it, or else a word.

    Example:
        >>> _value("1e-3"), _value("[8, 16]"), _value("cosine")
        (0.001, (8, 16), 'cosine')
    """
    try:
        return tupled(tomllib.loads(f"value = {text}")["value"])
    except ValueError:
        return text


def _typed(name: str, value: Any, kind: Any) -> Any:
    """A value as the type of its field has it; an InputError if it does not fit."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(name, value, inner)
    if origin is typing.Literal:
        return check_name(name, str(value), inner)
    if origin is tuple:
        if isinstance(value, str):
            value = tuple(map(_value, filter(None, map(str.strip, value.split(",")))))
        values = value if isinstance(value, tuple) else (value,)
        return tuple(_typed(name, one, inner[0]) for one in values)
    if value == "none" and kind is type(None):
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number:
        return float(value)
    if isinstance(value, kind) and (kind is not int or is_number):
        return value
    raise InputError(
        f"{name} must be {_KINDS[kind]}, got {value!r}. Write for example "
        f"{name.split(': ')[-1]}={_EXAMPLES[kind]}."
    )


def _one_of(name: str, value: Any, kinds: Sequence[Any]) -> Any:
    """A value as the first type that takes it has it; the error is of the first."""
    errors = []
    for kind in kinds:
        try:
            return _typed(name, value, kind)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _text(value: Any) -> str:
    """A value as --set takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, tuple) else str(value)
