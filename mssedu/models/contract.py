"""What every model promises; separation, training, evaluation and export need no more.

    forward(mixture (batch, channels, samples)) -> (batch, stems, channels, samples)

The mixture may have any length from one sample on. The estimate has the same length,
dtype and device. A forward does not change its input, computes no loss, prints nothing
and writes no attribute of the model. A model is an nn.Module with this forward and with
a frozen `config`; there is no base class to inherit from.

A model may also have the method `prepare(excerpts)`, which training calls once before
the first step: Open-Unmix computes the mean and the deviation of every bin in it.

Its authors also compared magnitudes, not sound, in training. So it has the method
`magnitudes(mixture)`, whose result is (batch, stems, channels, bins, frames), and the
method `magnitude(audio)`, which gives the magnitudes of a reference with the same STFT.
The loss magnitude_mse uses both, and no inverse STFT is computed.

A config may also have

    segment_limit       seconds; inference uses no longer chunk, because the model was
                        never trained on one. HTDemucs has such a limit.
    stem_bandwidth_hz   above this frequency the stems are empty. Spleeter has it.
                        Open-Unmix has none: its networks read the lower bins only, but
                        they write all bins.
"""

import math
import reprlib
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from types import MappingProxyType
from typing import (
    Any,
    Literal,
    Protocol,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, MssEduWarning, SetupError, check_name, check_range

# No experiment comes near these; a damaged or hostile config does.
LARGEST = {"sample_rate": 10**6, "channels": 64, "segment": 3600}  # Hz, count, seconds
MOST_STEMS = 100
LONGEST = 100  # characters of a name
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # controls, half characters, line ends
KINDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: f"a text of at most {LONGEST} characters",
    tuple[int, ...]: "a tuple of whole numbers",
}


class ModelConfig(Protocol):
    """The part of a model's config that every model has."""

    @property
    def stems(self) -> tuple[str, ...]: ...  # names of the outputs, in order
    @property
    def sample_rate(self) -> int: ...  # of the mixture and of the estimate, Hz
    @property
    def channels(self) -> int: ...  # of the mixture and of each stem
    @property
    def segment(self) -> float: ...  # seconds of a chunk, if the user sets no other


def check_config(
    config: ModelConfig, largest: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Raise InputError unless every field has its type and is not absurdly large.

    The types are those of the annotations. The smallest value of a field often depends
    on others, so each model checks it; the largest keeps a mistyped or hostile config
    from building layers for hours.

    Args:
        config: of a model; it has at least the fields of `ModelConfig`.
        largest: the largest value of each other field that is a number, or that is a
            tuple of numbers.
    """
    _check_stems(config.stems)
    kinds = get_type_hints(type(config))
    largest = {**LARGEST, **largest}
    for name, value in vars(config).items():
        _check_kind(name, value, kinds.get(name, float if name in largest else object))
        for number in value if isinstance(value, tuple) else (value,):
            if name in largest and not -1e15 < number <= largest[name]:
                raise InputError(
                    f"{name} must be at most {largest[name]}, got {shown(number)}."
                )
    check_range("sample_rate", config.sample_rate, 1)
    check_range("channels", config.channels, 1)
    if "segment" in vars(config):  # of Spleeter, it follows from other fields
        check_range("segment", config.segment, 0, low_open=True)


def _check_stems(stems: Any) -> None:
    is_names = isinstance(stems, tuple) and all(isinstance(s, str) and s for s in stems)
    if not is_names or not stems or len(set(stems)) < len(stems):
        raise InputError(
            f"stems must be a tuple of different names, got {shown(stems)}. "
            'Write ("vocals", "other"), or ("vocals",) for a single stem.'
        )
    check_range("len(stems)", len(stems), 1, MOST_STEMS)
    for stem in stems:
        if not _can_name_files(stem):
            raise InputError(
                f"stems: {shown(stem)} cannot name files. A stem has at most {LONGEST} "
                "characters, none of them / or \\ or a control character, and not only "
                "dots. Choose another name."
            )


def _can_name_files(stem: str) -> bool:
    if len(stem) > LONGEST or not stem.strip(" ."):
        return False
    return not any(x in "/\\" or unicodedata.category(x) in UNPRINTABLE for x in stem)


def _check_kind(name: str, value: object, kind: Any) -> None:
    """Raise InputError unless a value has the type of its field's annotation."""
    parts = get_args(kind)
    if get_origin(kind) is Literal and isinstance(value, str):
        check_name(name, value[:LONGEST], parts)
    if not _is_of_kind(value, kind):
        wanted = f"one of {', '.join(map(repr, parts))}"
        if get_origin(kind) is not Literal:
            wanted = KINDS.get(kind, "of another type")
        raise InputError(f"{name} must be {wanted}, got {shown(value)}.")


def _is_of_kind(value: object, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple:  # such as tuple[int, ...]
        return isinstance(value, tuple) and all(_is_of_kind(v, parts[0]) for v in value)
    if origin is Literal:
        return value in parts
    if parts:  # such as float | None
        return any(_is_of_kind(value, part) for part in parts)
    if kind in (int, float):  # True is an int in Python, but no number of layers
        numbers = Integral if kind is int else Real
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is str and len(str(value)) > LONGEST)


def shown(value: object) -> str:
    """A value for a message: as Python writes it, but short, however large it is.

    Example:
        >>> shown([*range(1000)]), shown(10**5000)
        ('[0, 1, 2, 3, 4, 5, ...]', 'a number of more than 4300 digits')
    """
    plain = str | int | float | list | tuple | dict | None
    if not isinstance(value, plain):
        return f"a {type(value).__name__}"
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no longer ones
        return "a number of more than 4300 digits"


def check_stft(n_fft: int, hop_length: int) -> None:
    """Raise InputError unless an STFT of these sizes has an inverse.

    A Hann window is zero at its ends, so two windows must cover every sample.
    """
    if n_fft < 2 or n_fft % 2:
        raise InputError(f"n_fft must be even and at least 2, got {n_fft}.")
    check_range("hop_length", hop_length, 1, n_fft // 2)


def check_odd(name: str, size: int) -> None:
    """Raise InputError unless a kernel has a middle: its size is odd and at least 1."""
    if size < 1 or size % 2 == 0:
        raise InputError(
            f"{name} must be odd and at least 1, got {size}: the kernel needs a middle."
        )


def config_of(model: nn.Module) -> ModelConfig:
    """The model's config; InputError if it has none, or one that lacks a field."""
    config = getattr(model, "config", None)
    fields = ("stems", "sample_rate", "channels", "segment")
    lacking = [name for name in fields if not hasattr(config, name)]
    if lacking:
        raise InputError(
            f"the config of the model {type(model).__name__} lacks "
            f"{', '.join(lacking)}. Give the model a frozen dataclass config with them."
        )
    return cast(ModelConfig, config)


def grouping_of(model: nn.Module) -> tuple[str, ...]:
    """What each stem of the model consists of, as in `mssedu.models.stems`.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> grouping_of(create_model("spleeter", "tiny", stems=["band=-vocals"]))
        ('band=-vocals',)
    """
    return tuple(getattr(model, "grouping", config_of(model).stems))


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights; the CPU if it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def pick_device(name: str) -> torch.device:
    """The device with this name; for "auto" the first available of cuda, mps, cpu.

    Raises:
        InputError: an unknown kind of device.
        SetupError: a kind of device that this machine or this torch lacks.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    available = {"cuda": cuda, "mps": mps, "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = name.split(":")[0]  # of "cuda:1"
    check_name("device", kind, ["auto", *available])
    if not available[kind]:
        raise SetupError(
            f"torch has no {kind} device here. Run `mssedu doctor` to see why, or use "
            "the device 'auto'."
        )
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"unknown device {name!r}. Write {kind}, or {kind}:0 for the first one."
        ) from error


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; after it, every part has its former mode again."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def segment_limit(config: ModelConfig) -> float | None:
    """Seconds of the longest chunk for this model; None if any length is fine."""
    return getattr(config, "segment_limit", None)


def stem_bandwidth_hz(config: ModelConfig) -> float:
    """Highest frequency in a model's stems, Hz: half the sample rate by default."""
    return min(getattr(config, "stem_bandwidth_hz", math.inf), config.sample_rate / 2)


def chunk_seconds(
    config: ModelConfig, segment: float | None, *, strict: bool = False
) -> float:
    """Seconds of a chunk: what the user asked for, up to the limit of the model.

    Args:
        segment: seconds, > 0; None for the model's own segment.
        strict: raise InputError for a segment above the limit; otherwise a
            MssEduWarning says so, and the limit is returned.

    Example:
        >>> from mssedu.models.registry import model_config
        >>> chunk_seconds(model_config("htdemucs"), 5.0)
        5.0
    """
    if segment is None:
        return config.segment
    check_range("segment", segment, 0, low_open=True)
    limit = segment_limit(config)
    if limit is None or segment <= limit:
        return segment
    trained = f"this model was trained with at most {limit:.1f} s"
    too_long = f"segment is {segment:.1f} s, and {trained}"
    if strict:
        raise InputError(f"{too_long}. Overlapping chunks cover a song of any length.")
    warnings.warn(f"{too_long}; using {limit:.1f} s", MssEduWarning, stacklevel=3)
    return limit


def prepare(model: nn.Module, excerpts: Iterable[Tensor]) -> None:
    """Call the model's `prepare`, if it has one, with mixtures (channels, samples)."""
    if hasattr(model, "prepare"):
        cast(Any, model).prepare(excerpts)
