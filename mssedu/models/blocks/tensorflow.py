"""Copy the variables of another framework's checkpoint into parameters of PyTorch.

TensorFlow orders the axes of a kernel the other way round: (…, channels in, channels
out), where PyTorch has (channels out, channels in, …).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import CheckpointError


def from_tensorflow(name: str, value: Tensor) -> Tensor:
    """The value of a TensorFlow variable with the axes of PyTorch."""
    return value.permute(*reversed(range(value.ndim)))


def copy_variables(
    places: Iterable[tuple[str, Tensor]],
    variables: Mapping[str, Any],
    arrange: Callable[[str, Tensor], Tensor] = from_tensorflow,
) -> None:
    """Copy each variable into its parameter, or none of them if one does not fit.

    Args:
        places: pairs of the name of a variable and the parameter or buffer for it.
        variables: name -> array or tensor; others than in `places` are ignored.
        arrange: brings the axes of a variable into PyTorch's order, from its name and
            its value.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    remedy = "Create the model with the configuration of these weights."
    pairs = []
    for name, into in places:
        if name not in variables:
            raise CheckpointError(f"the checkpoint has no variable {name}. {remedy}")
        value = arrange(name, torch.as_tensor(variables[name]))
        if value.shape != into.shape:
            raise CheckpointError(
                f"the variable {name} has the shape {tuple(value.shape)} (in PyTorch's "
                f"order of axes), and the model needs {tuple(into.shape)}. {remedy}"
            )
        pairs.append((into, value))
    for into, value in pairs:  # only now, so that an error leaves the model unchanged
        into.data.copy_(value)
