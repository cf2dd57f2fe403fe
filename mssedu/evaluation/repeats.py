"""Several trainings of one system: the mean of their evaluations, song by song.

    seed 0 ─┐
    seed 1 ─┼─ same songs, same definitions ──▶ one evaluation, whose scores are means
    seed 2 ─┘

A comparison of two systems should not depend on lucky seeds, and the songs stay the
unit of its statistics. So the seeds are averaged first, and then the songs are paired.
How much the seeds differ is a number of its own: see `mean_interval`.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from mssedu.errors import InputError
from mssedu.evaluation.result import Evaluation, first_difference


def mean_of_runs(runs: Sequence[Evaluation]) -> Evaluation:
    """The mean of several evaluations of the same songs, score by score.

    Args:
        runs: one evaluation per training.

    Raises:
        InputError: no evaluation, or evaluations of other songs, stems or definitions.
    """
    if not runs:
        raise InputError("runs is empty. Give at least one evaluation.")
    first = runs[0]
    for other in runs[1:]:
        if difference := first_difference(_meaning(first), _meaning(other)):
            raise InputError(
                f"the evaluations differ in more than their runs: {difference}. "
                "Evaluate all of them on the same songs, with one version of mssedu."
            )
    tracks = {}
    for name, track in first.tracks.items():
        scores = {
            metric: {
                row: {
                    stem: _mean(
                        [r.tracks[name].scores[metric][row][stem] for r in runs]
                    )
                    for stem in by_stem
                }
                for row, by_stem in by_row.items()
            }
            for metric, by_row in track.scores.items()
        }
        tracks[name] = replace(track, scores=scores)
    return replace(first, tracks=tracks)


def song_means(run: Evaluation, metric: str, row: str = "model") -> dict[str, float]:
    """For each song the mean over those of its stems that have a score."""
    means = {}
    for name in run.tracks:
        scores = [s for s in run.of_track(name, metric)[row].values() if s is not None]
        if scores:
            means[name] = fmean(scores)
    return means


def stem_average(run: Evaluation, metric: str, row: str = "model") -> float:
    """Mean over the stems that have scores, of each stem the mean over the songs."""
    means = [run.mean(metric, row, stem) for stem in run.stems]
    return fmean(mean for mean in means if mean is not None)


def _meaning(run: Evaluation) -> dict[str, object]:
    """What two evaluations must have in common so that their mean makes sense."""
    return {
        "stems": list(run.stems),
        "definitions": run.definitions,
        "songs": {name: track.audio_sha256 for name, track in run.tracks.items()},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where one run has no score: the stem is silent or absent."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
