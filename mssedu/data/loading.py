"""Open songs as tracks: one, or all of a data set.

    folder ──find_songs──▶ layout, songs ──load_dataset──▶ list of Track
    song   ──load_track──▶ Track

A song is one of these:

    SONG/vocals.wav, drums.wav, …     a folder with one file per stem
    SONG.stem.mp4                     a file with five streams, as in MUSDB18
    SONG.mp3                          a mixture without stems

Stems are named after their files, so any set of names works. A file called mixture, mix
or mixdown, in upper or lower case, is the mixture. Without such a file, the mixture is
the sum of the stems. Loading a data set reads only the headers of the files. The other
ways in which songs may be arranged are in `mssedu.data.layouts`.
"""

import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

from mssedu.audio.repository import data_folder
from mssedu.audio.tensors import AudioInfo
from mssedu.data import OnLength, OnMissing
from mssedu.data.check import check_songs_alike, check_stems_alike, faulty_songs
from mssedu.data.finding import describe_songs, find_songs, split_songs
from mssedu.data.folders import Song, check_file, stem_files
from mssedu.data.headers import Headers, Progress, read_headers
from mssedu.data.layouts import STEMS
from mssedu.data.splits import SPLITS
from mssedu.data.track import MIXTURE, StemFile, Track
from mssedu.errors import DatasetError, MssEduError, MssEduWarning, check_name
from mssedu.models.stems import resolve


def demo_data() -> Path:
    """The folder of the CC0 songs that are in the repository (see data/README.md).

    It is found, and its errors are, as in `mssedu.audio.repository.data_folder`.

    Example:
        >>> [track.name for track in load_dataset(demo_data(), "test")]
        ['Sodium']
    """
    return data_folder()


def load_track(path: str | Path, *, on_length: OnLength = "error") -> Track:
    """Load one song: a folder with a file per stem, a .stem.mp4, or one audio file.

    Args:
        path: the song. The order of its stems is vocals, drums, bass, other, then by
            alphabet. One audio file is a mixture without stems.
        on_length: as in `load_dataset`.

    Raises:
        DatasetError: the path does not exist, there is no audio, one stem has two
            files, stems differ in length, rate or channels (all are listed), or a link
            has no target.
        AudioFileError: a file cannot be read.

    Example:
        >>> load_track(demo_data() / "test" / "Sodium")
        Track('Sodium', 40.0 s, 44100 Hz, 2 channels, stems: vocals, drums, bass, other)
    """
    check_name("on_length", on_length, get_args(OnLength))
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path.absolute()} does not exist. Check the spelling.")
    song = Song(path)
    return _open_track(song, on_length, _headers([song], None))


def load_dataset(
    path: str | Path,
    split: str | None = None,
    *,
    layout: str | None = None,
    stems: Sequence[str] | None = None,
    on_missing: OnMissing = "error",
    on_length: OnLength = "error",
    split_shares: Sequence[float] | None = None,
    split_seed: int = 0,
    log: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> list[Track]:
    """Load all songs of a data set, sorted by split and name.

    Args:
        path: the root folder, or a CSV file, in one of the `LAYOUTS`.
        split: "train", "valid" or "test"; all if None. In MUSDB18 without a valid
            folder, 14 songs of train are the split valid by convention.
        layout: the name of a layout, if it is not recognized; see `find_songs`.
        stems: the stems to select, in order, as in `mssedu.models.stems`. None: all
            stems of the chosen songs. The other stems stay in the mixture.
        on_missing: for a song that lacks one of the stems: "error"; "absent": nothing
            is known of the stem (`Track.absent`), with a warning; "silence": the stem
            is silent (`Track.silent`); "skip": leave the song out, with a warning. In a
            recording of one stem, "error" means that the others are absent, and in a
            mix of `build_dataset` that they are silent.
        on_length: if the files of one song differ in length: "error"; "pad": add zeros
            at the end, up to the longest file; "cut": use the length of the shortest.
        split_shares: split songs that have no splits; see `split_songs`.
        split_seed: the seed of that split.
        log: is called with the layout and the songs found; see `describe_songs`.
        progress: is called with files done and all files, while headers are read that
            are not known yet; for MUSDB18 that takes a minute.

    Raises:
        DatasetError: no songs, faulty songs (counted), or a song in two splits.
        InputError: an unknown split, layout, stem, on_missing or on_length.

    Example:
        >>> [track.name for track in load_dataset(demo_data(), "train")]
        ['Caesium', 'Lithium', 'Potassium', 'Rubidium']
    """
    check_name("on_missing", on_missing, get_args(OnMissing))
    check_name("on_length", on_length, get_args(OnLength))
    if split is not None:
        check_name("split", split, SPLITS)
    root = Path(path)
    recognized, songs = find_songs(root, layout)
    if split_shares is not None:
        songs = split_songs(songs, split_shares, split_seed)
    if log:
        log(describe_songs(recognized, songs))
    splits = {song.split for song in songs}
    if split is not None and split not in splits:
        names = ", ".join(sorted(name for name in splits if name)) or "no splits"
        raise DatasetError(f"{root} has no split {split!r}, but {names}.")
    songs = [song for song in songs if split in (None, song.split)]
    tracks, faults, headers = [], [], _headers(songs, progress)
    for song in songs:
        try:
            tracks.append(_open_track(song, on_length, headers))
        except (MssEduError, OSError) as error:
            faults.append(str(error))
    if faults:
        remedy = "Fix or move them; mssedu data check SONGS lists all faults."
        raise faulty_songs(root, "that cannot be read", faults, remedy)
    check_songs_alike(root, tracks)
    known = {song.name: "absent" for song in songs if song.single}
    known |= {song.name: "silent" for song in songs if song.built}
    return _with_stems(root, tracks, stems, on_missing, known)


def _headers(songs: Iterable[Song], progress: Progress | None) -> Headers:
    """The headers of all files of songs; what cannot be listed is an error later."""
    paths: list[Path] = []
    for song in songs:
        with suppress(MssEduError, OSError):
            paths += [file.path for file in song.files or stem_files(song.path)]
    return read_headers(paths, progress=progress)


def _open_track(song: Song, on_length: OnLength, headers: Headers) -> Track:
    files = [*song.files] or stem_files(song.path)
    _check_doubled(song, files)
    files.sort(key=lambda file: _stem_rank(file.stem))
    for path in dict.fromkeys(file.path for file in files):
        check_file(path)
    infos = [_info(file, headers) for file in files]
    check_stems_alike(song.path, files, infos, on_length)
    lengths = [info.samples for info in infos]
    n_samples = min(lengths) if on_length == "cut" else max(lengths)
    if min(lengths) < n_samples:
        pairs = zip(files, lengths, strict=True)
        files = [replace(file, n_samples=length) for file, length in pairs]
    return Track(
        name=song.name,
        stems=tuple(dict.fromkeys(f.stem for f in files if f.stem != MIXTURE)),
        sample_rate=infos[0].sample_rate,
        channels=infos[0].channels,
        n_samples=n_samples,
        split=song.split,
        files=tuple(files),
    )


def _info(file: StemFile, headers: Headers) -> AudioInfo:
    """The format of a file, and the length of what is read of it."""
    info = headers.info(file.path, file.stream)
    if file.n_samples is None:
        return info
    if info.samples < file.start + file.n_samples:
        raise DatasetError(
            f"{file.path} ends at sample {info.samples}, before the end of an excerpt "
            "of it. Build the mixes again, in a new folder."
        )
    return replace(info, samples=file.n_samples)


def _with_stems(
    root: Path,
    tracks: list[Track],
    stems: Sequence[str] | None,
    on_missing: OnMissing,
    without_file: Mapping[str, str],
) -> list[Track]:
    """Tracks that all have the same stems; `on_missing` says what to do with others."""
    known = {stem for track in tracks for stem in track.stems}
    chosen = tuple(stems or sorted(known, key=_stem_rank))
    rules = resolve(str(root), chosen, known)
    complete, faults = [], []
    for track in tracks:
        needed = [r.members for r in rules if r.name not in track.stems]
        members = dict.fromkeys(itertools.chain.from_iterable(needed))
        lacking = tuple(name for name in members if name not in track.stems)
        filled_as = without_file.get(track.name) if on_missing == "error" else None
        fill = {"silence": "silent", "absent": "absent"}.get(on_missing)
        field = filled_as or fill
        # A mixture without any stem teaches nothing: it is an error in any case.
        if lacking and (field is None or not track.stems):
            folder = f"{track.split}/" if track.split else ""
            faults.append(f"{folder}{track.name} lacks {', '.join(lacking)}")
            continue
        silent, absent = (lacking if field == f else () for f in ("silent", "absent"))
        names = track.stems + lacking
        filled = replace(track, stems=names, silent=silent, absent=absent)
        complete.append(filled.with_stems(chosen))
    if faults and (on_missing != "skip" or not complete):
        fault = f"without all of the stems {', '.join(chosen)}"
        remedy = (
            "Choose other stems, or what to do with such songs: --on-missing absent, "
            'silence or skip (in Python on_missing="absent", …).'
        )
        raise faulty_songs(root, fault, faults, remedy)
    if faults:
        text = f"{root}: {len(faults)} of {len(tracks)} songs left out: "
        warnings.warn(text + "; ".join(faults), MssEduWarning, stacklevel=3)
    if on_missing == "absent" and (counts := absent_counts(complete)):
        n = sum(bool(track.absent) for track in complete)
        listed = ", ".join(f"{stem} in {count}" for stem, count in counts.items())
        text = f"{root}: stems are absent in {n} of {len(complete)} songs: {listed}"
        warnings.warn(text, MssEduWarning, stacklevel=3)
    return complete


def absent_counts(tracks: Sequence[Track]) -> dict[str, int]:
    """From how many songs each stem is absent, the most frequent one first.

    Example:
        >>> song = {"dizi": torch.zeros(2, 9)}
        >>> absent_counts([Track.from_audio("Test", song, 44100, absent=["pipa"])])
        {'pipa': 1}
    """
    return dict(Counter(s for track in tracks for s in track.absent).most_common())


def _stem_rank(stem: str) -> tuple[int, str]:
    """Sort key: the mixture, the four usual stems, then by alphabet."""
    first = (MIXTURE, *STEMS)
    return first.index(stem) if stem in first else len(first), stem


def _check_doubled(song: Song, files: Sequence[StemFile]) -> None:
    """Raise DatasetError if a stem of a song has two files, such as .wav and .flac."""

    def key(file: StemFile) -> tuple[object, ...]:
        if file.stem == MIXTURE:
            return (MIXTURE,)
        return file.path.parent, file.path.stem, file.stream

    uses = Counter(map(key, files))
    doubled = [file.path.name for file in files if uses[key(file)] > 1]
    if doubled:
        raise DatasetError(
            f"{song.path} has two files for one stem: {', '.join(doubled)}. Keep one."
        )
