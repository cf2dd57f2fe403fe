"""Scores while a model trains: usdr of whole validation tracks, best of which is kept.

Full reports, with more definitions and confidence, are made by `mssedu.evaluate`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mssedu.data.track import Track
from mssedu.errors import DatasetError, check_finite, message
from mssedu.metrics.ratios import usdr
from mssedu.separation.tensors import separate


def validate(model: nn.Module, tracks: Sequence[Track], stems: Sequence[str]) -> Tensor:
    """Separate whole tracks and score them.

    Args:
        model: on any device; run in eval mode, then set back.
        stems: of the model, in its order.

    Returns:
        (tracks, stems) usdr, dB; NaN where the reference is silent.

    Raises:
        InputError: the model's output is not finite; the tracks are, see
            `do_nothing_scores`.
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
    """Mean usdr without any model: the mixture as every estimate, and silence.

    None without tracks.

    Raises:
        DatasetError: no stem of any track is audible, so that no score exists.
        InputError: NaN or Inf in a track.
    """
    if tracks is None:
        return {}
    scores = torch.stack([_without_model(track, stems) for track in tracks])
    mixture, silence = scores.unbind(1)
    if mixture.isnan().all():
        remedy = (
            "Choose other songs with --valid-data, or train without them: --no-valid "
            "(valid_tracks=None in Python)."
        )
        wanted = "an audible stem in the validation tracks"
        raise DatasetError(message("fit", wanted, "silence only", remedy))
    return {"mixture": float(mixture.nanmean()), "silence": float(silence.nanmean())}


def _without_model(track: Track, stems: Sequence[str]) -> Tensor:
    """(2, stems) dB of one track: the mixture as every estimate, and silence."""
    mixture = track.mixture()
    where = f"validation track {track.name!r}"
    check_finite(where, mixture, track.sample_rate)
    reference = torch.stack([track.stem(stem) for stem in stems])
    estimates = (mixture.expand_as(reference), torch.zeros_like(reference))
    return torch.stack([usdr(reference=reference, estimate=e) for e in estimates])
