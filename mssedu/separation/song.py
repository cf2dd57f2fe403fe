"""Songs on disk: which files are songs, where their stems go, one song in blocks.

    songs/  *.mp3  a.wav ─find_files─▶ files ─track_names─▶ {file: "name"}
    "{track}/{stem}.{ext}" ─fill─▶ name/vocals.wav, name/drums.wav, name/separation.json

    file ─scan─▶ length, peak, NaN, hash
    file ─read_blocks─▶ some channels ─▶ mono or stereo ─resample─▶ blocks
Notebook: 12.
"""

import glob
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from torch import Tensor

from mssedu.audio.containers import READABLE_SUFFIXES
from mssedu.audio.stream import Scan, read_blocks, resample_blocks, scan
from mssedu.audio.tensors import match_channels, resampled_length
from mssedu.errors import AudioFileError, InputError, check_range
from mssedu.separation.config import FileConfig, SeparateConfig

FIELDS = ("track", "stem", "ext", "trackext", "model")  # of a template
LAYOUTS = {  # what the channels of a wav file usually are, counted from 0
    3: "left, right, center",
    4: "left, right, back left, back right",
    6: "left, right, center, low frequencies, back left, back right",
    8: "left, right, center, low frequencies, back left and right, side left and right",
}


# ---- files and names ----------------------------------------------------------------


def find_files(paths: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """Music files behind names, folders and patterns, each once, and what is missing.

    Folders are searched with all their subfolders; patterns (*, ?, [..]) are expanded
    here too, because the Windows shell does not.

    Returns:
        files in the order of `paths` (sorted within a folder), and names without a
        file.
    """
    files: dict[Path, Path] = {}  # resolved path -> path as the user wrote it
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
            files.setdefault(hit.resolve(), hit)
    return list(files.values()), missing


def _is_music(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES and path.is_file()


def track_names(files: Iterable[Path]) -> dict[Path, str]:
    """A different track name for each file: its own, with its folder's if necessary.

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
    uses: Counter[str] = Counter()
    for file, name in names.items():
        uses[name.casefold()] += 1
        if uses[name.casefold()] > 1:
            names[file] = f"{name} {uses[name.casefold()]}"
    return names


def track_name(path: Path) -> str:
    """File name without suffix; the .stem of MUSDB18's .stem.mp4 is removed too."""
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
    except (KeyError, IndexError, ValueError):  # unknown {name}, single {
        path = None
    if path is None or "{stem}" not in template or path.is_absolute():
        raise InputError(
            f"template {template!r} must be a relative path with {{stem}}, and may "
            "contain {track}, {ext}, {trackext} and {model}. The default is "
            "{track}/{stem}.{ext}."
        )
    return path


def is_finished(outputs: Iterable[Path], exists: str) -> bool:
    """Whether a track needs no work, because all its output exists.

    Args:
        outputs: the files of a track with separation.json, which is written last.
        exists: "refuse", "skip" or "overwrite".

    Raises:
        AudioFileError: output exists, and `exists` is "refuse".
    """
    outputs = list(outputs)
    present = [path for path in outputs if path.exists()]
    if exists == "skip":
        return len(present) == len(outputs)
    if present and exists == "refuse":
        raise AudioFileError(
            f"{present[0]} exists. Choose another folder, or --exists overwrite or "
            "--exists skip."
        )
    return False


# ---- one song -----------------------------------------------------------------------


@dataclass(frozen=True)
class Song:
    """A file, or a part of it: its format is checked, and its samples stay on disk."""

    path: Path
    files: FileConfig
    scan: Scan
    channels: int  # after `files.channels` and `files.downmix`

    @classmethod
    def open(cls, path: Path, files: FileConfig) -> Self:
        """Read a file once from start to end, and check it.

        Raises:
            AudioFileError: the file is missing, or cannot be decoded.
            InputError: NaN or Inf in it, or more channels than a model can have.
        """
        measured = scan(
            path,
            start_seconds=files.start_seconds,
            duration_seconds=files.duration_seconds,
        )
        if measured.first_nonfinite is not None and files.nonfinite == "refuse":
            first = measured.first_nonfinite
            raise InputError(
                f"{path} has {measured.n_nonfinite} NaN or Inf values, the first at "
                f"sample {first} ({first / measured.sample_rate:.3f} s). Find out "
                "where they come from, or replace them by zeros with nonfinite='zero'."
            )
        return cls(path, files, measured, _channels(path, measured.channels, files))

    def length(self, sample_rate: int) -> int:
        """Number of samples at another rate."""
        return resampled_length(self.scan.samples, self.scan.sample_rate, sample_rate)

    def seeded(self, config: SeparateConfig) -> SeparateConfig:
        """The config with the song's own seed, so that songs get different shifts."""
        return replace(config, seed=config.seed ^ int(self.scan.sha256[:8], 16))

    def blocks(self, sample_rate: int, channels: int) -> Iterator[Tensor]:
        """The song in blocks (channels, n), at a sample rate in Hz."""
        blocks = read_blocks(
            self.path,
            start_seconds=self.files.start_seconds,
            duration_seconds=self.files.duration_seconds,
        )
        matched = (match_channels(self._select(block), channels) for block in blocks)
        rate, samples = self.scan.sample_rate, self.scan.samples
        yield from resample_blocks(matched, rate, sample_rate, samples)

    def _select(self, block: Tensor) -> Tensor:
        """The chosen channels of a block, or their mean."""
        if self.scan.n_nonfinite:
            block = block.nan_to_num(0, 0, 0)
        if self.files.channels:
            block = block[list(self.files.channels)]
        return block.mean(0, keepdim=True) if self.files.downmix else block


def _channels(path: Path, channels: int, files: FileConfig) -> int:
    """How many of the file's channels are used; an InputError if too many."""
    for channel in files.channels:
        check_range("channels", channel, 0, channels - 1, where=str(path))
    if files.downmix:
        return 1
    channels = len(files.channels) or channels
    if channels > 2:
        layout = f" (usually {LAYOUTS[channels]})" if channels in LAYOUTS else ""
        raise InputError(
            f"{path} has {channels} channels{layout}, but a model needs mono or "
            "stereo. Choose two of them with channels=(0, 1), or their mean with "
            "downmix."
        )
    return channels
