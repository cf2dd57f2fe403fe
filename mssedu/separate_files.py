"""From a music file to one file per stem, and a report of what was done to it.

    file ─load─▶ (channels, samples) ─resample─▶ separate ─back─▶ {track}/{stem}.wav
                                                            └▶ {track}/separation.json

The stems come out at the input's sample rate, channels and exact length. Integer
formats cannot hold values beyond ±1: if a stem needs it, all stems of the track are
lowered by one joint gain, so that they still add up, and the report says by how much.
Notebook: 12.
"""

import contextlib
import glob
import json
import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

import mssedu
from mssedu.audio import (
    READABLE_SUFFIXES,
    load_audio,
    match_channels,
    resample,
    save_audio,
)
from mssedu.checks import AudioFileError, InputError, check_finite, message
from mssedu.contract import config_of, settle_segment
from mssedu.separate import OVERLAP, separate

Exists = Literal["refuse", "skip", "overwrite"]


@dataclass(frozen=True)
class Separation:
    """What was done to one file; separation.json holds the same."""

    track: str  # name, as used in the paths of the stems
    stems: dict[str, str]  # stem -> file, relative to the output folder
    sample_rate: int  # Hz, of input and stems
    samples: int  # of input and stems
    segment: float  # seconds of a chunk, as really used
    overlap: float
    gain_db: float  # joint gain of all stems; 0 unless an integer format needed less
    peak: float  # largest absolute sample of all stems before that gain
    sum_residual_db: float | None  # energy of mixture - sum of stems; None: all silent
    speed: float  # seconds of audio per second, reading and writing included
    mssedu: str = mssedu.__version__


def separate_file(
    model: nn.Module,
    path: str | Path,
    out_dir: str | Path,
    *,
    track: str | None = None,
    template: str = "{track}/{stem}.{ext}",
    ext: str = "wav",
    subtype: str = "int16",
    exists: Exists = "refuse",
    **separate_options: Any,
) -> Separation | None:
    """Separate a file and write its stems below `out_dir`, and what was done.

    Args:
        track: name for the template; the file's name without suffix if None.
        template: path of a stem below out_dir.
        ext: wav, flac, ogg or mp3.
        subtype: int16, int24 or float32 (wav only), which keeps values beyond ±1.
        exists: if output is there, "refuse", "skip" the track (None comes back) unless
            it is unfinished, or "overwrite".
        **separate_options: segment, overlap, batch_size, … of `mssedu.separate`.

    Raises:
        AudioFileError: unreadable input, or output that exists.
        InputError: more than two channels, NaN in the file, a bad option.
    """
    started, path, out_dir = time.perf_counter(), Path(path), Path(out_dir)
    track, config = track or track_name(path), config_of(model)
    paths = {stem: _fill(template, track, stem, ext) for stem in config.stems}
    outputs = [out_dir / path for path in paths.values()]
    report = out_dir / _fill(template, track, "separation", "json")
    if _finished([*outputs, report], exists):
        return None
    segment = settle_segment(config, separate_options)
    audio, rate = _load_finite(path)
    report.unlink(missing_ok=True)  # the mark of completeness is written last
    estimate = _separate_at(model, audio, rate, **separate_options)
    peak = float(estimate.abs().max())
    gain = 1.0 if subtype == "float32" else 1 / max(peak, 1.0)
    _save_stems(outputs, estimate * gain, rate, subtype)
    seconds = time.perf_counter() - started
    done = Separation(
        track=track,
        stems={stem: path.as_posix() for stem, path in paths.items()},
        sample_rate=rate,
        samples=audio.shape[1],
        segment=segment,
        overlap=separate_options.get("overlap", OVERLAP),
        gain_db=round(20 * math.log10(gain), 3),
        peak=peak,
        sum_residual_db=_residual_db(audio, estimate),
        speed=round(audio.shape[1] / rate / seconds, 2),
    )
    return _write_report(report, done)


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


def _load_finite(path: Path) -> tuple[Tensor, int]:
    audio, rate = load_audio(path)
    check_finite(str(path), audio, rate)
    return audio, rate


def _separate_at(model: nn.Module, audio: Tensor, rate: int, **options: Any) -> Tensor:
    """(channels, samples) at any rate to (stems, channels, samples) at the same."""
    config = config_of(model)
    if audio.shape[0] > 2:
        got = f"{audio.shape[0]} channels"
        remedy = "Mix it down first, or pick two channels."
        raise InputError(message("separate_file", "mono or stereo", got, remedy))
    mixture = match_channels(audio, config.channels)
    mixture = resample(mixture, rate, config.sample_rate)
    estimate = separate(model, mixture, **options)
    estimate = resample(estimate, config.sample_rate, rate)
    missing = audio.shape[1] - estimate.shape[-1]  # rates round: a sample at the most
    return match_channels(F.pad(estimate, (0, missing)), audio.shape[0])


def _finished(outputs: list[Path], exists: Exists) -> bool:
    """Whether to leave this track alone; raises if it may not be touched."""
    present = [path for path in outputs if path.exists()]
    if exists == "skip":
        return len(present) == len(outputs)
    if present and exists == "refuse":
        remedy = "Overwrite or skip it (--exists overwrite, --exists skip)."
        text = message("separate_file", "no output yet", present[0], remedy)
        raise AudioFileError(text)
    return False


def _save_stems(paths: list[Path], stems: Tensor, rate: int, subtype: str) -> None:
    for path, stem in zip(paths, stems, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_audio(path, stem, rate, subtype=subtype)


def _write_report(path: Path, done: Separation) -> Separation:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(done), indent=2, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return done


def _fill(template: str, track: str, stem: str, ext: str) -> Path:
    path = None
    with contextlib.suppress(
        KeyError, IndexError, ValueError
    ):  # unknown {name}, lone {
        path = Path(template.format(track=track, stem=stem, ext=ext))
    if path is None or "{stem}" not in template or path.is_absolute():
        wanted = "a relative path with {stem}, and {track} and {ext} if you like"
        remedy = "The default is {track}/{stem}.{ext}."
        raise InputError(message("template", wanted, repr(template), remedy))
    return path


def _residual_db(mixture: Tensor, estimate: Tensor) -> float | None:
    energy = float(mixture.double().square().sum())
    rest = float((mixture - estimate.sum(0)).double().square().sum())
    if energy == 0:
        return None
    return round(10 * math.log10(max(rest / energy, 1e-30)), 2)


def _is_music(path: Path) -> bool:
    return path.suffix.lower() in READABLE_SUFFIXES and path.is_file()
