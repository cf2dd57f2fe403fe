"""Checks before the first step, and scores while a model trains.

    songs, model, config ─▶ select_songs ─▶ do_nothing_scores ─▶ step 1 …
    model, validation songs ─▶ validate, every few hundred steps

Each mistake that the checks find would otherwise cost the run. The score is usdr of
whole validation tracks; the weights with the best score are saved.
`mssedu.evaluate` makes full reports, with more definitions and confidence intervals.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mssedu.data.check import are_solos, check_mixtures
from mssedu.data.track import Track, track_sha256
from mssedu.errors import DatasetError, InputError, SetupError, check_finite
from mssedu.metrics.ratios import usdr
from mssedu.models.contract import config_of, grouping_of, pick_device
from mssedu.models.names import short_name
from mssedu.separation.tensors import is_out_of_memory, separate
from mssedu.training.config import TrainConfig
from mssedu.training.distributed import gathered, own, raise_together
from mssedu.weights.checkpoint import model_name

NO_VALID = "--no-valid (valid_tracks=None in Python)"


# ---- songs, model and config --------------------------------------------------------


def with_stems_of(model: nn.Module, config: TrainConfig) -> TrainConfig:
    """The config with the model's stems and what each is made of.

    An InputError if it has another architecture, other stems or another order of them.
    """
    name, stems = model_name(model), grouping_of(model)
    if name != short_name(config.model):
        raise InputError(
            f"the config is for {config.model!r}, and the model is a {name!r}. Set "
            f"TrainConfig(model={name!r}): every checkpoint states it."
        )
    if config.stems is not None and tuple(config.stems) != stems:
        raise InputError(
            f"the config has the stems {', '.join(config.stems)}, and the model "
            f"{', '.join(stems)}. Leave stems out of TrainConfig, or create the model "
            "with those of the config."
        )
    return replace(config, stems=stems)


def select_songs(
    model: nn.Module,
    train_tracks: Sequence[Track],
    valid_tracks: Sequence[Track] | None,
    *,
    remix: bool = True,
) -> tuple[list[Track], list[Track] | None]:
    """The songs with the stems of the model, after all checks.

    An InputError if a song has no such stem, a DatasetError if there are no songs, if
    their format is not the model's, or what `check_mixtures` and `check_apart` find.
    """
    if not train_tracks:
        raise DatasetError("train_tracks is empty. Check the path of the data set.")
    if valid_tracks is not None and not valid_tracks:
        raise DatasetError(
            "valid_tracks is empty. Add songs, or train without validation: "
            f"{NO_VALID}."
        )
    stems, wanted = grouping_of(model), config_of(model)
    train = [track.with_stems(stems) for track in train_tracks]
    valid = [track.with_stems(stems) for track in valid_tracks or ()]
    for track in (*train, *valid):
        rate, channels = track.sample_rate, track.channels
        if (rate, channels) != (wanted.sample_rate, wanted.channels):
            raise DatasetError(
                f"track {track.name!r} has {rate} Hz and {channels} channels, the "
                f"model {wanted.sample_rate} Hz and {wanted.channels} channels. Give "
                f"the model the format of the songs with --set sample_rate={rate} "
                f"channels={channels} (fields of create_model in Python), or convert "
                "the songs."
            )
    check_mixtures(train, remix=remix)
    check_apart(train, valid)
    if any(track.absent for track in valid) and are_solos(valid):
        raise DatasetError(
            "each validation song is a recording of one stem, so that a copy of the "
            "input would have the best score. Validate on mixtures with --valid-data, "
            "such as those of mssedu data build, or train without validation: "
            f"{NO_VALID}."
        )
    return train, None if valid_tracks is None else valid


def check_apart(train_tracks: Sequence[Track], valid_tracks: Sequence[Track]) -> None:
    """Raise DatasetError if a validation song is also in training, under any name.

    It is if it has a file of a training song (links are followed) or the same content.
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


@contextmanager
def enough_memory(config: TrainConfig) -> Iterator[None]:
    """While open, a lack of memory on any device is a SetupError with the way out."""
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


# ---- scores -------------------------------------------------------------------------


def validate(model: nn.Module, tracks: Sequence[Track], stems: Sequence[str]) -> Tensor:
    """Separate whole tracks and score them.

    Of several processes, each separates some of the tracks.

    Args:
        model: on any device; it runs in eval mode, and then returns to its mode.
        tracks: with these stems.
        stems: of the model, in its order.

    Returns:
        (tracks, stems) usdr, dB; NaN where the reference is silent or absent. A song
        from which all stems are absent is not separated. All processes get all scores.

    Raises:
        InputError: the model's output is not finite (`do_nothing_scores` has checked
            the tracks).
    """
    scores = torch.full((len(own(tracks)), len(stems)), torch.nan)
    failure: InputError | None = None
    for row, track in zip(scores, own(tracks), strict=True):
        track = track.with_stems(stems)
        if not track.present:
            continue
        try:
            estimate = separate(model, track.mixture())
        except InputError as error:
            failure = error
            break
        row.copy_(usdr(reference=track.sources(), estimate=estimate))
    raise_together(failure)
    return gathered(scores, len(tracks))


def do_nothing_scores(
    tracks: Sequence[Track] | None, stems: Sequence[str]
) -> dict[str, float]:
    """Mean usdr without a model, over songs and stems.

    Returns:
        "mixture" and "silence" in dB; empty if `tracks` is None.

    Raises:
        DatasetError, InputError: see `do_nothing_table`.
    """
    tables = do_nothing_table(tracks, stems)
    return {name: float(table.nanmean()) for name, table in tables.items()}


def do_nothing_table(
    tracks: Sequence[Track] | None, stems: Sequence[str]
) -> dict[str, Tensor]:
    """Scores without a model: the mixture as every estimate, and silence.

    Returns:
        "mixture" and "silence", each as `validate` returns it; empty if `tracks` is
        None.

    Raises:
        DatasetError: no stem of any track is audible, so that no score exists.
        InputError: NaN or Inf in a track.
    """
    if tracks is None:
        return {}
    scores = []
    for track in tracks:
        mixture = track.mixture()
        check_finite(f"validation track {track.name!r}", mixture, track.sample_rate)
        reference = track.with_stems(stems).sources()
        estimates = (mixture.expand_as(reference), torch.zeros_like(reference))
        scores.append([usdr(reference=reference, estimate=e) for e in estimates])
    mixed, silent = (torch.stack(rows) for rows in zip(*scores, strict=True))
    if mixed.isnan().all():
        raise DatasetError(
            "all stems of the validation songs are silent or absent, so they have no "
            "score. Choose other songs with --valid-data, or train without validation: "
            f"{NO_VALID}."
        )
    return {"mixture": mixed, "silence": silent}
