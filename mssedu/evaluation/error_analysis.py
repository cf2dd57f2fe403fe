"""Where a separator fails: bleed, score over time and level, the worst moments.

    track ─▶ estimate ─┬─▶ windows  usdr and level of the true stem, every half second
                       ├─▶ bleed    energy of source i in estimate j
                       └─▶ worst    windows of the lowest score, with their sound

A mean score shows how good a model is; this analysis shows what to improve. Songs are
analyzed one after the other. Of each song only numbers are stored, and sound only for
the worst excerpts of all songs and for one part of each of the worst songs. A stem that
is absent from a song has no reference: its numbers are NaN, and if it sounds in the
mixture, it belongs to the rest. Medians are those of the songs that have the stem.
`mssedu.figures.errors` and `mssedu.reports.errors` show it. Notebook: 04.
"""

import functools
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pandas import DataFrame
from torch import Tensor

from mssedu.audio.files import write_json
from mssedu.audio.tensors import is_source, peak_db
from mssedu.data.track import Track
from mssedu.errors import DatasetError, check_finite, check_range
from mssedu.evaluation.error_windows import (
    HOP_SECONDS,
    Windows,
    score_windows,
    worst_windows,
)
from mssedu.evaluation.estimates import Estimates
from mssedu.evaluation.track import check_not_absent, fitted
from mssedu.metrics.bleed import FLOOR_DB, Bleed, find_bleed
from mssedu.metrics.ratios import usdr

REST = "rest"  # name of what the mixture holds beside all separated stems
N_STRETCHES = 4  # songs of which a part is stored to listen to
EXCERPT_SECONDS = 3.0  # around a worst window
STRETCH_SECONDS = 15.0  # around the worst window of a song
BLOCK_SECONDS = 30  # length of the blocks in which bleed is computed, to save memory

Sounds = Mapping[str, Tensor]  # label -> (channels, samples)


@dataclass(frozen=True)
class Stretch:
    """A part of a song to listen to."""

    start: float  # seconds into the song
    sounds: Sounds


@dataclass(frozen=True)
class TrackErrors:
    """The numbers of one song."""

    name: str
    usdr: Tensor  # (stems) dB, of the whole song; NaN where the stem has no score
    windows: Windows
    bleed: Bleed  # of the stems, then of the rest of the mixture
    stretch: Stretch | None  # mixture and estimates; None unless a worst song
    absent: tuple[str, ...] = ()  # stems without a reference


@dataclass(frozen=True)
class WorstExcerpt:
    """One of the worst windows; the last energies are relative to the true stem."""

    track: str
    stem: str
    seconds: float  # from the start of the song to the middle of the window
    usdr: float  # dB
    level_db: float  # of the true stem, dBFS
    peak_db: float  # of the estimate, dBFS
    lost_db: float  # energy of the stem that its estimate lacks
    bled_from: str  # the other source with the most energy in it; "" if there is none
    bleed_db: float  # energy of that source in the estimate
    artifacts_db: float  # energy that no source explains
    stretch: Stretch  # mixture, reference, estimate


@dataclass(frozen=True)
class ErrorAnalysis:
    """The result of `analyze_errors`."""

    stems: tuple[str, ...]
    sample_rate: int
    tracks: tuple[TrackErrors, ...]
    worst: tuple[WorstExcerpt, ...]  # the worst first

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems, and REST if the mixture of a song holds more than the stems."""
        rest = any(track.bleed.sources[-1] > 0 for track in self.tracks)
        return (*self.stems, REST) if rest else self.stems

    def of_sources(self, track: TrackErrors | None = None) -> Tensor:
        """Energy of each source in each estimate, (sources, sources) dB.

        Of one of the songs, or the median of all; see `Bleed.of_sources`.
        """
        n = len(self.sources)
        songs = self.tracks if track is None else (track,)
        return _median(song.bleed.of_sources()[:n, :n] for song in songs)

    def of_errors(self, track: TrackErrors | None = None) -> Tensor:
        """Parts of the error of each estimate, (sources + 1, sources) dB.

        The last row is artifacts; see `Bleed.of_errors`.
        """
        n = len(self.sources)
        rows = [*range(n), len(self.stems) + 1]
        songs = self.tracks if track is None else (track,)
        return _median(song.bleed.of_errors()[rows, :n] for song in songs)

    def windows(self) -> Windows:
        """The windows of all songs, one after the other."""

        def all_of(name: str) -> Tensor:
            return torch.cat([getattr(t.windows, name) for t in self.tracks], -1)

        names = ("seconds", "usdr", "level_db", "audible")
        return Windows(*map(all_of, names))

    def summary(self) -> DataFrame:
        """A row per stem, all in dB: medians of songs, or of their audible windows.

        The columns are "usdr of songs", "of windows" and "of their worst tenth" (the
        10 % quantile), then energies relative to the true stem: "lost", "largest
        bleed", the source that it is "from", and "artifacts". If stems are absent from
        songs, the column "songs" has the number of those with the stem.
        """
        scores, windows = _median(track.usdr for track in self.tracks), self.windows()
        errors = self.of_errors()
        absent = Counter(stem for track in self.tracks for stem in track.absent)
        rows = []
        for j, stem in enumerate(self.stems):
            audible = windows.usdr[j].masked_fill(~windows.audible[j], torch.nan)
            bleed = errors[:-1, j].clone()
            bleed[j] = torch.nan
            i = int(bleed.nan_to_num(-math.inf).argmax())
            row: dict[str, Any] = {"stem": stem}
            if absent:
                row["songs"] = len(self.tracks) - absent[stem]
            row |= {
                "usdr of songs": float(scores[j]),
                "of windows": float(audible.nanquantile(0.5)),
                "of their worst tenth": float(audible.nanquantile(0.1)),
                "lost": float(errors[j, j]),
                "largest bleed": float(bleed[i]),
                "from": self.sources[i] if bleed[i] > FLOOR_DB else None,
                "artifacts": float(errors[-1, j]),
            }
            rows.append(row)
        return DataFrame(rows)

    def save(self, path: str | Path) -> Path:
        """Write all numbers as JSON; undefined ones are null. Returns the path."""
        document = {
            "definition": "usdr",
            "sources": self.sources,
            "bleed_db": _plain(self.of_sources()),
            "errors_db": _plain(self.of_errors()),
            "tracks": {
                track.name: {
                    "absent": track.absent,
                    "usdr": _plain(track.usdr),
                    "bleed_db": _plain(self.of_sources(track)),
                    "errors_db": _plain(self.of_errors(track)),
                    "windows": {k: _plain(v) for k, v in vars(track.windows).items()},
                }
                for track in self.tracks
            },
            "worst": [
                {k: v for k, v in vars(excerpt).items() if k != "stretch"}
                for excerpt in self.worst
            ],
        }
        write_json(path, document)
        return Path(path)


def analyze_errors(
    estimates: Estimates,
    tracks: Sequence[Track],
    *,
    n_worst: int = 10,
    progress: Callable[[int, int, str], None] = lambda done, n, name: None,
) -> ErrorAnalysis:
    """Find out where and how the estimates of tracks are wrong.

    Args:
        estimates: the source of the estimates, such as ModelEstimates(model).
        tracks: songs with these stems; one from which all are absent is passed over.
        n_worst: number of worst excerpts; those of one song and stem are at least 3 s
            apart.
        progress: is called with tracks done, tracks in all and the next one's name.

    Raises:
        DatasetError: no tracks, or a stem that is absent from all of them.
        InputError: a track that lacks a stem, does not fit, or holds NaN or Inf.
    """
    if not tracks:
        raise DatasetError("tracks is empty. Check the folder and the split.")
    check_range("n_worst", n_worst, 0)
    tracks = [track.with_stems(estimates.grouping) for track in tracks]
    check_not_absent(tracks, estimates.stems)
    tracks = [track for track in tracks if track.present]
    for track in tracks:  # check all of them before hours are spent on the first
        estimates.check(track, align=False)
    done: list[TrackErrors] = []
    worst: list[WorstExcerpt] = []
    for number, track in enumerate(tracks):
        progress(number, len(tracks), track.name)
        song = _estimated(track.in_memory(), estimates)
        done = _with_stretches_of_the_worst([*done, song.errors()])
        limit = worst[-1].usdr if worst and len(worst) == n_worst else math.inf
        worst += song.worst(done[-1].windows, n_worst, limit)
        worst = sorted(worst, key=lambda excerpt: excerpt.usdr)[:n_worst]
    progress(len(tracks), len(tracks), "")
    return ErrorAnalysis(estimates.stems, tracks[0].sample_rate, (*done,), (*worst,))


def _with_stretches_of_the_worst(tracks: list[TrackErrors]) -> list[TrackErrors]:
    """The same tracks, but only those of the lowest mean score have a stretch."""
    means = [float(track.usdr.nanmean().nan_to_num(math.inf)) for track in tracks]
    order = sorted(range(len(tracks)), key=means.__getitem__)
    for number in order[N_STRETCHES:]:
        tracks[number] = replace(tracks[number], stretch=None)
    return tracks


@dataclass(frozen=True)
class Song:
    """A track beside its estimates, in memory."""

    name: str
    stems: tuple[str, ...]
    sample_rate: int
    sources: Tensor  # (stems, channels, samples)
    mixture: Tensor  # (channels, samples)
    estimate: Tensor  # (stems, channels, samples)
    absent: tuple[str, ...] = ()  # stems without a reference: their sources are zeros

    def errors(self) -> TrackErrors:
        """All numbers of the song, and a stretch around its worst window."""
        windows = score_windows(
            references=self.sources,
            estimates=self.estimate,
            mixture=self.mixture,
            sample_rate=self.sample_rate,
        )
        scores = usdr(reference=self.sources, estimate=self.estimate)
        (_, window), *_ = worst_windows(windows, 1, 0.0) or [(0, 0)]
        sounds = dict(zip(self.stems, self.estimate, strict=True))
        sounds = {"mixture": self.mixture} | sounds
        seconds = float(windows.seconds[window])
        stretch = self.stretch(sounds, seconds, STRETCH_SECONDS)
        length = BLOCK_SECONDS * self.sample_rate
        blocks = range(0, self.mixture.shape[-1], length)
        bleeds = (self.bleed(slice(start, start + length)) for start in blocks)
        bleed = functools.reduce(operator.add, bleeds)
        return TrackErrors(self.name, scores, windows, bleed, stretch, self.absent)

    def worst(self, windows: Windows, n: int, limit: float) -> list[WorstExcerpt]:
        """The n worst windows, without those that score at the limit or above."""
        return [
            self.excerpt(windows, stem, window)
            for stem, window in worst_windows(windows, n, EXCERPT_SECONDS)
            if windows.usdr[stem, window] < limit
        ]

    def excerpt(self, windows: Windows, stem: int, window: int) -> WorstExcerpt:
        """The causes of the error in one window, and its sound."""
        seconds = float(windows.seconds[window])
        inside = self.around(seconds, 2 * HOP_SECONDS)
        parts = self.bleed(inside).of_errors()[:, stem]
        lost, artifacts = float(parts[stem]), float(parts[-1])
        parts[[stem, -1]] = torch.nan
        parts = parts.nan_to_num(FLOOR_DB)
        largest = int(parts.argmax())
        sounds = {
            "mixture": self.mixture,
            "reference": self.sources[stem],
            "estimate": self.estimate[stem],
        }
        return WorstExcerpt(
            track=self.name,
            stem=self.stems[stem],
            seconds=seconds,
            usdr=float(windows.usdr[stem, window]),
            level_db=float(windows.level_db[stem, window]),
            peak_db=max(peak_db(self.estimate[stem, :, inside]), FLOOR_DB),
            lost_db=lost,
            bled_from=(*self.stems, REST)[largest] if parts[largest] > FLOOR_DB else "",
            bleed_db=float(parts[largest]),
            artifacts_db=artifacts,
            stretch=self.stretch(sounds, seconds, EXCERPT_SECONDS),
        )

    def stretch(self, sounds: Sounds, seconds: float, duration: float) -> Stretch:
        """The sounds around a moment, as copies: the whole song need not be kept."""
        around = self.around(seconds, duration)
        parts = {label: sound[:, around].clone() for label, sound in sounds.items()}
        return Stretch(around.start / self.sample_rate, parts)

    @functools.cached_property
    def has_rest(self) -> bool:
        """Whether the mixture holds more than the stems and coding errors."""
        return is_source(self.mixture - self.sources.sum(0), self.mixture)

    def bleed(self, span: slice) -> Bleed:
        """Bleed of the stems and of the rest of the mixture, in a span of samples.

        The rest is the mixture without all stems; its estimate is the mixture without
        all estimates. Stems that are absent are left out of both: they are NaN.
        """
        known = [i for i, stem in enumerate(self.stems) if stem not in self.absent]
        sources, estimate = self.sources[known, :, span], self.estimate[known, :, span]
        mixture = self.mixture[..., span]
        residual = mixture - estimate.sum(0)
        rest = mixture - sources.sum(0) if self.has_rest else torch.zeros_like(residual)
        found = find_bleed(
            references=torch.cat([sources, rest[None]]),
            estimates=torch.cat([estimate, residual[None]]),
            sample_rate=self.sample_rate,
        )
        return _with_absent(found, [*known, len(self.stems)], len(self.stems) + 1)

    def around(self, seconds: float, duration: float) -> slice:
        """Samples around a moment, moved so that they stay inside the song."""
        samples = self.mixture.shape[-1]
        length = min(round(duration * self.sample_rate), samples)
        first = round(seconds * self.sample_rate) - length // 2
        first = min(max(first, 0), samples - length)
        return slice(first, first + length)


def _estimated(track: Track, estimates: Estimates) -> Song:
    """A track, already in memory, and its estimates, both checked."""
    sources = track.sources()
    for stem, source in zip(track.stems, sources, strict=True):
        check_finite(f"{track.name}, {stem}", source, track.sample_rate)
    estimate, _ = fitted(track, sources, estimates(track), align=False)
    about = (track.name, track.stems, track.sample_rate)
    return Song(*about, sources, track.mixture(), estimate, track.absent)


def _with_absent(found: Bleed, places: list[int], n: int) -> Bleed:
    """The energies of n stems, of which those at the places are known; others NaN."""
    if len(places) == n:
        return found
    parts = found.parts.new_full((n, n), torch.nan)
    parts[torch.tensor(places)[:, None], torch.tensor(places)] = found.parts
    rows = []
    for known in (found.lost, found.artifacts, found.sources):
        row = known.new_full((n,), torch.nan)
        row[places] = known
        rows.append(row)
    return Bleed(parts, *rows)


def _median(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([*tensors]).nanquantile(0.5, 0)


def _plain(values: Tensor) -> Any:
    """Nested lists, rounded to 0.001; NaN and Inf are None."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    if values.dtype == torch.bool:
        return values.tolist()
    return [round(v, 3) if math.isfinite(v) else None for v in values.tolist()]
