"""A data set of mixes from recordings of single instruments: `mssedu data build`.

recipe       the settings, and the file build.json
recordings   find, split and read the recordings
licenses     the licenses that their folders name
mixes        choose excerpts and gains, and write the mixes
"""

import lazy_loader

_NAMES = {
    "recipe": ["BuildConfig"],
    "licenses": ["license_in"],
    "mixes": ["build_dataset"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
