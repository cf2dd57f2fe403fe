"""Weights: our own checkpoints, and those that others have published.

loading      `load_model`: a checkpoint folder, a file or a published name
checkpoint   tensors and JSON, written atomically and hashed
published    the table of published weights
download     fetch a file once, and check its hash
foreign      read weight files of other packages without running their code
ensemble     several models as one
"""

import lazy_loader

_NAMES = {
    "loading": ["list_pretrained", "load_model"],
    "checkpoint": [
        "Checkpoint",
        "load_checkpoint",
        "load_weights",
        "read_checkpoint",
        "save_checkpoint",
        "weights_sha256",
    ],
    "published": ["PUBLISHED", "Published"],
    "download": ["cache_folder", "fetch"],
    "ensemble": ["Bag", "BagConfig"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
