"""Which parts of which songs are heard in a listening test, as flags of the shell.

No torch in here, so that `mssedu listen --help` starts at once. Notebook: 13.
"""

from dataclasses import dataclass
from pathlib import Path

from mssedu.errors import InputError, check_range, message


@dataclass(frozen=True)
class Excerpts:
    """Songs, stems and length of the excerpts.

    Raises:
        InputError: no stems, or a number out of its range.

    Example:
        >>> Excerpts(seconds=5.0).stems
        ('vocals',)
    """

    data: Path | None = None  # songs with true stems; without them no reference
    split: str | None = None  # train, valid or test; all songs if not given
    tracks: int | None = None  # only so many songs
    stems: tuple[str, ...] = ("vocals",)  # which to judge
    seconds: float = 8.0  # length; the loudest part is taken
    template: str = "{track}/{stem}.wav"  # where in a run a stem lies

    def __post_init__(self) -> None:
        check_range("seconds", self.seconds, 0, low_open=True)
        if self.tracks is not None:
            check_range("tracks", self.tracks, 1)
        if not self.stems:
            remedy = "Name at least one."
            raise InputError(message("listen create", "stems", "none", remedy))
