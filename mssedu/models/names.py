"""Names of models: of this package, such as "spleeter", or FILE.py:CLASS for others.

This file does not import torch, so that `mssedu train --resume` starts at once.
"""

from pathlib import Path


def is_own(name: str) -> bool:
    """Whether a model's name is FILE.py:CLASS.

    Example:
        >>> is_own("nets/my_net.py:MyNet"), is_own("spleeter")
        (True, False)
    """
    return ".py:" in name


def short_name(name: str) -> str:
    """The name of a model without the folder of its file, as checkpoints have it.

    Example:
        >>> short_name("nets/my_net.py:MyNet"), short_name("spleeter")
        ('my_net.py:MyNet', 'spleeter')
    """
    if not is_own(name):
        return name
    path, _, kind = name.rpartition(":")
    return f"{Path(path).name}:{kind}"
