"""Does a claim hold? Scores of songs and seeds, the interval, and the words it allows.

    scores.csv   variant, seed, song, stem, usdr ─┐ of one protocol, or refused
    scores.json  its hash, machine, versions ─────┴─▶ Study ──judge──▶ Verdict

The unit of analysis is a song: its score is the mean over stems, and its difference is
that of the means over seeds. Seeds with the same number draw the same examples in the
same order, so they are paired, too. The words of a verdict:

    better, worse   the interval of the mean difference excludes 0
    equal           it is inside the margin; this comes first: such a difference
                    counts as none
    unknown         anything else: no difference was found, and none was excluded

The claim itself ("by 0.5 dB or more") is supported if the interval is above that
number, refuted if it is below, and else open. Notebook: 17.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from mssedu.audio.files import misfit
from mssedu.errors import DatasetError, InputError, check_name, check_range
from mssedu.evaluation.protocol import Protocol, check_same_protocol
from mssedu.evaluation.statistics import (
    PairedTest,
    bootstrap_interval,
    equivalence_p,
    paired_test,
)

SCORES, FACTS = "scores.csv", "scores.json"
COLUMNS = ("variant", "seed", "song", "stem", "score")
_FACTS = {"protocol_sha256": str}


@dataclass(frozen=True)
class Study:
    """The scores of a protocol."""

    protocol: Protocol
    rows: DataFrame  # variant, seed, song, stem, score in dB
    facts: Mapping[str, Any]  # machine, versions, hours, hashes

    def table(self, variant: str) -> DataFrame:
        """Scores in dB of the songs (rows) with each seed (columns).

        A song counts if all its stems have a score in all runs of both variants.
        """
        check_name("variant", variant, self.rows.variant.unique().tolist())
        complete = self.rows.groupby("song").score.apply(lambda x: x.notna().all())
        rows = self.rows[self.rows.song.map(complete)]
        rows = rows[rows.variant == variant]
        return rows.pivot_table(index="song", columns="seed", values="score")

    def differences(self) -> DataFrame:
        """Changed - baseline in dB, songs (rows) and seeds (columns)."""
        old, new = (self.table(v) for v in (self.protocol.baseline, self.changed))
        return new - old

    @property
    def changed(self) -> str:
        """The variant that the claim is about."""
        return self.protocol.changed


@dataclass(frozen=True)
class Verdict:
    """What the interval of a mean difference allows to say."""

    word: str  # better, worse, equal or unknown
    claim: str  # supported, refuted or open
    test: PairedTest  # songs paired, seeds averaged; its interval is of the protocol
    equivalence_p: float  # of the two one-sided tests against the margin


def load_study(protocol: Protocol, folder: str | Path) -> Study:
    """Read scores.csv and scores.json.

    Args:
        protocol: that the scores must belong to.
        folder: of the two files.

    Raises:
        InputError: scores of another protocol, or of other variants and stems.
        DatasetError: files that are missing or damaged.
    """
    place = Path(folder)
    try:
        facts = json.loads((place / FACTS).read_text("utf-8"))
        wrong = misfit(facts, _FACTS)
        with (place / SCORES).open(encoding="utf-8", newline="") as file:
            lines = [*csv.DictReader(file)]
        rows = DataFrame(lines, columns=list(COLUMNS)).replace("", None)
        rows = rows.astype({"seed": int, "score": float})
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{place} holds no scores of a study: {error}. Make them with mssedu "
            "ablate GRID DATA --protocol PROTOCOL."
        ) from error
    if wrong:
        raise DatasetError(f"{place / FACTS} is damaged: {wrong}. Restore it.")
    check_same_protocol(protocol, facts["protocol_sha256"], str(place / SCORES))
    study = Study(protocol, rows, facts)
    check_study(study)
    return study


def check_study(study: Study) -> None:
    """Raise InputError unless all runs have scores of the same songs and stems."""
    rows, protocol = study.rows, study.protocol
    variants = {protocol.baseline, protocol.changed}
    runs = {
        key: {*zip(run.song, run.stem, strict=True)}
        for key, run in rows.groupby(["variant", "seed"])
    }
    seeds = [{s for v, s in runs if v == variant} for variant in variants]
    alike = all(songs == next(iter(runs.values())) for songs in runs.values())
    if {*rows.variant} != variants or {*rows.stem} != {*protocol.stems}:
        raise InputError(
            f"the scores are of the variants {sorted({*rows.variant})} and the stems "
            f"{sorted({*rows.stem})}; the protocol names {sorted(variants)} and "
            f"{list(protocol.stems)}. Score these."
        )
    if not alike or seeds[0] != seeds[1]:
        raise InputError(
            "the runs have other songs or seeds than each other. Finish all runs, and "
            "score all of them on the same songs."
        )


def judge(differences: Sequence[float], protocol: Protocol) -> Verdict:
    """Judge a claim by the differences of songs, seeds averaged.

    Args:
        differences: dB, changed - baseline, one per song, three or more.
        protocol: gives confidence, margin and the claimed number.

    Raises:
        InputError: fewer than three songs, or values that are not finite.
    """
    values = [float(value) for value in differences]
    check_range("number of songs", len(values), 3)
    test = paired_test([0.0] * len(values), values)
    interval = bootstrap_interval(values, confidence=protocol.confidence)
    assert interval is not None  # there are three values or more
    low, high = interval
    claim = "open"
    if low >= protocol.least:
        claim = "supported"
    elif high < protocol.least:
        claim = "refuted"
    return Verdict(
        word=verdict_word(low, high, protocol.margin),
        claim=claim,
        test=replace(test, interval=interval),
        equivalence_p=equivalence_p(values, protocol.margin),
    )


def verdict_word(low: float, high: float, margin: float) -> str:
    """The one word that an interval of a difference allows.

    Example:
        >>> verdict_word(0.1, 0.9, 0.25), verdict_word(-0.2, 0.1, 0.25)
        ('better', 'equal')
    """
    if -margin < low and high < margin:
        return "equal"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "unknown"


def excerpts_by_rule(differences: Mapping[str, float], n: int = 8) -> list[str]:
    """Songs for a listening test: evenly spread over the order of their differences.

    The first has the lowest difference and the last the highest. Nobody's taste
    chooses, and songs against the claim are among them.

    Args:
        differences: song -> dB.
        n: number of songs, at least two.

    Raises:
        InputError: fewer songs than n.

    Example:
        >>> excerpts_by_rule({"a": 3.0, "b": 1.0, "c": 2.0, "d": 9.0, "e": 0.0}, 3)
        ['e', 'c', 'd']
    """
    check_range("n", n, 2)
    check_range("number of songs", len(differences), n)
    order = sorted(differences, key=lambda song: (differences[song], song))
    places: NDArray[np.int_] = np.linspace(0, len(order) - 1, n).round().astype(int)
    return [order[place] for place in places]
