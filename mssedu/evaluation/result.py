"""The result of an evaluation: the scores of every track, and tables of them.

    scores of tracks ─┬─▶ mean of tracks  ┐  each with a 95 % interval from
                      └─▶ median of tracks┘  resampling the tracks

Both aggregations are always named: `csdr` is published as the median of tracks, `usdr`
and `nsdr` as their mean. An evaluation is saved as one JSON file with definitions,
versions, settings and hashes of weights and tracks; `load_evaluation` reads it.

    usdr, dB  aggregation         vocals     …  average
    model     mean of tracks      6.32       …  5.33
              95 % interval       5.9…6.7
              median of tracks    6.41       …  5.40
              95 % interval       6.0…6.8
              standard deviation  1.81

A stem that is silent in a track, or absent from it, has no ratio there: its mean is
that of the other tracks. Where this leaves out any, each row also states the number of
tracks. Silent means that the reference is zero: the level of the estimate is reported.
Absent means that there is no reference: nothing is reported but the number of tracks.
"""

import hashlib
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pandas import DataFrame

from mssedu.audio.files import misfit, write_json
from mssedu.errors import DatasetError, check_name
from mssedu.evaluation.statistics import LEAST, bootstrap_interval
from mssedu.evaluation.track import Scores, TrackScores

FORMAT = 1  # version of the JSON; raised when older files can no longer be read
FILE = "evaluation.json"  # in a run folder
AGGREGATIONS = {"mean of tracks": "mean", "median of tracks": "median"}
SPREAD = "standard deviation"  # of the tracks, with n - 1 as the divisor
COUNT = "n (tracks)"  # the line of a table with the number of tracks that have a score
_METHODS = AGGREGATIONS | {SPREAD: "deviation"}  # of Evaluation

# The forms of `Evaluation.save`, as `mssedu.audio.files.misfit` takes them
TRACK: dict[str, Any] = {
    "name": str,
    "split": (str, None),
    "seconds": float,
    "audio_sha256": str,
    "scores": {str: {str: {str: (float, None)}}},
    "at_silence": {str: {str: float}},
    "capped": [str],
    "lag": int,
    "museval": (dict, None),
}
LARGEST = 1e9  # a larger number is no score, and its square may overflow
_LATER: dict[str, Any] = {"absent": [str]}  # older files have not: no stem was absent
_METRIC = {"unit": str, "definition": str, "version": int, "joint": bool}
_DOCUMENT = {
    "stems": [str],
    "definitions": {
        "metrics": {str: {**_METRIC, "higher_is_better": bool}},
        "rows": {str: str},
        "align": bool,
    },
    "about": {"sample_rate": int},
    "tracks": [TRACK],
}


@dataclass(frozen=True)
class Summary:
    """One number for many tracks."""

    value: float | None  # None where no track has a score
    interval: tuple[float, float] | None  # 95 %; None for fewer than three tracks
    n: int  # tracks that have a score


@dataclass(frozen=True)
class Evaluation:
    """Scores of every track by metric, row and stem.

    `frame` has every score, `table` one metric as papers print it, and `summaries` the
    means and medians of all metrics. All three are pandas DataFrames, which
    `mssedu.reports.render(table, "latex")` prints as the command line does.

    Example:
        >>> import mssedu
        >>> noise = {stem: torch.randn(2, 8000) for stem in ("voice", "rest")}
        >>> song = mssedu.data.Track.from_audio("a song", noise, 8000)
        >>> found = mssedu.evaluate(None, [song], rows=("silence", "irm"))
        >>> found.frame().columns.tolist()
        ['track', 'row', 'metric', 'stem', 'value']
        >>> found.table("usdr").shape  # rows, and name + aggregation + stems + average
        (4, 5)
    """

    stems: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    tracks: Mapping[str, TrackScores]  # by name
    about: Mapping[str, Any]  # source of the estimates: model, settings, hashes
    definitions: Mapping[str, Any]  # of metrics and rows, with versions

    @property
    def data_sha256(self) -> str:
        """Hash of all tracks: the same for the same songs in any folder."""
        lines = sorted(track.audio_sha256 for track in self.tracks.values())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def by_track(self, metric: str, row: str, stem: str) -> dict[str, float]:
        """Track -> score; a track in which the stem is silent or absent has none."""
        check_name("metric", metric, self.metrics)
        check_name("row", row, self.rows)
        check_name("stem", stem, self.stems)
        scores = {n: t.scores[metric][row][stem] for n, t in self.tracks.items()}
        return {name: score for name, score in scores.items() if score is not None}

    def of_track(self, name: str, metric: str) -> Mapping[str, Scores]:
        """Scores of one track: row -> stem -> number."""
        check_name("track", name, self.tracks)
        check_name("metric", metric, self.metrics)
        return self.tracks[name].scores[metric]

    def mean(self, metric: str, row: str, stem: str) -> float | None:
        """Mean of the tracks that have a score; None if none has."""
        scores = [*self.by_track(metric, row, stem).values()]
        return statistics.fmean(scores) if scores else None

    def median(self, metric: str, row: str, stem: str) -> float | None:
        """Median of the tracks that have a score; None if none has."""
        scores = [*self.by_track(metric, row, stem).values()]
        return statistics.median(scores) if scores else None

    def deviation(self, metric: str, row: str, stem: str) -> float | None:
        """Standard deviation of the tracks that have a score; None for one track."""
        scores = [*self.by_track(metric, row, stem).values()]
        return statistics.stdev(scores) if len(scores) > 1 else None

    def summary(self, metric: str, row: str, stem: str, aggregation: str) -> Summary:
        """One number for all tracks; means and medians have a 95 % interval.

        The aggregation is "mean of tracks", "median of tracks" or "standard deviation".
        A name that is not part of this evaluation is an InputError.
        """
        check_name("way to aggregate", aggregation, _METHODS)
        statistic = _METHODS[aggregation]
        value = getattr(self, statistic)(metric, row, stem)
        scores = [*self.by_track(metric, row, stem).values()]
        interval = None
        if aggregation != SPREAD:
            interval = bootstrap_interval(scores, statistic)
        return Summary(value, interval, len(scores))

    def n_silent(self, stem: str) -> int:
        """Number of tracks in which the stem is silent, so that it has no ratio."""
        return sum(stem in track.at_silence for track in self.tracks.values())

    def n_absent(self, stem: str) -> int:
        """Number of tracks from which the stem is absent, so that it has no score."""
        return sum(stem in track.absent for track in self.tracks.values())

    def level_at_silence(self, row: str, stem: str) -> float | None:
        """Mean level of the estimate in tracks in which the stem is silent, dBFS."""
        tracks = self.tracks.values()
        levels = [t.at_silence[stem][row] for t in tracks if stem in t.at_silence]
        return statistics.fmean(levels) if levels else None

    def title(self, metric: str) -> str:
        """Name and unit of a metric, such as "usdr, dB"."""
        check_name("metric", metric, self.metrics)
        unit = self.definitions["metrics"][metric]["unit"]
        return f"{metric}, {unit}" if unit else metric

    def frame(self) -> DataFrame:
        """Every score: the columns track, row, metric, stem and value.

        The value is NaN where a score is not defined. A stem that is absent from a
        track has no lines of that track. One of many tables to make of it:
        `frame.pivot_table("value", index="row", columns="stem")`.
        """
        lines = [
            (track.name, row, metric, stem, score)
            for track in self.tracks.values()
            for metric in self.metrics
            for row, scores in track.scores[metric].items()
            for stem, score in scores.items()
            if stem not in track.absent
        ]
        columns = ["track", "row", "metric", "stem", "value"]
        return DataFrame(lines, columns=columns).astype({"value": float})

    def table(
        self, metric: str, aggregations: Sequence[str] = (*AGGREGATIONS, SPREAD)
    ) -> DataFrame:
        """One metric as papers print it: a line per row and aggregation.

        Scores are numbers, intervals are text, and the row is named on its first line.
        The last line of a row has the number of tracks of each stem, unless all tracks
        have a score. An unknown metric or aggregation is an InputError.
        """
        title = self.title(metric)
        lines: list[tuple[Any, ...]] = []
        for row in self.rows:
            for aggregation in aggregations:
                lines += self._lines(metric, row, aggregation)
            counts = [len(self.by_track(metric, row, stem)) for stem in self.stems]
            if any(counts) and {*counts} != {len(self.tracks)}:
                lines.append((row, COUNT, *map(str, counts), ""))
        table = DataFrame(lines, columns=[title, "aggregation", *self.stems, "average"])
        table[title] = table[title].mask(table[title].duplicated(), "")
        return table

    def _lines(
        self, metric: str, row: str, aggregation: str
    ) -> Iterator[tuple[Any, ...]]:
        """The line of a row and an aggregation, and that of its intervals."""
        found = [self.summary(metric, row, s, aggregation) for s in self.stems]
        values = [summary.value for summary in found]
        average: Any = "" if aggregation == SPREAD else mean_of_stems(values)
        if aggregation != SPREAD or any(value is not None for value in values):
            yield row, aggregation, *values, average
        if any(summary.interval for summary in found):
            ends = [summary.interval for summary in found]
            intervals = [f"{x[0]:.1f}…{x[1]:.1f}" if x else None for x in ends]
            yield row, "95 % interval", *intervals, ""

    def track_table(self, track: str, metric: str) -> DataFrame:
        """The scores of one track: a line per row, a column per stem.

        The column of an absent stem has the word "absent" in place of numbers.
        """
        scores, lacks = self.of_track(track, metric), self.tracks[track].absent
        lines = [
            (row, *("absent" if s in lacks else scores[row][s] for s in self.stems))
            for row in self.rows
        ]
        return DataFrame(lines, columns=[self.title(metric), *self.stems])

    def summaries(self) -> DataFrame:
        """All metrics, one number a line, with all that says what the number is.

        Low and high are the ends of the 95 % interval, n_tracks have a score, in
        n_silent the stem is silent, and from n_absent it is absent.
        """
        lines = []
        for metric, row, aggregation, stem in self._places():
            about = self.definitions["metrics"][metric]
            summary = self.summary(metric, row, stem, aggregation)
            low, high = summary.interval or (None, None)
            line = {
                "metric": metric,
                "unit": about["unit"],
                "row": row,
                "aggregation": aggregation,
                "stem": stem,
                "value": summary.value,
                "low": low,
                "high": high,
                "n_tracks": summary.n,
                "n_silent": self.n_silent(stem),
                "n_absent": self.n_absent(stem),
                "version": about["version"],
                "definition": about["definition"],
            }
            lines.append(line)
        return DataFrame(lines).astype(dict.fromkeys(("value", "low", "high"), float))

    def _places(self) -> Iterator[tuple[str, str, str, str]]:
        """Metric, row, aggregation and stem of every summary."""
        return itertools.product(self.metrics, self.rows, _METHODS, self.stems)

    def note(self, metric: str) -> str:
        """What the numbers of `table` mean, and which tracks they leave out."""
        check_name("metric", metric, self.metrics)
        about = self.definitions["metrics"][metric]
        n_tracks = len(self.tracks)
        better = "higher" if about["higher_is_better"] else "lower"
        intervals = "; intervals: bootstrap over tracks"
        if n_tracks < LEAST:
            intervals = ": too few for an interval"
        parts = [
            f"{metric}: {about['definition']}; {better} is better.",
            f"{n_tracks} track{'s' * (n_tracks != 1)}{intervals}.",
            "Average: the mean of the stems' numbers.",
            *self._left_out(),
        ]
        lags = [f"{name} {t.lag}" for name, t in self.tracks.items() if t.lag]
        if lags:
            parts.append(f"Lags of the estimates, removed, samples: {', '.join(lags)}.")
        entries = [entry for track in self.tracks.values() for entry in track.capped]
        n_capped = sum(entry.split(" ", 1)[0] == metric for entry in entries)
        if n_capped:
            parts.append(
                f"{n_capped} scores are ±100 by cap: perfect or empty estimates."
            )
        return " ".join(parts)

    def _left_out(self) -> Iterator[str]:
        """Sentences on the tracks without a score: of silent stems, then of absent."""
        if any(self.n_silent(stem) for stem in self.stems):
            silent = [f"{stem} in {self.n_silent(stem)}" for stem in self.stems]
            yield f"Silent, so without a ratio: {', '.join(silent)}."
            if "model" in self.rows:
                pairs = [(s, self.level_at_silence("model", s)) for s in self.stems]
                levels = [f"{s} {x:.0f} dBFS" for s, x in pairs if x is not None]
                yield f"There the estimates are at: {', '.join(levels)}."
        if any(self.n_absent(stem) for stem in self.stems):
            absent = [f"{stem} from {self.n_absent(stem)}" for stem in self.stems]
            yield (
                "Absent (there is no reference; it is not silence), so without any "
                f"score: {', '.join(absent)}. Each stem has the numbers of the tracks "
                "that it is in, and the average weighs all stems alike."
            )

    def save(self, path: str | Path) -> Path:
        """Write everything as JSON, whole or not at all; into a folder as FILE."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        summary: dict[str, Any] = {}  # for readers of the file
        for metric, row, aggregation, stem in self._places():
            of_row = summary.setdefault(metric, {}).setdefault(row, {})
            value = getattr(self, _METHODS[aggregation])(metric, row, stem)
            of_row.setdefault(aggregation, {})[stem] = value
            of_row.setdefault("n_tracks", {})[stem] = len(
                self.by_track(metric, row, stem)
            )
        document = {
            "format": FORMAT,
            "stems": self.stems,
            "definitions": self.definitions,
            "about": self.about,
            "data_sha256": self.data_sha256,
            "summary": summary,
            "tracks": [asdict(track) for track in self.tracks.values()],
        }
        write_json(path, document)
        return path


def load_evaluation(path: str | Path) -> Evaluation:
    """Read the file that `Evaluation.save` has written.

    Args:
        path: a run folder, or the JSON file itself.

    Raises:
        DatasetError: no such file, or one of another kind or format.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    where = str(file.absolute())
    remedy = "Choose a folder of a finished mssedu evaluate -o."
    if not file.is_file():
        raise DatasetError(f"{where}: no such file. {remedy}")
    try:
        text = file.read_text("utf-8")
        document = json.loads(text, parse_constant=_refused)
        version = document["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        text = f"holds no evaluation ({type(error).__name__}: {error})"
        raise DatasetError(f"{where} {text}. {remedy}") from error
    if version != FORMAT:
        raise DatasetError(
            f"{where} has the format {version}, and this version of mssedu reads "
            f"format {FORMAT}. Update mssedu to the version that wrote the file."
        )
    if wrong := misfit(document, _DOCUMENT) or _misfit_of_scores(document):
        raise DatasetError(f"{where} is no whole evaluation: {wrong}. {remedy}")
    tracks = [as_scores(track) for track in document["tracks"]]
    definitions = document["definitions"]
    return Evaluation(
        stems=tuple(document["stems"]),
        metrics=tuple(definitions["metrics"]),
        rows=tuple(definitions["rows"]),
        tracks={track.name: track for track in tracks},
        about=document["about"],
        definitions=definitions,
    )


def _refused(constant: str) -> None:
    """Raise DatasetError for NaN and Infinity, which Python takes for JSON."""
    raise DatasetError(f"{constant} is no number of JSON")


def _misfit_of_scores(document: Mapping[str, Any]) -> str | None:
    """`misfit` of the tracks, which have a score of every metric, row and stem."""
    definitions = document["definitions"]
    for name in ("metrics", "rows"):
        if not definitions[name]:
            return f"definitions.{name} is empty"
    if not document["stems"]:
        return "stems is empty"
    form = track_form(definitions["metrics"], definitions["rows"], document["stems"])
    for number, track in enumerate(document["tracks"]):
        if wrong := misfit_of_track(track, form, f"tracks.{number}"):
            return wrong
    return None


def misfit_of_track(track: Any, form: Mapping[str, Any], place: str) -> str | None:
    """`misfit` of the scores of a track, in which what is later may be missing."""
    known = track if isinstance(track, dict) else {}
    later = {name: kind for name, kind in _LATER.items() if name in known}
    if wrong := misfit(track, {**form, **later}, place):
        return wrong
    for kind in ("scores", "at_silence"):
        for rows in track[kind].values():
            for value in itertools.chain.from_iterable(map(_numbers, rows.values())):
                if abs(value) > LARGEST:
                    return f"{place}.{kind} has {value:g}, which no metric gives"
    return None


def _numbers(scores: float | Scores) -> list[float]:
    """The numbers of some stems, or one number, without those that are None."""
    values = scores.values() if isinstance(scores, Mapping) else [scores]
    return [value for value in values if value is not None]


def track_form(
    metrics: Iterable[str], rows: Iterable[str], stems: Iterable[str]
) -> dict[str, Any]:
    """TRACK with a score of every metric, row and stem."""
    rows = tuple(rows)
    of_rows = dict.fromkeys(rows, dict.fromkeys(stems, (float, None)))
    return TRACK | {
        "scores": dict.fromkeys(metrics, of_rows),
        "at_silence": {str: dict.fromkeys(rows, float)},
    }


def as_scores(document: Mapping[str, Any]) -> TrackScores:
    """The scores of a track in JSON, which has the form TRACK."""
    names = [field.name for field in fields(TrackScores)]
    return TrackScores(**{name: document[name] for name in names if name in document})


def mean_of_stems(values: Sequence[float | None]) -> float | None:
    """The mean of the stems' numbers, as papers print it; None unless all exist."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


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
    texts = [t if len(t) <= 40 else f"{t[:37]}…" for t in (str(old), str(new))]
    return f"{place}: {texts[0]}, now {texts[1]}"
