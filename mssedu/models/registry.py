"""Every model by name: one dict, so that "where does this come from" is one jump."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from torch import nn

from mssedu.errors import InputError, check_name, message
from mssedu.models import (
    conv_tasnet,
    demucs,
    hdemucs,
    htdemucs,
    open_unmix,
    spleeter,
    wave_u_net,
)
from mssedu.models.stems import stem_names

DEFAULT_PRESET = "paper"


class Entry(NamedTuple):
    """A model class and its configurations by preset name."""

    model: type[nn.Module]
    presets: Mapping[str, Any]


MODELS = {
    "conv_tasnet": Entry(conv_tasnet.ConvTasNet, conv_tasnet.PRESETS),
    "demucs": Entry(demucs.Demucs, demucs.PRESETS),
    "hdemucs": Entry(hdemucs.HDemucs, hdemucs.PRESETS),
    "htdemucs": Entry(htdemucs.HTDemucs, htdemucs.PRESETS),
    "open_unmix": Entry(open_unmix.OpenUnmix, open_unmix.PRESETS),
    "spleeter": Entry(spleeter.Spleeter, spleeter.PRESETS),
    "wave_u_net": Entry(wave_u_net.WaveUNet, wave_u_net.PRESETS),
}


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
    check_name("create_model", "model", name, MODELS)
    presets = MODELS[name].presets
    check_name("create_model", f"preset of {name}", preset, presets)
    config = presets[preset]
    known = [field.name for field in dataclasses.fields(config)]
    for change in config_changes:
        check_name("create_model", f"config field of {name}", change, known)
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
    model = MODELS[name].model(config)
    if stems is not None:
        cast(Any, model).grouping = tuple(stems)
    return model


def _check_preset(name: str, preset: str, stems: tuple[str, ...]) -> None:
    """Raise InputError where the preset is made for another number of stems."""
    presets = MODELS[name].presets
    own = presets[preset].stems
    if own == presets[DEFAULT_PRESET].stems or len(own) == len(stems):
        return
    wanted = f"{len(own)} stems, as the preset {preset!r} has ({', '.join(own)})"
    got = f"{len(stems)} ({', '.join(stems)})"
    remedy = f"Name {len(own)} stems or none, or choose the preset {DEFAULT_PRESET!r}."
    raise InputError(message(f"create_model {name}", wanted, got, remedy))
