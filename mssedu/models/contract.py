"""What every model promises; separation, training, evaluation and export need no more.

    forward(mixture (batch, channels, samples)) -> (batch, stems, channels, samples)

The mixture may have any length from one sample on. The estimate has the same length,
dtype and device. A forward does not change its input, computes no loss, prints nothing
and writes no attribute of the model. A model is an nn.Module with this forward and with
a frozen `config`; there is no base class to inherit from.

A model may also have the method `prepare(excerpts)`, which training calls once before
the first step: Open-Unmix computes the mean and the deviation of every bin in it.

A config may also have

    segment_limit       seconds; inference uses no longer chunk, because the model was
                        never trained on one. HTDemucs has such a limit.
    stem_bandwidth_hz   above this frequency the stems are empty. Spleeter has it.
                        Open-Unmix has none: its networks read the lower bins only, but
                        they write all bins.
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, MssEduWarning, SetupError, check_name, check_range


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


def check_config(config: ModelConfig) -> None:
    """Raise InputError unless the fields that all models share make sense."""
    stems = config.stems
    is_names = isinstance(stems, tuple) and all(isinstance(s, str) and s for s in stems)
    if not is_names or not stems or len(set(stems)) < len(stems):
        raise InputError(
            f"stems must be a tuple of different names, got {stems!r}. "
            'Write ("vocals", "other"), or ("vocals",) for a single stem.'
        )
    check_range("sample_rate", config.sample_rate, 1)
    check_range("channels", config.channels, 1)
    check_range("segment", config.segment, 0, low_open=True)


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
