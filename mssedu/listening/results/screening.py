"""Whose ratings count: post-screening of a MUSHRA panel by the standard's two rules.

    hidden reference below 90 in more than 15 % of the items   ──▶ does not hear it
    mid anchor above 90       in more than 15 % of the items   ──▶ does not hear it

More than 15 %: who misses one item of ten stays. Where more than a quarter of all
listeners take the mid anchor for excellent, the item is at fault and not they: a bass
has nothing above 7 kHz. Such items do not count for the second rule. Whoever goes, goes
with all ratings; and the report names them, for the rules must be fixed before the
results are known.

Source: ITU-R BS.1534-3, §4.1.2, as quoted in public analysis code. Notebook: 14.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mssedu.errors import InputError, message
from mssedu.listening.test.design import REFERENCE

if TYPE_CHECKING:
    from pandas import DataFrame, Series

GOOD = 90.0  # rating that a reference should reach and an anchor should not
MOST_MISSES = 0.15  # share of the items
FAULTY_ITEM = 0.25  # share of the listeners
MID_ANCHOR = "anchor70"


@dataclass(frozen=True)
class Screening:
    """Who stays and who goes."""

    kept: tuple[str, ...]
    excluded: dict[str, str]  # listener -> why
    faulty_items: tuple[str, ...]  # where the mid anchor is no anchor

    def apply(self, ratings: "DataFrame") -> "DataFrame":
        """The ratings of those who stay."""
        return ratings[ratings.listener.isin(self.kept)]


def screen(ratings: "DataFrame", mid_anchor: str = MID_ANCHOR) -> Screening:
    """Apply both rules; without a hidden reference or mid anchor, that rule does not.

    An item is a trial with a question; replicates count as items of their own.

    Args:
        ratings: as `export.ratings_frame` gives them.
        mid_anchor: which stimulus the second rule looks at.

    Raises:
        InputError: ratings of no kind.
    """
    if not len(ratings):
        remedy = "Wait for listeners to finish a page."
        raise InputError(message("screen", "ratings", "none", remedy))
    reference = ratings[ratings.stimulus == REFERENCE]
    anchor = ratings[ratings.stimulus == mid_anchor]
    taken = (anchor.score > GOOD).groupby([anchor.trial, anchor.question]).mean()
    faulty = [item for item, share in taken.items() if share > FAULTY_ITEM]
    items = zip(anchor.trial, anchor.question, strict=True)
    sound = np.array([item not in faulty for item in items], dtype=bool)
    anchor = anchor[sound]
    rules = {
        "hidden reference below 90": _share(reference, reference.score < GOOD),
        f"{mid_anchor} above 90": _share(anchor, anchor.score > GOOD),
    }
    excluded = {}
    for listener in _unique(ratings.listener):
        shares = {rule: share.get(listener, 0.0) for rule, share in rules.items()}
        broken = {rule: s for rule, s in shares.items() if s > MOST_MISSES}
        if broken:
            why = (
                f"{rule} in {share:.0%} of the items" for rule, share in broken.items()
            )
            excluded[listener] = ", ".join(why)
    kept = tuple(i for i in _unique(ratings.listener) if i not in excluded)
    return Screening(kept, excluded, tuple(f"{t} ({q})" for t, q in faulty))


def _share(rows: "DataFrame", missed: "Series") -> dict[str, float]:
    """Listener -> share of the rows that are missed."""
    found: dict[str, float] = missed.groupby(rows.listener).mean().to_dict()
    return found


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
