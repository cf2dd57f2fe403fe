"""What a built data set consists of: the settings, and the file build.json.

    BuildConfig ──build_dataset──▶ OUT/build.json  settings, recordings, all choices
                                   OUT/mixes.csv   the same choices, a line for a mix

The settings and the recordings are the plan of a data set. A build that was stopped
goes on only with the same plan. This file imports no torch, so that `mssedu data build
--help` starts at once.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mssedu.audio.files import as_json, misfit
from mssedu.errors import DatasetError, InputError, check_name, check_range

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "build.json"
VERSION = 1  # of the choices: with another one, the same seed gives other mixes
SHARES = (0.8, 0.1, 0.1)  # of train, valid and test, if the user names none

Short = Literal["error", "loop", "pad"]
Format = Literal["wav", "flac"]
Subtype = Literal["int16", "int24", "float32"]

_SOURCE: dict[str, Any] = {"size": int, "copy": (str, None)}
_SOURCE |= dict.fromkeys(("path", "stem", "split", "sha256"), str)
_STEM = {"source": str, "start": int, "gain_db": float}
_FORM = {
    "plan": str,
    "settings": {"virtual": bool, "seconds": float, "sample_rate": int},
    "finished": bool,
    "folder": str,
    "sources": [_SOURCE],
    "mixes": [{"name": str, "split": str, "stems": {str: _STEM}}],
}


@dataclass(frozen=True)
class BuildOptions:
    """Options for the mixes."""

    # number of mixes, of all splits together
    mixes: int = 1000
    # length of a mix in seconds
    seconds: float = 10.0
    # limits in dB of the random gain of each stem in each mix
    gain_db: tuple[float, float] = (-6.0, 3.0)
    # loudness in LUFS to which each recording is brought before the random gain
    level_lufs: float = -25.0
    # a recording is silent where it is this many dB below its loudest 50 ms; silence at
    # both ends is left out, and an excerpt sounds for half of its time if possible
    silence_db: float = 40.0
    # recordings that are shorter than a mix are an error, or are repeated (loop), or
    # get zeros at their end (pad)
    short: Short = "error"
    # probability that a stem is left out of a mix, where one stem stays at least
    absent: float = 0.0
    # shares of train, valid and test, of the recordings and of the mixes (None: the
    # splits that the recordings have already, or 0.8 0.1 0.1)
    split: tuple[float, float, float] | None = None
    # the same seed and recordings give the same files; another seed gives other mixes
    seed: int = 0
    # sample rate in Hz; recordings with another one are converted
    sample_rate: int = 44100
    # 1 for mono, which is the mean of both channels, or 2 for stereo
    channels: int = 2
    # format of the files, wav or flac
    format: Format = "wav"
    # type of the samples in the files; float32 is for wav only
    subtype: Subtype = "int16"
    # also write mixture files; without them, the mixture is the exact sum of the stems
    mixture: bool = False
    # write no audio, but build.json alone: the mixes are computed when they are read
    virtual: bool = False
    # number of mixes that are made at once; it changes no file (0: one for each core)
    workers: int = 0
    # licenses of the stems, such as dizi="CC BY 4.0"; otherwise, they are read from a
    # CSV file with the columns path or stem and license, and from LICENSE and README
    license: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildConfig(BuildOptions):
    """All options of `mssedu.data.build_dataset`.

    Raises:
        InputError: a value out of its range, or values that exclude each other.
    """

    def __post_init__(self) -> None:
        check_range("mixes", self.mixes, 1)
        check_range("seconds", self.seconds, 0.1, 3600)
        low, high = self.gain_db
        check_range("gain_db[0]", low, -60, 60)
        check_range("gain_db[1]", high, low, 60)
        check_range("level_lufs", self.level_lufs, -70, 0)
        check_range("silence_db", self.silence_db, 0, 120, low_open=True)
        check_name("short", self.short, get_args(Short))
        check_range("absent", self.absent, 0, 1, high_open=True)
        check_range("seed", self.seed, 0)
        check_range("sample_rate", self.sample_rate, 1000, 768_000)
        check_range("channels", self.channels, 1, 2)
        check_name("format", self.format, get_args(Format))
        check_name("subtype", self.subtype, get_args(Subtype))
        check_range("workers", self.workers, 0)
        if self.format == "flac" and self.subtype == "float32":
            raise InputError("flac holds no float32. Choose wav, or int24.")
        if self.virtual and self.mixture:
            raise InputError(
                "mixture excludes virtual: there, the mixture is the sum of the stems, "
                "computed when it is read. Leave one of them out."
            )
        self.licenses()

    @property
    def samples(self) -> int:
        """Samples of a mix."""
        return round(self.seconds * self.sample_rate)

    def licenses(self) -> dict[str, str]:
        """The license of each stem that the user has named."""
        pairs = [text.partition("=") for text in self.license]
        for text, (stem, _, name) in zip(self.license, pairs, strict=True):
            if not stem.strip() or not name.strip():
                raise InputError(
                    f"license must be STEM=LICENSE, such as dizi=CC0, got {text!r}."
                )
        return {stem.strip(): name.strip() for stem, _, name in pairs}

    def settings(self) -> dict[str, Any]:
        """What the files depend on, as it is in build.json."""
        found = as_json(asdict(self))
        for name in ("seconds", "level_lufs", "silence_db", "absent"):
            found[name] = float(found[name])  # 5 and 5.0 are one setting
        for name in ("gain_db", "split"):
            found[name] = found[name] and [*map(float, found[name])]
        return {k: v for k, v in found.items() if k not in ("workers", "license")}


def plan_of(config: BuildConfig, sources: Sequence[Mapping[str, Any]]) -> str:
    """The SHA-256 of all that the mixes depend on.

    Args:
        config: the settings.
        sources: the recordings, as they are in build.json.
    """
    content = json.dumps([VERSION, config.settings(), _contents(sources)])
    return hashlib.sha256(content.encode()).hexdigest()


def _contents(sources: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Path -> what the mixes depend on; without order."""
    rows = sorted(sources, key=lambda row: str(row["path"]))
    return {row["path"]: [row["stem"], row["sha256"], row["split"]] for row in rows}


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a build.json.

    Raises:
        DatasetError: it is damaged, or of another program.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        fault = misfit(document, _FORM)
    except ValueError as error:
        fault = str(error)
    if fault:
        raise DatasetError(
            f"{path} was not written by mssedu data build ({fault}). Move it away, or "
            "build the data set again in a new folder."
        )
    return dict(document)


def check_same_plan(
    path: Path, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Raise InputError that says how a plan differs from the one in a folder."""
    if before["plan"] == now["plan"]:
        return
    old, new = before["settings"], now["settings"]
    changes = [
        f"{name} was {old.get(name)} and is {value}"
        for name, value in new.items()
        if old.get(name) != value
    ]
    was, is_now = _contents(before["sources"]), _contents(now["sources"])
    changes += [f"{name} is new" for name in is_now if name not in was]
    changes += [f"{name} is gone" for name in was if name not in is_now]
    changes += [
        f"{name} has changed"
        for name in is_now
        if name in was and was[name][:2] != is_now[name][:2]
    ]
    more = f"; and {len(changes) - 5} more" if len(changes) > 5 else ""
    listed = "; ".join(changes[:5]) or "the version of mssedu"
    raise InputError(
        f"{path.parent} holds mixes of another plan: {listed}{more}. Choose a new "
        "folder, or delete this one."
    )


def factor_of(gain_db: float) -> "np.float32":
    """A gain, rounded to 0.01 dB, as the factor of samples.

    Example:
        >>> float(factor_of(20))
        10.0
    """
    import numpy as np  # here, so that --help starts at once

    return np.float32(math.pow(10, round(gain_db, 2) / 20))
