"""The public checkpoints: where their files are, and what they may be used for.

The table is published.toml, which also states its sources. To add a checkpoint, write a
table [models.NAME] there, with the fields of `Published` as keys, except that

    license   is a key of [licenses]
    refused   is a key of [refused]
    folder    is the address that the names of all files are appended to; it is left out
              where the files must be downloaded by hand, from `page`, or are `shipped`
    files     are tables of name, sha256, size and mirrors, the full addresses of copies
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mssedu.audio.files import tupled


@dataclass(frozen=True)
class WeightFile:
    """A file to download."""

    address: str  # a name alone, if the file is not downloaded by mssedu
    sha256: str | None = None  # all digits, or the first ones if no more are published
    size: int | None = None  # bytes
    mirrors: tuple[str, ...] = ()  # addresses of copies, for when the first one fails

    @property
    def name(self) -> str:
        """Name of the file, at its address and in the cache."""
        return self.address.rpartition("/")[2]


@dataclass(frozen=True)
class Published:
    """A checkpoint, or several that separate together, under its authors' name."""

    model: str  # registry name
    files: tuple[WeightFile, ...]
    stems: tuple[str, ...]  # in the order of the checkpoint
    license: str  # its name and what it allows
    trained_on: str
    trained_on_test: bool = False  # of MUSDB18: a score on it then says nothing
    score: str | None = None  # with its definition, test set and source
    segment_limit: float | None = None  # seconds
    # Of an ensemble, (files, stems)
    weights: tuple[tuple[float, ...], ...] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)  # what the files do not say
    page: str | None = None  # where to download the files by hand
    shipped: bool = False  # in the folder data/models of the repository
    refused: str | None = None  # why no model of ours can hold the weights


def _read() -> dict[str, Published]:
    text = Path(__file__).with_suffix(".toml").read_text("utf-8")
    document = tupled(tomllib.loads(text))
    published = {}
    for name, entry in document["models"].items():
        folder = entry.pop("folder", "")
        entry["files"] = tuple(
            WeightFile(
                folder + file["name"],
                file.get("sha256"),
                file.get("size"),
                file.get("mirrors", ()),
            )
            for file in entry["files"]
        )
        entry["license"] = document["licenses"][entry["license"]]
        if "refused" in entry:
            entry["refused"] = document["refused"][entry["refused"]]
        published[name] = Published(**entry)
    return published


# The model of commands and notebooks that name none
SHIPPED = "mel_band_roformer_small"
PUBLISHED: Mapping[str, Published] = _read()
