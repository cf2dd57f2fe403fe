"""Models by name: what there is, their presets, and a new model of one."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, cast

from torch import nn

from mssedu.errors import InputError, check_name, message
from mssedu.models import MODELS
from mssedu.models.stems import stem_names

DEFAULT_PRESET = "paper"


def presets_of(name: str) -> Mapping[str, Any]:
    """The configurations of a model by preset name.

    Raises:
        InputError: an unknown model.

    Example:
        >>> sorted(presets_of("spleeter"))
        ['paper', 'paper_4', 'paper_5', 'tiny']
    """
    presets: Mapping[str, Any] = _file_of(name).PRESETS
    return presets


def class_of(name: str) -> type[nn.Module]:
    """The class of a model.

    Raises:
        InputError: an unknown model.

    Example:
        >>> class_of("htdemucs").__name__
        'HTDemucs'
    """
    model: type[nn.Module] = getattr(_file_of(name), MODELS[name])
    return model


def _file_of(name: str) -> ModuleType:
    check_name("model", name, MODELS)
    return importlib.import_module(f"mssedu.models.{name}")


def list_models() -> list[str]:
    """The names that `create_model` knows, sorted.

    Example:
        >>> list_models()
        ['conv_tasnet', 'demucs', 'hdemucs', 'htdemucs', 'open_unmix', ...]
    """
    return sorted(MODELS)


def model_config(
    name: str,
    preset: str = "paper",
    stems: Sequence[str] | None = None,
    **config_changes: Any,
) -> Any:
    """The frozen config of a preset, with changes; arguments as in `create_model`.

    Example:
        >>> model_config("spleeter", stems=["vocals", "other"]).stems
        ('vocals', 'other')
    """
    presets = presets_of(name)
    check_name(f"preset of {name}", preset, presets)
    config = presets[preset]
    known = [field.name for field in dataclasses.fields(config)]
    for change in config_changes:
        check_name(f"config field of {name}", change, known)
    if isinstance(stems, str):
        config_changes["stems"] = stems  # the config's own check names the mistake
    elif stems is not None:
        config_changes["stems"] = stem_names(stems)
        _check_preset(name, preset, config_changes["stems"])
    return dataclasses.replace(config, **config_changes)


def create_model(
    name: str,
    preset: str = "paper",
    stems: Sequence[str] | None = None,
    **config_changes: Any,
) -> nn.Module:
    """A new, untrained model.

    Args:
        name: one of `list_models`.
        preset: "paper" for the published configuration, "tiny" for one below a million
            parameters, or another preset of the model's file.
        stems: names, or what they are made of (`mssedu.models.stems`); the preset's if None.
        **config_changes: fields of the model's config to change.

    Returns:
        (batch, channels, samples) -> (batch, stems, channels, samples), in train mode.

    Raises:
        InputError: an unknown name, preset or field, or stems that contradict it.

    Example:
        >>> model = create_model("spleeter", "tiny", stems=("dizi", "pipa", "other"))
        >>> model(torch.zeros(1, 2, 44100)).shape
        torch.Size([1, 3, 2, 44100])
    """
    config = model_config(name, preset, stems, **config_changes)
    model = class_of(name)(config)
    if stems is not None:
        cast(Any, model).grouping = tuple(stems)
    return model


def _check_preset(name: str, preset: str, stems: tuple[str, ...]) -> None:
    """Raise InputError where the preset is made for another number of stems."""
    presets = presets_of(name)
    own = presets[preset].stems
    if own == presets[DEFAULT_PRESET].stems or len(own) == len(stems):
        return
    wanted = f"{len(own)} stems, as the preset {preset!r} has ({', '.join(own)})"
    got = f"{len(stems)} ({', '.join(stems)})"
    remedy = f"Name {len(own)} stems or none, or choose the preset {DEFAULT_PRESET!r}."
    raise InputError(message(f"create_model {name}", wanted, got, remedy))
