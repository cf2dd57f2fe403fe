"""A bag: several models that separate together as one.

    mixture ─┬─ model 1 ─ · its weight for each stem ─┐
             ├─ model 2 ─ · its weight for each stem ─┼─ Σ / Σ of the weights ─ estimate
             └─ …                                     ┘

With equal weights, the errors that the models do not share average out. With one model
per stem (htdemucs_ft), `only` leaves out the models that need not run. A bag follows
the model contract, so every function that takes a model also takes a bag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, check_mixture, check_name, check_range
from mssedu.models.contract import ModelConfig, config_of, segment_limit


@dataclass(frozen=True)
class BagConfig:
    """What the models of a bag have in common."""

    stems: tuple[str, ...]
    sample_rate: int  # Hz
    channels: int
    segment: float  # seconds, the shortest of the models
    segment_limit: float | None  # seconds, the shortest limit of the models


class Bag(nn.Module):
    """Several models as one: a weighted mean for each stem.

    Args:
        models: all of the same sample rate and channels.
        weights: (models, stems), ≥ 0; a model whose weights are all 0 never runs. Equal
            if None.
        stems: names of the outputs, which every model must have, in the order of
            `weights`; those of the first model if None.

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
        rate, channels = _common_format(configs)
        names = configs[0].stems if stems is None else tuple(stems)
        for stem in names:
            for config in configs:
                check_name("stem of every model", stem, config.stems)
        shares = torch.ones(len(models), len(names))
        if weights is not None:
            shares = torch.tensor(weights, dtype=torch.float32)
        _check_weights(shares, len(models), names)
        limits = [segment_limit(config) for config in configs]
        self.config = BagConfig(
            stems=names,
            sample_rate=rate,
            channels=channels,
            segment=min(config.segment for config in configs),
            segment_limit=min((x for x in limits if x is not None), default=None),
        )
        self.models = nn.ModuleList(models)
        self.used = shares.any(1).tolist()  # no tensor decides the path of a forward
        self.register_buffer("weights", shares / shares.sum(0), persistent=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        batch, channels, samples = mixture.shape
        total = mixture.new_zeros(batch, len(self.config.stems), channels, samples)
        rows = zip(self.models, self.used, self.weights, strict=True)
        for model, is_used, weights in rows:
            if is_used:
                own = config_of(model).stems  # each model has its own order
                order = [own.index(stem) for stem in self.config.stems]
                share = weights.to(mixture)[:, None, None]  # (stems, 1, 1)
                total = total + model(mixture)[:, order] * share
        return total

    def only(self, *stems: str) -> "Bag":
        """A bag for some of the stems, with the models that contribute to them."""
        for stem in stems:
            check_name("stem", stem, self.config.stems)
        shares = self.weights[:, [self.config.stems.index(stem) for stem in stems]]
        used = shares.any(1).nonzero().flatten().tolist()
        models = [self.models[i] for i in used]
        return Bag(models, shares[used].tolist(), stems).train(self.training)


def blend(first: nn.Module, second: nn.Module, shares: Mapping[str, float]) -> Bag:
    """A bag of two models, the second with the rest of each stem.

    The estimate of a stem is share · first + (1 - share) · second, as KUIELab blended
    MDX-Net with Demucs (`mssedu.models.mdx_net.BLEND`) in the challenge of 2021. There,
    Demucs read the whole song with mean 0 and deviation 1. The config field normalize
    of our Demucs does so for each chunk, by the level of its mono mix.

    Args:
        first: its stems are those of the bag, in its order.
        second: a model of the same sample rate and channels, with these stems.
        shares: stem -> share of the first model, 0 to 1.

    Raises:
        InputError: a stem without a share, or models that do not fit.

    Example:
        >>> from mssedu import create_model
        >>> from mssedu.models.mdx_net import BLEND
        >>> models = [create_model(name, "tiny") for name in ("mdx_net", "demucs")]
        >>> blend(*models, BLEND).weights[0]  # vocals, drums, bass, other
        tensor([0.9000, 0.5000, 0.5000, 0.7000])
    """
    stems = config_of(first).stems
    for stem in stems:
        check_name("stem with a share", stem, shares)
        check_range(f"the share of {stem}", shares[stem], 0, 1)
    own = [shares[stem] for stem in stems]
    return Bag([first, second], [own, [1 - share for share in own]], stems)


def _common_format(configs: Sequence[ModelConfig]) -> tuple[int, int]:
    """The sample rate and channels that all models have, or an InputError."""
    formats = sorted({(config.sample_rate, config.channels) for config in configs})
    if not formats:
        raise InputError("models is empty. Give at least one model.")
    if len(formats) > 1:
        texts = (f"{rate} Hz, {channels} channels" for rate, channels in formats)
        raise InputError(
            "models must have one sample rate and number of channels, got "
            f"{'; '.join(texts)}. Leave out those that differ."
        )
    return formats[0]


def _check_weights(weights: Tensor, n_models: int, stems: Sequence[str]) -> None:
    if weights.shape != (n_models, len(stems)):
        raise InputError(
            f"weights must be ({n_models} models, {len(stems)} stems), got the shape "
            f"{tuple(weights.shape)}."
        )
    silent = [stem for i, stem in enumerate(stems) if not weights[:, i].sum() > 0]
    if silent or weights.min() < 0:
        raise InputError(
            "weights must be at least 0, and each stem needs a model with a weight "
            f"above 0, got {weights.tolist()}."
        )
