"""Decode audio files block by block, with libsndfile or with FFmpeg.

    file ──opened──▶ blocks of (channels, ≤ length), one after another ──▶ load_audio,
                                                                  scan, read_blocks

libsndfile reads wav, flac, ogg and aiff. The FFmpeg libraries inside PyAV read all
other formats. They read mp3, too, because libsndfile loses the end of an mp3 file that
has no length tag.

Encoders add silence before the music (priming) and fill up the last frame (padding).
FFmpeg removes the priming. This module removes the padding of an MP4 file: the time
stamp of the last packet says where the music ends. So a sound has the same length
before encoding and after loading. Notebook: 01.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssedu.errors import (
    AudioFileError,
    InputError,
    check_range,
    missing_package,
)

_SNDFILE_SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff")
# FFmpeg reads more formats than these. A scan of a folder looks for these suffixes.
_FFMPEG_SUFFIXES = (".mp3", ".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka")
READABLE_SUFFIXES = _SNDFILE_SUFFIXES + _FFMPEG_SUFFIXES

BLOCK = 65536  # samples that are decoded at once by default
_OGG_PAGE = 65307  # length of the longest page of an ogg file, in bytes (RFC 3533)
_OGG = re.compile(rb"OggS\x00.(.{8})", re.DOTALL)

Block = NDArray[np.float32]  # (channels, samples)


@dataclass(frozen=True)
class Part:
    """An open part of a file; its blocks can be read once, while the file is open."""

    sample_rate: int  # Hz
    channels: int
    first: int  # the sample of the file at which the part begins
    blocks: Iterator[Block]  # (channels, length), the last one shorter


@contextmanager
def opened(
    path: str | os.PathLike[str],
    *,
    stream: int = 0,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    length: int = BLOCK,
) -> Iterator[Part]:
    """Open a part of an audio file for reading block by block, then close the file.

    Args:
        path, stream, start_seconds, duration_seconds: as `mssedu.audio.load_audio`.
        length: samples of a block, ≥ 1.

    Raises:
        AudioFileError: the file does not exist or cannot be decoded.
        InputError: there is no such stream, or the part begins behind the end of the
            file (raised when the first block is read).
    """
    file = existing_file(path)
    check_range("start_seconds", start_seconds, 0.0)
    if duration_seconds is not None:
        check_range("duration_seconds", duration_seconds, 0.0, low_open=True)
    check_range("length", length, 1)

    if file.suffix.lower() in _SNDFILE_SUFFIXES:
        with _open_sndfile(file, stream) as sound:
            rate, channels = sound.samplerate, sound.channels
            first, count = _span(start_seconds, duration_seconds, rate)
            blocks = _sndfile_blocks(sound, file, first, count, length)
            blocks = _check_any(file, start_seconds, blocks)
            yield Part(rate, channels, first, blocks)
    else:
        with _open_ffmpeg(file, stream) as (container, track):
            first, count = _span(start_seconds, duration_seconds, track.rate)
            # Decoding always starts at the beginning. A decoder that starts in the
            # middle lacks the frames before, so that its samples differ slightly (AAC
            # even fills bands with random noise).
            whole = _ffmpeg_blocks(file, container, track)
            blocks = _regrouped(_cut(whole, first, count), length)
            blocks = _check_any(file, start_seconds, blocks)
            yield Part(track.rate, track.channels, first, blocks)


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that is not empty.

    Raises:
        AudioFileError: the path does not exist, or is a folder or an empty file.
    """
    file = Path(path).absolute()
    if not file.exists():
        raise AudioFileError(
            f"{file} does not exist. Check the spelling and the working folder."
        )
    if file.is_dir():
        raise AudioFileError(f"{file} is a folder. Name a file inside it.")
    if file.stat().st_size == 0:
        raise AudioFileError(f"{file} is empty. Copy or download it again.")
    return file


def probe(path: str | os.PathLike[str], stream: int = 0) -> tuple[int, int, int, str]:
    """Sample rate, channels, exact number of samples and codec name.

    Raises:
        AudioFileError, InputError: as `opened`; a file without samples is an error.
    """
    file = existing_file(path)
    rate, channels, samples, codec = _probe(file, stream)
    if samples == 0:
        raise _no_samples(file)
    return rate, channels, samples, codec


def _probe(file: Path, stream: int) -> tuple[int, int, int, str]:
    if file.suffix.lower() in _SNDFILE_SUFFIXES:
        with _open_sndfile(file, stream) as sound:
            codec = sound.subtype.lower()
            return sound.samplerate, sound.channels, sound.frames, codec
    with _open_ffmpeg(file, stream) as (container, track):
        rate, channels, codec = track.rate, track.channels, track.codec.name
        if _is_mp4(container):  # the time stamps of the packets suffice: no decoding
            ends = [_packet_end(file, p, track) for p in container.demux(track)]
            samples = max((end for end in ends if end is not None), default=None)
            if samples is not None:
                return rate, channels, samples, codec
            container.seek(0)
        samples = sum(b.shape[1] for b in _ffmpeg_blocks(file, container, track))
        return rate, channels, samples, codec


def _span(start: float, duration: float | None, rate: int) -> tuple[int, int | None]:
    """First sample and number of samples (None: up to the end)."""
    count = None if duration is None else max(round(duration * rate), 1)
    return round(start * rate), count


@contextmanager
def _open_sndfile(file: Path, stream: int) -> Iterator[sf.SoundFile]:
    """The open sound file; libsndfile's errors become ours."""
    if stream:
        raise InputError(
            f"{file} has one stream only, got stream={stream}. Leave stream at 0: only "
            "containers such as .stem.mp4 hold several streams."
        )
    try:
        with sf.SoundFile(file) as sound:
            yield sound
    except sf.SoundFileError as error:
        raise _unreadable(file, error) from error


def _sndfile_blocks(
    sound: sf.SoundFile, file: Path, first: int, count: int | None, length: int
) -> Iterator[Block]:
    _move_to(sound, file, min(first, sound.frames))
    left = sound.frames if count is None else count
    while left > 0:
        block = sound.read(min(length, left), dtype="float32", always_2d=True)
        if not len(block):
            return
        left -= len(block)
        yield np.ascontiguousarray(block.T)


def _move_to(sound: sf.SoundFile, file: Path, first: int) -> None:
    """Make `first` the next sample to be read."""
    # A jump into the last page of a Vorbis file ends at a wrong sample (libsndfile).
    # So jump to the start of that page at most, and read on up to the sample.
    near = first
    if sound.subtype == "VORBIS":
        near = min(first, _last_page_start(file))
    sound.seek(near)
    for done in range(near, first, BLOCK):
        sound.read(min(BLOCK, first - done), dtype="float32")


def _last_page_start(file: Path) -> int:
    """Samples before the last page of an ogg file, according to its page headers."""
    with file.open("rb") as raw:
        raw.seek(max(file.stat().st_size - 3 * _OGG_PAGE, 0))
        tail = raw.read()
    # A page begins with "OggS", version 0 and the flags. Then comes the number of
    # samples up to the end of the page, or -1 if no packet ends in it.
    ends = [int.from_bytes(m[1], "little", signed=True) for m in _OGG.finditer(tail)]
    ends = [end for end in ends if end >= 0]
    return ends[-2] if len(ends) > 1 else 0


@contextmanager
def _open_ffmpeg(file: Path, stream: int) -> Iterator[tuple[Any, Any]]:
    """The open container and its audio stream; FFmpeg's errors become ours."""
    try:
        import av
    except ImportError as error:
        purpose = f"reading {file.suffix} files"
        raise missing_package(purpose, "av", "pip install av") from error
    try:
        with av.open(str(file)) as container:
            tracks = container.streams.audio
            if not tracks:
                raise _unreadable(file, "it has no audio stream")
            check_range("stream", stream, 0, len(tracks) - 1, where=str(file))
            yield container, tracks[stream]
    except av.FFmpegError as error:
        raise _unreadable(file, error) from error


def _ffmpeg_blocks(file: Path, container: Any, track: Any) -> Iterator[Block]:
    """Decoded blocks of any length, without the padding at an MP4 file's end."""
    import av

    to_float: Any = av.AudioResampler(format="fltp")
    position, end = 0, None
    for packet in container.demux(track):
        if _is_mp4(container):
            end = _packet_end(file, packet, track) or end
        for frame in packet.decode():
            for part in to_float.resample(frame):
                room = None if end is None else max(end - position, 0)
                block = part.to_ndarray()[:, :room]
                position += block.shape[1]
                yield block


def _cut(blocks: Iterable[Block], first: int, count: int | None) -> Iterator[Block]:
    """The `count` samples from sample `first` on (None: up to the end)."""
    position = 0
    for block in blocks:
        end = None if count is None else first + count - position
        inside = block[:, max(first - position, 0) : end]
        if inside.size:  # an empty view would keep the whole block in memory
            yield inside
        position += block.shape[1]
        if count is not None and position >= first + count:
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


def _check_any(file: Path, start: float, blocks: Iterable[Block]) -> Iterator[Block]:
    """The same blocks; raises an error if there is none."""
    any_samples = False
    for block in blocks:
        any_samples = True
        yield block
    if any_samples:
        return
    if start == 0.0:
        raise _no_samples(file)
    raise InputError(
        f"start_seconds = {start} is behind the end of {file}. Start earlier: "
        "mssedu.audio.audio_info returns the length."
    )


def _is_mp4(container: Any) -> bool:
    return "mp4" in container.format.name.split(",")


def _packet_end(file: Path, packet: Any, track: Any) -> int | None:
    """Samples from the start of the stream to the end of a packet; None if unknown."""
    # Time stamps that are coarser than a sample (milliseconds) are not exact enough.
    if packet.pts is None or track.time_base * track.rate > 1:
        return None
    duration = packet.duration or 0
    # MUSDB18's own loader keeps the last frame whole. We return the same length, so
    # that scores can be compared sample by sample.
    if file.name.lower().endswith(".stem.mp4"):
        duration = max(duration, track.codec_context.frame_size or 0)
    ticks = packet.pts + duration - (track.start_time or 0)
    return round(ticks * track.time_base * track.rate)


def _no_samples(file: Path) -> AudioFileError:
    return AudioFileError(f"{file} holds no samples. Export the file again.")


def _unreadable(file: Path, why: object) -> AudioFileError:
    return AudioFileError(
        f"{file} cannot be read as audio: {why}. Test it in a player, or convert it to "
        "wav."
    )
