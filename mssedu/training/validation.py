"""Scores while a model trains: usdr of whole validation tracks, best of which is kept.

Full reports, with more definitions and confidence, are made by `mssedu.evaluate`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mssedu.checks import DatasetError, message
from mssedu.datasets.track import Track
from mssedu.metrics import usdr
from mssedu.separate import separate


def validate(model: nn.Module, tracks: Sequence[Track], stems: Sequence[str]) -> Tensor:
    """Separate whole tracks and score them.

    Args:
        model: on any device; run in eval mode, then set back.
        stems: of the model, in its order.

    Returns:
        (tracks, stems) usdr, dB; NaN where the reference is silent.

    Raises:
        InputError: the model's output is not finite.
    """
    return torch.stack(
        [_score(track, stems, separate(model, track.mixture())) for track in tracks]
    )


def do_nothing_scores(
    tracks: Sequence[Track], stems: Sequence[str]
) -> dict[str, float]:
    """Mean usdr without any model: the mixture as every estimate, and silence.

    Raises:
        DatasetError: no stem of any track is audible, so that no score exists.
    """
    mixture = torch.stack([_score(track, stems, track.mixture()) for track in tracks])
    silence = torch.stack([_score(track, stems, torch.zeros(1)) for track in tracks])
    if mixture.isnan().all():
        remedy = "Choose other validation tracks, or pass valid_tracks=None."
        wanted = "an audible stem in the validation tracks"
        raise DatasetError(message("fit", wanted, "silence only", remedy))
    return {"mixture": float(mixture.nanmean()), "silence": float(silence.nanmean())}


def _score(track: Track, stems: Sequence[str], estimate: Tensor) -> Tensor:
    """(stems) dB of one track."""
    reference = torch.stack([track.stem(stem) for stem in stems])
    return usdr(reference=reference, estimate=estimate.expand_as(reference))
