"""Fetch a public data set: license first, then download, check, unpack, open.

    DATASETS[name] ──license accepted?──▶ OUT/name.zip ──checksum──▶ OUT/… ──▶ songs

Each step goes on where an earlier try stopped. An archive is unpacked only if nothing
in it could be written outside of the folder, and if it is not larger than the data set.
`fetched.json` says where the songs come from and which license was accepted.
"""

import hashlib
import json
import shutil
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mssedu.audio import download
from mssedu.audio.disk import check_room
from mssedu.audio.files import write_json, written_whole
from mssedu.audio.names import path_inside
from mssedu.data import OnLength, OnMissing
from mssedu.data.finding import find_songs
from mssedu.data.loading import load_dataset
from mssedu.errors import (
    AudioFileError,
    DatasetError,
    DownloadError,
    InputError,
    MssEduWarning,
    check_name,
)

RECORD = "fetched.json"
BLOCK = 2**20  # bytes
KINDS = (0, stat.S_IFREG, stat.S_IFDIR)  # of entries that are unpacked; 0: not stated
# A broken archive; files where it has folders, or the reverse
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError)
_IN_THE_WAY = (FileExistsError, NotADirectoryError, InputError)

Progress = Callable[[int, int | None, str], None]  # bytes done, all bytes, what is done


@dataclass(frozen=True)
class PublicDataset:
    """A data set that its authors offer as one zip file."""

    title: str
    license: str  # what it allows
    page: str  # where the authors describe it
    addresses: tuple[str, ...]  # tried in order; empty: users download it themselves
    checksum: str  # of the zip file: "sha256:…", or "md5:…" if no other is published
    size: int  # bytes of the zip file
    unpacked: int  # bytes of its content, at most
    layout: str
    n_songs: int
    on_missing: OnMissing = "error"
    on_length: OnLength = "error"


_MUSDB_LICENSE = (
    "for education only; no commercial use without permission of the copyright "
    "holders; each song has a license of its own, which the page lists"
)
DATASETS = {
    # The address is that of the package musdb 0.4.3 (configs/mus.yaml). The md5 is that
    # of the file with the same name and size in the Zenodo record 3270814.
    "musdb18-7s": PublicDataset(
        title="MUSDB18-7s, excerpts of 7 s from MUSDB18",
        license=_MUSDB_LICENSE,
        page="https://sigsep.github.io/datasets/musdb.html",
        addresses=(
            "https://github.com/sigsep/sigsep-mus-db/releases/download/v0.4.0/"
            "MUSDB18-7-STEMS.zip",
            "https://zenodo.org/records/3270814/files/MUSDB18-7-STEMS.zip",
        ),
        checksum="md5:dc2bdfac5b46ce742bd60009866758a5",
        size=147_209_385,
        unpacked=250_000_000,
        layout="musdb18-7s",
        n_songs=144,
    ),
    # The sha256 is that of torchaudio 2.11 (datasets/musdb_hq.py).
    "musdb18-hq": PublicDataset(
        title="MUSDB18-HQ, 150 songs in wav files",
        license=_MUSDB_LICENSE,
        page="https://zenodo.org/records/3338373",
        addresses=("https://zenodo.org/records/3338373/files/musdb18hq.zip",),
        checksum="sha256:"
        "baac80d0483c61d74b2e5f3be75fa557eec52898339e6aa45c1fa48833c5d21d",
        size=22_656_664_047,
        unpacked=36 * 10**9,
        layout="musdb18-hq",
        n_songs=150,
    ),
    # The sha256 is that of README.md of moises-ai/moises-db (commit 1fbc5c7). Files of
    # one song differ in length, and no song has all stems.
    "moisesdb": PublicDataset(
        title="MoisesDB, 240 songs with up to 11 stems",
        license="CC BY-NC-SA 4.0: no commercial use; name the authors; share alike",
        page="https://music.ai/research/",
        addresses=(),
        checksum="sha256:"
        "4cde33ce416ac7c868cffcb60eb31f5c741ab7ae5601cbb9d99ed498b72c48c1",
        size=82_700_000_000,
        unpacked=130 * 10**9,
        layout="moisesdb",
        n_songs=240,
        on_missing="absent",
        on_length="pad",
    ),
}


def fetch_dataset(
    name: str,
    out_dir: str | Path,
    *,
    accept_license: bool = False,
    archive: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a public data set, check and unpack it, and open its songs.

    Args:
        name: a key of `DATASETS`.
        out_dir: folder of the data set. A data set that is complete there is not
            fetched again; what an earlier try has left there is used.
        accept_license: whether you accept the license, `DATASETS[name].license`.
        archive: the zip file, if you have downloaded it; it stays where it is.
        progress: is called with bytes done, all bytes, and what is being done.

    Returns:
        the folder to give to `load_dataset`: out_dir or a folder in it.

    Raises:
        InputError: an unknown name, the license is not accepted, or the data set can
            only be downloaded by hand.
        DiskError: the disk has not room for both the zip file and its content.
        DownloadError: no connection, or another file than was published.
        AudioFileError, DatasetError: the archive is missing, damaged or unsafe, or does
            not hold the songs.

    Example:
        >>> root = fetch_dataset(
        ...     "musdb18-7s", "musdb18-7s", accept_license=True
        ... )  # doctest: +SKIP
    """
    check_name("data set", name, DATASETS)
    row, out = DATASETS[name], Path(out_dir)
    if not is_fetched(name, out):
        if not accept_license:
            raise InputError(
                f"{row.title}: the license is not accepted. It is: {row.license} "
                f"({row.page}). Accept it with --yes (in Python accept_license=True)."
            )
        zipped = _archive(name, row, out, archive, progress)
        _unpack(row, zipped, out, progress)
        _root(row, out)
        document = {"name": name, "checksum": row.checksum, "license": row.license}
        write_json(out / RECORD, document | {"page": row.page})
    if (left := out / f"{name}.zip").exists():  # the folder may be read-only
        left.unlink()
    root = _root(row, out)
    load_dataset(
        root, layout=row.layout, on_missing=row.on_missing, on_length=row.on_length
    )
    return root


def is_fetched(name: str, out_dir: str | Path) -> bool:
    """Whether a folder holds a whole data set that `fetch_dataset` has unpacked.

    Example:
        >>> is_fetched("musdb18-hq", "a/new/folder")
        False
    """
    try:
        document = json.loads((Path(out_dir) / RECORD).read_bytes())
        return bool(document["checksum"] == DATASETS[name].checksum)
    except (OSError, ValueError, TypeError, LookupError):
        return False


# ---- the archive --------------------------------------------------------------------


def _archive(
    name: str,
    row: PublicDataset,
    out: Path,
    archive: str | Path | None,
    progress: Progress | None,
) -> Path:
    """The zip file: that of the user, or downloaded."""
    if archive is not None:
        if not Path(archive).is_file():
            raise AudioFileError(
                f"{Path(archive).absolute()}: no such file. Check the spelling."
            )
        _check_sum(row, Path(archive), own=False)
        return Path(archive)
    if not row.addresses:
        raise InputError(
            f"{row.title}: programs cannot download it. Accept the license at "
            f"{row.page}, download the zip file there, and give it with --archive FILE "
            "(in Python archive=FILE)."
        )
    zipped = out / f"{name}.zip"
    parts = (zipped, zipped.with_name(f"{zipped.name}.part"))
    there = sum(path.stat().st_size for path in parts if path.exists())
    need = row.size - there + row.unpacked
    check_room(out, need, f"the zip file of {name} and its content")

    def update(done: int, total: int | None) -> None:
        if progress:
            progress(done, total, "downloading")

    for number, address in enumerate(row.addresses, start=1):
        try:
            _download(row, address, zipped, update)
            break
        except DownloadError:
            if number == len(row.addresses):
                raise
    return zipped


def _download(
    row: PublicDataset, address: str, path: Path, update: download.Progress
) -> None:
    """Download the zip file, and check it."""
    kind, digest = row.checksum.split(":")
    if kind == "sha256":
        download.fetch(address, path, sha256=digest, size=row.size, progress=update)
        return
    with warnings.catch_warnings():  # of no checksum: it is checked here
        warnings.filterwarnings("ignore", "no checksum", MssEduWarning)
        download.fetch(address, path, size=row.size, progress=update)
    _check_sum(row, path, own=True)


def _check_sum(row: PublicDataset, path: Path, *, own: bool) -> None:
    """Raise an error, and remove our own file, if it is not the one published."""
    kind, published = row.checksum.split(":")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, kind).hexdigest()
    if digest == published:
        return
    if own:
        path.unlink()
    fault = f"{path} has the {kind} {digest}, but {published} is published."
    if own:
        raise DownloadError(f"{fault} It was removed. Try again.")
    raise DatasetError(
        f"{fault} It is damaged, or another file. Download it again: {row.page}"
    )


def _unpack(
    row: PublicDataset, path: Path, out: Path, progress: Progress | None
) -> None:
    """Write all files of an archive; files that are there already are compared."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            places = _places(row, path, entries, out)
            left = [i for i in entries if not _is_there(i, places[i.filename])]
            total = sum(info.file_size for info in left)
            check_room(out, total, f"the files in {path.name}")
            done = 0
            for info in left:
                with (
                    written_whole(places[info.filename]) as temporary,
                    archive.open(info) as packed,
                    temporary.open("wb") as file,
                ):
                    # zipfile ends at the size that the entry states, and then compares
                    # its checksum: no file becomes larger than was checked before.
                    shutil.copyfileobj(packed, file, BLOCK)
                done += info.file_size
                if progress:
                    progress(done, total, "unpacking")
    except (*_DAMAGE, *_IN_THE_WAY) as error:
        raise DatasetError(
            f"{path} cannot be unpacked: {error}. Choose an empty folder with "
            f"--out-dir, or download it again: {row.page}"
        ) from error


def _places(
    row: PublicDataset, path: Path, entries: list[zipfile.ZipInfo], out: Path
) -> dict[str, Path]:
    """Where each entry is written; raises DatasetError if one is not safe."""
    total = sum(info.file_size for info in entries)
    if total > row.unpacked:
        raise _unsafe(path, f"its files have {total} bytes, not {row.unpacked} at most")
    places: dict[str, Path] = {}
    for info in entries:
        name = info.filename
        if stat.S_IFMT(info.external_attr >> 16) not in KINDS:
            raise _unsafe(path, f"{name!r} is a link or a device")
        if info.flag_bits & 1:
            raise _unsafe(path, f"{name!r} has a password")
        try:
            place = path_inside(out, name)
        except InputError as error:
            raise _unsafe(path, f"{name!r} is outside of the folder") from error
        if "\\" in name or name in places:
            raise _unsafe(path, f"{name!r} is no name of a file, or is there twice")
        places[name] = place
    return places


def _unsafe(path: Path, fault: str) -> DatasetError:
    return DatasetError(
        f"{path} is not unpacked, because {fault}. Do not trust this file."
    )


def _is_there(info: zipfile.ZipInfo, place: Path) -> bool:
    """Whether an entry needs no writing; raises DatasetError for another file there."""
    if info.is_dir():
        return True
    if not place.exists():
        return False
    crc = 0
    with place.open("rb") as file:
        while block := file.read(BLOCK):
            crc = zlib.crc32(block, crc)
    if (place.stat().st_size, crc) != (info.file_size, info.CRC):
        raise DatasetError(
            f"{place.absolute()} is another file than the one in the archive. Choose "
            "an empty folder with --out-dir, or remove this file."
        )
    return True


def _root(row: PublicDataset, out: Path) -> Path:
    """The folder with the songs: an archive may have folders around them."""
    for folder in (out, *sorted(out.glob("*/")), *sorted(out.glob("*/*/"))):
        try:
            _, songs = find_songs(folder, row.layout)
        except DatasetError:
            continue
        if len(songs) == row.n_songs:
            return folder
    raise DatasetError(
        f"{out.absolute()} does not hold the {row.n_songs} songs of {row.title}. "
        f"Remove {RECORD} there and fetch it again."
    )
