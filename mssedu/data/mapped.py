"""A decoded copy of a file, of which any part is read at once.

`mssedu.data.cache` makes it, and a Track reads it.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssedu.errors import AudioFileError


@dataclass(frozen=True)
class CachedFile:
    """The decoded copy of a file; it can be sent to workers, and opens when read."""

    path: Path  # .npy of (channels, samples), int16 or float16
    dtype: str
    samples: int
    scale: float  # a stored value times this is the sample

    def read(self, out: NDArray[np.float32], first: int, factor: float = 1.0) -> None:
        """Write the samples from `first` on, times a factor, into (channels, length).

        An AudioFileError if the copy is not there any more, or is shorter.
        """
        try:
            with self.path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # np.load would take longer to look at the header than to read the samples.
            start = len(data) - 2 * len(out) * self.samples
            copy = np.frombuffer(data, self.dtype, offset=start).reshape(len(out), -1)
            values = copy[:, first : first + out.shape[-1]]
            np.multiply(values, self.scale * factor, out=out, dtype=np.float32)
        except (OSError, ValueError) as error:
            raise AudioFileError(
                f"{self.path}: the decoded copy cannot be read from sample {first} on: "
                f"{error}. Call mssedu.data.cached again."
            ) from error
