"""Cut a song into chunks, process each, and join the results by overlap-add.

    song     ├──────────────────────────────────────────────┤
    output   ├────length────┤
                        ├────length────┤           each starts one stride later
                                   ├────length────┤
                                              ├────┤ the rest
    input               ├┈┈├────output────┤┈┈┤     wider, if the model needs it

The input range of a chunk is what the model reads; the output range is the part of its
estimate that is used. Without context both are equal; a chunk at the end of the song
that is shorter than the others is moved to the middle of a full one, with music before
it and zeros after it. Demucs does the same, so the same weights give the same estimate
here and there. With context the input range is longer on both sides, as far as the song
goes, and there are no zeros: a model whose receptive field is within the context gives
the estimate that it would give for the whole song at once.

    result = Σ weight · process(chunk) / Σ weight

The division by the summed weights makes the result exact for any process that treats
every chunk alike (identity in, identity out), for every length and overlap. A weight
that decreases to both sides fades one chunk into the next, so that no seam clicks. A
sample is final as soon as a chunk begins after it: `overlap_add` yields it then, and
needs the memory of a few chunks only. Notebook: 12.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from mssedu.errors import InputError
from mssedu.models.contract import ModelConfig, chunk_seconds, segment_limit
from mssedu.separation.config import SeparateConfig

SHIFT_SECONDS = 0.5  # the largest move of a pass of `shifts`, as in Demucs

Progress = Callable[[int, int], None]
Read = Callable[[int, int], Tensor]


# ---- where the chunks are -----------------------------------------------------------


@dataclass(frozen=True)
class Chunks:
    """The chunks of one song; all values in samples."""

    samples: int  # length of the song
    length: int  # of an output range, which is shorter at the ends of the song
    starts: Sequence[int]  # first sample of each chunk, in order; < 0: before the song
    weight: Tensor  # (length,), > 0
    width: int  # of an input range, ≥ length; longer with context
    context: int = 0  # what the model reads more, on either side

    def output_range(self, start: int) -> tuple[int, int]:
        """First sample of a chunk's result that is used, and the one after the last."""
        return max(start, 0), min(start + self.length, self.samples)

    def input_range(self, start: int) -> tuple[int, int]:
        """The same of the range that the model reads; beyond the song it is zeros."""
        begin, end = self.output_range(start)
        if self.context:
            return max(begin - self.context, 0), min(end + self.context, self.samples)
        # The chunk is in the middle, but a song that is long enough to fill the width
        # has no zeros before it.
        lowest = -(max(self.width - self.samples, 0) // 2)
        first = max(begin - (self.width - (end - begin)) // 2, lowest)
        return first, first + self.width

    @property
    def seams(self) -> list[int]:
        """Where a chunk begins or ends within the song: where a click could be."""
        edges = {edge for start in self.starts for edge in self.output_range(start)}
        return sorted(edges - {0, self.samples})


def plan_chunks(
    model_config: ModelConfig, samples: int, config: SeparateConfig
) -> Chunks:
    """Where the chunks of a song with `samples` samples are.

    The segment of `config` must be in seconds, as `with_segment` returns it.
    """
    rate, limit = model_config.sample_rate, segment_limit(model_config)
    length = max(1, round((config.segment or 0) * rate))
    offsets = random_offsets(config.shifts, rate, config.seed)
    return Chunks(
        samples=samples,
        length=length,
        starts=chunk_starts(samples, length, config.overlap, offsets),
        weight=chunk_weight(length, config.window),
        # A model with a limit pads to it anyway: music is better than zeros.
        width=round(limit * rate) if limit else length,
        context=0 if limit else round(config.context * rate),
    )


def with_segment(
    config: SeparateConfig, model_config: ModelConfig, samples: int
) -> SeparateConfig:
    """The config with the chunk length, in seconds, that is used for a song.

    It is not longer than the song or than the model allows; a warning says if the model
    allows less than the user chose.

    Raises:
        InputError: a segment that is too long, with `strict_segment`, or a context that
            leaves no room for a chunk.
    """
    seconds = chunk_seconds(model_config, config.segment, strict=config.strict_segment)
    limit = segment_limit(model_config)
    if limit is None:
        seconds = min(seconds, samples / model_config.sample_rate)
        return replace(config, segment=seconds)
    room = limit - 2 * config.context
    if room <= 0:
        raise InputError(
            f"context must be less than half of the {limit:g} s that the model reads "
            f"at once, got {config.context:g} s. Choose a shorter context."
        )
    return replace(config, segment=min(seconds, room))


def chunk_starts(
    samples: int, length: int, overlap: float, offsets: Sequence[int] = (0,)
) -> list[int]:
    """First sample of each chunk, in order; the last chunk may be shorter.

    Args:
        offsets: one pass over the song for each, which begins this number of samples
            before the song.

    Example:
        >>> chunk_starts(samples=10, length=4, overlap=0.25)
        [0, 3, 6, 9]
        >>> chunk_starts(samples=4, length=4, overlap=0.25)
        [0]
        >>> chunk_starts(samples=6, length=4, overlap=0.0, offsets=(0, 1))
        [-1, 0, 3, 4]
    """
    stride = max(1, round(length * (1 - overlap)))
    passes = [
        [0] if samples == length and offset == 0 else range(-offset, samples, stride)
        for offset in offsets
    ]
    starts = sorted(start for each in passes for start in each)
    return [start for start in starts if start + length > 0]  # not all before the song


def random_offsets(shifts: int, sample_rate: int, seed: int) -> list[int]:
    """How far before the song each pass begins: 0 … 0.5 s, in samples at a rate in Hz.

    For 0 shifts there is a single pass, which is not moved.

    Example:
        >>> random_offsets(0, 44100, seed=0)
        [0]
    """
    if shifts == 0:
        return [0]
    generator = torch.Generator().manual_seed(seed)
    farthest = round(SHIFT_SECONDS * sample_rate)
    return torch.randint(0, farthest + 1, (shifts,), generator=generator).tolist()


def chunk_weight(length: int, window: str = "triangle") -> Tensor:
    """Weight of each sample of a chunk, (length,): largest in the middle, never 0.

    The window is "triangle", "hann", or "rectangle", which does not fade.

    Example:
        >>> chunk_weight(4)
        tensor([0.5000, 1.0000, 1.0000, 0.5000])
    """
    rising = torch.arange(1, length + 1)
    triangle = torch.minimum(rising, rising.flip(0)).double()
    if window == "rectangle":
        weight = torch.ones(length)
    elif window == "hann":
        weight = (triangle * torch.pi / (length + 1)).sin().square()
    else:
        weight = triangle
    return (weight / weight.max()).float()


# ---- process and join ---------------------------------------------------------------


def overlap_add(
    process: Callable[[Tensor], Tensor],
    read: Read,
    chunks: Chunks,
    sample_rate: int,
    *,
    batch_size: int = 1,
    progress: Progress | None = None,
    where: str = "",
) -> Iterator[Tensor]:
    """Process a song in overlapping chunks and fade the results into one another.

    Args:
        process: (batch, channels, n) -> (batch, …, n); n is the length of a chunk.
        read: (begin, end) -> (channels, end - begin), samples of the song.
        chunks: of the song.
        sample_rate: Hz, for messages.
        batch_size: number of chunks that are processed at once.
        progress: is called after each batch with the chunks done and the chunks in all.
        where: name of the model, for messages.

    Yields:
        blocks (…, n), which are the song when they are put one after another.

    Raises:
        InputError: NaN or Inf in the result of `process`.
    """
    position, done, total, weights = 0, 0, torch.zeros(0), torch.zeros(0)
    for batch in _batches(chunks, batch_size):
        results = process(torch.stack([_input(read, chunks, start) for start in batch]))
        for start, result in zip(batch, results, strict=True):
            begin, end = chunks.output_range(start)
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
            offset = begin - chunks.input_range(start)[0]
            part = result[..., offset : offset + end - begin]
            _check_finite(where, part, begin, sample_rate)
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
    """Chunks in order, up to `batch_size` together if their inputs are equally long."""

    def width(start: int) -> int:
        begin, end = chunks.input_range(start)
        return end - begin

    for _, group in groupby(chunks.starts, width):
        starts = list(group)
        for first in range(0, len(starts), batch_size):
            yield starts[first : first + batch_size]


def _input(read: Read, chunks: Chunks, start: int) -> Tensor:
    """What the model reads for a chunk, with zeros beyond the ends of the song."""
    begin, end = chunks.input_range(start)
    inside = read(max(begin, 0), min(end, chunks.samples))
    return F.pad(inside, (max(-begin, 0), max(end - chunks.samples, 0)))


def _mean(total: Tensor, weights: Tensor) -> Tensor:
    assert weights.min() > 0, "every sample is in at least one chunk"
    return total / weights


def _check_finite(where: str, result: Tensor, begin: int, sample_rate: int) -> None:
    if result.isfinite().all():
        return
    first, last = begin / sample_rate, (begin + result.shape[-1]) / sample_rate
    raise InputError(
        f"the output of {where or 'the model'} has NaN or Inf ({result.dtype}) in the "
        f"chunk {first:.2f} … {last:.2f} s. Compute in float32, or look for NaN in the "
        "model's weights."
    )
