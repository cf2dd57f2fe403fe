"""All scores of one track: every row against the same true stems.

    silence          scores of an empty estimate: 0 dB usdr
    mixture          scores of the unprocessed mixture as the estimate of every stem
    model            scores of the estimates, of a model or of files
    ibm, irm, mwf    scores of oracles, which use the true stems

A model that scores below silence or mixture has learned nothing; the oracles are the
upper limit of their kind.

A stem may be silent in a track: it has no ratio there, but its estimate has a level. A
stem may be absent from a track: there is no reference of it, so it has no score at all,
and the scores of the other stems are those without it. If it sounds in the mixture, it
belongs to the rest of the mixture. Notebook: 04.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.audio.tensors import is_source, rms_db
from mssedu.data.check import check_parts
from mssedu.data.track import REST, Track
from mssedu.errors import DatasetError, InputError, check_finite
from mssedu.evaluation import oracles
from mssedu.metrics.bss import bss_eval
from mssedu.metrics.table import CAP, METRICS, Sounds, score

ROWS = {
    "silence": "zeros as the estimate of every stem",
    "mixture": "the mixture as the estimate of every stem",
    "model": "the estimates",
    **oracles.DEFINITIONS,
}
MUSEVAL = "0.4.1"  # the version of museval whose numbers `museval_frames` has
FRAME_SECONDS = 1.0  # of museval: a frame, and from one frame to the next
QUIETEST = -150.0  # dB below full scale, instead of -inf for digital silence
Scores = Mapping[str, float | None]  # stem -> score; None where it is not defined


@dataclass(frozen=True)
class Job:
    """What to compute for every track."""

    stems: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    align: bool = False  # remove the lag of the estimates
    museval: bool = False  # also compute the frames of BSS Eval for museval
    grouping: tuple[str, ...] = ()  # the parts of each stem, as in `models.stems`

    @property
    def definitions(self) -> dict[str, Any]:
        """What the numbers mean: scores are comparable if this is the same."""
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
    lag: int = 0  # samples by which the estimates were late, which are removed
    museval: Mapping[str, Any] | None = None  # frames of the estimates
    absent: Sequence[str] = field(default_factory=list)  # stems without a reference


def score_track(
    track: Track, estimates: Tensor | None, content: str, job: Job
) -> TrackScores:
    """Score one track; may run in another process.

    Args:
        track: with the stems of the job; some may be absent.
        estimates: (stems, channels, samples); None without the row "model", or if all
            stems are absent.
        content: hash of the track, see `content_sha256`.
        job: what to compute.

    Raises:
        InputError: NaN or Inf in the audio, or estimates that do not fit.
    """
    stems = [stem for stem in job.stems if stem not in track.absent]
    absent = [stem for stem in job.stems if stem in track.absent]
    about = (track.name, track.split, track.duration, content)
    scores: dict[str, dict[str, Scores]] = {
        name: {row: dict.fromkeys(job.stems) for row in job.rows}
        for name in job.metrics
    }
    if not stems:
        return TrackScores(*about, scores, {}, [], absent=absent)
    track = track.in_memory()  # stems and mixture are read below: decode them once
    rate, mixture = track.sample_rate, track.mixture()
    parts = _checked_parts(track, stems, mixture)
    references, lag = parts[: len(stems)], 0
    if estimates is not None:
        whole = track.sources() if absent else references  # a row for each estimate
        estimates, lag = fitted(track, whole, estimates, job.align)
        estimates = _of_stems(estimates, job.stems, stems)
    silent = [i for i in range(len(stems)) if not references[i].any()]
    levels: dict[str, dict[str, float]] = {stems[i]: {} for i in silent}
    capped: list[str] = []
    frames = None
    for row in job.rows:  # one after the other: memory holds one estimate at a time
        if row == "silence":
            estimate = torch.zeros_like(references)
        elif row == "mixture":
            estimate = mixture.expand_as(references)
        elif row == "model":
            assert estimates is not None, "evaluate computes them if this row is scored"
            estimate = estimates
        else:
            every = oracles.oracle_estimate(row, parts, mixture, rate)
            estimate = every[: len(references)]
        sounds = Sounds(references, estimate, mixture, rate)
        for name, values in score(job.metrics, sounds).items():
            pairs = list(zip(stems, values, strict=True))
            new = {stem: _stored(value) for stem, value in pairs}
            scores[name][row] = {**scores[name][row], **new}
            capped += [f"{name} {row} {s}" for s, x in pairs if _is_capped(name, x)]
        for i in silent:
            levels[stems[i]][row] = max(rms_db(estimate[i]), QUIETEST)
        if row == "model" and job.museval:
            frames = museval_frames(sounds, stems)
    return TrackScores(*about, scores, levels, capped, lag, frames, absent)


def check_not_absent(tracks: Iterable[Track], stems: Sequence[str]) -> None:
    """Raise DatasetError for stems that are absent from all of the tracks."""
    present = {stem for track in tracks for stem in track.present}
    if missing := [stem for stem in stems if stem not in present]:
        raise DatasetError(
            f"{', '.join(missing)}: absent from all of the songs, so that there is "
            "nothing to compare an estimate with. Leave out such stems (--stems), or "
            "choose songs that have them."
        )


def _checked_parts(track: Track, stems: Sequence[str], mixture: Tensor) -> Tensor:
    """The stems, then all other parts of the mixture, (parts, channels, samples)."""
    others = _others(track)
    parts = torch.stack([*map(track.stem, stems), *others.values()])
    for name, audio in zip((*stems, *others), parts, strict=True):
        check_finite(_where(track, name), audio, track.sample_rate)
    check_finite(_where(track, "mixture"), mixture, track.sample_rate)
    names = (*stems, *(name for name in others if name != REST))  # it is the last
    check_parts(track.name, names, parts[: len(names)])
    return parts


def _of_stems(audio: Tensor, every: Sequence[str], stems: Sequence[str]) -> Tensor:
    """The rows of some stems; the tensor itself, without a copy, if these are all."""
    if len(stems) == len(every):
        return audio
    return audio[[every.index(stem) for stem in stems]]


def _others(track: Track) -> dict[str, Tensor]:
    """The parts of the mixture beside the scored stems, (channels, samples) each.

    The rest of the mixture is one of them, unless it is only the error of a codec.
    """
    parts = {name: track.stem(name) for name in track.unselected}
    if REST in parts and not is_source(parts[REST], track.mixture()):
        del parts[REST]
    return parts


def _is_capped(metric: str, value: float) -> bool:
    """Whether a ratio is infinite: the estimate is perfect, or it is empty."""
    return math.isinf(value) or (METRICS[metric].unit == "dB" and value >= CAP)


def _stored(value: float) -> float | None:
    """A number that JSON knows; None where there is no score."""
    if math.isnan(value):
        return None
    return math.copysign(CAP, value) if math.isinf(value) else value


def _where(track: Track, part: str) -> str:
    """The track, the part and its file, for error messages."""
    paths = [f" ({file.path})" for file in track.files if file.stem == part]
    return "".join([f"{track.name}, {part}", *paths[:1]])


# ---- fit and lag ------------------------------------------------------------------


def fitted(
    track: Track, references: Tensor, estimates: Tensor, align: bool
) -> tuple[Tensor, int]:
    """Estimates in the shape of the references, and their lag in samples.

    With `align`, the lag is removed, and what is then missing becomes silence; without
    it, estimates of another length are an InputError.
    """
    known = -1 if align else references.ndim
    if estimates.shape[:known] != references.shape[:known]:
        raise InputError(
            f"the estimates of {track.name} have the shape {tuple(estimates.shape)}, "
            f"and its true stems have {tuple(references.shape)}, (stems, channels, "
            "samples). Give all stems in order; if only the length differs, use align."
        )
    check_finite(f"estimate of {track.name}", estimates, track.sample_rate)
    if not align:
        return estimates, 0
    lag = find_lag(reference=references, estimate=estimates)
    missing = references.shape[-1] - estimates.shape[-1] + lag
    return F.pad(estimates, (-lag, missing)), lag  # negative numbers cut


def find_lag(*, reference: Tensor, estimate: Tensor) -> int:
    """Samples by which an estimate is late: the peak of the cross-correlation.

    The correlations of all stems are added, as a program delays all stems alike.

    Args:
        reference: (stems, channels, samples).
        estimate: (stems, channels, any samples).

    Example:
        >>> reference = torch.randn(1, 1, 100)
        >>> find_lag(reference=reference, estimate=F.pad(reference, (7, 0)))
        7
    """
    ends = reference.shape[-1], estimate.shape[-1]
    n_fft = next_fast_len(sum(ends), real=True)
    spectra = torch.zeros(n_fft // 2 + 1, dtype=torch.complex128)
    for s, e in zip(reference.double(), estimate.double(), strict=True):
        s, e = torch.fft.rfft(s, n_fft), torch.fft.rfft(e, n_fft)
        spectra += (s.conj() * e).sum(0)
    correlation = torch.fft.irfft(spectra, n_fft)
    lag = int(correlation.argmax()) if correlation.any() else 0
    return lag if lag < ends[1] else lag - n_fft


# ---- frames for museval -----------------------------------------------------------


def museval_frames(sounds: Sounds, stems: Sequence[str]) -> dict[str, Any]:
    """SDR, ISR, SIR and SAR of every frame, as in museval's JSON, of the stems given.

    museval gives no stem a score in a frame in which any stem, true or estimated, is
    silent. It refuses a track with a stem that is silent from start to end: for such a
    track only that stem has no scores, and "silence" in the document says so. None
    stands for NaN.
    """
    references, estimates = sounds.pair.values()
    whole = (references.sum(1), estimates.sum(1))
    refused = any((audio == 0).all(-1).any() for audio in whole)  # by museval
    result = bss_eval(
        references=references,
        estimates=estimates,
        window_length=round(FRAME_SECONDS * sounds.sample_rate),
        museval=not refused,
    )
    tables = torch.stack([result.sdr, result.isr, result.sir, result.sar], -1).tolist()
    targets: list[dict[str, Any]] = [{"name": stem, "frames": []} for stem in stems]
    for target, table in zip(targets, tables, strict=False):  # not the accompaniment
        for number, scores in enumerate(table):
            # Five digits; museval has no number for an infinite ratio either.
            numbers = [round(x, 5) if math.isfinite(x) else None for x in scores]
            metrics = dict(zip(("SDR", "ISR", "SIR", "SAR"), numbers, strict=True))
            time = number * FRAME_SECONDS
            frame = {"time": time, "duration": FRAME_SECONDS, "metrics": metrics}
            target["frames"].append(frame)
    silence = "a silent stem costs itself" if refused else "as museval"
    return {"targets": targets, "museval_version": MUSEVAL, "silence": silence}
