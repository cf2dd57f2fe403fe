"""Write a model as one ONNX file: a waveform of any length in, stems out.

    model ─ trace ─ as_real ─▶ graph ─ torch.onnx ─▶ model.onnx + metadata
                                       [ matrices in 8 bits ]

The STFT and its inverse are in the graph, so a program in any language needs no more
than onnxruntime. The input "mixture" is (1, channels, samples), the output "estimate"
is (1, stems, channels, samples), both float32. The metadata has the key "mssedu": JSON
with the stems, the sample rate, the channels, the segment, the hash and the license of
the weights. `mssedu separate -m model.onnx` runs the file.
"""

import json
import operator
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mssedu
from mssedu.audio.files import written_whole
from mssedu.errors import InputError, missing_package
from mssedu.export.any_length import onnx_lstm
from mssedu.export.graph import as_real, trace, without_notes
from mssedu.models.contract import config_of, segment_limit
from mssedu.weights.checkpoint import weights_sha256
from mssedu.weights.onnx_model import FORMAT, INSTALL, KEY

LARGEST = 2**31 - 2**20  # bytes; a protobuf holds no more
# Products with matrices of weights; convolutions are not rounded
INT8_OPERATIONS = ["MatMul", "Gemm", "LSTM"]


def check_onnx_name(path: Path) -> Path:
    """The path, or an InputError if it does not end in .onnx."""
    if path.suffix != ".onnx":
        raise InputError(
            f"the name of an ONNX file must end in .onnx, got {path.name}."
        )
    return path


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    int8: bool = False,
    license: str = "",
    example_length: int | None = None,
) -> Path:
    """Write a model to an ONNX file; this takes from seconds to minutes.

    Args:
        model: follows the model contract; on the CPU.
        path: of the file, which ends in .onnx; it is overwritten.
        int8: store the matrices in 8 bits, and multiply them in 8 bits. Convolutions
            stay as they are.
        license: of the weights, for the metadata.
        example_length: samples of the mixture that is traced, see `trace`; the file
            takes any.

    Returns:
        the path.

    Raises:
        InputError: another suffix, a model of more than 2 GB, or one whose graph cannot
            be exported.
        SetupError: onnx, onnxscript or onnxruntime is missing.

    Example:
        >>> from mssedu.models.registry import create_model
        >>> model = create_model("wave_u_net", "tiny")
        >>> export_onnx(model, "wave_u_net.onnx")  # doctest: +SKIP
        PosixPath('wave_u_net.onnx')
    """
    path = check_onnx_name(Path(path))
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _check_package(package)
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    if size > LARGEST:
        raise InputError(
            f"the model has {size / 1e9:.1f} GB of weights, and an ONNX file holds at "
            "most 2 GB. Export a smaller model."
        )
    document = describe(model, int8=int8, license=license)
    program = as_real(trace(model, example_length))
    with without_notes(), torch.no_grad():
        written: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            optimize=False,  # it takes an epsilon of 1e-10 for zero
            input_names=["mixture"],
            output_names=["estimate"],
            custom_translation_table={
                operator.floordiv: _floordiv,
                torch.ops.mssedu.lstm.default: onnx_lstm,
            },
        )
    written.model.metadata_props[KEY] = json.dumps(document, ensure_ascii=False)
    with written_whole(path) as temporary:
        if int8:
            _save_int8(written, temporary)
        else:
            written.save(temporary, external_data=False)
    return path


def describe(model: nn.Module, *, int8: bool, license: str) -> dict[str, Any]:
    """The metadata of a file; `OnnxConfig` has the meaning of the entries."""
    config = config_of(model)
    document = {
        "format": FORMAT,
        "version": mssedu.__version__,
        "model": type(model).__name__,
        "stems": list(config.stems),
        "sample_rate": config.sample_rate,
        "channels": config.channels,
        "segment": config.segment,
        "segment_limit": segment_limit(config),
        "weights_sha256": weights_sha256(model),
        "license": license,
        "int8": int8,
    }
    if hasattr(config, "stem_bandwidth_hz"):
        document["stem_bandwidth_hz"] = config.stem_bandwidth_hz
    return document


def _floordiv(a: Any, b: Any) -> Any:
    """a // b for whole numbers: Div of ONNX rounds towards zero, // rounds down."""
    from onnxscript import opset20 as op

    return op.Div(op.Sub(a, op.Mod(a, b)), b)


def _save_int8(written: Any, path: Path) -> None:
    """Save with the matrices in 8 bits; onnxruntime wants files in and out."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The transposed matrices of linear layers become constants, which can be rounded.
    basic = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.graph_optimization_level = basic
    providers = ["CPUExecutionProvider"]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, without_notes():
        plain, folded, small = (Path(folder) / f"{i}.onnx" for i in range(3))
        written.save(plain, external_data=False)
        options.optimized_model_filepath = str(folded)
        onnxruntime.InferenceSession(plain, options, providers)
        quantize_dynamic(
            folded,
            small,
            op_types_to_quantize=INT8_OPERATIONS,
            per_channel=True,
            # With signed ones, onnxruntime's sums are clipped to 16 bits on processors
            # without VNNI: an error of -20 dB instead of -46.
            weight_type=QuantType.QUInt8,
        )
        model = onnx.load(small)
    document = written.model.metadata_props
    onnx.helper.set_model_props(model, {KEY: document[KEY]})
    path.write_bytes(model.SerializeToString())


def _check_package(name: str) -> None:
    try:
        __import__(name)
    except ImportError as error:
        raise missing_package("export to ONNX", name, INSTALL) from error
