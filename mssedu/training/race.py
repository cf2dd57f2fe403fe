"""Races: which recipe separates best after the same computing time on the same songs.

    DATA ──songs.toml──▶ songs for training, validation and test ──▶ fit ──▶ scores

`songs.toml` lies beside the recipes of a race. It names the songs for validation and
for the test; all other songs that the authors of the data set do not keep for a test
are trained on, and the songs of this repository are added. The file recipes/races/
README.md has the rules, and `mssedu race` follows them.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssedu.audio.files import misfit
from mssedu.data.loading import demo_data, load_dataset
from mssedu.data.track import Track
from mssedu.errors import DatasetError, InputError

SONGS = "songs.toml"
_FORM = {
    "layout": str,
    "demo_songs": bool,
    "n_train": int,
    "valid": [str],
    "test": [str],
}


@dataclass(frozen=True)
class RaceSongs:
    """The songs of a race; no song is in two of these lists."""

    train: list[Track]
    valid: list[Track]
    test: list[Track]


def race_songs(
    songs_file: str | Path,
    data: str | Path,
    *,
    log: Callable[[str], None] | None = None,
) -> RaceSongs:
    """Choose the songs of a race from a data set.

    Args:
        songs_file: songs.toml of the race.
        data: folder of its data set.
        log: is called with the layout and the songs found.

    Raises:
        InputError: no such file, or one of another form.
        DatasetError: songs that the file names are not there, or the number of songs
            for training is not that of the race.
    """
    document = _read_songs(Path(songs_file))
    found = load_dataset(data, layout=document["layout"], log=log)
    names = {track.name for track in found}
    if lacking := [n for n in document["valid"] + document["test"] if n not in names]:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise DatasetError(
            f"{data} lacks songs of the race: {', '.join(lacking[:3])}{more}. Give the "
            f"folder of the data set that {songs_file} names."
        )
    valid = [track for track in found if track.name in document["valid"]]
    test = [track for track in found if track.name in document["test"]]
    apart = {*document["valid"], *document["test"]}
    train = [t for t in found if t.split != "test" and t.name not in apart]
    if document["demo_songs"]:
        train += load_dataset(demo_data(), "train")
    if len(train) != document["n_train"]:
        raise DatasetError(
            f"{data} gives {len(train)} songs for training, and the race has "
            f"{document['n_train']}. Fetch the whole data set, and add nothing to it."
        )
    return RaceSongs(train, valid, test)


def _read_songs(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}. The recipe of a race "
            f"lies beside the file {SONGS}, which names the songs of the race."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}. Restore it.") from error
    if wrong := misfit(document, _FORM):
        raise InputError(f"{path}: {wrong}. Restore it.")
    return document
