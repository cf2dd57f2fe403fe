"""Architectures outside of this package: a file of yours with a class and its config.

    mssedu train SONGS --model my_net.py:MyNet
    create_model("my_net.py:MyNet")

The class takes its config, `MyNet(config: MyNetConfig)`, a frozen dataclass with a
default for each field, and keeps what `mssedu.models.contract` says. The file may have
PRESETS, as ours do; without it, there is the preset "paper" with the defaults.

A file is code, so only a user names it. A checkpoint holds the name and the sha256 of
the file, and does not run it: `load_model(RUN, model_file="my_net.py")`.
"""

import dataclasses
import hashlib
import importlib.util
import sys
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from mssedu.errors import InputError, MssEduWarning, check_name
from mssedu.models.contract import check_config, config_of, eval_mode
from mssedu.models.names import short_name

PACKAGE = "mssedu_own"  # Python's name for the module of my_net.py: mssedu_own.my_net
FORM = "Write FILE.py:CLASS, such as my_net.py:MyNet."


@dataclass(frozen=True)
class OwnFile:
    """A file that a user has named, after it was run."""

    path: Path
    sha256: str
    module: ModuleType


LOADED: dict[str, OwnFile] = {}  # by the name of the file


def load_file(path: str | Path) -> OwnFile:
    """Run a file with an architecture; once, as long as it does not change.

    Raises:
        InputError: no such file, or an error in it.
    """
    path = Path(path)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"there is no file {path} with a model. {FORM}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = LOADED.get(path.name)
    if known and (known.path, known.sha256) == (path.resolve(), digest):
        return known
    name = f"{PACKAGE}.{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found  # the suffix is .py
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(
            f"{path} cannot be run: {type(error).__name__}: {error}. Mend the file."
        ) from error
    LOADED[path.name] = OwnFile(path.resolve(), digest, module)
    return LOADED[path.name]


def own_class(name: str) -> type[nn.Module]:
    """The class of FILE.py:CLASS; the file was loaded before.

    Raises:
        InputError: not loaded, or no such class in it.
    """
    file, _, kind = short_name(name).rpartition(":")
    if file not in LOADED:
        raise InputError(
            f"the model {short_name(name)!r} is in a file of its own, which is not "
            f"loaded. Name the file: --model-file {file} on the command line, or "
            f"load_model(…, model_file={file!r}) in Python."
        )
    module = LOADED[file].module
    classes = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
    ]
    return cast(type[nn.Module], getattr(module, check_name("class", kind, classes)))


def own_presets(name: str) -> Mapping[str, Any]:
    """The configs of FILE.py:CLASS by preset name.

    Raises:
        InputError: no frozen dataclass for the config, or one without defaults.
    """
    kind = own_class(name)
    module = sys.modules[kind.__module__]
    presets = getattr(module, "PRESETS", None)
    if presets is None:
        hints = typing.get_type_hints(kind.__init__)
        config_class = hints.get("config")
        if not (config_class and dataclasses.is_dataclass(config_class)):
            raise InputError(
                f"{short_name(name)} does not say what its config is. Write def "
                "__init__(self, config: MyConfig), with a frozen dataclass MyConfig."
            )
        try:
            presets = {"paper": cast(Any, config_class)()}
        except TypeError as error:
            raise InputError(
                f"the config of {short_name(name)} needs a default for each field "
                f"({error}). Give each field a value."
            ) from error
    for config in presets.values():
        if not (dataclasses.is_dataclass(config) and _is_frozen(config)):
            raise InputError(
                f"the config of {short_name(name)} is not a frozen dataclass. Write "
                "@dataclass(frozen=True) above its class."
            )
    return cast(Mapping[str, Any], presets)


def _is_frozen(config: Any) -> bool:
    return bool(type(config).__dataclass_params__.frozen)


def own_name(model: nn.Module) -> str | None:
    """FILE.py:CLASS of a model from such a file; None for all others."""
    package, _, stem = type(model).__module__.partition(".")
    return f"{stem}.py:{type(model).__name__}" if package == PACKAGE else None


def sha256_of(name: str) -> str | None:
    """The sha256 of the file of FILE.py:CLASS; None for models of this package."""
    file = LOADED.get(short_name(name).rpartition(":")[0])
    return file.sha256 if file else None


def warn_if_changed(name: str, before: str | None) -> None:
    """A MssEduWarning if a file is not the one that a checkpoint was made with."""
    now = sha256_of(name)
    if before and now and before != now:
        warnings.warn(
            f"the file of {name} has changed since the checkpoint was saved: its "
            f"sha256 is {now[:12]}…, and was {before[:12]}…",
            MssEduWarning,
            stacklevel=3,
        )


def check_model(name: str, model: nn.Module) -> None:
    """Raise InputError unless a new model keeps what separation and training need.

    Two short mixtures of noise go through it, one of a single sample.
    """
    config, name = config_of(model), short_name(name)
    check_config(config)
    for samples in (round(min(config.segment, 0.5) * config.sample_rate), 1):
        generator = torch.Generator().manual_seed(0)
        shape = (1, config.channels, samples)
        mixture = 0.1 * torch.randn(shape, generator=generator)
        before = mixture.clone()
        with eval_mode(model), torch.no_grad():
            try:
                estimate = model(mixture)
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                raise InputError(
                    f"{name} cannot separate a mixture of the shape {shape}: {error}. "
                    "It must take any length, from one sample on: fill up with zeros."
                ) from error
        wanted = (1, len(config.stems), config.channels, samples)
        got = tuple(getattr(estimate, "shape", ()))
        if got != wanted:
            raise InputError(
                f"{name} must return (batch, stems, channels, samples) = {wanted} for "
                f"a mixture of the shape {shape}, got {got or type(estimate).__name__}."
                " Change its forward."
            )
        if not torch.equal(mixture, before):
            raise InputError(
                f"{name} changes the mixture in place, which is used again. Clone it "
                "first."
            )
