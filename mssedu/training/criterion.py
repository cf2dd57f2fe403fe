"""What says that weights are the best: a named metric, on the same excerpts each time.

    validation songs ─ valid_tracks, valid_seconds ─▶ excerpts ─┬─▶ usdr
                                                                └─▶ loss ─▶ better?

`METRICS` has the direction of each metric: usdr is better if it is higher, the loss if
it is lower. NaN is never better.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.data.track import Track
from mssedu.errors import InputError
from mssedu.models.contract import config_of, eval_mode
from mssedu.training.config import TrainConfig
from mssedu.training.distributed import gathered, own

METRICS = {"usdr": 1, "valid_loss": -1}  # 1: the higher the better; -1: the lower
N_PIECES = 8  # of a song for the loss, at most
Value = Callable[..., Tensor]


def is_better(metric: str, new: float | None, old: float | None) -> bool:
    """Whether a value of a metric is better than another; any number is, than None.

    Example:
        >>> is_better("usdr", 5.0, 4.0), is_better("valid_loss", 5.0, 4.0)
        (True, False)
    """
    if new is None or not math.isfinite(new):
        return False
    if old is None or not math.isfinite(old):
        return True
    return METRICS[metric] * (new - old) > 0


def improvements(history: Sequence[Mapping[str, Any]], metric: str) -> list[bool]:
    """For each validation, whether it was the best one until then.

    Example:
        >>> improvements([{"usdr": 1.0}, {"usdr": 3.0}, {"usdr": 2.0}], "usdr")
        [True, True, False]
    """
    best, found = None, []
    for entry in history:
        value = entry.get(metric)
        found.append(is_better(metric, value, best))
        best = value if found[-1] else best
    return found


def check_validated(config: TrainConfig, tracks: Sequence[Track] | None) -> None:
    """Raise InputError if there is no validation, and the settings need one."""
    needs = {
        "early_stop": config.early_stop,
        "schedule plateau": config.schedule == "plateau",
        "best_metric valid_loss": config.best_metric == "valid_loss",
    }
    wanted = [name for name, needed in needs.items() if needed]
    if tracks is None and wanted:
        raise InputError(
            f"{wanted[0]} needs a validation, and there is none. Give songs with "
            "--valid-data (valid_tracks in Python)."
        )


def excerpts_of(tracks: Sequence[Track], config: TrainConfig) -> list[Track]:
    """What a validation separates: `valid_tracks` songs, `valid_seconds` of each.

    The songs are evenly chosen from the list, the seconds are from the middle. Both are
    the same in each validation and each run.
    """
    n = min(config.valid_tracks or len(tracks), len(tracks))
    chosen = [tracks[i * len(tracks) // n] for i in range(n)]
    return [_middle(track, config.valid_seconds) for track in chosen]


def _middle(track: Track, seconds: float) -> Track:
    """The middle of a track, in memory; the track itself if it is no longer."""
    if not seconds or seconds >= track.duration:
        return track
    start = (track.duration - seconds) / 2
    present = {stem: track.stem(stem, start, seconds) for stem in track.present}
    excerpt = Track.from_audio(
        track.name,
        present,
        track.sample_rate,
        mixture=track.mixture(start, seconds),
        split=track.split,
        absent=track.absent,
    )
    return dataclasses.replace(excerpt, stems=track.stems)


@torch.no_grad()
def validation_loss(
    model: nn.Module, tracks: Sequence[Track], config: TrainConfig, value: Value
) -> float | None:
    """Mean loss of pieces as long as in training, of 8 evenly spread in each song.

    Args:
        model: on any device; it runs in eval mode, and then returns to its mode.
        tracks: the excerpts of the validation.
        value: takes model, sources and `present`: `batch_loss` with config and loss.

    Returns:
        a mean over songs; None if there is none with a stem.
    """
    stems, device = config_of(model).stems, next(model.parameters()).device
    means = torch.full((len(own(tracks)), 1), torch.nan)
    with eval_mode(model):
        for row, track in zip(means, own(tracks), strict=True):
            track = track.with_stems(stems)
            if not track.present:
                continue
            length = min(config.segment, track.duration)
            n = min(max(int(track.duration / length), 1), N_PIECES)
            gap = (track.duration - length) / max(n - 1, 1)
            losses = []
            for piece in range(n):
                sources = track.sources(piece * gap, length)
                mixture = track.mixture(piece * gap, length)
                rest = mixture - sources.sum(0)
                parts = torch.cat([sources, rest[None]])[None].to(device)
                present = [stem not in track.absent for stem in (*stems, "")]
                losses.append(value(model, parts, present=torch.tensor([present])))
            # NaN stands for a song without a stem, and never for a loss.
            row.fill_(torch.stack(losses).mean().nan_to_num(torch.inf, torch.inf))
    means = gathered(means, len(tracks))
    return None if means.isnan().all() else float(means.nanmean())
