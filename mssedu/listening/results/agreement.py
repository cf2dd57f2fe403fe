"""Do ratings agree: with themselves when asked again, and with a metric?

    replicates   first and second rating of the same page ──▶ concordance, per listener
    metric       mean rating and score of the same sound ──▶ Kendall's τ, Spearman's ρ

Concordance is correlation that also wants the same values: 1 if all pairs are equal,
lower if the second ratings are all shifted or stretched. For a metric only the order
can be asked of, and within a song above all: that some songs are harder for systems and
metrics alike makes a correlation over songs look good.

Sources: Lin 1989, "A concordance correlation coefficient to evaluate reproducibility";
Kendall 1938; Spearman 1904. Notebook: 14.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mssedu.errors import InputError, message
from mssedu.listening.results.ratings import of_question
from mssedu.listening.test.design import REFERENCE, Design
from mssedu.listening.test.stimuli import load_excerpts
from mssedu.metrics.ratios import usdr

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class RankAgreement:
    """How well the order of ratings follows the order of scores."""

    kendall: float  # τ-b over all sounds; NaN where either side is constant
    spearman: float  # ρ over all sounds
    n: int  # sounds
    kendall_within: float  # mean τ-b of the trials: the order of systems in one song
    spearman_within: float
    n_trials: int  # with at least two sounds that differ in both


def concordance(first: Sequence[float], second: Sequence[float]) -> float:
    """Lin's concordance correlation coefficient; NaN if nothing varies.

    Args:
        first, second: ratings of the same things, in the same order.

    Raises:
        InputError: unequal numbers of them, or fewer than two.

    Example:
        >>> round(concordance([1, 2, 3], [1, 2, 3]), 3)
        1.0
        >>> round(concordance([1, 2, 3], [11, 12, 13]), 3)
        0.013
    """
    if len(first) != len(second) or len(first) < 2:
        remedy = "Give two ratings of each of at least two things."
        got = f"{len(first)} and {len(second)}"
        raise InputError(message("concordance", "as many ratings twice", got, remedy))
    a, b = np.asarray(first, float), np.asarray(second, float)
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    both = ((a - a.mean()) * (b - b.mean())).mean()
    return float(2 * both / spread) if spread else math.nan


def replicate_agreement(
    ratings: "DataFrame", systems: Sequence[str] | None = None
) -> dict[str, float]:
    """Concordance of each listener between the first and the second time.

    Args:
        ratings: as `export.ratings_frame` gives them.
        systems: stimuli to look at; leave out reference and anchors, which everyone
            rates alike twice. All if None.

    Returns:
        listener -> concordance, NaN for fewer than two pairs.
    """
    keys = ["listener", "trial", "question", "stimulus"]
    rows = ratings if systems is None else ratings[ratings.stimulus.isin(systems)]
    again = rows[rows.replicate.astype(bool)]
    first = rows[~rows.replicate.astype(bool)]
    both = first.merge(again, on=keys, suffixes=("_first", "_again"))
    found = {}
    for listener in dict.fromkeys(ratings.listener):
        mine = both[both.listener == listener]
        pairs = list(mine.score_first), list(mine.score_again)
        found[listener] = concordance(*pairs) if len(mine) > 1 else math.nan
    return found


def excerpt_scores(design: Design) -> dict[tuple[str, str], float]:
    """`usdr` of exactly the excerpts that were heard, before their levels were matched.

    Scores of whole songs would be scores of something else than the ratings.

    Args:
        design: a test with a reference.

    Returns:
        (trial, system) -> dB, for the trials that count and whose reference is not
        silent.

    Raises:
        InputError: a trial without a reference, or files that do not fit.
        AudioFileError: a file that cannot be read.
    """
    found = {}
    for trial in design.counted:
        parts, _ = load_excerpts(design, trial)
        if REFERENCE not in parts:
            remedy = "A score needs the true stem."
            where = f"trial {trial.name!r}"
            raise InputError(message(where, "a file of its reference", "none", remedy))
        for system in design.conditions:
            score = usdr(reference=parts[REFERENCE], estimate=parts[system])
            if not score.isnan():
                found[trial.name, system] = float(score)
    return found


def rank_agreement(
    ratings: "DataFrame",
    scores: Mapping[tuple[str, str], float],
    question: str | None = None,
) -> RankAgreement:
    """Mean ratings against a metric, over all sounds and within each trial.

    Args:
        ratings: as `export.ratings_frame` gives them.
        scores: (trial, stimulus) -> score, such as `usdr`; sounds without one are left
            out.
        question: which; may be left out if there is only one.

    Raises:
        InputError: an unknown question, or fewer than two sounds that have both.
    """
    rows = of_question(ratings, question)
    means = rows.groupby(["trial", "stimulus"], sort=False).score.mean()
    both = [(t, m, scores[t, s]) for (t, s), m in means.items() if (t, s) in scores]
    if len(both) < 2:
        remedy = "Name trials and stimuli as the ratings do."
        wanted = "scores of at least two rated sounds"
        raise InputError(message("rank_agreement", wanted, len(both), remedy))
    kendall, spearman = _ranks([b[1:] for b in both])
    by_trial: dict[str, list[tuple[float, ...]]] = {}
    for trial, *pair in both:
        by_trial.setdefault(trial, []).append(tuple(pair))
    within = [_ranks(pairs) for pairs in by_trial.values()]
    defined = [pair for pair in within if not math.isnan(pair[0])]
    mean = np.mean(defined, axis=0) if defined else (math.nan, math.nan)
    inside = float(mean[0]), float(mean[1]), len(defined)
    return RankAgreement(kendall, spearman, len(both), *inside)


def _ranks(pairs: Sequence[tuple[float, ...]]) -> tuple[float, float]:
    """Kendall's τ-b and Spearman's ρ; NaN where one side does not vary."""
    from scipy.stats import kendalltau, spearmanr

    a, b = zip(*pairs, strict=True)
    if len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan, math.nan
    return float(kendalltau(a, b).statistic), float(spearmanr(a, b).statistic)
