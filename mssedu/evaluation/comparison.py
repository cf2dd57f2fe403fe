"""Two or more evaluations on the same tracks: how much they differ, and how surely.

    RUN_A ─┐  same definitions, versions, tracks?
    RUN_B ─┴─ else an error that names the difference ──▶ B - A, a line per stem

The first run is the baseline. Scores of one track are paired: what makes a song hard
is hard for both and cancels out. Only tracks in which both have a score count.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mssedu.errors import InputError, check_name, message
from mssedu.evaluation.result import Evaluation, first_difference
from mssedu.evaluation.score_tables import NONE
from mssedu.evaluation.statistics import PairedTest, holm, paired_test
from mssedu.reports.tables import Head, Rows

ROW = "model"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """One stem of a run beside the baseline."""

    run: str
    stem: str
    baseline_mean: float
    mean: float
    test: PairedTest  # differences are run - baseline
    p_holm: float  # of all tests of the table together


def compare(
    runs: Mapping[str, Evaluation], metric: str | None = None, *, common: bool = False
) -> list[Comparison]:
    """Compare runs with the first of them, stem by stem.

    Args:
        runs: name -> evaluation, at least two.
        metric: to compare; the first that the first run has if None.
        common: where tracks or stems are not the same, take those that all runs have.

    Raises:
        InputError: fewer than two runs, definitions, versions or data that differ, or
            no track in which all have a score.
    """
    if len(runs) < 2:
        remedy = "Name a baseline and at least one other run."
        raise InputError(message("compare", "at least two runs", len(runs), remedy))
    base_name, base = next(iter(runs.items()))
    metric = metric or base.metrics[0]
    for name, run in runs.items():
        check_name("metric", metric, run.metrics, where=f"compare {name}")
        check_name("row", ROW, run.rows, where=f"compare {name}")
        _check_comparable((base_name, base), (name, run), metric, common)
    stems = [s for s in base.stems if all(s in run.stems for run in runs.values())]
    pairs = []
    for name, run in list(runs.items())[1:]:
        for stem in stems:
            old, new = (e.by_track(metric, ROW, stem) for e in (base, run))
            tracks = [track for track in old if track in new]
            if tracks:
                pairs.append((name, stem, [(old[t], new[t]) for t in tracks]))
    if not pairs:
        remedy = "Compare runs on the same data set."
        wanted = f"a track in which both have {metric}"
        raise InputError(message("compare", wanted, "none", remedy))
    columns = [tuple(zip(*scores, strict=True)) for _, _, scores in pairs]
    tests = [paired_test(old, new) for old, new in columns]
    adjusted = holm([test.p for test in tests])
    return [
        Comparison(name, stem, fmean(old), fmean(new), test, p)
        for (name, stem, _), (old, new), test, p in zip(
            pairs, columns, tests, adjusted, strict=True
        )
    ]


def comparison_table(found: Sequence[Comparison], metric: str) -> tuple[Head, Rows]:
    """Head and lines, texts each."""
    head = (
        *(f"{metric}, mean of tracks", "stem", "tracks", "baseline", "run"),
        *("difference", "95 % interval", "p", "p (Holm)", "r", "d_z"),
    )
    lines = []
    for one in found:
        test = one.test
        interval = NONE
        if test.interval:
            interval = f"{test.interval[0]:+.2f}…{test.interval[1]:+.2f}"
        d_z = NONE if math.isnan(test.d_z) else f"{test.d_z:+.2f}"
        effects = (f"{test.rank_biserial:+.2f}", d_z)
        numbers = (f"{one.baseline_mean:.2f}", f"{one.mean:.2f}")
        lines.append(
            (
                *(one.run, one.stem, str(test.n), *numbers, f"{test.difference:+.2f}"),
                *(interval, p_text(test.p), p_text(one.p_holm), *effects),
            )
        )
    return head, lines


def comparison_note(runs: Mapping[str, Evaluation], found: Sequence[Comparison]) -> str:
    """How the table was made, and what so few tracks cannot show."""
    baseline = next(iter(runs))
    parts = [
        f"Differences are run − {baseline} (the baseline), tracks paired; intervals: "
        "percentile bootstrap over tracks; p: two-sided Wilcoxon signed-rank test; "
        f"Holm: all {len(found)} tests of this table together; effects: r, matched-"
        "pairs rank-biserial correlation, −1 … 1, and d_z, mean / standard deviation."
    ]
    fewest = min(found, key=lambda one: one.test.n - one.test.n_zero)
    best = fewest.test.smallest_p * len(found)
    if best > SIGNIFICANT:
        n = fewest.test.n - fewest.test.n_zero
        parts.append(
            f"Too few tracks: with {n} that differ ({fewest.stem}) p cannot fall below "
            f"{p_text(fewest.test.smallest_p)}, with Holm {p_text(min(best, 1.0))}, "
            "however large the difference is."
        )
    for name, run in runs.items():
        sets = {len(run.tracks), *(one.test.n for one in found if one.run == name)}
        if len(sets) > 1:
            parts.append(f"{name} has {len(run.tracks)} tracks; see how many count.")
    return " ".join(parts)


def p_text(p: float) -> str:
    """Three digits, as tables have it.

    Example:
        >>> p_text(0.04321), p_text(0.0000001)
        ('0.043', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _check_comparable(
    base: tuple[str, Evaluation],
    other: tuple[str, Evaluation],
    metric: str,
    common: bool,
) -> None:
    """Raise InputError unless equal numbers of both would mean the same."""
    where = f"compare {base[0]} and {other[0]}"
    old, new = base[1], other[1]
    difference = first_difference(_meaning(old, metric), _meaning(new, metric))
    if difference:
        remedy = "Evaluate both anew with one version and the same settings."
        raise InputError(message(where, "one definition of scores", difference, remedy))
    changed = [
        name
        for name, track in old.tracks.items()
        if name in new.tracks and new.tracks[name].audio_sha256 != track.audio_sha256
    ]
    if changed:
        remedy = "Evaluate both on the same files."
        got = f"other audio under the same name: {', '.join(changed[:3])}"
        raise InputError(message(where, "the same tracks", got, remedy))
    joint = old.definitions["metrics"][metric]["joint"]
    if {*old.tracks} ^ {*new.tracks} and not common:
        got = _only_one_has({*old.tracks} ^ {*new.tracks})
        remedy = "Evaluate both on all of them, or compare the common ones: common."
        raise InputError(message(where, "the same tracks", got, remedy))
    if {*old.stems} ^ {*new.stems} and (joint or not common):
        got = _only_one_has({*old.stems} ^ {*new.stems})
        remedy = "Evaluate both alike, or compare the common stems: common."
        if joint:
            remedy = f"Evaluate both alike: {metric} depends on all stems."
        raise InputError(message(where, "the same stems", got, remedy))


def _meaning(run: Evaluation, metric: str) -> dict[str, Any]:
    """What fixes the meaning of a number."""
    return {
        "metric": run.definitions["metrics"][metric],
        "align": run.definitions["align"],
        "sample_rate": run.about["sample_rate"],
    }


def _only_one_has(names: set[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"only one has {', '.join(sorted(names)[:3])}{more}"
