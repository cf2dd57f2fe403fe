"""Audio as a stream of blocks, so that hours of it fit into little memory.

    file ──read_blocks──▶ (channels, ≤ n) ──resample_blocks──▶ Reader ──▶ any chunk
                                                                            │ model
    file ◀──AudioWriter── blocks ◀──resample_blocks◀── (stems, channels, ≤ n)
                            └──▶ Spool ──▶ the same blocks once more

Every part gives sample for sample what its whole-file twin in `mssedu.audio` gives:
how the audio is cut into blocks changes memory and speed only. `scan` looks at a file
before the work begins; `Spool` keeps results until all of them are known.
Notebook: 12.
"""

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mssedu.audio.containers import BLOCK, opened
from mssedu.audio.tensors import audio_info, resampled_length
from mssedu.errors import AudioFileError, InputError, check_range, message

__all__ = [
    "Reader",
    "Scan",
    "Spool",
    "read_blocks",
    "resample_blocks",
    "scan",
]


@dataclass(frozen=True)
class Scan:
    """What `scan` finds in a file, or in a part of it."""

    sample_rate: int  # Hz
    channels: int
    samples: int  # of the part, exactly what load_audio returns
    total_samples: int  # of the whole file
    peak: float  # largest absolute value of the part, NaN and Inf left out
    n_nonfinite: int  # NaN and Inf values of the part, all channels counted
    first_nonfinite: int | None  # sample of the part; None: all are finite
    sha256: str  # of the file's bytes


def scan(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    stream: int = 0,
) -> Scan:
    """Look through an audio file, or a part of it, without keeping it in memory.

    Args:
        path, start_seconds, duration_seconds, stream: as `mssedu.audio.load_audio`.

    Raises:
        AudioFileError, InputError: as `load_audio`.
    """
    samples, peak, n_nonfinite, first_nonfinite = 0, 0.0, 0, None
    with opened(
        "scan",
        path,
        stream=stream,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
    ) as part:
        for block in part.blocks:
            finite = np.isfinite(block)
            if not finite.all():
                if first_nonfinite is None:
                    first_nonfinite = samples + int(finite.all(axis=0).argmin())
                n_nonfinite += int((~finite).sum())
            peak = max(peak, float(np.abs(np.where(finite, block, 0)).max()))
            samples += block.shape[1]
    total = part.first + samples
    if duration_seconds is not None:
        total = audio_info(path, stream=stream).samples
    with Path(path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    rate, channels = part.sample_rate, part.channels
    found = (peak, n_nonfinite, first_nonfinite, sha256)
    return Scan(rate, channels, samples, total, *found)


def read_blocks(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    stream: int = 0,
    length: int = BLOCK,
) -> Iterator[Tensor]:
    """Read an audio file, or a part of it, block by block.

    The file is open from the first block to the last; close() on the iterator closes it
    earlier. Errors come when the first block is asked for.

    Args:
        path, start_seconds, duration_seconds, stream: as `mssedu.audio.load_audio`.
        length: samples of a block.

    Returns:
        float32 (channels, length), the last one shorter; one behind the other they are
        what `load_audio` returns.

    Raises:
        AudioFileError, InputError: as `load_audio`.
    """
    with opened(
        "read_blocks",
        path,
        stream=stream,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        length=length,
    ) as part:
        yield from map(torch.from_numpy, part.blocks)


def resample_blocks(
    blocks: Iterable[Tensor], from_rate: int, to_rate: int, samples: int
) -> Iterator[Tensor]:
    """Change the sample rate of audio that comes in blocks.

    Args:
        blocks: float32 or float64 (…, n), all with the same leading axes.
        from_rate, to_rate: Hz; if they are equal, the blocks come back as they are.
        samples: of all blocks together.

    Returns:
        blocks (…, any number), one behind the other what `mssedu.audio.resample` makes
        of the whole.

    Raises:
        InputError: a rate below 1 Hz, another dtype, or not as many samples as told.
    """
    where = "resample_blocks"
    check_range("from_rate", from_rate, 1)
    check_range("to_rate", to_rate, 1)
    if from_rate == to_rate:
        yield from blocks
        return
    check_range("samples", samples, 1)
    left, given = resampled_length(samples, from_rate, to_rate), 0
    stream = None
    for block in blocks:
        rows = _rows(where, block)
        if stream is None:
            channels, dtype = rows.shape[1], rows.dtype
            stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype=dtype, quality="VHQ"
            )
        given += len(rows)
        done = stream.resample_chunk(rows)
        left -= len(done)
        yield _like(block, done)
    if given != samples:
        remedy = "Count the samples of all blocks first."
        raise InputError(message(where, f"{samples} samples in all", given, remedy))
    assert stream is not None
    done = stream.resample_chunk(rows[:0], last=True)
    # soxr rounds as we do; should it ever be one off, the length is as promised.
    yield F.pad(_like(block, done), (0, left - len(done)))


class Reader:
    """Any chunk of audio that comes in blocks, as long as chunks move forward.

    What no later chunk can need is forgotten. Works on a tensor in memory as well,
    without copying it: `Reader([mixture])`.

    Args:
        blocks: (…, n), all with the same leading axes.

    Example:
        >>> reader = Reader([torch.arange(5), torch.arange(5, 9)])
        >>> reader.read(1, 4), reader.read(3, 8)
        (tensor([1, 2, 3]), tensor([3, 4, 5, 6, 7]))
    """

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = iter(blocks)
        self._held: Tensor | None = None
        self._first = 0  # sample of the stream where _held begins

    def read(self, start: int, end: int, keep_from: int | None = None) -> Tensor:
        """The samples from `start` to before `end`, (…, end - start), for looking only.

        Args:
            start, end: samples from the stream's beginning; end inside the stream.
            keep_from: later chunks will start here or behind; `start` if None.
        """
        keep_from = start if keep_from is None else min(keep_from, start)
        assert self._first <= keep_from, "a reader moves forward"
        assert start <= end
        self._forget(keep_from)
        while self._held is None or self._first + self._held.shape[-1] < end:
            block = next(self._blocks, None)
            assert block is not None, "a chunk ends inside the stream"
            if self._held is not None:
                block = torch.cat([self._held, block], -1)
            self._held = block
            self._forget(keep_from)
        return self._held[..., start - self._first : end - self._first]

    def _forget(self, before: int) -> None:
        """Drop what lies before a sample of the stream, as far as it is there."""
        if self._held is not None:
            surplus = min(before - self._first, self._held.shape[-1])
            self._held = self._held[..., surplus:]
            self._first += surplus


class Spool:
    """A temporary file of float32 blocks, read back when all of them are known.

    An integer file needs one gain for all of its samples, and the peak that decides on
    it may come last. The file has no name that others could see: it is gone when the
    spool is left, and when the program is killed. It takes 4 bytes per value.

    Args:
        folder: where there is room for it.
        axes: sizes of the axes before samples, e.g. (stems, channels).

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

    def __enter__(self) -> Self:
        with self._errors_told():
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of a full disk; nothing is kept anyway
            self._file.close()

    def write(self, block: Tensor) -> None:
        """Append a float32 block (*axes, n).

        Raises:
            AudioFileError: the disk is full, or else refuses.
        """
        assert block.shape[:-1] == self._axes, "one shape for all blocks"
        assert block.dtype == torch.float32
        with self._errors_told():
            self._file.seek(0, os.SEEK_END)
            self._file.write(_rows("Spool", block).data)
            self._file.flush()
        self.samples += block.shape[-1]

    def blocks(self, length: int = BLOCK) -> Iterator[Tensor]:
        """All that was written, as blocks (*axes, length); the last one is shorter.

        Raises:
            InputError: a length below 1.
        """
        check_range("length", length, 1)
        for start in range(0, self.samples, length):
            n = min(length, self.samples - start)
            self._file.seek(start * self._width * 4)
            data = self._file.read(n * self._width * 4)
            columns = np.frombuffer(data, np.float32).reshape(n, *self._axes)
            yield torch.from_numpy(np.moveaxis(columns, 0, -1).copy(order="C"))

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            wanted = f"room for a temporary file in {self._folder.absolute()}"
            remedy = "Free space on that disk, or choose another folder."
            raise AudioFileError(message("Spool", wanted, error, remedy)) from error


def _rows(where: str, block: Tensor) -> NDArray[Any]:
    """A float block (…, n) as an array (n, channels) in one piece."""
    if block.dtype not in (torch.float32, torch.float64):
        got = f"{block.dtype} {tuple(block.shape)}"
        remedy = "Convert with audio.float()."
        raise InputError(message(where, "float audio (…, samples)", got, remedy))
    channels = math.prod(block.shape[:-1])
    rows = block.detach().cpu().reshape(channels, block.shape[-1]).T
    return np.ascontiguousarray(rows.numpy())


def _like(block: Tensor, rows: NDArray[Any]) -> Tensor:
    """An array (n, channels) with the leading axes and on the device of a block."""
    columns = torch.from_numpy(np.ascontiguousarray(rows.T))
    return columns.reshape(*block.shape[:-1], len(rows)).to(block.device)
