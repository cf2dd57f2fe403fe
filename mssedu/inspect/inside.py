"""See what a model computes on its way, by name, without editing it.

PyTorch calls a "forward hook" with the output of a module as soon as it is computed.
`look_inside` hangs one on every part of the model, runs it once, keeps a copy of what
you asked for, and takes the hooks off again: the model stays as it was.

    inside = look_inside(model, mixture, ["encoder.*", "lstm.cell"])
    inside["encoder.0"]           what model.encoder[0] gave out: the skip tensor

A name is the path of a module, as in `print(model)`; it stands for the module's output.
    estimate                      the output of the whole model
    PATH                          output of a module; of an nn.LSTM the whole sequence
    PATH[0], PATH[1]              of a module that returns a tuple: each of its tensors
    PATH.gate                     nn.GLU: sigmoid of the second half, 0 shut … 1 open
    PATH.hidden, PATH.cell        nn.LSTM: states at the end, (layers · directions, …)
    PATH.attention, PATH.…        what the method `inside` of a module returns
    NAME#2, NAME#3                second, third time that the same module is called
Functions such as torch.tanh are no modules and have no name. Notebooks: 06 to 11.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import InputError, message
from mssedu.models.contract import config_of, eval_mode

Visit = Callable[[str, Tensor], None]  # is given a name and the tensor behind it
Wanted = Callable[[str], bool]  # whether names below a path are asked for


def look_inside(
    model: nn.Module, mixture: Tensor, names: str | Iterable[str] = "*"
) -> dict[str, Tensor]:
    """Run the model once, in eval mode, and return what its parts gave out.

    Args:
        model: follows the contract; left as it was, in whatever mode.
        mixture: (batch, channels, samples).
        names: one or more; * stands for anything, dots too, and ? for one letter.

    Returns:
        Name -> tensor, in the order of computation; copies without gradient.

    Raises:
        InputError: a name that fits nothing in the model, with the nearest that does.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("open_unmix", "tiny", stems=("vocals",))
        >>> look_inside(model, torch.zeros(1, 2, 44100), "*.lstm.cell").keys()
        dict_keys(['networks.0.lstm.cell'])
    """
    names = [names] if isinstance(names, str) else list(names)
    found: dict[str, Tensor] = {}
    seen: list[str] = []

    def visit(name: str, value: Tensor) -> None:
        seen.append(name)
        if any(_fits(name, pattern) for pattern in names):
            found[name] = value.detach().clone()  # the model may write into its own

    def wanted(path: str) -> bool:
        return any(_may_lie_below(path, pattern) for pattern in names)

    with eval_mode(model), torch.no_grad(), _hooks(model, visit, wanted):
        model(mixture)
    for pattern in names:
        if not any(_fits(name, pattern) for name in seen):
            raise _unknown(model, pattern, seen)
    return found


def inside_names(
    model: nn.Module, mixture: Tensor | None = None
) -> dict[str, tuple[int, ...]]:
    """What `look_inside` can see in a model, with the shape of each tensor.

    Args:
        model: follows the contract.
        mixture: (batch, channels, samples), to see its shapes; half a second if None.

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

    with eval_mode(model), torch.no_grad(), _hooks(model, visit, lambda path: True):
        model(mixture)
    return shapes


@contextmanager
def _hooks(model: nn.Module, visit: Visit, wanted: Wanted) -> Iterator[None]:
    """While open, `visit` is given every value that the model's parts compute."""
    n_calls: dict[str, int] = {}
    busy = False  # while `inside` calls modules again

    def hook_for(path: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            nonlocal busy
            if busy:
                return
            n_calls[path] = n_calls.get(path, 0) + 1
            again = f"#{n_calls[path]}" if n_calls[path] > 1 else ""
            busy = True
            try:
                for name, value in _values(part, path, args, kwargs, output, wanted):
                    visit(name + again, value)
            finally:
                busy = False

        return hook

    with ExitStack() as stack:
        for path, part in model.named_modules():
            hook = hook_for(path or "estimate")
            stack.callback(part.register_forward_hook(hook, with_kwargs=True).remove)
        yield


def _values(
    part: nn.Module, path: str, args: Any, kwargs: Any, output: Any, wanted: Wanted
) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of one call of a module."""
    if isinstance(part, nn.LSTM):
        sequence, (hidden, cell) = output
        output = {"": sequence, ".hidden": hidden, ".cell": cell}
    elif isinstance(part, nn.GLU):
        gate = args[0].chunk(2, dim=part.dim)[1].sigmoid()
        output = {"": output, ".gate": gate}
    elif isinstance(output, tuple | list):
        output = {f"[{index}]": value for index, value in enumerate(output)}
    elif not isinstance(output, Mapping):
        output = {"": output}
    look: Any = getattr(part, "inside", None)
    if look is not None and wanted(path):
        more = look(*args, **kwargs)
        output = output | {f".{key}": value for key, value in more.items()}
    for suffix, value in output.items():
        if isinstance(value, Tensor):
            yield path + suffix, value


def _fits(name: str, pattern: str) -> bool:
    """Like a file name's pattern, but [ and ] are letters."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _may_lie_below(path: str, pattern: str) -> bool:
    """Whether the pattern may fit PATH.anything: attention maps are worth a check."""
    fixed = re.split(r"[*?]", pattern)[0]
    return f"{path}.".startswith(fixed) or fixed.startswith(f"{path}.")


def _unknown(model: nn.Module, pattern: str, seen: list[str]) -> InputError:
    near = difflib.get_close_matches(pattern, seen, n=1, cutoff=0.4)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    remedy += "inside_names(model) lists them all."
    wanted = f"a name or pattern of what {type(model).__name__} computes"
    return InputError(message("look_inside", wanted, repr(pattern), remedy))
