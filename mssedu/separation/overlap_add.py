"""Overlap-add: process a song of any length chunk by chunk, in the memory of a few.

    song ─▶ chunks, shown ─process─▶ chunks, kept · weight ─┐
                                       Σ weight · result    ├─ / ─▶ blocks, in order
                                       Σ weight            ─┘

    result = Σ weight · process(chunk) / Σ weight

Dividing by the summed weights makes the result exact for any process that treats every
chunk alike (identity in, identity out), whatever the length and the overlap; a weight
that falls off to the sides fades one chunk into the next, so that no seam can click.
A sample is final as soon as a chunk begins after it: it is handed out, and forgotten.
Notebook: 12.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.errors import InputError, message
from mssedu.separation.chunks import Chunks

Progress = Callable[[int, int], None]  # is given chunks done, chunks in all
Process = Callable[[Tensor], Tensor]  # (batch, channels, n) -> (batch, …, n)
Read = Callable[[int, int], Tensor]  # (begin, end) -> (channels, end - begin)


def overlap_add(
    process: Process,
    read: Read,
    chunks: Chunks,
    sample_rate: int,
    *,
    batch_size: int = 1,
    progress: Progress | None = None,
    where: str = "overlap_add",
) -> Iterator[Tensor]:
    """Process a song in overlapping chunks and fade the results into one another.

    Args:
        process: what is done to a chunk; the result has its length.
        read: gives the samples of the song from begin to end.
        chunks: of the song.
        sample_rate, where: Hz and who asks, for messages.
        batch_size: chunks that are processed at once.
        progress: is called after each batch.

    Yields:
        blocks (…, n) that follow one another and are the song together.

    Raises:
        InputError: NaN or Inf in what `process` returns.
    """
    position, total, weights = 0, torch.zeros(0), torch.zeros(0)
    done = 0
    for batch in _batches(chunks, batch_size):
        results = process(torch.stack([_shown(read, chunks, start) for start in batch]))
        for start, result in zip(batch, results, strict=True):
            begin, end = chunks.kept(start)
            if begin > position:
                count = begin - position
                yield _mean(total[..., :count], weights[:count])
                total, weights = total[..., count:], weights[count:]
                position = begin
            if not len(weights):
                total = result.new_zeros(*result.shape[:-1], 0)
                weights = result.new_zeros(0)
            missing = max(end - position - len(weights), 0)
            total, weights = F.pad(total, (0, missing)), F.pad(weights, (0, missing))
            offset = begin - chunks.shown(start)[0]
            part = result[..., offset : offset + end - begin]
            _check_finite_result(where, part, begin, sample_rate)
            weight = chunks.weight[begin - start : end - start].to(result)
            total[..., : end - begin] += weight * part
            weights[: end - begin] += weight
        done += len(batch)
        if progress:
            progress(done, len(chunks.starts))
    yield _mean(total, weights)


def whole(blocks: Iterable[Tensor], samples: int) -> Tensor:
    """The blocks of `overlap_add` as one tensor (…, samples)."""
    result, position = torch.zeros(0), 0
    for block in blocks:
        if position == 0:
            result = block.new_empty(*block.shape[:-1], samples)
        result[..., position : position + block.shape[-1]] = block
        position += block.shape[-1]
    return result


def _batches(chunks: Chunks, batch_size: int) -> Iterator[list[int]]:
    """Chunks in order, up to `batch_size` together that are shown equally wide."""
    batch: list[int] = []
    for start in chunks.starts:
        if batch and (len(batch) == batch_size or not _alike(chunks, batch[0], start)):
            yield batch
            batch = []
        batch.append(start)
    yield batch


def _shown(read: Read, chunks: Chunks, start: int) -> Tensor:
    """What the model is shown for a chunk: zeros where it reaches beyond the song."""
    begin, end = chunks.shown(start)
    inside = read(max(begin, 0), min(end, chunks.samples))
    return F.pad(inside, (max(-begin, 0), max(end - chunks.samples, 0)))


def _alike(chunks: Chunks, first: int, second: int) -> bool:
    widths = {end - begin for begin, end in map(chunks.shown, (first, second))}
    return len(widths) == 1


def _mean(total: Tensor, weights: Tensor) -> Tensor:
    assert weights.min() > 0, "every sample lies in at least one chunk"
    return total / weights


def _check_finite_result(
    where: str, result: Tensor, begin: int, sample_rate: int
) -> None:
    if result.isfinite().all():
        return
    first, last = begin / sample_rate, (begin + result.shape[-1]) / sample_rate
    got = f"NaN or Inf ({result.dtype}) in the chunk {first:.2f} … {last:.2f} s"
    remedy = "Compute in float32, or look for NaN in the model's weights."
    raise InputError(message(where, "finite output of the model", got, remedy))
