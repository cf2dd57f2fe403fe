"""A model, run as fast as equal output allows.

    mixture (batch, channels, samples) float32
      │ eval mode, no gradients, memory kept from chunk to chunk
      │ on the CPU: layers in the form that processors like, mssedu.separation.packed
      │ or compiled: several small steps become one pass over memory
      │ [ matrix products and convolutions in 16 bits ]
    estimate (batch, stems, channels, samples) float32

Half of the digits are half of the memory to move, and on processors with instructions
for them (AVX-512 BF16, AMX, tensor cores) two to sixteen times the multiplications a
second. Norms, the Fourier transform and the sums that carry a signal past a layer stay
in float32. bfloat16 keeps the range of float32 with 8 binary digits, float16 has 11 and
a smaller range. `python benchmarks/separation.py` measures what each step gives.
`has_fast_bfloat16` tells whether this processor has these instructions. Notebook: 12.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, MssEduWarning, SetupError, check_name, message
from mssedu.models.contract import device_of, eval_mode
from mssedu.separation.packed import pack

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
COMPILERS = ("c++", "g++", "clang++", "cl")
Forward = Callable[[Tensor], Tensor]
Methods = dict[str, Callable[..., Any]]  # of a module, by name

# Values of the variables that limit torch to older processors, without fast bfloat16
OLD_ATEN = {"DEFAULT", "AVX2"}
OLD_ONEDNN = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}
OLD_ONEDNN |= {"AVX512_CORE", "AVX512_CORE_VNNI"}


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
    dtype = PRECISIONS[check_name("precision", precision, PRECISIONS)]
    device = device_of(model)
    _check_precision(dtype, device)
    if compile:
        _check_compiler(device)
    on_cpu = device.type == "cpu"
    packs = on_cpu and not compile and torch.backends.mkldnn.is_available()
    without_lstm = on_cpu and dtype is torch.bfloat16 and not _has_bfloat16_lstm()
    if on_cpu:
        reuse_memory()

    def methods(module: nn.Module) -> Methods:
        if without_lstm and isinstance(module, nn.LSTM):
            return {"forward": _in_float32(module)}
        return pack(module, dtype) if packs else {}

    with eval_mode(model), _replaced(model, methods):
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


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 on the CPU.

    The processor must have instructions for it, and no variable of the environment may
    keep torch from using them: ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA or
    DNNL_MAX_CPU_ISA. Elsewhere bfloat16 works as well, but takes longer.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(_onednn_has_bfloat16())
    if torch.backends.cpu.get_cpu_capability() in OLD_ATEN:
        return False
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # the first one set counts
    limit = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if limit.upper() in OLD_ONEDNN:
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _onednn_has_bfloat16() -> bool | None:
    """Whether torch's library for the CPU takes bfloat16; None if torch lacks it."""
    answer = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return None if answer is None else answer()


def _has_bfloat16_lstm() -> bool:
    """Whether autocast may round an LSTM whose input is in float32.

    torch chooses oneDNN for such an input and rounds it afterwards; on processors
    before AVX-512, oneDNN then fails, where convolutions have another way.
    """
    return _onednn_has_bfloat16() is not False


def _in_float32(module: nn.LSTM) -> Callable[..., Any]:
    def forward(x: Tensor, *states: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return nn.LSTM.forward(module, x.float(), *states)

    return forward


@contextmanager
def _replaced(
    model: nn.Module, methods: Callable[[nn.Module], Methods]
) -> Iterator[None]:
    """Give each part of the model other methods, and take them away again."""
    before: list[tuple[nn.Module, str, Any]] = []
    try:
        with torch.no_grad():
            for module in model.modules():
                for name, other in methods(module).items():
                    # One is there already where a model is made ready twice.
                    before.append((module, name, module.__dict__.get(name)))
                    module.__dict__[name] = other
        yield
    finally:
        for module, name, method in reversed(before):
            if method is None:
                del module.__dict__[name]  # the method of its class shows again
            else:
                module.__dict__[name] = method


def _check_precision(dtype: torch.dtype, device: torch.device) -> None:
    if device.type != "cpu" or dtype is torch.float32:
        return
    if dtype is torch.float16:
        wanted, remedy = "float32 or bfloat16 on the CPU", "Use bfloat16, or a GPU."
        raise InputError(message("ready, precision", wanted, "float16", remedy))
    if not has_fast_bfloat16():
        text = "precision bfloat16: slow here, this CPU has no instructions for it"
        warnings.warn(text, MssEduWarning, stacklevel=4)


def _check_compiler(device: torch.device) -> None:
    if device.type == "cpu" and not any(shutil.which(name) for name in COMPILERS):
        remedy = "Install one (Debian: apt-get install g++), or leave compile off."
        raise SetupError(message("ready, compile", "a C++ compiler", "none", remedy))
