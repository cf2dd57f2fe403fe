"""The command `mssedu export`: a model as one ONNX file, for programs without PyTorch.

mssedu export htdemucs htdemucs.onnx            published weights
mssedu export runs/train model.onnx --int8      a run, matrices in 8 bits
mssedu separate SONG -m model.onnx              the file, through the same engine
"""

from pathlib import Path
from typing import Annotated

import tyro

from mssedu.audio.disk import check_file, size_text
from mssedu.cli.console import load_shown, say
from mssedu.errors import InputError


def export(
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    weights: Path | None = None,
    int8: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a model as one ONNX file: a waveform of any length in, stems out.

    Args:
        model: Export this published name, run folder or checkpoint file.
        path: Write this file; its name ends in .onnx.
        weights: Take this local file of weights; with a published name, it replaces
            the download.
        int8: Store the matrices of linear layers and LSTMs in 8 bits; convolutions
            stay as they are.
        overwrite: Replace the file if it exists.
    """
    from mssedu.export.onnx_file import check_onnx_name, export_onnx
    from mssedu.weights.published import PUBLISHED

    if Path(model).suffix == ".onnx":
        raise InputError(f"{model} is an ONNX file already. Give a model of mssedu.")
    check_onnx_name(path)  # loading may take minutes
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} exists already. Choose another name, or add --overwrite."
        )
    check_file(path)
    network = load_shown(model, weights, None, "cpu")
    license_text = PUBLISHED[model].license if model in PUBLISHED else ""
    export_onnx(network, path, int8=int8, license=license_text)
    say(f"{path}: {size_text(path.stat().st_size)}, any length at once or in chunks")
    say(f"mssedu separate SONG -m {path} runs it")
    return 0
