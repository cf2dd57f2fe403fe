"""What an evaluation has found: the scores of every track, and what they mean.

    scores of tracks ──▶ mean of tracks    each with a 95 % interval from
                     └─▶ median of tracks  tracks drawn again and again

Both are always told apart by name: `csdr` is published as the median of tracks, `usdr`
and `nsdr` as their mean. Saved as one JSON with definitions, versions, settings, hashes
of weights and tracks; read back by `load_evaluation`.
"""

import hashlib
import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssedu.errors import DatasetError, check_name, message
from mssedu.evaluation.statistics import bootstrap_interval
from mssedu.evaluation.track import Scores, TrackScores

FORMAT = 1  # of the JSON; raised when an old file can no longer be read
FILE = "evaluation.json"  # in a run folder
AGGREGATIONS = {"mean of tracks": "mean", "median of tracks": "median"}
SPREAD = "standard deviation"  # of the tracks, with n - 1 below


@dataclass(frozen=True)
class Summary:
    """One number for many tracks."""

    value: float | None  # None where no track has a score
    interval: tuple[float, float] | None  # 95 %; None for fewer than three tracks
    n: int  # tracks that have a score


@dataclass(frozen=True)
class Evaluation:
    """Scores of every track by metric, row and stem."""

    stems: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    tracks: Mapping[str, TrackScores]  # by name
    about: Mapping[str, Any]  # what gave the estimates: model, settings, hashes
    definitions: Mapping[str, Any]  # of metrics and rows, with versions

    @property
    def data_sha256(self) -> str:
        """Hash of all tracks: the same for the same songs, wherever they lie."""
        lines = sorted(track.audio_sha256 for track in self.tracks.values())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def by_track(self, metric: str, row: str, stem: str) -> dict[str, float]:
        """Scores of the tracks that have one; for most, where the stem sounds."""
        self._check(metric, row, stem)
        found = {n: t.scores[metric][row][stem] for n, t in self.tracks.items()}
        return {name: score for name, score in found.items() if score is not None}

    def of_track(self, name: str, metric: str) -> Mapping[str, Scores]:
        """Scores of one track: row -> stem -> number."""
        check_name("track", name, self.tracks)
        check_name("metric", metric, self.metrics)
        return self.tracks[name].scores[metric]

    def mean(self, metric: str, row: str, stem: str) -> float | None:
        """Mean of the tracks that have a score; None if none has."""
        scores = list(self.by_track(metric, row, stem).values())
        return statistics.fmean(scores) if scores else None

    def median(self, metric: str, row: str, stem: str) -> float | None:
        """Median of the tracks that have a score; None if none has."""
        scores = list(self.by_track(metric, row, stem).values())
        return statistics.median(scores) if scores else None

    def deviation(self, metric: str, row: str, stem: str) -> float | None:
        """Standard deviation of the tracks that have a score; None for one track."""
        scores = list(self.by_track(metric, row, stem).values())
        return statistics.stdev(scores) if len(scores) > 1 else None

    def summary(self, metric: str, row: str, stem: str, aggregation: str) -> Summary:
        """A number for all tracks, and how sure it is.

        Args:
            metric, row, stem: of the score.
            aggregation: "mean of tracks" or "median of tracks".

        Raises:
            InputError: a name that is not part of this evaluation.
        """
        check_name("way to aggregate", aggregation, AGGREGATIONS)
        statistic = AGGREGATIONS[aggregation]
        value = getattr(self, statistic)(metric, row, stem)
        scores = list(self.by_track(metric, row, stem).values())
        return Summary(value, bootstrap_interval(scores, statistic), len(scores))

    def n_silent(self, stem: str) -> int:
        """Tracks that have no such stem: ratios are not defined there."""
        return sum(stem in track.at_silence for track in self.tracks.values())

    def level_at_silence(self, row: str, stem: str) -> float | None:
        """Mean level of the estimate in tracks that have no such stem, dBFS."""
        tracks = self.tracks.values()
        levels = [t.at_silence[stem][row] for t in tracks if stem in t.at_silence]
        return statistics.fmean(levels) if levels else None

    def save(self, path: str | Path) -> Path:
        """Write everything as JSON, at once or not at all; a folder gets FILE."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        document = {
            "format": FORMAT,
            "stems": self.stems,
            "definitions": self.definitions,
            "about": self.about,
            "data_sha256": self.data_sha256,
            "summary": self._summaries(),
            "tracks": [track.as_json() for track in self.tracks.values()],
        }
        write_json(path, document)
        return path

    def _summaries(self) -> dict[str, Any]:
        """Aggregations and spread of everything, for readers of the file."""
        return {
            metric: {
                row: {
                    aggregation: {
                        stem: getattr(self, statistic)(metric, row, stem)
                        for stem in self.stems
                    }
                    for aggregation, statistic in (
                        AGGREGATIONS | {SPREAD: "deviation"}
                    ).items()
                }
                for row in self.rows
            }
            for metric in self.metrics
        }

    def _check(self, metric: str, row: str, stem: str) -> None:
        check_name("metric", metric, self.metrics)
        check_name("row", row, self.rows)
        check_name("stem", stem, self.stems)


def load_evaluation(path: str | Path) -> Evaluation:
    """Read what `Evaluation.save` wrote.

    Args:
        path: a run folder, or the JSON itself.

    Raises:
        DatasetError: no such file, or one of another kind or format.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    where = str(file.absolute())
    remedy = "Name a folder that mssedu evaluate --save has written to the end."
    if not file.is_file():
        raise DatasetError(message(where, "an evaluation", "no such file", remedy))
    try:
        document = json.loads(file.read_text("utf-8"))
        version = document["format"]
        tracks = [TrackScores(**track) for track in document["tracks"]]
        definitions = document["definitions"]
    except (ValueError, TypeError, KeyError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DatasetError(message(where, "an evaluation", got, remedy)) from error
    if version != FORMAT:
        remedy = "Update mssedu to the version that wrote it."
        wanted = f"an evaluation of format {FORMAT}"
        raise DatasetError(message(where, wanted, version, remedy))
    return Evaluation(
        stems=tuple(document["stems"]),
        metrics=tuple(definitions["metrics"]),
        rows=tuple(definitions["rows"]),
        tracks={track.name: track for track in tracks},
        about=document["about"],
        definitions=definitions,
    )


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def first_difference(old: Any, new: Any, place: str = "") -> str | None:
    """The first entry in which two JSON documents differ, in words; None if in none.

    Example:
        >>> first_difference({"a": {"b": 1}}, {"a": {"b": 2}})
        'a.b: 1, now 2'
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{place}.{key}" if place else str(key)
            if key not in old or key not in new:
                return f"{inner}: {'no longer' if key in old else 'new'}"
            found = first_difference(old[key], new[key], inner)
            if found:
                return found
        return None
    if old == new:
        return None
    return f"{place}: {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
