"""What every model promises; all that separate, train, evaluate and export rely on.

    forward(mixture (batch, channels, samples)) -> (batch, stems, channels, samples)

for any length from one sample on; same length, dtype and device out; the input stays as
it is; no loss, no printing, nothing written to the model. A model is an nn.Module with
this forward and with a frozen `config`; there is no base class to inherit from.

A model may have `prepare(excerpts)` too, which is called once before it is trained:
Open-Unmix takes the mean and the deviation of every bin from these training mixtures.

A config may have a `segment_limit` too, seconds: no chunk in inference is longer, as
the model was never shown more at once. HTDemucs has one. It may have a
`stem_bandwidth_hz`, above which the stems are empty. Spleeter has one; Open-Unmix has
none: its networks read the lower bins only, but write them all.
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, MssEduWarning, check_range, message


class ModelConfig(Protocol):
    """The part of a model's config that every model has."""

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""

    @property
    def sample_rate(self) -> int:
        """Hz, of mixture and estimate."""

    @property
    def channels(self) -> int:
        """Of mixture and of each estimate."""

    @property
    def segment(self) -> float:
        """Seconds of a chunk in inference, unless the user says otherwise."""


def config_of(model: nn.Module) -> ModelConfig:
    """The model's config; an InputError if the model follows another contract."""
    config = getattr(model, "config", None)
    wanted = ("stems", "sample_rate", "channels", "segment")
    lacking = [name for name in wanted if not hasattr(config, name)]
    if lacking:
        got = f"{type(model).__name__} without {', '.join(lacking)}"
        remedy = "Give it a frozen dataclass named config, as in mssedu.models."
        raise InputError(
            message("model", "a config with " + ", ".join(wanted), got, remedy)
        )
    return cast(ModelConfig, config)


def grouping_of(model: nn.Module) -> tuple[str, ...]:
    """What each stem of the model is made of, as in `mssedu.models.stems`.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> grouping_of(create_model("spleeter", "tiny", stems=["band=-vocals"]))
        ('band=-vocals',)
    """
    stems = tuple(config_of(model).stems)
    return tuple(getattr(model, "grouping", stems))


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are; the CPU if it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """While open, the model is in eval mode; then every part gets its own mode back."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def segment_limit(config: ModelConfig) -> float | None:
    """Seconds of the longest chunk that a model is for; None if any will do."""
    return getattr(config, "segment_limit", None)


def stem_bandwidth_hz(config: ModelConfig) -> float:
    """Highest frequency in a model's stems, Hz: that of its rate, if it states none."""
    return min(getattr(config, "stem_bandwidth_hz", math.inf), config.sample_rate / 2)


def chunk_seconds(
    config: ModelConfig, segment: float | None, *, strict: bool = False
) -> float:
    """Seconds of a chunk: as asked for, as far as the model can take it.

    Args:
        segment: seconds, > 0; the model's own if None.
        strict: more than the model was trained with is an error; else it is announced
            by a warning, and the limit taken.

    Raises:
        InputError: not > 0, or longer than trained and `strict`.
    """
    if segment is None:
        return config.segment
    check_range("segment", segment, 0, low_open=True)
    limit = segment_limit(config)
    if limit is None or segment <= limit:
        return segment
    if strict:
        remedy = "Choose a shorter one; overlapping chunks cover a song of any length."
        wanted = f"a segment of at most {limit:.1f} s, as trained"
        raise InputError(message("separate", wanted, f"{segment:.1f} s", remedy))
    text = f"segment: {segment:.1f} s > {limit:.1f} s trained; using {limit:.1f}"
    warnings.warn(text, MssEduWarning, stacklevel=3)
    return limit


def settle_segment(config: ModelConfig, options: dict[str, Any]) -> float:
    """Put the seconds of a chunk into options of `separate`, announced once for all.

    Args:
        options: segment and strict_segment as in `chunk_seconds`; changed in place.
    """
    strict = options.pop("strict_segment", False)
    options["segment"] = chunk_seconds(config, options.get("segment"), strict=strict)
    return options["segment"]


def prepare(model: nn.Module, excerpts: Iterable[Tensor]) -> None:
    """Let a model that has a `prepare` look at its training data; others need none.

    Args:
        excerpts: mixtures, (channels, samples) each; read only if the model wants them.
    """
    if hasattr(model, "prepare"):
        cast(Any, model).prepare(excerpts)
