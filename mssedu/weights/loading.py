"""Load a model, wherever it is: by its published name, from a file or a run folder.

    name ─▶ download, checksum ─┐
    file of another program ────┼─▶ foreign: read safely ─▶ official: config ─▶ model
    folder of Open-Unmix ───────┘
    own checkpoint, run folder ─────────────────────────▶ checkpoint ─────────▶ model

A published name with several files becomes a bag, or one Open-Unmix with a network per
file. The names are listed in `mssedu.weights.published`.
"""

import difflib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from mssedu.errors import CheckpointError, InputError, message
from mssedu.models.registry import create_model
from mssedu.weights.checkpoint import load_checkpoint, load_weights
from mssedu.weights.download import Progress, cache_folder, fetch
from mssedu.weights.ensemble import Bag
from mssedu.weights.foreign import read_weights
from mssedu.weights.official import Ported, port, port_open_unmix
from mssedu.weights.published import PUBLISHED, Published

Log = Callable[[str], None]


def list_pretrained() -> list[str]:
    """The published names that `load_model` can load, sorted.

    Example:
        >>> "htdemucs" in list_pretrained()
        True
    """
    return sorted(name for name, entry in PUBLISHED.items() if not entry.refused)


def table() -> str:
    """All published checkpoints in Markdown, with the reason where one cannot load."""
    head, rows = table_rows()
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table_rows() -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """Head and rows of `table`."""
    head = ("name", "model", "stems", "files", "trained on", "score, dB", "license")
    rows = []
    for name, entry in PUBLISHED.items():
        sizes = [file.size for file in entry.files]
        size = f", {sum(filter(None, sizes)) / 1e6:.0f} MB" if all(sizes) else ""
        facts = (name, entry.model, " ".join(entry.stems), f"{len(entry.files)}{size}")
        score = f"not loadable: {entry.refused}" if entry.refused else entry.score
        rows.append((*facts, entry.trained_on, score or "–", entry.license))
    return head, rows


def load_model(
    source: str | Path,
    *,
    weights: str | Path | None = None,
    stems: Sequence[str] | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """Load a model, in eval mode on the CPU.

    Args:
        source: a name of `list_pretrained`; a .safetensors, .th, .pth or .pt file; a
            run folder; a folder of Open-Unmix with its separator.json.
        weights: for a published name, a local file (of several files: their folder) to
            take instead of downloading.
        stems: names of the outputs, for a file that has none; of the targets to take,
            for a folder of Open-Unmix.
        log: is given a line on the license and the checksum of published weights.
        progress: is called with bytes done and bytes in all of each file fetched.

    Raises:
        CheckpointError: nothing there, no connection, a damaged or unsafe file, or
            weights that no model of ours can hold.
        InputError: neither a file nor a published name.
    """
    name = str(source)
    if name in PUBLISHED:  # a file of that name is reached as ./name
        return _load_published(name, weights, log, progress)
    if weights is not None:
        remedy = "Name the file alone, or one of the published checkpoints with it."
        wanted = f"one of {list_pretrained()} to go with weights"
        raise InputError(message("load_model", wanted, repr(name), remedy))
    path = Path(source)
    if not path.exists():
        raise _unknown(name)
    if path.is_dir() and (path / "separator.json").exists():
        return _build(_open_unmix_folder(path, stems), name)
    has_json = path.suffix == ".safetensors" and path.with_suffix(".json").exists()
    if path.is_dir() or path.suffix == ".json" or has_json:
        return load_checkpoint(path)
    return _build(_port_file(path, stems), name)


def _load_published(
    name: str, local: str | Path | None, log: Log | None, progress: Progress | None
) -> nn.Module:
    entry = PUBLISHED[name]
    if entry.refused:
        wanted = f"weights that a model of mssedu can hold: {list_pretrained()}"
        remedy = f"It is listed because it exists; {entry.refused}."
        raise CheckpointError(message("load_model", wanted, repr(name), remedy))
    if local is None:
        paths = _fetch(entry, log, progress)
    elif len(entry.files) == 1 and not Path(local).is_dir():
        paths = [Path(local)]
    else:
        paths = [Path(local) / file.name for file in entry.files]
    if log:
        log(f"{name}: license {entry.license}")
    if entry.model == "open_unmix":
        states = {
            stem: read_weights(path).state
            for stem, path in zip(entry.stems, paths, strict=True)
        }
        return _build(port_open_unmix(states, name, **entry.config), name)
    models = []
    for path in paths:
        ported = _port_file(path, entry.stems)
        if (ported.model, ported.config["stems"]) != (entry.model, entry.stems):
            got = f"{ported.model} with {', '.join(ported.config['stems'])}"
            wanted = f"the {entry.model} named {name}, with {', '.join(entry.stems)}"
            remedy = "Give the file that belongs to this name."
            raise CheckpointError(message(str(path), wanted, got, remedy))
        ported.config.update(entry.config)
        models.append(_build(ported, str(path)))
    return models[0] if len(models) == 1 else Bag(models, entry.weights).eval()


def _fetch(entry: Published, log: Log | None, progress: Progress | None) -> list[Path]:
    """The files of a checkpoint, from the cache or from their addresses."""
    paths = []
    for file in entry.files:
        path = cache_folder() / "weights" / file.name
        new = not path.exists()
        digest = fetch(file.address, path, sha256=file.sha256, progress=progress)
        if log and new:
            published = f"{len(file.sha256)} digits of it" if file.sha256 else "nothing"
            log(f"{path}: sha256 {digest} ({published} published to compare with)")
        paths.append(path)
    return paths


def _port_file(path: Path, stems: Sequence[str] | None) -> Ported:
    """Weights of a single file, brought to our names."""
    weights = read_weights(path)
    if weights.klass is None and {"fc1.weight", "input_mean"} <= weights.state.keys():
        # One target; the file is called after it: vocals-b62c91ce.pth, vocals.pth
        target = path.stem.replace("_", "-").partition("-")[0]
        return port_open_unmix({target: weights.state}, str(path))
    return port(weights, str(path), stems)


def _open_unmix_folder(folder: Path, stems: Sequence[str] | None) -> Ported:
    """Open-Unmix as it saves itself: separator.json, and .json and .pth per target."""
    settings = json.loads((folder / "separator.json").read_text("utf-8"))
    targets = {path.stem for path in folder.glob("*.json")} - {"separator"}
    usual = [stem for stem in ("vocals", "drums", "bass") if stem in targets]
    order = [*usual, *sorted(targets.difference(usual))]
    states = {}
    for stem in order if stems is None else stems:
        found = sorted(folder.glob(f"{stem}*.pth"))
        if len(found) != 1:
            got = [path.name for path in found]
            remedy = f"The folder has {order}."
            wanted = f"one file {stem}*.pth"
            raise CheckpointError(message(str(folder), wanted, got, remedy))
        states[stem] = read_weights(found[0]).state
    rate, hop_length = int(settings["sample_rate"]), int(settings["nhop"])
    return port_open_unmix(states, str(folder), rate, hop_length)


def _build(ported: Ported, where: str) -> nn.Module:
    model = create_model(ported.model, **ported.config)
    load_weights(model, ported.state, where)
    return model.eval()


def _unknown(name: str) -> InputError:
    """The error for what is neither a file nor a name."""
    near = difflib.get_close_matches(name, PUBLISHED, n=1, cutoff=0.4)
    looks_like_path = os.sep in name or Path(name).suffix
    remedy = "Check the path, or pick one of these names."
    if near and not looks_like_path:
        remedy = f"Did you mean {near[0]!r}?"
    wanted = f"a file, a run folder or one of {list_pretrained()}"
    got = f"{name!r}, and there is no such file"
    return InputError(message("load_model", wanted, got, remedy))
