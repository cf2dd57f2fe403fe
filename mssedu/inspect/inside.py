"""See what the layers of a model compute, by name and without a change to its code.

PyTorch calls a "forward hook" with the output of a module as soon as it is computed.
`look_inside` adds a hook to every part of the model, runs the model once, copies the
tensors that you name, and removes the hooks.

    inside = look_inside(model, mixture, ["encoder.*", "lstm.cell"])
    inside["encoder.0"]           the output of model.encoder[0]: the skip tensor

A name is the path of a module, as in `print(model)`, and means the module's output.
    estimate                      the output of the whole model
    PATH                          output of a module; of an nn.LSTM the whole sequence
    PATH[0], PATH[1]              the tensors of a module that returns a tuple
    PATH.gate                     nn.GLU: sigmoid of the second half, 0 shut … 1 open
    PATH.hidden, PATH.cell        nn.LSTM: states at the end, (layers · directions, …)
    PATH.attention, PATH.…        what the method `inside` of a module returns
    NAME#2, NAME#3                second, third call of the same module
Functions such as torch.tanh are no modules and have no name. Notebooks: 06 to 11.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import InputError
from mssedu.models.contract import config_of, eval_mode

Visit = Callable[[str, Tensor], None]  # is called with a name and its tensor


def look_inside(
    model: nn.Module, mixture: Tensor, names: str | Iterable[str] = "*"
) -> dict[str, Tensor]:
    """Run the model once, in eval mode, and return outputs of its parts.

    Args:
        model: follows the contract; it is not changed, and keeps its mode.
        mixture: (batch, channels, samples).
        names: one or more names. * matches any letters, including dots; ? matches one.

    Returns:
        Name -> tensor, in the order of computation; copies without gradient.

    Raises:
        InputError: a name matches nothing in the model; the text has the nearest name.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("open_unmix", "tiny", stems=("vocals",))
        >>> look_inside(model, torch.zeros(1, 2, 44100), "*.lstm.cell").keys()
        dict_keys(['networks.0.lstm.cell'])
    """
    patterns = [names] if isinstance(names, str) else list(names)
    tensors: dict[str, Tensor] = {}
    all_names: list[str] = []

    def visit(name: str, value: Tensor) -> None:
        all_names.append(name)
        if any(_matches(name, pattern) for pattern in patterns):
            tensors[name] = value.detach().clone()  # the model may change its own copy

    _run(model, mixture, patterns, visit)
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in all_names):
            near = difflib.get_close_matches(pattern, all_names, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"{type(model).__name__} computes nothing that matches {pattern!r}."
                f"{hint} mssedu.inspect.inside_names(model) returns all names."
            )
    return tensors


def inside_names(
    model: nn.Module, mixture: Tensor | None = None
) -> dict[str, tuple[int, ...]]:
    """The names that `look_inside` accepts for a model, with the shape of each tensor.

    Args:
        model: follows the contract.
        mixture: (batch, channels, samples); None for half a second of silence.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("open_unmix", "tiny")
        >>> inside_names(model)["estimate"]
        (1, 4, 2, 22050)
    """
    if mixture is None:
        config = config_of(model)
        like = next(iter(model.parameters()), torch.empty(0))
        mixture = like.new_zeros(1, config.channels, config.sample_rate // 2)
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, value: Tensor) -> None:
        shapes[name] = tuple(value.shape)

    _run(model, mixture, ["*"], visit)
    return shapes


def _run(
    model: nn.Module, mixture: Tensor, patterns: Sequence[str], visit: Visit
) -> None:
    """Run the model and call `visit` with every tensor that its parts compute."""
    n_calls: Counter[str] = Counter()
    busy = False  # while `inside` calls modules again

    def hook(path: str, part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal busy
        if busy:
            return
        n_calls[path] += 1
        again = f"#{n_calls[path]}" if n_calls[path] > 1 else ""
        busy = True
        try:
            values = _outputs(part, args, output)
            look: Any = getattr(part, "inside", None)
            if look and any(_may_match_below(path, pattern) for pattern in patterns):
                more = look(*args, **kwargs)
                values |= {f".{key}": value for key, value in more.items()}
            for suffix, value in values.items():
                if isinstance(value, Tensor):
                    visit(path + suffix + again, value)
        finally:
            busy = False

    with eval_mode(model), torch.no_grad(), ExitStack() as stack:
        for path, part in model.named_modules():
            call = partial(hook, path or "estimate")
            stack.callback(part.register_forward_hook(call, with_kwargs=True).remove)
        model(mixture)


def _outputs(part: nn.Module, args: Any, output: Any) -> dict[str, Any]:
    """What is added to the path of a module -> value, for one call of the module."""
    if isinstance(part, nn.LSTM):
        sequence, (hidden, cell) = output
        return {"": sequence, ".hidden": hidden, ".cell": cell}
    if isinstance(part, nn.GLU):
        return {"": output, ".gate": args[0].chunk(2, dim=part.dim)[1].sigmoid()}
    if isinstance(output, tuple | list):
        return {f"[{index}]": value for index, value in enumerate(output)}
    return dict(output) if isinstance(output, Mapping) else {"": output}


def _matches(name: str, pattern: str) -> bool:
    """As patterns of file names, except that [ and ] are ordinary letters."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _may_match_below(path: str, pattern: str) -> bool:
    """Whether the pattern may match PATH.anything; it saves needless attention maps."""
    fixed = re.split(r"[*?]", pattern)[0]
    return f"{path}.".startswith(fixed) or fixed.startswith(f"{path}.")
