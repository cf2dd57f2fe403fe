"""Decoding behind `mssedu.audio.load_audio`: libsndfile, and FFmpeg for the rest.

wav, flac, ogg and aiff go to libsndfile; everything else, mp3 included, to the FFmpeg
libraries inside PyAV, because libsndfile loses the end of an mp3 without a length tag.

Encoders put silence before the music (priming) and fill the last frame up (padding).
FFmpeg drops the priming by itself. The padding of an MP4 file is cut here, where its
last packet says it ends, so that encoding and loading give the same length back.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssedu.checks import AudioFileError, InputError, message, missing_package

_SNDFILE_SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff")
# FFmpeg reads more kinds than these; they are what a folder scan looks for.
_FFMPEG_SUFFIXES = (".mp3", ".m4a", ".mp4", ".aac", ".opus", ".wma", ".webm", ".mka")
READABLE_SUFFIXES = _SNDFILE_SUFFIXES + _FFMPEG_SUFFIXES

_BLOCK = 65536  # samples decoded at once while skipping
_OGG_PAGE = 65307  # bytes, the longest page of an ogg file (RFC 3533)
_OGG = re.compile(rb"OggS\x00.(.{8})", re.DOTALL)


def decode(
    where: str, file: Path, stream: int, start: float, duration: float | None
) -> tuple[NDArray[np.float32], int]:
    """Samples (channels, samples) from `start` for `duration` seconds, and the rate.

    Raises:
        AudioFileError: nobody can decode the file.
        InputError: the file has no such stream.
    """
    if file.suffix.lower() in _SNDFILE_SUFFIXES:
        with _open_sndfile(where, file, stream) as sound:
            first, count = _span(start, duration, sound.samplerate)
            _move_to(sound, file, min(first, sound.frames))
            audio = sound.read(-1 if count is None else count, "float32", True)
            return audio.T, sound.samplerate
    with _open_ffmpeg(where, file, stream) as (container, track):
        first, count = _span(start, duration, track.rate)
        blocks, position = [np.zeros((track.channels, 0), np.float32)], 0
        # Always from the beginning: a decoder that jumps in halfway lacks the frames
        # before and gives slightly other samples (AAC even draws noise).
        for block in _ffmpeg_blocks(file, container, track):
            blocks.append(block[:, max(first - position, 0) :])
            position += block.shape[1]
            if count is not None and position >= first + count:
                break
        return np.concatenate(blocks, axis=1)[:, :count], track.rate


def probe(where: str, file: Path, stream: int) -> tuple[int, int, int, str]:
    """Sample rate, channels, exact number of samples and codec name.

    Raises:
        AudioFileError, InputError: as `decode`.
    """
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


def _move_to(sound: sf.SoundFile, file: Path, first: int) -> None:
    """Make `first` the next sample to be read."""
    # libsndfile misses the sample when it jumps into the last page of a Vorbis file,
    # so jump no farther than to where that page begins and read up to the sample.
    near = first
    if sound.subtype == "VORBIS":
        near = min(first, _last_page_start(file))
    sound.seek(near)
    for done in range(near, first, _BLOCK):
        sound.read(min(_BLOCK, first - done), dtype="float32")


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


def _ffmpeg_blocks(
    file: Path, container: Any, track: Any
) -> Iterator[NDArray[np.float32]]:
    """Decoded blocks (channels, samples), without the padding at an MP4 file's end."""
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


def _unreadable(where: str, file: Path, why: object) -> AudioFileError:
    remedy = "Play it in a player to see if it is whole, or convert it to wav."
    return AudioFileError(message(where, "readable audio", f"{file} ({why})", remedy))
