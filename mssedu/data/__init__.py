"""Songs with stems, and the excerpts that a model is trained on.

track      one song: its mixture and its stems
layouts    the folder layouts that are recognized; `load_track`, `load_dataset`
check      does the mixture equal the sum of its stems?
segments   random excerpts for training
augment    gain, channel and polarity changes, remixing of stems
"""

from typing import Literal

import lazy_loader

# What to do where the files of one song differ in length. It stands here, where no
# torch is, because commands make a flag of it.
OnLength = Literal["error", "pad", "cut"]

_NAMES = {
    "track": ["StemFile", "Track", "data_sha256", "is_source", "track_sha256"],
    "layouts": ["demo_data", "load_dataset", "load_track"],
    "check": ["check_mixtures", "check_parts", "check_track"],
    "segments": ["RandomSegments", "describe_mixture"],
    "augment": ["flip_channels", "flip_sign", "random_gain", "random_silence", "remix"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
