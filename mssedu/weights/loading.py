"""Load a model by its published name, from a file, or from the folder of a run.

    name ─▶ download, checksum ─┐
    file of another program ────┼─▶ foreign: read safely ─▶ convert: config ─▶ model
    folder of Open-Unmix ───────┘
    own checkpoint, run folder ─────────────────────────▶ checkpoint ────────▶ model

A small model of our own is in the folder data/models of the repository, so its name
needs no download. A published name with several files becomes a `Bag`, or one model
with a network per file, if each file has one stem. The names are in the table of
`mssedu.weights.published`.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from mssedu.audio.disk import cache_folder
from mssedu.audio.download import Progress, fetch
from mssedu.audio.repository import data_folder
from mssedu.errors import CheckpointError, DownloadError, InputError, check_name
from mssedu.models import MODELS
from mssedu.models.contract import config_of, grouping_of, shown
from mssedu.models.own import load_file
from mssedu.models.registry import class_of, create_model, model_config
from mssedu.models.sizes import outline
from mssedu.weights.checkpoint import check_weights, load_checkpoint, load_weights
from mssedu.weights.convert import (
    OPEN_UNMIX,
    Ported,
    join_stems,
    port,
    port_open_unmix,
    stem_names,
)
from mssedu.weights.ensemble import Bag
from mssedu.weights.foreign import Weights, read_weights
from mssedu.weights.onnx_model import load_onnx
from mssedu.weights.published import PUBLISHED, Published, WeightFile
from mssedu.weights.untrusted import odd_content, read_json

Log = Callable[[str], None]
PER_STEM = ("bsrnn", "mdx_net")  # models with a network, and a file, per stem


def list_pretrained() -> list[str]:
    """The published names that `load_model` can load, sorted.

    Example:
        >>> "htdemucs" in list_pretrained()
        True
    """
    return sorted(name for name, entry in PUBLISHED.items() if not entry.refused)


def table_rows() -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """Head and rows of a table of all published checkpoints.

    Where one cannot be loaded, its row says why.
    """
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
    model_file: str | Path | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """Load a model, in eval mode on the CPU.

    Args:
        source: a name of `list_pretrained`; a .safetensors, .th, .pth or .pt file; a
            run folder; a folder of Open-Unmix with its separator.json.
        weights: for a published name, a local file (of several files: their folder) to
            use instead of a download.
        stems: names of the outputs, in order, for a file that does not name them; for a
            folder of Open-Unmix, the stems to load.
        model_file: for a checkpoint of a model of yours, the .py file with its class,
            which is run (see `mssedu.models.own`).
        log: is called with a line on the license and the checksum of published weights.
        progress: is called with bytes done and total bytes of each file downloaded.

    Raises:
        CheckpointError: nothing there, a damaged or unsafe file, or weights that no
            model of ours can hold.
        DownloadError: no connection, or an address that gives another file.
        InputError: neither a file nor a published name, or other stems than those that
            the file names.
    """
    name = str(source)
    if model_file is not None:
        load_file(model_file)
    if name in PUBLISHED:  # a file of that name is reached as ./name
        model = _load_published(name, weights, log, progress)
    elif weights is not None:
        raise InputError(
            f"{name!r} is not a published name, and weights is only for these: "
            f"{', '.join(list_pretrained())}. Give the file alone, as the source."
        )
    else:
        model = _load_path(source, stems, log)
    own = grouping_of(model)
    if stems and tuple(stems) not in (own, config_of(model).stems):
        raise InputError(
            f"{name} names its stems itself: {', '.join(own)}. The stems "
            f"{', '.join(stems)} were asked for. Leave stems out."
        )
    return model


def _load_path(
    source: str | Path, stems: Sequence[str] | None, log: Log | None
) -> nn.Module:
    name, path = str(source), Path(source)
    # Unlike Path.exists, it takes names that no file can have.
    exists = os.path.exists(path)  # noqa: PTH110
    if not exists and (os.sep in name or path.suffix):  # it looks like a path
        raise InputError(
            f"there is no file or folder {shown(name)}. Check the path, or choose a "
            f"published name: {', '.join(list_pretrained())}."
        )
    if not exists and name in MODELS:
        raise InputError(
            f"{name} is a model without weights. Train it: mssedu train SONGS --model "
            f"{name}, and give the folder of the run; or choose a published name: "
            f"{', '.join(list_pretrained())}."
        )
    if not exists:
        check_name("file, run folder or published name", name, list_pretrained())
    if path.is_dir() and (path / "separator.json").exists():
        return _build(_open_unmix_folder(path, stems), name)
    if path.suffix == ".onnx" and not path.is_dir():
        return load_onnx(path, log)
    has_json = path.suffix == ".safetensors" and path.with_suffix(".json").exists()
    if path.is_dir() or path.suffix == ".json" or has_json:
        return load_checkpoint(path)
    return _build(_port_file(path, stems), name)


def _load_published(
    name: str, local: str | Path | None, log: Log | None, progress: Progress | None
) -> nn.Module:
    entry = PUBLISHED[name]
    if entry.refused:
        raise CheckpointError(
            f"mssedu cannot load {name!r}: {entry.refused}. Choose one of: "
            f"{', '.join(list_pretrained())}."
        )
    if entry.shipped and local is None:
        local = data_folder() / "models"
    paths = _fetch(name, log, progress) if local is None else _local(entry, local)
    if log:
        log(f"{name}: license {entry.license}")
        if entry.trained_on_test:
            log(f"{name}: trained on {entry.trained_on}, so no score on it counts")
    if entry.shipped:
        return load_checkpoint(paths[0])
    if entry.model == "open_unmix":
        files = zip(entry.stems, paths, strict=True)
        states = {stem: _read(path).state for stem, path in files}
        return _build(port_open_unmix(states, name, **entry.config), name)
    if entry.model in PER_STEM and len(paths) > 1:
        files = zip(entry.stems, paths, strict=True)
        parts = [_port_published(name, path, (stem,)) for stem, path in files]
        return _build(join_stems(parts, name), name)
    models = [
        _build(_port_published(name, path, entry.stems), str(path)) for path in paths
    ]
    return models[0] if len(models) == 1 else Bag(models, entry.weights).eval()


def _port_published(name: str, path: Path, stems: tuple[str, ...]) -> Ported:
    """The weights in a file of a published name, which must be of its model."""
    entry, ported = PUBLISHED[name], _port_file(path, stems)
    if (ported.model, ported.config["stems"]) != (entry.model, stems):
        raise CheckpointError(
            f"{path} holds a {ported.model} with "
            f"{', '.join(ported.config['stems'])}, but {name} is a {entry.model} "
            f"with {', '.join(stems)}. Give the file of {name}."
        )
    ported.config.update(entry.config)
    return ported


def _local(entry: Published, path: str | Path) -> list[Path]:
    if len(entry.files) == 1 and not Path(path).is_dir():
        return [Path(path)]
    return [Path(path) / file.name for file in entry.files]


def _fetch(name: str, log: Log | None, progress: Progress | None) -> list[Path]:
    entry, paths = PUBLISHED[name], []
    if entry.page:
        raise CheckpointError(
            f"the weights of {name} cannot be downloaded by mssedu: the addresses of "
            f"their files are not known here. Download "
            f"{', '.join(file.name for file in entry.files)} from {entry.page}, and "
            f"give their folder: load_model({name!r}, weights=FOLDER)."
        )
    for file in entry.files:
        path = cache_folder() / "weights" / file.name
        new = not path.exists()
        digest = _fetch_file(file, path, progress)
        if log and new:
            check = "no published hash or size to compare with"
            if file.sha256:
                check = f"agrees with the {len(file.sha256)} published digits"
            elif file.size:
                check = f"no published hash; it has the published {file.size} bytes"
            log(f"{path}: sha256 {digest} ({check})")
        paths.append(path)
    return paths


def _fetch_file(file: WeightFile, path: Path, progress: Progress | None) -> str:
    """The sha256 of a file, from the first of its addresses that gives it."""
    errors = []
    for address in (file.address, *file.mirrors):
        try:
            digest = fetch(
                address, path, sha256=file.sha256, size=file.size, progress=progress
            )
        except DownloadError as error:
            errors.append(error)
            continue
        size = path.stat().st_size
        if not file.sha256 and file.size not in (None, size):
            raise DownloadError(
                f"{path.absolute()} has {size} bytes, but {file.size} are published. "
                "Remove the file to download it again."
            )
        return digest
    if len(errors) == 1:
        raise errors[0]
    reasons = "".join(f"\n{error}" for error in errors)
    raise DownloadError(
        f"none of the {len(errors)} addresses gives {file.name}. What they "
        f"said:{reasons}"
    ) from errors[0]


def _port_file(path: Path, stems: Sequence[str] | None) -> Ported:
    weights = _read(path)
    if weights.klass is None and weights.state.keys() >= OPEN_UNMIX:
        # One stem, which names the file: vocals-b62c91ce.pth, vocals.pth
        target = path.stem.replace("_", "-").partition("-")[0]
        (stem,) = stem_names(stems or (target,), 1, str(path))
        return port_open_unmix({stem: weights.state}, str(path))
    return port(weights, str(path), stems)


def _open_unmix_folder(folder: Path, stems: Sequence[str] | None) -> Ported:
    """Open-Unmix as it saves itself: separator.json, and .json and .pth per target."""
    path = folder / "separator.json"
    with odd_content(path, "the JSON of an Open-Unmix separator"):
        settings = read_json(path)
        rate, hop_length = int(settings["sample_rate"]), int(settings["nhop"])
    targets = {path.stem for path in folder.glob("*.json")} - {"separator"}
    usual = [stem for stem in ("vocals", "drums", "bass") if stem in targets]
    order = [*usual, *sorted(targets.difference(usual))]
    states = {}
    for stem in stems or order:
        names = sorted(f.name for f in folder.iterdir() if f.suffix == ".pth")
        paths = [folder / name for name in names if name.startswith(stem)]
        if len(paths) != 1:
            got = ", ".join(path.name for path in paths) or "none"
            raise CheckpointError(
                f"{folder} must hold one file {stem}*.pth, got {got}. Its separator "
                f"has the stems {', '.join(order)}."
            )
        states[stem] = _read(paths[0]).state
    return port_open_unmix(states, str(folder), rate, hop_length)


def _read(path: Path) -> Weights:
    return read_weights(path, as_stored=True)  # no memory until `_build` has compared


def _build(ported: Ported, where: str) -> nn.Module:
    try:
        config = model_config(ported.model, **ported.config)
        kind = class_of(ported.model)
        check_weights(outline(kind, config), ported.state, where, kind.__name__)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    model = create_model(ported.model, **ported.config)
    load_weights(model, ported.state, where)
    return model.eval()
