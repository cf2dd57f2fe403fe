"""Separate a mixture of any length with a model that reads a few seconds.

    mixture ─chunks─▶ model ▸ refine ─overlap_add─▶ blocks ─▶ estimate
    (channels, samples)                              (stems, channels, samples)

`separate` takes a tensor and returns one; `mssedu.separate_file` reads a file, writes
files, and never holds more than a few chunks. Both take their blocks from
`estimate_blocks`, so both give the same numbers.

If the device has too little memory, the batch is halved down to 1, then the chunk down
to 1 s, then the model moves to the CPU; it also moves to the CPU if Apple's GPU lacks
an operation. A warning announces each step, because it changes the speed; a shorter
chunk changes the result as well. A smaller batch continues where the last one stopped;
the other steps start the song again. Notebook: 12.
"""

import gc
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from mssedu.errors import MssEduWarning, check_finite, check_mixture
from mssedu.models.contract import config_of, device_of, segment_limit
from mssedu.separation.chunks import (
    Progress,
    Read,
    overlap_add,
    plan_chunks,
    whole,
    with_segment,
)
from mssedu.separation.config import (
    Consistency,
    Highs,
    Other,
    Precision,
    SeparateConfig,
    Window,
)
from mssedu.separation.fast import ready
from mssedu.separation.refine import needed, output_names, refined
from mssedu.weights.ensemble import Bag

_NO_MEMORY = re.compile(
    "(out of|can't allocate|cannot allocate|not enough) memory", re.I
)
SHORTEST_SECONDS = 1.0  # a chunk is not made shorter than this
Option = TypeVar("Option")
Result = TypeVar("Result")


def separate(
    model: nn.Module,
    mixture: Tensor,
    *,
    segment: float | None = None,
    overlap: float = 0.25,
    window: Window = "triangle",
    context: float = 0.0,
    shifts: int = 0,
    tta: bool = False,
    wiener: int = 0,
    highs: Highs = "zeros",
    consistency: Consistency = "none",
    stems: tuple[str, ...] = (),
    two_stems: str | None = None,
    other: Other = "minus",
    strict_segment: bool = False,
    seed: int = 0,
    batch_size: int = 1,
    precision: Precision = "float32",
    compile: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a mixture of any length into the model's stems.

    Args:
        model: follows the model contract; runs in eval mode, and is then set back.
        mixture: (channels, samples) at the model's sample rate.
        segment: chunk length in seconds; None: the training length, inf: whole song.
        overlap: share of a chunk that the next chunk covers too, 0 ≤ overlap < 1.
        window: weight over a chunk: "triangle", "hann", or "rectangle": no fading.
        context: seconds around a chunk that the model reads too, and that are cut off.
        shifts: number of passes with chunks moved by up to 0.5 s, which are averaged.
        tta: average over swapped channels and inverted polarity: 3 times as long.
        wiener: number of EM steps of a multichannel Wiener filter; 0: no filter.
        highs: above the model's bandwidth: "zeros", "average" or "mix_ratio".
        consistency: shares the remainder among the stems: "uniform" or by "energy".
        stems: only these, also sums such as "instrumental=-vocals"; empty: all.
        two_stems: one stem to return, together with the remainder.
        other: that remainder: mixture - stem ("minus"), or the other stems ("add").
        strict_segment: a segment beyond the model's limit is an error, not shortened.
        seed: of the random shifts.
        batch_size: number of chunks that are computed at once.
        precision: of matrix products: "float32", "bfloat16" or "float16" (GPU only).
        compile: compile the model with torch.compile, which takes minutes at first.
        device: where to compute; None: where the model is.
        progress: is called with chunks done and chunks in all after each batch.

    Returns:
        (stems, channels, samples), on the device and in the precision of `mixture`;
        with two_stems the stem and the remainder. Silence gives exact zeros.

    Raises:
        InputError: a wrong shape, NaN or Inf in the mixture or in the model's output,
            or an option out of its range.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("spleeter", "tiny", stems=("vocals", "other"))
        >>> separate(model, torch.zeros(2, 44100), overlap=0.5).shape
        torch.Size([2, 2, 44100])
    """
    config = SeparateConfig(
        segment=segment,
        overlap=overlap,
        window=window,
        context=context,
        shifts=shifts,
        tta=tta,
        wiener=wiener,
        highs=highs,
        consistency=consistency,
        stems=stems,
        two_stems=two_stems,
        other=other,
        strict_segment=strict_segment,
        seed=seed,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
    )
    return separate_with(model, mixture, config, device=device, progress=progress)


def separate_with(
    model: nn.Module,
    mixture: Tensor,
    config: SeparateConfig,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Do the same as `separate`, with all options in one config."""
    model_config = config_of(model)
    check_mixture(mixture, model_config.channels, batch=False)
    check_finite("mixture", mixture, model_config.sample_rate)
    samples = mixture.shape[-1]
    if device is not None:
        model.to(device)

    def read(begin: int, end: int) -> Tensor:
        return mixture[:, begin:end]

    def run(config: SeparateConfig) -> Tensor:
        return whole(estimate_blocks(model, read, samples, config, progress), samples)

    config = with_segment(config, model_config, samples)
    names = output_names(config, tuple(model_config.stems))
    if not mixture.any():
        return mixture.new_zeros(len(names), *mixture.shape)
    estimate = with_fallback(run, model, config)
    if len(estimate) < len(names):  # the remainder of two stems is missing
        estimate = torch.cat([estimate, mixture - estimate])
    return estimate


def estimate_blocks(
    model: nn.Module,
    read: Read,
    samples: int,
    config: SeparateConfig,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Separate a mixture block by block.

    Args:
        read: (begin, end) -> (channels, end - begin) of the mixture; begin never falls.
        samples: length of the mixture.
        config: options, as `with_segment` returns them.

    Yields:
        blocks (outputs, channels, n). With two_stems and the remainder mixture - stem,
        the one stem is the only output.
    """
    names = needed(config, tuple(config_of(model).stems))
    if names and isinstance(model, Bag):
        model = model.only(*names)
    with ready(model, precision=config.precision, compile=config.compile) as forward:

        def finite(chunks: Tensor) -> Tensor:
            """A chunk that overflows in a low precision is computed in float32."""
            estimate = forward(chunks)
            if config.precision == "float32" or estimate.isfinite().all():
                return estimate
            text = f"NaN or Inf in {config.precision}: a chunk is computed in float32"
            warnings.warn(text, MssEduWarning, stacklevel=2)
            with ready(model) as exact:
                return exact(chunks)

        process = refined(finite, config, config_of(model))

        def on_the_models_device(chunks: Tensor) -> Tensor:
            parameter: Tensor = next(model.parameters(), chunks)
            return process(chunks.to(parameter.device, parameter.dtype)).to(chunks)

        yield from overlap_add(
            in_smaller_batches(on_the_models_device),
            read,
            plan_chunks(config_of(model), samples, config),
            config_of(model).sample_rate,
            batch_size=config.batch_size,
            progress=progress,
            where=type(model).__name__,
        )


# ---- if the device has too little memory --------------------------------------------


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch or Python says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def is_unsupported(error: BaseException) -> bool:
    """Whether PyTorch says that Apple's GPU lacks an operation."""
    return isinstance(error, NotImplementedError) and "MPS" in str(error)


def in_smaller_batches(process: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """The process; where a batch is too large, it computes half as many at once."""
    largest: float = math.inf

    def run(batch: Tensor) -> Tensor:
        nonlocal largest

        def in_parts(size: int) -> Tensor:
            return torch.cat([process(part) for part in batch.split(size)])

        while True:
            size = int(min(largest, len(batch)))
            result = _attempt(in_parts, size)
            if isinstance(result, Tensor):
                return result
            if size == 1 or not is_out_of_memory(result):
                raise result
            largest = size // 2
            _announce(f"out of memory: batch_size {size} to {size // 2}")

    return run


def with_fallback(
    run: Callable[[SeparateConfig], Result], model: nn.Module, config: SeparateConfig
) -> Result:
    """Run; if the device fails, run again with shorter chunks or on the CPU.

    Args:
        run: separates a whole song with the options of its argument.
        model: is moved to the CPU if a chunk of one second is still too long.
        config: options of the first attempt, as `with_segment` returns them.

    Raises:
        the error of `run`: no step helped, or its reason was another one.
    """
    # A model with a segment limit always computes its full length.
    fixed = segment_limit(config_of(model)) is not None
    while True:
        result = _attempt(run, config)
        if not isinstance(result, BaseException):
            return result
        why = "out of memory" if is_out_of_memory(result) else str(result)
        seconds, device = config.segment or 0, device_of(model).type
        half = seconds / 2
        if is_out_of_memory(result) and half >= SHORTEST_SECONDS and not fixed:
            _announce(f"{why}: segment {seconds:g} to {half:g} s, from the start")
            config = replace(config, segment=half)
        elif device != "cpu":
            _announce(f"{why}: {device} to cpu, from the start")
            model.to("cpu")
        else:
            raise result


def _attempt(run: Callable[[Option], Result], option: Option) -> Result | BaseException:
    """The result, or the error of a device that fails, after its memory was freed."""
    try:
        return run(option)
    except (MemoryError, RuntimeError) as error:  # NotImplementedError is one of them
        if not (is_out_of_memory(error) or is_unsupported(error)):
            raise
        failure = error.with_traceback(None)  # the traceback keeps all tensors alive
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failure


def _announce(step: str) -> None:
    warnings.warn(step, MssEduWarning, stacklevel=4)
