"""The receptive field of a model, measured with one NaN in its input.

One sample of the input is set to NaN, "not a number". Every value that is computed from
it becomes NaN too, in convolutions, recurrences, norms and attention alike. So the NaN
samples of the output are exactly those that depend on this input sample, for any
weights:

    mixture      · · · · · · · · · N · · · · · · · · · ·
    estimate     · · · · · N N N N N N N N N N N · · · ·
                           ├─future─┤├──── past ────┤

The first NaN in the output depends on input that far in its future, and the last NaN on
input that far in its past. With strides, the distances differ from sample to sample, so
the NaN in the input is moved until they are greatest (to within 1 % above 100 samples).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssedu.errors import InputError
from mssedu.models.contract import config_of, eval_mode


@dataclass(frozen=True)
class ReceptiveField:
    """The input samples that an output sample may depend on, besides its own."""

    past: int | None  # samples; None: back to the start of the input
    future: int | None  # samples; None: up to the end of the input

    @property
    def samples(self) -> int | None:
        """The whole field in samples; None if it has no bound within the segment."""
        if self.past is None or self.future is None:
            return None
        return self.past + 1 + self.future


def receptive_field(model: nn.Module, samples: int) -> ReceptiveField:
    """Measure the receptive field with one forward, or with about twenty.

    Args:
        model: follows the contract; it is not changed.
        samples: length of the excerpt, ≥ 1. A field of more than half of it counts as
            unbounded. An STFT window counts in full, with the zeros at its ends.

    Raises:
        InputError: the model replaces NaN, or does not depend on its input.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("open_unmix", "tiny")  # its LSTM reads all frames
        >>> receptive_field(model, 44100)
        ReceptiveField(past=None, future=None)
    """
    middle = samples // 2
    first, last = _touched(model, samples, middle)
    is_bounded_future, is_bounded_past = first > 0, last < samples - 1
    if is_bounded_future and is_bounded_past:  # then a shorter excerpt is enough
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
    """The largest distance ≤ limit for which `holds` is true, to within one step."""
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
    # cuDNN may convolve in tiles or by FFT, where a NaN spreads to its neighbors.
    with eval_mode(model), torch.backends.cudnn.flags(enabled=False):
        estimate: Tensor = model(mixture)
    touched = estimate.isnan().flatten(0, -2).any(0).nonzero()
    if len(touched) == 0:
        raise InputError(
            f"{type(model).__name__} gives no NaN for a NaN at input sample {index} of "
            f"{samples}. Remove nan_to_num and the like from the model, or choose more "
            "samples."
        )
    return int(touched[0]), int(touched[-1])
