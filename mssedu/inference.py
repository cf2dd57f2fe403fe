"""A model, run as fast as equal output allows.

    mixture (batch, channels, samples) float32
      │ eval mode, no gradients      [ matrices and convolutions in 16 bits ]
      │ [ compiled: several small steps become one pass over memory ]
    estimate (batch, stems, channels, samples) float32

Half of the digits are half of the memory to move, and on processors with instructions
for them (AVX-512 BF16, AMX, tensor cores) two to eight times the multiplications a
second. Only matrix products and convolutions are rounded to 16 bits; norms, the Fourier
transform and the sums that carry a signal on stay in float32. bfloat16 keeps the range
of float32 with 8 digits (binary), float16 has 11 digits and a smaller range.
Notebook: 12.
"""

import contextlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mssedu.checks import InputError, SetupError, check_name, message

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
Forward = Callable[[Tensor], Tensor]


@contextmanager
def ready(
    model: nn.Module, *, precision: str = "float32", compile: bool = False
) -> Iterator[Forward]:
    """Make a model ready to separate; afterwards it is as it was.

    Args:
        model: follows the contract, on the device to compute on.
        precision: of matrix products and convolutions: float32, bfloat16 or float16.
        compile: let torch.compile fuse steps, which takes a minute or two at first.

    Yields:
        forward: (batch, channels, samples) float32 -> (batch, stems, channels, samples)
        float32, on the model's device.

    Raises:
        InputError: no such precision, or not on this device.
        SetupError: `compile` without a C++ compiler.

    Example:
        >>> model = nn.Conv1d(2, 2, 1)
        >>> with ready(model) as forward:
        ...     forward(torch.zeros(1, 2, 8)).requires_grad
        False
    """
    dtype = PRECISIONS[check_name("ready", "precision", precision, PRECISIONS)]
    device = next(model.parameters(), torch.empty(0)).device
    _check_precision(dtype, device)
    run = _compiled(model, device) if compile else model

    def forward(mixture: Tensor) -> Tensor:
        with torch.inference_mode(), _rounding(dtype, device):
            return run(mixture).float()

    was_training = [module.training for module in model.modules()]
    model.eval()
    try:
        yield forward
    finally:
        for module, training in zip(model.modules(), was_training, strict=True):
            module.training = training


def _rounding(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager:
    """What rounds the operands of matrix products and convolutions to `dtype`."""
    if dtype is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def _check_precision(dtype: torch.dtype, device: torch.device) -> None:
    if device.type != "cpu" or dtype is torch.float32:
        return
    if dtype is torch.float16:
        remedy = "Use bfloat16, or a GPU."
        wanted = "precision float32 or bfloat16 on the CPU"
        raise InputError(message("ready", wanted, "float16", remedy))
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        text = "precision bfloat16: slow, as this CPU has no instructions for it"
        warnings.warn(text, stacklevel=4)


def _compiled(model: nn.Module, device: torch.device) -> Forward:
    """torch.compile, or a SetupError where there is no compiler for the CPU's code."""
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        remedy = "Install g++ (Debian: apt-get install g++), or leave compile off."
        raise SetupError(message("ready", "a C++ compiler", "none", remedy))
    return torch.compile(model)
