"""Recognize the layout of a folder and open its songs as tracks.

    folder ──LAYOUTS, in order──▶ songs: (path, split) ──load──▶ list of Track

A song is one of these:

    SONG/vocals.wav, drums.wav, …     a folder with one file per stem
    SONG.stem.mp4                     a file with five streams, as in MUSDB18
    SONG.mp3                          a mixture without stems

Stems are named after their files, so any set of names works. A file called mixture, mix
or mixdown, in upper or lower case, is the mixture. Without such a file, the mixture is
the sum of the stems. Loading a data set reads only the headers of the files.

To add a layout, write a function and add a row to `LAYOUTS`.
"""

import itertools
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from mssedu.audio.containers import READABLE_SUFFIXES
from mssedu.audio.tensors import audio_info
from mssedu.data import OnLength
from mssedu.data.check import check_songs_alike, check_stems_alike, faulty_songs
from mssedu.data.track import MIXTURE, StemFile, Track
from mssedu.errors import DatasetError, MssEduError, MssEduWarning, check_name
from mssedu.models.stems import resolve

MIXTURE_FILES = ("mixture", "mix", "mixdown")  # in upper or lower case
STEMS = ("vocals", "drums", "bass", "other")  # the usual order
SPLITS = ("train", "valid", "test")
STEM_MP4 = ".stem.mp4"
STEM_MP4_STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")

# The songs of MUSDB18's train folder that are used for validation by convention.
# Source: the configuration of the musdb package (configs/mus.yaml).
MUSDB_VALID = {
    "ANiMAL - Rockshow",
    "Actions - One Minute Smile",
    "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Fergessen - Nos Palpitants",
    "James May - On The Line",
    "Johnny Lokke - Promises & Lies",
    "Leaf - Summerghost",
    "Meaxic - Take A Step",
    "Patrick Talbot - A Reason To Leave",
    "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens",
    "Triviul - Angelsaint",
    "Young Griffo - Pennies",
}


# ---- layouts ------------------------------------------------------------------------


@dataclass(frozen=True)
class Song:
    """A song that a layout has found; its files are not yet open."""

    path: Path  # its folder or file, which gives the song its name
    split: str | None = None
    files: tuple[StemFile, ...] = ()  # empty: the files in `path`, named after stems


@dataclass(frozen=True)
class Layout:
    """One way in which the songs of a data set are arranged in folders."""

    name: str
    description: str  # what the folder contains; an error lists all layouts
    find: Callable[[Path], list[Song] | None]  # None: the folder has another layout


def _musdb18(root: Path) -> list[Song] | None:
    songs = _splits(root)
    if songs is None or (root / "valid").is_dir():
        return None
    for number, song in enumerate(songs):
        if song.split == "train" and _song_name(song.path) in MUSDB_VALID:
            songs[number] = replace(song, split="valid")
    return songs


def _splits(root: Path) -> list[Song] | None:
    splits = [split for split in SPLITS if (root / split).is_dir()]
    if not splits:
        return None
    return [Song(path, split) for split in splits for path in _songs_in(root / split)]


def _songs(root: Path) -> list[Song] | None:
    return [Song(path) for path in _songs_in(root)] or None


# The first layout whose function does not return None is the layout of a folder.
LAYOUTS = (
    Layout(
        "musdb18",
        "ROOT/{train,test}/SONG.stem.mp4 or SONG/STEM.wav; valid is 14 songs of train",
        _musdb18,
    ),
    Layout("splits", "ROOT/{train,valid,test}/SONG.stem.mp4 or SONG/STEM.wav", _splits),
    Layout("songs", "ROOT/SONG.stem.mp4 or SONG/STEM.wav, without splits", _songs),
)


def _find_songs(root: Path) -> list[Song]:
    """The songs by the first layout that fits, sorted; empty if no layout fits."""
    order = (*SPLITS, None)
    for layout in LAYOUTS:
        if (songs := layout.find(root)) is not None:
            return sorted(songs, key=lambda song: order.index(song.split))
    return []


def _songs_in(folder: Path) -> list[Path]:
    """All folders and audio files of a folder, if at least one of them is a song."""
    entries = [e for e in _entries(folder) if e.is_dir() or _is_audio(e)]
    if any(_is_stem_mp4(entry) or _audio_files(entry) for entry in entries):
        return sorted(entries, key=_song_name)
    return []


# ---- loading ------------------------------------------------------------------------


def demo_data() -> Path:
    """The folder of the CC0 songs that are in the repository (see data/README.md).

    It is the one that the environment variable MSSEDU_DATA names, else the one of the
    repository that the package was installed from or that the current folder is in.

    Raises:
        DatasetError: the songs are in none of these places.

    Example:
        >>> [track.name for track in load_dataset(demo_data(), "test")]
        ['Sodium']
    """
    named = os.environ.get("MSSEDU_DATA")
    here = Path.cwd()
    clones = [Path(__file__).resolve().parents[2], here, *here.parents]
    folders = [Path(named)] if named else [clone / "data" for clone in clones]
    for folder in folders:
        if (folder / "test" / "Sodium").is_dir():
            return folder
    above = "" if named else f", and in no folder data above {here}"
    raise DatasetError(
        f"the demo songs are not in {folders[0]}{above}. Clone the repository and work "
        "inside it, or set the environment variable MSSEDU_DATA to its folder data."
    )


def load_track(path: str | Path, *, on_length: OnLength = "error") -> Track:
    """Load one song: a folder with a file per stem, a .stem.mp4, or one audio file.

    Args:
        path: the song. The order of its stems is vocals, drums, bass, other, then by
            alphabet. One audio file is a mixture without stems.
        on_length: as in `load_dataset`.

    Raises:
        DatasetError: the path does not exist, there is no audio, one stem has two
            files, or stems differ in length, rate or channels (all are listed).
        AudioFileError: a file cannot be read.

    Example:
        >>> load_track(demo_data() / "test" / "Sodium")
        Track('Sodium', 40.0 s, 44100 Hz, 2 channels, stems: vocals, drums, bass, other)
    """
    check_name("on_length", on_length, get_args(OnLength))
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path.absolute()} does not exist. Check the spelling.")
    return _open_track(Song(path), on_length)


def load_dataset(
    path: str | Path,
    split: str | None = None,
    *,
    stems: Sequence[str] | None = None,
    on_missing: str = "error",
    on_length: OnLength = "error",
) -> list[Track]:
    """Load all songs of a data set, sorted by split and name.

    Args:
        path: the root folder, in one of the `LAYOUTS`.
        split: "train", "valid" or "test"; all if None. In MUSDB18 without a valid
            folder, 14 songs of train are the split valid by convention.
        stems: the stems to select, in order, as in `mssedu.models.stems`. None: all
            stems of the chosen songs. The other stems stay in the mixture.
        on_missing: for a song that lacks one of the stems: "error"; "silence": the stem
            is silent (`Track.silent`); "skip": leave the song out, with a warning.
        on_length: if the files of one song differ in length: "error"; "pad": add zeros
            at the end, up to the longest file; "cut": use the length of the shortest.

    Raises:
        DatasetError: no songs, faulty songs (counted), or a song in two splits.
        InputError: an unknown split, stem, on_missing or on_length.

    Example:
        >>> [track.name for track in load_dataset(demo_data(), "train")]
        ['Caesium', 'Lithium', 'Potassium', 'Rubidium']
    """
    check_name("on_missing", on_missing, ("error", "silence", "skip"))
    check_name("on_length", on_length, get_args(OnLength))
    if split is not None:
        check_name("split", split, SPLITS)
    root = Path(path)
    songs = _find_songs(root)
    if not songs:
        raise _no_songs(root)
    _check_folders(root, songs)
    splits = {song.split for song in songs}
    if split is not None and split not in splits:
        names = ", ".join(sorted(name for name in splits if name)) or "no splits"
        raise DatasetError(f"{root} has no split {split!r}, but {names}.")
    tracks, faults = [], []
    for song in songs:
        if split in (None, song.split):
            try:
                tracks.append(_open_track(song, on_length))
            except MssEduError as error:
                faults.append(str(error))
    if faults:
        remedy = "Fix or move them."
        raise faulty_songs(root, "that cannot be read", faults, remedy)
    check_songs_alike(root, tracks)
    return _with_stems(root, tracks, stems, on_missing)


def _open_track(song: Song, on_length: OnLength) -> Track:
    files = list(song.files or _stem_files(song.path))
    files.sort(key=lambda file: _stem_rank(file.stem))
    infos = [audio_info(file.path, stream=file.stream) for file in files]
    check_stems_alike(song.path, files, infos, on_length)
    lengths = [info.samples for info in infos]
    n_samples = min(lengths) if on_length == "cut" else max(lengths)
    if min(lengths) < n_samples:
        pairs = zip(files, lengths, strict=True)
        files = [replace(file, n_samples=length) for file, length in pairs]
    return Track(
        name=_song_name(song.path),
        stems=tuple(dict.fromkeys(f.stem for f in files if f.stem != MIXTURE)),
        sample_rate=infos[0].sample_rate,
        channels=infos[0].channels,
        n_samples=n_samples,
        split=song.split,
        files=tuple(files),
    )


def _stem_files(path: Path) -> Iterator[StemFile]:
    """The files of the stems of a song, which are not opened here."""
    if _is_stem_mp4(path):
        for stream, stem in enumerate(STEM_MP4_STREAMS):
            yield StemFile(stem, path, stream)
    elif path.is_file():
        yield StemFile(MIXTURE, path)
    else:
        files = {
            file: MIXTURE if file.stem.casefold() in MIXTURE_FILES else file.stem
            for file in _audio_files(path)
        }
        if not files:
            raise DatasetError(
                f"{path} holds no audio files, but {_first_entries(path)}. Put one "
                "audio file per stem into the folder, named after the stem."
            )
        names = Counter(files.values())
        doubled = [file.name for file, stem in files.items() if names[stem] > 1]
        if doubled:
            raise DatasetError(
                f"{path} has two files for one stem: {', '.join(doubled)}. Keep one."
            )
        for file, stem in files.items():
            yield StemFile(stem, file)


# ---- checks -------------------------------------------------------------------------


def _check_folders(root: Path, songs: list[Song]) -> None:
    """Raise DatasetError for songs that occur twice or that are beside the splits."""
    places: dict[str, list[str]] = {}
    for song in songs:
        key = unicodedata.normalize("NFC", _song_name(song.path)).casefold()
        places.setdefault(key, []).append(str(song.path.relative_to(root)))
    doubled = [" = ".join(paths) for paths in places.values() if len(paths) > 1]
    if doubled:
        remedy = "Keep each song once: a score on a training song proves nothing."
        raise faulty_songs(root, "in two places", doubled, remedy)
    beside = [
        entry.name
        for entry in _entries(root)
        if entry.name not in SPLITS
        and (_is_audio(entry) or _audio_files(entry) or _find_songs(entry))
    ]
    if beside and songs[0].split is not None:
        remedy = f"Name the splits {', '.join(SPLITS)} and move the rest away."
        raise faulty_songs(root, "beside the splits", beside, remedy)


def _with_stems(
    root: Path, tracks: list[Track], stems: Sequence[str] | None, on_missing: str
) -> list[Track]:
    """Tracks that all have the same stems; `on_missing` says what to do with others."""
    known = {stem for track in tracks for stem in track.stems}
    chosen = tuple(stems or sorted(known, key=_stem_rank))
    rules = resolve(str(root), chosen, known)
    complete, faults = [], []
    for track in tracks:
        needed = [r.members for r in rules if r.name not in track.stems]
        members = dict.fromkeys(itertools.chain.from_iterable(needed))
        absent = tuple(name for name in members if name not in track.stems)
        # A mixture without any stem has no silent stems: nothing is known about them.
        if absent and (on_missing != "silence" or not track.stems):
            folder = f"{track.split}/" if track.split else ""
            faults.append(f"{folder}{track.name} lacks {', '.join(absent)}")
            continue
        filled = replace(track, stems=track.stems + absent, silent=absent)
        complete.append(filled.with_stems(chosen))
    if faults and (on_missing != "skip" or not complete):
        fault = f"without all of the stems {', '.join(chosen)}"
        remedy = 'Choose other stems, or on_missing="silence" or "skip".'
        raise faulty_songs(root, fault, faults, remedy)
    if faults:
        text = f"{root}: {len(faults)} of {len(tracks)} songs left out: "
        warnings.warn(text + "; ".join(faults), MssEduWarning, stacklevel=3)
    return complete


def _no_songs(root: Path) -> DatasetError:
    """The error for a folder without songs: what it contains, and all layouts."""
    if not root.is_dir():
        return DatasetError(f"{root.absolute()}: no such folder. Check the spelling.")
    if _audio_files(root):
        remedy = "This is one song: use load_track, or give the folder above it."
    else:
        below = (*sorted(root.glob("*")), *sorted(root.glob("*/*")))
        near = next((folder for folder in below if _find_songs(folder)), None)
        remedy = f"Did you mean {near}?" if near else "Give each song its own folder."
    layouts = "".join(f"\n  - {row.name}: {row.description}" for row in LAYOUTS)
    return DatasetError(
        f"{root.absolute()} holds no songs in a known layout, but "
        f"{_first_entries(root)}. {remedy} The layouts are:{layouts}"
    )


# ---- files --------------------------------------------------------------------------


def _entries(folder: Path) -> list[Path]:
    """Sorted entries of a folder without hidden files, such as macOS's ._vocals.wav."""
    return sorted(folder.glob("[!.]*"))


def _audio_files(folder: Path) -> list[Path]:
    return [e for e in _entries(folder) if _is_audio(e) and not _is_stem_mp4(e)]


def _first_entries(folder: Path) -> str:
    entries = [entry.name for entry in _entries(folder)]
    more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f"{', '.join(entries[:5])}{more}" if entries else "an empty folder"


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES and path.is_file()


def _is_stem_mp4(path: Path) -> bool:
    return path.name.lower().endswith(STEM_MP4) and path.is_file()


def _stem_rank(stem: str) -> tuple[int, str]:
    """Sort key: the mixture, the four usual stems, then by alphabet."""
    first = (MIXTURE, *STEMS)
    return first.index(stem) if stem in first else len(first), stem


def _song_name(path: Path) -> str:
    if _is_stem_mp4(path):
        return path.name[: -len(STEM_MP4)]
    return path.name if path.is_dir() else path.stem
