"""Read weights that other programs saved, without running what their files may hold.

A .th or .pt file is a pickle, and a pickle is a program. torch.load(weights_only=True)
reads it, which allows tensors and plain values only. Demucs' files also name the class
of their model, and those of PyTorch Lightning the classes of OmegaConf, which hold the
settings of the training: here each such name stands for an empty class of ours, so
nothing of Demucs or OmegaConf is imported or called. A file with any other name is
refused.
"""

import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import CheckpointError
from mssedu.models.contract import shown
from mssedu.models.sizes import MOST_PARAMETERS
from mssedu.weights.untrusted import (
    DAMAGED,
    check_archive,
    odd_content,
    open_safetensors,
)

CLASSES = (
    "demucs.htdemucs.HTDemucs",
    "demucs.hdemucs.HDemucs",
    "demucs.demucs.Demucs",
    "demucs.model.Demucs",  # demucs 2
    "demucs.tasnet.ConvTasNet",  # demucs 2
)
# Names in the settings of a training, which are not read
SETTINGS = (
    "argparse.Namespace",
    "builtins.bool",
    "builtins.dict",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "builtins.str",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "typing.Any",
)
# Where training programs put the state dict, the best one first: PyTorch Lightning, the
# programs of ZFTurbo and of SCNet's authors, and others
PLACES = ("state_dict", "model_state_dict", "best_state", "state", "model")
ARGUMENTS = ("args", "kwargs")  # metadata keys of demucs 4.1, JSON each
OWN = "mssedu"  # metadata key of our own files, which need the JSON beside them
FRACTION = re.compile(r"(\d{1,9})(?:/0*([1-9]\d{0,8}))?")


@dataclass(frozen=True)
class Weights:
    """What a file holds: a state dict and, in some files, how its model was built."""

    state: dict[str, Tensor]
    klass: str | None = None  # full name of the original class
    arguments: dict[str, Any] = field(default_factory=dict)  # of its constructor


def read_weights(path: Path, *, as_stored: bool = False) -> Weights:
    """Read a state dict or a Demucs package, from safetensors or from a pickle.

    Any suffix but .safetensors means a file of torch.save.

    Args:
        path: the file.
        as_stored: leave the tensors in their type and on the disk, which takes no
            memory until their values are used; otherwise half precision becomes single.

    Raises:
        CheckpointError: no such file, damaged, quantized, or more than plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}. Check the path.")
    with odd_content(path):
        is_safe = path.suffix == ".safetensors"
        weights = _read_safetensors(path) if is_safe else _read_pickle(path)
        if as_stored:
            return weights
        if sum(tensor.numel() for tensor in weights.state.values()) > MOST_PARAMETERS:
            raise CheckpointError(
                f"{path} holds more than {MOST_PARAMETERS:.0e} numbers, the most that "
                "is read. Get a smaller model."
            )
        state = {
            name: tensor.float() if tensor.is_floating_point() else tensor.clone()
            for name, tensor in weights.state.items()
        }
        return Weights(state, weights.klass, weights.arguments)


def _read_pickle(path: Path) -> Weights:
    content = _unpickle(path)
    if isinstance(content, tuple) and len(content) == 4:  # as demucs 1 wrote it
        content = dict(zip(("klass", "args", "kwargs", "state"), content, strict=True))
    if isinstance(content, Mapping) and "klass" in content:
        klass = getattr(content["klass"], "original", None)
        if klass not in CLASSES:  # not one of the stand-ins
            raise CheckpointError(
                f"{path} must name the class of its model, got "
                f"{shown(content['klass'])}. {DAMAGED}"
            )
        arguments = _named(path, content["args"], content["kwargs"])
        return Weights(_state(path, content["state"]), klass, arguments)
    if isinstance(content, Mapping):  # the state dict, or all that a training saved
        held = (content.get(place) for place in PLACES)
        content = next((x for x in held if isinstance(x, Mapping)), content)
    return Weights(_state(path, content))


def _unpickle(path: Path) -> Any:
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (type(name.rpartition(".")[2], (), {"original": name}), name)
        for name in (*CLASSES, *SETTINGS)
    ]
    stand_ins += [
        (_fraction, "fractions.Fraction"),
        (_empty, "collections.defaultdict"),
    ]
    is_zip = check_archive(path)
    try:
        with (
            torch.serialization.safe_globals(stand_ins),
            warnings.catch_warnings(action="ignore"),  # about pickles unlike torch's
        ):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} must hold only tensors and plain values: {_reason(error)}. No "
            "code of the file was run. Get the weights as safetensors."
        ) from error
    except Exception as error:  # a damaged archive can raise any error
        raise CheckpointError(
            f"{path} cannot be read as a file of torch.save ({type(error).__name__}: "
            f"{_reason(error)}). {DAMAGED}"
        ) from error


def _reason(error: Exception) -> str:
    """What PyTorch says, without its advice on how to run the file all the same."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    if unknown := re.search(r"Unsupported global: GLOBAL (\S{1,100})", text):
        return f"it names {unknown[1]}"
    line = text.partition("\n")[0][:200]
    is_advice = "weights_only" in line or "safe_globals" in line
    return "it holds something else" if is_advice or not line else line


def _read_safetensors(path: Path) -> Weights:
    """A state dict; files of demucs 4.1 also have JSON of class and arguments."""
    with open_safetensors(path) as tensors:
        facts, state = tensors.facts, dict(tensors)
    if OWN in facts:
        raise CheckpointError(
            f"{path} is a checkpoint of mssedu without its JSON. Copy "
            f"{path.with_suffix('.json').name} too, into the same folder."
        )
    if "klass" not in facts:
        return Weights(_state(path, state))
    if "structure" in facts:
        _refuse_quantized(path)
    args, kwargs = (json.loads(facts[k], object_hook=_decode) for k in ARGUMENTS)
    return Weights(_state(path, state), facts["klass"], _named(path, args, kwargs))


def _decode(value: dict[str, Any]) -> Any:
    """JSON has no fractions: demucs writes them as an object."""
    if value.get("_type") == "fraction":
        return _fraction(value["numerator"], value["denominator"])
    return value


def _fraction(numerator: Any, denominator: Any = None) -> Fraction | str:
    """A fraction of few digits; all else stays a text, which no config takes.

    Fraction("1e999999999") would run for hours.
    """
    text = numerator
    if not isinstance(numerator, str):
        text = f"{shown(numerator)}/{shown(denominator)}"
    parts = FRACTION.fullmatch(text)
    return Fraction(int(parts[1]), int(parts[2] or 1)) if parts else text


def _empty(*arguments: Any) -> dict[Any, Any]:
    """In place of a defaultdict, which would call whatever its file names."""
    return {}


def _named(path: Path, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a Demucs model by name; only the first may have none."""
    names = ("sources",)
    is_list = isinstance(args, list | tuple) and len(args) <= len(names)
    is_named = isinstance(kwargs, Mapping) and all(isinstance(n, str) for n in kwargs)
    if not is_list or not is_named:
        raise CheckpointError(
            f"{path} must hold the arguments of its model by name, the stems first, "
            f"got {shown(args)} and {shown(kwargs)}. {DAMAGED}"
        )
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _state(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, each with all of its values in the file."""
    kind, tensors = type(content).__name__, {}
    if isinstance(content, Mapping):
        if {"__quantized", "compressed"} & content.keys():
            _refuse_quantized(path)
        names = f"{', '.join(map(shown, list(content)[:5]))} …"
        kind = f"dict with {names if content else 'nothing in it'}"
        tensors = dict(content)
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(
            f"{path} holds no state dict, but a {kind}. Give a file with the state "
            "dict of a model: tensors by name."
        )
    for name, tensor in tensors.items():
        is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not is_plain or tensor.is_quantized or not isinstance(name, str):
            raise CheckpointError(
                f"{path}: {shown(name)} is no plain tensor on the CPU. Save the state "
                "dict of the model again, with names and dense tensors."
            )
        if tensor.nbytes > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path}: {shown(name)} has {tensor.numel()} values, and the file has "
                f"fewer. {DAMAGED}"
            )
    return tensors


def _refuse_quantized(path: Path) -> None:
    raise CheckpointError(
        f"{path} holds weights quantized by DiffQ, which only the package diffq can "
        "read. Use the unquantized weights."
    )
