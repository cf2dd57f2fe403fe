"""What a file promises, and what was lost of it: checks of bytes, without decoding.

    header ─promised─▶ bytes of sound that should be there, and that are there
    Ogg pages ─ogg_pages─▶ whole? ended?          MP3 ──mp3_frames──▶ number of frames
    decoder ──counts──▶ Damage ──notes──▶ texts for the user

A part that is lost inside a file is replaced by silence where the file has time stamps,
so that the rest keeps its place.
Source: RFC 3533 (Ogg), ITU-R BS.2088 (BW64), the Xing tag of MP3 encoders.
"""

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

TOLERANCE = 0.1  # seconds; a header in milliseconds or frames is not more exact
_UNKNOWN = 0x7FFF0000  # sizes from here on stand for "unknown" in streamed files


Format = tuple[int, int]  # sample rate in Hz, channels


@dataclass
class Damage:
    """What was lost of a file, counted while its blocks are read; times in seconds."""

    n_packets: int = 0
    n_lost: int = 0  # packets that cannot be decoded
    silent: int = 0  # samples of silence in place of what was lost
    first: float | None = None  # where the first loss is
    n_changes: int = 0
    change: str = ""  # the first change of the format
    end: str = ""  # what is wrong with the end

    def lose(self, seconds: float, samples: int = 0) -> None:
        """Count a packet, or samples that silence replaces."""
        self.first = seconds if self.first is None else self.first
        self.silent += samples
        self.n_lost += not samples

    def note_change(self, seconds: float, old: Format, new: Format) -> None:
        """Count a change of the format, from the first one of the file or back."""
        self.n_changes += 1
        self.change = self.change or (
            f"at {seconds:.3f} s from {old[0]} Hz, {old[1]} channels, to {new[0]} Hz, "
            f"{new[1]} channels; all of it is converted to the first"
        )

    def check_end(
        self, actual: float, expected: float | None, tolerance: float = TOLERANCE
    ) -> None:
        """Note a file that ends before the time that its header says."""
        if expected is not None and expected - actual > tolerance:
            self.end = (
                f"it ends after {actual:.3f} s, and its header says {expected:.3f} s"
            )

    def notes(self, sample_rate: int) -> tuple[str, ...]:
        """Texts that follow the name of the file; empty if nothing was lost."""
        notes = []
        if self.n_changes:
            times = "" if self.n_changes == 1 else f" {self.n_changes} times, first"
            notes.append(f"its format changes{times} {self.change}")
        lost = []
        if self.n_lost:
            lost.append(f"{self.n_lost} of {self.n_packets} packets cannot be decoded")
        if self.silent:
            seconds = self.silent / sample_rate
            lost.append(f"silence replaces {seconds:.3f} s that are lost")
        if lost:
            notes.append(f"{' and '.join(lost)}, the first at {self.first:.3f} s")
        return (*notes, self.end) if self.end else tuple(notes)


def note_end(file: Path, seconds: float, damage: Damage) -> None:
    """Note a file whose end is missing, according to its bytes."""
    sizes, pages = promised(file), ogg_pages(file)
    if sizes and sizes[0] > sizes[1] > 0:
        expected = seconds * sizes[0] / sizes[1]
        damage.check_end(seconds, expected, tolerance=0.001)
    elif sizes and sizes[0] == 0 < sizes[1]:
        damage.end = "its header says 0 s, and it is read up to the end of the file"
    elif pages is not None and not pages.ended:
        damage.end = f"it breaks off after {seconds:.3f} s, without the mark of its end"


# ---- chunks: WAV, BW64, AIFF, W64, CAF, AU ------------------------------------------


def promised(file: Path) -> tuple[int, int] | None:
    """Bytes of sound according to the header, and bytes that are there.

    None: another format, or a header without a size. The header of a recorder that
    crashed says 0 bytes; for an empty sound, nothing is there either.
    """
    size = file.stat().st_size
    with file.open("rb") as raw:
        head = raw.read(40)
        if head.startswith(b".snd"):
            start, length = struct.unpack(">II", head[4:12].ljust(8, b"\xff"))
            return None if length >= _UNKNOWN else (length, min(length, size - start))
        wide, chunks = None, list(_chunks(raw, head, size))
        for name, start, length in chunks:
            if name == b"ds64":
                raw.seek(start + 8)
                wide = int.from_bytes(raw.read(8), "little")
            if name in (b"data", b"SSND"):
                if length == 0xFFFFFFFF and wide is not None:
                    length = wide
                elif length >= _UNKNOWN and not head.startswith((b"riff", b"caff")):
                    return None
                if length == 0 and chunks[-1][1] + chunks[-1][2] != size:
                    return 0, size - start
                return length, min(length, size - start)
    return None


def _chunks(raw: IO[bytes], head: bytes, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk, as far as the file goes."""
    order, width, align, start = "<", 4, 2, 12
    if head.startswith((b"FORM", b"RIFX")):
        order = ">"
    elif head.startswith(b"caff"):
        order, width, align, start = ">", 8, 1, 8
    elif head.startswith(b"riff"):  # W64: names of 16 bytes, lengths include the header
        width, align, start = 8, 8, 40
    elif not head.startswith((b"RIFF", b"RF64", b"BW64")):
        return
    name_width = 16 if align == 8 else 4
    code = order + ("Q" if width == 8 else "I")
    while start + name_width + width <= size:
        raw.seek(start)
        name = raw.read(name_width)[:4]
        (length,) = struct.unpack(code, raw.read(width))
        start += name_width + width
        if align == 8:
            length -= min(length, 24)
        yield name, start, length
        start += length + -length % align


# ---- Ogg ----------------------------------------------------------------------------

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class OggPages:
    """What the pages of an Ogg file say about it."""

    whole: bool  # one stream, each page is there and none is damaged
    ended: bool  # the last page has the mark of the end
    last_page: int  # samples before the last page


def ogg_pages(file: Path) -> OggPages | None:
    """Check all pages of an Ogg file; None: another format."""
    stat = file.stat()
    return _ogg_pages(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)  # random parts of songs are read again and again
def _ogg_pages(file: Path, size: int, time: int) -> OggPages | None:
    with file.open("rb") as raw:
        if raw.read(4) != b"OggS":
            return None
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _checked(data)


def _checked(data: mmap.mmap) -> OggPages:
    whole, ended, position, ends = True, False, 0, [0]
    serial = number = None
    for match in re.finditer(rb"OggS\0", data):
        start = match.start()
        header = data[start : start + 27]
        if start < position or len(header) < 27:  # these letters inside of a page
            continue
        flags, samples, stream, count, _, n_segments = struct.unpack(
            "<BqIIIB", header[5:27]
        )
        body = start + 27 + n_segments
        end = body + sum(data[start + 27 : body])
        if end > len(data) or not _is_intact(data[start:end]):
            continue
        follows = number is None or (stream, count) == (serial, number + 1)
        whole = whole and start == position and follows
        serial, number, position, ended = stream, count, end, bool(flags & 4)
        if samples >= 0:  # -1: no packet ends in this page
            ends.append(samples)
    return OggPages(whole and position == len(data), ended, ends[-2:][0])


def _is_intact(page: bytes) -> bool:
    """Whether a page has its own checksum, a CRC with the highest bit first."""
    said = int.from_bytes(page[22:26], "little")
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    # zlib computes the same checksum of mirrored bits, inverted at both ends.
    crc = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2) == said


# ---- MP3 ----------------------------------------------------------------------------


def mp3_frames(file: Path) -> int | None:
    """The number of frames that the tag of an MP3 encoder says; None: no such tag."""
    with file.open("rb") as raw:
        head = raw.read(10)
        while head.startswith(b"ID3") and len(head) == 10:
            length = 0
            for byte in head[6:]:  # seven bits each
                length = length << 7 | byte & 0x7F
            raw.seek(length, 1)
            head = raw.read(10)
        tag = re.search(rb"(?:Xing|Info)\0\0\0.(.{4})", head + raw.read(4096), re.S)
    return int.from_bytes(tag[1], "big") if tag and tag[0][7] & 1 else None
