"""Compare two or more evaluations on the same tracks: differences and their p-values.

    RUN_A ─┐  same definitions, versions, tracks?
    RUN_B ─┴─ else an error that names the difference ──▶ B - A, a line per stem

The first run is the baseline. The scores of one track are paired: a song that is hard
for one system is hard for the other too, and this cancels out in the difference. Only
tracks in which both runs have a score count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pandas import DataFrame

from mssedu.errors import InputError, check_name
from mssedu.evaluation.result import Evaluation, first_difference
from mssedu.evaluation.statistics import PairedTest, holm, paired_test

ROW = "model"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """One stem of a run against the baseline."""

    run: str
    stem: str
    baseline_mean: float
    mean: float
    test: PairedTest  # differences are run - baseline
    p_holm: float  # corrected for all tests of the table


def compare(
    runs: Mapping[str, Evaluation], metric: str | None = None, *, common: bool = False
) -> list[Comparison]:
    """Compare runs with the first of them, stem by stem.

    Args:
        runs: name -> evaluation, at least two.
        metric: to compare; the first metric of the first run if None.
        common: if the runs differ in tracks or stems, use those that all runs have.

    Raises:
        InputError: fewer than two runs, definitions, versions or data that differ, or
            no track in which all have a score.
    """
    if len(runs) < 2:
        raise InputError(
            f"a comparison needs at least two runs, got {len(runs)}. Name a baseline "
            "and at least one other run."
        )
    base_name, base = next(iter(runs.items()))
    metric = metric or base.metrics[0]
    for name, run in runs.items():
        check_name("metric", metric, run.metrics, where=name)
        check_name("row", ROW, run.rows, where=name)
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
        raise InputError(
            f"the runs have no track in which both have {metric}. Compare runs on the "
            "same data set."
        )
    columns = [tuple(zip(*scores, strict=True)) for _, _, scores in pairs]
    tests = [paired_test(old, new) for old, new in columns]
    adjusted = holm([test.p for test in tests])
    return [
        Comparison(name, stem, fmean(old), fmean(new), test, p)
        for (name, stem, _), (old, new), test, p in zip(
            pairs, columns, tests, adjusted, strict=True
        )
    ]


def comparison_table(comparisons: Sequence[Comparison], metric: str) -> DataFrame:
    """A line per comparison; intervals and p-values are text, all else is numbers.

    The effect sizes are r (matched-pairs rank-biserial correlation) and d_z.
    """
    lines = []
    for one in comparisons:
        test, interval = one.test, ""
        if test.interval:
            interval = f"{test.interval[0]:+.2f}…{test.interval[1]:+.2f}"
        line = {
            f"{metric}, mean of tracks": one.run,
            "stem": one.stem,
            "tracks": test.n,
            "baseline": one.baseline_mean,
            "run": one.mean,
            "difference": test.difference,
            "95 % interval": interval or None,
            "p": p_text(test.p),
            "p (Holm)": p_text(one.p_holm),
            "r": float(test.rank_biserial),
            "d_z": test.d_z,
        }
        lines.append(line)
    return DataFrame(lines)


def comparison_note(
    runs: Mapping[str, Evaluation], comparisons: Sequence[Comparison]
) -> str:
    """How the table was made, and what so few tracks cannot show."""
    baseline = next(iter(runs))
    parts = [
        f"Differences are run − {baseline} (the baseline), tracks paired; intervals: "
        "percentile bootstrap over tracks; p: two-sided Wilcoxon signed-rank test; "
        f"Holm: all {len(comparisons)} tests of this table together; effects: r, "
        "matched-pairs rank-biserial correlation, −1 … 1, and d_z, mean / standard "
        "deviation."
    ]
    fewest = min(comparisons, key=lambda one: one.test.n - one.test.n_zero)
    best = fewest.test.smallest_p * len(comparisons)
    if best > SIGNIFICANT:
        n = fewest.test.n - fewest.test.n_zero
        parts.append(
            f"Too few tracks: with {n} that differ ({fewest.stem}) p cannot fall below "
            f"{p_text(fewest.test.smallest_p)}, with Holm {p_text(min(best, 1.0))}, "
            "however large the difference is."
        )
    for name, run in runs.items():
        counts = {one.test.n for one in comparisons if one.run == name}
        if counts - {len(run.tracks)}:
            parts.append(
                f"{name} has {len(run.tracks)} tracks; the column tracks has the "
                "number that counts."
            )
    return " ".join(parts)


def p_text(p: float) -> str:
    """A p-value with three decimals.

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
    """Raise InputError unless equal numbers mean the same in both runs."""
    (base_name, old), (name, new) = base, other
    both = f"{base_name} and {name}"
    difference = first_difference(_meaning(old, metric), _meaning(new, metric))
    if difference:
        raise InputError(
            f"{both} define their scores differently: {difference}. Evaluate both with "
            "one version of mssedu and the same settings."
        )
    changed = [
        track
        for track, scores in old.tracks.items()
        if track in new.tracks and new.tracks[track].audio_sha256 != scores.audio_sha256
    ]
    if changed:
        raise InputError(
            f"{both} have different audio under the same name: "
            f"{', '.join(changed[:3])}. Evaluate both on the same files."
        )
    joint = old.definitions["metrics"][metric]["joint"]
    if {*old.tracks} ^ {*new.tracks} and not common:
        raise InputError(
            f"{both} have different tracks: only one has "
            f"{_first({*old.tracks} ^ {*new.tracks})}. Evaluate both on all of them, "
            "or compare only the common ones with common."
        )
    if {*old.stems} ^ {*new.stems} and (joint or not common):
        remedy = "Evaluate both alike, or compare only the common ones with common."
        if joint:
            remedy = f"Evaluate both alike: {metric} depends on all stems."
        only = _first({*old.stems} ^ {*new.stems})
        raise InputError(f"{both} have different stems: only one has {only}. {remedy}")


def _meaning(run: Evaluation, metric: str) -> dict[str, Any]:
    """What fixes the meaning of a score."""
    return {
        "metric": run.definitions["metrics"][metric],
        "align": run.definitions["align"],
        "sample_rate": run.about["sample_rate"],
    }


def _first(names: set[str]) -> str:
    """Three of the names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(sorted(names)[:3])}{more}"
