"""Read weights that other programs saved, without running what their files may hold.

A .th or .pt file is a pickle, and a pickle is a program. It is read by torch's own
reader, which knows tensors and plain values only. Demucs' files name the class of their
model too: here each such name stands for an empty class of ours, so nothing of Demucs
is imported or called. Any other name in a file makes it refused.
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

from mssedu.errors import CheckpointError, message

CLASSES = (
    *("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs"),
    *("demucs.model.Demucs", "demucs.tasnet.ConvTasNet"),  # as of demucs 2
)
OWN = "mssedu"  # metadata of our own files, which need the JSON beside them


@dataclass(frozen=True)
class Weights:
    """What a file holds: a state dict and, if it says so, how its model was built."""

    state: dict[str, Tensor]  # float32
    klass: str | None = None  # full name of the original class
    arguments: dict[str, Any] = field(default_factory=dict)  # of its constructor


def read_weights(path: Path) -> Weights:
    """Read a state dict or a Demucs package, from safetensors or from a pickle.

    Args:
        path: .safetensors; anything else is taken for a file of torch.save.

    Raises:
        CheckpointError: no such file, damaged, quantized, or more than plain values.
    """
    if not path.is_file():
        remedy = "Check the path."
        raise CheckpointError(message(str(path), "a file", "no such file", remedy))
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _unpickle(path)
    if isinstance(content, tuple) and len(content) == 4:  # as demucs 1 wrote it
        content = dict(zip(("klass", "args", "kwargs", "state"), content, strict=True))
    if isinstance(content, Mapping) and "klass" in content:
        klass = getattr(content["klass"], "original", str(content["klass"]))
        return _package(
            path, klass, content["args"], content["kwargs"], content["state"]
        )
    if isinstance(content, Mapping):  # the state alone, or a training's whole state
        content = content.get("state_dict", content)
    return Weights(_state(path, content))


def _unpickle(path: Path) -> Any:
    stand_ins: list[tuple[Callable, str]] = [
        (type(name.rpartition(".")[2], (), {"original": name}), name)
        for name in (*CLASSES, "argparse.Namespace")  # the latter: settings of training
    ]
    try:
        with (
            torch.serialization.safe_globals([*stand_ins, Fraction]),
            warnings.catch_warnings(action="ignore"),  # about pickles unlike torch's
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
        got = reason.strip().partition("\n")[0]
        remedy = "Nothing of it was run. Get the weights as safetensors."
        wanted = "a file of tensors and plain values"
        raise CheckpointError(message(str(path), wanted, got, remedy)) from error
    except Exception as error:  # whatever a damaged archive can raise
        remedy = "Copy or download it again."
        got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        text = message(str(path), "a file of torch.save", got, remedy)
        raise CheckpointError(text) from error


def _read_safetensors(path: Path) -> Weights:
    """State dict; with a JSON of class and arguments, as demucs 4.1 publishes it."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        remedy = "Copy or download it again."
        text = message(str(path), "safetensors content", error, remedy)
        raise CheckpointError(text) from error
    if OWN in facts:
        remedy = f"Copy {path.with_suffix('.json').name} too, from where it came."
        wanted = "a checkpoint of mssedu with its JSON"
        raise CheckpointError(message(str(path), wanted, "no JSON", remedy))
    if "klass" not in facts:
        return Weights(_state(path, state))
    if "structure" in facts:
        _refuse_quantized(path)
    args, kwargs = (
        json.loads(facts[k], object_hook=_decode) for k in ("args", "kwargs")
    )
    return _package(path, facts["klass"], args, kwargs, state)


def _decode(value: dict[str, Any]) -> Any:
    """JSON has no fractions: demucs writes them as an object."""
    if value.get("_type") == "fraction":
        return Fraction(value["numerator"], value["denominator"])
    return value


def _package(
    path: Path, klass: str, args: Any, kwargs: dict[str, Any], state: Any
) -> Weights:
    """Weights with the arguments of their model, all by name."""
    if isinstance(state, Mapping) and {"__quantized", "compressed"} & state.keys():
        _refuse_quantized(path)
    named = dict(zip(("sources",), args, strict=True)) if args else {}
    return Weights(_state(path, state), klass, {**named, **kwargs})


def _state(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; half precision becomes single."""
    if isinstance(content, Mapping) and {"__quantized", "compressed"} & content.keys():
        _refuse_quantized(path)
    tensors = (
        isinstance(content, Mapping)
        and content
        and all(isinstance(value, Tensor) for value in content.values())
    )
    if not tensors:
        got = type(content).__name__
        if isinstance(content, Mapping):
            got = f"a dict with {', '.join(map(repr, list(content)[:5]))} …"
        remedy = "Give a file that holds a model's state dict."
        raise CheckpointError(message(str(path), "named tensors", got, remedy))
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in content.items()
    }


def _refuse_quantized(path: Path) -> None:
    remedy = "Use the unquantized weights; only the package diffq can read these."
    raise CheckpointError(
        message(str(path), "plain tensors", "DiffQ-quantized ones", remedy)
    )
