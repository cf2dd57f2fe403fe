"""Chunked inference: a song of any length through a model that sees a few seconds.

    mixture  ├──────────────────────────────────────────────┤
    chunks   ├────segment────┤
                        ├────segment────┤          each starts one stride later,
                                   ├──...          the last one ends with the song
    weights   ◢◣ of each chunk, always > 0

    result = Σ weight · model(chunk) / Σ weight

Dividing by the summed weights makes the result exact for any model that treats every
chunk alike (identity in, identity out), whatever the length and the overlap; the
triangular weights fade one chunk into the next, so that no seam can click.
`separate` works on tensors; `mssedu.separate_files` puts files around it.
Notebook: 12.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mssedu.checks import InputError, check_finite, check_mixture, check_range, message
from mssedu.contract import config_of

OVERLAP = 0.25  # share of a chunk, unless the user says otherwise
Progress = Callable[[int, int], None]  # is given chunks done, chunks in all


def separate(
    model: nn.Module,
    mixture: Tensor,
    *,
    segment: float | None = None,
    overlap: float = OVERLAP,
    batch_size: int = 1,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a mixture of any length into the model's stems.

    Args:
        model: follows the contract: `config` and forward (batch, channels, samples) ->
            (batch, stems, channels, samples); run in eval mode, then set back.
        mixture: (channels, samples) at the model's sample rate.
        segment: seconds of a chunk, > 0; the model's own if None.
        overlap: share of a chunk that the next one covers too, 0 ≤ overlap < 1.
        batch_size: chunks computed at once; changes speed and memory, not the result.
        device: where to compute; where the model is if None.
        progress: is called after each batch.

    Returns:
        (stems, channels, samples), on the device and in the precision of `mixture`.

    Raises:
        InputError: wrong shape, NaN or Inf in the mixture or in the model's output, or
            a number outside its range.
    """
    config = config_of(model)
    rate, samples = config.sample_rate, mixture.shape[-1]
    check_mixture("separate", mixture[None], config.channels)
    check_finite("separate", mixture, rate)
    segment = config.segment if segment is None else segment
    check_range("separate", "segment", segment, 0, low_open=True)
    check_range("separate", "overlap", overlap, 0, 1, high_open=True)
    check_range("separate", "batch_size", batch_size, 1)
    if device is not None:
        model.to(device)

    def process(chunks: Tensor) -> Tensor:
        return _estimate(model, chunks)

    length = min(max(1, round(segment * rate)), samples)
    was_training = model.training
    model.eval()
    try:
        return overlap_add(
            process, mixture, rate, length, overlap, batch_size, progress
        )
    finally:
        model.train(was_training)


def overlap_add(
    process: Callable[[Tensor], Tensor],
    audio: Tensor,
    sample_rate: int,
    length: int,
    overlap: float,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Tensor:
    """Process audio in overlapping chunks and fade the results into one another.

    Args:
        process: (batch, channels, length) -> (batch, …, length).
        audio: (channels, samples).
        sample_rate: Hz, for messages.
        length: samples of a chunk, 1 … samples.
        overlap, batch_size, progress: as in `separate`.

    Returns:
        (…, samples).

    Raises:
        InputError: NaN or Inf in what `process` returns.
    """
    starts = chunk_starts(audio.shape[-1], length, overlap)
    weight = chunk_weight(length).to(audio)
    total, total_weight = torch.zeros(1).to(audio), torch.zeros_like(audio[0])
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        results = process(torch.stack([audio[:, i : i + length] for i in batch]))
        if first == 0:  # now the leading axes of the result are known
            total = audio.new_zeros(*results.shape[1:-1], audio.shape[-1])
        for start, result in zip(batch, results, strict=True):
            _check_finite_result(result, start, sample_rate)
            span = slice(start, start + length)
            total[..., span] += weight * result
            total_weight[span] += weight
        if progress:
            progress(first + len(batch), len(starts))
    assert total_weight.min() > 0, "every sample lies in at least one chunk"
    return total / total_weight


def chunk_starts(samples: int, length: int, overlap: float) -> list[int]:
    """First sample of each chunk; all chunks are full, the last ends with the song.

    Example:
        >>> chunk_starts(samples=10, length=4, overlap=0.25)
        [0, 3, 6]
        >>> chunk_starts(samples=9, length=4, overlap=0.25)
        [0, 3, 5]
    """
    stride = max(1, round(length * (1 - overlap)))
    last = samples - length
    return [*range(0, last, stride), last]


def chunk_weight(length: int) -> Tensor:
    """Triangle over a chunk, (length,): 1 in the middle, small but never 0 at the ends.

    Example:
        >>> chunk_weight(4)
        tensor([0.5000, 1.0000, 1.0000, 0.5000])
    """
    rising = torch.arange(1, length + 1)
    triangle = torch.minimum(rising, rising.flip(0)).float()
    return triangle / triangle.max()


@torch.no_grad()
def _estimate(model: nn.Module, chunks: Tensor) -> Tensor:
    """The model's output for (batch, channels, samples), where the chunks live."""
    parameter: Tensor = next(model.parameters(), chunks)
    return model(chunks.to(parameter.device, parameter.dtype)).to(chunks)


def _check_finite_result(result: Tensor, start: int, sample_rate: int) -> None:
    if result.isfinite().all():
        return
    first, last = start / sample_rate, (start + result.shape[-1]) / sample_rate
    got = f"NaN or Inf ({result.dtype}) in the chunk {first:.2f} … {last:.2f} s"
    remedy = "Compute in float32, or look for NaN in the model's weights."
    raise InputError(message("separate", "finite output of the model", got, remedy))
