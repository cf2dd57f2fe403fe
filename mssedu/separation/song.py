"""Songs on disk: which files are songs, where their stems go, one song in blocks.

    songs/  *.mp3  a.wav ─find_files─▶ files ─track_names─▶ {file: "name"}
    "{track}/{stem}.{ext}" ─fill─▶ name/vocals.wav, name/drums.wav, name/separation.json

    file ─scan─▶ length, peak, NaN, hash
    file ─read_blocks─▶ some channels ─▶ mono or stereo ─resample─▶ blocks
Notebook: 12.
"""

import glob
import json
import os
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from string import Formatter

from torch import Tensor, nn

from mssedu.audio.containers import READABLE_SUFFIXES
from mssedu.audio.files import as_json, file_sha256
from mssedu.audio.names import file_name, path_inside
from mssedu.audio.stream import Scan, read_blocks, resample_blocks, scan
from mssedu.audio.tensors import match_channels, resampled_length
from mssedu.audio.words import counted
from mssedu.audio.writer import file_bytes
from mssedu.errors import AudioFileError, InputError, check_range
from mssedu.models.contract import config_of
from mssedu.separation.chunks import with_segment
from mssedu.separation.config import FileConfig, SeparateConfig
from mssedu.separation.refine import output_names, refined
from mssedu.weights.checkpoint import weights_sha256

LAYOUTS = {  # what the channels of a wav file usually are, counted from 0
    3: "left, right, center",
    4: "left, right, back left, back right",
    6: "left, right, center, low frequencies, back left, back right",
    8: "left, right, center, low frequencies, back left and right, side left and right",
}
# Options that change neither the stems nor where they are, or that a song settles
UNCOMPARED = ("segment", "seed", "exists", "batch_size", "compile", "strict_segment")
RECORD_BYTES = 10_000  # more than separation.json has


# ---- files and names ----------------------------------------------------------------


def find_files(
    paths: Iterable[str | Path], out_dir: Path | None = None
) -> tuple[list[Path], list[Path], dict[str, list[Path]]]:
    """Music files behind names, folders and patterns: to separate, missing, left out.

    Folders are searched with all their subfolders and linked folders; patterns (*, ?,
    [..]) are expanded here too, because the Windows shell does not. The files are in
    the order of `paths`, each once, and sorted within a folder. Links to what does not
    exist are missing. Of a searched folder these are left out, with the reason as key:
    stems of earlier separations (files beside a separation.json, and files in
    `out_dir`), hidden files and folders, and folders that cannot be read.
    """
    files: dict[Path, Path] = {}  # resolved path -> path as the user wrote it
    missing: list[Path] = []
    left_out: dict[str, list[Path]] = {}
    if "" in paths:  # as of an unset variable; Path("") is the folder we are in
        raise InputError(
            "one of the files has an empty name. Name a file, a folder or a pattern; "
            "the folder you are in is a dot."
        )
    for name in map(Path, paths):
        try:
            hits = _search(name, out_dir, left_out)
        except OSError:  # a name that is too long
            hits = []
        if not hits:
            missing.append(name)
        for hit in hits:
            if hit.is_file():
                files.setdefault(hit.resolve(), hit)
            elif hit not in missing:
                missing.append(hit)
    return list(files.values()), missing, left_out


def _search(
    name: Path, out_dir: Path | None, left_out: dict[str, list[Path]]
) -> list[Path]:
    """Songs behind a name, a folder or a pattern."""
    if name.is_dir():
        hits = sorted(_music_below(name, left_out))
        written = {
            f for f in {hit.parent for hit in hits} if _is_output(f, name, out_dir)
        }
        if stems := [hit for hit in hits if hit.parent in written]:
            left_out.setdefault("stems of earlier separations", []).extend(stems)
        return [hit for hit in hits if hit.parent not in written]
    if name.exists():
        return [name]
    names = glob.glob(str(name), recursive=True)  # noqa: PTH207 (may be absolute)
    hits = []
    for path in map(Path, sorted(names)):
        if path.is_dir():
            hits += _search(path, out_dir, left_out)
        elif path != name and path.suffix.lower() in READABLE_SUFFIXES:
            hits.append(path)
    return hits


def _music_below(folder: Path, left_out: dict[str, list[Path]]) -> Iterator[Path]:
    """Files with the suffix of music; a link may lead to nothing."""
    waiting, seen = deque([folder]), set()
    while waiting:
        place = waiting.popleft()
        try:
            real = place.resolve()
            entries = [] if real in seen else sorted(place.iterdir())
        except OSError:
            left_out.setdefault("folders that cannot be read", []).append(place)
            continue
        seen.add(real)  # links may lead round in a circle
        for path in entries:
            is_folder = os.path.isdir(path)  # noqa: PTH112 (no error without rights)
            is_music = path.suffix.lower() in READABLE_SUFFIXES
            if path.name.startswith("."):  # ._song.wav of macOS, .Trash
                if is_folder or is_music:
                    left_out.setdefault("hidden files and folders", []).append(path)
            elif is_folder and path.is_symlink():
                waiting.append(path)  # last, so that a folder keeps its own name
            elif is_folder:
                waiting.appendleft(path)
            elif is_music:
                yield path


def _is_output(folder: Path, searched: Path, out_dir: Path | None) -> bool:
    """Whether a separation wrote the music in a folder below the searched one."""
    if folder != searched and (folder / "separation.json").is_file():
        return True
    if out_dir is None or searched.resolve().is_relative_to(out_dir.resolve()):
        return False
    return folder.resolve().is_relative_to(out_dir.resolve())


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

    Raises:
        InputError: no {stem}, an unknown {name}, or not a relative path.

    Example:
        >>> fill("{track} {stem}.{ext}", track="a", stem="bass", ext="wav").as_posix()
        'a bass.wav'
    """
    try:
        fields = {part[1:] for part in Formatter().parse(template)}
    except ValueError:  # a single {
        fields = set()
    known = {(name, "", None) for name in names} | {(None, None, None)}
    path = Path(template)
    has_stem = ("stem", "", None) in fields
    if not has_stem or fields - known or path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"template {template!r} must be a relative path with {{stem}}, and may "
            "contain {track}, {ext}, {trackext} and {model}. The default is "
            "{track}/{stem}.{ext}."
        )
    return Path(template.format(**names))


# ---- one song -----------------------------------------------------------------------


class Song:
    """A file to separate, and where its stems are written; its samples stay on disk.

    The file is read and checked when `scan` is first used.

    Args:
        track: name for the template; None: the file's name without suffix.

    Raises:
        InputError: a stem that the model lacks, a template that is no path, a path that
            is not in `out_dir`, or one file for two stems.
    """

    def __init__(
        self,
        model: nn.Module,
        path: Path,
        out_dir: Path,
        files: FileConfig,
        config: SeparateConfig,
        track: str | None = None,
    ) -> None:
        self.path, self.out_dir, self.files, self.config = path, out_dir, files, config
        self.track = track or track_name(path)
        if not self.track.strip(". "):  # "..", of a file called "...wav", is no folder
            self.track = file_name(self.track)
        self.model, self.model_config = model, config_of(model)
        refined(model, config, self.model_config)  # finds a wrong stem before the work
        names = {"track": self.track, "trackext": path.suffix[1:]}
        names["model"] = type(model).__name__.lower()

        def place(stem: str) -> Path:
            path = fill(files.template, stem=stem, ext=files.ext, **names)
            if path.suffix.lower() != f".{files.ext}":
                raise InputError(
                    f"template {files.template!r} gives files such as {path.name}, and "
                    f"ext is {files.ext}. End the template in .{{ext}}."
                )
            return path_inside(out_dir, path)

        stems = output_names(config, tuple(self.model_config.stems))
        self.outputs = {stem: place(stem) for stem in stems}
        _check_different(self.outputs)
        self.record = place("separation").with_suffix(".json")

    def is_finished(self) -> bool:
        """Whether to skip the song.

        Raises:
            AudioFileError: output that must stay, or that is of another song, model or
                option than what is asked for, or a stem in the place of the song.
        """
        outputs = [*self.outputs.values(), self.record]
        present = [path for path in outputs if path.exists()]
        for path in present:
            if self.path.exists() and path.samefile(self.path):
                raise AudioFileError(
                    f"{path} is the song itself, and a stem would replace it. Choose "
                    "another folder or template."
                )
        if present and self.files.exists == "refuse":
            raise AudioFileError(
                f"{present[0]} exists. Choose another folder, or --exists overwrite or "
                "--exists skip."
            )
        finished = self.files.exists == "skip" and present == outputs
        if finished and (difference := self._difference()):
            raise AudioFileError(
                f"{self.record.parent} has stems of {difference}. Choose another "
                "folder, or --exists overwrite."
            )
        return finished

    def _difference(self) -> str | None:
        """What the stems on disk were made with, if it is not what is asked for."""
        try:
            record = json.loads(self.record.read_text("utf-8"))
            settings = dict(record["settings"])
            made_of = record["input_sha256"], record["weights_sha256"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return f"unknown origin: {self.record.name} cannot be read"
        if made_of[0] != file_sha256(self.path):
            return f"another song, {record.get('input')}"
        if made_of[1] != weights_sha256(self.model):
            return f"another model or other weights ({record.get('model')})"
        asked = as_json(asdict(self.config) | asdict(self.files))
        names = [n for n in asked if n not in UNCOMPARED and n in settings]
        other = [n for n in names if settings[n] != asked[n]]
        return f"other options: {', '.join(other)}" if other else None

    @cached_property
    def scan(self) -> Scan:
        """Length, peak and hash of the file.

        Raises:
            AudioFileError: the file is missing, or cannot be decoded.
            InputError: NaN or Inf in it, or more channels than a model can have.
        """
        files = self.files
        measured = scan(
            self.path,
            start_seconds=files.start_seconds,
            duration_seconds=files.duration_seconds,
        )
        first = measured.first_nonfinite
        if first is not None and files.nonfinite == "refuse":
            raise InputError(
                f"{self.path} has {counted(measured.n_nonfinite, 'NaN or Inf value')}, "
                f"the first at sample {first} ({first / measured.sample_rate:.3f} s). "
                "Find out where they come from, or replace them by zeros with "
                "--nonfinite zero."
            )
        for channel in files.channels:
            highest = measured.channels - 1
            check_range("channels", channel, 0, highest, where=str(self.path))
        channels = len(files.channels) or measured.channels
        if channels > 2 and not files.downmix:
            layout = f" (usually {LAYOUTS[channels]})" if channels in LAYOUTS else ""
            raise InputError(
                f"{self.path} has {channels} channels{layout}, but a model needs mono "
                "or stereo. Choose two of them with --channels 0 1, or their mean "
                "with --downmix."
            )
        return measured

    @property
    def channels(self) -> int:
        """Number of channels of the stems."""
        files = self.files
        used = 1 if files.downmix else len(files.channels) or self.scan.channels
        return max(used, self.model_config.channels) if files.keep_stereo else used

    @property
    def sample_rate(self) -> int:
        """Sample rate of the stems, Hz."""
        of_model = self.files.out_rate == "model"
        return self.model_config.sample_rate if of_model else self.scan.sample_rate

    def length(self, sample_rate: int) -> int:
        """Number of samples at a sample rate in Hz."""
        return resampled_length(self.scan.samples, self.scan.sample_rate, sample_rate)

    @property
    def is_spooled(self) -> bool:
        """Whether all stems wait on the disk for the gain that they have in common."""
        return self.files.clip == "rescale" and self.files.subtype != "float32"

    @property
    def n_bytes(self) -> int:
        """Room on the disk that the separation needs, an upper bound."""
        samples, n_stems = self.length(self.sample_rate), len(self.outputs)
        stem = file_bytes(
            f".{self.files.ext}",
            self.sample_rate,
            self.channels,
            samples,
            subtype=self.files.subtype,
            bitrate=self.files.bitrate,
        )
        waiting = 4 * samples * self.channels if self.is_spooled else 0
        return n_stems * (stem + waiting) + RECORD_BYTES

    def settings(self) -> SeparateConfig:
        """The config with the chunk length, and a seed that differs between songs."""
        seed = self.config.seed ^ int(self.scan.sha256[:8], 16)
        samples = self.length(self.model_config.sample_rate)
        return with_segment(replace(self.config, seed=seed), self.model_config, samples)

    def blocks(self, sample_rate: int, channels: int) -> Iterator[Tensor]:
        """The song in blocks (channels, n), at a sample rate in Hz."""
        blocks = read_blocks(
            self.path,
            start_seconds=self.files.start_seconds,
            duration_seconds=self.files.duration_seconds,
        )
        matched = (match_channels(self._select(block), channels) for block in blocks)
        rate, samples = self.scan.sample_rate, self.scan.samples
        return resample_blocks(matched, rate, sample_rate, samples)

    def _select(self, block: Tensor) -> Tensor:
        """The chosen channels of a block, or their mean."""
        if self.scan.n_nonfinite:
            block = block.nan_to_num(0, 0, 0)
        if self.files.channels:
            block = block[list(self.files.channels)]
        return block.mean(0, keepdim=True) if self.files.downmix else block


def _check_different(outputs: Mapping[str, Path]) -> None:
    """Raise InputError for two stems that are one file, on some disks at least."""
    stems: dict[str, str] = {}
    for stem, path in outputs.items():
        name = unicodedata.normalize("NFC", str(path)).casefold()
        if name in stems:
            raise InputError(
                f"the stems {stems[name]!r} and {stem!r} would be one file, {path}, "
                "where upper and lower case are the same. Rename one of them, such as "
                f"with --stems new_name={stem}."
            )
        stems[name] = stem
