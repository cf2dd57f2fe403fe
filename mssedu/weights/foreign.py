"""Read weights that other programs saved, without running what their files may hold.

A .th or .pt file is a pickle, and a pickle is a program. torch.load(weights_only=True)
reads it, which allows tensors and plain values only. Demucs' files also name the class
of their model: here each such name stands for an empty class of ours, so nothing of
Demucs is imported or called. A file with any other name is refused.
"""

import json
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from mssedu.errors import CheckpointError

CLASSES = (
    "demucs.htdemucs.HTDemucs",
    "demucs.hdemucs.HDemucs",
    "demucs.demucs.Demucs",
    "demucs.model.Demucs",  # demucs 2
    "demucs.tasnet.ConvTasNet",  # demucs 2
)
ARGUMENTS = ("args", "kwargs")  # metadata keys of demucs 4.1, JSON each
OWN = "mssedu"  # metadata key of our own files, which need the JSON beside them
DAMAGED = "The file is damaged. Copy or download it again."


@dataclass(frozen=True)
class Weights:
    """What a file holds: a state dict and, in some files, how its model was built."""

    state: dict[str, Tensor]  # float32
    klass: str | None = None  # full name of the original class
    arguments: dict[str, Any] = field(default_factory=dict)  # of its constructor


def read_weights(path: Path) -> Weights:
    """Read a state dict or a Demucs package, from safetensors or from a pickle.

    Any suffix but .safetensors means a file of torch.save.

    Raises:
        CheckpointError: no such file, damaged, quantized, or more than plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}. Check the path.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _unpickle(path)
    if isinstance(content, tuple) and len(content) == 4:  # as demucs 1 wrote it
        content = dict(zip(("klass", "args", "kwargs", "state"), content, strict=True))
    if isinstance(content, Mapping) and "klass" in content:
        klass = getattr(content["klass"], "original", str(content["klass"]))
        arguments = _named(content["args"], content["kwargs"])
        return Weights(_state(path, content["state"]), klass, arguments)
    if isinstance(content, Mapping):  # the state dict, or all that a training saved
        content = content.get("state_dict", content)
    return Weights(_state(path, content))


def _unpickle(path: Path) -> Any:
    stand_ins: list[tuple[Callable, str]] = [
        (type(name.rpartition(".")[2], (), {"original": name}), name)
        for name in (*CLASSES, "argparse.Namespace")  # which holds training settings
    ]
    try:
        with (
            torch.serialization.safe_globals([*stand_ins, Fraction]),
            warnings.catch_warnings(action="ignore"),  # about pickles unlike torch's
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
        line = reason.strip().partition("\n")[0]
        raise CheckpointError(
            f"{path} must hold only tensors and plain values: {line}. No code of the "
            "file was run. Get the weights as safetensors."
        ) from error
    except Exception as error:  # a damaged archive can raise any error
        line = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read as a file of torch.save ({type(error).__name__}: "
            f"{line}). {DAMAGED}"
        ) from error


def _read_safetensors(path: Path) -> Weights:
    """A state dict; files of demucs 4.1 also have JSON of class and arguments."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}). {DAMAGED}"
        ) from error
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
    return Weights(_state(path, state), facts["klass"], _named(args, kwargs))


def _decode(value: dict[str, Any]) -> Any:
    """JSON has no fractions: demucs writes them as an object."""
    if value.get("_type") == "fraction":
        return Fraction(value["numerator"], value["denominator"])
    return value


def _named(args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a Demucs model by name; only the first may have none."""
    return dict(zip(("sources",), args, strict=True) if args else (), **kwargs)


def _state(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; half precision becomes single."""
    kind, values = type(content).__name__, []
    if isinstance(content, Mapping):
        if {"__quantized", "compressed"} & content.keys():
            _refuse_quantized(path)
        kind = f"dict with {', '.join(map(repr, list(content)[:5]))} …"
        values = list(content.values())
    if not values or not all(isinstance(value, Tensor) for value in values):
        raise CheckpointError(
            f"{path} holds no state dict, but a {kind}. Give a file with the state "
            "dict of a model: tensors by name."
        )
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in content.items()
    }


def _refuse_quantized(path: Path) -> None:
    raise CheckpointError(
        f"{path} holds weights quantized by DiffQ, which only the package diffq can "
        "read. Use the unquantized weights."
    )
