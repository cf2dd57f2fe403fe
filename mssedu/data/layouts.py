"""Recognize how a data set lies on disk and open it as a list of tracks.

    one song                          many songs
    SONG/vocals.wav, drums.wav, …     ROOT/SONG/…                        no splits
    SONG.stem.mp4  (five streams)     ROOT/{train,valid,test}/SONG/…     splits
    SONG.mp3       (mixture only)     ROOT/{train,test}/SONG.stem.mp4    MUSDB18

Stems are named by their files, so any set of names works. A file called mixture, mix
or mixdown, in any case, is the mixture; without one the mixture is the sum of the
stems. MUSDB18-HQ and the track folders of Open-Unmix are the splits form. Opening reads
headers only. Nothing is left out in silence: faults are counted, the first are listed.
"""

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from mssedu.audio.tensors import READABLE_SUFFIXES, AudioInfo, audio_info
from mssedu.data import OnLength
from mssedu.data.track import MIXTURE, StemFile, Track
from mssedu.errors import DatasetError, MssEduError, check_name, message
from mssedu.models.stems import resolve

MIXTURE_FILES = ("mixture", "mix", "mixdown")  # in any case
LISTED = 5  # faults in a message; the rest is counted
STEMS = ("vocals", "drums", "bass", "other")  # the customary order
SPLITS = ("train", "valid", "test")
STEM_MP4 = ".stem.mp4"
STEM_MP4_STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")

# The songs of MUSDB18's train folder that validation uses by convention.
# Source: the configuration of the musdb package (configs/mus.yaml).
MUSDB_VALID = {
    *("ANiMAL - Rockshow", "Actions - One Minute Smile"),
    *("Alexander Ross - Goodbye Bolero", "Fergessen - Nos Palpitants"),
    *("Clara Berry And Wooldog - Waltz For My Victims", "Triviul - Angelsaint"),
    *("James May - On The Line", "Johnny Lokke - Promises & Lies"),
    *("Leaf - Summerghost", "Meaxic - Take A Step", "Skelpolu - Human Mistakes"),
    *("Patrick Talbot - A Reason To Leave", "Traffic Experiment - Sirens"),
    "Young Griffo - Pennies",
}


def demo_data() -> Path:
    """Folder of the CC0 songs that come with the repository (see data/README.md).

    Raises:
        DatasetError: the package was installed without the repository around it.

    Example:
        >>> [track.name for track in load_dataset(demo_data(), "test")]
        ['Sodium']
    """
    return _demo_data(Path(__file__).resolve().parents[2])


def load_track(path: str | Path, *, on_length: OnLength = "error") -> Track:
    """One song: a folder with a file per stem, a .stem.mp4, or a lone audio file.

    Args:
        path: stems are named by their files and ordered vocals, drums, bass, other,
            then by alphabet; a lone audio file is a mixture without stems.
        on_length: as in `load_dataset`.

    Raises:
        DatasetError: nothing there, no audio, two files for one stem, or stems that
            differ in length, rate or channels (all are listed).
        AudioFileError: a file that cannot be read.

    Example:
        >>> load_track(demo_data() / "test" / "Sodium")
        Track('Sodium', 40.0 s, 44100 Hz, 2 channels, stems: vocals, drums, bass, other)
    """
    check_name("policy", on_length, get_args(OnLength))
    path = Path(path)
    if not path.exists():
        wanted = "a song's folder or audio file"
        remedy = "Check the spelling; relative paths start at the working directory."
        got = f"no such path {path.absolute()}"
        raise DatasetError(message("load_track", wanted, got, remedy))
    return _open_track(path, None, on_length)


def load_dataset(
    path: str | Path,
    split: str | None = None,
    *,
    stems: Sequence[str] | None = None,
    on_missing: str = "error",
    on_length: OnLength = "error",
) -> list[Track]:
    """All songs of a data set, sorted by split and name.

    Args:
        path: the root folder; its layout is recognized (see the top of this module).
        split: "train", "valid" or "test"; all if None. Where MUSDB18 has no valid
            folder, its 14 customary validation songs leave train for valid.
        stems: the stems to select, in order, as in `mssedu.models.stems`; all that occur in
            the chosen songs if None. The others stay in the mixture.
        on_missing: a song without one of the stems is an "error", has "silence" for it
            (`Track.silent`), or is left out with a warning ("skip").
        on_length: files of one song that differ in length are an "error", or the song
            is as long as the longest ("pad": zeros at the end) or as the shortest
            ("cut").

    Raises:
        DatasetError: no songs, faulty songs (counted), a song in two splits.
        InputError: an unknown split, stem or policy.

    Example:
        >>> [track.name for track in load_dataset(demo_data(), "train")]
        ['Caesium', 'Lithium', 'Potassium', 'Rubidium']
    """
    check_name("policy", on_missing, ("error", "silence", "skip"))
    check_name("policy", on_length, get_args(OnLength))
    if split is not None:
        check_name("split", split, SPLITS)
    root = Path(path)
    found = _find_songs(root)
    if not found:
        raise _no_songs(root)
    _check_folders(root, found)
    splits = {name for name, _ in found}
    if split is not None and split not in splits:
        have = sorted(name for name in splits if name) or "no splits"
        remedy = f"Make {root / split}, or load without a split."
        raise DatasetError(message(str(root), f"the split {split!r}", have, remedy))
    chosen = [(name, song) for name, song in found if split in (None, name)]
    tracks = _open_songs(root, chosen, on_length)
    _check_formats(root, tracks)
    return _with_stems(root, tracks, stems, on_missing)


def _demo_data(repository: Path) -> Path:
    data = repository / "data"
    if (data / "train").is_dir():
        return data
    remedy = "Clone the repository and install it with pip install -e, or name a path."
    wanted = f"the demo songs in {data}"
    raise DatasetError(message("demo_data", wanted, "no such folder", remedy))


def _find_songs(root: Path) -> list[tuple[str | None, Path]]:
    """(split, path) of every song under a root; empty where none is."""
    folders = [root / name for name in SPLITS if (root / name).is_dir()]
    if not folders:
        return [(None, song) for song in _songs_in(root)]
    is_musdb = root / "valid" not in folders
    found = []
    for folder in folders:
        for song in _songs_in(folder):
            moves = (
                is_musdb and folder.name == "train" and _song_name(song) in MUSDB_VALID
            )
            found.append(("valid" if moves else folder.name, song))
    return sorted(found, key=lambda item: SPLITS.index(item[0]))


def _songs_in(folder: Path) -> list[Path]:
    """What must be songs: all inside a folder where at least one entry is one."""
    entries = [e for e in _entries(folder) if e.is_dir() or _is_audio(e)]
    if any(_is_stem_mp4(entry) or _audio_files(entry) for entry in entries):
        return sorted(entries, key=_song_name)
    return []


def _open_songs(
    root: Path, found: list[tuple[str | None, Path]], on_length: OnLength
) -> list[Track]:
    """Tracks of all songs, or one error for all faulty ones."""
    tracks, faults = [], []
    for split, song in found:
        try:
            tracks.append(_open_track(song, split, on_length))
        except MssEduError as error:
            faults.append(str(error))
    if faults:
        raise _faulty(root, "songs that can be read", faults, "Mend or move them.")
    return tracks


def _open_track(path: Path, split: str | None, on_length: OnLength) -> Track:
    files = list(_stem_files(path))
    files.sort(key=lambda file: _stem_rank(file.stem))
    infos = [audio_info(file.path, stream=file.stream) for file in files]
    _check_alike(path, files, infos, on_length)
    lengths = [info.samples for info in infos]
    n_samples = min(lengths) if on_length == "cut" else max(lengths)
    if min(lengths) < n_samples:
        pairs = zip(files, lengths, strict=True)
        files = [replace(file, n_samples=length) for file, length in pairs]
    return Track(
        name=_song_name(path),
        stems=tuple(file.stem for file in files if file.stem != MIXTURE),
        sample_rate=infos[0].sample_rate,
        channels=infos[0].channels,
        n_samples=n_samples,
        split=split,
        files=tuple(files),
    )


def _stem_files(path: Path) -> Iterator[StemFile]:
    """Where the stems of a song lie; the file itself is not opened."""
    if _is_stem_mp4(path):
        for stream, stem in enumerate(STEM_MP4_STREAMS):
            yield StemFile(stem, path, stream)
    elif path.is_file():
        yield StemFile(MIXTURE, path)
    else:
        files = {file: _stem_name(file) for file in _audio_files(path)}
        names = Counter(files.values())
        doubled = [file.name for file, stem in files.items() if names[stem] > 1]
        if doubled or not files:
            got = doubled or _first_entries(path)
            remedy = "Keep one audio file per stem, named after it, and one mixture."
            raise DatasetError(message(str(path), "one file per stem", got, remedy))
        for file, stem in files.items():
            yield StemFile(stem, file)


def _check_alike(
    path: Path, files: list[StemFile], infos: list[AudioInfo], on_length: OnLength
) -> None:
    """Raise DatasetError naming every file of a song that differs from most others."""
    forms = [f"{i.samples} samples at {i.sample_rate} Hz × {i.channels}" for i in infos]
    remedy = (
        "Choose --on-length pad or cut (on_length in Python) where lengths differ; "
        "convert the files where the rate or the channels do."
    )
    if on_length != "error":
        forms = [f"{info.sample_rate} Hz × {info.channels}" for info in infos]
        remedy = "Convert them to one sample rate and number of channels."
    usual = Counter(forms).most_common(1)[0][0]
    pairs = zip(files, forms, strict=True)
    odd = [f"{file.stem} has {form}" for file, form in pairs if form != usual]
    if odd:
        wanted = f"stems of {usual} channels each"
        raise DatasetError(message(str(path), wanted, "; ".join(odd), remedy))


def _check_folders(root: Path, found: list[tuple[str | None, Path]]) -> None:
    """Raise DatasetError on songs that occur twice or lie beside the splits."""
    places: dict[str, list[str]] = {}
    for _, song in found:
        key = unicodedata.normalize("NFC", _song_name(song)).casefold()
        places.setdefault(key, []).append(str(song.relative_to(root)))
    doubled = [" = ".join(where) for where in places.values() if len(where) > 1]
    if doubled:
        remedy = "Keep each in one place: a song heard in training proves nothing."
        raise _faulty(root, "each song once", doubled, remedy)
    beside = [
        entry.name
        for entry in _entries(root)
        if entry.name not in SPLITS
        and (_is_audio(entry) or _audio_files(entry) or _find_songs(entry))
    ]
    if beside and found[0][0] is not None:
        remedy = f"Name the splits {', '.join(SPLITS)} and move the rest away."
        raise _faulty(root, "no songs beside the splits", beside, remedy)


def _check_formats(root: Path, tracks: list[Track]) -> None:
    """Raise DatasetError naming every song that differs from most others."""
    forms = [f"{track.sample_rate} Hz × {track.channels} channels" for track in tracks]
    usual = Counter(forms).most_common(1)[0][0]
    pairs = zip(tracks, forms, strict=True)
    odd = [f"{track.name} has {form}" for track, form in pairs if form != usual]
    if odd:
        wanted = f"songs of {usual}, as most are"
        remedy = "Convert them with mssedu.audio.resample and match_channels."
        raise _faulty(root, wanted, odd, remedy)


def _with_stems(
    root: Path, tracks: list[Track], stems: Sequence[str] | None, on_missing: str
) -> list[Track]:
    """Tracks that all have the same stems, by the policy for missing ones."""
    known = {stem for track in tracks for stem in track.stems}
    wanted = tuple(stems or sorted(known, key=_stem_rank))
    rules = resolve(str(root), wanted, known)
    complete, faults = [], []
    for track in tracks:
        needed = (
            member
            for rule in rules
            if rule.name not in track.stems
            for member in rule.members
        )
        absent = tuple(dict.fromkeys(m for m in needed if m not in track.stems))
        # A lone mixture has no silent stems: nothing is known about them.
        if absent and (on_missing != "silence" or not track.stems):
            folder = f"{track.split}/" if track.split else ""
            faults.append(f"{folder}{track.name} lacks {', '.join(absent)}")
            continue
        filled = replace(track, stems=track.stems + absent, silent=absent)
        complete.append(filled.with_stems(wanted))
    if faults and (on_missing != "skip" or not complete):
        remedy = 'Add them, or choose on_missing="silence" or "skip", or other stems.'
        raise _faulty(root, f"the stems {wanted} in each song", faults, remedy)
    if faults:
        text = f"{root}: {len(faults)} of {len(tracks)} songs left out: "
        warnings.warn(text + "; ".join(faults), stacklevel=3)
    return complete


def _no_songs(root: Path) -> DatasetError:
    """The error for a root without songs: what was looked for, what lies there."""
    wanted = "songs as ROOT/[train/]SONG/STEM.wav or ROOT/[train/]SONG.stem.mp4"
    if not root.is_dir():
        got, remedy = "no such folder", "Check the spelling."
    elif _audio_files(root):
        got = _first_entries(root)
        remedy = "This is one song: use load_track, or give the folder above it."
    else:
        got = _first_entries(root)
        below = (*sorted(root.glob("*")), *sorted(root.glob("*/*")))
        near = next((folder for folder in below if _find_songs(folder)), None)
        remedy = f"Did you mean {near}?" if near else "Give each song its own folder."
    return DatasetError(message(str(root.absolute()), wanted, got, remedy))


def _faulty(root: Path, wanted: str, faults: list[str], remedy: str) -> DatasetError:
    listed = "".join(f"\n  - {fault}" for fault in faults[:LISTED])
    if len(faults) > LISTED:
        listed += f"\n  - and {len(faults) - LISTED} more"
    text = message(str(root), wanted, f"{len(faults)} at fault", remedy)
    return DatasetError(text + listed)


def _entries(folder: Path) -> list[Path]:
    """Sorted entries of a folder without hidden ones, such as macOS's ._vocals.wav."""
    if not folder.is_dir():
        return []
    return sorted(e for e in folder.iterdir() if not e.name.startswith("."))


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


def _stem_name(path: Path) -> str:
    return MIXTURE if path.stem.casefold() in MIXTURE_FILES else path.stem


def _stem_rank(stem: str) -> tuple[int, str]:
    """Sort key: the mixture, the four customary stems, then by alphabet."""
    customary = (MIXTURE, *STEMS)
    return customary.index(stem) if stem in customary else len(customary), stem


def _song_name(path: Path) -> str:
    if _is_stem_mp4(path):
        return path.name[: -len(STEM_MP4)]
    return path.name if path.is_dir() else path.stem
