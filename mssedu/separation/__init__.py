"""A trained model takes a mixture apart, however long it is.

tensors       `separate`: a mixture in memory
files         `separate_file`: from disk to disk, in blocks
config        every option, with its default and its range
chunks        where the chunks of a song lie
overlap_add   how the estimates of chunks are joined
refine        Wiener filter, consistency and other steps after the model
record        what `separation.json` says about a separated song
"""

import lazy_loader

_NAMES = {
    "tensors": ["plan_chunks", "separate"],
    "files": ["separate_file"],
    "config": ["SeparateConfig"],
    "file_config": ["FileConfig"],
    "chunks": ["Chunks", "chunk_starts", "chunk_weight", "random_offsets"],
    "overlap_add": ["overlap_add"],
    "refine": ["wiener_filter"],
    "record": ["LevelMeter", "SeamMeter", "Separation"],
    "threads": ["short_spin"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
