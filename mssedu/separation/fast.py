"""Run a trained model as fast as equal output allows.

    mixture (batch, channels, samples) float32
      │ eval mode, no gradients, memory reused from chunk to chunk
      │ on the CPU: layers in a packed form, see below
      │ or compiled: several small steps become one pass over memory
      │ [ matrix products and convolutions in 16 bits ]
    estimate (batch, stems, channels, samples) float32

A number of 16 bits is half the memory to move, and on processors with instructions for
it (AVX-512 BF16, AMX, tensor cores) 2 to 16 times the multiplications a second. Norms,
the Fourier transform and the sums of residual connections stay in float32. bfloat16 has
the range of float32 with 8 binary digits; float16 has 11 digits and a smaller range.
`python benchmarks/separation.py` measures what each step gives.

The layers of `mssedu.models` are for reading and training. `pack` computes the same
numbers with all channels of a moment side by side in memory:

    plain    (batch, channels, time)    a channel is a row
    packed   (batch, time, channels)    a moment is a row: every convolution is a matrix
                                        product of these rows, without rearranging

It saves more, with no change but rounding:

- GLU: two convolutions compute value and gate, each in one piece of memory.
- DConv: the second norm and LayerScale are a factor and an offset per channel, so they
  become part of the convolution before; its mean and deviation follow from those of its
  few input channels.
- Transposed convolution: kernel 8, stride 4 is a plain convolution over 2 moments that
  computes the 4 new ones beside each other.
- Matrix products of the transformer run as convolutions with a kernel of 1: on some
  processors torch's library for convolutions is faster than the one for matrices.
- RoFormers: see fast_blocks.py.
Notebook: 12.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.errors import InputError, MssEduWarning, SetupError, check_name
from mssedu.models.blocks.bands import BandMerge, BandSplit
from mssedu.models.blocks.dconv import DConv
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    LastConvolution,
    along_time,
)
from mssedu.models.blocks.rotary import RotaryLayer
from mssedu.models.blocks.transformer import Attention
from mssedu.models.contract import device_of, eval_mode
from mssedu.models.mdx_net import Block
from mssedu.separation.config import Precision
from mssedu.separation.fast_blocks import rotary_layer
from mssedu.weights.onnx_model import OnnxModel

# Blocks whose linear layers stay as they are: as convolutions, they are slower or round
# differently, and a RoFormer layer takes over their weights
WHOLE = (BandMerge, BandSplit, Block, RotaryLayer)
COMPILERS = ("c++", "g++", "clang++", "cl")
Step = Callable[[Tensor], Tensor]
Methods = dict[str, Callable[..., Any]]  # of a module, by name

# Values of environment variables that limit torch to instructions of older processors,
# which have no fast bfloat16
OLD_ATEN = {"DEFAULT", "AVX2"}
OLD_ONEDNN = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}
OLD_ONEDNN |= {"AVX512_CORE", "AVX512_CORE_VNNI"}


@contextmanager
def ready(
    model: nn.Module, *, precision: str = "float32", compile: bool = False
) -> Iterator[Step]:
    """Make a model ready to separate; at the end it is as it was before.

    Args:
        model: follows the model contract, on the device that will compute.
        precision: of matrix products and convolutions: float32, bfloat16 or float16.
        compile: use torch.compile, which fuses steps and takes minutes at first.

    Yields:
        forward: (batch, channels, samples) float32 -> (batch, stems, channels, samples)
        float32, on the model's device.

    Raises:
        InputError: an unknown precision, one that this device lacks, or a precision or
            compile for a model in an ONNX file.
        SetupError: `compile` without a C++ compiler.

    Example:
        >>> with ready(torch.nn.Conv1d(2, 2, 1)) as forward:
        ...     forward(torch.zeros(1, 2, 8)).requires_grad
        False
    """
    dtype = getattr(torch, check_name("precision", precision, get_args(Precision)))
    device = device_of(model)
    on_cpu, rounded = device.type == "cpu", dtype is not torch.float32
    if isinstance(model, OnnxModel) and (rounded or compile):
        raise InputError(
            "a model in an ONNX file is computed by onnxruntime, in the precision of "
            "the file. Leave precision and compile out, or use the model before its "
            "export."
        )
    if on_cpu:
        _check_cpu(dtype, compile)
        reuse_memory()
    packs = on_cpu and not compile and torch.backends.mkldnn.is_available()
    # torch chooses oneDNN for an LSTM whose input is in float32 and rounds the input
    # afterwards. On processors without AVX-512, oneDNN then fails.
    onednn_fails = on_cpu and rounded and _onednn_has_bfloat16() is False

    covered: set[nn.Module] = set()  # parts of a block that is dealt with as a whole

    def methods(module: nn.Module) -> Methods:
        if module in covered:
            return {}
        if isinstance(module, WHOLE) and not rounded:
            covered.update(module.modules())
        if onednn_fails and isinstance(module, nn.LSTM):
            return {"forward": _in_float32(module)}
        return pack(module, dtype) if packs else {}

    with eval_mode(model), _replaced(model, methods):
        run = torch.compile(model) if compile else model

        def forward(mixture: Tensor) -> Tensor:
            with torch.inference_mode(), torch.autocast(device.type, dtype, rounded):
                return run(mixture).float()

        yield forward


def reuse_memory() -> None:
    """Make the process keep the memory of its large tensors from one step to the next.

    Otherwise the allocator of Linux returns it to the system each time and fetches it
    again page by page, which takes a third of a training step on the CPU.
    """
    with contextlib.suppress(OSError, AttributeError):  # no glibc, or another system
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        # Options in malloc.h: no mmap, never trim, bytes that are requested at once
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
            mallopt(option, value)


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 on the CPU.

    The processor must have instructions for it, and no environment variable may stop
    torch from using them: ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA or DNNL_MAX_CPU_ISA.
    Without these instructions bfloat16 works as well, but takes longer.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(_onednn_has_bfloat16())
    if torch.backends.cpu.get_cpu_capability() in OLD_ATEN:
        return False
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # the first one decides
    limit = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if limit.upper() in OLD_ONEDNN:
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _onednn_has_bfloat16() -> bool | None:
    """Whether torch's library for the CPU supports bfloat16; None if it is missing."""
    answer = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return None if answer is None else answer()


def _in_float32(module: nn.LSTM) -> Callable[..., Any]:
    def forward(x: Tensor, *states: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return nn.LSTM.forward(module, x.float(), *states)

    return forward


@contextmanager
def _replaced(
    model: nn.Module, methods: Callable[[nn.Module], Methods]
) -> Iterator[None]:
    """Replace methods of the model's parts, and restore them at the end."""
    with torch.no_grad():
        changes = [(vars(module), methods(module)) for module in model.modules()]
    # A part has replaced methods already if `ready` is entered twice.
    before = [{name: own[name] for name in new if name in own} for own, new in changes]
    for own, new in changes:
        own.update(new)
    try:
        yield
    finally:
        for (own, new), old in zip(changes, before, strict=True):
            for name in new:
                del own[name]  # the method of its class is used again
            own.update(old)


def _check_cpu(dtype: torch.dtype, compile: bool) -> None:
    """Raise an error for what this CPU or machine lacks."""
    if dtype is torch.float16:
        raise InputError(
            "precision float16 needs a GPU. On the CPU, use bfloat16 or float32."
        )
    if dtype is torch.bfloat16 and not has_fast_bfloat16():
        text = "precision bfloat16 is slow here: this CPU has no instructions for it"
        warnings.warn(text, MssEduWarning, stacklevel=4)
    if compile and not any(shutil.which(name) for name in COMPILERS):
        raise SetupError(
            "compile needs a C++ compiler, and there is none. Install one (Debian: "
            "apt-get install g++), or leave compile off."
        )


# ---- packed layers ------------------------------------------------------------------


def pack(module: nn.Module, dtype: torch.dtype) -> Methods:
    """The methods of a module that have a faster form, by name; empty if none has.

    Args:
        module: on the CPU, in eval mode, with its final weights, which are copied.
        dtype: of matrix products and convolutions, and of their results.
    """
    if isinstance(module, DConv):
        return {"forward": _dconv(module, dtype)}
    if isinstance(module, EncoderLayer) and _is_plain(module):
        return {"forward": _encoder(module, dtype)}
    if isinstance(module, LastConvolution):
        layer: Any = module.conv_tr
        halves = module.freq or layer.kernel_size[0] == 2 * layer.stride[0]
        methods: Methods = {"grow": _grow(module, dtype)} if halves else {}
        if isinstance(module, DecoderLayer) and _is_plain(module):
            gated = _gated(module.rewrite, dtype)
            methods["gather"] = lambda x, skip: along_time(
                module.dconv, gated(x + skip)
            )
        return methods
    if isinstance(module, Attention):
        return {"forward": _attention(module, dtype)}
    if isinstance(module, RotaryLayer) and dtype is torch.float32:
        return {"forward": rotary_layer(module)}
    if isinstance(module, FrequencyEmbedding):
        vectors = FrequencyEmbedding.forward(module, torch.zeros(1, 1, 1, 1)).detach()
        return {"forward": partial(torch.add, vectors.to(dtype))}
    if type(module) is nn.Linear:
        weight = module.weight[:, :, None]
        return {"forward": _rows(_convolution(weight, module.bias, dtype))}
    return {}


def _is_plain(layer: EncoderLayer | DecoderLayer) -> bool:
    """Whether a layer has a GLU and no norms."""
    return layer.rewrite is not None and isinstance(layer.norm1, nn.Identity)


def _packed(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def _convolution(
    weight: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
    stride: tuple[int, ...] = (1,),
    padding: tuple[int, ...] = (0,),
    dilation: tuple[int, ...] = (1,),
) -> Step:
    """A convolution over time, or over bins and time, with a packed result."""
    flat = weight.ndim == 3  # over time only: an image of one bin
    kernel = _packed((weight.unsqueeze(2) if flat else weight).detach(), dtype)
    offset = None if bias is None else bias.detach().to(dtype)
    if flat:
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)

    def run(x: Tensor) -> Tensor:
        x = _packed(x.unsqueeze(2) if flat else x, dtype)
        y = F.conv2d(x, kernel, offset, stride, padding, dilation)
        return y.squeeze(2) if flat else y

    return run


def _parts(
    n: int, weight: Tensor, bias: Tensor, dtype: torch.dtype, *sizes: tuple[int, ...]
) -> list[Step]:
    """A convolution as n, each with a share of the channels out."""
    shares = zip(weight.chunk(n), bias.chunk(n), strict=True)
    return [_convolution(share, offset, dtype, *sizes) for share, offset in shares]


def _gated(layer: Any, dtype: torch.dtype) -> Step:
    """A convolution and GLU."""
    sizes = (layer.stride, layer.padding, layer.dilation)
    value, gate = _parts(2, layer.weight, layer.bias, dtype, *sizes)

    def run(x: Tensor) -> Tensor:
        x = x.to(dtype)
        return value(x).mul_(gate(x).sigmoid_())

    return run


def _rows(convolve: Step) -> Step:
    """A convolution with a kernel of 1, as a linear layer: (…, in) -> (…, out)."""

    def run(x: Tensor) -> Tensor:
        y = convolve(x.reshape(1, -1, x.shape[-1]).mT).mT
        return y.reshape(*x.shape[:-1], -1)

    return run


def _dconv(module: DConv, dtype: torch.dtype) -> Step:
    branches = [_branch(layer, dtype) for layer in module.layers]

    def forward(x: Tensor) -> Tensor:
        for branch in branches:
            x = branch(x)
        return x

    return forward


def _branch(layer: Any, dtype: torch.dtype) -> Step:
    """x + a branch of DConv, with the norm before GLU inside the wide convolution.

    For an input g (hidden, frames) that convolution computes w g + b. Its norm changes
    it to gain · (w g + b - mean) / std + shift: again a matrix times a few rows, which
    are g / std, 1 / std and mean / std.
    """
    narrow, norm, gelu, *inner, wide, norm_out, _, scale = layer
    sizes = (narrow.stride, narrow.padding, narrow.dilation)
    convolve = _convolution(narrow.weight, narrow.bias, dtype, *sizes)
    weight, bias = wide.weight.detach()[:, :, 0], wide.bias.detach()
    factor = torch.cat([scale.scale, torch.ones_like(scale.scale)]).detach()
    gain, shift = norm_out.weight * factor, norm_out.bias * factor
    columns = [weight * gain[:, None], (bias * gain)[:, None], -gain[:, None]]
    value, gate = _parts(2, torch.cat(columns, dim=1)[:, :, None], shift, dtype)
    squares = weight.T @ weight

    def run(x: Tensor) -> Tensor:
        g = gelu(norm(convolve(x).float()))
        for part in inner:
            g = part(g)
        with torch.autocast(x.device.type, enabled=False):
            rows = normalized(g.float())
        return torch.addcmul(x.to(dtype), value(rows), gate(rows).sigmoid_())

    def normalized(g: Tensor) -> Tensor:
        level = g.mean(2)
        around = g - level[..., None]
        # The variance of w g + b: that of its channels' means plus that around them.
        means = F.linear(level, weight, bias)
        spread = (around @ around.mT * squares).sum((1, 2)) / g.shape[2] / len(bias)
        variance = means.var(1, correction=0) + spread
        rate = (variance + norm_out.eps).rsqrt()[:, None, None]
        mean = means.mean(1)[:, None, None]
        ones = torch.ones_like(g[:, :1])
        return torch.cat([g * rate, rate * ones, mean * rate * ones], dim=1)

    return run


def _encoder(module: EncoderLayer, dtype: torch.dtype) -> Callable[..., Tensor]:
    conv: Any = module.conv
    sizes = (conv.stride, conv.padding, conv.dilation)
    convolve = _convolution(conv.weight, conv.bias, dtype, *sizes)
    gated = _gated(module.rewrite, dtype)

    def forward(x: Tensor, other: Tensor | None = None) -> Tensor:
        if not module.freq:
            missing = module.missing(x.shape[-1])
            x = F.pad(x.mT, (0, 0, 0, missing)).mT if missing else x
        x = convolve(x)
        if other is not None:
            x = x + other.reshape(x.shape)
        return gated(along_time(module.dconv, torch.ops.aten.gelu_(x)))

    return forward


def _grow(module: LastConvolution, dtype: torch.dtype) -> Callable[..., Tensor]:
    layer: Any = module.conv_tr
    up = _transposed_2d(layer, dtype) if module.freq else _transposed_1d(layer, dtype)

    def grow(x: Tensor, length: int) -> Tensor:
        x = module.norm2(up(x)).narrow(2, module.cut, length)
        return x if module.last else F.gelu(x)

    return grow


def _transposed_2d(layer: Any, dtype: torch.dtype) -> Step:
    kernel, bias = _packed(layer.weight.detach(), dtype), layer.bias.detach().to(dtype)
    return lambda x: F.conv_transpose2d(_packed(x, dtype), kernel, bias, layer.stride)


def _transposed_1d(layer: Any, dtype: torch.dtype) -> Step:
    """A transposed convolution as a plain one over two moments: stride = kernel / 2."""
    (stride,), (size,) = layer.stride, layer.kernel_size
    assert size == 2 * stride, (size, stride)
    # The second half of the kernel of moment m and the first half of the kernel of
    # moment m + 1 are added at the same place.
    halves = torch.stack([layer.weight[..., stride:], layer.weight[..., :stride]])
    kernel = rearrange(halves, "half c out new -> (new out) c half")
    convolve = _convolution(kernel, layer.bias.repeat(stride), dtype, padding=(1,))
    return lambda x: rearrange(convolve(x), "b (new c) m -> b c (m new)", new=stride)


def _attention(module: Attention, dtype: torch.dtype) -> Callable[..., Tensor]:
    weight, bias = module.in_proj_weight[:, :, None], module.in_proj_bias
    to_q, to_k, to_v = map(_rows, _parts(3, weight, bias, dtype))
    width = len(bias) // 3 // module.n_heads

    def heads(x: Tensor) -> Tensor:
        return rearrange(x, "b m (h d) -> b h m d", d=width).contiguous()

    def forward(query: Tensor, key_value: Tensor) -> Tensor:
        q, k, v = heads(to_q(query)), heads(to_k(key_value)), heads(to_v(key_value))
        if dtype is torch.float32:
            attended = F.scaled_dot_product_attention(q, k, v)
        else:  # in 16 bits, that function is slower than its three steps
            attended = (q * width**-0.5 @ k.mT).softmax(-1).to(dtype) @ v
        return module.out_proj(rearrange(attended, "b h m d -> b m (h d)"))

    return forward
