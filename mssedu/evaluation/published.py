"""The published scores of the field: system, definition, data and source of each.

The data are in published.csv. Numbers of different definitions, test sets or training
data are not comparable: each row names its own, and only rows of the same definition
are shown beside yours. `sdr` is a definition that the source does not name: such a row
compares with nothing. "LEAK" in `extra` marks a system that was trained on the songs
that it was tested on. Multisong is another test set than MUSDB18, with other songs.
`checked` says how a number was verified:

    files    computed anew from the scores of all tracks that its authors published
    text     read in the document that is named as the source
    quoted   taken from another paper that quotes it: look it up before you cite it

MOS is the mean opinion of listeners, 1 … 5, in the listening test of that year; the MOS
of two tests are not comparable. Quality: natural, no artifacts. Contamination: 5 means
no trace of other stems.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pandas import DataFrame

from mssedu.evaluation.result import Evaluation, mean_of_stems

FILE = Path(__file__).with_name("published.csv")
STEMS = ("drums", "bass", "other", "vocals")
# How the field makes one number of all tracks
AGGREGATIONS = {"csdr": "median of tracks"}
AGGREGATIONS |= dict.fromkeys(("usdr", "nsdr", "si_sdr"), "mean of tracks")
UNSTATED = "sdr"  # the definition of a row whose source does not say which SDR it is
NOTE = (
    "csdr: BSS Eval v4, median of frames of 1 s, median of tracks, then the mean of "
    "the stems. usdr, nsdr and si_sdr: mean of tracks. sdr: the source does not say "
    "which. MUSDB18 is coded and ends at 16 kHz, MUSDB18-HQ is not: they do not quite "
    "compare; Multisong is another test set. Extra: training data beside MUSDB18; "
    "LEAK: also the test set, so the score says nothing. MOS 1 … 5: quality / "
    "contamination (5: none), year of the listening test."
)


@dataclass(frozen=True)
class Published:
    """One row of the table; scores in dB, None where none was published."""

    system: str
    year: int
    domain: str  # spectrogram, waveform, both, or oracle
    extra: str  # training data beside those of MUSDB18; "" if none
    test: str  # test set
    definition: str  # csdr: median of tracks; usdr, nsdr, si_sdr: mean; or sdr
    scores: dict[str, float | None]  # stem -> dB
    mean: float | None  # of the stems
    mos: str  # quality / contamination (listening test)
    checked: str
    source: str


@cache
def published_scores() -> tuple[Published, ...]:
    """All rows, in the order of the file.

    Example:
        >>> {row.mean for row in published_scores() if row.system == "BSRNN"}
        {8.24, 8.97}
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_row, csv.DictReader(file)))


def published_table(
    definition: str | None = None, *, sources: bool = True
) -> DataFrame:
    """The whole table, or the rows of one definition; scores are numbers in dB.

    Args:
        definition: csdr, usdr, nsdr, si_sdr or sdr; all if None.
        sources: with the columns `checked` and `source`, which are wide.
    """
    lines = [
        {
            "system": row.system,
            "year": row.year,
            "domain": row.domain,
            "extra data": row.extra or "no",
            "test set": row.test,
            "definition": row.definition,
            **row.scores,
            "average": row.mean,
            "MOS": row.mos or None,
            "checked": row.checked,
            "source": row.source,
        }
        for row in published_scores()
        if definition in (None, row.definition)
    ]
    frame = DataFrame(lines)
    return frame if sources else frame.drop(columns=["checked", "source"])


def published_beside(evaluation: Evaluation, metric: str) -> DataFrame:
    """Your rows above the published ones: one definition, aggregated as in the field.

    The average is that of all stems in the columns, so it is left out beside other
    stems than the usual four. Stems may have scores of different numbers of your
    tracks: "2 to 3 tracks". Without lines where nothing is published by this metric.
    """
    aggregation, stems = AGGREGATIONS.get(metric, ""), evaluation.stems
    four = {*stems} == {*STEMS}
    lines = []
    for row in published_scores():
        scores = [row.scores.get(stem) for stem in stems]
        mean = row.mean if four else None
        if row.definition == metric and any(x is not None for x in (*scores, mean)):
            lines.append((row.system, row.test, row.extra or "no", *scores, mean))
    yours = []
    for name in evaluation.rows if lines else ():
        values = [evaluation.summary(metric, name, s, aggregation).value for s in stems]
        mean = mean_of_stems(values) if four else None
        counts = [len(evaluation.by_track(metric, name, stem)) for stem in stems]
        n_tracks = f"{max(counts)} tracks"
        if min(counts) < max(counts):  # a stem is silent in some songs, or absent
            n_tracks = f"{min(counts)} to {n_tracks}"
        yours.append((f"yours: {name}", n_tracks, "", *values, mean))
    first = f"{metric}, {aggregation}"
    columns = [first, "test set", "extra data", *stems, "average"]
    return DataFrame([*yours, *lines], columns=columns)


def _row(line: dict[str, str]) -> Published:
    names = [*STEMS, "mean"]
    numbers = {name: float(line[name]) if line[name] else None for name in names}
    mos = f"{line['quality']} / {line['contamination']} ({line['mos_test']})"
    return Published(
        system=line["system"],
        year=int(line["year"]),
        domain=line["domain"],
        extra=line["extra"],
        test=line["test"],
        definition=line["definition"],
        mean=numbers.pop("mean"),
        scores=numbers,
        mos=mos if line["quality"] else "",
        checked=line["checked"],
        source=line["source"],
    )
