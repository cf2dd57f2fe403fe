"""Scores as tables of texts: rows between silence and oracle, both aggregations named.

    usdr, dB  aggregation       vocals     …  average
    model     mean of tracks    6.32       …  5.33
              95 % interval     5.9…6.7
              median of tracks  6.41       …  5.40
              95 % interval     6.0…6.8
              standard deviation 1.81

The interval is the bootstrap's over tracks; below three tracks there is none, and the
note says so. `mssedu.reports.tables.render` makes any format of the lines.
"""

from collections.abc import Sequence

from mssedu.evaluation.result import AGGREGATIONS, SPREAD, Evaluation
from mssedu.evaluation.statistics import LEAST
from mssedu.reports.tables import Head, Rows

NONE = "–"


def score_table(
    evaluation: Evaluation,
    metric: str,
    aggregations: Sequence[str] = (*AGGREGATIONS, SPREAD),
) -> tuple[Head, Rows]:
    """Head and lines of one metric: a line per row and aggregation.

    Raises:
        InputError: an unknown metric or aggregation.
    """
    lines = []
    for row in evaluation.rows:
        of_row = [
            line
            for name in aggregations
            for line in _lines(evaluation, metric, row, name)
        ]
        lines += [
            (row if number == 0 else "", *line) for number, line in enumerate(of_row)
        ]
    head = (titled(evaluation, metric), "aggregation", *evaluation.stems, "average")
    return head, lines


def _lines(
    evaluation: Evaluation, metric: str, row: str, aggregation: str
) -> list[tuple[str, ...]]:
    """One aggregation of a row, and how sure it is, without the row's name."""
    stems = evaluation.stems
    if aggregation == SPREAD:
        spread = [evaluation.deviation(metric, row, stem) for stem in stems]
        is_known = any(value is not None for value in spread)
        return [(SPREAD, *map(number_text, spread), "")] if is_known else []
    found = [evaluation.summary(metric, row, stem, aggregation) for stem in stems]
    values = [summary.value for summary in found]
    lines = [(aggregation, *map(number_text, (*values, mean_of_stems(values))))]
    if any(summary.interval for summary in found):
        intervals = [interval_text(summary.interval) for summary in found]
        lines.append(("95 % interval", *intervals, ""))
    return lines


def track_table(evaluation: Evaluation, track: str, metric: str) -> tuple[Head, Rows]:
    """Head and lines of the scores of one track."""
    scores = evaluation.of_track(track, metric)
    lines = [
        (row, *(number_text(scores[row][stem]) for stem in evaluation.stems))
        for row in evaluation.rows
    ]
    return (titled(evaluation, metric), *evaluation.stems), lines


def long_table(evaluation: Evaluation, metrics: Sequence[str]) -> tuple[Head, Rows]:
    """Head and lines for CSV: one number a line, with all that tells what it is."""
    head = ("metric", "unit", "row", "aggregation", "stem", "value", "low", "high")
    lines = []
    for metric in metrics:
        about = evaluation.definitions["metrics"][metric]
        what = (str(about["version"]), about["definition"])
        for row in evaluation.rows:
            for name in AGGREGATIONS:
                for stem in evaluation.stems:
                    found = evaluation.summary(metric, row, stem, name)
                    numbers = (found.value, *(found.interval or (None, None)))
                    texts = ["" if x is None else f"{x:.4f}" for x in numbers]
                    counts = (str(found.n), str(evaluation.n_silent(stem)))
                    names = (metric, about["unit"], row, name, stem)
                    lines.append((*names, *texts, *counts, *what))
            for stem in evaluation.stems:
                spread = evaluation.deviation(metric, row, stem)
                n = len(evaluation.by_track(metric, row, stem))
                texts = ["" if spread is None else f"{spread:.4f}", "", ""]
                counts = (str(n), str(evaluation.n_silent(stem)))
                names = (metric, about["unit"], row, SPREAD, stem)
                lines.append((*names, *texts, *counts, *what))
    return (*head, "n_tracks", "n_silent", "version", "definition"), lines


def score_note(evaluation: Evaluation, metric: str) -> str:
    """What the numbers of a table mean, and what was left out of them."""
    about = evaluation.definitions["metrics"][metric]
    n_tracks, stems = len(evaluation.tracks), evaluation.stems
    better = "higher" if about["higher_is_better"] else "lower"
    parts = [f"{metric}: {about['definition']}; {better} is better."]
    if n_tracks < LEAST:
        parts.append(f"{_tracks(n_tracks)}: too few for an interval.")
    else:
        parts.append(f"{_tracks(n_tracks)}; intervals: bootstrap over tracks.")
    parts.append("Average: the mean of the stems' numbers.")
    silent = [f"{stem} in {evaluation.n_silent(stem)}" for stem in stems]
    if any(evaluation.n_silent(stem) for stem in stems):
        parts.append(f"Silent, so without a ratio: {', '.join(silent)}.")
        parts += _levels(evaluation)
    lags = [f"{name} {t.lag}" for name, t in evaluation.tracks.items() if t.lag]
    if lags:
        parts.append(f"Lags taken out, samples: {', '.join(lags)}.")
    infinite = [entry for t in evaluation.tracks.values() for entry in t.capped]
    n_capped = sum(entry.split(" ", 1)[0] == metric for entry in infinite)
    if n_capped:
        parts.append(f"{n_capped} scores are ±100 by cap: perfect or empty estimates.")
    return " ".join(parts)


def titled(evaluation: Evaluation, metric: str) -> str:
    """Name and unit."""
    unit = evaluation.definitions["metrics"][metric]["unit"]
    return f"{metric}, {unit}" if unit else metric


def mean_of_stems(values: Sequence[float | None]) -> float | None:
    """As tables of the field have it: the mean of the stems' numbers, if all exist."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def number_text(value: float | None) -> str:
    """Two digits; a dash where there is nothing."""
    return NONE if value is None else f"{value:.2f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Both ends, one digit; a dash where there is none.

    Example:
        >>> interval_text((5.91, 6.74))
        '5.9…6.7'
    """
    return NONE if interval is None else f"{interval[0]:.1f}…{interval[1]:.1f}"


def _levels(evaluation: Evaluation) -> list[str]:
    """How loud the estimates are where nothing should sound."""
    if "model" not in evaluation.rows:
        return []
    levels = {s: evaluation.level_at_silence("model", s) for s in evaluation.stems}
    texts = [
        f"{s} {level:.0f} dBFS" for s, level in levels.items() if level is not None
    ]
    return [f"There the estimates are at: {', '.join(texts)}."]


def _tracks(n: int) -> str:
    return "1 track" if n == 1 else f"{n} tracks"
