"""torch.compile for the blocks that a model repeats.

A whole model takes minutes to compile, and most of that is the same work again for each
of its blocks. So the blocks are compiled alone: the members of each list of modules of
one class. The rest of the model, such as its STFT, stays as it is. Names and values of
the weights do not change, so checkpoints are the same with and without.
"""

import importlib.util
import os
import shutil

from torch import nn

from mssedu.errors import SetupError
from mssedu.models.contract import device_of

COMPILERS = ("g++", "clang++", "cl")


def compile_blocks(model: nn.Module) -> str:
    """Compile the repeated blocks of a model in place; they compile at the first step.

    Returns:
        a sentence for the log.

    Raises:
        SetupError: no compiler for the device of the model.
    """
    check_compiler(device_of(model).type)
    blocks = repeated_blocks(model)
    for block in blocks:
        block.compile()
    return f"compiled blocks: {len(blocks)}; the first step takes minutes"


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Members of the lists that hold two or more modules of one class, outermost first.

    Blocks within such a block are a part of it. A model that repeats nothing is one
    block.
    """
    found: list[nn.Module] = []
    todo: list[nn.Module] = [model]
    while todo:
        part = todo.pop(0)
        children = [*part.children()]
        is_list = isinstance(part, nn.ModuleList | nn.Sequential)
        if is_list and len(children) > 1 and len({type(c) for c in children}) == 1:
            found += children
        else:
            todo += children
    return found or [model]


def check_compiler(kind: str) -> None:
    """Raise SetupError unless torch can compile for this kind of device here."""
    if kind == "cuda" and importlib.util.find_spec("triton"):
        return
    if kind == "cpu" and any(
        map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))
    ):
        return
    needed = {"cuda": "the package triton", "cpu": "a C++ compiler, such as g++"}
    lacks = f"it needs {needed[kind]}" if kind in needed else f"not on {kind}"
    raise SetupError(
        f"torch cannot compile the model here: {lacks}. Leave out --compile."
    )
