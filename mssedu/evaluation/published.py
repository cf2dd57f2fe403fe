"""The published table of the field: who scored what, by which definition, on what data.

The data are in published_scores.csv. Numbers of different definitions, test sets or
training data do not compare: each row tells its own, and only rows of one definition
are put beside yours. `checked` tells how far a number was followed up:

    files    computed anew from the scores of all tracks that its authors published
    text     read in what is named as the source
    quoted   from the paper at second hand: look it up before you cite it

MOS is the mean opinion of listeners, 1 … 5, in the listening test of that year; two
tests do not compare. Quality: natural, no artifacts. Contamination: 5 is no trace of
other stems.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mssedu.evaluation.result import Evaluation
from mssedu.evaluation.score_tables import NONE, mean_of_stems, number_text
from mssedu.reports.tables import Head, Rows

FILE = Path(__file__).with_name("published.csv")
STEMS = ("drums", "bass", "other", "vocals")
# definition -> how the field makes one number of all tracks
AGGREGATIONS = {
    "csdr": "median of tracks",
    "usdr": "mean of tracks",
    "nsdr": "mean of tracks",
}
NOTE = (
    "csdr: BSS Eval v4, median of frames of 1 s, median of tracks, then the mean of "
    "the stems. usdr and nsdr: mean of tracks. MUSDB18 is coded and ends at 16 kHz, "
    "MUSDB18-HQ is not: they do not quite compare. Extra: training data beside "
    "MUSDB18. MOS 1 … 5: quality / contamination (5: none), year of the listening test."
)


@dataclass(frozen=True)
class Published:
    """One row of the table; scores in dB, None where none was published."""

    system: str
    year: int
    domain: str  # spectrogram, waveform, both, or oracle
    extra: str  # training data beside those of MUSDB18; "" if none
    test: str  # test set
    definition: str  # csdr: median of tracks; usdr, nsdr: mean of tracks
    scores: dict[str, float | None]  # stem -> dB
    mean: float | None  # of the stems
    mos: str  # quality / contamination (listening test)
    checked: str
    source: str


@cache
def published_scores() -> tuple[Published, ...]:
    """All rows, oldest definitions first as in the file.

    Example:
        >>> {row.mean for row in published_scores() if row.system == "BSRNN"}
        {8.24, 8.97}
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_row, csv.DictReader(file)))


def published_table(
    definition: str | None = None, *, sources: bool = True
) -> tuple[Head, Rows]:
    """Head and lines of the whole table, or of one definition.

    Args:
        definition: csdr, usdr or nsdr; all if None.
        sources: with the columns `checked` and `source`, which are wide.
    """
    head = (
        *("system", "year", "domain", "extra data", "test set", "definition"),
        *(*STEMS, "average", "MOS", "checked", "source"),
    )
    lines = [
        (
            *(row.system, str(row.year), row.domain, row.extra or "no", row.test),
            row.definition,
            *(number_text(row.scores[stem]) for stem in STEMS),
            *(number_text(row.mean), row.mos or NONE, row.checked, row.source),
        )
        for row in published_scores()
        if definition in (None, row.definition)
    ]
    if sources:
        return head, lines
    return head[:-2], [line[:-2] for line in lines]


def published_beside(evaluation: Evaluation, metric: str) -> tuple[Head, Rows]:
    """Head and lines of your rows above the published ones: one definition, one way
    to aggregate, that of the field.

    The mean is that of all stems in the columns, so it is left out beside other stems
    than the customary four. No lines where nothing is published by this definition.
    """
    aggregation, stems = AGGREGATIONS.get(metric, ""), evaluation.stems
    head = (f"{metric}, {aggregation}", "test set", "extra data")
    four = {*stems} == {*STEMS}
    lines = []
    for row in published_scores():
        scores = [row.scores.get(stem) for stem in stems]
        mean = row.mean if four else None
        if row.definition == metric and any(x is not None for x in (*scores, mean)):
            texts = map(number_text, (*scores, mean))
            lines.append((row.system, row.test, row.extra or "no", *texts))
    if not lines:
        return (*head, *stems, "average"), []
    yours = []
    for name in evaluation.rows:
        found = [evaluation.summary(metric, name, s, aggregation).value for s in stems]
        texts = map(number_text, (*found, mean_of_stems(found) if four else None))
        yours.append((f"yours: {name}", f"{len(evaluation.tracks)} tracks", "", *texts))
    return (*head, *stems, "average"), [*yours, *lines]


def _row(line: dict[str, str]) -> Published:
    mos = ""
    if line["quality"]:
        mos = f"{line['quality']} / {line['contamination']} ({line['mos_test']})"
    return Published(
        system=line["system"],
        year=int(line["year"]),
        domain=line["domain"],
        extra=line["extra"],
        test=line["test"],
        definition=line["definition"],
        scores={stem: _number(line[stem]) for stem in STEMS},
        mean=_number(line["mean"]),
        mos=mos,
        checked=line["checked"],
        source=line["source"],
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
