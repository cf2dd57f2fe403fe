"""Read and resample long files in blocks, so that hours of audio need little memory.

    file ──read_blocks──▶ (channels, ≤ n) ──resample_blocks──▶ Reader ──▶ any chunk
                                                                            │ model
    file ◀──AudioWriter── blocks ◀──resample_blocks◀── (stems, channels, ≤ n)
                            └──▶ Spool ──▶ the same blocks once more

Each function returns the same samples as the function for whole files in
`mssedu.audio.tensors`: the length of the blocks changes memory and speed only.
Notebook: 12.
"""

import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.audio.containers import BLOCK, opened, probe
from mssedu.audio.files import file_sha256
from mssedu.audio.tensors import as_rows, from_rows, resampled_length
from mssedu.audio.writer import disk_errors
from mssedu.errors import InputError, check_range


@dataclass(frozen=True)
class Scan:
    """The measurements of a file, or of a part of it, by `scan`."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # length of the part, the same as load_audio returns
    total_samples: int  # length of the whole file
    peak: float  # largest absolute value of the part, without NaN and Inf
    n_nonfinite: int  # number of NaN and Inf values of the part, in all channels
    first_nonfinite: int | None  # first such sample of the part; None: all are finite
    sha256: str  # hash of the file's bytes
    damage: tuple[str, ...] = ()  # what was lost of the part, in words


def scan(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    stream: int = 0,
) -> Scan:
    """Measure an audio file, or a part of it; arguments and errors as `load_audio`."""
    samples, peak, n_nonfinite, first_nonfinite = 0, 0.0, 0, None
    with opened(path, start_seconds, duration_seconds, stream) as part:
        for block in part.blocks:
            finite = np.isfinite(block)
            if first_nonfinite is None and not finite.all():
                first_nonfinite = samples + int(finite.all(axis=0).argmin())
            n_nonfinite += int((~finite).sum())
            peak = max(peak, float(np.abs(np.where(finite, block, 0)).max()))
            samples += block.shape[1]
    to_end = duration_seconds is None
    return Scan(
        sample_rate=part.sample_rate,
        channels=part.channels,
        samples=samples,
        total_samples=part.first + samples if to_end else probe(path, stream)[2],
        peak=peak,
        n_nonfinite=n_nonfinite,
        first_nonfinite=first_nonfinite,
        sha256=file_sha256(path),
        damage=part.notes,
    )


def read_blocks(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    stream: int = 0,
    length: int = BLOCK,
) -> Iterator[Tensor]:
    """Read an audio file, or a part of it, block by block.

    The file is open from the first block to the last. Call close() on the iterator to
    close the file earlier. Errors are raised when the first block is read.

    Args:
        path, start_seconds, duration_seconds, stream: as `load_audio`, also its errors.
        length: samples of a block.

    Returns:
        float32 (channels, length), where the last block may be shorter.
    """
    with opened(path, start_seconds, duration_seconds, stream, length) as part:
        yield from map(torch.from_numpy, part.blocks)


def resample_blocks(
    blocks: Iterable[Tensor], from_rate: int, to_rate: int, samples: int
) -> Iterator[Tensor]:
    """Change the sample rate of audio that comes in blocks, as `mssedu.audio.resample`.

    Args:
        blocks: (…, n), all with the same leading axes.
        from_rate, to_rate: Hz; if they are equal, the blocks are returned unchanged.
        samples: number of samples of all blocks together.

    Returns:
        blocks (…, any number).

    Raises:
        InputError: as `resample`, or the blocks do not add up to `samples`.
    """
    check_range("from_rate", from_rate, 1)
    check_range("to_rate", to_rate, 1)
    if from_rate == to_rate:
        yield from blocks
        return
    check_range("samples", samples, 1)
    left, n_read = resampled_length(samples, from_rate, to_rate), 0
    stream = None
    for block in blocks:
        rows = np.ascontiguousarray(as_rows(block))
        if stream is None:
            channels, dtype = rows.shape[1], rows.dtype
            stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype=dtype, quality="VHQ"
            )
        n_read += len(rows)
        resampled = stream.resample_chunk(rows)
        left -= len(resampled)
        yield from_rows(resampled, block)
    if n_read != samples:
        raise InputError(
            f"samples = {samples}, but the blocks hold {n_read} samples together."
        )
    assert stream is not None
    resampled = stream.resample_chunk(rows[:0], last=True)
    # soxr rounds the length as we do. This makes sure of it.
    yield F.pad(from_rows(resampled, block), (0, left - len(resampled)))


class Reader:
    """Read any chunk of audio that comes in blocks; the chunks must move forward.

    Samples that no later chunk needs are removed from memory. A tensor in memory can be
    read in the same way and is not copied: `Reader([mixture])`. The blocks are (…, n).

    Example:
        >>> reader = Reader([torch.arange(5), torch.arange(5, 9)])
        >>> reader.read(1, 4), reader.read(3, 8)
        (tensor([1, 2, 3]), tensor([3, 4, 5, 6, 7]))
    """

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = iter(blocks)
        self._buffer: Tensor | None = None
        self._first = 0  # the sample of the stream at which _buffer begins

    def read(self, start: int, end: int, keep_from: int | None = None) -> Tensor:
        """The samples of the stream from `start` up to `end` (excluded).

        No later chunk starts before `keep_from` (None: `start`). Do not write to the
        result, (…, end - start): it may be a view of a block.
        """
        keep_from = start if keep_from is None else min(keep_from, start)
        assert self._first <= keep_from, "a reader moves forward"
        assert start <= end
        self._forget(keep_from)
        while self._buffer is None or self._first + self._buffer.shape[-1] < end:
            block = next(self._blocks, None)
            assert block is not None, "a chunk ends inside the stream"
            if self._buffer is not None:
                block = torch.cat([self._buffer, block], -1)
            self._buffer = block
            self._forget(keep_from)
        return self._buffer[..., start - self._first : end - self._first]

    def _forget(self, before: int) -> None:
        """Remove the samples before a sample of the stream from the buffer."""
        if self._buffer is not None:
            surplus = min(before - self._first, self._buffer.shape[-1])
            self._buffer = self._buffer[..., surplus:]
            self._first += surplus


class Spool:
    """A temporary file of float32 blocks, which can be read when all are written.

    An integer file needs one gain for all of its samples, but the largest peak may come
    last. So the blocks wait in this file, which takes 4 bytes per value. The file has
    no name in its folder: it disappears at the end of the `with` block, and also when
    the program is killed.

    Args:
        folder: a folder with enough free space.
        axes: sizes of the axes before samples, e.g. (stems, channels).

    Raises:
        AudioFileError: the file cannot be written.

    Example:
        >>> with Spool(".", (4, 2)) as spool:
        ...     spool.write(torch.ones(4, 2, 1000))
        ...     spool.write(torch.ones(4, 2, 500))
        ...     [block.shape[-1] for block in spool.blocks(600)]
        [600, 600, 300]
    """

    def __init__(self, folder: str | os.PathLike[str], axes: tuple[int, ...]) -> None:
        self.samples = 0  # written so far
        self._folder, self._axes, self._width = Path(folder), axes, math.prod(axes)
        self._place = f"a temporary file in {self._folder.absolute()}"

    def __enter__(self) -> Self:
        with disk_errors(self._place, self._folder):
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk; the data is not needed any more
            self._file.close()

    def write(self, block: Tensor) -> None:
        """Append a float32 block (*axes, n)."""
        assert block.shape[:-1] == self._axes, "one shape for all blocks"
        assert block.dtype == torch.float32
        with disk_errors(self._place, self._folder):
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.ascontiguousarray(as_rows(block)).data)
            self._file.flush()
        self.samples += block.shape[-1]

    def blocks(self, length: int = BLOCK) -> Iterator[Tensor]:
        """All samples as blocks (*axes, length); the last block may be shorter."""
        check_range("length", length, 1)
        for start in range(0, self.samples, length):
            n = min(length, self.samples - start)
            self._file.seek(start * self._width * 4)
            data = self._file.read(n * self._width * 4)
            columns = np.frombuffer(data, np.float32).reshape(n, *self._axes)
            yield torch.from_numpy(np.moveaxis(columns, 0, -1).copy(order="C"))
