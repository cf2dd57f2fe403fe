"""Scores in the files of museval, so that its own aggregation can read them.

    FOLDER/museval/test/TRACK.json    {"targets": [{"name", "frames": [{"time", …}]}]}

`museval.EvalStore().add_eval_dir(FOLDER / "museval")` reads them, as do the scripts
that made the tables of SiSEC 2018. A frame in which any stem, true or estimated, is
silent has no score for any stem there, as museval has it. museval refuses a track with
a stem that is silent from start to end: such a track is written with gaps for that stem
only, and its "silence" says so. Source of the schema: museval 0.4.1,
musdb.schema.json.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mssedu.metrics.bss import bss_eval
from mssedu.metrics.table import Sounds

VERSION = "0.4.1"  # of museval, whose numbers these are
FRAME = 1.0  # seconds of a frame and from one to the next


def museval_frames(sounds: Sounds, stems: Sequence[str]) -> dict[str, Any]:
    """SDR, ISR, SIR and SAR of every frame and stem, as museval's JSON has them.

    Args:
        sounds: true stems and estimates of a track.
        stems: their names.

    Returns:
        the document; None stands for NaN.
    """
    references, estimates = sounds.pair.values()
    whole = (references.sum(1), estimates.sum(1))
    refused = any((audio == 0).all(-1).any() for audio in whole)
    result = bss_eval(
        references=references,
        estimates=estimates,
        window_length=round(FRAME * sounds.sample_rate),
        hop_length=round(FRAME * sounds.sample_rate),
        museval=not refused,
    )
    tables = {
        name: getattr(result, name.lower()) for name in ("SDR", "ISR", "SIR", "SAR")
    }
    targets = []
    for index, stem in enumerate(stems):
        lines = {name: table[index].tolist() for name, table in tables.items()}
        frames = [
            {
                "time": number * FRAME,
                "duration": FRAME,
                "metrics": {
                    name: _rounded(line[number]) for name, line in lines.items()
                },
            }
            for number in range(len(lines["SDR"]))
        ]
        targets.append({"name": stem, "frames": frames})
    silence = "a silent stem costs itself" if refused else "as museval"
    return {"targets": targets, "museval_version": VERSION, "silence": silence}


def write_museval(
    folder: Path, track: str, split: str | None, document: Mapping[str, Any]
) -> Path:
    """Write a track's file where museval looks for it.

    Args:
        folder: of all files; museval reads its folder test only.
        track: name.
        split: of the track; "test" if it has none.
        document: of `museval_frames`.
    """
    path = folder / (split or "test") / f"{track}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_with_nan(document), indent=1), "utf-8")
    return path


def _rounded(score: float) -> float | None:
    """Five digits; museval has no number for an infinite ratio either."""
    return round(score, 5) if math.isfinite(score) else None


def _with_nan(value: Any) -> Any:
    """None as NaN, which museval expects, though JSON has no such number."""
    if isinstance(value, Mapping):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return math.nan if value is None else value
