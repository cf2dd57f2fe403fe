"""How the songs of a data set can be arranged in folders: the table `LAYOUTS`.

    folder ──LAYOUTS, in order──▶ songs, or the reason why it has another layout

Each layout is a function from a folder to its songs. The first one that returns songs,
and has no doubt, is the layout of the folder. `mssedu.data.loading` opens the songs.

To add a layout, write a function and add a row to `LAYOUTS`. MSST below is
docs/dataset_types.md of ZFTurbo/Music-Source-Separation-Training.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mssedu.data.folders import (
    MIXTURE_FILES,
    Song,
    is_stem_mp4,
    part_name,
    song_name,
    songs_in,
    sounds,
    stem_files,
    subfolders,
)
from mssedu.data.indexes import (
    OMITTED,
    built_mixes,
    distinct,
    moisesdb,
    recording,
    recordings_csv,
    slakh,
    spleeter_csv,
)
from mssedu.data.splits import SPLITS
from mssedu.data.track import MIXTURE, StemFile

STEMS = ("vocals", "drums", "bass", "other")  # the usual order
PREVIEW_BYTES = 4e6  # a song of MUSDB18 has 20 MB and more, a preview of 7 s has 1 MB
INTERFERERS = "interferers"  # the sum of the stems that not every song has

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

# The instruments of ChMusic, of which number 1 is the first.
# Source: README.md of HaoranWeiUTD/ChMusic.
CHMUSIC = (
    "erhu",
    "pipa",
    "sanxian",
    "dizi",
    "suona",
    "zhuiqin",
    "zhongruan",
    "liuqin",
    "guzheng",
    "yangqin",
    "sheng",
)
_WORDS = """
accompaniment accordion backing banjo bangu bass_guitar bassoon bawu bells brass cello
choir clarinet contrabass cymbals double_bass drum effects flute fx gong guitar guitars
guqin harmonica harp harpsichord horn hulusi instrumental interferers keyboard keyboards
keys kick luo mandolin marimba melody music noise oboe orchestra organ percussion piano
reed residual rest saxophone sax sitar snare speech strings synth synthesizer tabla
timpani toms trombone trumpet tuba ukulele vibraphone viola violin vocal voice voices
wind winds woodwind xiao xun xylophone
"""
# Names of stems, by which folders of recordings are told from folders of songs
INSTRUMENTS = {*STEMS, *CHMUSIC, *_WORDS.split()}
_NUMBERED = re.compile(r"(.+?)[ ._-]+(?:(?:chunk|part|seg|segment)[ ._-]*)?(\d+)", re.I)
_CHMUSIC_NAME = re.compile(r"([1-9]|10|11)\.[1-9]\d*")


@dataclass(frozen=True)
class Layout:
    """One way in which the songs of a data set are arranged."""

    name: str
    description: str  # what the folder contains; an error lists all layouts
    # the songs of a folder, or the reason why it has another layout
    find: Callable[[Path], list[Song] | str]
    # the reason why songs that were found may be something else; then the layout is
    # chosen only by its name
    doubt: Callable[[list[Song]], str] | None = None
    left_out: tuple[str, ...] = ()  # folders that the authors of the data set leave out
    listed: bool = False  # an index names the songs; what it does not name is no song


# ---- songs with and without splits --------------------------------------------------


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    """The folders train, valid and test, in upper or lower case."""
    folders = subfolders(root)
    return [(s, f) for s in SPLITS for f in folders if f.name.lower() == s]


def _tops(root: Path) -> list[tuple[str | None, Path]]:
    """The folders of the splits, or the root if there are none."""
    return [*_split_folders(root)] or [(None, root)]


def _splits(root: Path) -> list[Song] | str:
    folders = _split_folders(root)
    if not folders:
        return f"no folder is called {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
    found = [
        Song(path, split, origin=top.name)
        for split, top in folders
        for path in songs_in(top)
    ]
    names = [folder.name for _, folder in folders]
    if not found:
        return f"there are no songs in {', '.join(names)}"
    if "valid" in map(str.lower, names):
        return found
    return [
        replace(song, split="valid")
        if song.split == "train" and song.name in MUSDB_VALID
        else song
        for song in found
    ]


def _songs(root: Path) -> list[Song] | str:
    """Sources: types 1, 4, 6 and 7 of MSST; FixedSourcesTrackFolderDataset."""
    return [Song(path) for path in songs_in(root)] or "no entry of the folder is a song"


def _all_songs(root: Path) -> list[Song] | str:
    return _splits(root) if _split_folders(root) else _songs(root)


def _parts(song: Song) -> set[str]:
    """The stems of the folder of a song, and "mixture"."""
    return {part_name(file) for file in sounds(song.path)}


# ---- MUSDB18 ------------------------------------------------------------------------


def _musdb18(root: Path) -> list[Song] | str:
    songs = _musdb(root)
    if isinstance(songs, str):
        return songs
    others = [song.path.name for song in songs if not is_stem_mp4(song.path)]
    return f"{others[0]} is no .stem.mp4" if others else songs


def _musdb18_7s(root: Path) -> list[Song] | str:
    songs = _musdb18(root)
    if isinstance(songs, str):
        return songs
    sizes = {s.name: s.path.stat().st_size for s in songs if s.path.exists()}
    large = [name for name, size in sizes.items() if size > PREVIEW_BYTES]
    return f"{large[0]} is larger than 4 MB, so it is a whole song" if large else songs


def _musdb18_hq(root: Path) -> list[Song] | str:
    songs = _musdb(root)
    if isinstance(songs, str):
        return songs
    others = [song.name for song in songs if _parts(song) != {MIXTURE, *STEMS}]
    files = ", ".join((MIXTURE, *STEMS))
    return f"{others[0]} does not consist of {files}" if others else songs


def _musdb(root: Path) -> list[Song] | str:
    """Source: sigsep/sigsep-mus-db, which has no folder valid."""
    if any(split == "valid" for split, _ in _split_folders(root)):
        return "there is a folder valid"
    return _splits(root)


# ---- recordings of single stems -----------------------------------------------------


def _source_folders(root: Path) -> list[Song] | str:
    """Sources: SourceFolderDataset in openunmix/data.py; type 2 of MSST."""
    songs = [
        replace(recording(folder.name, path, split), origin=top.name if split else "")
        for split, top in _tops(root)
        for folder in subfolders(top)
        for path in sounds(folder)
    ]
    # Each split may number its recordings from 1 on.
    songs = distinct(songs, lambda song: str(song.split))
    return songs or "no folder holds audio files"


def _maybe_songs(songs: list[Song]) -> str:
    """Why folders of audio files may be songs and not stems."""
    whole = [s.path for s in songs if s.path.stem.casefold() in MIXTURE_FILES]
    if whole:
        return f"{whole[0].parent.name} is a song: it holds {whole[0].name}"
    if all(_repeats_folder(song.path) for song in songs):
        return ""
    folders = {song.path.parent.name for song in songs}
    known = _known(folders)
    if known >= 0.5 and known > _known({song.path.stem for song in songs}):
        return ""
    return f"{min(folders)} may be a song: it is not called as an instrument"


def _repeats_folder(path: Path) -> bool:
    """Whether a file is called as its folder with a number, or a number alone."""
    folder = re.escape(path.parent.name)
    return bool(re.fullmatch(rf"({folder})?[ ._-]*\d+", path.stem, re.IGNORECASE))


def _known(names: Iterable[str]) -> float:
    """The share of names that are those of instruments."""
    words = [re.sub("[ -]+", "_", name.casefold()) in INSTRUMENTS for name in names]
    return sum(words) / len(words)


def _chmusic(root: Path) -> list[Song] | str:
    files = sounds(root)
    if not files:
        return "no audio files in the folder itself"
    songs = []
    for path in files:
        match = _CHMUSIC_NAME.fullmatch(path.stem)
        if match is None:
            return f"{path.name} is not called x.y, with x from 1 to {len(CHMUSIC)}"
        song = recording(CHMUSIC[int(match[1]) - 1], path)
        songs.append(replace(song, group=song.name))
    return songs


# ---- pieces of songs ----------------------------------------------------------------


def _chunks(root: Path) -> list[Song] | str:
    """Source: type 5 of MSST."""
    return [
        replace(song, split=split, origin=top.name if split else "")
        for split, top in _tops(root)
        for path in songs_in(top)
        for song in _pieces(path)
    ] or "no entry of the folder is a song"


def _pieces(path: Path) -> list[Song]:
    """The pieces in a folder with files such as vocals_0.wav, or the one piece."""
    numbered = [(_NUMBERED.fullmatch(file.stem), file) for file in sounds(path)]
    by_number: dict[str, list[StemFile]] = {}
    for match, file in numbered:
        if match is not None:
            by_number.setdefault(match[2], []).append(StemFile(match[1], file))
    if by_number and all(match for match, _ in numbered):
        return [
            Song(path, None, tuple(files), f"{path.name}_{number}", path.name)
            for number, files in by_number.items()
        ]
    match = _NUMBERED.fullmatch(song_name(path))
    return [Song(path, group=match[1] if match else "")]


def _maybe_whole(songs: list[Song]) -> str:
    """Why songs may be whole, and no pieces of songs."""
    groups: dict[str, list[Song]] = {}
    for song in songs:
        groups.setdefault(song.group, []).append(song)
    if len(groups) == 1 and not songs[0].files:
        return f"all are called {songs[0].group} and a number, so they may be songs"
    for name, pieces in groups.items():
        stems = {tuple(sorted(file.stem for file in piece.files)) for piece in pieces}
        if len(pieces) == 1 or len(stems) > 1 or any(len(s) == 1 for s in stems):
            return f"{name} is not cut into pieces with numbers and the same stems"
        found = [_NUMBERED.fullmatch(piece.name) for piece in pieces]
        numbers = sorted(int(match[2]) for match in found if match)
        if numbers not in ([*range(len(pieces))], [*range(1, len(pieces) + 1)]):
            return f"the numbers of {name} are not 0, 1, 2 …, so it may be songs"
    return ""


# ---- other forms of songs -----------------------------------------------------------


def _aligned(root: Path) -> list[Song] | str:
    """Source: AlignedDataset in openunmix/data.py."""
    songs = _all_songs(root)
    if isinstance(songs, str):
        return songs
    pairs = {song.name: _parts(song) for song in songs}
    first = pairs[songs[0].name]
    for name, parts in pairs.items():
        if MIXTURE not in parts or len(parts) != 2:
            return f"{name} is not a mixture with one stem"
        if parts != first:
            return f"{name} has another stem than {songs[0].name}"
    return songs


def _variable(root: Path) -> list[Song] | str:
    """Source: VariableSourcesTrackFolderDataset in openunmix/data.py."""
    songs = _all_songs(root)
    if isinstance(songs, str):
        return songs
    common = set.intersection(*map(_parts, songs)) - {MIXTURE}
    if not common:
        return "there is no stem that every song has"
    kept = {MIXTURE, *common}
    return [
        replace(
            song,
            files=tuple(
                file if file.stem in kept else replace(file, stem=INTERFERERS)
                for file in stem_files(song.path)
            ),
        )
        for song in songs
    ]


def _never_alone(songs: list[Song]) -> str:
    return "it is chosen by its name only, because each stem may be of use"


# ---- the table ----------------------------------------------------------------------

LAYOUTS = (
    Layout(
        "mixes",
        "ROOT/build.json of mssedu data build: mixes as folders, or virtual",
        built_mixes,
        listed=True,
    ),
    Layout(
        "spleeter-csv",
        "a CSV file with mix_path, vocals_path, …, or a folder with such files",
        spleeter_csv,
        listed=True,
    ),
    Layout(
        "recordings-csv",
        "a CSV file with instrument, path: recordings of single stems",
        recordings_csv,
        listed=True,
    ),
    Layout("moisesdb", "ROOT/PROVIDER/SONG/data.json, STEM/ID.wav", moisesdb),
    Layout(
        "slakh",
        "ROOT/{train,validation,test}/TrackNNNNN/metadata.yaml, or without splits",
        slakh,
        left_out=(OMITTED,),
    ),
    Layout(
        "chmusic",
        "ROOT/x.y.wav: recordings, x is the number of one of 11 Chinese instruments",
        _chmusic,
    ),
    Layout(
        "musdb18-7s",
        "ROOT/{train,test}/SONG.stem.mp4, excerpts of 7 s; 14 songs of train are valid",
        _musdb18_7s,
    ),
    Layout(
        "musdb18",
        "ROOT/{train,test}/SONG.stem.mp4; 14 songs of train are valid",
        _musdb18,
    ),
    Layout(
        "musdb18-hq",
        "ROOT/{train,test}/SONG/{mixture,vocals,drums,bass,other}.wav; 14 of train are "
        "valid",
        _musdb18_hq,
    ),
    Layout(
        "source-folders",
        "ROOT/STEM/*.wav or ROOT/{train,valid,test}/STEM/*.wav: recordings of single "
        "stems",
        _source_folders,
        _maybe_songs,
    ),
    Layout(
        "chunks",
        "pieces of songs: ROOT/SONG_0/STEM.wav, SONG_1/STEM.wav, … or "
        "ROOT/SONG/STEM_0.wav, STEM_1.wav, …",
        _chunks,
        _maybe_whole,
    ),
    Layout(
        "aligned",
        "ROOT/SONG/mixture.wav and the same single stem in each SONG",
        _aligned,
    ),
    Layout(
        "splits",
        "ROOT/{train,valid,test}/SONG/STEM.wav or SONG.stem.mp4",
        _splits,
    ),
    Layout(
        "songs",
        "ROOT/SONG/STEM.wav or SONG.stem.mp4, without splits; SONG/mixture.wav if the "
        "mixture is not the sum",
        _songs,
    ),
    Layout(
        "variable",
        "as splits or songs; the stems that not every song has are summed as "
        f"{INTERFERERS}",
        _variable,
        _never_alone,
    ),
)
