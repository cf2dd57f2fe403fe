"""MACs and parameters as the package thop counts them, to read figures of others.

Many papers quote thop's two numbers as "FLOPs" and "params". They are neither: compare
them with `complexity.py`, which counts what is computed.

    convolution              output size · kernel · channels in / groups
    transposed convolution   the same, so a stride of 4 is counted four times too often
    linear layer             output size · features in
    layer, batch norm        4 · input size, 2 without weights
    attention                its two matrix products and the projection to queries, keys
                             and values count 0; the projection after it also counts 0,
                             as PyTorch gives that linear layer a class of its own
    parameters               only those of the layers above, if the forward uses them

Source: github.com/Lyken17/pytorch-OpCounter, release 0.1.1, of which this file has the
rules for layers of HTDemucs and its variants. LSTMs, poolings and others count 0 here.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mssedu.models.blocks.transformer import Attention
from mssedu.models.contract import eval_mode

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


def thop_counts(model: nn.Module, mixture: Tensor) -> tuple[int, int]:
    """MACs of one forward in eval mode, and parameters, by the rules above.

    Args:
        model: any module; on the meta device nothing is computed.
        mixture: its input, on the same device.

    Returns:
        macs: what thop calls "FLOPs" or "MACs".
        n_parameters: what thop calls "params".

    Example:
        >>> thop_counts(torch.nn.ConvTranspose1d(2, 3, 8, 4), torch.zeros(1, 2, 5))
        (1152, 51)
    """
    macs, counted = 0, dict[nn.Module, int]()

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal macs
        macs += _macs(layer, inputs[0], output)
        counted[layer] = sum(parameter.numel() for parameter in layer.parameters())

    handles = [layer.register_forward_hook(count) for layer in _layers(model)]
    try:
        with eval_mode(model), torch.no_grad():
            model(mixture)
    finally:
        _remove(handles)
    return macs, sum(counted.values())


def _layers(model: nn.Module) -> list[nn.Module]:
    attentions = [part for part in model.modules() if isinstance(part, Attention)]
    left_out = {id(part.out_proj) for part in attentions}
    kinds = {*CONVOLUTIONS, *NORMS, nn.Linear}
    return [
        layer
        for layer in model.modules()
        if type(layer) in kinds and id(layer) not in left_out
    ]


def _macs(layer: Any, x: Tensor, output: Tensor) -> int:
    if isinstance(layer, CONVOLUTIONS):
        kernel = prod(layer.kernel_size)
        return output.numel() * x.shape[1] // layer.groups * kernel
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    has_weights = layer.weight is not None
    return (4 if has_weights else 2) * x.numel()


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
