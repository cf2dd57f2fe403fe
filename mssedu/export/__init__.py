"""Models that leave PyTorch: graphs and ONNX files.

graph          the operations of a forward, for any length, without complex numbers
any_length     parts of models that can be traced for any length
onnx_file      `export_onnx`: one file, waveform in, stems out; also with 8-bit matrices

`mssedu.weights.load_onnx` loads such a file again. Read graph first.
"""

import lazy_loader

_NAMES = {
    "graph": ["as_real", "trace"],
    "onnx_file": ["describe", "export_onnx"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, {*_NAMES}, _NAMES)
