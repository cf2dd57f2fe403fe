"""How a data set is read, as flags of the commands.

The commands `train`, `evaluate`, `analyze` and `listen create` share these flags. They
are the arguments of `mssedu.data.load_dataset` beside path, split and stems. This file
does not import torch, so that every --help starts at once.
"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from mssedu.data import OnLength, OnMissing

Shares = Annotated[
    tuple[float, float, float] | None, tyro.conf.arg(metavar="TRAIN VALID TEST")
]


@dataclass(frozen=True)
class DataOptions:
    """Options for reading the data set."""

    # The layout of the songs, such as musdb18, source-folders or chunks; None takes
    # the first one that fits, and the command prints which one that is.
    layout: str | None = None
    # A song that lacks one of the stems is an "error"; or nothing is known of that stem
    # ("absent": it is neither trained nor scored in this song); or the stem is silent
    # there ("silence"); or the song is left out ("skip").
    on_missing: OnMissing = "error"
    # Files of one song that differ in length are an "error"; or get zeros at the end
    # ("pad"); or lose their end ("cut").
    on_length: OnLength = "error"
    # Split songs that are not in folders of splits: shares of train, valid and test,
    # such as 0.8 0.1 0.1; the same seed always gives the same splits.
    split_shares: Shares = None
    # The seed of that split.
    split_seed: int = 0
