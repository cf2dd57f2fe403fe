"""One step before the first: what would fail in it, or at the end of a long run."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mssedu.data.segments import RandomSegments
from mssedu.data.track import Track
from mssedu.errors import InputError, SetupError, message
from mssedu.separation.tensors import separate
from mssedu.training.config import TrainConfig
from mssedu.training.preflight import pick_device

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


@contextmanager
def enough_memory(config: TrainConfig) -> Iterator[None]:
    """While open, memory that does not suffice is told with the way out.

    Raises:
        SetupError: no memory left on the device or, for the examples, on the CPU.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if isinstance(error, RuntimeError) and not (
            isinstance(error, torch.OutOfMemoryError)
            or any(words in text for words in OUT_OF_MEMORY)
        ):
            raise
        remedy = (
            "Halve --batch-size or --segment, or use --precision bfloat16 (batch_size, "
            "segment, precision in Python)."
        )
        wanted = f"memory for {config.batch_size} × {config.segment:g} s"
        got = f"too little on {pick_device(config.device)}"
        raise SetupError(message("fit", wanted, got, remedy)) from error


def rehearse(
    model: nn.Module,
    segments: RandomSegments,
    valid_tracks: Sequence[Track] | None,
    config: TrainConfig,
    error_of: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    """One step's forward and backward pass, and one separation, on a copy.

    Args:
        model: on the device where it will train; it stays as it is.
        error_of: model and sources -> loss, as in the steps.

    Raises:
        InputError: a loss or gradient that is not finite.
    """
    model = copy.deepcopy(model).train()
    device = next(model.parameters()).device
    sources = torch.stack([segments[item] for item in range(config.batch_size)])
    value = error_of(model, sources.to(device))
    value.backward()
    norm = nn.utils.get_total_norm(
        [p.grad for p in model.parameters() if p.grad is not None]
    )
    if not (value.isfinite() and norm.isfinite()):
        got = f"loss {value.item():.3g}, gradient norm {norm.item():.3g}"
        remedy = "Look for NaN in the data and in the model's weights."
        wanted = "a finite loss and gradient on the first batch"
        raise InputError(message("fit", wanted, got, remedy))
    if valid_tracks:
        excerpt = valid_tracks[0].mixture(0.0, config.segment)
        separate(model, excerpt)
