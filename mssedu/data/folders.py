"""What lies in the folders of a data set: songs, audio files, links, system litter.

Nothing that may be music is passed over: a file with any suffix of audio counts, also
one that cannot be read in the end, and a link whose target is missing is an error.
Hidden files and what operating systems put into folders are left out.
"""

from dataclasses import dataclass
from pathlib import Path

from mssedu.audio.containers import READABLE_SUFFIXES
from mssedu.data.track import MIXTURE, StemFile
from mssedu.errors import DatasetError

MIXTURE_FILES = ("mixture", "mix", "mixdown")  # in upper or lower case
STEM_MP4 = ".stem.mp4"
DVC = ".dvc"  # X.dvc says where DVC gets X from
STEM_MP4_STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")
FIRST = 5  # an error shows this many entries of a folder

_SUFFIXES = """
.3gp .aac .ac3 .adts .aif .aifc .aiff .alac .amr .ape .asf .au .avi .avr .bw64 .bwf .caf
.dff .dsf .dts .eac3 .f4a .flac .flv .gsm .ircam .m2a .m4a .m4b .m4p .m4r .m4v .mka .mkv
.mov .mp1 .mp2 .mp3 .mp4 .mpa .mpc .mpeg .mpg .mpga .nist .oga .ogg .ogv .ogx .opus .paf
.ra .raw .rf64 .rm .sd2 .shn .snd .sph .spx .tak .tta .voc .w64 .wav .wave .webm .wma
.wmv .wv
"""
# Suffixes of sound files and of containers that may hold sound. Some cannot be read,
# so that a song with such a file is an error.
AUDIO_SUFFIXES = {*READABLE_SUFFIXES, *_SUFFIXES.split()}
# What macOS, Windows and network disks put into folders, beside hidden files
LITTER = {
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "desktop.ini",
    "icon\r",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
# How the small texts begin that stand for a file which was not fetched yet
_POINTERS = {
    b"version https://git-lfs": "git lfs pull",
    b"/annex/objects/": "git annex get, or datalad get",
}


@dataclass(frozen=True)
class Song:
    """A song that was found; its files are not yet open."""

    path: Path  # its folder or file, which gives the song its name
    split: str | None = None  # "train", "valid", "test"
    files: tuple[StemFile, ...] = ()  # empty: the files in `path`, named after stems
    name: str = ""  # empty: that of the path
    group: str = ""  # songs of one group must be in one split; empty: the name
    origin: str = ""  # the name of the folder that stands for the split
    # a recording of one stem: the other stems of the data set are absent from it
    single: bool = False
    # made of its stems alone: the other stems of the data set are silent in it
    built: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or song_name(self.path))
        object.__setattr__(self, "group", self.group or self.name)


def entries(folder: Path) -> list[Path]:
    """Sorted entries of a folder, without hidden files and litter; none of a file.

    What is not there is listed, too: a link without a target, and the file or folder
    that a .dvc file stands for. `check_file` says so when it is opened.

    Raises:
        DatasetError: the folder cannot be opened.
    """
    if not folder.is_dir():
        return []
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be opened: {error.strerror}. Change its permissions."
        ) from error
    seen = [n for n in names if not n.startswith(".") and n.lower() not in LITTER]
    return [folder / name for name in sorted({n.removesuffix(DVC) for n in seen})]


def subfolders(folder: Path) -> list[Path]:
    """Sorted folders in a folder."""
    return [entry for entry in entries(folder) if entry.is_dir()]


def is_audio(path: Path) -> bool:
    """Whether a path looks like an audio file by its suffix, and is no folder."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.is_dir()


def is_stem_mp4(path: Path) -> bool:
    """Whether a path is a file with five streams, as in MUSDB18."""
    return path.name.lower().endswith(STEM_MP4) and not path.is_dir()


def sounds(folder: Path) -> list[Path]:
    """Sorted entries of a folder that are called as audio files, without .stem.mp4."""
    return [
        entry
        for entry in entries(folder)
        if entry.suffix.lower() in AUDIO_SUFFIXES and not is_stem_mp4(entry)
    ]


def songs_in(folder: Path) -> list[Path]:
    """All folders and audio files of a folder, if at least one of them is a song."""
    found = [
        entry
        for entry in entries(folder)
        if entry.is_dir() or is_audio(entry) or not entry.exists()
    ]
    if any(is_stem_mp4(entry) or sounds(entry) for entry in found):
        return sorted(found, key=song_name)
    return []


def song_name(path: Path) -> str:
    """The name of a song, by its folder or file."""
    if is_stem_mp4(path):
        return path.name[: -len(STEM_MP4)]
    return path.name if path.is_dir() else path.stem


def part_name(path: Path) -> str:
    """The stem that a file in the folder of a song holds; "mixture" for a mixture."""
    return MIXTURE if path.stem.casefold() in MIXTURE_FILES else path.stem


def stem_files(path: Path) -> list[StemFile]:
    """The files of the stems of a song, by their names; they are not opened.

    Raises:
        DatasetError: there is no audio, or something is missing. Folders inside the
            folder of a song are not read.
    """
    if is_stem_mp4(path):
        return [StemFile(stem, path, n) for n, stem in enumerate(STEM_MP4_STREAMS)]
    if is_audio(path) or path.is_file():
        return [StemFile(MIXTURE, path)]
    for missing in (entry for entry in (path, *entries(path)) if not entry.exists()):
        check_file(missing)
    files = [StemFile(part_name(file), file) for file in sounds(path)]
    if not files:
        raise DatasetError(
            f"{path} holds no audio files, but {first_entries(path)}. Put one audio "
            "file per stem into the folder, named after the stem."
        )
    return files


def first_entries(folder: Path) -> str:
    """The first entries of a folder in words, for errors."""
    names = [entry.name for entry in entries(folder)]
    more = f" and {len(names) - FIRST} more" if len(names) > FIRST else ""
    return f"{', '.join(names[:FIRST])}{more}" if names else "an empty folder"


def check_file(path: Path) -> None:
    """Raise DatasetError for what only stands for an audio file.

    That is a folder, a link without a target, or the small file that Git LFS, git-annex
    or DVC puts in its place.
    """
    if path.is_dir():
        raise DatasetError(
            f"{path} is a folder with the name of an audio file. Rename it, or move "
            "the file in it one folder up."
        )
    if path.is_symlink() and not path.exists():
        raise DatasetError(
            f"{path} is a link to {path.readlink()}, which is not there. Fetch it "
            "(git annex get, datalad get, dvc pull), or delete the link."
        )
    command = None
    if not path.exists() and path.with_name(f"{path.name}{DVC}").exists():
        command = "dvc pull"
    elif path.is_file():
        with path.open("rb") as file:
            content = file.read(64)
        commands = (c for begin, c in _POINTERS.items() if content.startswith(begin))
        command = next(commands, None)
    if command:
        raise DatasetError(f"{path} is not fetched yet. Fetch it with: {command}.")
