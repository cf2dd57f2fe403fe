"""Checkpoints: tensors in safetensors, everything else in the JSON beside it.

    runs/demo/best.safetensors   weights (and, when training, what a resume needs)
    runs/demo/best.json          model name, full config, sha256 of the tensors, facts

Neither file can run code when it is opened, and both can be read without this package.
The sha256 in the JSON says which tensors belong to it. Saving replaces the JSON last:
until then the old JSON fits the old tensors, which are now best.previous. So a power
cut at any moment leaves a complete checkpoint. The version before stays as
best.previous.
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
from mssedu.audio.files import file_sha256, tupled, write_bytes, written_whole
from mssedu.errors import CheckpointError, InputError
from mssedu.models import MODELS
from mssedu.models.contract import config_of, grouping_of
from mssedu.models.registry import class_of, create_model
from mssedu.weights.ensemble import Bag

FORMAT = 1  # of the JSON; raised when an old file can no longer be read
EXTRA = "extra/"  # prefix of the tensors that are not weights of the model


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint."""

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
        tensors: more tensors to save, by name.
        facts: more values to save, of types that JSON has.

    Returns:
        the path of the tensors.

    Raises:
        InputError: another suffix, a model outside the registry, or facts that are
            not JSON (NaN is not: use None).
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"path must end in .safetensors, got {path.name}.")
    extra = {EXTRA + name: tensor for name, tensor in (tensors or {}).items()}
    # Cloned, because safetensors refuses tensors that share memory (tied weights).
    copies = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in {**model.state_dict(), **extra}.items()
    }
    mark = {"mssedu": mssedu.__version__}  # says that a JSON belongs to the tensors
    content = safetensors.torch.save(copies, mark)
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
    try:
        text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"facts must hold values that JSON has ({error}). Turn tensors into floats "
            "and NaN into None."
        ) from error
    # The contexts end from right to left: the tensors get their name before the JSON,
    # which makes the new version valid.
    with (
        written_whole(path.with_suffix(".json")) as new_json,
        written_whole(path) as new_tensors,
    ):
        new_tensors.write_bytes(content)
        new_json.write_bytes(text.encode())
        _keep_previous(path)
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
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}), although its hash is "
            "right: it was damaged before it was saved."
        ) from error
    weights = {n: t for n, t in tensors.items() if not n.startswith(EXTRA)}
    extra = {n.removeprefix(EXTRA): t for n, t in tensors.items() if n not in weights}
    return Checkpoint(
        model=document["model"],
        config=tupled(document["config"]),
        weights=weights,
        tensors=extra,
        facts=document["facts"],
        # Files of version 0.1 have no grouping: their stems are those of the songs.
        grouping=tuple(document.get("grouping", document["config"]["stems"])),
    )


def load_checkpoint(path: str | Path) -> nn.Module:
    """Rebuild a saved model, in eval mode on the CPU; see `mssedu.load_model` too.

    `path` is as in `read_checkpoint`.

    Raises:
        CheckpointError: nothing there, damaged, or weights that do not fit the config.
        InputError: a model or config field that this version does not have.
    """
    checkpoint = read_checkpoint(path)
    fields = checkpoint.config | {"stems": checkpoint.grouping}
    model = create_model(checkpoint.model, **fields)
    load_weights(model, checkpoint.weights, where=str(path))
    return model.eval()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Copy a state dict into a model, if all names and shapes are the model's own.

    Raises:
        CheckpointError: missing, unexpected or misshapen tensors, counted by part of
            the model; it begins with `where`, the origin of the weights.
    """
    own = model.state_dict()
    shared = own.keys() & weights.keys()
    wrong = {
        "missing": own.keys() - shared,
        "unexpected": weights.keys() - shared,
        "misshapen": {n for n in shared if own[n].shape != weights[n].shape},
    }
    if any(wrong.values()):
        counts = "; ".join(f"{k} {_by_part(v)}" for k, v in wrong.items() if v)
        raise CheckpointError(
            f"{where}: the weights do not fit the {len(own)} tensors of "
            f"{type(model).__name__}: {counts}. Create the model with the config that "
            "the weights were trained with."
        )
    model.load_state_dict(dict(weights))


def model_name(model: nn.Module) -> str:
    """Registry name of a model; an InputError if its class is not in the registry.

    Example:
        >>> model_name(create_model("spleeter", "tiny"))
        'spleeter'
    """
    for name in MODELS:
        if type(model) is class_of(name):
            return name
    if isinstance(model, Bag):
        raise InputError(
            "a Bag cannot be saved as one model. Save each of its models, and join "
            "them with mssedu.weights.Bag after loading."
        )
    raise InputError(
        f"{type(model).__name__} is not a model of mssedu.models.MODELS. Add it there, "
        "so that it can be loaded again."
    )


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
    """Git commit of the checkout that mssedu runs from; None if it was installed."""
    root = Path(mssedu.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # git is missing or hangs
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def previous(path: Path) -> Path:
    """Path of the version before `path`.

    Example:
        >>> previous(Path("last.safetensors")).name
        'last.previous.safetensors'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _keep_previous(path: Path) -> None:
    """Move the current version, if it is complete, to `previous(path)`.

    Tensors that an interrupted save left behind do not match their JSON: the complete
    version is then the previous one already, and must not be overwritten.
    """
    json_path = path.with_suffix(".json")
    if not (path.exists() and json_path.exists()):
        return
    if file_sha256(path) in json_path.read_text("utf-8"):
        write_bytes(previous(json_path), json_path.read_bytes())
        path.replace(previous(path))


def _sync_folder(folder: Path) -> None:
    """Put the renames on the disk too; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _resolve(path: Path) -> Path:
    """The .safetensors file that a file name or a run folder means."""
    if not path.is_dir():
        return path.with_suffix(".safetensors")
    for name in ("best", "last"):
        if (path / f"{name}.json").exists():
            return path / f"{name}.safetensors"
    raise CheckpointError(
        f"{path.absolute()} is no folder of a run: it has no best.json nor last.json."
    )


def _read_json(path: Path) -> dict[str, Any]:
    where, remedy = path.absolute(), "Copy both files, .safetensors and .json."
    if not path.exists():
        raise CheckpointError(f"there is no file {where}. {remedy}")
    try:
        document = json.loads(path.read_text("utf-8"))
        version = document["format"]
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{where} is not the JSON of a checkpoint ({reason}). {remedy}"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{where} has the checkpoint format {version}, and this version of mssedu "
            f"reads format {FORMAT}. Update mssedu."
        )
    return document


def _matching_content(path: Path, digest: str) -> bytes:
    """The tensors that belong to a JSON: of two files, the one with the right hash."""
    digests = []
    for candidate in filter(Path.exists, (path, previous(path))):
        content = candidate.read_bytes()
        digests.append(hashlib.sha256(content).hexdigest())
        if digests[-1] == digest:
            return content
    if not digests:
        raise CheckpointError(f"there is no file {path.absolute()}. Copy it again.")
    remedy = "Copy the file again from its source."
    if previous(path.with_suffix(".json")).exists():
        remedy = f"Load the version before it: {previous(path).name}."
    raise CheckpointError(
        f"{path.absolute()} is damaged: its sha256 is {digests[0]}, and the JSON has "
        f"{digest}. {remedy}"
    )


def _by_part(names: set[str]) -> str:
    """Count names by their first part: '14 (encoder: 12, output: 2)'."""
    counts = Counter(name.split(".")[0] for name in sorted(names))
    return f"{len(names)} ({', '.join(f'{part}: {n}' for part, n in counts.items())})"
