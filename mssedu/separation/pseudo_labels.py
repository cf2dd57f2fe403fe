"""Separate songs with a trained model, the teacher, into a training set for a student.

    song ─┬─ as it is ───────────────────▶ teacher ─────────────┬─ mean ─▶ labels
          └─ channels swapped, inverted ─▶ teacher ─▶ turned back ┴─▶ agreement
                                                                       │
    OUT/train/song_000/{vocals.wav, …, mixture.wav} ◀── pieces in which all stems agree

Each pass has its chunks in other places. That alone is too little: the first chunk of a
song is the same for all shifts. The mixture is a cut of the song, and what the stems
lack of it is the residual. The passes wait on the disk, so that the memory does not
depend on the length of a song. Notebook: 05.
"""

import math
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.audio.disk import check_room, room_for
from mssedu.audio.files import as_json, file_sha256, write_json
from mssedu.audio.names import file_names
from mssedu.audio.stream import Reader, read_blocks
from mssedu.audio.tensors import audio_info
from mssedu.audio.words import counted
from mssedu.audio.writer import AudioWriter, file_bytes
from mssedu.data.folders import MIXTURE_FILES
from mssedu.data.splits import SPLITS, assign_splits
from mssedu.data.track import MIXTURE
from mssedu.errors import InputError, MssEduError
from mssedu.models.contract import config_of
from mssedu.separation.agreement import Measured, Read, measure, turned
from mssedu.separation.chunks import Progress
from mssedu.separation.config import FileConfig, InputOptions, SeparateConfig
from mssedu.separation.files import separate_song
from mssedu.separation.label_set import (
    MANIFEST,
    LabelConfig,
    describe_teacher,
    open_labels,
)
from mssedu.separation.refine import output_names, refined
from mssedu.separation.song import Song, find_files, track_names
from mssedu.weights.checkpoint import weights_sha256

Report = Callable[[str, str], None]
Bar = Callable[[str], AbstractContextManager[Progress]]
SCRATCH = ".passes"  # folder in OUT, hidden from the layouts, for the passes of a song
SPEED = ("batch_size", "compile", "strict_segment")  # they do not change the labels


def pseudo_label(
    model: nn.Module,
    paths: Iterable[str | Path],
    out_dir: str | Path,
    *,
    teacher: str,
    config: LabelConfig | None = None,
    separation: SeparateConfig | None = None,
    reading: InputOptions | None = None,
    report: Report | None = None,
    bar: Bar | None = None,
) -> dict[str, Any]:
    """Make a training set of songs without stems: the stems are a teacher's estimates.

    The set has the layout splits: OUT/{train,valid,test}/SONG_000/STEM.wav, with the
    file mixture.wav, a cut of the song that is aligned to the sample. Songs that are
    finished are skipped, and a song that fails does not end the batch.

    Args:
        model: the teacher; it follows the model contract.
        paths: songs, folders (searched with all subfolders) or patterns.
        out_dir: a new folder, or that of an earlier call with the same options.
        teacher: published name, or what the model was loaded from, for its license.
        config: options for the labels, and for what is left out.
        separation: options of each pass; shifts is the number of runs that a pass
            averages.
        reading: options for reading the songs.
        report: is called with a kind (done, skipped, failed, left out) and a text.
        bar: is called with the name of a song; its context gives the progress.

    Returns:
        the content of OUT/pseudo_labels.json: the teacher and its license, settings,
        and for each song its source, split, pieces, agreement, and the seconds left out
        by reason.

    Raises:
        InputError: an option, stem or folder that does not fit, or no songs.
        DatasetError: too few songs for the splits.
        DiskError: too little room for all labels.
    """
    labels = _Labels(
        model,
        Path(out_dir),
        config or LabelConfig(),
        separation or SeparateConfig(),
        reading or InputOptions(),
        report or (lambda kind, text: None),
    )
    labels.open(teacher)
    for name, song in labels.songs(paths).items():
        try:
            with bar(name) if bar else nullcontext(lambda *_: None) as progress:
                record = labels.label(name, song, progress)
        except BrokenPipeError:  # of the output, whose reader has gone
            raise
        except (MssEduError, OSError) as error:
            labels.fail(name, song.path, str(error))
        except Exception as error:  # whatever a library raises
            labels.fail(name, song.path, f"{type(error).__name__}: {error}")
        else:
            labels.document["songs"][name] = record
            labels.report("done", _outcome(name, record))
        labels.save()
    return labels.document


def _outcome(name: str, record: dict[str, Any]) -> str:
    """One line about a song that was labeled."""
    left_out = {k: v for k, v in record["left_out_seconds"].items() if v}
    why = "".join(f", {s:.1f} s left out: {k}" for k, s in left_out.items())
    medians = ", ".join(
        f"{stem} {'silent' if db is None else f'{db:.1f} dB'}"
        for stem, db in record["agreement"].items()
    )
    if record["gain_db"]:
        why += f", all files {record['gain_db']:.1f} dB"
    n = len(record["pieces"])
    pieces = f"{n} piece{'' if n == 1 else 's'} in {record['split']}"
    return f"{name}: {record['kept_seconds']:.1f} s in {pieces}{why} ({medians})"


@dataclass
class _Labels:
    """A set of labels that is being made."""

    model: nn.Module
    out_dir: Path
    config: LabelConfig
    separation: SeparateConfig
    reading: InputOptions
    report: Report
    document: dict[str, Any] = field(default_factory=dict)  # the manifest

    def __post_init__(self) -> None:
        model_config = config_of(self.model)
        refined(self.model, self.separation, model_config)  # an error of stems and such
        self.stems = output_names(self.separation, tuple(model_config.stems))
        for stem in self.stems:
            if stem.casefold() in MIXTURE_FILES:
                raise InputError(
                    f"a stem called {stem!r} would be read as the mixture. Rename it, "
                    f"such as with --stems music={stem}."
                )
        if self.separation.tta:
            raise InputError(
                "tta averages what the passes differ in, so that they would always "
                "agree. Leave it out: the labels are the mean of the passes anyway."
            )
        rate, stereo = self.config.out_rate, self.config.keep_stereo
        self.files = FileConfig(**vars(self.reading), out_rate=rate, keep_stereo=stereo)
        self.pass_files = FileConfig(subtype="float32", out_rate=rate)

    # ---- the manifest ----------------------------------------------------------------

    def open(self, teacher: str) -> None:
        """Read the manifest, or begin a new one."""
        settings: dict[str, Any] = {}
        for group in (self.config, self.separation, self.reading):
            settings |= {k: v for k, v in asdict(group).items() if k not in SPEED}
        if settings["segment"] == math.inf:  # which JSON does not have
            settings["segment"] = "inf"
        facts = describe_teacher(teacher, weights_sha256(self.model))
        self.document = open_labels(self.out_dir, facts, as_json(settings))
        self.document["failed"] = {}

    def save(self) -> None:
        """Write the manifest."""
        write_json(self.out_dir / MANIFEST, self.document)

    def fail(self, name: str, path: Path, reason: str) -> None:
        """Note a song that has no labels."""
        self.document["failed"][name] = reason
        self.report("failed", f"{path}: {reason}")

    # ---- which songs -----------------------------------------------------------------

    def songs(self, paths: Iterable[str | Path]) -> dict[str, Song]:
        """The songs to label, by name; the manifest gets their splits."""
        files, missing, left_out = find_files(paths, self.out_dir)
        for reason, found in left_out.items():
            self.report("left out", f"{reason}: {len(found)}, such as {found[0]}")
        for path in missing:
            self.fail(str(path), path, "no such file, and no music below it")
        songs, sizes, hashes = {}, [], dict[str, Path]()
        tracks = track_names(files)
        names = file_names(tracks.values())
        for path, track in tracks.items():
            name = names[track]
            try:
                if self._is_new(name, path, hashes):
                    sizes.append(self._sizes(path))
                    songs[name] = Song(
                        self.model, path, self.out_dir, self.files, self.separation
                    )
            except BrokenPipeError:  # of the output, whose reader has gone
                raise
            except (MssEduError, OSError) as error:
                self.fail(name, path, str(error))
        if songs:
            known = self.document["splits"]
            groups: dict[str, list[str]] = {name: [] for name in (*known, *songs)}
            new = assign_splits(groups, self.config.split, self.config.split_seed)
            self.document["splits"] = new | known
            room = sum(pieces for pieces, _ in sizes) + max(size for _, size in sizes)
            check_room(
                self.out_dir, room, f"the labels of {counted(len(songs), 'song')}"
            )
            self.save()
        return songs

    def _is_new(self, name: str, path: Path, hashes: dict[str, Path]) -> bool:
        """Whether a song has no labels; an InputError if another one of its name has.

        Args:
            hashes: of the songs of this call.
        """
        sha, labeled = file_sha256(path), self.document["songs"]
        twin = hashes.setdefault(sha, path)
        if twin != path:
            self.report("left out", f"{path}: the same file as {twin}")
            return False
        if any(record["sha256"] == sha for record in labeled.values()):
            self.report("skipped", f"{name}: finished before")
            return False
        for other, record in labeled.items():
            if other.casefold() == name.casefold():
                raise InputError(
                    f"{self.out_dir} has labels of another file of this name, "
                    f"{record['source']}. Rename the song."
                )
        return True

    def _sizes(self, path: Path) -> tuple[int, int]:
        """Bytes for the pieces of a song, and for its passes while it is separated."""
        info, model_config = audio_info(path), config_of(self.model)
        to_model = self.config.out_rate == "model"
        rate = model_config.sample_rate if to_model else info.sample_rate
        seconds = info.samples / info.sample_rate
        if self.reading.duration_seconds is not None:
            seconds = min(seconds, self.reading.duration_seconds)
        channels, samples = max(2, model_config.channels), math.ceil(seconds * rate)
        subtype, files = self.config.subtype, len(self.stems) + 1
        piece = file_bytes(".wav", rate, channels, samples, subtype=subtype)
        whole = file_bytes(".wav", rate, channels, samples, subtype="float32")
        return files * piece, files * whole * self.config.passes

    # ---- one song --------------------------------------------------------------------

    def label(self, name: str, song: Song, progress: Progress) -> dict[str, Any]:
        """Separate a song several times, and write the pieces in which all agree."""
        self._check_form(song)
        if song.scan.peak == 0:
            raise InputError(f"{song.path} is silent. Leave it out.")
        split, n = self.document["splits"][name], self.config.passes
        scratch = self.out_dir / SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir()
        try:
            with room_for(
                scratch, sum(self._sizes(song.path)), f"the labels of {name}"
            ):
                passes = [self._pass(song, scratch, k, progress) for k in range(n)]
                samples = song.length(song.sample_rate)
                rate, form = song.sample_rate, (self.stems, self.config)
                found = measure(_reader(song, passes), samples, rate, *form)
                record, read = found.record(name), _reader(song, passes)
                for piece in record["pieces"]:
                    place = scratch / "pieces" / piece["name"]
                    place.mkdir(parents=True)
                    self._write(place, piece, found, song, read)
            self._move(scratch / "pieces", split, name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        facts = {"source": str(song.path), "sha256": song.scan.sha256, "split": split}
        facts |= {"sample_rate": song.sample_rate, "channels": song.channels}
        facts |= {"gain_db": round(20 * math.log10(found.gain), 3)}
        return facts | {"damage": [*song.scan.damage]} | record

    def _check_form(self, song: Song) -> None:
        """Raise InputError unless a song has the rate and channels of the others."""
        form = song.sample_rate, song.channels
        for other, record in self.document["songs"].items():
            usual = record["sample_rate"], record["channels"]
            if form != usual:
                raise InputError(
                    f"its labels would have {form[0]} Hz × "
                    f"{counted(form[1], 'channel')}, and "
                    f"those of {other} have {usual[0]} Hz × {usual[1]}: a training set "
                    "has one form. Start again in a new folder with --out-rate model, "
                    "--keep-stereo or --downmix."
                )

    def _pass(self, song: Song, folder: Path, number: int, progress: Progress) -> Song:
        """Separate a turned copy of a song; the result has the paths of its stems."""
        copy, n, scan = folder / f"{number}.wav", self.config.passes, song.scan
        with AudioWriter(
            copy, scan.sample_rate, song.channels, scan.samples, subtype="float32"
        ) as writer:
            for block in song.blocks(scan.sample_rate, song.channels):
                writer.write(turned(block, number))
        seed, shifts = self.separation.seed + number, max(self.separation.shifts, 1)
        options = replace(self.separation, seed=seed, shifts=shifts)
        one = Song(self.model, copy, folder, self.pass_files, options)

        def step(done: int, total: int) -> None:
            progress(number * total + done, n * total)

        separate_song(self.model, one, progress=step)
        copy.unlink()
        return one

    def _write(
        self,
        folder: Path,
        piece: dict[str, Any],
        found: Measured,
        song: Song,
        read: Read,
    ) -> None:
        """Write the mean of the passes, and the mixture, of a piece."""
        start, stop = piece["start"], piece["start"] + piece["samples"]
        with ExitStack() as stack:
            writers = []
            for number, name in enumerate((*self.stems, MIXTURE)):
                writer = AudioWriter(
                    folder / f"{name}.wav",
                    song.sample_rate,
                    song.channels,
                    stop - start,
                    subtype=self.config.subtype,
                    dither_seed=self.separation.seed + number,
                )
                writers.append(stack.enter_context(writer))
            for begin in range(start, stop, found.length):
                passes, mixture = read(begin, min(begin + found.length, stop))
                sounds = [*passes.mean(0), mixture]
                for writer, sound in zip(writers, sounds, strict=True):
                    writer.write(found.gain * sound)

    def _move(self, pieces: Path, split: str, name: str) -> None:
        """Give the pieces their place, without those that a killed process moved."""
        for folder in (self.out_dir / split for split in SPLITS):
            for old in folder.glob("*"):
                if re.fullmatch(rf"{re.escape(name)}_\d{{3,}}", old.name):
                    shutil.rmtree(old)
        (self.out_dir / split).mkdir(exist_ok=True)
        for piece in sorted(pieces.iterdir()) if pieces.exists() else ():
            piece.rename(self.out_dir / split / piece.name)


def _reader(song: Song, passes: list[Song]) -> Read:
    """A function that reads a part of all passes, turned back, and of the mixture."""
    stems = [[Reader(read_blocks(p)) for p in one.outputs.values()] for one in passes]
    source = Reader(song.blocks(song.sample_rate, song.channels))

    def read(begin: int, end: int) -> tuple[Tensor, Tensor]:
        parts = [
            turned(torch.stack([stem.read(begin, end) for stem in one]), number)
            for number, one in enumerate(stems)
        ]
        return torch.stack(parts), source.read(begin, end)

    return read
