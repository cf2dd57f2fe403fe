"""When the device cannot: smaller batches, then shorter chunks, then the CPU.

    out of memory: batch ÷ 2 … 1 ▸ chunk ÷ 2 … 1 s ▸ CPU ▸ the error as it came
    an operation that Apple's GPU lacks: CPU

Each step is announced, as it changes the speed, and shorter chunks the result as well.
A smaller batch goes on where it was; the others begin the song again. Notebook: 12.
"""

import gc
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from mssedu.errors import MssEduWarning
from mssedu.models.contract import config_of, device_of, segment_limit
from mssedu.separation.config import SeparateConfig

SHORTEST_SECONDS = 1.0  # of a chunk
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch or Python says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    texts = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(t in str(error) for t in texts)


def is_unsupported(error: BaseException) -> bool:
    """Whether PyTorch says that Apple's GPU has no such operation."""
    return isinstance(error, NotImplementedError) and "MPS" in str(error)


def in_smaller_batches(process: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """The process, which from a batch too large on computes half as many at once.

    Args:
        process: (batch, …) -> (batch, …), every item for itself.
    """
    largest: float = math.inf

    def run(batch: Tensor) -> Tensor:
        nonlocal largest
        while True:
            size = int(min(largest, len(batch)))
            result = _attempt(partial(_in_parts, process, batch, size))
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
    """Run, and if the device cannot, again with shorter chunks or on the CPU.

    Args:
        run: separates a whole song with the settings that it is given.
        model: is moved to the CPU where chunks of a second are still too much for the
            device; one that always computes its full length gets there at once.
        config: the settings of the first attempt, its segment in seconds.

    Raises:
        the error of `run`: nothing helped, or it was about something else.
    """
    fixed = segment_limit(config_of(model)) is not None
    while True:
        result = _attempt(partial(run, config))
        if not isinstance(result, BaseException):
            return result
        seconds = (config.segment or 0) / 2
        device = device_of(model)
        memory = is_out_of_memory(result)
        why = "out of memory" if memory else str(result)
        if memory and seconds >= SHORTEST_SECONDS and not fixed:
            _announce(
                f"{why}: segment {2 * seconds:g} to {seconds:g} s, from the start"
            )
            config = replace(config, segment=seconds)
        elif device.type != "cpu":
            _announce(f"{why}: {device.type} to cpu, from the start")
            model.to("cpu")
        else:
            raise result


def _in_parts(process: Callable[[Tensor], Tensor], batch: Tensor, size: int) -> Tensor:
    return torch.cat([process(part) for part in batch.split(size)])


def _attempt(run: Callable[[], Result]) -> Result | BaseException:
    """The result, or the error that the device cannot, after what it held was freed."""
    try:
        return run()
    except (MemoryError, RuntimeError) as error:  # NotImplementedError among them
        if not (is_out_of_memory(error) or is_unsupported(error)):
            raise
        failure = error.with_traceback(None)  # which keeps all tensors alive
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failure


def _announce(step: str) -> None:
    warnings.warn(step, MssEduWarning, stacklevel=4)
