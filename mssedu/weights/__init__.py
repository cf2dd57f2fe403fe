"""Weights: our own checkpoints, and those that others have published.

loading      `load_model`: from a run folder, a file or by a published name
cached       the same without a download, for notebooks that run with weights or without
checkpoint   our own format: tensors and JSON, saved so that no crash breaks them
published    the table of published weights; its rows are in published.toml
untrusted    the sizes in a file, and what may be wrong in it, before anything is built
foreign      read weight files of other packages without running their code
convert      recognize such weights, and bring them to the names of our models
layouts      the names in files that hold no class, one row for each architecture
onnx_model   a model that `mssedu export` wrote, run by onnxruntime
ensemble     several models as one
"""

import lazy_loader

_NAMES = {
    "loading": ["list_pretrained", "load_model", "table_rows"],
    "cached": ["how_to_get", "load_cached"],
    "checkpoint": [
        "Checkpoint",
        "check_weights",
        "config_fields",
        "git_commit",
        "load_checkpoint",
        "load_weights",
        "model_name",
        "previous",
        "read_checkpoint",
        "save_checkpoint",
        "weights_sha256",
    ],
    "published": ["PUBLISHED", "Published", "WeightFile"],
    "untrusted": [
        "Tensors",
        "check_archive",
        "odd_content",
        "open_safetensors",
        "read_json",
    ],
    "foreign": ["Weights", "read_weights"],
    "layouts": ["LAYOUTS", "Layout", "layout_of", "read_layout"],
    "convert": ["Ported", "port", "port_open_unmix", "recognize"],
    "onnx_model": ["OnnxConfig", "OnnxModel", "load_onnx"],
    "ensemble": ["Bag", "BagConfig", "blend"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
