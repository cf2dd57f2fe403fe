"""Checkpoints: tensors in safetensors, everything else in the JSON beside it.

    runs/demo/best.safetensors   weights (and, when training, what a resume needs)
    runs/demo/best.json          model name, full config, sha256 of the tensors, facts

Neither file can run code when it is opened, both can be read without this package. A
checkpoint is one version of both files, tied by the sha256. Saving replaces the JSON
last: until then the old JSON fits the old tensors, which wait as best.previous. So a
power cut at any moment leaves a whole checkpoint, and one older copy stays afterwards.
Notebook: 05.
"""

import dataclasses
import functools
import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import mssedu
from mssedu.errors import CheckpointError, InputError, message
from mssedu.models import MODELS
from mssedu.models.contract import config_of, grouping_of
from mssedu.models.registry import class_of, create_model
from mssedu.weights.ensemble import Bag

FORMAT = 1  # of the JSON; raised when an old file can no longer be read
EXTRA = "extra/"  # in front of the tensors that are no weights of the model


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, read and verified."""

    model: str  # registry name
    config: dict[str, Any]  # all fields of the model's config
    weights: dict[str, Tensor]  # the model's state dict
    tensors: dict[str, Tensor]  # what else was saved, such as the optimizer's state
    facts: dict[str, Any]  # plain values about the run, such as step and score
    grouping: tuple[str, ...]  # what each stem is made of, see `mssedu.models.stems`


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model to `path` and to the JSON beside it.

    Args:
        path: file name ending in .safetensors; an older checkpoint there is kept as
            <name>.previous.safetensors.
        model: a model of the registry.
        tensors: more tensors to keep, by name.
        facts: more values to keep, as JSON can hold them.

    Returns:
        the path of the tensors.

    Raises:
        InputError: another suffix, a model outside the registry, or facts that are
            not JSON (NaN is not: use None).
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        remedy = f"Save to {path.name}.safetensors."
        raise InputError(
            message("save_checkpoint", "a .safetensors file", path.name, remedy)
        )
    extra = {EXTRA + name: tensor for name, tensor in (tensors or {}).items()}
    kept = {**model.state_dict(), **extra}
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    kept = {name: t.detach().cpu().clone().contiguous() for name, t in kept.items()}
    mark = {"mssedu": mssedu.__version__}  # says that a JSON belongs to the tensors
    content = safetensors.torch.save(kept, mark)
    document = {
        "format": FORMAT,
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        "model": model_name(model),
        "config": config_fields(model),
        "grouping": grouping_of(model),
        "sha256": hashlib.sha256(content).hexdigest(),
        "facts": dict(facts or {}),
    }
    text = _to_json(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    new_tensors = _write_beside(path, content)
    new_text = _write_beside(path.with_suffix(".json"), text.encode())
    _keep_previous(path)
    new_tensors.replace(path)
    new_text.replace(path.with_suffix(".json"))  # from here on the new version counts
    _sync_folder(path.parent)
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and verify it, without building its model.

    Args:
        path: the .safetensors, the .json, or a run folder (its best, else its last).

    Raises:
        CheckpointError: nothing there, damaged, or of a newer format.
    """
    path = _resolve(Path(path))
    document = _read_json(path.with_suffix(".json"))
    content = _matching_content(path, document["sha256"])
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        remedy = "The file was damaged before it was saved; train or fetch it again."
        text = message(str(path), "safetensors content", error, remedy)
        raise CheckpointError(text) from error
    return Checkpoint(
        model=document["model"],
        config={name: _tupled(value) for name, value in document["config"].items()},
        weights={n: t for n, t in tensors.items() if not n.startswith(EXTRA)},
        tensors={
            n.removeprefix(EXTRA): t for n, t in tensors.items() if n.startswith(EXTRA)
        },
        facts=document["facts"],
        # Files of version 0.1 have none: their stems are those of the songs.
        grouping=tuple(document.get("grouping", document["config"]["stems"])),
    )


def load_checkpoint(path: str | Path) -> nn.Module:
    """Rebuild a saved model, in eval mode on the CPU; see `mssedu.load_model` too.

    Args:
        path: the .safetensors, the .json, or a run folder (its best, else its last).

    Raises:
        CheckpointError: nothing there, damaged, or weights that do not fit the config.
        InputError: a model or config field that this version does not know.
    """
    checkpoint = read_checkpoint(path)
    fields = checkpoint.config | {"stems": checkpoint.grouping}
    model = create_model(checkpoint.model, **fields)
    load_weights(model, checkpoint.weights, where=str(path))
    return model.eval()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Copy a state dict into a model, if every tensor has its place and shape.

    Args:
        where: the origin of the weights, for the message.

    Raises:
        CheckpointError: missing, unexpected or misshapen tensors, counted by part of
            the model.
    """
    own = model.state_dict()
    shared = own.keys() & weights.keys()
    wrong = {
        "missing": own.keys() - shared,
        "unexpected": weights.keys() - shared,
        "misshapen": {n for n in shared if own[n].shape != weights[n].shape},
    }
    if any(wrong.values()):
        got = "; ".join(f"{k} {_by_part(v)}" for k, v in wrong.items() if v)
        wanted = f"the {len(own)} tensors of {type(model).__name__}"
        remedy = "Build the model with the config that the weights were trained with."
        raise CheckpointError(message(where, wanted, got, remedy))
    model.load_state_dict(dict(weights))


def model_name(model: nn.Module) -> str:
    """Registry name of a model.

    Raises:
        InputError: its class is not in the registry.

    Example:
        >>> model_name(create_model("spleeter", "tiny"))
        'spleeter'
    """
    for name in MODELS:
        if type(model) is class_of(name):
            return name
    remedy = "Add it to mssedu.models.MODELS, so that it can be loaded again."
    if isinstance(model, Bag):
        remedy = "Save each of its models, and join them by mssedu.weights.ensemble.Bag again."
    wanted = f"a model of {sorted(MODELS)}"
    raise InputError(message("model_name", wanted, type(model).__name__, remedy))


def config_fields(model: nn.Module) -> dict[str, Any]:
    """All fields of a model's config, by name."""
    config: Any = config_of(model)
    return dataclasses.asdict(config)


def weights_sha256(model: nn.Module) -> str:
    """Hash of all parameters and buffers: the same for the same weights, anywhere."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@functools.cache
def git_commit() -> str | None:
    """Commit of the checkout that mssedu runs from; None if it was installed."""
    root = Path(mssedu.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git here: no commit to name
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def previous(path: Path) -> Path:
    """Where the version before `path` is kept.

    Example:
        >>> previous(Path("last.safetensors")).name
        'last.previous.safetensors'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _keep_previous(path: Path) -> None:
    """Move the current version, if it is whole, to `previous(path)`.

    Tensors that an interrupted save left behind do not match their JSON: the whole
    version is then the previous one already, and must not be overwritten.
    """
    json_path = path.with_suffix(".json")
    if not (path.exists() and json_path.exists()):
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest not in json_path.read_text("utf-8"):
        return
    _write_beside(previous(json_path), json_path.read_bytes()).replace(
        previous(json_path)
    )
    path.replace(previous(path))


def _write_beside(path: Path, content: bytes) -> Path:
    """Write to a temporary file in the same folder, down to the disk."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # e.g. the disk is full: leave no half-written file
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    """Put the renames on the disk too; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _to_json(document: dict[str, Any]) -> str:
    try:
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        remedy = "Turn tensors into floats and NaN into None."
        text = message("save_checkpoint", "facts that JSON can hold", error, remedy)
        raise InputError(text) from error


def _resolve(path: Path) -> Path:
    """The .safetensors file that a file name or a run folder means."""
    if not path.is_dir():
        return path.with_suffix(".safetensors")
    for name in ("best", "last"):
        if (path / f"{name}.json").exists():
            return path / f"{name}.safetensors"
    remedy = "Name a folder that a training run has written."
    wanted = "a folder with best.json or last.json"
    raise CheckpointError(message(str(path.absolute()), wanted, "neither", remedy))


def _read_json(path: Path) -> dict[str, Any]:
    where, remedy = str(path.absolute()), "Copy both files, .safetensors and .json."
    if not path.exists():
        raise CheckpointError(message(where, "a checkpoint", "no such file", remedy))
    try:
        document = json.loads(path.read_text("utf-8"))
        version = document["format"]
    except (ValueError, TypeError, KeyError) as error:
        wanted = "the JSON of a checkpoint"
        text = message(where, wanted, f"{type(error).__name__}: {error}", remedy)
        raise CheckpointError(text) from error
    if version != FORMAT:
        remedy = "Update mssedu to the version that wrote it."
        wanted = f"checkpoint format {FORMAT}"
        raise CheckpointError(message(where, wanted, version, remedy))
    return document


def _matching_content(path: Path, digest: str) -> bytes:
    """The tensors that belong to a JSON: of two files, the one with the right hash."""
    found = []
    for candidate in (path, previous(path)):
        if candidate.exists():
            content = candidate.read_bytes()
            found.append(hashlib.sha256(content).hexdigest())
            if found[-1] == digest:
                return content
    older = previous(path)
    remedy = "Copy the file again from where it came."
    if previous(path.with_suffix(".json")).exists():
        remedy = f"It is damaged; the version before it is {older.name}."
    got = f"sha256 {found[0]}" if found else "no such file"
    wanted = f"tensors with sha256 {digest}"
    raise CheckpointError(message(str(path.absolute()), wanted, got, remedy))


def _by_part(names: set[str]) -> str:
    """Count names by their first part: '14 (encoder: 12, output: 2)'."""
    counts = Counter(name.split(".")[0] for name in sorted(names))
    parts = ", ".join(f"{part}: {n}" for part, n in counts.items())
    return f"{len(names)} ({parts})"


def _tupled(value: Any) -> Any:
    """JSON has lists only; configs hold tuples."""
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
