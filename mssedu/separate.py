"""Chunked inference: a song of any length through a model that sees a few seconds.

    mixture  ├──────────────────────────────────────────────┤
    chunks   ├────segment────┤
                        ├────segment────┤          each starts one stride later
                                   ├────segment────┤
                                              ├────┤ the rest: the model is shown a
                                                     segment with it in the middle
    weights   ◢◣ of each chunk, always > 0

    result = Σ weight · model(chunk) / Σ weight

Dividing by the summed weights makes the result exact for any model that treats every
chunk alike (identity in, identity out), whatever the length and the overlap; the
triangular weights fade one chunk into the next, so that no seam can click. Chunks lie
as in Demucs, so that the same weights give the same estimate as there.
`separate` works on tensors; `mssedu.separate_files` puts files around it.
Notebook: 12.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssedu.checks import InputError, check_finite, check_mixture, check_range, message
from mssedu.contract import chunk_seconds, config_of, segment_limit

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
    strict_segment: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a mixture of any length into the model's stems.

    Args:
        model: follows the contract: `config` and forward (batch, channels, samples) ->
            (batch, stems, channels, samples); run in eval mode, then set back.
        mixture: (channels, samples) at the model's sample rate.
        segment: seconds of a chunk, > 0; the model's own if None. More than the model
            was trained with is announced and shortened (strict_segment: an error).
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
    segment = chunk_seconds(config, segment, strict=strict_segment)
    check_range("separate", "overlap", overlap, 0, 1, high_open=True)
    check_range("separate", "batch_size", batch_size, 1)
    if device is not None:
        model.to(device)
    length = max(1, round(segment * rate))
    # A model with a limit pads to what it was trained with anyway; others need not.
    if segment_limit(config) is None:
        length = min(length, samples)
    process = partial(_estimate, model)
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
        length: samples of a chunk, ≥ 1; a shorter song is shown between zeros.
        overlap, batch_size, progress: as in `separate`.

    Returns:
        (…, samples).

    Raises:
        InputError: NaN or Inf in what `process` returns.
    """
    samples = audio.shape[-1]
    starts = chunk_starts(samples, length, overlap)
    weight = chunk_weight(length).to(audio)
    total, total_weight = torch.zeros(1).to(audio), torch.zeros_like(audio[0])
    for first in range(0, len(starts), batch_size):
        batch = starts[first : first + batch_size]
        results = process(torch.stack([_shown(audio, i, length) for i in batch]))
        if first == 0:  # now the leading axes of the result are known
            total = audio.new_zeros(*results.shape[1:-1], samples)
        for start, result in zip(batch, results, strict=True):
            end = min(start + length, samples)
            before = (length - (end - start)) // 2
            result = result[..., before : before + end - start]
            _check_finite_result(result, start, sample_rate)
            total[..., start:end] += weight[: end - start] * result
            total_weight[start:end] += weight[: end - start]
        if progress:
            progress(first + len(batch), len(starts))
    assert total_weight.min() > 0, "every sample lies in at least one chunk"
    return total / total_weight


def chunk_starts(samples: int, length: int, overlap: float) -> list[int]:
    """First sample of each chunk; what is left at the end is a shorter one.

    Example:
        >>> chunk_starts(samples=10, length=4, overlap=0.25)
        [0, 3, 6, 9]
        >>> chunk_starts(samples=4, length=4, overlap=0.25)
        [0]
    """
    stride = max(1, round(length * (1 - overlap)))
    return [0] if samples == length else [*range(0, samples, stride)]


def chunk_weight(length: int) -> Tensor:
    """Triangle over a chunk, (length,): 1 in the middle, small but never 0 at the ends.

    Example:
        >>> chunk_weight(4)
        tensor([0.5000, 1.0000, 1.0000, 0.5000])
    """
    rising = torch.arange(1, length + 1)
    triangle = torch.minimum(rising, rising.flip(0)).float()
    return triangle / triangle.max()


def _shown(audio: Tensor, start: int, length: int) -> Tensor:
    """`length` samples, a chunk in their middle: music before it, zeros after it."""
    missing = max(0, start + length - audio.shape[-1])
    begin = start - missing // 2
    piece = audio[:, max(begin, 0) : begin + length]
    before = max(-begin, 0)
    return F.pad(piece, (before, length - before - piece.shape[-1]))


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
