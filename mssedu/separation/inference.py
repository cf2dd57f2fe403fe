"""A model, run as fast as equal output allows.

    mixture (batch, channels, samples) float32
      │ eval mode, no gradients, memory kept from chunk to chunk
      │ on the CPU: layers in the form that processors like, mssedu.blocks.packed
      │ or compiled: several small steps become one pass over memory
      │ [ matrix products and convolutions in 16 bits ]
    estimate (batch, stems, channels, samples) float32

Half of the digits are half of the memory to move, and on processors with instructions
for them (AVX-512 BF16, AMX, tensor cores) two to sixteen times the multiplications a
second. Norms, the Fourier transform and the sums that carry a signal past a layer stay
in float32. bfloat16 keeps the range of float32 with 8 binary digits, float16 has 11 and
a smaller range. `python benchmarks/separation.py` measures what each step gives.
Notebook: 12.
"""

import contextlib
import ctypes
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.blocks.packed import pack
from mssedu.checks import InputError, MssEduWarning, SetupError, check_name, message
from mssedu.contract import device_of, eval_mode

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
COMPILERS = ("c++", "g++", "clang++", "cl")
Forward = Callable[[Tensor], Tensor]


@contextmanager
def ready(
    model: nn.Module, *, precision: str = "float32", compile: bool = False
) -> Iterator[Forward]:
    """Make a model ready to separate; afterwards it is as it was.

    Args:
        model: follows the contract, on the device to compute on.
        precision: of matrix products and convolutions: float32, bfloat16 or float16.
        compile: let torch.compile fuse steps, which takes minutes at first.

    Yields:
        forward: (batch, channels, samples) float32 -> (batch, stems, channels, samples)
        float32, on the model's device.

    Raises:
        InputError: no such precision, or not on this device.
        SetupError: `compile` without a C++ compiler.

    Example:
        >>> with ready(torch.nn.Conv1d(2, 2, 1)) as forward:
        ...     forward(torch.zeros(1, 2, 8)).requires_grad
        False
    """
    dtype = PRECISIONS[check_name("ready", "precision", precision, PRECISIONS)]
    device = device_of(model)
    _check_precision(dtype, device)
    if compile:
        _check_compiler(device)
    packs = device.type == "cpu" and torch.backends.mkldnn.is_available()
    if device.type == "cpu":
        reuse_memory()
    with eval_mode(model), _packed(model, dtype) if packs and not compile else _as_is():
        run = torch.compile(model) if compile else model

        def forward(mixture: Tensor) -> Tensor:
            rounded = dtype is not torch.float32
            with torch.inference_mode(), torch.autocast(device.type, dtype, rounded):
                return run(mixture).float()

        yield forward


def reuse_memory() -> None:
    """Let the process keep the memory of its large tensors from one step to the next.

    The allocator of Linux gives it back to the system each time and fetches it anew,
    page by page, a third of a training step on the CPU. Elsewhere this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):  # no glibc, or another system
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in (_NO_MMAP, _NEVER_TRIM, _GROW):
            mallopt(option, value)


# Options of glibc's mallopt (malloc.h), each with the value it gets.
_NO_MMAP = (-4, 0)
_NEVER_TRIM = (-1, 2**31 - 1)
_GROW = (-2, 2**28)  # bytes asked for at once


@contextmanager
def _packed(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Give each part of the model its fast methods, and take them away again."""
    before: list[tuple[nn.Module, str, Any]] = []
    try:
        with torch.no_grad():
            for module in model.modules():
                for name, packed in pack(module, dtype).items():
                    # One is there already where a model is made ready twice.
                    before.append((module, name, module.__dict__.get(name)))
                    module.__dict__[name] = packed
        yield
    finally:
        for module, name, method in reversed(before):
            if method is None:
                del module.__dict__[name]  # the method of its class shows again
            else:
                module.__dict__[name] = method


_as_is = contextlib.nullcontext


def _check_precision(dtype: torch.dtype, device: torch.device) -> None:
    if device.type != "cpu" or dtype is torch.float32:
        return
    if dtype is torch.float16:
        wanted, remedy = "float32 or bfloat16 on the CPU", "Use bfloat16, or a GPU."
        raise InputError(message("ready, precision", wanted, "float16", remedy))
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if not fast:
        text = "precision bfloat16: slow here, this CPU has no instructions for it"
        warnings.warn(text, MssEduWarning, stacklevel=4)


def _check_compiler(device: torch.device) -> None:
    if device.type == "cpu" and not any(shutil.which(name) for name in COMPILERS):
        remedy = "Install one (Debian: apt-get install g++), or leave compile off."
        raise SetupError(message("ready, compile", "a C++ compiler", "none", remedy))
