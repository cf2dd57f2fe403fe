"""Checkpoints: tensors in safetensors, everything else in the JSON beside it.

    runs/demo/best.safetensors   weights (and, when training, what a resume needs)
    runs/demo/best.json          model name, full config, sha256 of the tensors, facts

Neither file can run code when it is opened, and both can be read without this package.
Nothing in them is believed: the config is checked, and the names, shapes and sizes of
the tensors must be those of its model, before any of them takes memory.

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

import safetensors.torch
import torch
from torch import Tensor, nn

import mssedu
from mssedu.audio.files import as_json, file_sha256, tupled, write_bytes, written_whole
from mssedu.errors import CheckpointError, InputError, check_name
from mssedu.models import MODELS
from mssedu.models.contract import config_of, grouping_of, shown
from mssedu.models.names import is_own
from mssedu.models.own import own_class, own_name, sha256_of, warn_if_changed
from mssedu.models.registry import build_model, class_of, presets_of
from mssedu.models.sizes import outline
from mssedu.models.stems import stem_names
from mssedu.weights.ensemble import Bag
from mssedu.weights.untrusted import odd_content, open_safetensors, read_json

FORMAT = 1  # of the JSON; raised when an old file can no longer be read
CONFIG = "config_sha256"  # key in the header of the tensors, see `_digest`
EXTRA = "extra/"  # prefix of the tensors that are not weights of the model
MOST_EXTRA = 16  # times the size of the weights; an optimizer keeps 2 or 3
COPY = "Copy both files, .safetensors and .json."
KINDS = {"model": str, "config": dict, "sha256": str, "facts": dict}  # in the JSON


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
    name = model_name(model)
    described = {
        "model": name,
        "config": config_fields(model),
        "grouping": grouping_of(model),
    }
    # They say that a JSON belongs to the tensors, and what must not change in it.
    own = {"model_file_sha256": sha256_of(name)} if is_own(name) else {}
    marks = {"mssedu": mssedu.__version__, CONFIG: _digest(described)}
    content = safetensors.torch.save(copies, marks)
    document = {
        "format": FORMAT,
        "mssedu": mssedu.__version__,
        "commit": git_commit(),
        **described,
        **own,
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
        new_json.write_bytes(text.encode("utf-8", "backslashreplace"))
        _keep_previous(path)
    _sync_folder(path.parent)
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and verify it, without building its model.

    Args:
        path: the .safetensors, the .json, or a run folder (its best, else its last).

    Raises:
        CheckpointError: nothing there, damaged, or of a newer format; or weights that
            do not fit the config.
        InputError: a model or config field that this version does not have, or a value
            that the field cannot have.
    """
    path = _resolve(Path(path))
    document = _read_document(path.with_suffix(".json"))
    own = _tensors_of(document, path.with_suffix(".json"))
    with open_safetensors(_matching_file(path, document, own)) as tensors:
        copies = {name: tensors[name].clone() for name in tensors}
    weights = {n: t for n, t in copies.items() if not n.startswith(EXTRA)}
    extra = {n.removeprefix(EXTRA): t for n, t in copies.items() if n not in weights}
    return Checkpoint(
        model=document["model"],
        config=document["config"],
        weights=weights,
        tensors=extra,
        facts=document["facts"],
        grouping=document["grouping"],
    )


def load_checkpoint(path: str | Path) -> nn.Module:
    """Rebuild a saved model, in eval mode on the CPU; see `mssedu.load_model` too.

    `path` is as in `read_checkpoint`, and so are the errors.
    """
    checkpoint = read_checkpoint(path)
    fields = checkpoint.config | {"stems": checkpoint.grouping}
    model = build_model(checkpoint.model, **fields)
    load_weights(model, checkpoint.weights, where=str(path))
    return model.eval()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Copy a state dict into a model, if all names and shapes are the model's own.

    Raises:
        CheckpointError: see `check_weights`.
    """
    check_weights(model.state_dict(), weights, where, type(model).__name__)
    model.load_state_dict(dict(weights))


def check_weights(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: str, kind: str
) -> None:
    """Compare the tensors of a file with those of a model, without reading values.

    Args:
        own: state dict of the model, or its `mssedu.models.sizes.outline`.
        weights: of the file.
        where: the origin of the weights, with which the message begins.
        kind: name of the model's class.

    Raises:
        CheckpointError: missing, unexpected or misshapen tensors, or whole numbers in
            place of fractions, counted by part of the model.
    """
    shared = own.keys() & weights.keys()
    is_float = torch.is_floating_point
    wrong = {
        "missing": own.keys() - shared,
        "unexpected": weights.keys() - shared,
        "misshapen": {n for n in shared if own[n].shape != weights[n].shape},
        "of another type": {
            n for n in shared if is_float(own[n]) != is_float(weights[n])
        },
    }
    if any(wrong.values()):
        counts = "; ".join(f"{k} {_by_part(v)}" for k, v in wrong.items() if v)
        raise CheckpointError(
            f"{where}: the weights do not fit the {len(own)} tensors of {kind}: "
            f"{counts}. Create the model with the config that the weights were trained "
            "with."
        )


def model_name(model: nn.Module) -> str:
    """Registry name of a model; an InputError if its class is not in the registry.

    Example:
        >>> model_name(mssedu.create_model("spleeter", "tiny"))
        'spleeter'
    """
    if (own := own_name(model)) is not None:
        return own
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
        "or create it from its file, create_model('my_net.py:MyNet'), so that it can "
        "be loaded again."
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


def retire(path: Path) -> None:
    """Leave a checkpoint, if it is there, only as the version before, `previous`."""
    _keep_previous(path)
    path.with_suffix(".json").unlink(missing_ok=True)


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
        f"{path.absolute()} is no folder of a run: it has no best.json nor last.json. "
        "Give the folder that a training wrote, or a file of weights."
    )


def _read_document(path: Path) -> dict[str, Any]:
    """The JSON of a checkpoint, with tuples for lists in `config` and `grouping`."""
    where, what = path.absolute(), "the JSON of a checkpoint"
    with odd_content(where, what, COPY):
        document = read_json(path)
        if document["format"] != FORMAT:
            raise CheckpointError(
                f"{where} has the checkpoint format {shown(document['format'])}, and "
                f"this version of mssedu reads format {FORMAT}. Update mssedu."
            )
        for key, kind in KINDS.items():
            if not isinstance(document[key], kind):
                raise CheckpointError(
                    f"{where} is not {what}: {key!r} is {shown(document[key])}. {COPY}"
                )
        document["config"] = tupled(document["config"])
        # Files of version 0.1 have no grouping: their stems are those of the songs.
        stems = document["config"]["stems"]
        document["grouping"] = tupled(document.get("grouping", stems))
    return document


def _tensors_of(document: Mapping[str, Any], path: Path) -> Mapping[str, Tensor]:
    """Names and shapes of the weights that the config in a JSON needs."""
    name, fields = document["model"], document["config"]
    try:
        if is_own(name):
            own_class(name)  # an error unless the user has named the file
            warn_if_changed(name, document.get("model_file_sha256"))
        else:
            check_name("model", name[:100], MODELS)
        paper = next(iter(presets_of(name).values()))
        known = [field.name for field in dataclasses.fields(paper)]
        for field in fields:
            check_name(f"config field of {name}", field[:100], known)
        config = dataclasses.replace(paper, **fields)
        grouping = document["grouping"]
        dataclasses.replace(config, stems=grouping)  # checks that they are texts
        if stem_names(grouping) != config.stems:
            raise InputError(
                f"the stems are {', '.join(config.stems)} in config, and "
                f"{', '.join(grouping)} in grouping. {COPY}"
            )
        return outline(class_of(name), config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _digest(document: Mapping[str, Any]) -> str:
    """Hash of all in a JSON that determines what a model computes."""
    parts = as_json([document["model"], document["config"], document["grouping"]])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _matching_file(
    path: Path, document: Mapping[str, Any], own: Mapping[str, Tensor]
) -> Path:
    """The file of the tensors that belong to a JSON, which an interrupted save moved.

    Its sizes are compared first, so a file of any size is refused at once.
    """
    errors = []
    for file in filter(Path.exists, (path, previous(path))):
        try:
            _check_file(file, document, own)
            return file
        except CheckpointError as error:
            errors.append(error)
    if not errors:
        raise CheckpointError(f"there is no file {path.absolute()}. Copy it again.")
    if previous(path.with_suffix(".json")).exists():
        raise CheckpointError(
            f"{errors[0]} Or load the version before it: {previous(path).name}."
        ) from errors[0]
    raise errors[0]


def _check_file(
    file: Path, document: Mapping[str, Any], own: Mapping[str, Tensor]
) -> None:
    with open_safetensors(file) as tensors:
        weights = {n: tensors[n] for n in tensors if not n.startswith(EXTRA)}
        described = tensors.facts.get(CONFIG)
        check_weights(own, weights, str(file), document["model"])
    most = MOST_EXTRA * sum(tensor.nbytes for tensor in own.values()) + 2**26
    if file.stat().st_size > most:
        raise CheckpointError(
            f"{file.absolute()} has {file.stat().st_size / 1e9:.3g} GB, and a training "
            f"with its config keeps at most {most / 1e9:.3g} GB. Copy it again."
        )
    if (digest := file_sha256(file)) != document["sha256"]:
        raise CheckpointError(
            f"{file.absolute()} is damaged: its sha256 is {digest}, and the JSON has "
            f"{document['sha256'][:64]}. Copy the file again from its source."
        )
    # Files of version 0.1 do not have it.
    if described not in (None, _digest(document)):
        raise CheckpointError(
            f"{file.with_suffix('.json').absolute()} was changed after it was saved: "
            "its model, config or grouping is not what the tensors were saved with. "
            f"{COPY}"
        )


def _by_part(names: set[str]) -> str:
    """Count names by their first part: '14 (encoder: 12, output: 2)'."""
    counts = Counter(name.split(".")[0][:40] for name in sorted(names))
    parts = [f"{part}: {n}" for part, n in counts.most_common(8)]
    more = ["…"] if len(counts) > 8 else []
    return f"{len(names)} ({', '.join(parts + more)})"
