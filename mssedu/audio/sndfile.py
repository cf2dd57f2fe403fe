"""Decode with libsndfile: WAV, AIFF, FLAC and Ogg, from any sample on.

libsndfile can jump to a sample, so that a short part of a long file is read at once.
What it cannot read is read by FFmpeg, see `mssedu.audio.containers`. A FLAC file has a
number in each frame, so that libsndfile finds the place of all frames behind a damaged
one. Silence takes the place of what is lost.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mssedu.audio.damage import Damage, note_end, ogg_pages
from mssedu.audio.names import disk_name
from mssedu.errors import AudioFileError, InputError

BLOCK = 65536  # samples that are decoded at once by default
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC")
_UNKNOWN = 2**48  # samples; a FLAC file that was written to a pipe has no length
_LONGEST = 60  # seconds of silence that a file may begin with
_NEAR = 32  # frames that are tried one by one behind a damaged one

# Formats that need no decoder, and FLAC; their subtypes
_PLAIN = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC"}
_EXACT = {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}

Block = NDArray[np.float32]  # (channels, samples)


class SndFile:
    """An open sound of libsndfile."""

    def __init__(self, file: Path, damage: Damage) -> None:
        self._file, self._damage = file, damage
        with self.our_errors():
            self._sound = sf.SoundFile(disk_name(file))
        self._place: int | None = 0  # sample that is read next; None after an error
        self.sample_rate, self.channels = self._sound.samplerate, self._sound.channels
        self.codec = self._sound.subtype.lower()
        self.frames = self._sound.frames  # samples, according to the header
        self._is_flac = self._sound.format == "FLAC"

    def close(self) -> None:
        """Close the file."""
        self._sound.close()

    def length(self) -> int | None:
        """Samples of the file; None if only decoding can count them."""
        note_end(self._file, self.frames / self.sample_rate, self._damage)
        return None if self._read(self.frames - 1, 1) is None else self.frames

    def blocks(self, first: int) -> Iterator[Block]:
        """All samples from sample `first` on."""
        place = first = min(first, self.frames)
        with self.our_errors():
            try:
                self._seek(first)
                while len(block := self._sound.read(BLOCK, "float32", always_2d=True)):
                    place += len(block)
                    yield np.ascontiguousarray(block.T)
            except sf.SoundFileError:
                rest = self._salvaged(place) if self._is_flac else iter(())
                salvaged = next(rest, None)
                if salvaged is None:  # perhaps FFmpeg can read on
                    raise
                for block in itertools.chain([salvaged], rest):
                    place += block.shape[1]
                    yield block
        if self._damage.silent > place / 2:
            raise unreadable(self._file, "more than half of it is damaged")
        note_end(self._file, self.frames / self.sample_rate, self._damage)

    def _seek(self, first: int) -> None:
        """Jump to a sample, in an open file without errors."""
        # A jump into the last page of a Vorbis file ends at a wrong sample. So jump to
        # the start of that page at most, and read on up to the sample.
        pages = ogg_pages(self._file)
        near = first if pages is None else min(first, pages.last_page)
        self._sound.seek(near)
        for done in range(near, first, BLOCK):
            self._sound.read(min(BLOCK, first - done), dtype="float32")

    def _salvaged(self, place: int) -> Iterator[Block]:
        """All samples of a damaged FLAC file from sample `place` on."""
        size, rate, self._place = _frame_length(self._file), self.sample_rate, None
        while place < self.frames:
            count = min(size - place % size, self.frames - place)
            block = self._read(place, count)
            after = place + count
            if block is None:
                found = self._next_readable(after, size)
                if found is None:  # the end of the file is missing
                    actual, expected = place / rate, self.frames / rate
                    self._damage.check_end(actual, expected, tolerance=0.001)
                    return
                if found - place > max(place, _LONGEST * rate):
                    raise unreadable(self._file, "more than half of it is damaged")
                after = found
                self._damage.lose(place / rate, after - place)
                block = np.zeros((self.channels, after - place), np.float32)
            yield block
            place = after

    def _read(self, place: int, count: int) -> Block | None:
        """Some samples; None if they cannot be decoded."""
        for is_new in (False, True):  # an error may come one frame too early
            try:
                if is_new:  # after an error, libsndfile must open the file anew
                    self._sound.close()
                    self._sound = sf.SoundFile(disk_name(self._file))
                    self._sound.seek(place)
                elif self._place != place:
                    continue
                block = self._sound.read(count, "float32", always_2d=True)
            except sf.SoundFileError:
                continue
            if len(block) == count:
                self._place = place + count
                return np.ascontiguousarray(block.T)
        self._place = None
        return None

    def _next_readable(self, place: int, size: int) -> int | None:
        """The first frame from frame `place` on that can be decoded; None: no frame."""
        last, step, before = (self.frames - 1) // size, 1, place // size - 1
        frame = before + 1
        while frame <= last and not self._has_frame(frame, size):
            before, step = frame, step if frame < place // size + _NEAR else 2 * step
            frame = min(frame + step, last) if frame < last else last + 1
        if frame > last:
            return None
        while frame - before > 1:  # after large steps: halve the distance
            middle = (before + frame) // 2
            if self._has_frame(middle, size):
                frame = middle
            else:
                before = middle
        return frame * size

    def _has_frame(self, frame: int, size: int) -> bool:
        place = frame * size
        return self._read(place, min(size, self.frames - place)) is not None

    @contextmanager
    def our_errors(self) -> Iterator[None]:
        """libsndfile's errors become ours."""
        try:
            yield
        except sf.SoundFileError as error:
            raise unreadable(self._file, error) from error


def _frame_length(file: Path) -> int:
    """Samples of a frame of a FLAC file, according to its header."""
    with file.open("rb") as raw:
        header = raw.read(12)
    size = int.from_bytes(header[10:], "big") if header.startswith(b"fLaC") else 0
    return size or 4096


@contextmanager
def open_sndfile(file: Path, stream: int, damage: Damage) -> Iterator[SndFile]:
    """An open file; libsndfile's errors become AudioFileError."""
    sound = SndFile(file, damage)
    try:
        if sound.frames == 0:
            raise no_samples(file)
        if sound.frames > _UNKNOWN:
            raise unreadable(file, "its header does not say how long it is")
        if stream:
            raise InputError(
                f"{file} has one stream only, got stream={stream}. Only containers "
                "such as .stem.mp4 hold several streams."
            )
        yield sound
    finally:
        sound.close()


def suits_sndfile(file: Path) -> bool:
    """Whether libsndfile is the better decoder, according to the first bytes."""
    with file.open("rb") as raw:
        head = raw.read(64)
    pages = ogg_pages(file)
    if pages is None:
        return head.startswith(_MAGIC)
    # libsndfile skips damaged pages, so that what follows would move forward. In an
    # Opus file, a jump to a sample gives other samples than reading up to it.
    return pages.whole and b"\x01vorbis" in head


def no_samples(file: Path) -> AudioFileError:
    """The error for a file without sound."""
    return AudioFileError(f"{file} holds no samples. Export the file again.")


def unreadable(file: Path, why: object) -> AudioFileError:
    """The error for a file that no decoder can read."""
    reason = str(getattr(why, "strerror", None) or why).rstrip(".")
    return AudioFileError(
        f"{file} cannot be read as audio: {reason}. Test it in a player, or convert it."
    )


def read_at_once(out: Block, file: Path, first: int, factor: float) -> bool:
    """Write the samples from `first` on, times a factor, into `out` (channels, length).

    The samples are those that `mssedu.audio.load_audio` returns, without the copies in
    between. False: the file is neither uncompressed nor FLAC, the part is not there as
    a whole, or has NaN or Inf.
    """
    channels, length = out.shape
    try:
        with sf.SoundFile(file) as sound:
            if sound.format not in _PLAIN or sound.subtype not in _EXACT:
                return False
            if sound.channels != channels or first + length > sound.frames:
                return False
            sound.seek(first)
            if sound.subtype == "PCM_16":  # half as many bytes, and the same samples
                values = sound.read(length, dtype="int16", always_2d=True)
                factor /= 2**15
            else:
                values = sound.read(length, dtype="float32", always_2d=True)
                # NaN and Inf stay in a sum of squares.
                if not np.isfinite(np.vdot(values, values)):
                    return False
            if len(values) < length:
                return False
            np.multiply(values.T, factor, out=out, dtype=np.float32)
            return True
    except sf.SoundFileError:
        return False
