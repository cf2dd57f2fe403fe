"""Decode audio files block by block, with libsndfile or with FFmpeg.

    file ──opened──▶ blocks of (channels, ≤ length) ──▶ load_audio, scan, read_blocks

libsndfile reads wav, flac, ogg and aiff. The FFmpeg libraries inside PyAV read all
other formats. They read mp3, too, because libsndfile loses the end of an mp3 file that
has no length tag.

Encoders add silence before the music (priming) and fill up the last frame (padding).
FFmpeg removes the priming. This module removes the padding of an MP4 file: the time
stamp of the last packet says where the music ends. Notebook: 01.
"""

import itertools
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

from mssedu.errors import AudioFileError, InputError, check_range, missing_package

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
    """An open part of a file; its blocks can be read once."""

    sample_rate: int  # Hz
    channels: int
    first: int  # the sample of the file at which the part begins
    blocks: Iterator[Block]  # (channels, length), the last one shorter


@contextmanager
def opened(
    path: str | os.PathLike[str],
    start_seconds: float,
    duration_seconds: float | None,
    stream: int,
    length: int = BLOCK,
) -> Iterator[Part]:
    """Open a part of a file, as `mssedu.audio.load_audio`, then close the file."""
    file = _existing_file(path)
    check_range("start_seconds", start_seconds, 0.0)
    if duration_seconds is not None:
        check_range("duration_seconds", duration_seconds, 0.0, low_open=True)
    check_range("length", length, 1)
    if _is_sndfile(file):
        opening, reading = _open_sndfile(file, stream), _sndfile_blocks
    else:
        opening, reading = _open_ffmpeg(file, stream), _ffmpeg_blocks
    with opening as sound:
        rate = sound.samplerate if _is_sndfile(file) else sound.rate
        first, count = round(start_seconds * rate), None
        if duration_seconds is not None:
            count = max(round(duration_seconds * rate), 1)
        blocks = reading(sound, file, first, count, length)
        block = next(blocks, None)
        if block is None and start_seconds == 0.0:
            raise _no_samples(file)
        if block is None:
            raise InputError(
                f"start_seconds = {start_seconds} is behind the end of {file}. "
                "mssedu.audio.audio_info returns the length."
            )
        yield Part(rate, sound.channels, first, itertools.chain([block], blocks))


def probe(path: str | os.PathLike[str], stream: int = 0) -> tuple[int, int, int, str]:
    """`mssedu.audio.audio_info` as a tuple."""
    file = _existing_file(path)
    if _is_sndfile(file):
        with _open_sndfile(file, stream) as sound:
            rate, samples, codec = sound.samplerate, sound.frames, sound.subtype.lower()
            channels = sound.channels
    else:
        with _open_ffmpeg(file, stream) as track:
            rate, samples, codec = track.rate, _n_samples(track, file), track.codec.name
            channels = track.channels
    if samples == 0:
        raise _no_samples(file)
    return rate, channels, samples, codec


def _existing_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that is not empty."""
    file = Path(path).absolute()
    if not file.exists():
        raise AudioFileError(f"{file} does not exist. Check the spelling.")
    if file.is_dir():
        raise AudioFileError(f"{file} is a folder. Name a file inside it.")
    if file.stat().st_size == 0:
        raise AudioFileError(f"{file} is empty. Copy or download it again.")
    return file


# ---- libsndfile ---------------------------------------------------------------------


def _is_sndfile(file: Path) -> bool:
    return file.suffix.lower() in _SNDFILE_SUFFIXES


@contextmanager
def _open_sndfile(file: Path, stream: int) -> Iterator[Any]:
    """The open sf.SoundFile; libsndfile's errors become ours."""
    if stream:
        raise InputError(
            f"{file} has one stream only, got stream={stream}. Only containers such as "
            ".stem.mp4 hold several streams."
        )
    try:
        with sf.SoundFile(file) as sound:
            yield sound
    except sf.SoundFileError as error:
        raise _unreadable(file, error) from error


def _sndfile_blocks(
    sound: sf.SoundFile, file: Path, first: int, count: int | None, length: int
) -> Iterator[Block]:
    """Blocks from sample `first` on, `count` samples together (None: up to the end)."""
    # A jump into the last page of a Vorbis file ends at a wrong sample (libsndfile).
    # So jump to the start of that page at most, and read on up to the sample.
    first = near = min(first, sound.frames)
    if sound.subtype == "VORBIS":
        near = min(first, _last_page_start(file))
    sound.seek(near)
    for done in range(near, first, BLOCK):
        sound.read(min(BLOCK, first - done), dtype="float32")
    left = sound.frames if count is None else count
    while left > 0:
        block = sound.read(min(length, left), dtype="float32", always_2d=True)
        if not len(block):
            return
        left -= len(block)
        yield np.ascontiguousarray(block.T)


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


# ---- FFmpeg -------------------------------------------------------------------------


@contextmanager
def _open_ffmpeg(file: Path, stream: int) -> Iterator[Any]:
    """The audio stream of the open container; FFmpeg's errors become ours."""
    try:
        import av
    except ImportError as error:
        purpose = f"reading {file.suffix} files"
        raise missing_package(purpose, "av", "pip install av") from error
    try:
        # Tags in Latin-1, GBK and other old encodings are legal and of no use here.
        with av.open(str(file), metadata_errors="replace") as container:
            tracks = container.streams.audio
            if not tracks:
                raise _unreadable(file, "it has no audio stream")
            check_range("stream", stream, 0, len(tracks) - 1, where=str(file))
            yield tracks[stream]
    except av.FFmpegError as error:
        raise _unreadable(file, error) from error


def _ffmpeg_blocks(
    sound: Any, file: Path, first: int, count: int | None, length: int
) -> Iterator[Block]:
    """As `_sndfile_blocks`."""
    # Decoding always starts at the beginning. A decoder that starts in the middle lacks
    # the frames before, so that its samples differ slightly (AAC even fills bands with
    # random noise).
    return _regrouped(_cut(_decoded(sound, file), first, count), length)


def _n_samples(track: Any, file: Path) -> int:
    if _is_mp4(track):  # the time stamps of the packets suffice: no decoding
        packets = track.container.demux(track)
        ends = [end for p in packets if (end := _packet_end(p, file)) is not None]
        if ends:
            return max(ends)
        track.container.seek(0)
    return sum(block.shape[1] for block in _decoded(track, file))


def _decoded(track: Any, file: Path) -> Iterator[Block]:
    """Blocks of any length, without the padding at an MP4 file's end."""
    import av

    to_float: Any = av.AudioResampler(format="fltp")
    position, end = 0, None
    for packet in track.container.demux(track):
        if _is_mp4(track):
            end = _packet_end(packet, file) or end
        for frame in packet.decode():
            for part in to_float.resample(frame):
                room = None if end is None else max(end - position, 0)
                block = part.to_ndarray()[:, :room]
                position += block.shape[1]
                yield block


def _is_mp4(track: Any) -> bool:
    return "mp4" in track.container.format.name.split(",")


def _packet_end(packet: Any, file: Path) -> int | None:
    """Samples from the start of the stream to the end of a packet; None if unknown."""
    track = packet.stream
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


def _no_samples(file: Path) -> AudioFileError:
    return AudioFileError(f"{file} holds no samples. Export the file again.")


def _unreadable(file: Path, why: object) -> AudioFileError:
    reason = str(why).rstrip(".")
    return AudioFileError(
        f"{file} cannot be read as audio: {reason}. Test it in a player, or convert it."
    )
