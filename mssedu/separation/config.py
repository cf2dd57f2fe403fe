"""Every option of a separation: name, default, allowed values and help text.

`SeparateConfig` holds the options of `mssedu.separate`, and `FileConfig` those that
`mssedu.separate_file` has in addition. Each is made of two groups, because
`mssedu separate --help` shows one box per group: the flags of the command are made from
these dataclasses, and the comment above a field is the help text of its flag.

This file imports no torch, so that `mssedu separate --help` starts at once.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

from mssedu.errors import InputError, check_name, check_range
from mssedu.models.stems import stem_names

Window = Literal["triangle", "hann", "rectangle"]
Highs = Literal["zeros", "average", "mix_ratio"]
Consistency = Literal["none", "uniform", "energy"]
Other = Literal["minus", "add"]
Precision = Literal["float32", "bfloat16", "float16"]

Nonfinite = Literal["refuse", "zero"]
Ext = Literal["wav", "flac", "ogg", "mp3"]
Subtype = Literal["int16", "int24", "float32"]
Exists = Literal["refuse", "skip", "overwrite"]
Clip = Literal["rescale", "clamp", "tanh", "none"]
Rate = Literal["input", "model"]


@dataclass(frozen=True)
class QualityOptions:
    """Options that change the estimate."""

    # chunk length in seconds (None: the model's training length, inf: whole song)
    segment: float | None = None
    # share of a chunk that the next chunk covers too, 0 <= overlap < 1
    overlap: float = 0.25
    # weight of the samples of a chunk; "rectangle" does not fade one into the next
    window: Window = "triangle"
    # seconds before and after a chunk that the model reads too, and that are cut off
    context: float = 0.0
    # number of passes over the song, each with chunks moved by up to 0.5 s, which are
    # averaged (0: one pass, not moved)
    shifts: int = 0
    # average three estimates: of the mixture as it is, with its channels swapped, and
    # with its polarity inverted; this takes 3 times as long
    tta: bool = False
    # number of EM steps of a multichannel Wiener filter on the estimates (0: no filter)
    wiener: int = 0
    # content above the model's bandwidth: "zeros", or a share of the mixture, which
    # follows the "average" mask below the bandwidth or the "mix_ratio" of the stems
    highs: Highs = "zeros"
    # how the remainder (mixture - sum of stems) is shared among the stems: "uniform"
    # shares it equally, "energy" by their energy, "none" not at all
    consistency: Consistency = "none"
    # stems to return, also sums and differences such as instrumental=-vocals (empty:
    # all stems of the model)
    stems: tuple[str, ...] = ()
    # one stem to return, together with the remainder, which is named no_STEM
    two_stems: str | None = None
    # the remainder of two_stems: mixture - stem ("minus"), or the sum of the other
    # stems ("add")
    other: Other = "minus"
    # raise an error for a segment longer than the model allows; else it is shortened
    strict_segment: bool = False
    # seed of the random shifts, and of the dither in files
    seed: int = 0


@dataclass(frozen=True)
class SpeedOptions:
    """Options that change time and memory, and the estimate by rounding at most."""

    # number of chunks that are computed at once; more need more memory
    batch_size: int = 1
    # number format of matrix products and convolutions
    precision: Precision = "float32"
    # compile the model with torch.compile, which takes minutes and needs a C++ compiler
    compile: bool = False


@dataclass(frozen=True)
class SeparateConfig(SpeedOptions, QualityOptions):  # fields: quality, then speed
    """All options of `mssedu.separate`.

    Raises:
        InputError: a value out of its range, or values that exclude each other.

    Example:
        >>> SeparateConfig(two_stems="vocals").overlap
        0.25
    """

    def __post_init__(self) -> None:
        _check_choices(self)
        if self.segment is not None:
            check_range("segment", self.segment, 0, low_open=True)
        check_range("overlap", self.overlap, 0, 1, high_open=True)
        check_range("context", self.context, 0, math.inf, high_open=True)
        for name in ("shifts", "wiener", "seed"):
            check_range(name, getattr(self, name), 0)
        if self.stems:
            stem_names(self.stems)  # an InputError for a stem without sense, or twice
        if self.stems and self.two_stems:
            raise InputError(
                f"stems {self.stems} and two_stems {self.two_stems!r} exclude each "
                "other: two_stems already chooses what is returned. Leave one out."
            )
        check_range("batch_size", self.batch_size, 1)


@dataclass(frozen=True)
class InputOptions:
    """Options for reading the song."""

    # where to start in the song, in seconds
    start_seconds: float = 0.0
    # how much to separate, in seconds (None: to the end)
    duration_seconds: float | None = None
    # channels of the file to use, counted from 0 (empty: all of them)
    channels: tuple[int, ...] = ()
    # mix all channels down to one, their mean
    downmix: bool = False
    # NaN and Inf in the song: "refuse" the song, or replace them by "zero"
    nonfinite: Nonfinite = "refuse"


@dataclass(frozen=True)
class OutputOptions:
    """Options for writing the stems."""

    # path of each stem below the output folder; {track}, {stem}, {ext}, {model} and
    # also {trackext}, the format of the song, are replaced
    template: str = "{track}/{stem}.{ext}"
    # file format of the stems
    ext: Ext = "wav"
    # number format of the samples; float32 (wav only) can hold values beyond ±1
    subtype: Subtype = "int16"
    # bit rate of mp3 in kbit/s (None: a variable rate of about 250 kbit/s)
    bitrate: int | None = None
    # what to do if the stems exist: "refuse" with an error, "skip" the song,
    # or "overwrite" them
    exists: Exists = "refuse"
    # samples beyond ±1: "rescale" all stems by one gain, "clamp" them, or "tanh" them;
    # with "none", they are an error
    clip: Clip = "rescale"
    # add noise of one step before rounding to int16, so that the rounding error is
    # noise and no distortion
    dither: bool = True
    # write stereo stems for a mono song, if the model is stereo
    keep_stereo: bool = False
    # sample rate of the stems: that of the "input" song, or that of the "model"
    out_rate: Rate = "input"


@dataclass(frozen=True)
class FileConfig(OutputOptions, InputOptions):  # fields: input, then output
    """Options that `mssedu.separate_file` has beside those of `SeparateConfig`.

    Raises:
        InputError: a value that is unknown or out of its range.

    Example:
        >>> FileConfig(ext="flac").subtype
        'int16'
    """

    def __post_init__(self) -> None:
        _check_choices(self)
        check_range("start_seconds", self.start_seconds, 0, math.inf, high_open=True)
        if (seconds := self.duration_seconds) is not None:
            name, inf = "duration_seconds", math.inf
            check_range(name, seconds, 0, inf, low_open=True, high_open=True)
        if self.subtype == "float32" and self.ext != "wav":
            raise InputError(
                f"subtype float32 is for wav files only, and ext is {self.ext}. Choose "
                "ext wav, or another subtype."
            )
        if self.bitrate is not None:
            check_range("bitrate", self.bitrate, 1)
            if self.ext != "mp3":
                raise InputError(
                    f"bitrate {self.bitrate} is for mp3 files only, and ext is "
                    f"{self.ext}. Choose ext mp3, or leave bitrate out."
                )


def _check_choices(options: Any) -> None:
    """Raise InputError for a field that has none of the values its type lists."""
    for field in fields(options):
        if get_origin(field.type) is Literal:
            check_name(field.name, getattr(options, field.name), get_args(field.type))
