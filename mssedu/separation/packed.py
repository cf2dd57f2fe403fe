"""The layers of Demucs and transformers again, for a CPU: same numbers, less work.

The plain layers are for reading and training. These compute the same in another order,
which a CPU likes better: all channels of a moment beside each other in memory.

    plain    (batch, channels, time)    a channel is a row
    packed   (batch, time, channels)    a moment is a row: every convolution is a matrix
                                        product of these rows, and needs no rearranging

What else is saved, with no change but rounding:

- GLU: two convolutions make value and gate, each in one piece of memory.
- DConv: the second norm and LayerScale are a factor and an offset a channel, so they
  become part of the convolution before; its mean and deviation follow from those of the
  few channels that go in.
- Transposed convolution: kernel 8, stride 4 is a plain convolution over 2 moments that
  draws the 4 new ones beside each other.
- Matrix products of the transformer run as convolutions with a kernel of 1: on some
  processors torch's library for convolutions is faster than the one for matrices.

The weights are copied when a layer is packed. Notebook: 12.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from mssedu.models.blocks.dconv import DConv
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    LastConvolution,
    along_time,
)
from mssedu.models.blocks.transformer import Attention

Step = Callable[[Tensor], Tensor]


def pack(module: nn.Module, dtype: torch.dtype) -> dict[str, Callable[..., Tensor]]:
    """The methods of a module that have a faster form, by name; empty if none has.

    Args:
        module: on the CPU, in eval mode, its weights as they will be used.
        dtype: of matrix products and convolutions, and of what they give.
    """
    if isinstance(module, DConv):
        return {"forward": _dconv(module, dtype)}
    if isinstance(module, EncoderLayer) and _has_no_norm(module):
        return {"forward": _encoder(module, dtype)}
    if isinstance(module, DecoderLayer) and _has_no_norm(module):
        return {"gather": _gather(module, dtype), "grow": _grow(module, dtype)}
    if isinstance(module, LastConvolution):
        return {"grow": _grow(module, dtype)}
    if isinstance(module, Attention):
        return {"forward": _attention(module, dtype)}
    if isinstance(module, FrequencyEmbedding):
        return {"forward": _embedding(module, dtype)}
    if type(module) is nn.Linear:
        return {"forward": _rows(module.weight, module.bias, dtype)}
    return {}


def _has_no_norm(module: EncoderLayer | DecoderLayer) -> bool:
    return isinstance(module.norm1, nn.Identity)


def _convolution(
    weight: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
    stride: tuple[int, ...] = (1,),
    padding: tuple[int, ...] = (0,),
    dilation: tuple[int, ...] = (1,),
) -> Step:
    """A convolution over time, or over bins and time, that gives packed memory."""
    flat = weight.ndim == 3  # over time: a picture of one bin
    kernel = weight.unsqueeze(2) if flat else weight
    kernel = kernel.detach().to(dtype).contiguous(memory_format=torch.channels_last)
    offset = None if bias is None else bias.detach().to(dtype)
    if flat:
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)

    def run(x: Tensor) -> Tensor:
        x = x.unsqueeze(2) if flat else x
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        y = F.conv2d(x, kernel, offset, stride, padding, dilation)
        return y.squeeze(2) if flat else y

    return run


def _of(layer: Any, dtype: torch.dtype) -> Step:
    sizes = (layer.stride, layer.padding, layer.dilation)
    return _convolution(layer.weight, layer.bias, dtype, *sizes)


def _gated(layer: Any, dtype: torch.dtype) -> Step:
    """A convolution and GLU."""
    sizes = (layer.stride, layer.padding, layer.dilation)
    value, gate = (
        _convolution(weight, bias, dtype, *sizes)
        for weight, bias in zip(layer.weight.chunk(2), layer.bias.chunk(2), strict=True)
    )

    def run(x: Tensor) -> Tensor:
        x = x.to(dtype)
        return value(x).mul_(gate(x).sigmoid_())

    return run


def _rows(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Step:
    """A linear layer: (…, width) -> (…, width_out)."""
    convolve = _convolution(weight[:, :, None], bias, dtype)

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
    """x + a branch of DConv, the norm before GLU made part of the wide convolution.

    With g (hidden, frames) going in, that convolution gives w g + b. Its norm makes it
    gain · (w g + b - mean) / std + shift: again a matrix times a few rows, which are
    g / std, 1 / std and mean / std.
    """
    narrow, norm, gelu, *inner, wide, norm_out, _, scale = layer
    convolve = _of(narrow, dtype)
    weight, bias = wide.weight.detach()[:, :, 0], wide.bias.detach()
    factor = torch.cat([scale.scale, torch.ones_like(scale.scale)]).detach()
    gain, shift = norm_out.weight * factor, norm_out.bias * factor
    columns = [weight * gain[:, None], (bias * gain)[:, None], -gain[:, None]]
    value, gate = (
        _convolution(part[:, :, None], offset, dtype)
        for part, offset in zip(
            torch.cat(columns, dim=1).chunk(2), shift.chunk(2), strict=True
        )
    )
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
        # The variance of w g + b: that of its channels' means, and around these.
        means = F.linear(level, weight, bias)
        spread = (around @ around.mT * squares).sum((1, 2)) / g.shape[2] / len(bias)
        variance = means.var(1, correction=0) + spread
        rate = (variance + norm_out.eps).rsqrt()[:, None, None]
        mean = means.mean(1)[:, None, None]
        ones = torch.ones_like(g[:, :1])
        return torch.cat([g * rate, rate * ones, mean * rate * ones], dim=1)

    return run


def _encoder(module: EncoderLayer, dtype: torch.dtype) -> Callable[..., Tensor]:
    convolve, gated = _of(module.conv, dtype), _gated(module.rewrite, dtype)
    gelu_ = torch.ops.aten.gelu_

    def forward(x: Tensor, other: Tensor | None = None) -> Tensor:
        if not module.freq:
            missing = -x.shape[-1] % module.stride
            x = F.pad(x.mT, (0, 0, 0, missing)).mT if missing else x
        x = convolve(x)
        if other is not None:
            x = x + other.reshape(x.shape)
        return gated(along_time(module.dconv, gelu_(x)))

    return forward


def _gather(module: DecoderLayer, dtype: torch.dtype) -> Callable[..., Tensor]:
    gated = _gated(module.rewrite, dtype)

    def gather(x: Tensor, skip: Tensor) -> Tensor:
        return along_time(module.dconv, gated(x + skip))

    return gather


def _grow(module: LastConvolution, dtype: torch.dtype) -> Callable[..., Tensor]:
    layer: Any = module.conv_tr
    up = _transposed_2d(layer, dtype) if module.freq else _transposed_1d(layer, dtype)

    def grow(x: Tensor, length: int) -> Tensor:
        x = module.norm2(up(x)).narrow(2, module.cut, length)
        return x if module.last else F.gelu(x)

    return grow


def _transposed_2d(layer: Any, dtype: torch.dtype) -> Step:
    packed = torch.channels_last
    kernel = layer.weight.detach().to(dtype).contiguous(memory_format=packed)
    bias = layer.bias.detach().to(dtype)

    def run(x: Tensor) -> Tensor:
        x = x.to(dtype).contiguous(memory_format=packed)
        return F.conv_transpose2d(x, kernel, bias, layer.stride)

    return run


def _transposed_1d(layer: Any, dtype: torch.dtype) -> Step:
    """As a convolution over two moments; the stride must be half of the kernel."""
    (stride,), (size,) = layer.stride, layer.kernel_size
    assert size == 2 * stride, (size, stride)
    # What moment m adds to the second half of its kernel's reach, moment m + 1 adds to
    # the first half of its own.
    halves = torch.stack([layer.weight[..., stride:], layer.weight[..., :stride]])
    kernel = rearrange(halves, "half c out new -> (new out) c half")
    convolve = _convolution(kernel, layer.bias.repeat(stride), dtype, padding=(1,))

    def run(x: Tensor) -> Tensor:
        return rearrange(convolve(x), "b (new c) m -> b c (m new)", new=stride)

    return run


def _embedding(module: FrequencyEmbedding, dtype: torch.dtype) -> Step:
    zeros = torch.zeros(1, 1, 1, 1)
    vectors = FrequencyEmbedding.forward(module, zeros).detach().to(dtype)

    def forward(x: Tensor) -> Tensor:
        return x + vectors

    return forward


def _attention(module: Attention, dtype: torch.dtype) -> Callable[..., Tensor]:
    parts = zip(
        module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3), strict=True
    )
    to_q, to_k, to_v = (_rows(weight, bias, dtype) for weight, bias in parts)
    width = len(module.in_proj_bias) // 3 // module.n_heads

    def heads(x: Tensor) -> Tensor:
        return rearrange(x, "b m (h d) -> b h m d", d=width).contiguous()

    def forward(query: Tensor, key_value: Tensor) -> Tensor:
        q, k, v = heads(to_q(query)), heads(to_k(key_value)), heads(to_v(key_value))
        if dtype is torch.float32:
            taken = F.scaled_dot_product_attention(q, k, v)
        else:  # which takes longer in 16 bits than its three steps
            taken = (q * width**-0.5 @ k.mT).softmax(-1).to(dtype) @ v
        return module.out_proj(rearrange(taken, "b h m d -> b m (h d)"))

    return forward
