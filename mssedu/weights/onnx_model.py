"""A model that `mssedu export` wrote: an ONNX file, run by onnxruntime.

    file ─ size ─▶ protobuf ─ marks of mssedu ─▶ OnnxConfig ─▶ onnxruntime ─▶ OnnxModel

ONNX is a graph of operations with its weights. `OnnxModel` follows the model contract,
so separation and evaluation use it as any other model. The file holds what they need,
as JSON in its metadata under the key "mssedu".

The file may be damaged or come from anywhere. It is read as data; no code in it can
run. What its marks say is compared with its graph, and weights in other files, which
could be any file of this machine, are refused before onnxruntime sees the graph.
"""

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssedu.errors import CheckpointError, check_mixture, check_range, missing_package
from mssedu.models.contract import check_config, shown
from mssedu.weights.untrusted import LONGEST, SHOWN, odd_content

KEY = "mssedu"  # of the metadata
FORMAT = 1
INSTALL = 'pip install "mssedu[export]"'


@dataclass(frozen=True)
class OnnxConfig:
    """The config of an exported model, as its file says."""

    stems: tuple[str, ...]
    sample_rate: int  # Hz
    channels: int
    segment: float  # seconds of a chunk
    segment_limit: float | None = None  # seconds
    stem_bandwidth_hz: float = math.inf  # the stems are empty above it
    model: str = ""  # class of the model that was exported
    weights_sha256: str = ""  # of its weights, see `weights_sha256`
    version: str = ""  # of mssedu
    int8: bool = False  # whether matrices are stored in 8 bits

    def __post_init__(self) -> None:
        check_config(self)
        if self.segment_limit is not None:
            check_range("segment_limit", self.segment_limit, 0, 3600, low_open=True)
        check_range("stem_bandwidth_hz", self.stem_bandwidth_hz, 0, low_open=True)


class OnnxModel(nn.Module):
    """The model in an ONNX file, under the model contract; it cannot be trained.

    Args:
        content: of the file.
        config: what it says about itself.
        where: its name, for messages.
    """

    def __init__(self, content: bytes, config: OnnxConfig, where: str) -> None:
        super().__init__()
        onnxruntime = _package("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # it logs its own optimization as a warning
        providers = ["CPUExecutionProvider"]
        with _runtime(where, "an ONNX file that onnxruntime can run"):
            self._session = onnxruntime.InferenceSession(content, options, providers)
        self.config = config
        self._where = where
        self._input = self._session.get_inputs()[0].name
        digest = bytearray(hashlib.sha256(content).digest())
        # So the hash of the model's weights is different for each file.
        self.register_buffer("sha256", torch.frombuffer(digest, dtype=torch.uint8))

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate (batch, channels, samples) to (batch, stems, channels, samples)."""
        check_mixture(mixture, self.config.channels)
        estimates = [self._run(item) for item in mixture.detach().float().cpu()]
        return torch.stack(estimates).to(mixture)

    def _run(self, item: Tensor) -> Tensor:
        wanted = (1, len(self.config.stems), *item.shape)
        given = {self._input: item[None].contiguous().numpy()}
        with _runtime(self._where, "a graph for this mixture"):
            (estimate,) = self._session.run(None, given)
        if estimate.shape != wanted:
            raise CheckpointError(
                f"{self._where} gives an output of the shape {estimate.shape}, and the "
                f"mixture asks for {wanted}. Export the model again."
            )
        return torch.from_numpy(estimate[0])


def load_onnx(path: str | Path, log: Callable[[str], None] | None = None) -> OnnxModel:
    """Load a file of `mssedu export`.

    Args:
        path: of the file.
        log: is called with a line on the license of the weights, if the file has one.

    Raises:
        CheckpointError: no such file, a damaged one, one that mssedu has not written,
            or one with weights in other files.
        SetupError: onnx or onnxruntime is missing.
    """
    path = Path(path)
    onnx = _package("onnx")
    if not path.is_file():
        raise CheckpointError(f"there is no file {path.absolute()}. Check the path.")
    content = path.read_bytes()
    with _runtime(path, "an ONNX file"):
        model = onnx.load_model_from_string(content)
    document = _document(model, path)
    with odd_content(path, "an ONNX file with the metadata of mssedu"):
        names = {field.name for field in fields(OnnxConfig)}
        known = {name: document[name] for name in names & document.keys()}
        known["stems"] = tuple(known["stems"])
        config = OnnxConfig(**known)
        license_text = str(document.get("license") or "")
    if log and license_text:
        log(f"{path}: license {license_text}")
    _check_graph(model, config, path)
    return OnnxModel(content, config, str(path))


def _document(model: Any, path: Path) -> Mapping[str, Any]:
    """What mssedu has written into the metadata of a file."""
    marks = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in marks:
        raise CheckpointError(
            f"{path} was not written by mssedu: its metadata has no entry {KEY!r}. "
            "Only files of `mssedu export` can be loaded."
        )
    if len(marks[KEY]) > LONGEST:
        raise CheckpointError(f"{path}: its metadata is too long to be of mssedu.")
    with odd_content(path, "an ONNX file with the metadata of mssedu"):
        document: Mapping[str, Any] = json.loads(marks[KEY])
        if document["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {shown(document['format'])}, and this mssedu reads "
                f"format {FORMAT}. Update mssedu, or export the model again."
            )
    return document


def _check_graph(model: Any, config: OnnxConfig, path: Path) -> None:
    """Raise CheckpointError unless the graph is alone and has the promised axes."""
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise CheckpointError(
            f"{path} keeps its weights in other files, which mssedu does not read. "
            "Export the model again with `mssedu export`."
        )
    axes = []
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        axes.append([d.dim_value if d.HasField("dim_value") else None for d in dims])
    stems, channels = len(config.stems), config.channels
    if [a[:-1] for a in axes] != [[1, channels], [1, stems, channels]]:
        raise CheckpointError(
            f"{path} says that it has {stems} stems and {channels} channels, but its "
            f"graph has the axes {axes}. Export the model again."
        )


@contextmanager
def _runtime(where: str | Path, kind: str) -> Iterator[None]:
    """As `odd_content`, also for errors of onnx and onnxruntime, of other classes."""
    try:
        with odd_content(where, kind):
            yield
    except Exception as error:
        if not type(error).__module__.startswith(("onnxruntime", "google.protobuf")):
            raise
        reason = " ".join(str(error)[:SHOWN].split())
        raise CheckpointError(
            f"{where} is not {kind} ({reason}). Export the model again."
        ) from error


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing_package("an ONNX file", name, INSTALL) from error
