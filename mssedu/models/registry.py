"""Models by name: the list of them, their presets, and new models."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, cast

from torch import nn

from mssedu.errors import InputError, check_name
from mssedu.models import FILES, MODELS
from mssedu.models.names import is_own
from mssedu.models.own import check_model, load_file, own_class, own_presets
from mssedu.models.sizes import outline
from mssedu.models.stems import stem_names


def presets_of(name: str) -> Mapping[str, Any]:
    """The configurations of a model by preset name.

    Example:
        >>> sorted(presets_of("spleeter"))
        ['paper', 'paper_2stems', 'paper_5stems', 'tiny']
    """
    if is_own(name):
        return own_presets(name)
    presets = _file_of(name).PRESETS
    return cast(Mapping[str, Any], presets[name] if name in FILES else presets)


def class_of(name: str) -> type[nn.Module]:
    """The class of a model.

    Example:
        >>> class_of("htdemucs").__name__
        'HTDemucs'
    """
    if is_own(name):
        return own_class(name)
    return cast(type[nn.Module], getattr(_file_of(name), MODELS[name]))


def _file_of(name: str) -> ModuleType:
    check_name("model", name, MODELS)
    return importlib.import_module(f"mssedu.models.{FILES.get(name, name)}")


def list_models() -> list[str]:
    """The names that `create_model` accepts, sorted.

    Example:
        >>> list_models()
        ['bs_roformer', 'bsrnn', 'conv_tasnet', 'd3net', 'demucs', ...]
    """
    return sorted(MODELS)


def model_config(
    name: str,
    preset: str = "paper",
    stems: Sequence[str] | None = None,
    **config_changes: Any,
) -> Any:
    """The frozen config of a preset, with changes; arguments as in `create_model`.

    The file of FILE.py:CLASS was loaded before.

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
        config_changes["stems"] = stems  # an error, which the config's own check raises
    elif stems is not None:
        config_changes["stems"] = names = stem_names(stems)
        published, (first, paper) = config.stems, next(iter(presets.items()))
        if len(published) != len(names) and published != paper.stems:
            raise InputError(
                f"the preset {preset!r} of {name} has {len(published)} stems "
                f"({', '.join(published)}), got {len(names)} ({', '.join(names)}). "
                f"Name as many, or choose the preset {first!r}."
            )
    return dataclasses.replace(config, **config_changes)


def create_model(
    name: str,
    preset: str = "paper",
    stems: Sequence[str] | None = None,
    **config_changes: Any,
) -> nn.Module:
    """A new, untrained model.

    Args:
        name: one of `list_models()`, or "my_net.py:MyNet" for a class in a file of
            yours, which is run (see `mssedu.models.own`).
        preset: "paper" for the published configuration, "tiny" for one with less than a
            million parameters, or another of `presets_of(name)`.
        stems: names or rules such as "band=-vocals" (see `mssedu.models.stems`); None
            for those of the preset.
        **config_changes: fields of the model's config to change.

    Returns:
        (batch, channels, samples) -> (batch, stems, channels, samples), in train mode.

    Raises:
        InputError: an unknown name, preset or field, a value that a field cannot have,
            more or fewer stems than the preset is for, or a model that is too large.

    Example:
        >>> model = create_model("spleeter", "tiny", stems=("dizi", "pipa", "other"))
        >>> model(torch.zeros(1, 2, 44100)).shape
        torch.Size([1, 3, 2, 44100])
    """
    if is_own(name):
        load_file(name.rpartition(":")[0])
    model = build_model(name, preset, stems, **config_changes)
    if is_own(name):
        check_model(name, model)
    return model


def build_model(
    name: str,
    preset: str = "paper",
    stems: Sequence[str] | None = None,
    **config_changes: Any,
) -> nn.Module:
    """As `create_model`, but it runs no file of the user, so a checkpoint may name it.

    Example:
        >>> build_model("spleeter", "tiny").config.channels
        2
    """
    config = model_config(name, preset, stems, **config_changes)
    outline(class_of(name), config)  # so that no memory is taken if it is too large
    model = class_of(name)(config)
    if stems is not None:
        cast(Any, model).grouping = tuple(stems)
    return model
