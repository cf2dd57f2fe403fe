"""How far a model hears: measured, with one poisoned sample.

One sample of the input is made NaN, "not a number". Whatever is computed from it turns
NaN too, through convolutions, recurrences, norms and attention alike, so the NaN in the
output are exactly the samples that depend on the poisoned one, whatever the weights:

    mixture      · · · · · · · · · N · · · · · · · · · ·
    estimate     · · · · · N N N N N N N N N N N · · · ·
                           ├─future─┤├──── past ────┤

The first output that turns NaN hears that far into the future, the last one that far
into the past. Strides make it matter on which sample one looks: the sample is moved
until the distances are greatest (to 1 % where they exceed 100 samples).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, message
from mssedu.models.contract import config_of, eval_mode


@dataclass(frozen=True)
class ReceptiveField:
    """Which input samples an output sample may depend on, besides its own."""

    past: int | None  # samples; None: back to the start of what the model is given
    future: int | None  # samples; None: up to its end

    @property
    def samples(self) -> int | None:
        """In all; None if it has no bound within the segment."""
        if self.past is None or self.future is None:
            return None
        return self.past + 1 + self.future


def receptive_field(model: nn.Module, samples: int) -> ReceptiveField:
    """Measure how far the model hears, by one forward or some twenty.

    Args:
        model: follows the contract; left as it was.
        samples: length of the excerpt, ≥ 1; a field that half of it cannot hold looks
            boundless. Windows count with the zeros at their rim.

    Raises:
        InputError: the model hides NaN, or ignores its input.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("open_unmix", "tiny")  # its LSTM hears everything
        >>> receptive_field(model, 44100)
        ReceptiveField(past=None, future=None)
    """
    middle = samples // 2
    first, last = _touched(model, samples, middle)
    is_bounded_future, is_bounded_past = first > 0, last < samples - 1
    if is_bounded_future and is_bounded_past:  # then a shorter excerpt will do
        samples = min(samples, 4 * (max(middle - first, last - middle) + 1))
        middle = samples // 2
        first, last = _touched(model, samples, middle)
    past, future = None, None
    if is_bounded_future:
        later = _farthest(
            lambda distance: _touched(model, samples, middle + distance)[0] <= first,
            limit=samples - middle - 1,
            step=max(1, (middle - first) // 100),
        )
        future = max(0, middle + later - first)
    if is_bounded_past:
        earlier = _farthest(
            lambda distance: _touched(model, samples, middle - distance)[1] >= last,
            limit=middle,
            step=max(1, (last - middle) // 100),
        )
        past = max(0, last - (middle - earlier))
    return ReceptiveField(past, future)


def _farthest(holds: Callable[[int], bool], limit: int, step: int) -> int:
    """Largest distance ≤ limit for which it holds, less than a step short of it."""
    low, high = 0, step
    while high <= limit and holds(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > step:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@torch.no_grad()
def _touched(model: nn.Module, samples: int, index: int) -> tuple[int, int]:
    """First and last output sample that depend on the input sample at `index`."""
    like = next(iter(model.parameters()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, config_of(model).channels, samples, generator=generator)
    mixture = (0.1 * noise).to(like)
    mixture[..., index] = torch.nan
    # cuDNN may convolve by tiles or by FFT, where a NaN spreads to its neighbors.
    with eval_mode(model), torch.backends.cudnn.flags(enabled=False):
        estimate: Tensor = model(mixture)
    touched = estimate.isnan().flatten(0, -2).any(0).nonzero()
    if len(touched) == 0:
        wanted = f"an output that depends on input sample {index} of {samples}"
        remedy = "Remove nan_to_num and the like, or measure a longer excerpt."
        raise InputError(message("receptive_field", wanted, "no NaN", remedy))
    return int(touched[0]), int(touched[-1])
