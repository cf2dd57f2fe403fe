"""Oracles: estimates made with the true stems, the upper limit for a kind of model.

    mixture ─┐
    sources ─┴─ 10 s ─ STFT ─▶ true mask or filter ─▶ · mixture ─ iSTFT ─ overlap-add ─▶

    ibm   the loudest stem gets the whole bin
    irm   each stem gets its share of the magnitude: the limit of masks from 0 to 1
    mwf   each stem gets its share of power and direction: the limit of linear filters

All of them keep the phase of the mixture, or nearly so, and therefore none is perfect.
They work in chunks, as a model does, so that long tracks need little memory.
Notebooks: 03, 04.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mssedu.errors import check_name
from mssedu.masks import (
    apply_mask,
    expectation_maximization,
    ideal_binary_mask,
    ideal_ratio_mask,
)
from mssedu.separation.chunks import (
    Chunks,
    chunk_starts,
    chunk_weight,
    overlap_add,
    whole,
)
from mssedu.spectral import istft, stft

SECONDS, OVERLAP = 10, 0.25  # length of a chunk; share that the next one covers too
VERSION = 2  # raise it when the estimate of an oracle changes


def _binary(sources: Tensor, mixture: Tensor) -> Tensor:
    return apply_mask(ideal_binary_mask(sources), mixture)


def _ratio(sources: Tensor, mixture: Tensor) -> Tensor:
    return apply_mask(ideal_ratio_mask(sources), mixture)


# name -> (sources (…, stems, channels, bins, frames), mixture) -> estimates, complex
ORACLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ibm": _binary,
    "irm": _ratio,
    "mwf": partial(expectation_maximization, n_iterations=1),
}
_STFT = "STFT of 4096 samples, hop 1024, Hann, in chunks of 10 s"
DEFINITIONS = {
    "ibm": f"ideal binary mask: the stem of largest magnitude in a bin; {_STFT}",
    "irm": f"ideal ratio mask: |S| / sum of all |S|, for each channel; {_STFT}",
    "mwf": "multichannel Wiener filter of the true power spectrograms and, for each "
    f"frequency and chunk, true spatial covariances (Duong et al. 2010); {_STFT}",
}


def oracle_estimate(
    name: str, sources: Tensor, mixture: Tensor, sample_rate: int
) -> Tensor:
    """Estimates of an oracle.

    Args:
        name: "ibm", "irm" or "mwf".
        sources: all parts of the mixture, (parts, channels, samples), also those whose
            estimates are not needed.
        mixture: (channels, samples).
        sample_rate: Hz.

    Returns:
        (parts, channels, samples).

    Raises:
        InputError: an unknown oracle.

    Example:
        >>> sources = torch.randn(2, 1, 8000)
        >>> oracle_estimate("irm", sources, sources.sum(0), 8000).shape
        torch.Size([2, 1, 8000])
    """
    check_name("oracle", name, ORACLES)
    n_stems, channels, samples = sources.shape

    def process(signal: Tensor) -> Tensor:
        spectrograms = stft(signal.unflatten(1, (1 + n_stems, channels)))
        estimate = ORACLES[name](spectrograms[:, 1:], spectrograms[:, 0])
        return istft(estimate, length=signal.shape[-1])

    # The mixture, then all sources, as channels of one signal.
    signal = torch.cat([mixture, sources.reshape(n_stems * channels, samples)])
    length = min(SECONDS * sample_rate, samples)
    chunks = Chunks(
        samples=samples,
        length=length,
        starts=chunk_starts(samples, length, OVERLAP),
        weight=chunk_weight(length),
        width=length,
    )

    def read(begin: int, end: int) -> Tensor:
        return signal[:, begin:end]

    return whole(overlap_add(process, read, chunks, sample_rate), samples)
