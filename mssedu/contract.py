"""What every model promises; all that separate, train, evaluate and export rely on.

    forward(mixture (batch, channels, samples)) -> (batch, stems, channels, samples)

for any length from one sample on; same length, dtype and device out; the input stays as
it is; no loss, no printing, nothing written to the model. A model is an nn.Module with
this forward and with a frozen `config`; there is no base class to inherit from.

A model may have `prepare(excerpts)` too, which is called once before it is trained:
Open-Unmix takes the mean and the deviation of every bin from these training mixtures.
"""

from collections.abc import Iterable
from typing import Any, Protocol, cast

from torch import Tensor, nn

from mssedu.checks import InputError, message


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


def prepare(model: nn.Module, excerpts: Iterable[Tensor]) -> None:
    """Let a model that has a `prepare` look at its training data; others need none.

    Args:
        excerpts: mixtures, (channels, samples) each; read only if the model wants them.
    """
    if hasattr(model, "prepare"):
        cast(Any, model).prepare(excerpts)
