"""Separate a mixture of any length with a model that sees a few seconds.

    mixture ─chunks─▶ model ▸ refine ─overlap_add─▶ blocks ─▶ estimate
    (channels, samples)                              (stems, channels, samples)

`separate` reads a tensor and returns one; `mssedu.separate_file` reads a file and
writes files, and never holds more than a few chunks. Both take their blocks from
`estimate_blocks`, so both give the same numbers.

    chunks        where the chunks lie, and what the model is shown around them
    inference     the model, run fast
    refine        what is done to a chunk's estimate: tta, Wiener filter, consistency
    overlap_add   the loop, and the fading of chunk into chunk
    fallback      what happens if memory runs out
Notebook: 12.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import (
    InputError,
    MssEduWarning,
    check_finite,
    check_mixture,
    message,
)
from mssedu.models.contract import ModelConfig, chunk_seconds, config_of, segment_limit
from mssedu.separation.chunks import Chunks, chunk_starts, chunk_weight, random_offsets
from mssedu.separation.config import SeparateConfig
from mssedu.separation.fallback import in_smaller_batches, with_fallback
from mssedu.separation.inference import ready
from mssedu.separation.overlap_add import Progress, Read, overlap_add, whole
from mssedu.separation.refine import needed, output_names, refined
from mssedu.weights.ensemble import Bag


def separate(
    model: nn.Module,
    mixture: Tensor,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Tensor:
    """Separate a mixture of any length into the model's stems.

    Args:
        model: follows the contract: `config` and forward (batch, channels, samples) ->
            (batch, stems, channels, samples); run in eval mode, then set back.
        mixture: (channels, samples) at the model's sample rate.
        device: where to compute; where the model is if None.
        progress: is called with chunks done and in all after each batch.
        **settings: segment, overlap, shifts …: all fields of `SeparateConfig`.

    Returns:
        (stems, channels, samples), on the device and in the precision of `mixture`;
        with two_stems the stem and the rest. Silence gives exact zeros.

    Raises:
        InputError: wrong shape, NaN or Inf in the mixture or in the model's output, or
            a setting that is unknown or out of its range.
    """
    config, model_config = SeparateConfig.of(settings), config_of(model)
    check_mixture(mixture, model_config.channels, batch=False)
    check_finite("separate", mixture, model_config.sample_rate)
    samples = mixture.shape[-1]
    if device is not None:
        model.to(device)

    def read(begin: int, end: int) -> Tensor:
        return mixture[:, begin:end]

    def run(config: SeparateConfig) -> Tensor:
        return whole(estimate_blocks(model, read, samples, config, progress), samples)

    config = settled(config, model_config, samples)
    names = output_names(config, tuple(model_config.stems))
    if not mixture.any():
        return mixture.new_zeros(len(names), *mixture.shape)
    estimate = with_fallback(run, model, config)
    if len(estimate) < len(names):  # the rest of two stems
        estimate = torch.cat([estimate, mixture - estimate])
    return estimate


def estimate_blocks(
    model: nn.Module,
    read: Read,
    samples: int,
    config: SeparateConfig,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Separate what `read` gives, piece after piece.

    Args:
        model: as in `separate`.
        read: (begin, end) -> (channels, end - begin) of the mixture; begin never falls.
        samples: of the mixture.
        config: settled settings.

    Yields:
        blocks (outputs, channels, n) that follow one another; two stems whose rest is
        mixture - stem come as the one stem.
    """
    model_config = config_of(model)
    names = needed(config, tuple(model_config.stems))
    if names and isinstance(model, Bag):
        model = model.only(*names)
    with ready(model, precision=config.precision, compile=config.compile) as forward:
        forward = _exact_if_not_finite(forward, model, config)
        process = refined(forward, config, config_of(model))
        yield from overlap_add(
            in_smaller_batches(_where_the_model_is(process, model)),
            read,
            plan_chunks(model_config, samples, config),
            model_config.sample_rate,
            batch_size=config.batch_size,
            progress=progress,
            where=f"separate with {type(model).__name__}",
        )


def settled(
    config: SeparateConfig, model_config: ModelConfig, samples: int
) -> SeparateConfig:
    """The config with the seconds of a chunk as the model can take them.

    More than the model was trained with is announced and shortened.

    Raises:
        InputError: a segment too long where `strict_segment`, or no room for a chunk
            between its context.
    """
    seconds = chunk_seconds(model_config, config.segment, strict=config.strict_segment)
    limit = segment_limit(model_config)
    if limit is None:
        seconds = min(seconds, samples / model_config.sample_rate)
        return replace(config, segment=seconds)
    room = limit - 2 * config.context
    if room <= 0:
        wanted = f"a context below half of the {limit:g} s that the model takes"
        remedy = "Choose less context."
        raise InputError(message("separate", wanted, f"{config.context:g} s", remedy))
    return replace(config, segment=min(seconds, room))


def plan_chunks(
    model_config: ModelConfig, samples: int, config: SeparateConfig
) -> Chunks:
    """Where the chunks of a song lie.

    Args:
        samples: of the song.
        config: settled settings.
    """
    rate, limit = model_config.sample_rate, segment_limit(model_config)
    length = max(1, round((config.segment or 0) * rate))
    context = 0 if limit else round(config.context * rate)
    offsets = random_offsets(config.shifts, rate, config.seed)
    return Chunks(
        samples=samples,
        length=length,
        starts=chunk_starts(samples, length, config.overlap, offsets),
        weight=chunk_weight(length, config.window),
        # A model with a limit fills up to it anyway: better with music than with zeros.
        width=round(limit * rate) if limit else length,
        context=context,
    )


def _where_the_model_is(
    process: Callable[[Tensor], Tensor], model: nn.Module
) -> Callable[[Tensor], Tensor]:
    """The process, on the model's device; the chunks and its results stay elsewhere."""

    def run(chunks: Tensor) -> Tensor:
        parameter: Tensor = next(model.parameters(), chunks)
        return process(chunks.to(parameter.device, parameter.dtype)).to(chunks)

    return run


def _exact_if_not_finite(
    forward: Callable[[Tensor], Tensor], model: nn.Module, config: SeparateConfig
) -> Callable[[Tensor], Tensor]:
    """Low precision may overflow: such a chunk is computed once more in float32."""
    if config.precision == "float32":
        return forward

    def run(chunks: Tensor) -> Tensor:
        estimate = forward(chunks)
        if estimate.isfinite().all():
            return estimate
        text = f"NaN or Inf in {config.precision}: a chunk is computed in float32"
        warnings.warn(text, MssEduWarning, stacklevel=2)
        with ready(model) as exact:
            return exact(chunks)

    return run
