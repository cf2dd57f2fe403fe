"""What must hold before the first training step.

Each check costs seconds; each mistake it finds would otherwise cost the run.
"""

from collections.abc import Sequence

import torch
from torch import nn

from mssedu.checkpoint import model_name
from mssedu.checks import DatasetError, InputError, SetupError, message
from mssedu.contract import ModelConfig, config_of
from mssedu.datasets.track import Track
from mssedu.training.config import TrainConfig


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
    if tuple(model_config.stems) != config.stems:
        remedy = "Use the same names in the same order for model and TrainConfig."
        got = f"{config.stems} in TrainConfig"
        wanted = f"the model's stems {tuple(model_config.stems)}"
        raise InputError(message("fit", wanted, got, remedy))
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
        remedy = "Resample the data set, or create the model with its sample_rate."
        raise DatasetError(message(where, wanted, got, remedy))
