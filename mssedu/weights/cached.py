"""Published weights that are on this computer already, for what must not download.

    MSSEDU_HTDEMUCS=FILE ──┐
    cache of `load_model` ─┴─▶ load_cached("htdemucs") ─▶ model, or None
                               how_to_get("htdemucs")  ─▶ a sentence for a reader

A notebook of the course runs without any published weights, and shows more with them.
"""

import os
from pathlib import Path

from torch import nn

from mssedu.audio.disk import cache_folder
from mssedu.errors import CheckpointError, check_name
from mssedu.weights.loading import list_pretrained, load_model
from mssedu.weights.published import PUBLISHED


def load_cached(name: str) -> nn.Module | None:
    """The model of a published name if its weights are here; None if they are not.

    Nothing is downloaded; a model that comes with the repository is read from there.
    The environment variable MSSEDU_NAME, such as MSSEDU_HTDEMUCS, names a local file
    (of several files: their folder), and comes before the cache that `load_model`
    fills.

    Args:
        name: one of `list_pretrained`.

    Raises:
        InputError: no such name.
        CheckpointError: the variable names no file, or the weights are damaged.
        DatasetError: the model comes with the repository, which is not here.
    """
    check_name("published name", name, list_pretrained())
    variable = _variable(name)
    if local := os.environ.get(variable):
        if not Path(local).exists():
            raise CheckpointError(
                f"{variable} is {local!r}, and there is no such file or folder. "
                "Correct it, or unset it to use the cache."
            )
        return load_model(name, weights=local)
    if PUBLISHED[name].shipped:
        return load_model(name)
    files = [cache_folder() / "weights" / file.name for file in PUBLISHED[name].files]
    return load_model(name) if all(file.exists() for file in files) else None


def how_to_get(name: str) -> str:
    """One sentence: how to get the weights of a published name onto this computer.

    Raises:
        InputError: no such name.

    Example:
        >>> print(how_to_get("htdemucs"))
        The weights of htdemucs are not on this computer. To get them: ...
    """
    check_name("published name", name, list_pretrained())
    way = f"mssedu separate SONG.wav -m {name}"
    if page := PUBLISHED[name].page:
        way = f"download them from {page}"
    return (
        f"The weights of {name} are not on this computer. To get them: {way}. "
        f"Weights in another place are found if {_variable(name)} names them."
    )


def _variable(name: str) -> str:
    return f"MSSEDU_{name.upper().replace('-', '_').replace('.', '_')}"
