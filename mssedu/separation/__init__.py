"""Separate a song of any length with a trained model.

tensors   `separate`: a mixture in memory; what happens if memory runs out
config    every option, with its default, its range and its help text
chunks    where the chunks of a song are, and `overlap_add`, which joins them
refine    optional steps after the model: averages, Wiener filter, consistency
files     `separate_file`: from disk to disk, in blocks
song      songs on disk: find them, name their stems, read one in blocks
record    separation.json, and the meters that fill it
pseudo_labels   a training set of songs that a model separated: `pseudo_label`
label_set   its options, and its manifest; agreement: which pieces are kept
fast      the model without gradients, in 16 bits, in packed form on the CPU
threads   a short spin for waiting threads, so that other processes can run
"""

import lazy_loader

_NAMES = {
    "tensors": ["separate", "separate_with"],
    "config": ["FileConfig", "SeparateConfig"],
    "chunks": [
        "Chunks",
        "chunk_starts",
        "chunk_weight",
        "overlap_add",
        "plan_chunks",
        "random_offsets",
        "with_segment",
    ],
    "refine": ["consistent", "wiener_filter"],
    "files": ["separate_file"],
    "song": [],
    "record": ["LevelMeter", "SeamMeter", "Separation"],
    "pseudo_labels": ["pseudo_label"],
    "label_set": ["LabelConfig"],
    "agreement": ["agreement"],
    "fast": ["has_fast_bfloat16", "ready"],
    "threads": ["short_spin"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
