"""Decode audio files block by block, with libsndfile or with FFmpeg.

    file ──opened──▶ blocks of (channels, ≤ length) ──▶ load_audio, scan, read_blocks
             │ first bytes
             ├─▶ libsndfile: WAV, AIFF, FLAC, whole Ogg files
             └─▶ FFmpeg: all others. Each is asked for what the other cannot read.

The name of a file is not trusted. FFmpeg reads mp3, too, because libsndfile loses the
end of an mp3 file that has no length tag. What a damaged file has lost is counted, see
`mssedu.audio.damage`. Notebook: 01.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mssedu.audio.damage import Damage, promised
from mssedu.audio.ffmpeg import FFmpegSound, open_ffmpeg, open_streams
from mssedu.audio.sndfile import (
    BLOCK,
    Block,
    SndFile,
    no_samples,
    open_sndfile,
    suits_sndfile,
)
from mssedu.errors import AudioFileError, InputError, MssEduError, check_range

# A search of a folder takes these. A file that the user names has any name.
# fmt: off
READABLE_SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf", ".au",
    ".snd", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".m4a",
    ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".aac", ".adts", ".ac3",
    ".eac3", ".dts", ".wma", ".asf", ".webm", ".weba", ".mka", ".mkv", ".ogv", ".avi",
    ".flv", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".nut", ".wv", ".ape",
    ".tta", ".tak", ".mpc", ".amr", ".dsf", ".dff", ".shn", ".voc", ".ra", ".rm",
)
# fmt: on


_Sound = SndFile | FFmpegSound
_Decoder = Callable[[Path, int, Damage], AbstractContextManager[_Sound]]


@dataclass(frozen=True)
class Part:
    """An open part of a file; its blocks can be read once."""

    sample_rate: int  # Hz
    channels: int
    first: int  # the sample of the file at which the part begins
    blocks: Iterator[Block]  # (channels, length), the last one shorter
    damage: Damage  # what was lost in the blocks that have been read

    @property
    def notes(self) -> tuple[str, ...]:
        """What was lost so far, as texts that follow the name of the file."""
        return self.damage.notes(self.sample_rate)


@contextmanager
def opened(
    path: str | os.PathLike[str],
    start_seconds: float,
    duration_seconds: float | None,
    stream: int,
    length: int = BLOCK,
) -> Iterator[Part]:
    """Open a part of a file, as `mssedu.audio.load_audio`, then close the file."""
    file, damage = _existing_file(path), Damage()
    check_range("start_seconds", start_seconds, 0.0)
    if duration_seconds is not None:
        check_range("duration_seconds", duration_seconds, 0.0, low_open=True)
    check_range("length", length, 1)
    with _sound(file, stream, damage) as sound:
        rate = sound.sample_rate
        first, count = round(start_seconds * rate), None
        if duration_seconds is not None:
            count = max(round(duration_seconds * rate), 1)
        decoded = _blocks(sound, file, stream, first, damage)
        blocks = _regrouped(_limited(decoded, count), length)
        block = next(blocks, None)
        if block is None and start_seconds == 0.0:
            raise no_samples(file)
        if block is None:
            raise InputError(
                f"start_seconds = {start_seconds} is not before the end of {file}. "
                "Choose an earlier time; mssedu.audio.audio_info returns the length."
            )
        blocks = itertools.chain([block], blocks)
        yield Part(rate, sound.channels, first, blocks, damage)


def probe(
    path: str | os.PathLike[str], stream: int = 0
) -> tuple[int, int, int, str, tuple[str, ...]]:
    """`mssedu.audio.audio_info` as a tuple, and what was found to be lost."""
    file, damage = _existing_file(path), Damage()
    with _sound(file, stream, damage) as sound:
        rate, channels, codec = sound.sample_rate, sound.channels, sound.codec
        samples = sound.length()
    if samples is None:  # only decoding shows it
        with opened(file, 0.0, None, stream) as part:
            samples = sum(block.shape[1] for block in part.blocks)
            damage = part.damage
    if samples == 0:
        raise no_samples(file)
    return rate, channels, samples, codec, damage.notes(rate)


def probe_streams(
    path: str | os.PathLike[str],
) -> list[tuple[int, int, int, str, tuple[str, ...]]]:
    """`probe` of all audio streams of a file, which is read once if it is whole."""
    file = _existing_file(path)
    found: list[tuple[int, int, int, str, tuple[str, ...]]] = []
    n_streams = 1
    if not suits_sndfile(file):
        with suppress(AudioFileError), open_streams(file) as sounds:
            n_streams = len(sounds)
            for sound, damage in sounds:
                rate, samples = sound.sample_rate, sound.length()
                if not samples or damage.notes(rate):
                    break
                found.append((rate, sound.channels, samples, sound.codec, ()))
            if len(found) == n_streams:
                return found
    return [probe(file, stream) for stream in range(n_streams)]


def _existing_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that is not empty."""
    file = Path(path).absolute()
    try:
        if not file.exists():
            raise AudioFileError(f"{file} does not exist. Check the spelling.")
        if file.is_dir():
            raise AudioFileError(f"{file} is a folder. Name a file inside it.")
        if not file.is_file():
            raise AudioFileError(f"{file} is a pipe or a device. Name a file.")
        with file.open("rb") as raw:
            is_empty = not raw.read(1)
    except AudioFileError:
        raise
    except (OSError, ValueError) as error:  # no right to read it, or a zero byte
        raise AudioFileError(f"{file} cannot be opened: {error}.") from error
    if is_empty:
        raise AudioFileError(f"{file} is empty. Copy or download it again.")
    return file


@contextmanager
def _sound(file: Path, stream: int, damage: Damage) -> Iterator[_Sound]:
    """The open file, by the first decoder that can open it."""
    decoders: list[_Decoder] = [open_sndfile, open_ffmpeg]
    if not suits_sndfile(file):
        decoders.reverse()
    with ExitStack() as stack:
        try:
            sound = stack.enter_context(decoders[0](file, stream, damage))
        except AudioFileError as error:
            # FFmpeg takes the chunks behind an empty sound for sound, and libsndfile
            # prints to the console when it looks for MP3 frames.
            if promised(file) == (0, 0) or file.suffix.lower() == ".mp3":
                raise
            try:
                sound = stack.enter_context(decoders[1](file, stream, damage))
            except MssEduError:
                raise error from None
        yield sound


def _blocks(
    sound: _Sound, file: Path, stream: int, first: int, damage: Damage
) -> Iterator[Block]:
    """All samples from sample `first` on; where libsndfile gives up, FFmpeg goes on."""
    position = first
    try:
        for block in sound.blocks(first):
            position += block.shape[1]
            yield block
    except AudioFileError:
        if isinstance(sound, FFmpegSound):
            raise
        with open_ffmpeg(file, stream, damage) as other:
            yield from other.blocks(position)


def _limited(blocks: Iterable[Block], count: int | None) -> Iterator[Block]:
    """The first `count` samples (None: all)."""
    left = count
    for block in blocks:
        block = block[:, :left]
        if block.size:  # an empty view would keep the whole block in memory
            yield block
        if left is not None:
            left -= block.shape[1]
            if left == 0:
                return


def _regrouped(blocks: Iterable[Block], length: int) -> Iterator[Block]:
    """The same samples in blocks of one length; the last one may be shorter."""
    waiting: list[Block] = []
    samples = 0
    for block in blocks:
        waiting.append(block)
        samples += block.shape[1]
        if samples >= length:
            joined = np.concatenate(waiting, axis=1)
            rest = samples % length
            for start in range(0, samples - rest, length):
                yield np.ascontiguousarray(joined[:, start : start + length])
            waiting, samples = [joined[:, start + length :]], rest
    if samples:
        yield np.concatenate(waiting, axis=1)
