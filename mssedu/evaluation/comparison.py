"""Compare two or more evaluations on the same tracks: differences and their p-values.

    RUN_A ─┐  same definitions, versions, tracks?
    RUN_B ─┴─ else an error that names the difference ──▶ B - A, a line per stem

The first run is the baseline. The scores of one track are paired: a song that is hard
for one system is hard for the other too, and this cancels out in the difference. Only
tracks in which both runs have a score count: where a stem is silent or absent, it has
none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

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
    scores = {}  # run, stem -> scores of the baseline and of the run, by track
    for name, stem in product([*runs][1:], stems):
        ours, theirs = (e.by_track(metric, ROW, stem) for e in (base, runs[name]))
        tracks = [track for track in ours if track in theirs]
        if tracks:
            scores[name, stem] = [ours[t] for t in tracks], [theirs[t] for t in tracks]
    if not scores:
        raise InputError(
            f"the runs have no track in which both have {metric}. Compare runs on the "
            "same data set."
        )
    tests = [paired_test(*pair) for pair in scores.values()]
    adjusted = holm([test.p for test in tests])
    comparisons = []
    for (name, stem), test, p in zip(scores, tests, adjusted, strict=True):
        old, new = map(fmean, scores[name, stem])
        comparisons.append(Comparison(name, stem, old, new, test, p))
    return comparisons


def comparison_table(comparisons: Sequence[Comparison], metric: str) -> DataFrame:
    """A line per comparison; intervals and p-values are text, all else is numbers.

    The effect sizes are r (matched-pairs rank-biserial correlation) and d_z.
    """
    lines = []
    for one in comparisons:
        test, ends = one.test, one.test.interval
        line = {
            f"{metric}, mean of tracks": one.run,
            "stem": one.stem,
            "tracks": test.n,
            "baseline": one.baseline_mean,
            "run": one.mean,
            "difference": test.difference,
            "95 % interval": f"{ends[0]:+.2f}…{ends[1]:+.2f}" if ends else None,
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
    test = fewest.test
    best = test.smallest_p * len(comparisons)
    if best > SIGNIFICANT:
        parts.append(
            f"Too few tracks: with {test.n - test.n_zero} that differ ({fewest.stem}) "
            f"p cannot fall below {p_text(test.smallest_p)}, with Holm "
            f"{p_text(min(best, 1.0))}, however large the difference is."
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
    """A p-value with three decimals, or "<0.001"."""
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
    meanings = [
        {
            "metric": run.definitions["metrics"][metric],
            "align": run.definitions["align"],
            "sample_rate": run.about["sample_rate"],
        }
        for run in (old, new)
    ]
    difference = first_difference(meanings[0], meanings[1])
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
    for kind in ("tracks", "stems"):
        only = sorted({*getattr(old, kind)} ^ {*getattr(new, kind)})
        depends = joint and kind == "stems"
        if only and (depends or not common):
            more = f" and {len(only) - 3} more" if len(only) > 3 else ""
            remedy = "or compare only the common ones with --common."
            if depends:
                remedy = f"because {metric} depends on all stems."
            raise InputError(
                f"{both} have different {kind}: only one has {', '.join(only[:3])}"
                f"{more}. Evaluate both alike, {remedy}"
            )
    if joint:
        _check_absent(both, old, new, metric)


def _check_absent(both: str, old: Evaluation, new: Evaluation, metric: str) -> None:
    """Raise InputError if a track lacks other stems in one run than in the other."""
    changed = [
        track
        for track, scores in old.tracks.items()
        if track in new.tracks and {*new.tracks[track].absent} != {*scores.absent}
    ]
    if changed:
        raise InputError(
            f"{both} differ in the stems that are absent from {', '.join(changed[:3])}"
            f", and {metric} depends on all stems. Evaluate both with the same "
            "--on-missing."
        )
