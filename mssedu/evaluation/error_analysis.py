"""Where a separator goes wrong: bleed, score over time and level, the worst moments.

    track ─▶ estimate ─┬─▶ windows  usdr and level of the true stem, every half second
                       ├─▶ bleed    energy of source i in estimate j
                       └─▶ worst    windows of the lowest score, to hear

Song after song: of each one only numbers stay, and of all songs together the sound of
the worst excerpts and a stretch of the worst songs. A mean score tells how good a model
is; this tells what to mend. `figures.errors` and `analysis_report` show it.
Notebook: 04.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mssedu.data.track import Track
from mssedu.errors import DatasetError, check_finite, check_range, message
from mssedu.evaluation.error_song import REST, Song, TrackErrors, WorstExcerpt
from mssedu.evaluation.error_windows import Windows
from mssedu.evaluation.estimates import Estimates, fitted
from mssedu.metrics.bleed import FLOOR_DB

N_STRETCHES = 4  # songs of which a stretch is kept to listen to


@dataclass(frozen=True)
class ErrorAnalysis:
    """What `analyze_errors` has found."""

    stems: tuple[str, ...]
    sample_rate: int
    tracks: tuple[TrackErrors, ...]
    worst: tuple[WorstExcerpt, ...]  # the worst first

    @property
    def sources(self) -> tuple[str, ...]:
        """The stems, and the rest where some song has one."""
        rest = any(track.bleed.sources[-1] > 0 for track in self.tracks)
        return (*self.stems, REST) if rest else self.stems

    def of_sources(self, track: TrackErrors | None = None) -> Tensor:
        """Where each source goes, (sources, sources) dB: see `Bleed.of_sources`.

        Args:
            track: one of the songs; the median of all songs if None.
        """
        n = len(self.sources)
        songs = self.tracks if track is None else (track,)
        return _median(song.bleed.of_sources()[:n, :n] for song in songs)

    def of_errors(self, track: TrackErrors | None = None) -> Tensor:
        """What errors are made of, (sources + 1, sources) dB: see `Bleed.of_errors`.

        Args:
            track: as in `of_sources`.
        """
        n = len(self.sources)
        rows = [*range(n), len(self.stems) + 1]
        songs = self.tracks if track is None else (track,)
        return _median(song.bleed.of_errors()[rows, :n] for song in songs)

    def windows(self) -> Windows:
        """Those of all songs, one after the other."""
        songs = [track.windows for track in self.tracks]
        names = [field.name for field in fields(Windows)]
        return Windows(*(torch.cat([getattr(s, n) for s in songs], -1) for n in names))

    def summary(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """A table, head and rows: dB of each stem, medians of songs or of windows."""
        head = (
            *("stem", "usdr of songs", "of windows", "of their worst tenth"),
            *("lost", "largest bleed", "artifacts"),
        )
        scores, windows = _median(track.usdr for track in self.tracks), self.windows()
        errors = self.of_errors()
        rows = []
        for j, stem in enumerate(self.stems):
            heard = windows.usdr[j].masked_fill(~windows.audible[j], torch.nan)
            bled = errors[:-1, j].clone()
            bled[j] = torch.nan
            i = int(bled.nan_to_num(-math.inf).argmax())
            largest = f"{self.sources[i]} " if bled[i] > FLOOR_DB else ""
            numbers = scores[j], heard.nanquantile(0.5), heard.nanquantile(0.1)
            texts = map(_text, (*numbers, errors[j, j]))
            artifacts = _text(errors[-1, j])
            rows.append((stem, *texts, largest + _text(bled[i]), artifacts))
        return head, rows

    def save(self, path: str | Path) -> Path:
        """Write all numbers as JSON; what is undefined is null."""
        document = {
            "definition": "usdr",
            "sources": self.sources,
            "bleed_db": _plain(self.of_sources()),
            "errors_db": _plain(self.of_errors()),
            "tracks": {
                track.name: {
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
        path = Path(path)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
        return path


def analyze_errors(
    estimates: Estimates,
    tracks: Sequence[Track],
    *,
    n_worst: int = 10,
    progress: Callable[[int, int, str], None] | None = None,
) -> ErrorAnalysis:
    """Find out where and how the estimates of tracks are wrong.

    Args:
        estimates: where they come from, such as ModelEstimates(model, {}).
        tracks: with all of its stems.
        n_worst: worst windows to keep; those of one song and stem lie 3 s apart.
        progress: is called with tracks done, tracks in all and the next one's name.

    Raises:
        DatasetError: no tracks.
        InputError: a track that lacks a stem, does not fit, or holds NaN or Inf.
    """
    if not tracks:
        remedy = "Look at what mssedu.load_dataset returned, and at the split."
        raise DatasetError(message("analyze_errors", "at least one track", 0, remedy))
    check_range("n_worst", n_worst, 0)
    stems = estimates.stems
    tracks = [track.with_stems(estimates.grouping) for track in tracks]
    for track in tracks:  # all of it before hours are spent on the first
        estimates.check(track, align=False)
    done: list[TrackErrors] = []
    worst: list[WorstExcerpt] = []
    for number, track in enumerate(tracks):
        if progress:
            progress(number, len(tracks), track.name)
        song = _song(track.in_memory(), estimates)
        done = _with_stretches_of_the_worst([*done, song.errors()])
        limit = worst[-1].usdr if worst and len(worst) == n_worst else math.inf
        worst += song.worst(done[-1].windows, n_worst, limit)
        worst = sorted(worst, key=lambda excerpt: excerpt.usdr)[:n_worst]
    if progress:
        progress(len(tracks), len(tracks), "")
    return ErrorAnalysis(stems, tracks[0].sample_rate, (*done,), (*worst,))


def _song(track: Track, estimates: Estimates) -> Song:
    """A track, already in memory, and its estimates, both checked."""
    sources = track.sources()
    for stem, source in zip(track.stems, sources, strict=True):
        check_finite(f"{track.name}, {stem}", source, track.sample_rate)
    estimate, _ = fitted(track, sources, estimates(track), align=False)
    return Song(
        name=track.name,
        stems=track.stems,
        sample_rate=track.sample_rate,
        sources=sources,
        mixture=track.mixture(),
        estimate=estimate,
    )


def _with_stretches_of_the_worst(tracks: list[TrackErrors]) -> list[TrackErrors]:
    """The same tracks; only those of the lowest mean score keep their sound."""
    means = [float(track.usdr.nanmean().nan_to_num(math.inf)) for track in tracks]
    kept = sorted(range(len(tracks)), key=means.__getitem__)[:N_STRETCHES]
    return [
        track if number in kept else replace(track, stretch=None)
        for number, track in enumerate(tracks)
    ]


def _median(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([*tensors]).nanquantile(0.5, 0)


def _text(db: Tensor) -> str:
    return "–" if db.isnan() else f"{round(float(db), 1) + 0.0:.1f}"  # never -0.0


def _plain(values: Tensor) -> Any:
    """Nested lists, rounded to 0.001; what is not finite is None."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    if values.dtype == torch.bool:
        return values.tolist()
    return [round(v, 3) if math.isfinite(v) else None for v in values.tolist()]
