"""Songs with stems, and the excerpts that a model is trained on.

track      one song: its mixture and its stems
layouts    the folder layouts that are recognized; `load_track`, `load_dataset`
check      faults of songs, such as a mixture that is not the sum of its stems
segments   random excerpts for training
augment    random gains, channel and sign flips, remixing of stems
"""

from typing import Literal

import lazy_loader

# What to do if the files of one song differ in length. It is defined here because this
# file does not import torch, and the commands need it for a flag.
OnLength = Literal["error", "pad", "cut"]

_NAMES = {
    "track": ["StemFile", "Track", "data_sha256", "track_sha256"],
    "layouts": ["LAYOUTS", "Layout", "Song", "demo_data", "load_dataset", "load_track"],
    "check": ["check_mixtures", "check_parts", "check_track"],
    "segments": ["RandomSegments", "describe_mixture", "item_generator"],
    "augment": ["flip_channels", "flip_sign", "random_gain", "random_silence", "remix"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
