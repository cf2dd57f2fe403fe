"""Find the songs of a data set: recognize the layout of a folder, split by a seed.

    folder ──LAYOUTS, in order──▶ layout, songs ──split_songs──▶ songs with splits

Nothing is opened here, so that this takes a second for any data set. What is in the
wrong place is an error: a song in two places, songs beside the splits, links without a
target. If no layout fits, the error says for each of them why. `mssedu.data.loading`
opens the songs.
"""

import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mssedu.audio.words import counted
from mssedu.data import layouts
from mssedu.data.check import faulty_songs
from mssedu.data.folders import (
    Song,
    check_file,
    entries,
    first_entries,
    is_audio,
    sounds,
)
from mssedu.data.layouts import Layout
from mssedu.data.splits import SPLITS, assign_splits, check_shares
from mssedu.errors import DatasetError, check_name

SEARCHED = 200  # so many folders below a wrong one are looked at, to name the right one


def find_songs(
    path: str | Path, layout: str | None = None
) -> tuple[Layout, list[Song]]:
    """The layout of a data set, and its songs by split and name; no file is opened.

    Args:
        path: the folder of the data set, or a CSV file that lists its songs.
        layout: the name of a row of `LAYOUTS`. None: the first one that fits.

    Raises:
        InputError: an unknown layout.
        DatasetError: the songs are not in this layout, or in none; a song in two
            places; or songs beside the splits.

    Example:
        >>> from mssedu.data.loading import demo_data
        >>> layout, songs = find_songs(demo_data())
        >>> describe_songs(layout, songs)
        'layout splits: 4 train, 1 valid, 1 test'
    """
    root = Path(path)
    if layout is not None:
        check_name("layout", layout, [row.name for row in layouts.LAYOUTS])
    _check_root(root)
    reasons: dict[str, str] = {}
    for row in layouts.LAYOUTS:
        if layout in (None, row.name):
            found = _songs_or_reason(root, row, sure=layout is None)
            if isinstance(found, list):
                order = (*SPLITS, None)
                songs = sorted(found, key=lambda song: order.index(song.split))
                _check_places(root, row, songs)
                return row, songs
            reasons[row.name] = found
    if layout is not None:
        raise DatasetError(f"{root} is not in the layout {layout}: {reasons[layout]}.")
    raise _no_songs(root, reasons)


def describe_songs(layout: Layout, songs: Sequence[Song]) -> str:
    """What was found, in one line: the layout, and how many songs are in each split.

    It also says what the user should check: folders that are called otherwise than
    their splits, recordings of single stems, and pieces of songs.
    """
    counts = Counter(song.split for song in songs)
    parts = [f"{counts[split]} {split}" for split in SPLITS if counts[split]]
    if counts[None]:
        parts.append(f"{counted(counts[None], 'song')} without splits")
    notes = []
    origins = Counter((song.origin, song.split) for song in songs if song.origin)
    for (folder, split), n in origins.items():
        if folder != split:
            notes.append(f"{n} {split} in the folder {folder}")
    singles = Counter(song.files[0].stem for song in songs if song.single)
    if singles:
        listed = ", ".join(f"{stem} {n}" for stem, n in sorted(singles.items()))
        notes.append(f"each is a recording of one stem: {listed}")
    groups = {song.group for song in songs if not song.single}
    if groups and len(groups) < len(songs) and not songs[0].built:
        notes.append(f"they are pieces of {counted(len(groups), 'song')}")
    return f"layout {layout.name}: {', '.join(parts)}{''.join(f'; {n}' for n in notes)}"


def split_songs(
    songs: Sequence[Song], shares: Sequence[float], seed: int = 0
) -> list[Song]:
    """The songs with splits that depend on their names and the seed only.

    Pieces of one song, and recordings with the same file name, stay in one split. Of
    recordings of single stems, each split gets some of each stem.

    Args:
        songs: without splits.
        shares: of train, valid and test, with the sum 1, such as (0.8, 0.1, 0.1).
        seed: another seed gives another split.

    Raises:
        InputError: shares that do not fit.
        DatasetError: the songs have splits already, or there are too few.

    Example:
        >>> from mssedu.data.loading import demo_data
        >>> _, songs = find_songs(demo_data() / "train")
        >>> [song.split for song in split_songs(songs, (0.5, 0.25, 0.25))]
        ['train', 'train', 'valid', 'test']
    """
    check_shares(shares)
    if splits := {song.split for song in songs} - {None}:
        listed = ", ".join(sorted(map(str, splits)))
        raise DatasetError(
            f"the songs are already split into {listed}. Leave the shares out, or move "
            "all songs into one folder."
        )
    groups: dict[str, set[str]] = {}
    for song in songs:
        stems = {file.stem for file in song.files} if song.single else set()
        groups.setdefault(_key(song.group), set()).update(stems)
    assigned = assign_splits(groups, shares, seed)
    found = [replace(song, split=assigned[_key(song.group)]) for song in songs]
    return sorted(found, key=lambda song: SPLITS.index(song.split or ""))


def _key(name: str) -> str:
    """A name, the same on every system: macOS writes é as two characters."""
    return unicodedata.normalize("NFC", name)


def _songs_or_reason(root: Path, row: Layout, *, sure: bool = True) -> list[Song] | str:
    """The songs of a layout, or why the folder has another; not `sure`: it is named."""
    try:
        found = row.find(root)
    except OSError as error:
        raise DatasetError(
            f"{error.filename or root} cannot be opened: {error.strerror or error}. "
            "Change its permissions or its name."
        ) from error
    if isinstance(found, list) and sure and row.doubt is not None:
        return row.doubt(found) or found
    return found


def _recognized(folder: Path) -> bool:
    """Whether a folder is a data set, without faults that show at once."""
    try:
        found = [_songs_or_reason(folder, row) for row in layouts.LAYOUTS]
    except DatasetError:
        return False
    return any(isinstance(songs, list) for songs in found)


# ---- checks -------------------------------------------------------------------------


def _check_root(root: Path) -> None:
    """Raise DatasetError unless a path is a folder or a CSV file."""
    if not root.exists():
        raise DatasetError(f"{root.absolute()}: no such folder. Check the spelling.")
    if root.is_dir() or root.suffix.lower() == ".csv":
        return
    remedy = "Give the folder of the data set, or a CSV file that lists its songs."
    if is_audio(root):
        remedy = (
            "This is one song: use load_track, or give the folder that holds the songs."
        )
    raise DatasetError(f"{root.absolute()} is a file. {remedy}")


def _check_places(root: Path, layout: Layout, songs: list[Song]) -> None:
    """Raise DatasetError for songs that occur twice or that are beside the splits."""
    places: dict[str, list[str]] = {}
    groups: dict[str, dict[str, None]] = {}
    for song in songs:
        place = os.path.relpath(song.path, root)
        places.setdefault(_key(song.name).casefold(), []).append(place)
        if song.split and song.group != song.name and not song.single:
            groups.setdefault(song.group, {})[song.split] = None
    doubled = [" = ".join(paths) for paths in places.values() if len(paths) > 1]
    if doubled:
        remedy = "Keep each song once: a score on a training song proves nothing."
        raise faulty_songs(root, "in two places", doubled, remedy)
    if leaks := [f"{g}: {', '.join(s)}" for g, s in groups.items() if len(s) > 1]:
        remedy = (
            "Move all pieces of a song into one split: a score on a training song "
            "proves nothing. If they are whole songs, choose the layout splits."
        )
        raise faulty_songs(root, "with pieces in two splits", leaks, remedy)
    _check_links(root, songs)
    if root.is_dir() and not layout.listed and all(song.split for song in songs):
        tops = {Path(os.path.relpath(song.path, root)).parts[0] for song in songs}
        beside = [
            entry.name
            for entry in entries(root)
            if entry.name not in tops
            and entry.name.lower() not in (*SPLITS, *layout.left_out)
            and (is_audio(entry) or sounds(entry) or _recognized(entry))
        ]
        if beside:
            remedy = f"Name the splits {', '.join(SPLITS)} and move the rest away."
            raise faulty_songs(root, "beside the splits", beside, remedy)


def _check_links(root: Path, songs: list[Song]) -> None:
    """Raise DatasetError for links without a target where folders of songs should be.

    Links in the place of a song or in its folder are named when it is opened.
    """
    known = {song.path for song in songs}
    folders = {folder for path in known for folder in [*path.parents][:2]}
    faults = []
    for folder in sorted(f for f in folders if f.is_relative_to(root)):
        for entry in entries(folder):
            if not entry.exists() and entry not in known:
                try:
                    check_file(entry)
                except DatasetError as error:
                    faults.append(str(error))
    if faults:
        raise faulty_songs(root, "missing", faults, "Fetch them, or delete the links.")


def _no_songs(root: Path, reasons: dict[str, str]) -> DatasetError:
    """The error for a folder without songs: what it contains, and all layouts."""
    for entry in entries(root):
        if not entry.exists():
            check_file(entry)
    if sounds(root):
        remedy = "This is one song: use load_track, or give the folder above it."
    else:
        below = itertools.chain(root.glob("*"), root.glob("*/*"))
        folders = sorted(itertools.islice(filter(Path.is_dir, below), SEARCHED))
        near = next(filter(_recognized, folders), None)
        remedy = f"Did you mean {near}?" if near else "Give each song its own folder."
    listed = "".join(
        f"\n  - {row.name}: {row.description}\n    It is not this one: "
        f"{reasons[row.name]}."
        for row in layouts.LAYOUTS
    )
    return DatasetError(
        f"{root.absolute()} holds no songs in a known layout, but "
        f"{first_entries(root)}. {remedy} The layouts are (--layout NAME, in "
        f"Python layout=NAME, chooses one):{listed}"
    )
