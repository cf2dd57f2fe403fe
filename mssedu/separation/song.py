"""A song on disk that is to be separated: looked through once, then read in blocks.

    file ─scan─▶ length, peak, NaN, hash
    file ─read_blocks─▶ pick channels ─▶ mono or stereo ─resample─▶ blocks
Notebook: 12.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from torch import Tensor

from mssedu.audio.stream import Scan, read_blocks, resample_blocks, scan
from mssedu.audio.tensors import match_channels, resampled_length
from mssedu.errors import InputError, check_range, message
from mssedu.separation.config import SeparateConfig
from mssedu.separation.file_config import FileConfig

LAYOUTS = {  # the custom of wav files: what the channels are, from 0 on
    3: "left, right, center",
    4: "left, right, back left, back right",
    6: "left, right, center, low frequencies, back left, back right",
    8: "left, right, center, low frequencies, back left and right, side left and right",
}


@dataclass(frozen=True)
class Song:
    """A file, or the part of it that is wanted; everything is checked, nothing kept."""

    path: Path
    files: FileConfig
    scan: Scan
    channels: int  # after some were picked

    @classmethod
    def open(cls, path: Path, files: FileConfig) -> Self:
        """Look through a file.

        Raises:
            AudioFileError: no such file, or nothing that can be decoded.
            InputError: NaN or Inf in it, or channels that no model takes.
        """
        found = scan(
            path,
            start_seconds=files.start_seconds,
            duration_seconds=files.duration_seconds,
        )
        if found.first_nonfinite is not None and files.nonfinite == "refuse":
            first = found.first_nonfinite
            got = f"{found.n_nonfinite} NaN or Inf values, the first at sample {first} "
            got += f"({first / found.sample_rate:.3f} s)"
            remedy = "Find out their origin, or make them zeros with nonfinite='zero'."
            raise InputError(message(str(path), "finite samples", got, remedy))
        return cls(path, files, found, _channels(path, found.channels, files))

    def length(self, sample_rate: int) -> int:
        """Samples at another rate."""
        return resampled_length(self.scan.samples, self.scan.sample_rate, sample_rate)

    def seeded(self, config: SeparateConfig) -> SeparateConfig:
        """With a seed of its own, as not all songs should get the same shifts."""
        return replace(config, seed=config.seed ^ int(self.scan.sha256[:8], 16))

    def blocks(self, sample_rate: int, channels: int) -> Iterator[Tensor]:
        """The song in blocks (channels, n), at a sample rate in Hz."""
        blocks = read_blocks(
            self.path,
            start_seconds=self.files.start_seconds,
            duration_seconds=self.files.duration_seconds,
        )
        formed = (match_channels(self._picked(block), channels) for block in blocks)
        rate, samples = self.scan.sample_rate, self.scan.samples
        yield from resample_blocks(formed, rate, sample_rate, samples)

    def _picked(self, block: Tensor) -> Tensor:
        if self.scan.n_nonfinite:
            block = block.nan_to_num(0, 0, 0)
        if self.files.channels:
            block = block[list(self.files.channels)]
        return block.mean(0, keepdim=True) if self.files.downmix else block


def _channels(path: Path, channels: int, files: FileConfig) -> int:
    """How many are left of the file's channels; an InputError if too many."""
    for channel in files.channels:
        check_range("channels", channel, 0, channels - 1, where=str(path))
    if files.downmix:
        return 1
    channels = len(files.channels) or channels
    if channels > 2:
        layout = f" ({LAYOUTS[channels]}, by custom)" if channels in LAYOUTS else ""
        remedy = "Take two of them by channels=(0, 1), or the mean of all by downmix."
        got = f"{channels} channels{layout}"
        raise InputError(message(str(path), "mono or stereo", got, remedy))
    return channels
