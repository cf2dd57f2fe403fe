"""What a set of pseudo-labels consists of: the options, and pseudo_labels.json.

    LabelConfig, teacher ──open_labels──▶ OUT/pseudo_labels.json ◀── a record per song

A song with a record is finished. A set that was stopped goes on only with the same
teacher and the same options. This file imports no torch, so that `mssedu data
pseudo-label --help` starts at once.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import mssedu
from mssedu.audio.files import misfit
from mssedu.data.splits import check_shares
from mssedu.errors import (
    DatasetError,
    InputError,
    MssEduWarning,
    check_name,
    check_range,
)
from mssedu.separation.config import Rate, Subtype
from mssedu.weights.published import PUBLISHED

MANIFEST = "pseudo_labels.json"
UNKNOWN = "unknown"
_TEACHER = {"name": str, "weights_sha256": str, "license": str, "trained_on": str}
_SONG = {"source": str, "sha256": str, "pieces": [{"name": str}]}
_SONG |= {"sample_rate": int, "channels": int}
_FORM = {
    "teacher": _TEACHER,
    "settings": dict,
    "splits": {str: str},
    "songs": {str: _SONG},
    "failed": {str: str},
}


@dataclass(frozen=True)
class LabelOptions:
    """Options for the labels, and for what is left out."""

    # number of times that each song is separated, with other shifts and with another
    # polarity or order of the channels; the labels are the mean
    passes: int = 2
    # the passes are compared in windows of this length, in seconds
    window_seconds: float = 5.0
    # lowest agreement of the passes in dB, which is their usdr; a window in which a
    # stem has less is left out (-100: none is)
    min_agreement: float = 10.0
    # a stem counts as silent, and in agreement, where all passes are this many dB below
    # the level of the song
    silent_db: float = 50.0
    # what is left between the windows left out is a piece; shorter ones, in seconds,
    # are left out too
    min_seconds: float = 10.0
    # shares of train, valid and test; all pieces of a song are in one of them
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    # another seed gives another split
    split_seed: int = 0
    # type of the samples in the wav files; int16 and int24 need one gain for a song
    # with samples beyond ±1
    subtype: Subtype = "int16"
    # sample rate of the files: that of the "input" song, or that of the "model"
    out_rate: Rate = "input"
    # write stereo files for a mono song, if the model is stereo
    keep_stereo: bool = False


@dataclass(frozen=True)
class LabelConfig(LabelOptions):
    """All options of pseudo-labels.

    Raises:
        InputError: a value out of its range.
    """

    def __post_init__(self) -> None:
        check_range("passes", self.passes, 2, 16)
        check_range("window_seconds", self.window_seconds, 0.1, 3600)
        check_range("min_agreement", self.min_agreement, -100, 100)
        check_range("silent_db", self.silent_db, 0, 200)
        check_range("min_seconds", self.min_seconds, 0, 3600)
        check_range("split_seed", self.split_seed, 0)
        check_name("subtype", self.subtype, get_args(Subtype))
        check_name("out_rate", self.out_rate, get_args(Rate))
        check_shares(self.split)


def describe_teacher(name: str, weights_sha256: str) -> dict[str, str]:
    """What is known of a teacher and its license; a warning if it saw a test set.

    Example:
        >>> describe_teacher("umxhq", "")["trained_on"]
        'MUSDB18-HQ'
        >>> describe_teacher("runs/mine", "")["license"]
        'unknown'
    """
    entry = PUBLISHED.get(name)
    license_, trained_on = UNKNOWN, UNKNOWN
    if entry is not None:
        license_, trained_on = entry.license, entry.trained_on
    if "test set" in trained_on:
        text = f"the teacher {name} was trained on {trained_on}: a student of it cannot"
        warnings.warn(f"{text} be scored on that test set", MssEduWarning, stacklevel=2)
    facts = {"name": name, "weights_sha256": weights_sha256}
    return facts | {"license": license_, "trained_on": trained_on}


def open_labels(
    out_dir: Path, teacher: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest of a folder, or a new one for a new folder; nothing is written.

    Raises:
        InputError: a folder with other content, or with labels of another teacher or
            other settings.
        DatasetError: the manifest is damaged.
    """
    path = out_dir / MANIFEST
    if not path.exists():
        other = out_dir.exists() and not out_dir.is_dir()
        if other or (out_dir.exists() and any(out_dir.iterdir())):
            raise InputError(
                f"{out_dir} is neither empty nor a folder of pseudo-labels, as it has "
                f"no {MANIFEST}. Choose a new folder."
            )
        facts = {"mssedu": mssedu.__version__, "teacher": dict(teacher)}
        empty: dict[str, Any] = {"splits": {}, "songs": {}, "failed": {}}
        return {**facts, "settings": dict(settings), **empty}
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        fault = misfit(document, _FORM)
    except (ValueError, RecursionError) as error:
        fault = str(error)
    if fault:
        raise DatasetError(
            f"{path} was not written by mssedu data pseudo-label ({fault}). Move it "
            "away, or label the songs in a new folder."
        )
    old = {"weights_sha256": document["teacher"]["weights_sha256"]}
    old |= document["settings"]
    new = {"weights_sha256": teacher["weights_sha256"], **settings}
    changes = [
        f"{name} was {old.get(name)} and is {new.get(name)}"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]
    if changes:
        raise InputError(
            f"{out_dir} holds labels that were made otherwise: {'; '.join(changes)}. "
            "Choose a new folder, or delete this one."
        )
    return document
