"""Decode with the FFmpeg libraries inside PyAV: all formats that players play.

    packets ─decode─▶ frames ─one format, gaps filled─▶ blocks ─padding removed─▶

Packets that cannot be decoded are counted and skipped, as players do. Where a file has
time stamps, silence takes their place. A stream that changes its sample rate or its
channels is converted to what it was at first.

Encoders add silence before the music (priming) and fill up the last frame (padding).
FFmpeg removes the priming. This module removes the padding of an MP4 file: the time
stamp of the last packet says where the music ends.
"""

import errno
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mssedu.audio.damage import Damage, mp3_frames, note_end
from mssedu.audio.sndfile import Block, no_samples, unreadable
from mssedu.errors import AudioFileError, check_range, missing_package

# Formats whose files name other files, addresses or devices: they are never opened.
_FORBIDDEN = {"hls", "concat", "dash", "imf", "sdp", "rtsp", "rtp", "sap", "lavfi"}
_FORBIDDEN |= {"webm_dash_manifest", "image2", "vobsub", "avisynth", "vapoursynth"}
# Formats with time stamps, so that what is lost leaves a gap
_TIMED = {"mp4", "matroska", "ogg", "flac", "mpegts", "mpeg", "asf", "flv", "nut"}
_TIMED |= {"wv", "tta"}
# Formats whose header says how long the sound is; of others, FFmpeg guesses it.
_COUNTED = {"mp4", "matroska", "flac", "tta", "wv", "ape", "asf", "flv", "dsf"}
_VORBIS = 2048  # samples of a usual long frame
_PADDING = 4 * 1152  # samples; more than an mp3 encoder adds at both ends
_JUMP = 10.0  # seconds; a longer gap is another clock, as for the program ffmpeg


class FFmpegSound:
    """An open audio stream of FFmpeg; its samples can be read once."""

    def __init__(
        self,
        track: Any,
        file: Path,
        damage: Damage,
        packets: Iterator[Any] | None = None,
    ) -> None:
        if track.codec_context is None:
            raise unreadable(file, "FFmpeg has no decoder for its codec")
        self._track, self._file, self._damage = track, file, damage
        self._source = track.container.demux(track) if packets is None else packets
        self._formats = set(track.container.format.name.split(","))
        self._times = _PacketTimes(track, self._formats, file)
        self._promised = _promised_seconds(track, self._formats, file)
        self._position = 0  # samples so far, silence included
        self._error: Exception | None = None  # the first one
        self._frames = self._decoded()
        # Only a frame shows that this is sound, and which format it truly has.
        first = next(self._frames, None)
        if first is None:
            raise unreadable(file, self._error) if self._error else no_samples(file)
        self._first = first
        self.sample_rate = first.sample_rate
        self.channels = len(first.layout.channels)
        self.codec = track.codec.name

    def length(self) -> int | None:
        """Samples of the file, which is used up then; None: only decoding counts them.

        The time stamps of the packets of an MP4 file suffice.
        """
        for _ in self._packets() if self._times.known else ():
            pass
        end = self._times.end(self.sample_rate)
        if end is not None:
            self._check_end(end)
        return end

    def blocks(self, first: int) -> Iterator[Block]:
        """All samples from sample `first` on.

        Decoding always starts at the beginning. A decoder that starts in the middle
        lacks the frames before, so that its samples differ slightly (AAC even fills
        bands with random noise).
        """
        for block in self._trimmed():
            self._position += block.shape[1]
            inside = min(self._position - first, block.shape[1])
            if inside > 0:
                yield block[:, block.shape[1] - inside :]
        self._check_end(self._position)
        damage = self._damage
        if damage.n_lost > damage.n_packets / 2 or damage.silent > self._position / 2:
            raise self._too_much()

    def _trimmed(self) -> Iterator[Block]:
        """The blocks, as long as the packets of an MP4 file say."""
        for block in self._joined():
            end = self._times.end(self.sample_rate)
            yield block if end is None else block[:, : max(end - self._position, 0)]
        end = self._times.end(self.sample_rate)
        if end is not None and self._position < end:  # the last packets are lost
            yield self._silence(end - self._position)

    def _joined(self) -> Iterator[Block]:
        """The frames in the format of the first one, with silence for what is lost."""
        import av

        kind, resampler = None, av.AudioResampler("fltp")
        time = float((self._track.start_time or 0) * self._track.time_base)
        for frame in itertools.chain([self._first], self._frames):
            new = frame.format.name, frame.layout.name, frame.sample_rate
            if kind is None and frame.pts is not None and not self._damage.n_lost:
                time = frame.time
            elif new != kind and kind is not None:
                yield from _arrays(resampler.resample(None))
                self._note_change(frame)
                resampler = av.AudioResampler(
                    "fltp", self._first.layout, self.sample_rate
                )
            kind = new
            if frame.pts is not None:
                if lost := self._n_missing(frame, frame.time - time):
                    yield self._silence(lost)
                time = frame.time
            time += frame.samples / frame.sample_rate
            yield from _arrays(resampler.resample(frame))
        yield from _arrays(resampler.resample(None))

    def _n_missing(self, frame: Any, gap: float) -> int:
        """Samples that are lost before a frame, behind a gap in seconds."""
        length = frame.samples / frame.sample_rate
        least = length / 2  # time stamps are rounded
        if self.codec == "vorbis":  # those of its short frames are wrong
            least = _VORBIS / frame.sample_rate
        if not self._formats & _TIMED or not least < gap < _JUMP:
            return 0
        if frame.time_base * frame.sample_rate > 1:  # such as milliseconds
            gap = round(gap / length) * length
        return round(gap * self.sample_rate)

    def _silence(self, samples: int) -> Block:
        self._damage.lose(self._position / self.sample_rate, samples)
        if self._damage.silent > self._position + _JUMP * self.sample_rate:
            raise self._too_much()
        return np.zeros((self.channels, samples), np.float32)

    def _note_change(self, frame: Any) -> None:
        new = frame.sample_rate, len(frame.layout.channels)
        old = self.sample_rate, self.channels
        if new != old:
            self._damage.note_change(self._position / self.sample_rate, old, new)

    def _decoded(self) -> Iterator[Any]:
        """All frames; packets that cannot be decoded are counted."""
        import av

        for packet in self._packets():
            try:
                if packet is None:
                    frames = self._track.codec_context.decode(None)
                else:
                    frames = packet.decode()
            except av.FFmpegError as error:
                if packet is not None and packet.size:
                    self._lose(error)
                continue
            yield from frames

    def _packets(self) -> Iterator[Any]:
        """All packets; None instead of the rest if the file cannot be read on."""
        import av

        try:
            for packet in self._source:
                if packet.size:  # the packet that ends the stream is empty
                    self._times.add(packet)
                    self._damage.n_packets += 1
                yield packet
        except av.FFmpegError as error:
            self._damage.n_packets += 1
            self._lose(error)
            yield None

    def _lose(self, error: Exception) -> None:
        self._error = self._error or error
        at = self._position / self.sample_rate if self._position else 0.0
        self._damage.lose(at)

    def _check_end(self, samples: int) -> None:
        """Note a file that is shorter than its header says."""
        seconds = samples / self.sample_rate
        self._damage.check_end(seconds, self._promised)
        note_end(self._file, seconds, self._damage)

    def _too_much(self) -> AudioFileError:
        return unreadable(self._file, "more than half of it is damaged")


def _arrays(frames: Iterable[Any]) -> Iterator[Block]:
    # A resampler that has nothing to do returns None for the frames that it holds.
    return (frame.to_ndarray() for frame in frames if frame is not None)


class _PacketTimes:
    """Where the packets of an MP4 file end, if each follows on the one before."""

    def __init__(self, track: Any, formats: set[str], file: Path) -> None:
        self._track, self._end = track, None
        # Time stamps that are coarser than a sample (milliseconds) do not suffice.
        self.known = "mp4" in formats and track.time_base * track.rate <= 1
        # A fraction would be the slowest part of reading the packets.
        self._longest = float(_JUMP / track.time_base) if self.known else 0.0
        # MUSDB18's own loader keeps the last frame whole. We return the same length, so
        # that scores can be compared sample by sample.
        self._whole_frames = file.name.lower().endswith(".stem.mp4")

    def add(self, packet: Any) -> None:
        """The next packet; it must not be decoded yet."""
        if not self.known:
            return
        duration, frame = packet.duration or 0, self._track.codec_context.frame_size
        if self._whole_frames:
            duration = max(duration, frame or 0)
            _keep_padding(packet)
        if packet.pts is None or duration > self._longest:
            self.known = False
            return
        if self._end is not None:
            gap = packet.pts - self._end  # a lost packet, or none
            self.known = abs(gap) <= 1 or (frame or duration) / 2 < gap < self._longest
        self._end = packet.pts + duration

    def end(self, sample_rate: int) -> int | None:
        """Samples from the start of the stream to the end of the last packet."""
        if not self.known or self._end is None:
            return None
        ticks = self._end - (self._track.start_time or 0)
        return max(round(ticks * self._track.time_base * sample_rate), 0)


def _keep_padding(packet: Any) -> None:
    """Make the decoder keep the end of the last frame, which PyAV 19 cuts off."""
    if _pyav() < 19 or not packet.has_sidedata("skip_samples"):
        return
    data = packet.get_sidedata("skip_samples")
    start, rest = bytes(data)[:4], bytes(data)[8:]
    data.update(start + bytes(4) + rest)
    packet.set_sidedata(data)


def _pyav() -> int:
    """The major version; PyAV before 19 crashes where side data is read."""
    import av

    return int(av.__version__.split(".")[0])


def _promised_seconds(track: Any, formats: set[str], file: Path) -> float | None:
    """Length according to the header; None if it has none for this stream alone."""
    container, seconds = track.container, None
    if track.duration:
        seconds = float(track.duration * track.time_base)
    elif len(container.streams.audio) + len(container.streams.video) == 1:
        seconds = container.duration / 1e6 if container.duration else None
    if formats & _COUNTED or seconds is None:
        return seconds
    # FFmpeg guesses the length of an mp3 file without a tag, or with more bytes.
    frames = mp3_frames(file) if "mp3" in formats else None
    if not frames or not track.rate:
        return None
    tagged = frames * (track.codec_context.frame_size or 0) / track.rate
    return seconds if abs(seconds - tagged) < _PADDING / track.rate else None


@contextmanager
def open_ffmpeg(file: Path, stream: int, damage: Damage) -> Iterator[FFmpegSound]:
    """An open audio stream; FFmpeg's errors become AudioFileError."""
    with _tracks(file) as tracks:
        check_range("stream", stream, 0, len(tracks) - 1, where=str(file))
        yield FFmpegSound(tracks[stream], file, damage)


@contextmanager
def open_streams(file: Path) -> Iterator[list[tuple[FFmpegSound, Damage]]]:
    """All audio streams of a file, which is read once for all of them."""
    with _tracks(file) as tracks:
        source = tracks[0].container.demux(list(tracks))
        waiting: dict[int, deque[Any]] = {track.index: deque() for track in tracks}
        sounds = []
        for track in tracks:
            damage, packets = Damage(), _own_packets(track.index, source, waiting)
            sounds.append((FFmpegSound(track, file, damage, packets), damage))
        yield sounds


def _own_packets(
    index: int, source: Iterator[Any], waiting: dict[int, deque[Any]]
) -> Iterator[Any]:
    """The packets of one stream; those of others that come first wait."""
    while True:
        while not waiting[index]:
            packet = next(source, None)
            if packet is None:
                return
            waiting[packet.stream.index].append(packet)
        yield waiting[index].popleft()


@contextmanager
def _tracks(file: Path) -> Iterator[Any]:
    """The audio streams of the open file; FFmpeg's errors become AudioFileError."""
    try:
        import av
    except ImportError as error:
        purpose = f"reading {file.suffix} files"
        raise missing_package(purpose, "av", "pip install av") from error
    try:
        with av.open(str(file), **_options()) as container:
            tracks = container.streams.audio
            if not tracks:
                raise unreadable(file, "it has no audio stream")
            yield tracks
    except av.FFmpegError as error:
        reason: object = error
        if error.errno == errno.EINVAL:  # a forbidden format, most likely
            reason = "this kind of file is refused. Of a playlist, name the songs"
        raise unreadable(file, reason) from error


@cache
def _options() -> dict[str, Any]:
    """Options of av.open for files that nobody vouches for."""
    import av

    names = ",".join(av.formats_available).split(",")
    allowed = ",".join(sorted({*names} - _FORBIDDEN))
    options: dict[str, Any] = {
        "container_options": {"protocol_whitelist": "file", "format_whitelist": allowed}
    }
    # Tags in Latin-1, GBK and other old encodings are legal and of no use here. PyAV 19
    # accepts them always, and has no option any more.
    if _pyav() < 19:
        options["metadata_errors"] = "replace"
    return options
