"""The tensors of a model before it takes any memory: their names and shapes.

config ─▶ model on the meta device ─▶ names and shapes, compared with those of a file
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mssedu.errors import InputError
from mssedu.models.contract import ModelConfig

MOST_PARAMETERS = 10**9  # 4 GB; the largest model here has 0.27 · 10⁹


def outline(kind: Callable[[Any], nn.Module], config: ModelConfig) -> dict[str, Tensor]:
    """The state dict of `outline_model`.

    Example:
        >>> from mssedu.models import Spleeter, SpleeterConfig
        >>> outline(Spleeter, SpleeterConfig())["networks.0.output.bias"].shape
        torch.Size([2])
    """
    return outline_model(kind, config).state_dict()


def outline_model(kind: Callable[[Any], nn.Module], config: ModelConfig) -> nn.Module:
    """A new model on the meta device, where tensors have no memory.

    Args:
        kind: the class of the model.
        config: of the model.

    Raises:
        InputError: more parameters than `MOST_PARAMETERS`.
    """
    with torch.device("meta"), _Counted():
        model = kind(config)
    if sum(parameter.numel() for parameter in model.parameters()) > MOST_PARAMETERS:
        raise _too_large()
    return model


# The result has the shape of the first argument.
_SAME_SHAPE = {Tensor.normal_, Tensor.uniform_, Tensor.copy_, Tensor.mul_, Tensor.div_}
_SAME_SHAPE |= {nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}
_SAME_SHAPE.add(Tensor.cumsum)


class _Counted(TorchFunctionMode):
    """Stop a model that gets too large, and compute only the shapes of new tensors.

    PyTorch would load its compiler, which takes a second, to run the other functions
    below on the meta device; their results have no values in any case.
    """

    n = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and isinstance(args[0], tuple):
            self.n += math.prod(args[0])
            if self.n > MOST_PARAMETERS:
                raise _too_large()
        first = args[0] if args else kwargs.get("tensor")
        if func in _SAME_SHAPE:
            return first
        if func is torch.arange:
            return func(*args, **kwargs, device="cpu")
        if func is Tensor.std:
            return torch.ones((), device="cpu")
        if func in (Tensor.div, Tensor.__truediv__) and first.is_meta:
            shapes = (getattr(arg, "shape", ()) for arg in args[:2])
            return torch.empty(np.broadcast_shapes(*shapes), device="meta")
        return func(*args, **kwargs)


def _too_large() -> InputError:
    return InputError(
        f"the config gives a model of more than {MOST_PARAMETERS:.0e} parameters, the "
        "most that is allowed. Make its layers narrower or fewer."
    )
