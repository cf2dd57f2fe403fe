"""Which files are songs, what each is called, and where its stems go.

songs/  *.mp3  a.wav ─find_files─▶ files ─track_names─▶ {file: "name"}
"{track}/{stem}.{ext}" ─fill─▶ name/vocals.wav, name/drums.wav, name/separation.json
"""

import glob
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mssedu.audio.tensors import READABLE_SUFFIXES
from mssedu.errors import AudioFileError, InputError, message

FIELDS = ("track", "stem", "ext", "trackext", "model")  # of a template


def find_files(paths: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """Music files behind names, folders and patterns, each once, and what is missing.

    Folders are searched with all their subfolders; patterns (*, ?, [..]) are expanded
    here too, because the Windows shell does not.

    Returns:
        files in the order given (sorted within a folder), and names without a file.
    """
    found: dict[Path, Path] = {}  # resolved path -> path as the user wrote it
    missing = []
    for name in map(Path, paths):
        if name.is_dir():
            hits = sorted(p for p in name.rglob("*") if _is_music(p))
        elif name.exists():
            hits = [name]
        else:
            names = glob.glob(str(name), recursive=True)  # noqa: PTH207 (may be absolute)
            hits = [path for path in map(Path, sorted(names)) if _is_music(path)]
        if not hits:
            missing.append(name)
        for hit in hits:
            found.setdefault(hit.resolve(), hit)
    return list(found.values()), missing


def track_names(files: Iterable[Path]) -> dict[Path, str]:
    """A different track name for each file: its own name, if need be with its folder's.

    Example:
        >>> names = track_names([Path("a/song.wav"), Path("b/song.wav")])
        >>> list(names.values())
        ['song (a)', 'song (b)']
    """
    files = list(files)
    names = {file: track_name(file) for file in files}
    for extra in (lambda f: f.resolve().parent.name, lambda f: f.suffix[1:]):
        count = Counter(name.casefold() for name in names.values())
        for file, name in names.items():
            if count[name.casefold()] > 1:
                names[file] = f"{name} ({extra(file)})"
    taken: Counter[str] = Counter()
    for file, name in names.items():
        taken[name.casefold()] += 1
        if taken[name.casefold()] > 1:
            names[file] = f"{name} {taken[name.casefold()]}"
    return names


def track_name(path: Path) -> str:
    """File name without suffix; the .stem of MUSDB18's .stem.mp4 goes too."""
    return path.stem.removesuffix(".stem")


def fill(template: str, **names: str) -> Path:
    """Path of a stem below the output folder.

    Args:
        template: with {stem}, and any other of `FIELDS`.
        **names: a value for each of `FIELDS`.

    Raises:
        InputError: no {stem}, an unknown {name}, or not a relative path.

    Example:
        >>> names = {"track": "song", "trackext": "mp3", "model": "htdemucs"}
        >>> fill("{track} {stem}.{ext}", stem="bass", ext="wav", **names).as_posix()
        'song bass.wav'
    """
    try:
        path = Path(template.format(**names))
    except (KeyError, IndexError, ValueError):  # unknown {name}, lone {
        path = None
    if path is None or "{stem}" not in template or path.is_absolute():
        remedy = "The default is {track}/{stem}.{ext}."
        wanted = "a relative path with {stem}, and {track}, {ext}, {trackext} or "
        wanted += "{model} if you like"
        raise InputError(message("template", wanted, repr(template), remedy))
    return path


def is_finished(outputs: Iterable[Path], exists: str) -> bool:
    """Whether to leave a track alone, as all its output is there.

    Args:
        outputs: the files of a track, the report among them, which is written last.
        exists: "refuse", "skip" or "overwrite".

    Raises:
        AudioFileError: there is output already, and it may not be touched.
    """
    outputs = list(outputs)
    present = [path for path in outputs if path.exists()]
    if exists == "skip":
        return len(present) == len(outputs)
    if present and exists == "refuse":
        remedy = "Overwrite or skip it (--exists overwrite, --exists skip)."
        text = message("separate_file", "no output yet", present[0], remedy)
        raise AudioFileError(text)
    return False


def _is_music(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES and path.is_file()
