"""What must hold before the first training step.

Each check costs seconds; each mistake it finds would otherwise cost the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from mssedu.data.check import check_mixtures
from mssedu.data.track import Track, data_sha256, track_sha256
from mssedu.errors import DatasetError, InputError, SetupError, message
from mssedu.models.contract import ModelConfig, config_of, grouping_of
from mssedu.training.config import TrainConfig
from mssedu.weights.checkpoint import model_name


def pick_device(name: str) -> torch.device:
    """The device of that name; for "auto" the first of cuda, mps, cpu that is there.

    Raises:
        InputError: no such kind of device.
        SetupError: a kind of device that this machine or this torch lacks.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, found in there.items() if found))
    kind = name.split(":")[0]
    if kind not in there:
        wanted, remedy = f"auto or one of {sorted(there)}", "Use 'auto'."
        raise InputError(message("device", wanted, repr(name), remedy))
    if not there[kind]:
        remedy = "Run `mssedu doctor` to see why, or use device 'auto'."
        raise SetupError(message("device", f"a {kind} device", "none", remedy))
    return torch.device(name)


def with_stems_of(model: nn.Module, config: TrainConfig) -> TrainConfig:
    """The config with the model's stems and what each is made of.

    Raises:
        InputError: the config names others, or the same in another order.
    """
    stems = grouping_of(model)
    if config.stems is not None and tuple(config.stems) != stems:
        got = f"{config.stems} in TrainConfig"
        remedy = "Leave them out of TrainConfig, or create the model with them."
        raise InputError(message("fit", f"the model's stems {stems}", got, remedy))
    return replace(config, stems=stems)


def check_apart(train_tracks: Sequence[Track], valid_tracks: Sequence[Track]) -> None:
    """Check that no song is in training and in validation, under whatever name.

    Raises:
        DatasetError: a validation song with a file of a training song (links count as
            what they lead to), or with the same content.
    """
    owners = {path: track.name for track in train_tracks for path in _files(track)}
    contents = {track_sha256(track): track.name for track in train_tracks}
    same = []
    for track in valid_tracks:
        twins = {owners[path] for path in _files(track) if path in owners}
        twins |= {contents.get(track_sha256(track), "")} - {""}
        same += [f"{track.name} = {twin}" for twin in sorted(twins)]
    if same:
        more = f" and {len(same) - 5} more" if len(same) > 5 else ""
        got = f"{len(same)} of them in both: {', '.join(same[:5])}{more}"
        remedy = (
            "Validate on other songs with --valid-data, or not at all with --no-valid "
            "(valid_tracks=None in Python)."
        )
        wanted = "validation songs that are not trained on"
        raise DatasetError(message("fit", wanted, got, remedy))


def _files(track: Track) -> set[Path]:
    return {file.path.resolve() for file in track.files}


@dataclass(frozen=True)
class Songs:
    """The songs of a run, with the stems of its model selected."""

    train: list[Track]
    valid: list[Track] | None  # None: no validation

    @classmethod
    def of(
        cls,
        model: nn.Module,
        train_tracks: Sequence[Track],
        valid_tracks: Sequence[Track] | None,
        config: TrainConfig,
    ) -> "Songs":
        """Select the stems, and check what can be checked without listening.

        Raises:
            InputError, DatasetError: a song without one of the stems, or what
                `check_run` and `check_apart` find.
        """
        stems = grouping_of(model)
        train, valid = [track.with_stems(stems) for track in train_tracks], None
        if valid_tracks is not None:
            valid = [track.with_stems(stems) for track in valid_tracks]
        check_run(model, train, valid, config)
        check_mixtures(train)
        check_apart(train, valid or [])
        return cls(train, valid)

    def fingerprints(self) -> dict[str, str | None]:
        """By which a resumed run finds out whether its songs are the same."""
        valid = None if self.valid is None else data_sha256(self.valid)
        return {"train": data_sha256(self.train), "valid": valid}


def check_run(
    model: nn.Module,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
) -> None:
    """Check that model, tracks and config speak of the same stems and formats.

    Raises:
        InputError: model and config differ in architecture or stems.
        DatasetError: no tracks, a track without one of the stems, of another format, or
            in both sets.
    """
    model_config = config_of(model)
    if model_name(model) != config.model:
        remedy = f"Set TrainConfig(model={model_name(model)!r}): checkpoints quote it."
        wanted = f"a model {config.model!r} as in TrainConfig"
        raise InputError(message("fit", wanted, model_name(model), remedy))
    with_stems_of(model, config)
    _check_not_empty("train_tracks", train_tracks, "Check the path of the data set.")
    if valid_tracks is not None:
        remedy = "Add tracks, or pass valid_tracks=None to train without validation."
        _check_not_empty("valid_tracks", valid_tracks, remedy)
    for track in (*train_tracks, *(valid_tracks or ())):
        _check_track(track, model_config)


def _check_not_empty(name: str, tracks: Sequence[Track], remedy: str) -> None:
    if not tracks:
        raise DatasetError(message("fit", f"at least one of {name}", "none", remedy))


def _check_track(track: Track, model_config: ModelConfig) -> None:
    where = f"fit, track {track.name!r}"
    missing = [stem for stem in model_config.stems if stem not in track.stems]
    if missing:
        got = f"{track.stems}, without {missing}"
        remedy = "Group or rename stems with Track.with_stems."
        wanted = f"the stems {tuple(model_config.stems)}"
        raise DatasetError(message(where, wanted, got, remedy))
    wanted_format = (model_config.sample_rate, model_config.channels)
    if (track.sample_rate, track.channels) != wanted_format:
        wanted = "{} Hz and {} channels".format(*wanted_format)
        got = f"{track.sample_rate} Hz and {track.channels} channels"
        values = f"sample_rate={track.sample_rate} channels={track.channels}"
        remedy = (
            f"Give the model the format of the songs with --set {values} "
            "(fields of create_model in Python), or convert the songs."
        )
        raise DatasetError(message(where, wanted, got, remedy))
