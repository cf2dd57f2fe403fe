"""All scores of one track: every row against the same true stems.

    silence   scores of an empty estimate: 0 dB usdr
    mixture   scores of the unprocessed mixture as the estimate of every stem
    model     scores of the estimates, of a model or of files
    ibm, irm, mwf    scores of oracles, which use the true stems

A model that scores below silence or mixture has learned nothing; the oracles are the
upper limit of their kind. Rows are estimated and scored one after the other, so that
memory holds one estimate at a time. Notebook: 04.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from mssedu.audio.tensors import is_source, rms_db
from mssedu.data.check import check_parts
from mssedu.data.track import REST, Track
from mssedu.errors import InputError, check_finite
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

    def as_json(self) -> dict[str, Any]:
        """The fields in types that JSON knows."""
        return asdict(self)


def score_track(
    track: Track, estimates: Tensor | None, content: str, job: Job
) -> TrackScores:
    """Score one track; may run in another process.

    Args:
        track: with the stems of the job.
        estimates: (stems, channels, samples); None without the row "model".
        content: hash of the track, see `content_sha256`.
        job: what to compute.

    Raises:
        InputError: NaN or Inf in the audio, or estimates that do not fit.
    """
    track = track.in_memory()  # stems and mixture are read below: decode them once
    rate = track.sample_rate
    references = torch.stack([track.stem(stem) for stem in job.stems])
    mixture, others = track.mixture(), _others(track)
    for stem, audio in (*zip(job.stems, references, strict=True), *others.items()):
        check_finite(_where(track, stem), audio, rate)
    check_finite(_where(track, "mixture"), mixture, rate)
    parts = torch.stack([*references, *others.values()])
    names = (*job.stems, *(name for name in others if name != REST))  # it is the last
    check_parts(track.name, names, parts[: len(names)])
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
    """The parts of the mixture beside the scored stems, (channels, samples) each.

    The rest of the mixture is one of the parts, unless it is only the error of a codec:
    that is no source, and no oracle of the field has it.
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
        assert model is not None, "evaluate computes estimates if this row is asked for"
        return model
    return oracles.oracle_estimate(row, parts, mixture, rate)[: len(sources)]


def _is_capped(metric: str, value: float) -> bool:
    """Whether a ratio is infinite: the estimate is perfect, or it is empty."""
    at_cap = METRICS[metric].unit == "dB" and value >= CAP
    return math.isinf(value) or at_cap


def _stored(value: float) -> float | None:
    """A number that JSON knows; None where there is no score."""
    if math.isnan(value):
        return None
    return math.copysign(CAP, value) if math.isinf(value) else value


def _where(track: Track, part: str) -> str:
    """The track, the part and its file, for error messages."""
    files = [str(file.path) for file in track.files if file.stem == part]
    return f"{track.name}, {part}" + (f" ({files[0]})" if files else "")


# ---- fit and lag ------------------------------------------------------------------


def fitted(
    track: Track, references: Tensor, estimates: Tensor, align: bool
) -> tuple[Tensor, int]:
    """Check that estimates fit the references, and remove their lag if asked to.

    Args:
        track: for error messages.
        references: (stems, channels, samples).
        estimates: the same shape; with `align` of any length.
        align: find the lag and remove it; what is then missing becomes silence.

    Returns:
        estimates, and the lag in samples; 0 without `align`.

    Raises:
        InputError: another shape, NaN or Inf.
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
    begin, end = max(lag, 0), lag + references.shape[-1]
    cut = estimates[..., begin : max(end, begin)]
    before = begin - lag
    missing = references.shape[-1] - before - cut.shape[-1]
    return F.pad(cut, (before, missing)), lag


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
    """SDR, ISR, SIR and SAR of every frame and stem, as in museval's JSON.

    museval gives no stem a score in a frame in which any stem, true or estimated, is
    silent. It refuses a track with a stem that is silent from start to end: for such a
    track only that stem has no scores, and "silence" in the document says so.

    Args:
        sounds: true stems and estimates of a track.
        stems: their names.

    Returns:
        the document; None stands for NaN.
    """
    references, estimates = sounds.pair.values()
    whole = (references.sum(1), estimates.sum(1))
    refused = any((audio == 0).all(-1).any() for audio in whole)  # by museval
    result = bss_eval(
        references=references,
        estimates=estimates,
        window_length=round(FRAME_SECONDS * sounds.sample_rate),
        hop_length=round(FRAME_SECONDS * sounds.sample_rate),
        museval=not refused,
    )
    tables = {
        name: getattr(result, name.lower()) for name in ("SDR", "ISR", "SIR", "SAR")
    }
    targets = []
    for index, stem in enumerate(stems):
        lines = {name: table[index].tolist() for name, table in tables.items()}
        frames = [
            {
                "time": number * FRAME_SECONDS,
                "duration": FRAME_SECONDS,
                "metrics": {
                    name: _rounded(line[number]) for name, line in lines.items()
                },
            }
            for number in range(len(lines["SDR"]))
        ]
        targets.append({"name": stem, "frames": frames})
    silence = "a silent stem costs itself" if refused else "as museval"
    return {"targets": targets, "museval_version": MUSEVAL, "silence": silence}


def _rounded(score: float) -> float | None:
    """Five digits; museval has no number for an infinite ratio either."""
    return round(score, 5) if math.isfinite(score) else None
