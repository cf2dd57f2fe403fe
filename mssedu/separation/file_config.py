"""How a song is read and its stems are written: a frozen dataclass, and so CLI flags.

No torch in here, so that `mssedu separate --help` starts at once. Each field is an
argument of `mssedu.separate_file`, beside those of `SeparateConfig`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from mssedu.errors import InputError, check_name, check_range, message

Ext = Literal["wav", "flac", "ogg", "mp3"]
Subtype = Literal["int16", "int24", "float32"]
Exists = Literal["refuse", "skip", "overwrite"]
Clip = Literal["rescale", "clamp", "tanh", "none"]
Rate = Literal["input", "model"]
Nonfinite = Literal["refuse", "zero"]


@dataclass(frozen=True)
class FileConfig:
    """Settings for reading a song and writing its stems.

    Raises:
        InputError: a value that is unknown or out of its range.

    Example:
        >>> FileConfig(ext="flac").subtype
        'int16'
    """

    template: str = "{track}/{stem}.{ext}"  # path of a stem; also {trackext}, {model}
    ext: Ext = "wav"  # file format
    subtype: Subtype = "int16"  # of samples; float32 (wav) keeps values beyond ±1
    bitrate: int | None = None  # of mp3, kbit/s, constant; about 250, variable, if None
    exists: Exists = "refuse"  # if output is there: error, skip the track, or replace
    clip: Clip = "rescale"  # what ±1 cannot hold: one gain for all stems; cut; bend
    dither: bool = True  # noise of a step instead of rounding's distortion, int16
    start_seconds: float = 0.0  # begin here
    duration_seconds: float | None = None  # and take so much; to the end if None
    channels: tuple[int, ...] = ()  # take these, counted from 0; all if empty
    downmix: bool = False  # all channels to one, their mean
    keep_stereo: bool = False  # stereo stems of a mono song, if the model is stereo
    out_rate: Rate = "input"  # sample rate of the stems: the song's, or the model's
    nonfinite: Nonfinite = "refuse"  # NaN or Inf in the song: error, or zeros instead

    def __post_init__(self) -> None:
        where = "separate_file"
        check_name("ext", self.ext, get_args(Ext))
        check_name("subtype", self.subtype, get_args(Subtype))
        check_name("exists", self.exists, get_args(Exists))
        check_name("clip", self.clip, get_args(Clip))
        check_name("out_rate", self.out_rate, get_args(Rate))
        check_name("nonfinite", self.nonfinite, get_args(Nonfinite))
        check_range("start_seconds", self.start_seconds, 0)
        if self.duration_seconds is not None:
            seconds = self.duration_seconds
            check_range("duration_seconds", seconds, 0, low_open=True)
        if self.subtype == "float32" and self.ext != "wav":
            remedy = "Choose ext wav, or another subtype."
            wanted = "subtype float32 in wav files only"
            raise InputError(message(where, wanted, self.ext, remedy))
        if self.bitrate is not None:
            check_range("bitrate", self.bitrate, 1)
