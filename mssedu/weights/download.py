"""Where downloaded weights are kept, and how they get there.

`mssedu.audio.download` does the work: limits, going on after a break, checksums.
"""

from pathlib import Path

from mssedu.audio import download
from mssedu.audio.disk import cache_folder as cache_folder
from mssedu.audio.download import Progress
from mssedu.errors import CheckpointError, DownloadError


def fetch(
    address: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> str:
    """Download weights, unless they are there already; see `mssedu.audio.fetch`.

    Returns:
        the full sha256.

    Raises:
        CheckpointError: in place of a DownloadError.
    """
    try:
        return download.fetch(
            address, path, sha256=sha256, size=size, progress=progress
        )
    except DownloadError as error:
        raise CheckpointError(str(error)) from error
