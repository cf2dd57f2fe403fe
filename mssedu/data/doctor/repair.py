"""Write a copy of a data set in which the faults that are safe to fix are fixed.

    Audit ──plan──▶ changes for each file ──▶ OUT: changed files, all others as they are
                                          └─▶ OUT/repairs.json: changed, left out, left

The original is never written to. What needs a decision of the user, such as a missing
stem or a recording in two splits, stays as it is and is listed.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.audio.disk import check_room
from mssedu.audio.files import write_json
from mssedu.audio.tensors import (
    load_audio,
    match_channels,
    resample,
    resampled_length,
    save_audio,
)
from mssedu.data.doctor.audit import Audit, Finding, plain, walk
from mssedu.data.doctor.faults import has_offset, is_dangling
from mssedu.data.doctor.measure import FileMeasures, SongMeasures
from mssedu.data.doctor.set_faults import is_litter
from mssedu.data.track import MIXTURE
from mssedu.errors import InputError, check_range

LOG = "repairs.json"
# Faults of one song, and of the data set: what is to be the same in all files
_OF_SONG = {"sample rate": "sample_rate", "channels": "channels"}
_OF_SET = {"sample rates": "sample_rate", "channel numbers": "channels"}
# Lossless formats that keep their suffix; all others become wav, 32-bit float.
_SUBTYPES = {
    "pcm_16": "int16",
    "pcm_s8": "int16",
    "pcm_u8": "int16",
    "pcm_24": "int24",
}


@dataclass
class Repair:
    """The changes to one file, in the order of the fields."""

    each: FileMeasures
    offset: tuple[float, ...] = ()  # mean of each channel, to subtract
    invert: bool = False
    late: int = 0  # samples that are cut at the start; negative: zeros are added
    channels: int = 0  # to convert to; 0: not
    sample_rate: int = 0  # Hz, to resample to; 0: not
    length: int = 0  # samples, to pad or to cut to; 0: not
    rules: list[str] = field(default_factory=list)

    @property
    def can_be_written(self) -> bool:
        """Whether the file holds one stem alone: no container of five streams."""
        return not self.each.error and not self.each.file.path.name.lower().endswith(
            (".mp4", ".m4a", ".mka", ".mkv")
        )

    @property
    def growth(self) -> int:
        """How many times the size of a lossless file may become, of 32 bits."""
        is_mono = self.each.info is not None and self.each.info.channels == 1
        return 4 if is_mono and self.channels else 2


@dataclass(frozen=True)
class Repaired:
    """What `repair_dataset` has done."""

    folder: Path
    changed: list[dict[str, Any]]  # path, new path, rules
    left_out: list[str]  # paths of litter and of links without a target
    not_fixed: list[Finding]  # errors and warnings that are still in the copy


def repair_dataset(
    found: Audit,
    out_dir: str | Path,
    *,
    length: Literal["pad", "cut"] | None = None,
    sample_rate: int | None = None,
    channels: Literal[1, 2] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Repaired:
    """Copy a data set into a new folder, with the safe fixes, and write a log.

    Fixed are: litter and dangling links (left out), DC offset (subtracted), polarity
    (inverted), lag (shifted, the length stays), and, if asked, sample rate, number of
    channels and length.
    A changed file of a lossy format becomes a wav file; a CSV file that lists it has to
    be edited. Containers of several stems, such as .stem.mp4, are never changed.

    Args:
        found: the result of `mssedu.data.audit_dataset`.
        out_dir: a folder that does not exist, or is empty.
        length: "pad": zeros up to the longest file of a song; "cut": all files get the
            length of the shortest; None: lengths stay.
        sample_rate: Hz, for all files that have another one; None: rates stay.
        channels: 1 or 2, for all mono and stereo files: stereo becomes the mean of both
            sides, mono both sides. None: channels stay.
        progress: called after each file with files done, files in all, name.

    Raises:
        InputError: the folder is not empty, or inside the data set, or another number
            of channels.
        DiskError: the disk is too full for a copy.
    """
    root, out = found.root, Path(out_dir)
    _check_folder(root, out)
    if channels is not None:
        check_range("channels", channels, 1, 2)
    repairs: dict[Path, Repair] = {}
    for song in found.songs:
        for plan in _plan(song, length, sample_rate, channels):
            if plan.rules and plan.can_be_written:
                repairs[plan.each.file.path.absolute()] = plan
    paths = [folder / name for folder, names in walk(root) for name in names]
    left_out = [p for p in paths if is_litter(p.name) or is_dangling(p)]
    copied = [path for path in paths if path not in left_out]
    growths = {path: plan.growth for path, plan in repairs.items()}
    size = sum(p.stat().st_size * growths.get(p.absolute(), 1) for p in copied)
    check_room(out, size, f"the files of {root}")
    changed = []
    for number, path in enumerate(copied, start=1):
        place = out / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if (change := repairs.get(path.absolute())) is not None:
            new = _write(change, place)
            changed.append(
                {
                    "path": path.relative_to(root).as_posix(),
                    "new_path": new.relative_to(out).as_posix(),
                    "changes": _changes(change),
                }
            )
        else:
            shutil.copy2(path, place)
        if progress is not None:
            progress(number, len(copied), path.name)
    names = [path.relative_to(root).as_posix() for path in left_out]
    repaired = Repaired(out, changed, names, _not_fixed(found, repairs))
    _write_log(repaired, root)
    return repaired


def _check_folder(root: Path, out: Path) -> None:
    if not root.is_dir():
        raise InputError(f"{root} is a file. --fix copies a folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out.absolute()} is not an empty folder. Choose a new one: the copy is "
            "never written over other files."
        )
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{out.absolute()} is inside the data set {root}, which stays as it is. "
            "Choose a folder beside it."
        )


# ---- what to change -----------------------------------------------------------------


def _plan(
    song: SongMeasures, length: str | None, rate: int | None, channels: int | None
) -> list[Repair]:
    """The changes to each file of a song."""
    plans = [Repair(each) for each in song.files if each.info and not each.error]
    for plan in plans:
        stem, info = plan.each.file.stem, plan.each.info
        assert info is not None
        if has_offset(plan.each):
            plan.offset = plan.each.dc
            plan.rules.append("DC offset")
        for fit in song.fits:
            # All stems late: the mixture is early, and one file is changed, not all.
            whole = len(fit.stems) > 1
            if stem == MIXTURE if whole else stem in fit.stems:
                plan.late += -fit.late if whole else fit.late
                plan.invert ^= fit.inverted
        plan.rules += ["polarity"] * plan.invert + ["lag"] * bool(plan.late)
        if rate and info.sample_rate != rate:
            plan.sample_rate = rate
            plan.rules.append("sample rate")
        if channels and info.channels in {1, 2} - {channels}:
            plan.channels = channels
            plan.rules.append("channels")
    lengths = [_length(plan) for plan in plans]
    if length and len({*lengths}) > 1:
        wanted = max(lengths) if length == "pad" else min(lengths)
        for plan, now in zip(plans, lengths, strict=True):
            if now != wanted:
                plan.length = wanted
                plan.rules.append("length")
    return plans


def _length(plan: Repair) -> int:
    """Samples of a file after its rate has changed."""
    info = plan.each.info
    assert info is not None
    if plan.sample_rate:
        return resampled_length(plan.each.samples, info.sample_rate, plan.sample_rate)
    return plan.each.samples


def _write(plan: Repair, place: Path) -> Path:
    """Write a changed file; its path, whose suffix may be another one."""
    audio, rate = load_audio(plan.each.file.path, stream=plan.each.file.stream)
    audio = repaired_audio(audio, plan)
    if plan.channels:
        audio = match_channels(audio, plan.channels)
    if plan.sample_rate:
        audio, rate = resample(audio, rate, plan.sample_rate), plan.sample_rate
    if plan.length:
        audio = F.pad(audio, (0, plan.length - audio.shape[-1]))
    info = plan.each.info
    assert info is not None
    subtype = _SUBTYPES.get(info.codec, "float32")
    keeps = place.suffix.lower() in (".wav", ".flac") and float(audio.abs().max()) <= 1
    if subtype == "float32" or not keeps:
        place, subtype = place.with_suffix(".wav"), "float32"
    save_audio(place, audio, rate, subtype=subtype)
    return place


def repaired_audio(audio: Tensor, plan: Repair) -> Tensor:
    """A sound (channels, samples) without offset, with the sign and the place wanted.

    Example:
        >>> plan = Repair(None, invert=True, late=1)
        >>> repaired_audio(torch.tensor([[0.0, 1.0, 2.0]]), plan)
        tensor([[-1., -2.,  0.]])
    """
    if plan.offset:
        mean = torch.tensor(plan.offset, dtype=torch.float64)
        audio = (audio.double() - mean[:, None]).float()
    if plan.invert:
        audio = -audio
    if plan.late > 0:
        audio = F.pad(audio[:, plan.late :], (0, plan.late))
    elif plan.late < 0:
        audio = F.pad(audio[:, : plan.late], (-plan.late, 0))
    return audio


# ---- the log ------------------------------------------------------------------------


def _changes(plan: Repair) -> dict[str, Any]:
    values: dict[str, Any] = {
        "DC offset": list(plan.offset),
        "polarity": "inverted",
        "lag": plan.late,
        "sample rate": plan.sample_rate,
        "channels": plan.channels,
        "length": plan.length,
    }
    return {rule: values[rule] for rule in plan.rules}


def _not_fixed(found: Audit, repairs: dict[Path, Repair]) -> list[Finding]:
    """The errors and warnings that no change removes."""
    done: dict[tuple[str, str, str | None], set[str]] = {}
    for song in found.songs:
        for each in song.files:
            if (plan := repairs.get(each.file.path.absolute())) is not None:
                for rule in plan.rules:
                    key = (rule, song.name, song.split)
                    done.setdefault(key, set()).add(each.file.stem)

    def is_fixed(finding: Finding) -> bool:
        place = (finding.song, finding.split)
        if (name := _OF_SET.get(finding.rule)) is not None:
            return _is_alike(found.songs, repairs, name)
        if (name := _OF_SONG.get(finding.rule)) is not None:
            songs = [song for song in found.songs if (song.name, song.split) == place]
            return _is_alike(songs, repairs, name)
        stems = done.get((finding.rule, *place), set())
        if finding.rule == "length":
            return bool(stems)
        return finding.rule == "litter" or (bool(stems) and stems >= {*finding.stems})

    return [f for f in found.findings if f.severity != "note" and not is_fixed(f)]


def _is_alike(
    songs: Sequence[SongMeasures], repairs: dict[Path, Repair], name: str
) -> bool:
    """Whether all files of songs have one rate, or number of channels, in the copy."""
    values = set()
    for song in songs:
        for each in song.files:
            plan = repairs.get(each.file.path.absolute())
            if each.info and not each.error:
                values.add(getattr(plan, name, 0) or getattr(each.info, name))
    return len(values) == 1


def _write_log(repaired: Repaired, root: Path) -> None:
    left = [
        {"rule": f.rule, "song": f.place, "stems": f.stems, "seen": f.seen}
        for f in repaired.not_fixed
    ]
    document = {
        "source": str(root.absolute()),
        "changed": repaired.changed,
        "left_out": repaired.left_out,
        "not_fixed": left,
    }
    write_json(repaired.folder / LOG, plain(document))
