"""Decoding behind `mssedu.audio`: libsndfile, and FFmpeg for the rest, block by block.

    file ──opened──▶ blocks of (channels, ≤ length), one after another ──▶ load_audio,
                                                                  scan, read_blocks

wav, flac, ogg and aiff go to libsndfile; everything else, mp3 included, to the FFmpeg
libraries inside PyAV, because libsndfile loses the end of an mp3 without a length tag.

Encoders put silence before the music (priming) and fill the last frame up (padding).
FFmpeg drops the priming by itself. The padding of an MP4 file is cut here, where its
last packet says it ends, so that encoding and loading give the same length back.
Notebook: 01.
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
    message,
    missing_package,
)

_SNDFILE_SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff")
# FFmpeg reads more kinds than these; they are what a folder scan looks for.
_FFMPEG_SUFFIXES = (".mp3", ".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka")
READABLE_SUFFIXES = _SNDFILE_SUFFIXES + _FFMPEG_SUFFIXES

BLOCK = 65536  # samples decoded at once, unless somebody asks for another length
_OGG_PAGE = 65307  # bytes, the longest page of an ogg file (RFC 3533)
_OGG = re.compile(rb"OggS\x00.(.{8})", re.DOTALL)

Block = NDArray[np.float32]  # (channels, samples)


@dataclass(frozen=True)
class Part:
    """An opened part of a file; its blocks can be taken once, while it is open."""

    sample_rate: int  # Hz
    channels: int
    first: int  # sample of the file where the part begins
    blocks: Iterator[Block]  # (channels, length), the last one shorter


@contextmanager
def opened(
    where: str,
    path: str | os.PathLike[str],
    *,
    stream: int = 0,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    length: int = BLOCK,
) -> Iterator[Part]:
    """Open a part of an audio file for reading block by block, then close the file.

    Args:
        where: who asks, for messages.
        path, stream, start_seconds, duration_seconds: as `mssedu.audio.load_audio`.
        length: samples of a block, ≥ 1.

    Raises:
        AudioFileError: no such file, or nobody can decode it.
        InputError: the part lies outside the file (told when its first block is asked
            for), or there is no such stream.
    """
    file = existing_file(where, path)
    check_range("start_seconds", start_seconds, 0.0, where=where)
    if duration_seconds is not None:
        check_range(
            "duration_seconds", duration_seconds, 0.0, low_open=True, where=where
        )
    check_range("length", length, 1, where=where)

    if file.suffix.lower() in _SNDFILE_SUFFIXES:
        with _open_sndfile(where, file, stream) as sound:
            rate, channels = sound.samplerate, sound.channels
            first, count = _span(start_seconds, duration_seconds, rate)
            blocks = _sndfile_blocks(sound, file, first, count, length)
            blocks = _never_empty(where, file, start_seconds, blocks)
            yield Part(rate, channels, first, blocks)
    else:
        with _open_ffmpeg(where, file, stream) as (container, track):
            first, count = _span(start_seconds, duration_seconds, track.rate)
            # Always from the beginning: a decoder that jumps in halfway lacks the
            # frames before and gives slightly other samples (AAC even draws noise).
            whole = _ffmpeg_blocks(file, container, track)
            blocks = _regrouped(_cut(whole, first, count), length)
            blocks = _never_empty(where, file, start_seconds, blocks)
            yield Part(track.rate, track.channels, first, blocks)


def existing_file(where: str, path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that holds something.

    Raises:
        AudioFileError: nothing there, a folder, or an empty file.
    """
    file = Path(path).absolute()
    if not file.exists():
        got = f"nothing at {file}"
        remedy = "Check the spelling and the working folder."
    elif file.is_dir():
        got, remedy = f"the folder {file}", "Name a file inside it."
    elif file.stat().st_size == 0:
        got, remedy = f"the empty file {file}", "Copy or download it again."
    else:
        return file
    raise AudioFileError(message(where, "an audio file", got, remedy))


def probe(
    where: str, path: str | os.PathLike[str], stream: int
) -> tuple[int, int, int, str]:
    """Sample rate, channels, exact number of samples and codec name.

    Raises:
        AudioFileError, InputError: as `opened`; a file without samples is an error.
    """
    file = existing_file(where, path)
    found = _probe(where, file, stream)
    if found[2] == 0:
        raise _no_samples(where, file)
    return found


def _probe(where: str, file: Path, stream: int) -> tuple[int, int, int, str]:
    if file.suffix.lower() in _SNDFILE_SUFFIXES:
        with _open_sndfile(where, file, stream) as sound:
            codec = sound.subtype.lower()
            return sound.samplerate, sound.channels, sound.frames, codec
    with _open_ffmpeg(where, file, stream) as (container, track):
        rate, channels, codec = track.rate, track.channels, track.codec.name
        if _is_mp4(container):  # packets say where they end: no need to decode them
            ends = [_packet_end(file, p, track) for p in container.demux(track)]
            samples = max((end for end in ends if end is not None), default=None)
            if samples is not None:
                return rate, channels, samples, codec
            container.seek(0)
        samples = sum(b.shape[1] for b in _ffmpeg_blocks(file, container, track))
        return rate, channels, samples, codec


def _span(start: float, duration: float | None, rate: int) -> tuple[int, int | None]:
    """First sample and number of samples (None: all that follow)."""
    count = None if duration is None else max(round(duration * rate), 1)
    return round(start * rate), count


@contextmanager
def _open_sndfile(where: str, file: Path, stream: int) -> Iterator[sf.SoundFile]:
    """The open sound file; libsndfile's errors become ours."""
    if stream:
        remedy = "Only containers such as .stem.mp4 hold several streams."
        raise InputError(message(where, f"stream 0 of {file}", stream, remedy))
    try:
        with sf.SoundFile(file) as sound:
            yield sound
    except sf.SoundFileError as error:
        raise _unreadable(where, file, error) from error


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
    # libsndfile misses the sample when it jumps into the last page of a Vorbis file,
    # so jump no farther than to where that page begins and read up to the sample.
    near = first
    if sound.subtype == "VORBIS":
        near = min(first, _last_page_start(file))
    sound.seek(near)
    for done in range(near, first, BLOCK):
        sound.read(min(BLOCK, first - done), dtype="float32")


def _last_page_start(file: Path) -> int:
    """Samples that end before the last page of an ogg file, by its page headers."""
    with file.open("rb") as raw:
        raw.seek(max(file.stat().st_size - 3 * _OGG_PAGE, 0))
        tail = raw.read()
    # After "OggS", version 0 and the flags: samples so far, -1 if no packet ends here.
    ends = [int.from_bytes(m[1], "little", signed=True) for m in _OGG.finditer(tail)]
    ends = [end for end in ends if end >= 0]
    return ends[-2] if len(ends) > 1 else 0


@contextmanager
def _open_ffmpeg(where: str, file: Path, stream: int) -> Iterator[tuple[Any, Any]]:
    """The open container and its audio stream; FFmpeg's errors become ours."""
    try:
        import av
    except ImportError as error:
        raise missing_package(where, "av", "pip install av") from error
    try:
        with av.open(str(file)) as container:
            tracks = container.streams.audio
            if not tracks:
                raise _unreadable(where, file, "it has no audio stream")
            if not 0 <= stream < len(tracks):
                wanted = f"stream in 0 … {len(tracks) - 1} of {file}"
                remedy = "Choose one of its audio streams."
                raise InputError(message(where, wanted, stream, remedy))
            yield container, tracks[stream]
    except av.FFmpegError as error:
        raise _unreadable(where, file, error) from error


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
    """What lies in `count` samples from `first` on (None: all that follow)."""
    position = 0
    for block in blocks:
        end = None if count is None else first + count - position
        inside = block[:, max(first - position, 0) : end]
        if inside.size:  # an empty view would keep the whole block alive
            yield inside
        position += block.shape[1]
        if count is not None and position >= first + count:
            return


def _regrouped(blocks: Iterable[Block], length: int) -> Iterator[Block]:
    """The same samples in blocks of one length; the last one may be shorter."""
    held: list[Block] = []
    samples = 0
    for block in blocks:
        held.append(block)
        samples += block.shape[1]
        if samples >= length:
            joined = np.concatenate(held, axis=1)
            rest = samples % length
            for start in range(0, samples - rest, length):
                yield np.ascontiguousarray(joined[:, start : start + length])
            held, samples = [joined[:, start + length :]], rest
    if samples:
        yield np.concatenate(held, axis=1)


def _never_empty(
    where: str, file: Path, start: float, blocks: Iterable[Block]
) -> Iterator[Block]:
    """The blocks as they are, or an error that says why there are none."""
    any_samples = False
    for block in blocks:
        any_samples = True
        yield block
    if any_samples:
        return
    if start == 0.0:
        raise _no_samples(where, file)
    got = f"start_seconds {start} of {file}"
    remedy = "Start earlier; mssedu.audio.audio_info tells the length."
    raise InputError(message(where, "a start before the file's end", got, remedy))


def _is_mp4(container: Any) -> bool:
    return "mp4" in container.format.name.split(",")


def _packet_end(file: Path, packet: Any, track: Any) -> int | None:
    """Samples from the stream's start to this packet's end; None if it does not say."""
    # Time stamps coarser than a sample (a clock in milliseconds) cannot say it exactly.
    if packet.pts is None or track.time_base * track.rate > 1:
        return None
    duration = packet.duration or 0
    # MUSDB18's own loader keeps the last frame whole; the same length as it gives makes
    # scores comparable sample by sample.
    if file.name.lower().endswith(".stem.mp4"):
        duration = max(duration, track.codec_context.frame_size or 0)
    ticks = packet.pts + duration - (track.start_time or 0)
    return round(ticks * track.time_base * track.rate)


def _no_samples(where: str, file: Path) -> AudioFileError:
    got = f"none in {file}"
    return AudioFileError(message(where, "samples", got, "Export the file again."))


def _unreadable(where: str, file: Path, why: object) -> AudioFileError:
    remedy = "Play it in a player to see if it is whole, or convert it to wav."
    return AudioFileError(message(where, "readable audio", f"{file} ({why})", remedy))
