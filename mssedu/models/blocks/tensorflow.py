"""Copy the variables of a TensorFlow checkpoint into parameters of PyTorch.

TensorFlow numbers the axes of a kernel the other way round: (…, channels in, channels
out), where PyTorch has (channels out, channels in, …).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from mssedu.errors import CheckpointError, message


def copy_variables(
    places: Iterable[tuple[str, Tensor]], variables: Mapping[str, Any]
) -> None:
    """Copy each variable into its parameter, or none of them if one does not fit.

    Args:
        places: name of a variable, parameter or buffer that it belongs into.
        variables: name -> array or tensor; others are left alone.

    Raises:
        CheckpointError: a variable is missing or has another shape.
    """
    fitting = [(into, _fitting(name, variables, into)) for name, into in places]
    for into, value in fitting:  # only now, so that an error leaves the model whole
        into.data.copy_(value)


def _fitting(name: str, variables: Mapping[str, Any], into: Tensor) -> Tensor:
    value = torch.as_tensor(variables[name]) if name in variables else torch.empty(0)
    value = value.permute(*reversed(range(value.ndim)))
    if value.shape != into.shape:
        wanted = f"{name}, {tuple(into.shape)} in our order of axes"
        got = tuple(value.shape) if name in variables else "no variable of this name"
        remedy = "Create the model with the configuration that was trained."
        raise CheckpointError(message("load_official", wanted, got, remedy))
    return value
