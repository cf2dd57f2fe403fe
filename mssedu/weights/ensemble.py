"""A bag: models that separate together, each stem from those that do it best.

    mixture ─┬─ model 1 ─ · its weight for each stem ─┐
             ├─ model 2 ─ · its weight for each stem ─┼─ Σ / Σ of the weights ─ estimate
             └─ …                                     ┘

With equal weights the errors that the models do not share average out. With one model
per stem (htdemucs_ft), `only` tells which need not run at all. A bag follows the model
contract, so whatever separates or scores a model does the same with a bag.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_name, message
from mssedu.models.contract import ModelConfig, config_of, segment_limit


@dataclass(frozen=True)
class BagConfig:
    """What the models of a bag have in common."""

    stems: tuple[str, ...]
    sample_rate: int  # Hz
    channels: int
    segment: float  # seconds, the shortest of the models
    segment_limit: float | None  # seconds, likewise


class Bag(nn.Module):
    """Several models as one: a weighted mean for each stem.

    Args:
        models: with the same sample rate and channels.
        weights: (models, stems), ≥ 0; a model whose weights are all 0 never runs. Equal
            if None.
        stems: names of the outputs, which every model must have; those of the first
            model if None. `weights` has their order.

    Raises:
        InputError: no models, models that do not fit, or a stem without any weight.

    Example:
        >>> from mssedu import create_model
        >>> bag = Bag([create_model("spleeter", "tiny") for _ in range(2)])
        >>> bag(torch.rand(1, 2, 8000)).shape
        torch.Size([1, 4, 2, 8000])
    """

    weights: Tensor

    def __init__(
        self,
        models: Sequence[nn.Module],
        weights: Sequence[Sequence[float]] | None = None,
        stems: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        configs = [config_of(model) for model in models]
        _check_alike(configs)
        names = configs[0].stems if stems is None else tuple(stems)
        for stem in names:
            for config in configs:
                check_name("stem of every model", stem, config.stems)
        given = torch.ones(len(models), len(names))
        if weights is not None:
            given = torch.tensor(weights, dtype=torch.float32)
        _check_weights(given, len(models), names)
        limits = [segment_limit(config) for config in configs]
        self.config = BagConfig(
            stems=names,
            sample_rate=configs[0].sample_rate,
            channels=configs[0].channels,
            segment=min(config.segment for config in configs),
            segment_limit=min((x for x in limits if x is not None), default=None),
        )
        self.models = nn.ModuleList(models)
        self.register_buffer("weights", given / given.sum(0), persistent=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        batch, channels, samples = mixture.shape
        total = mixture.new_zeros(batch, len(self.config.stems), channels, samples)
        for model, weights in zip(self.models, self.weights, strict=True):
            if weights.any():
                # Each model has an order of its own.
                own = config_of(model).stems
                order = [own.index(stem) for stem in self.config.stems]
                total = (
                    total
                    + model(mixture)[:, order] * weights.to(mixture)[:, None, None]
                )
        return total

    def only(self, *stems: str) -> "Bag":
        """A bag for some of the stems, with the models that contribute to them."""
        for stem in stems:
            check_name("stem", stem, self.config.stems)
        columns = [self.config.stems.index(stem) for stem in stems]
        kept = [
            (model, weights[columns].tolist())
            for model, weights in zip(self.models, self.weights, strict=True)
            if weights[columns].any()
        ]
        models, weights = zip(*kept, strict=True)
        return Bag(models, weights, stems).train(self.training)


def _check_alike(configs: Sequence[ModelConfig]) -> None:
    """Raise InputError unless there are models, alike in rate and channels."""
    formats = {(config.sample_rate, config.channels) for config in configs}
    if len(formats) != 1:
        got = [f"{rate} Hz, {channels} channels" for rate, channels in sorted(formats)]
        wanted = "models of one sample rate and number of channels"
        raise InputError(message("Bag", wanted, got, "Leave out what does not fit."))


def _check_weights(weights: Tensor, n_models: int, stems: Sequence[str]) -> None:
    """Raise InputError unless weights are (models, stems) ≥ 0, some > 0 for each."""
    wanted = f"weights ({n_models} models, {len(stems)} stems)"
    if weights.shape != (n_models, len(stems)):
        remedy = "Give a row per model with a number per stem."
        raise InputError(message("Bag", wanted, tuple(weights.shape), remedy))
    silent = [stem for i, stem in enumerate(stems) if not weights[:, i].sum() > 0]
    if silent or weights.min() < 0:
        remedy = "Give each stem at least one model with a weight > 0, and none < 0."
        raise InputError(message("Bag", wanted, weights.tolist(), remedy))
