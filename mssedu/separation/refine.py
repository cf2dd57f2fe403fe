"""Optional steps after the model, for the estimate of one chunk.

    mixture ─┬─ model ──────────────────────────── or, with tta, the mean of three runs
    (batch,  ├─ channels swapped ▸ model ▸ swapped back
    channels,└─ − ▸ model ▸ −
    samples)        │
                    ▼
    estimate (batch, stems, channels, samples)
      ▸ highs ▸ Wiener filter ▸ consistency ▸ choice of stems

All steps work on one chunk: they need the memory of a chunk, and the result is the same
for a song in memory and a song on disk. Notebook: 12.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mssedu.errors import InputError, check_name
from mssedu.masks import expectation_maximization, soft_masks
from mssedu.models.contract import ModelConfig, stem_bandwidth_hz
from mssedu.models.stems import WITHOUT, resolve, stem_names
from mssedu.separation.config import SeparateConfig
from mssedu.spectral import istft, stft

Forward = Callable[[Tensor], Tensor]
N_FFT = 4096  # of the filters; their hop length is a quarter of it


def refined(
    forward: Forward, config: SeparateConfig, model_config: ModelConfig
) -> Forward:
    """The model `forward`, followed by all steps that `config` asks for.

    Returns:
        (batch, channels, samples) -> (batch, outputs, channels, samples): all stems, or
        those of config.stems, or config.two_stems (and, with other="add", the sum of
        the other stems).

    Raises:
        InputError: a stem that the model lacks, or consistency of a single stem.
    """
    stems, rate = tuple(model_config.stems), model_config.sample_rate
    cutoff = stem_bandwidth_hz(model_config) / rate  # of the sample rate; 0.5 is all
    if config.two_stems:
        check_name("stem", config.two_stems, stems)
    rules = resolve("the model", config.stems or stems, stems)
    if config.consistency != "none" and len(stems) == 1:
        raise InputError(
            f"consistency {config.consistency!r} needs stems that sum to the mixture, "
            f"and the model has only {stems[0]!r}. Use consistency='none', and "
            "two_stems for the remainder."
        )

    def process(mixture: Tensor) -> Tensor:
        estimate = augmented(forward, mixture) if config.tta else forward(mixture)
        if config.highs != "zeros" and cutoff < 0.5:
            estimate = filled_highs(estimate, mixture, cutoff, config.highs)
        if config.wiener:
            estimate = wiener_filter(estimate, mixture, config.wiener)
        if config.consistency != "none":
            estimate = consistent(estimate, mixture, config.consistency)
        if config.two_stems:
            index = stems.index(config.two_stems)
            one = estimate[:, index : index + 1]
            if config.other == "minus":  # computed later, in full precision
                return one
            return torch.cat([one, estimate.sum(dim=1, keepdim=True) - one], dim=1)
        outputs = []
        for rule in rules:
            members = [stems.index(member) for member in rule.members]
            total = estimate[:, members].sum(dim=1)
            outputs.append(mixture - total if rule.from_mixture else total)
        return torch.stack(outputs, dim=1)

    return process


def augmented(forward: Forward, mixture: Tensor) -> Tensor:
    """Mean over the mixture, its channels swapped, and its polarity inverted.

    Swapping or inverting a mixture does the same to its sources, so each run is another
    estimate of them, and errors that the runs do not share average out.
    """
    estimates = [forward(mixture), -forward(-mixture)]
    if mixture.shape[1] > 1:
        estimates.append(forward(mixture.flip(1)).flip(2))
    return torch.stack(estimates).mean(0)


def wiener_filter(estimate: Tensor, mixture: Tensor, n_iterations: int = 1) -> Tensor:
    """Divide the mixture's spectrogram among the stems by the power of the estimates.

    A waveform model may add sound to a stem that the mixture does not have; after this
    filter, the stems sum to the mixture. The filter can also make estimates worse.

    Args:
        estimate: (batch, stems, channels, samples); for a single stem, the remainder of
            the mixture is the second one.
        mixture: (batch, channels, samples).
        n_iterations: EM steps, ≥ 1.

    Returns:
        the shape of `estimate`.

    Source: `mssedu.masks.expectation_maximization`, on the complex spectrograms of the
    estimates; it gives the numbers of norbert 0.2.1's function of this name.
    """
    n_stems = estimate.shape[1]
    estimate = _with_remainder(estimate, mixture)
    refined = expectation_maximization(stft(estimate), stft(mixture), n_iterations)
    return istft(refined[:, :n_stems], length=mixture.shape[-1])


def consistent(estimate: Tensor, mixture: Tensor, weights: str = "uniform") -> Tensor:
    """Make the stems sum to the mixture: the remainder is shared among them.

    Args:
        estimate: (batch, stems, channels, samples).
        mixture: (batch, channels, samples).
        weights: "uniform": each stem gets the same part; "energy": a part that is
            proportional to its energy, so that silent stems stay silent.

    Returns:
        the shape of `estimate`.

    Source: Wisdom et al. 2019, "Differentiable consistency constraints for improved
    deep speech enhancement", eq. 4.
    """
    remainder = mixture - estimate.sum(dim=1)
    share = torch.full_like(estimate[..., :1, :1], 1 / estimate.shape[1])
    if weights == "energy":
        energy = estimate.square().sum(dim=(-2, -1), keepdim=True)
        total = energy.sum(dim=1, keepdim=True)
        share = torch.where(total > 0, energy / total, share)
    return estimate + share * remainder[:, None]


def filled_highs(
    estimate: Tensor, mixture: Tensor, cutoff: float, share: str = "average"
) -> Tensor:
    """Add to each stem a share of the mixture above the model's bandwidth.

    Args:
        cutoff: bandwidth over sample rate, 0 … 0.5.
        share: "average": in each frame the mean of the stem's mask below the cutoff;
            "mix_ratio": the stem's share of the magnitude of the whole chunk.

    Source: "average" is the mask extension of Spleeter (Hennequin et al. 2020).
    """
    n_stems, samples = estimate.shape[1], mixture.shape[-1]
    highest = round(cutoff * N_FFT)  # bin
    below = stft(_with_remainder(estimate, mixture))[..., :highest, :].abs()
    if share == "mix_ratio":
        below = below.sum(dim=(-2, -1), keepdim=True)
    mask = soft_masks(below, 1.0).mean(dim=-2, keepdim=True)[:, :n_stems]
    highs = stft(mixture)[:, None] * mask
    highs[..., :highest, :] = 0
    return estimate + istft(highs, length=samples)


def output_stems(config: SeparateConfig, stems: tuple[str, ...]) -> tuple[str, ...]:
    """The outputs of a separation, in order, as in `mssedu.models.stems`."""
    if config.two_stems:
        return config.two_stems, f"{WITHOUT}{config.two_stems}"
    return config.stems or stems


def output_names(config: SeparateConfig, stems: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the outputs of a separation, in order.

    Example:
        >>> output_names(SeparateConfig(two_stems="drums"), ("vocals", "drums"))
        ('drums', 'no_drums')
    """
    return stem_names(output_stems(config, stems))


def needed(config: SeparateConfig, stems: tuple[str, ...]) -> tuple[str, ...]:
    """The model's stems that a separation uses; empty: it needs them all."""
    if config.wiener or config.consistency != "none":
        return ()
    if config.two_stems:
        return (config.two_stems,) if config.other == "minus" else ()
    rules = resolve("the model", config.stems, stems)
    return tuple(dict.fromkeys(stem for rule in rules for stem in rule.members))


def _with_remainder(estimate: Tensor, mixture: Tensor) -> Tensor:
    """At least two stems: a single one, and the mixture without it."""
    if estimate.shape[1] > 1:
        return estimate
    return torch.cat([estimate, mixture[:, None] - estimate], dim=1)
