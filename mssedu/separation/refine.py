"""What is done to a model's estimate of a chunk, on request.

    mixture ─┬─ model ──────────────────────────── or, with tta, the mean of three runs
    (batch,  ├─ channels swapped ▸ model ▸ swapped back
    channels,└─ − ▸ model ▸ −
    samples)        │
                    ▼
    estimate (batch, stems, channels, samples)
      ▸ highs ▸ Wiener filter ▸ consistency ▸ choice of stems

All of it looks at one chunk, so that it costs the memory of a chunk and the same
whether a song is in memory or on disk. Notebook: 12.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mssedu.errors import InputError, check_name, message
from mssedu.masks import expectation_maximization, soft_masks
from mssedu.models.contract import ModelConfig, stem_bandwidth_hz
from mssedu.models.stems import WITHOUT, StemRule, resolve, stem_names
from mssedu.separation.config import SeparateConfig
from mssedu.spectral import istft, stft

Forward = Callable[[Tensor], Tensor]
N_FFT = 4096  # of the filters; a quarter of it is their hop


def refined(
    forward: Forward, config: SeparateConfig, model_config: ModelConfig
) -> Forward:
    """The model with everything that `config` wants done to its estimates.

    Args:
        forward: (batch, channels, samples) -> (batch, stems, channels, samples).
        config: the settings.
        model_config: tells stems, sample rate and bandwidth.

    Returns:
        (batch, channels, samples) -> (batch, outputs, channels, samples): the stems, or
        those of config.stems, or config.two_stems (and, where that is to be a sum, the
        sum of the others).

    Raises:
        InputError: a stem that the model has not, or consistency of a single stem.
    """
    stems, rate = tuple(model_config.stems), model_config.sample_rate
    cutoff = stem_bandwidth_hz(model_config) / rate  # of the sample rate; 0.5 is all
    if config.two_stems:
        check_name("stem", config.two_stems, stems)
    rules = resolve("separate", config.stems or stems, stems)
    if config.consistency != "none" and len(stems) == 1:
        remedy = "Leave consistency 'none', or use two_stems for the rest."
        got = f"the only stem {stems[0]!r}"
        wanted = "stems that make up the mixture together"
        raise InputError(message("consistency", wanted, got, remedy))

    def process(mixture: Tensor) -> Tensor:
        estimate = augmented(forward, mixture) if config.tta else forward(mixture)
        if config.highs != "zeros" and cutoff < 0.5:
            estimate = filled_highs(estimate, mixture, cutoff, config.highs)
        if config.wiener:
            estimate = wiener_filter(estimate, mixture, config.wiener)
        if config.consistency != "none":
            estimate = consistent(estimate, mixture, config.consistency)
        if config.two_stems:
            return _two_stems(estimate, stems.index(config.two_stems), config.other)
        return _grouped(estimate, mixture, rules, stems)

    return process


def augmented(forward: Forward, mixture: Tensor) -> Tensor:
    """Mean over the mixture, its channels swapped, and its polarity inverted.

    Swapping or inverting a mixture does the same to its sources, so each run is
    another guess at them, and the errors that they do not share average out.

    Args:
        forward: (batch, channels, samples) -> (batch, stems, channels, samples).
        mixture: (batch, channels, samples); mono has nothing to swap: two runs.
    """
    estimates = [forward(mixture), -forward(-mixture)]
    if mixture.shape[1] > 1:
        estimates.append(forward(mixture.flip(1)).flip(2))
    return torch.stack(estimates).mean(0)


def wiener_filter(
    estimate: Tensor,
    mixture: Tensor,
    n_iterations: int = 1,
) -> Tensor:
    """Share out the mixture's spectrogram anew, as the estimates' loudness suggests.

    A waveform model may put sound into a stem that the mixture does not have; after
    this filter, stems sum to the mixture. It can cost a model more than it gives.

    Args:
        estimate: (batch, stems, channels, samples); a single stem gets what is left of
            the mixture as a rival.
        mixture: (batch, channels, samples).
        n_iterations: EM steps, ≥ 1.

    Returns:
        shaped like `estimate`.

    Source: `mssedu.masks.expectation_maximization`, on the complex spectrograms of the
    estimates; the numbers of norbert 0.2.1's function of this name.
    """
    n_stems = estimate.shape[1]
    estimate = _with_rival(estimate, mixture)
    refined = expectation_maximization(stft(estimate), stft(mixture), n_iterations)
    return istft(refined[:, :n_stems], length=mixture.shape[-1])


def consistent(estimate: Tensor, mixture: Tensor, weights: str = "uniform") -> Tensor:
    """Make the stems sum to the mixture: what is missing is shared out.

    Args:
        estimate: (batch, stems, channels, samples).
        mixture: (batch, channels, samples).
        weights: "uniform": each stem gets the same; "energy": as much as its share of
            the energy of all, so that silent stems stay silent.

    Returns:
        shaped like `estimate`.

    Source: Wisdom et al. 2019, "Differentiable consistency constraints for improved
    deep speech enhancement", eq. 4.
    """
    missing = mixture - estimate.sum(dim=1)
    share = torch.full_like(estimate[..., :1, :1], 1 / estimate.shape[1])
    if weights == "energy":
        energy = estimate.square().sum(dim=(-2, -1), keepdim=True)
        total = energy.sum(dim=1, keepdim=True)
        share = torch.where(total > 0, energy / total, share)
    return estimate + share * missing[:, None]


def filled_highs(
    estimate: Tensor, mixture: Tensor, cutoff: float, share: str = "average"
) -> Tensor:
    """Give each stem a share of what the mixture has above the model's bandwidth.

    Args:
        estimate: (batch, stems, channels, samples), nothing above the cutoff; a single
            stem gets what is left of the mixture as a rival.
        mixture: (batch, channels, samples).
        cutoff: bandwidth over sample rate, 0 … 0.5.
        share: "average": in each frame the mean of the stem's mask below the cutoff;
            "mix_ratio": the stem's share of the magnitude of the whole chunk.

    Returns:
        shaped like `estimate`.

    Source: "average" is the mask extension of Spleeter (Hennequin et al. 2020).
    """
    n_stems, samples = estimate.shape[1], mixture.shape[-1]
    highest = round(cutoff * N_FFT)  # bin
    below = stft(_with_rival(estimate, mixture))[..., :highest, :].abs()
    if share == "mix_ratio":
        below = below.sum(dim=(-2, -1), keepdim=True)
    mask = soft_masks(below, 1.0).mean(dim=-2, keepdim=True)[:, :n_stems]
    highs = stft(mixture)[:, None] * mask
    highs[..., :highest, :] = 0
    return estimate + istft(highs, length=samples)


def output_stems(config: SeparateConfig, stems: tuple[str, ...]) -> tuple[str, ...]:
    """What a separation gives, in order, as in `mssedu.models.stems`."""
    if config.two_stems:
        return config.two_stems, f"{WITHOUT}{config.two_stems}"
    return config.stems or stems


def output_names(config: SeparateConfig, stems: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what a separation gives, in order.

    Example:
        >>> output_names(SeparateConfig(two_stems="drums"), ("vocals", "drums"))
        ('drums', 'no_drums')
    """
    return stem_names(output_stems(config, stems))


def needed(config: SeparateConfig, stems: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a model's stems that a separation uses; none: it needs them all."""
    if config.wiener or config.consistency != "none":
        return ()
    if config.two_stems:
        return (config.two_stems,) if config.other == "minus" else ()
    rules = resolve("separate", config.stems, stems)
    return tuple(dict.fromkeys(stem for rule in rules for stem in rule.members))


def _with_rival(estimate: Tensor, mixture: Tensor) -> Tensor:
    """Two stems at least: a single one, and the mixture without it."""
    if estimate.shape[1] > 1:
        return estimate
    return torch.cat([estimate, mixture[:, None] - estimate], dim=1)


def _two_stems(estimate: Tensor, index: int, other: str) -> Tensor:
    """One stem, and the sum of the others where the rest is to be that."""
    one = estimate[:, index : index + 1]
    if other == "minus":  # the rest follows from the mixture, in full precision
        return one
    return torch.cat([one, estimate.sum(dim=1, keepdim=True) - one], dim=1)


def _grouped(
    estimate: Tensor, mixture: Tensor, rules: Sequence[StemRule], stems: tuple[str, ...]
) -> Tensor:
    """The stems that are asked for: sums of stems, or the mixture without some."""
    outputs = []
    for rule in rules:
        members = [stems.index(member) for member in rule.members]
        total = estimate[:, members].sum(dim=1)
        outputs.append(mixture - total if rule.from_mixture else total)
    return torch.stack(outputs, dim=1)
