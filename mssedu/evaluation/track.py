"""All scores of one track: every row against the same true stems.

    silence   what an empty estimate scores: 0 dB usdr
    mixture   what doing nothing scores
    model     the estimates: of a model, or of files
    ibm, irm, mwf    what oracles score, which were shown the answer

A model below the upper of the first two has learned nothing; the oracles are the
ceiling of their kind. Rows are made, scored and forgotten one after the other, so that
memory holds one estimate at a time. Notebook: 04.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mssedu.audio.tensors import rms_db
from mssedu.data.check import check_parts
from mssedu.data.track import REST, Track, is_source
from mssedu.errors import check_finite
from mssedu.evaluation import oracles
from mssedu.evaluation.estimates import fitted
from mssedu.evaluation.museval_json import museval_frames
from mssedu.metrics.table import CAP, METRICS, Sounds, score

ROWS = {
    "silence": "zeros as the estimate of every stem",
    "mixture": "the mixture as the estimate of every stem",
    "model": "the estimates",
    **oracles.DEFINITIONS,
}
QUIETEST = -150.0  # dB below full scale, instead of -inf for digital silence
Scores = Mapping[str, float | None]  # stem -> score; None where it is not defined


@dataclass(frozen=True)
class Job:
    """What is to be computed of every track."""

    stems: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    align: bool = False  # take out the lag of the estimates
    museval: bool = False  # frames of BSS Eval for museval too
    grouping: tuple[
        str, ...
    ] = ()  # what each stem is made of, see `mssedu.models.stems`

    @property
    def definitions(self) -> dict[str, Any]:
        """What the numbers mean: they compare where this is the same."""
        return {
            "metrics": {name: METRICS[name].describe() for name in self.metrics},
            "rows": {name: ROWS[name] for name in self.rows},
            "oracles_version": oracles.VERSION,
            "align": self.align,
        }


@dataclass(frozen=True)
class TrackScores:
    """The scores of one track."""

    name: str
    split: str | None
    seconds: float
    audio_sha256: str  # of the track, see `content_sha256`
    scores: Mapping[str, Mapping[str, Scores]]  # metric -> row -> stem
    at_silence: Mapping[str, Mapping[str, float]]  # silent stem -> row -> level, dBFS
    capped: Sequence[str]  # "metric row stem" of ratios that are ±100 dB by cap
    lag: int = 0  # samples by which the estimates came late, taken out
    museval: Mapping[str, Any] | None = None  # frames of the estimates

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def score_track(
    track: Track, estimates: Tensor | None, content: str, job: Job
) -> TrackScores:
    """Score one track; may run in another process.

    Args:
        track: with the stems of the job.
        estimates: (stems, channels, samples); None if there is no row for them.
        content: hash of the track.
        job: what to compute.

    Raises:
        InputError: NaN or Inf in the audio, or estimates that do not fit.
    """
    track = track.in_memory()  # read below as stems and as mixture: decode once
    rate = track.sample_rate
    references = torch.stack([track.stem(stem) for stem in job.stems])
    mixture, others = track.mixture(), _others(track)
    for stem, audio in (*zip(job.stems, references, strict=True), *others.items()):
        check_finite(_where(track, stem), audio, rate)
    check_finite(_where(track, "mixture"), mixture, rate)
    parts = torch.stack([*references, *others.values()])
    names = (*job.stems, *(name for name in others if name != REST))  # it is the last
    check_parts(f"evaluate {track.name}", names, parts[: len(names)])
    lag = 0
    if estimates is not None:
        estimates, lag = fitted(track, references, estimates, job.align)
    silent = [i for i in range(len(job.stems)) if not references[i].any()]
    scores: dict[str, dict[str, Scores]] = {name: {} for name in job.metrics}
    levels: dict[str, dict[str, float]] = {job.stems[i]: {} for i in silent}
    capped: list[str] = []
    frames = None
    for row in job.rows:
        estimate = _estimate(row, references, parts, mixture, estimates, rate)
        sounds = Sounds(references, estimate, mixture, rate)
        for name, values in score(job.metrics, sounds).items():
            pairs = list(zip(job.stems, values, strict=True))
            scores[name][row] = {stem: _stored(value) for stem, value in pairs}
            capped += [f"{name} {row} {s}" for s, x in pairs if _is_capped(name, x)]
        for i in silent:
            levels[job.stems[i]][row] = max(rms_db(estimate[i]), QUIETEST)
        if row == "model" and job.museval:
            frames = museval_frames(sounds, job.stems)
    name, split, seconds = track.name, track.split, track.duration
    return TrackScores(
        name, split, seconds, content, scores, levels, capped, lag, frames
    )


def _others(track: Track) -> dict[str, Tensor]:
    """What is in the mixture beside the scored stems, (channels, samples) each.

    The rest of the mixture is one of the parts, unless only a codec made it: then it is
    no source, and in no oracle of the field.
    """
    parts = {name: track.stem(name) for name in track.unselected}
    if REST in parts and not is_source(parts[REST], track.mixture()):
        del parts[REST]
    return parts


def _estimate(
    row: str,
    sources: Tensor,
    parts: Tensor,
    mixture: Tensor,
    model: Tensor | None,
    rate: int,
) -> Tensor:
    if row == "silence":
        return torch.zeros_like(sources)
    if row == "mixture":
        return mixture.expand_as(sources)
    if row == "model":
        assert model is not None, "evaluate gives estimates wherever there is this row"
        return model
    return oracles.oracle_estimate(row, parts, mixture, rate)[: len(sources)]


def _is_capped(metric: str, value: float) -> bool:
    """Whether a ratio had no finite value: nothing is wrong, or nothing is right."""
    at_cap = METRICS[metric].unit == "dB" and value >= CAP
    return math.isinf(value) or at_cap


def _stored(value: float) -> float | None:
    """A number that JSON can hold; None where there is no score."""
    if math.isnan(value):
        return None
    return math.copysign(CAP, value) if math.isinf(value) else value


def _where(track: Track, part: str) -> str:
    """The file of a part, for messages."""
    files = [str(file.path) for file in track.files if file.stem == part]
    return f"evaluate {track.name}, {part}" + (f" ({files[0]})" if files else "")
