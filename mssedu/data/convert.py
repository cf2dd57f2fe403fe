"""Write a data set of any layout again, in the layout of another tool.

    SONGS ──load_dataset──▶ songs ──rate, channels──▶ one gain ──▶ OUT/SPLIT/SONG/*.wav
                                                               └─▶ OUT/convert.json

The samples are those of the source: float32 files are equal to what is decoded, bit for
bit. Integer formats hold ±1 at most: a song that needs it is scaled by one gain for all
of its files, so that its stems still sum to its mixture. A stem that is absent from a
song is not written. convert.json has the hash of each song and of each file, so that a
run that was stopped goes on, and never mixes two data sets. Notebook: 05.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from mssedu.audio.disk import room_for
from mssedu.audio.files import Staged, as_json, file_sha256, misfit, write_json
from mssedu.audio.names import file_names, name_bytes
from mssedu.audio.tensors import match_channels, resample, resampled_length
from mssedu.audio.writer import AudioWriter, file_bytes
from mssedu.data import OnLength
from mssedu.data.check import faulty_songs
from mssedu.data.finding import find_songs
from mssedu.data.loading import load_dataset
from mssedu.data.targets import TARGETS, check_tracks, song_folders
from mssedu.data.track import MIXTURE, Track
from mssedu.data.workers import start_worker
from mssedu.errors import (
    AudioFileError,
    DatasetError,
    DiskError,
    InputError,
    MssEduError,
    SetupError,
    check_name,
    check_range,
)

RECORD = "convert.json"
_SONG = {"source_sha256": str, "files": {str: str}, "gain_db": float}

Ext = Literal["wav", "flac"]
Subtype = Literal["int16", "int24", "float32"]
Progress = Callable[[int, int, str], None]  # songs done, all songs, name


@dataclass(frozen=True)
class Settings:
    """What the files of a song depend on, beside the song."""

    target: str
    ext: Ext
    subtype: Subtype
    sample_rate: int | None  # Hz; None: that of the song
    channels: int | None
    stems: tuple[str, ...]


@dataclass(frozen=True)
class Converted:
    """What `convert_dataset` has done."""

    root: Path
    n_songs: int
    n_skipped: int  # songs that an earlier run had written
    gains_db: dict[str, float]  # song -> the gain of all its files, if it is not 0 dB
    renamed: dict[str, str]  # song or stem -> its name on the disk, if it is another
    n_not_sum: int  # songs whose mixture is not written, and is not the sum


def convert_dataset(
    path: str | Path,
    out_dir: str | Path,
    *,
    target: str = "songs",
    ext: Ext = "wav",
    subtype: Subtype | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
    stems: Sequence[str] | None = None,
    layout: str | None = None,
    on_length: OnLength = "error",
    split_shares: Sequence[float] | None = None,
    split_seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Converted:
    """Write the songs of a data set in another layout, format or sample rate.

    Args:
        path: a data set in any layout, see `load_dataset`.
        out_dir: a new folder, or one that an earlier run with the same arguments began.
        target: a key of `TARGETS`.
        ext: "wav" or "flac".
        subtype: "int16", "int24", or "float32" in wav files. None: float32 in wav and
            int24 in flac files, which lose nothing that can be heard.
        sample_rate: Hz; None: that of the songs. n samples become round(n · new / old).
        channels: 1 or 2; None: those of the songs.
        stems: as in `load_dataset`; the mixture stays that of the whole song.
        layout: the name of the layout of `path`, if it is not recognized.
        on_length: as in `load_dataset`.
        split_shares: as in `load_dataset`, for songs without splits.
        split_seed: the seed of that split.
        jobs: number of processes. A script that starts more than one needs the line
            `if __name__ == "__main__":`.
        progress: is called with songs done, all songs and a name.

    Raises:
        InputError: an unknown target, ext or subtype, songs that the target cannot
            hold, or a folder that holds something else.
        DatasetError: no songs, songs that cannot be read (the others are written), or
            files in out_dir that were changed since.
        DiskError: the disk has not enough room for all songs.

    Example:
        >>> from mssedu.data.loading import demo_data
        >>> convert_dataset(demo_data(), "demo_demucs", target="demucs")
        ... # doctest: +SKIP
    """
    check_name("target", target, TARGETS)
    check_name("ext", ext, get_args(Ext))
    check_range("jobs", jobs, 1)
    if sample_rate is not None:
        check_range("sample_rate", sample_rate, 1000, 768_000)
    if channels is not None:
        check_range("channels", channels, 1, 2)
    root, out = Path(path), Path(out_dir)
    _check_folder(root, out)
    subtype = subtype or ("float32" if ext == "wav" else "int24")
    known = get_args(Subtype) if ext == "wav" else ("int16", "int24")
    check_name(f"{ext} subtype", subtype, known)
    if ext != "wav" and TARGETS[target].wav_only:
        raise InputError(f"{target} reads wav files only. Leave out --ext {ext}.")
    tracks = load_dataset(
        root,
        layout=layout,
        stems=stems,
        on_missing="absent",
        on_length=on_length,
        split_shares=split_shares,
        split_seed=split_seed,
    )
    check_tracks(root, tracks, target)
    if channels is not None and tracks[0].channels > 2:  # all songs have as many
        raise InputError(
            f"{root}: the songs have {tracks[0].channels} channels, and only mono and "
            "stereo can be converted. Leave out --channels (in Python channels)."
        )
    names = tracks[0].stems
    settings = Settings(target, ext, subtype, sample_rate, channels, names)
    folders = song_folders(tracks, target)
    document = _record(out, settings, folders)
    n_before = len(document["songs"])
    todo = {
        folder: (track, out / folder, settings, document["songs"].get(folder))
        for folder, track in folders.items()
    }
    n_bytes = sum(
        _n_bytes(track, settings)
        for folder, track in folders.items()
        if folder not in document["songs"]
    )
    with room_for(out, n_bytes, f"the songs of {root}"):
        write_json(out / RECORD, document)
        _run(root, out, todo, document, jobs, progress)
    return _result(out, folders, document, n_before)


def _check_folder(root: Path, out: Path) -> None:
    """Raise InputError for a folder that the songs must not be written into."""
    there = out.exists() and not (out / RECORD).exists()
    if there and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out.absolute()} is not an empty folder, and has no {RECORD} of an "
            "earlier run. Choose a new folder."
        )
    if root.is_dir() and out.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{out.absolute()} is inside the data set {root}, which stays as it is. "
            "Choose a folder beside it."
        )


# ---- the record ---------------------------------------------------------------------


def _record(out: Path, settings: Settings, folders: dict[str, Track]) -> dict[str, Any]:
    """convert.json: that of an earlier run if it fits, else a new one."""
    wanted = as_json(asdict(settings))
    if not (out / RECORD).exists():
        return {"settings": wanted, "songs": {}}
    place, remedy = (out / RECORD).absolute(), "Choose a new folder."
    try:
        document = json.loads((out / RECORD).read_bytes())
        fault = misfit(document, {"settings": dict, "songs": {str: _SONG}})
    except (ValueError, RecursionError) as error:
        fault = str(error)
    if fault:
        raise DatasetError(f"{place} is damaged ({fault}). {remedy}")
    before = document["settings"]
    if other := [name for name in wanted if before.get(name) != wanted[name]]:
        facts = ", ".join(f"{n} {before.get(n)}, not {wanted[n]}" for n in other)
        raise InputError(f"{place}: an earlier run had {facts}. {remedy}")
    if foreign := sorted(document["songs"].keys() - folders.keys()):
        raise InputError(
            f"{place} lists {foreign[0]}, which is not in this data set. {remedy}"
        )
    return dict(document)


def _result(
    out: Path, folders: dict[str, Track], document: dict[str, Any], n_before: int
) -> Converted:
    """Open the new data set, to make sure of it, and sum up what was done."""
    has_splits = all(track.split for track in folders.values())
    _, songs = find_songs(out, "splits" if has_splits else "songs")
    found = {song.path.relative_to(out).as_posix() for song in songs}
    if found != folders.keys():
        odd = sorted(found ^ folders.keys())
        raise DatasetError(
            f"{out.absolute()} holds other songs than were written, such as {odd[0]}. "
            "Remove them."
        )
    gains = {
        folders[folder].name: song["gain_db"]
        for folder, song in document["songs"].items()
        if song["gain_db"]
    }
    names = {track.name: folder.split("/")[-1] for folder, track in folders.items()}
    for track in folders.values():
        names |= file_names(track.present)
    renamed = {name: new for name, new in names.items() if new != name}
    never = TARGETS[document["settings"]["target"]].mixture == "never"
    not_sum = [t for t in folders.values() if never and t.unselected]
    return Converted(out, len(folders), n_before, gains, renamed, len(not_sum))


# ---- songs --------------------------------------------------------------------------


def _run(
    root: Path,
    out: Path,
    todo: dict[str, tuple[Any, ...]],
    document: dict[str, Any],
    jobs: int,
    progress: Progress | None,
) -> None:
    """Convert all songs, and list those that cannot be read at the end."""
    faults = []
    done = _in_processes(todo, jobs) if jobs > 1 else _in_turn(todo)
    for number, (folder, result) in enumerate(done, start=1):
        if isinstance(result, str):
            faults.append(result)
        elif document["songs"].get(folder) != result:
            document["songs"][folder] = result
            write_json(out / RECORD, document)
        if progress:
            progress(number, len(todo), folder.rpartition("/")[2])
    if faults:
        fault = f"that cannot be converted; {len(todo) - len(faults)} are in {out}"
        raise faulty_songs(root, fault, faults, "Fix them, and start again.")


def _in_turn(todo: dict[str, tuple[Any, ...]]) -> Iterator[tuple[str, Any]]:
    for folder, arguments in todo.items():
        yield folder, _converted(*arguments)


def _in_processes(
    todo: dict[str, tuple[Any, ...]], jobs: int
) -> Iterator[tuple[str, Any]]:
    # A process that is started anew works alike on all systems, and has no locks of
    # threads that do not run in it.
    pool = ProcessPoolExecutor(
        min(jobs, len(todo)),
        mp_context=get_context("spawn"),
        initializer=start_worker,
    )
    try:
        futures = {pool.submit(_converted, *todo[f]): f for f in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise SetupError(
            "a process was stopped, perhaps because the memory is full; or a script "
            'starts processes without the line if __name__ == "__main__":. Start '
            "again with --jobs 1 (in Python jobs=1)."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _converted(
    track: Track, folder: Path, settings: Settings, before: dict[str, Any] | None
) -> dict[str, Any] | str:
    """What convert.json says about a song; a text if it cannot be converted."""
    try:
        source = _source_sha256(track)
        if before is not None:
            _check_written(folder, source, before)
            return before
        gain, files = _write(track, folder, settings)
    except DiskError:
        raise
    except (MssEduError, OSError) as error:
        return f"{track.name}: {error}"
    samples = track.n_samples
    if settings.sample_rate:
        samples = resampled_length(samples, track.sample_rate, settings.sample_rate)
    return {
        "name": track.name,
        "source_sha256": source,
        "files": files,
        "absent": list(track.absent),
        "mixture_is_sum": track.mixture_is_sum,
        "sample_rate": settings.sample_rate or track.sample_rate,
        "samples": samples,
        "gain_db": round(20 * math.log10(gain), 6),
    }


def _source_sha256(track: Track) -> str:
    """The hash of all files of a song."""
    digest = hashlib.sha256(name_bytes(f"{track.stems} {track.n_samples}\n"))
    hashes: dict[Path, str] = {}
    for file in track.files:
        hashes[file.path] = hashes.get(file.path) or file_sha256(file.path)
        line = f"{file.stem} {file.stream} {hashes[file.path]}\n"
        digest.update(name_bytes(line))
    return digest.hexdigest()


def _check_written(folder: Path, source: str, before: dict[str, Any]) -> None:
    """Raise an error unless a song is on the disk as convert.json says."""
    if before["source_sha256"] != source:
        raise InputError(
            f"{folder} was converted from other files. Remove it from {RECORD}, or "
            "choose a new folder."
        )
    for name, digest in before["files"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != digest:
            raise AudioFileError(
                f"{path} is missing, or not as it was written. Remove the song from "
                f"{RECORD}, or choose a new folder."
            )


def _part_names(track: Track, settings: Settings) -> list[str]:
    """The parts of a song that are written: stems, and the mixture if so."""
    mixture = TARGETS[settings.target].mixture
    has_mixture = mixture == "always" or (mixture == "own" and track.unselected)
    return [*([MIXTURE] if has_mixture else []), *track.present]


def _n_bytes(track: Track, settings: Settings) -> int:
    """Room on the disk that a song needs, an upper bound."""
    rate = settings.sample_rate or track.sample_rate
    each = file_bytes(
        f".{settings.ext}",
        rate,
        settings.channels or track.channels,
        resampled_length(track.n_samples, track.sample_rate, rate),
        subtype=settings.subtype,
    )
    return each * len(_part_names(track, settings))


def _part(track: Track, name: str, settings: Settings) -> Tensor:
    """Audio (channels, samples) of a part, at the rate and channels of the target."""
    audio = track.mixture() if name == MIXTURE else track.stem(name)
    audio = match_channels(audio, settings.channels or track.channels)
    rate = settings.sample_rate or track.sample_rate
    return resample(audio, track.sample_rate, rate)


def _write(
    track: Track, folder: Path, settings: Settings
) -> tuple[float, dict[str, str]]:
    """Write the files of a song; their gain, and the hash of each."""
    parts, peak = _part_names(track, settings), 1.0
    if settings.subtype != "float32":
        # Each part is read twice, so that memory holds one of them, not all.
        peaks = (float(_part(track, part, settings).abs().max()) for part in parts)
        peak = max(1.0, *peaks)
    names = file_names(parts)
    hashes = {}
    with Staged() as staged:
        for number, part in enumerate(parts):
            audio = _part(track, part, settings)
            path = folder / f"{names[part]}.{settings.ext}"
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = AudioWriter(
                path,
                settings.sample_rate or track.sample_rate,
                *audio.shape,
                subtype=settings.subtype,
                dither_seed=number,  # equal noise in all stems would add up
                staged=staged,
            )
            with writer:
                writer.write(audio / peak if peak > 1 else audio)
    for part in parts:
        path = folder / f"{names[part]}.{settings.ext}"
        hashes[path.name] = file_sha256(path)
    return 1 / peak, hashes
