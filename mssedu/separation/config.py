"""How to take a mixture apart: a frozen dataclass, from which the CLI makes its flags.

No torch in here, so that `mssedu separate --help` starts at once. `mssedu.separate` and
`mssedu.separate_file` take each field as an argument of that name.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from mssedu.errors import InputError, check_name, check_range, message
from mssedu.models.stems import stem_names

Window = Literal["triangle", "hann", "rectangle"]
Highs = Literal["zeros", "average", "mix_ratio"]
Consistency = Literal["none", "uniform", "energy"]
Other = Literal["minus", "add"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class SeparateConfig:
    """Settings of a separation.

    Raises:
        InputError: a value out of its range, or values that exclude each other.

    Example:
        >>> SeparateConfig(two_stems="vocals").overlap
        0.25
    """

    segment: float | None = None  # seconds of a chunk, inf: all at once; None: its own
    overlap: float = 0.25  # share of a chunk that the next covers too, 0 <= overlap < 1
    window: Window = "triangle"  # weight over a chunk; rectangle: no fading
    context: float = 0.0  # seconds around a chunk that the model hears and nobody keeps
    batch_size: int = 1  # chunks at once: changes speed and memory, not the result
    shifts: int = 0  # passes over chunks that lie elsewhere, by up to 0.5 s, averaged
    tta: bool = False  # average over channels swapped and polarity inverted: 3 x time
    wiener: int = 0  # EM steps of a multichannel Wiener filter on the estimates; 0: off
    highs: Highs = "zeros"  # above the model's bandwidth: nothing, or share of mixture
    consistency: Consistency = "none"  # make stems sum to the mixture: who gets more
    stems: tuple[str, ...] = ()  # only these, also instrumental=-vocals; all if empty
    two_stems: str | None = None  # this one and all the rest, as no_STEM
    other: Other = "minus"  # that rest: mixture - stem, or the sum of other stems
    precision: Precision = "float32"  # of matrix products and convolutions
    compile: bool = False  # by torch.compile: faster after a minute; needs a compiler
    strict_segment: bool = False  # a segment longer than trained: error, not shortened
    seed: int = 0  # of the shifts, and of a file's dither

    def __post_init__(self) -> None:
        where = "separate"
        if self.segment is not None:
            check_range("segment", self.segment, 0, low_open=True)
        check_range("overlap", self.overlap, 0, 1, high_open=True)
        check_name("window", self.window, get_args(Window))
        check_range("context", self.context, 0)
        check_range("batch_size", self.batch_size, 1)
        for name in ("shifts", "wiener", "seed"):
            check_range(name, getattr(self, name), 0)
        check_name("consistency", self.consistency, get_args(Consistency))
        check_name("highs", self.highs, get_args(Highs))
        check_name("other", self.other, get_args(Other))
        check_name("precision", self.precision, get_args(Precision))
        if self.stems:
            stem_names(self.stems)  # each can be read, and none comes twice
        if self.stems and self.two_stems:
            got = f"stems {self.stems} and two_stems {self.two_stems!r}"
            remedy = "two_stems names the stem already."
            raise InputError(message(where, "stems or two_stems", got, remedy))

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """A config of some fields by name; an InputError for a name that is none."""
        names = [field.name for field in fields(cls)]
        for name in settings:
            check_name("setting", name, names)
        return cls(**settings)
