"""Recordings of single instruments: find, split and read them, to make mixes.

    folder ──▶ Recording: header, hash, split ──read once──▶ Sound: loudness, where it
                                                   │         sounds
                                                   └▶ a copy, if it is not read as it is

A recording is in one split only. Its loudness is that of ITU-R BS.1770. It is silent
where it is much weaker than its loudest part: silence at both ends is left out, and
excerpts are taken from where it sounds. Recordings of another sample rate, number of
channels or a compressed format are converted once, in blocks. So are those that are
shorter than a mix: they are repeated, or get zeros at their end.
"""

import math
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssedu.audio.containers import BLOCK
from mssedu.audio.files import file_sha256
from mssedu.audio.names import file_name
from mssedu.audio.stream import read_blocks, resample_blocks
from mssedu.audio.tensors import (
    AudioInfo,
    audio_info,
    load_audio,
    loudness_lufs,
    match_channels,
    resampled_length,
    save_audio,
)
from mssedu.audio.writer import AudioWriter
from mssedu.data.building.recipe import SHARES, BuildConfig
from mssedu.data.check import faulty_songs
from mssedu.data.finding import describe_songs, find_songs, split_songs
from mssedu.data.folders import MIXTURE_FILES, Song, check_file
from mssedu.data.splits import SPLITS
from mssedu.errors import (
    DatasetError,
    DiskError,
    MssEduError,
    check_range,
)

COPIES = "sources"  # the folder of converted recordings
FRAME_SECONDS = 0.05  # of the parts of a recording that are silent or not
ACTIVE = 0.5  # share of an excerpt that sounds, if there is such an excerpt
N_FRAMES = 6000  # 5 minutes; the loudness of more is the mean of such pieces
# Samples of these types are read from any position at once, all others are converted.
_PLAIN = {"pcm_u8", "pcm_s8", "pcm_16", "pcm_24", "pcm_32", "float", "double"}

Step = Callable[[str], None]  # takes the name of what is done


@dataclass(frozen=True)
class Recording:
    """A recording of one stem; its header is known, and its sound is not."""

    name: str  # its path below the folder of all recordings, with "/"
    path: Path
    stem: str
    split: str
    info: AudioInfo
    size: int  # bytes
    sha256: str

    @property
    def key(self) -> str:
        """Its place among all recordings; macOS may write é as two characters."""
        return unicodedata.normalize("NFC", f"{self.stem}/{self.name}")

    def fits(self, config: BuildConfig) -> bool:
        """Whether the mixes can be made of the file itself."""
        form = (self.info.sample_rate, self.info.channels)
        wanted = (config.sample_rate, config.channels)
        return form == wanted and self.info.codec in _PLAIN


@dataclass(frozen=True)
class Sound:
    """What is known of a recording after it was read."""

    loudness: float  # LUFS
    length: int  # samples from the first to the last that is not silent
    starts: NDArray[np.int64]  # samples at which an excerpt may begin
    copy: str | None  # path in the folder of the mixes; None: the file itself is read


def run_all(
    work: Callable[[Any], Any], items: Mapping[str, Any], n_threads: int, step: Step
) -> list[Any]:
    """The results of some work, in order; decoders let several threads work at once."""
    with ThreadPoolExecutor(n_threads) as pool:
        futures = {pool.submit(work, item): name for name, item in items.items()}
        try:
            for future in as_completed(futures):
                future.result()
                step(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


# ---- find and split -----------------------------------------------------------------


def split_recordings(
    root: Path, layout: str | None, config: BuildConfig
) -> tuple[list[Song], str]:
    """The recordings, each with its split, and a line that describes them."""
    found, songs = find_songs(root, layout)
    if not all(song.single for song in songs):
        raise DatasetError(
            f"{root} holds songs ({describe_songs(found, songs)}), and mixes are made "
            "of recordings of single stems. If its folders are called as stems, add "
            "--layout source-folders; else make a folder for each stem."
        )
    if config.split or any(song.split is None for song in songs):
        songs = split_songs(songs, config.split or SHARES, config.seed)
    counts = Counter((str(song.split), song.files[0].stem) for song in songs)
    splits, stems = ({pair[n] for pair in counts} for n in (0, 1))
    names = {unicodedata.normalize("NFC", stem).casefold() for stem in stems}
    if len(stems) < 2 or len(names) < len(stems) or names & {*MIXTURE_FILES}:
        raise DatasetError(
            f"{root} has the stems {', '.join(sorted(stems))}. Mixes are made of two "
            "stems at least, none called mixture, and not equal in lower case."
        )
    lacking = [
        f"{split} has no recording of {stem}"
        for split in sorted(splits, key=SPLITS.index)
        for stem in sorted(stems)
        if not counts[split, stem]
    ]
    if lacking:
        raise DatasetError(f"{root}: {', '.join(lacking)}. Each split needs all stems.")
    reason = "each split needs a mix"
    check_range("mixes", config.mixes, len(splits), where=reason)
    return songs, describe_songs(found, songs)


def inspect_recordings(
    root: Path, songs: Sequence[Song], config: BuildConfig, step: Step
) -> list[Recording]:
    """The recordings with their headers and hashes, in order; none is there twice."""

    def inspect(song: Song) -> Recording | str:
        path, stem = song.path, song.files[0].stem
        name = relative_name(path, root if root.is_dir() else root.parent)
        try:
            check_file(path)
            info, size = audio_info(path), path.stat().st_size
            match_channels(torch.zeros(info.channels, 1), config.channels)
            sha256 = file_sha256(path)
        except (MssEduError, OSError) as error:
            return f"{name}: {error}"
        return Recording(name, path, stem, str(song.split), info, size, sha256)

    named = {str(song.path): song for song in songs}
    found = run_all(inspect, named, config.workers or os.cpu_count() or 1, step)
    if faults := [text for text in found if isinstance(text, str)]:
        raise faulty_songs(root, "that cannot be read", faults, "Fix or move them.")
    by_hash: dict[str, list[str]] = {}
    for recording in found:
        by_hash.setdefault(recording.sha256, []).append(recording.name)
    twice = [" = ".join(sorted(ns)) for ns in by_hash.values() if len(ns) > 1]
    if twice:
        remedy = "Keep each recording once, or it may be in two splits."
        raise faulty_songs(root, "in two places", twice, remedy)
    return sorted(found, key=lambda recording: recording.key)


def relative_name(path: Path, root: Path) -> str:
    """The path of a file relative to a folder, with "/" on every system."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # Windows: another drive
        return path.absolute().as_posix()


# ---- what a recording holds ---------------------------------------------------------


def read_recordings(
    root: Path,
    recordings: Sequence[Recording],
    out: Path,
    config: BuildConfig,
    n_threads: int,
    step: Step,
) -> dict[str, Sound]:
    """Read recordings once, and write the copies that are needed.

    Raises:
        DatasetError: recordings that are silent, too short or damaged; all are listed.
    """

    def read(recording: Recording) -> Sound | str:
        try:
            return _read(recording, out, config)
        except DiskError:
            raise
        except MssEduError as error:
            return f"{recording.name}: {error}"

    (out / COPIES).mkdir(parents=True, exist_ok=True)
    names = [recording.name for recording in recordings]
    items = dict(zip(names, recordings, strict=True))
    sounds = run_all(read, items, n_threads, step)
    if faults := [text for text in sounds if isinstance(text, str)]:
        remedy = "Fix or move them; if they are too short: --short loop or pad."
        raise faulty_songs(root, "that cannot be used", faults, remedy)
    return dict(zip(names, sounds, strict=True))


def _read(recording: Recording, out: Path, config: BuildConfig) -> Sound:
    """Measure a recording, and write a copy where it cannot be read as it is."""
    path, rate, copy = recording.path, config.sample_rate, None
    place = f"{COPIES}/{file_name(recording.name, marked=True)}"
    if not recording.fits(config):
        copy = f"{place}.wav"
        path = out / copy
        _convert(recording, path, config)
    loudness, power, samples = _measure(path, rate)
    if loudness == -math.inf:
        raise DatasetError("it is silent")
    first, last, starts = _starts(power, samples, config)
    length = last - first
    if len(starts):
        return Sound(loudness, length, starts, copy)
    if config.short == "error":
        raise DatasetError(
            f"it is too short: {length / rate:.1f} s without silence at its ends, and "
            f"a mix has {config.seconds:g} s"
        )
    start, duration = first / rate, length / rate
    audio, _ = load_audio(path, start_seconds=start, duration_seconds=duration)
    if copy:
        path.unlink()
    copy = f"{place}.{config.short}.wav"
    if config.short == "loop":  # it may begin at any of its samples
        audio = audio.repeat(1, -(-config.samples // length) + 1)
        starts = np.arange(0, length, _frame(rate))
    else:
        audio = torch.nn.functional.pad(audio, (0, config.samples - length))
        starts = np.array([0])
    save_audio(out / copy, audio, rate, subtype="float32")
    return Sound(loudness, length, starts, copy)


def _convert(recording: Recording, target: Path, config: BuildConfig) -> None:
    """Write a recording as float32 wav, with the rate and channels of the mixes."""
    from_rate, rate = recording.info.sample_rate, config.sample_rate
    samples = recording.info.samples
    blocks = _finite_blocks(recording.path, from_rate)
    matched = (match_channels(block, config.channels) for block in blocks)
    length = resampled_length(samples, from_rate, rate)
    with AudioWriter(target, rate, config.channels, length, subtype="float32") as file:
        for block in resample_blocks(matched, from_rate, rate, samples):
            file.write(block)


def _finite_blocks(path: Path, rate: int, length: int = BLOCK) -> Iterator[Tensor]:
    """`read_blocks`; NaN or Inf is a DatasetError."""
    samples = 0
    for block in read_blocks(path, length=length):
        finite = block.isfinite().all(0)
        if not finite.all():
            bad = samples + int((~finite).nonzero()[0])
            raise DatasetError(f"it has NaN or Inf values, from {bad / rate:.3f} s on")
        samples += block.shape[1]
        yield block


def _frame(rate: int) -> int:
    return round(FRAME_SECONDS * rate)


def _measure(path: Path, rate: int) -> tuple[float, NDArray[np.float64], int]:
    """Loudness in LUFS, rounded to 0.01; the power of each frame; samples."""
    frame = _frame(rate)
    powers, energy, n_measured, samples = [], 0.0, 0, 0
    for block in _finite_blocks(path, rate, frame * N_FRAMES):
        n = block.shape[1]
        power = np.square(block.numpy(), dtype=np.float64).mean(0)
        powers.append(np.pad(power, (0, -n % frame)).reshape(-1, frame).mean(1))
        samples += n
        if samples == n < 0.4 * rate:  # a block of the measurement has 0.4 s
            block = block.repeat(1, math.ceil(0.4 * rate / n))
        if block.shape[1] >= 0.4 * rate:
            energy += n * 10 ** (loudness_lufs(block, rate) / 10)
            n_measured += n
    loudness = 10 * math.log10(energy / n_measured) if energy else -math.inf
    return round(loudness, 2), np.concatenate(powers), samples


def _starts(
    power: NDArray[np.float64], samples: int, config: BuildConfig
) -> tuple[int, int, NDArray[np.int64]]:
    """The first and the last sample that sound, and where excerpts may begin."""
    frame, length = _frame(config.sample_rate), config.samples
    active = power > power.max() * 10 ** (-config.silence_db / 10)
    sounding = np.flatnonzero(active)
    first, last = int(sounding[0]), min(int(sounding[-1] + 1) * frame, samples)
    choices = np.arange(first, (last - length) // frame + 1)
    if len(choices):
        n_frames = -(-length // frame)
        before = np.concatenate([[0], np.cumsum(active)])
        n_active = before[np.minimum(choices + n_frames, len(active))] - before[choices]
        choices = choices[n_active >= min(ACTIVE * n_frames, n_active.max())]
    return first * frame, last, choices * frame
