"""Checks before the first step, and scores while a model trains.

    songs, model, config ─▶ Songs.of ─▶ rehearse ─▶ do_nothing_scores ─▶ step 1 …
    model, validation songs ─▶ validate, every few hundred steps

Each mistake that the checks find would otherwise cost the run. The score is usdr of
whole validation tracks; the weights with the best score are saved.
`mssedu.evaluate` makes full reports, with more definitions and confidence intervals.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mssedu.data.check import check_mixtures
from mssedu.data.segments import RandomSegments
from mssedu.data.track import Track, data_sha256, track_sha256
from mssedu.errors import DatasetError, InputError, SetupError, check_finite
from mssedu.metrics.ratios import usdr
from mssedu.models.contract import ModelConfig, config_of, grouping_of, pick_device
from mssedu.separation.tensors import is_out_of_memory, separate
from mssedu.training.config import TrainConfig
from mssedu.weights.checkpoint import model_name

NO_VALID = "--no-valid (valid_tracks=None in Python)"


# ---- songs, model and config --------------------------------------------------------


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
        """Select the stems, and check names and files.

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
        """Hashes of the songs, by which a resumed run checks that they are the same."""
        valid = None if self.valid is None else data_sha256(self.valid)
        return {"train": data_sha256(self.train), "valid": valid}


def with_stems_of(model: nn.Module, config: TrainConfig) -> TrainConfig:
    """The config with the model's stems and what each is made of.

    Raises:
        InputError: the config has other stems, or the same in another order.
    """
    stems = grouping_of(model)
    if config.stems is not None and tuple(config.stems) != stems:
        raise InputError(
            f"the config has the stems {', '.join(config.stems)}, and the model "
            f"{', '.join(stems)}. Leave stems out of TrainConfig, or create the model "
            "with those of the config."
        )
    return replace(config, stems=stems)


def check_run(
    model: nn.Module,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
) -> None:
    """Check that model, tracks and config have the same stems and formats.

    Raises:
        InputError: model and config differ in architecture or stems.
        DatasetError: no tracks, or a track of another format or without a stem.
    """
    model_config = config_of(model)
    if model_name(model) != config.model:
        raise InputError(
            f"the config is for {config.model!r}, and the model is a "
            f"{model_name(model)!r}. Set TrainConfig(model={model_name(model)!r}): "
            "every checkpoint states it."
        )
    with_stems_of(model, config)
    if not train_tracks:
        raise DatasetError("train_tracks is empty. Check the path of the data set.")
    if valid_tracks is not None and not valid_tracks:
        raise DatasetError(
            "valid_tracks is empty. Add songs, or train without validation: "
            f"{NO_VALID}."
        )
    for track in (*train_tracks, *(valid_tracks or ())):
        _check_track(track, model_config)


def _check_track(track: Track, model_config: ModelConfig) -> None:
    missing = [stem for stem in model_config.stems if stem not in track.stems]
    if missing:
        raise DatasetError(
            f"track {track.name!r} has no stem {', '.join(missing)}; it has "
            f"{', '.join(track.stems)}. Group or rename stems with Track.with_stems."
        )
    wanted_format = (model_config.sample_rate, model_config.channels)
    if (track.sample_rate, track.channels) != wanted_format:
        values = f"sample_rate={track.sample_rate} channels={track.channels}"
        raise DatasetError(
            f"track {track.name!r} has {track.sample_rate} Hz and {track.channels} "
            f"channels, the model {model_config.sample_rate} Hz and "
            f"{model_config.channels} channels. Give the model the format of the songs "
            f"with --set {values} (fields of create_model in Python), or convert the "
            "songs."
        )


def check_apart(train_tracks: Sequence[Track], valid_tracks: Sequence[Track]) -> None:
    """Check that no song is in training and in validation, whatever its name is.

    Raises:
        DatasetError: a validation song with a file of a training song (links are
            followed), or with the same content.
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
        raise DatasetError(
            f"{len(same)} validation songs are training songs too: "
            f"{', '.join(same[:5])}{more}. Validate on other songs with --valid-data, "
            f"or train without validation: {NO_VALID}."
        )


def _files(track: Track) -> set[Path]:
    return {file.path.resolve() for file in track.files}


# ---- the first step, tried on a copy -------------------------------------------------


@contextmanager
def enough_memory(config: TrainConfig) -> Iterator[None]:
    """While open, an error of too little memory says what to change.

    Raises:
        SetupError: no memory left on the device or, for the examples, on the CPU.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise SetupError(
            f"the memory of {pick_device(config.device)} is too small for "
            f"{config.batch_size} × {config.segment:g} s. Halve --batch-size or "
            "--segment, or use --precision bfloat16 (batch_size, segment, precision in "
            "Python)."
        ) from error


def rehearse(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    error_of: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    """Run one step and one separation on a copy: they would fail later, too.

    Args:
        model: on the device where it will train; it is not changed.
        segments: training examples.
        valid_tracks: the first one is separated, one segment long.
        config: gives the size of the batch.
        error_of: model and sources -> loss, as in the steps.

    Raises:
        InputError: a loss or gradient that is not finite.
    """
    model = copy.deepcopy(model).train()
    device = next(model.parameters()).device
    sources = torch.stack([segments[item] for item in range(config.batch_size)])
    value = error_of(model, sources.to(device))
    value.backward()
    norm = nn.utils.get_total_norm(
        [p.grad for p in model.parameters() if p.grad is not None]
    )
    if not (value.isfinite() and norm.isfinite()):
        raise InputError(
            f"the first batch gives the loss {value.item():.3g} and the gradient norm "
            f"{norm.item():.3g}, and both must be finite. Look for NaN in the data and "
            "in the weights of the model."
        )
    if valid_tracks:
        excerpt = valid_tracks[0].mixture(0.0, config.segment)
        separate(model, excerpt)


# ---- scores -------------------------------------------------------------------------


def validate(model: nn.Module, tracks: Sequence[Track], stems: Sequence[str]) -> Tensor:
    """Separate whole tracks and score them.

    Args:
        model: on any device; it runs in eval mode, and then returns to its mode.
        tracks: with these stems.
        stems: of the model, in its order.

    Returns:
        (tracks, stems) usdr, dB; NaN where the reference is silent.

    Raises:
        InputError: the model's output is not finite (`do_nothing_scores` has checked
            the tracks).
    """
    scores = []
    for track in tracks:
        reference = torch.stack([track.stem(stem) for stem in stems])
        estimate = separate(model, track.mixture())
        scores.append(usdr(reference=reference, estimate=estimate))
    return torch.stack(scores)


def do_nothing_scores(
    tracks: Sequence[Track] | None, stems: Sequence[str]
) -> dict[str, float]:
    """Mean usdr without a model: the mixture as every estimate, and silence.

    Returns:
        "mixture" and "silence" in dB; empty if `tracks` is None.

    Raises:
        DatasetError: no stem of any track is audible, so that no score exists.
        InputError: NaN or Inf in a track.
    """
    if tracks is None:
        return {}
    scores = torch.stack([_without_model(track, stems) for track in tracks])
    mixture, silence = scores.unbind(1)
    if mixture.isnan().all():
        raise DatasetError(
            "all stems of the validation songs are silent, so they have no score. "
            "Choose other songs with --valid-data, or train without validation: "
            f"{NO_VALID}."
        )
    return {"mixture": float(mixture.nanmean()), "silence": float(silence.nanmean())}


def _without_model(track: Track, stems: Sequence[str]) -> Tensor:
    """(2, stems) dB of one track: the mixture as every estimate, and silence."""
    mixture = track.mixture()
    where = f"validation track {track.name!r}"
    check_finite(where, mixture, track.sample_rate)
    reference = torch.stack([track.stem(stem) for stem in stems])
    estimates = (mixture.expand_as(reference), torch.zeros_like(reference))
    return torch.stack([usdr(reference=reference, estimate=e) for e in estimates])
