"""Songs that an index lists: a CSV file, a file of metadata beside each song, or one
for all mixes that were built.

Each function takes the folder of a data set, or a CSV file, and returns its songs, or
the reason why it has no such index. An index that is damaged is a DatasetError.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mssedu.data.building.recipe import MANIFEST, read_manifest
from mssedu.data.folders import (
    MIXTURE_FILES,
    Song,
    entries,
    part_name,
    sounds,
    subfolders,
)
from mssedu.data.splits import SPLITS
from mssedu.data.track import MIXTURE, StemFile
from mssedu.errors import DatasetError

# The column that names the stem in a CSV file of single recordings
STEM_COLUMNS = ("instrum", "instrument", "type", "stem")
SLAKH_SPLITS = {
    "train": "train",
    "validation": "valid",
    "valid": "valid",
    "test": "test",
}
OMITTED = "omitted"  # songs of Slakh that occur twice, which its authors leave out
# The end of the name of a piece: melody_part2.wav is a piece of the recording melody
_PIECE = re.compile(r"[ ._-]+(chunk|part|pt|piece|seg|segment)[ ._-]*\d+$", re.I)
# What JSON or YAML of another form leads to
_WRONG = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
_NO_SONGS = "{} lists no songs. Add a line for each song."


# ---- CSV files ----------------------------------------------------------------------


def spleeter_csv(root: Path) -> list[Song] | str:
    """Songs of a CSV file with the columns mix_path, vocals_path, …, duration.

    The split is the word train, valid or test in the name of the file. Source:
    configs/musdb_train.csv of deezer/spleeter.
    """
    songs = []
    for file, rows in tables(root, ["mix_path"]):
        stems = [column for column in rows[0] if column.endswith("_path")]
        base = _base(file, rows[0]["mix_path"])
        for row in rows:
            files = [
                StemFile(MIXTURE if column == "mix_path" else column[:-5], base / path)
                for column in stems
                if (path := row[column])
            ]
            mixture = base / row["mix_path"]
            generic = mixture.stem.casefold() in MIXTURE_FILES
            name = mixture.parent.name if generic else mixture.stem
            songs.append(Song(mixture, _split_in(file), tuple(files), name))
    return distinct(songs, _folder) or "no CSV file with the column mix_path"


def recordings_csv(root: Path) -> list[Song] | str:
    """Recordings of a CSV file with the columns instrument (or instrum, type) and path.

    Source: type 3 in docs/dataset_types.md of
    ZFTurbo/Music-Source-Separation-Training.
    """
    songs = []
    for file, rows in tables(root, ["path"], STEM_COLUMNS):
        column = next(name for name in STEM_COLUMNS if name in rows[0])
        base = _base(file, rows[0]["path"])
        for row in rows:
            if not row[column] or not row["path"]:
                line = ", ".join(row.values())
                raise DatasetError(
                    f"{file} has a line without {column} or path: {line}. Fill it in."
                )
            songs.append(recording(row[column], base / row["path"], _split_in(file)))
    columns = ", ".join(STEM_COLUMNS)
    return (
        distinct(songs, _folder)
        or f"no CSV file with the columns path and one of {columns}"
    )


def recording(stem: str, path: Path, split: str | None = None) -> Song:
    """The song that is a recording of one stem alone."""
    name, group = f"{stem} {path.stem}", _PIECE.sub("", path.stem) or path.stem
    return Song(path, split, (StemFile(stem, path),), name, group, single=True)


def distinct(songs: list[Song], mark: Callable[[Song], str]) -> list[Song]:
    """The songs; those that share a name with another file get a mark in brackets."""
    uses = Counter(name for name, _ in {(song.name, song.path) for song in songs})
    return [
        replace(song, name=f"{song.name} ({mark(song)})")
        if uses[song.name] > 1
        else song
        for song in songs
    ]


def tables(
    root: Path, columns: Sequence[str], one_of: Sequence[str] = ()
) -> Iterable[tuple[Path, list[dict[str, str]]]]:
    """CSV files in a folder that have all of the columns, and one of the others."""
    for file in [root] if root.is_file() else entries(root):
        if file.suffix.lower() != ".csv" or not file.is_file():
            continue
        with file.open("rb") as binary:
            header = binary.readline().decode("utf-8-sig", "replace")
        delimiter = max(",;\t", key=header.count)
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if not {*columns} <= {*names} or (one_of and not {*one_of} & {*names}):
            continue
        try:
            text = file.read_bytes().decode("utf-8-sig")
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            lines = [[field.strip() for field in line] for line in reader if any(line)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(
                f"{file} cannot be read: {error}. Save it as CSV in UTF-8."
            ) from error
        if len(lines) < 2:
            raise DatasetError(_NO_SONGS.format(file))
        names = [name.lower() for name in lines[0]]
        short = [line for line in lines if len(line) != len(names)]
        if short:
            raise DatasetError(
                f"{file} has {len(names)} columns, and the line {', '.join(short[0])} "
                f"has {len(short[0])}. Put names with a {delimiter!r} into quotes."
            )
        yield file, [dict(zip(names, line, strict=True)) for line in lines[1:]]


def _base(file: Path, first: str) -> Path:
    """The folder that the paths of a CSV file start from: its own, or one above it."""
    folders = [file.parent, *file.absolute().parent.parents]
    return next((f for f in folders[:3] if (f / first).is_file()), file.parent)


def _split_in(file: Path) -> str | None:
    """The split that the name of a file contains."""
    return next((split for split in SPLITS if split in file.stem.lower()), None)


def _folder(song: Song) -> str:
    return song.path.parent.name


# ---- metadata beside each song ------------------------------------------------------


def moisesdb(root: Path) -> list[Song] | str:
    """Songs of MoisesDB: PROVIDER/SONG/data.json names stems/STEM/ID.wav, to be summed.

    Source: moisesdb/track.py of moises-ai/moises-db.
    """
    above = (root, *subfolders(root))
    files = [s / "data.json" for folder in above for s in subfolders(folder)]
    songs = [_moises_song(file) for file in files if file.is_file()]
    if not songs:
        return "no file data.json in the folder of a song"
    reasons = [song for song in songs if isinstance(song, str)]
    if len(reasons) == len(songs):
        return reasons[0]
    if reasons:
        raise DatasetError(f"{reasons[0]}. Unpack this song again.")
    found = [song for song in songs if isinstance(song, Song)]
    return distinct(found, lambda song: song.path.name[:8])


def _moises_song(file: Path) -> Song | str:
    folder = file.parent
    try:
        document = json.loads(file.read_bytes())
        files = [
            StemFile(
                stem["stemName"],
                folder / stem["stemName"] / f"{part['id']}.{part['extension']}",
            )
            for stem in document["stems"]
            for part in stem["tracks"]
        ]
        name = f"{document.get('artist', '')} - {document.get('song', 'untitled')}"
    except _WRONG as error:
        return f"{file} is not as in MoisesDB ({type(error).__name__}: {error})"
    if not files:
        return f"{file} names no stems"
    return Song(folder, None, tuple(files), name)


def slakh(root: Path) -> list[Song] | str:
    """Songs of Slakh2100 and BabySlakh: TrackNNNNN/metadata.yaml, stems/S00.flac, ….

    The stems of one class of instruments are summed; `drums` are those of the class
    Drums, `synth_pad` those of Synth Pad. Source: README.md of ethman/slakh-utils.
    """
    splits: list[tuple[str | None, Path]] = [
        (SLAKH_SPLITS[folder.name.lower()], folder)
        for folder in subfolders(root)
        if folder.name.lower() in SLAKH_SPLITS
    ]
    return [
        _slakh_song(folder / "metadata.yaml", split)
        for split, above in splits or [(None, root)]
        for folder in subfolders(above)
        if folder.name.startswith("Track") and (folder / "metadata.yaml").is_file()
    ] or "no folder Track… with a file metadata.yaml"


def _slakh_song(file: Path, split: str | None) -> Song:
    import yaml

    folder = file.parent
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 10 times as fast
    try:
        with file.open("rb") as binary:
            listed: dict[Any, Any] = yaml.load(binary, loader)["stems"]
        stems = {str(key): stem for key, stem in listed.items()}
        classes = {key: stem["inst_class"] for key, stem in stems.items()}
        rendered = {key for key in stems if stems[key].get("audio_rendered", True)}
        names = {key: _stem_name(name) for key, name in classes.items()}
    except (yaml.YAMLError, *_WRONG) as error:
        raise DatasetError(
            f"{file} is not as in Slakh ({type(error).__name__}: {error}). Unpack this "
            "song again."
        ) from error
    there = {path.stem: path for path in sounds(folder / "stems")}
    mixture = [path for path in sounds(folder) if part_name(path) == MIXTURE]
    if len(there) < len(sounds(folder / "stems")) or len(mixture) > 1:
        raise DatasetError(
            f"{folder} has two files for one stem, or two mixtures. Keep one of them."
        )
    # A rare stem was never rendered. A file that should be there is named when it is
    # opened; a file without an entry is a stem of its own.
    missing = {key: folder / "stems" / f"{key}.flac" for key in rendered - there.keys()}
    files = [
        StemFile(names.get(key, key), path)
        for key, path in sorted((there | missing).items())
    ]
    files += [StemFile(MIXTURE, path) for path in mixture]
    return Song(folder, split, tuple(files), origin=folder.parent.name if split else "")


def _stem_name(text: str) -> str:
    """A class of instruments as the name of a stem: "Synth Pad" is synth_pad."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")


def built_mixes(root: Path) -> list[Song] | str:
    """Mixes of `mssedu data build`, whose build.json says of what they are made.

    They are folders, or excerpts of recordings if they are virtual. Two mixes may hold
    the same recording, so that all mixes of a split are one group.
    """
    file = root / MANIFEST
    if root.is_file() or not file.is_file():
        return f"no file {MANIFEST}"
    document = read_manifest(file)
    if not document["finished"]:
        raise DatasetError(
            f"{root} is not finished. Give the command mssedu data build once more: it "
            "goes on where it has stopped."
        )
    is_virtual = document["settings"]["virtual"]
    paths = _sources(root, document) if is_virtual else {}
    settings, songs = document["settings"], []
    samples = round(settings["seconds"] * settings["sample_rate"])
    for mix in document["mixes"]:
        path, split = root / mix["split"] / mix["name"], mix["split"]
        files = [
            StemFile(
                stem,
                paths[row["source"]],
                n_samples=samples,
                start=row["start"],
                gain=row["factor"],
            )
            for stem, row in mix["stems"].items()
            if is_virtual
        ]
        songs.append(
            Song(path, split, tuple(files), group=f"mixes {split}", built=True)
        )
    return songs


def _sources(root: Path, document: dict[str, Any]) -> dict[str, Path]:
    """The files of the recordings; those that have another size are an error."""
    folder = root / document["folder"]
    paths = {
        row["path"]: root / row["copy"] if row["copy"] else folder / row["path"]
        for row in document["sources"]
    }
    changed = [
        str(paths[row["path"]])
        for row in document["sources"]
        if not (path := paths[row["path"]]).is_file()
        or (not row["copy"] and path.stat().st_size != row["size"])
    ]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise DatasetError(
            f"{root} reads recordings that are not there, or have changed: "
            f"{', '.join(changed[:3])}{more}. Put them back, or build the mixes again."
        )
    return paths
