"""Whether ratings are repeatable, and whether a metric ranks sounds as listeners do.

    replicates   first and second rating of the same page ──▶ concordance, per listener
    metric       mean rating and score of the same sound  ──▶ Kendall's τ, Spearman's ρ

Concordance is a correlation that also requires equal values: it is 1 if all pairs are
equal, and lower if the second ratings are shifted or scaled. A metric and a rating have
different units, so only their order is compared, above all within each song: if some
songs are harder for all systems, then a correlation over songs looks better than it is.

Sources: Lin 1989, "A concordance correlation coefficient to evaluate reproducibility";
Kendall 1938; Spearman 1904. Notebook: 14.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from mssedu.errors import InputError
from mssedu.listening.results.ratings import of_question
from mssedu.listening.test.design import REFERENCE, Design
from mssedu.listening.test.stimuli import load_excerpts
from mssedu.metrics.ratios import usdr


@dataclass(frozen=True)
class RankAgreement:
    """How well the order of ratings follows the order of scores."""

    kendall: float  # τ-b over all sounds; NaN if the ratings or the scores are constant
    spearman: float  # ρ over all sounds
    n: int  # sounds
    kendall_within: float  # mean τ-b of the trials: the order of systems in one song
    spearman_within: float
    n_trials: int  # trials with at least two sounds that differ in rating and score


def concordance(first: Sequence[float], second: Sequence[float]) -> float:
    """Lin's concordance correlation coefficient, -1 … 1; NaN if nothing varies.

    2 cov(first, second) / (var(first) + var(second) + (mean(first) - mean(second))²).

    Both are ratings of the same things in the same order, at least two.

    Example:
        >>> round(concordance([1, 2, 3], [1, 2, 3]), 3)
        1.0
        >>> round(concordance([1, 2, 3], [11, 12, 13]), 3)
        0.013
    """
    if len(first) != len(second) or len(first) < 2:
        raise InputError(
            "first and second must be ratings of the same things, at least two: got "
            f"{len(first)} and {len(second)}."
        )
    a, b = np.asarray(first, float), np.asarray(second, float)
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    return float(2 * covariance / spread) if spread else math.nan


def replicate_agreement(
    ratings: DataFrame, systems: Sequence[str] | None = None
) -> dict[str, float]:
    """Concordance between the first and the second ratings of each listener.

    Args:
        ratings: as `export.ratings_frame` returns them.
        systems: stimuli to use (None: all). Leave out reference and anchors: almost
            every listener gives them the same rating twice.

    Returns:
        listener -> concordance, NaN for fewer than two pairs of ratings.
    """
    keys = ["listener", "trial", "question", "stimulus"]
    rows = ratings if systems is None else ratings[ratings.stimulus.isin(systems)]
    again = rows[rows.replicate.astype(bool)]
    first = rows[~rows.replicate.astype(bool)]
    both = first.merge(again, on=keys, suffixes=("_first", "_again"))
    agreement = dict.fromkeys(ratings.listener, math.nan)
    for listener, own in both.groupby("listener"):
        if len(own) > 1:
            agreement[listener] = concordance(own.score_first, own.score_again)
    return agreement


def excerpt_scores(design: Design) -> dict[tuple[str, str], float]:
    """`usdr` of the excerpts of a test with a reference, before they are leveled.

    Scores of whole songs would not fit the ratings, which are of excerpts.

    Returns:
        (trial, system) -> dB, without practice trials and silent references.

    Raises:
        InputError: a trial without a reference, or files that do not fit together.
        AudioFileError: a file that cannot be read.
    """
    scores = {}
    for trial in design.counted:
        parts, _ = load_excerpts(design, trial)
        if REFERENCE not in parts:
            raise InputError(
                f"trial {trial.name!r} has no reference, which usdr needs."
            )
        for system in design.conditions:
            score = usdr(reference=parts[REFERENCE], estimate=parts[system])
            if not score.isnan():
                scores[trial.name, system] = float(score)
    return scores


def rank_agreement(
    ratings: DataFrame,
    scores: Mapping[tuple[str, str], float],
    question: str | None = None,
) -> RankAgreement:
    """Rank correlation of mean ratings and a metric, over all sounds and within trials.

    Args:
        ratings: as `export.ratings_frame` returns them.
        scores: (trial, stimulus) -> score; sounds without a score are left out.
        question: of the test; may be omitted if there is only one.

    Raises:
        InputError: an unknown question, or fewer than two sounds that have both.
    """
    rows = of_question(ratings, question)
    means = rows.groupby(["trial", "stimulus"], sort=False).score.mean()
    pairs = means[[sound in scores for sound in means.index]].to_frame("rating")
    pairs["metric"] = [scores[sound] for sound in pairs.index]
    if len(pairs) < 2:
        raise InputError(
            f"scores has values for {len(pairs)} of the rated sounds, and two are "
            "needed. Use the names of trials and stimuli in the ratings."
        )
    trials = [
        _rank_correlations(rows) for _, rows in pairs.groupby("trial", sort=False)
    ]
    defined = [trial for trial in trials if not math.isnan(trial[0])]
    within = np.mean(defined, axis=0) if defined else (math.nan, math.nan)
    kendall, spearman = _rank_correlations(pairs)
    kendall_within, spearman_within = map(float, within)
    return RankAgreement(
        kendall, spearman, len(pairs), kendall_within, spearman_within, len(defined)
    )


def _rank_correlations(pairs: DataFrame) -> tuple[float, float]:
    """Kendall's τ-b and Spearman's ρ; NaN if one side does not vary."""
    from scipy.stats import kendalltau, spearmanr

    if (pairs.nunique() < 2).any():
        return math.nan, math.nan
    a, b = pairs.rating, pairs.metric
    return float(kendalltau(a, b).statistic), float(spearmanr(a, b).statistic)
