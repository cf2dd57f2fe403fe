"""A cache of decoded audio: songs of any format are read as fast as from memory.

    song.stem.mp4, vocals.mp3, … ──decode once──▶ FOLDER/NAME-KEY-….npy  samples
                                                  FOLDER/NAME-KEY.json   of which file
    RandomSegments ──▶ Track ──▶ a part of the .npy, mapped into memory ──▶ float32

Compressed files are decoded from their beginning for each read; the cache is decoded
once. Two bytes hold a sample: int16 with one step size for each file, or float16. A
copy belongs to one stream of one file, and is made again if size or time of the file
differ. Its .json is written last, so that a copy is whole or not there. Notebook: 05.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import Tensor

from mssedu.audio.disk import check_room, size_text
from mssedu.audio.files import write_json, written_whole
from mssedu.audio.names import file_name
from mssedu.audio.tensors import audio_info, load_audio
from mssedu.audio.words import counted
from mssedu.data import CacheType
from mssedu.data.mapped import CachedFile
from mssedu.data.track import StemFile, Track
from mssedu.errors import (
    MssEduWarning,
    check_finite,
    check_name,
    check_range,
)

VERSION = 1  # of the copies; those of another version are made again
STEP = 1 / 2**15  # of 16-bit files, whose copies have no error

Progress = Callable[[int, int], None]  # takes files done and all files
Key = tuple[Path, int]  # a file and the number of its stream


def cached(
    tracks: Sequence[Track],
    folder: str | os.PathLike[str],
    *,
    dtype: CacheType = "int16",
    n_threads: int | None = None,
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
) -> list[Track]:
    """The same songs, which are read from decoded copies in a folder.

    Copies that are missing or stale are made first, several at once; a call that was
    stopped goes on. A mixture with a file of its own is copied, too, and the rest of a
    mixture is computed from the copies. Songs in memory stay as they are. A folder may
    serve several data sets. Delete it to free the space.

    Args:
        tracks: of `load_dataset`.
        folder: of the copies; a minute of stereo at 44.1 kHz takes 10.6 MB.
        dtype: "int16": the error is half a step at most. A step is 1/32768 for 16-bit
            files, which have no error then, and else 1/32767 of the file's peak, so
            that nothing clips. "float16": the error is 1/2048 of the sample at most,
            and 3e-8 of very small ones.
        n_threads: that decode; None: one for each core.
        progress: is called with files done and files to decode.
        log: is called with a sentence on what is decoded, and why. None: a
            MssEduWarning says which copies were stale.

    Raises:
        InputError: an unknown dtype, n_threads below 1, or NaN or Inf in a file.
        DiskError: the copies do not fit on the disk.
        AudioFileError: a file cannot be read.

    Example:
        >>> songs = mssedu.load_dataset("musdb18", "train")      # doctest: +SKIP
        >>> songs = mssedu.data.cached(songs, "cache/musdb18")   # doctest: +SKIP
    """
    check_name("dtype", dtype, get_args(CacheType))
    n_threads = os.cpu_count() or 1 if n_threads is None else n_threads
    check_range("n_threads", n_threads, 1)
    folder = Path(folder).absolute()
    copies: dict[Key, _Copy] = {}
    for track in tracks:
        for file in _files(track):
            samples = file.n_samples or track.n_samples
            n_bytes = 2 * track.channels * samples
            copies[_key(file)] = _Copy(file, folder, dtype, n_bytes)
    made = {key: copy.find() for key, copy in copies.items()}
    todo = {key: copies[key] for key, found in made.items() if isinstance(found, str)}
    if todo:
        _announce(folder, [(copies[key], str(made[key])) for key in todo], made, log)
        made |= _decode(todo, n_threads, progress)
    return [_with_copies(track, made) for track in tracks]


def audio_source(tracks: Sequence[Track]) -> str:
    """What is read: "files", "memory", or the "int16" or "float16" of a cache.

    Example:
        >>> song = Track.from_audio("Test", {"vocals": torch.ones(1, 9)}, 44100)
        >>> audio_source([song])
        'memory'
    """
    kinds = {"memory" for track in tracks if track.audio is not None}
    for track in tracks:
        kinds |= {f.cache.dtype if f.cache else "files" for f in _files(track)}
    return " and ".join(sorted(kinds))


def _key(file: StemFile) -> Key:
    return file.path.absolute(), file.stream


def _files(track: Track) -> tuple[StemFile, ...]:
    """The files that are read; those of a track in memory are not."""
    return track.files if track.audio is None else ()


def _with_copies(track: Track, made: dict[Key, Any]) -> Track:
    files = tuple(replace(file, cache=made[_key(file)]) for file in _files(track))
    return replace(track, files=files) if files else track


def _announce(
    folder: Path,
    todo: list[tuple["_Copy", str]],
    made: dict[Key, Any],
    log: Callable[[str], None] | None,
) -> None:
    """Say what will be decoded, how large it is, and why what was there is not used."""
    n_bytes = sum(copy.n_bytes for copy, _ in todo)
    check_room(folder, n_bytes, f"the copies of {counted(len(todo), 'file')}")
    if log:
        log(
            f"{folder}: {len(todo)} of {len(made)} files are decoded once, "
            f"{size_text(n_bytes)}"
        )
    stale = [f"{copy.file.path.name}: {reason}" for copy, reason in todo if reason]
    if stale:
        copies = "stale copy is" if len(stale) == 1 else "stale copies are"
        more = f"; and {len(stale) - 3} more" if len(stale) > 3 else ""
        text = f"{len(stale)} {copies} made again: {'; '.join(stale[:3])}{more}"
        if log:
            log(text)
        else:
            warnings.warn(f"{folder}: {text}", MssEduWarning, stacklevel=3)


def _decode(
    todo: dict[Key, "_Copy"], n_threads: int, progress: Progress | None
) -> dict[Key, CachedFile]:
    """Make copies; the decoders let several threads work at once."""
    made = {}
    with ThreadPoolExecutor(n_threads) as pool:
        keys = {pool.submit(copy.make): key for key, copy in todo.items()}
        try:
            for done, future in enumerate(as_completed(keys), 1):
                made[keys[future]] = future.result()
                if progress:
                    progress(done, len(keys))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return made


@dataclass(frozen=True)
class _Copy:
    """A file, and where its copy is or will be."""

    file: StemFile
    folder: Path
    dtype: str
    n_bytes: int  # of the samples, an estimate

    def find(self) -> CachedFile | str:
        """The copy; else the reason why it is not used, "" if there was none."""
        try:
            document = json.loads(self._record.read_text("utf-8"))
            made_of = dict(document["made_of"])
            path = self.folder / document["file"]
            n_bytes, samples = document["bytes"], int(document["samples"])
            scale = float(document["scale"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, TypeError, KeyError):
            return "its record is damaged"
        for name, value in self._made_of().items():
            if made_of.get(name) != value:
                return f"{name} was {made_of.get(name)} and is {value}"
        if not path.is_file() or path.stat().st_size != n_bytes:
            return "the copy is damaged"
        return CachedFile(path, self.dtype, samples, scale)

    def make(self) -> CachedFile:
        """Decode the file and write the copy."""
        made_of = self._made_of()
        where, stream = self.file.path, self.file.stream
        audio, sample_rate = load_audio(where, stream=stream)
        check_finite(str(where), audio, sample_rate)
        values, scale = self._stored(audio)
        # The name is that of this content: nobody reads new samples with an old scale.
        content = hashlib.sha256(repr((made_of, scale)).encode()).hexdigest()[:8]
        path = self._record.with_name(f"{self._record.stem}-{content}.npy")
        with written_whole(path) as temporary:
            np.save(temporary, values)
        document = {
            "made_of": made_of,
            "file": path.name,
            "bytes": path.stat().st_size,
            "samples": audio.shape[-1],
            "scale": scale,
        }
        write_json(self._record, document)
        for old in self.folder.glob(f"{self._record.stem}-*.npy"):
            if old != path:
                with suppress(OSError):  # Windows: another process still reads it
                    old.unlink()
        return CachedFile(path, self.dtype, audio.shape[-1], scale)

    def _stored(self, audio: Tensor) -> tuple[Any, float]:
        """The values to store, and their scale."""
        samples, peak = audio.numpy(), float(audio.abs().max())
        if self.dtype == "float16":
            scale = max(1.0, peak / 2**15)  # float16 ends at 65504
            return (samples / np.float32(scale)).astype(np.float16), scale
        info = audio_info(self.file.path, stream=self.file.stream)
        scale = STEP if info.codec == "pcm_16" else (peak or 1.0) / 32767
        values = np.divide(samples, scale, dtype=np.float64)
        return np.rint(values, out=values).astype(np.int16), scale

    def _made_of(self) -> dict[str, Any]:
        """What the copy depends on."""
        stat = self.file.path.stat()
        return {
            "file": str(self.file.path.absolute()),
            "stream": self.file.stream,
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "dtype": self.dtype,
            "version": VERSION,
        }

    @property
    def _record(self) -> Path:
        path, stream = _key(self.file)
        digest = hashlib.sha256(f"{path}|{stream}|{self.dtype}".encode()).hexdigest()
        name = file_name(f"{path.parent.name}-{path.stem}"[:60])
        return self.folder / f"{name}-{digest[:16]}.json"
