"""ONNX files that are damaged, foreign or hostile give clear errors."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mssedu.errors import CheckpointError, InputError, SetupError
from mssedu.separation import separate
from mssedu.weights import load_onnx

CONFIG = {
    "format": 1,
    "stems": ["dizi", "other"],
    "sample_rate": 8000,
    "channels": 2,
    "segment": 0.5,
}


def file_of(folder, document=CONFIG, factor=(1.0, -1.0), operation="Mul"):
    """An ONNX file whose stems are the mixture times a factor each."""
    weights = np.array(factor, dtype=np.float32).reshape(1, -1, 1, 1)
    values = [helper.make_tensor("factor", 1, weights.shape, weights)]
    values.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    nodes = [
        helper.make_node("Unsqueeze", ["mixture", "axis"], ["wide"]),
        helper.make_node(operation, ["wide", "factor"], ["estimate"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("mixture", 1, [1, 2, "samples"])],
        [helper.make_tensor_value_info("estimate", 1, [1, len(factor), 2, "samples"])],
        values,
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    if document is not None:
        helper.set_model_props(model, {"mssedu": json.dumps(document)})
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_follows_the_model_contract(tmp_path):
    said = []
    path = file_of(tmp_path, {**CONFIG, "license": "CC0"})
    model = load_onnx(path, said.append)
    assert said == [f"{path}: license CC0"]
    assert model.config.stems == ("dizi", "other")
    mixture = torch.randn(3, 2, 100, dtype=torch.float64)
    want = torch.stack([mixture, -mixture], dim=1)
    got = model(mixture)
    assert got.dtype is torch.float64
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="takes 2 channels"):
        model(mixture[:, :1])


def test_the_hash_differs_from_file_to_file(tmp_path):
    first = load_onnx(file_of(tmp_path)).state_dict()["sha256"]
    second = load_onnx(file_of(tmp_path, factor=(1.0, -2.0))).state_dict()["sha256"]
    assert not torch.equal(first, second)


@pytest.mark.parametrize("option", [{"precision": "bfloat16"}, {"compile": True}])
def test_options_that_only_torch_has_are_refused(tmp_path, option):
    model, mixture = load_onnx(file_of(tmp_path)), torch.ones(2, 100)
    assert separate(model, mixture).shape == (2, 2, 100)
    with pytest.raises(InputError, match="computed by onnxruntime"):
        separate(model, mixture, **option)


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        load_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files(tmp_path, share):
    path = file_of(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model.onnx (is|was) not"):
        load_onnx(path)


@pytest.mark.parametrize("content", [b"", b"noise" * 99, b"\xff" * 64])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.onnx (is|was) not"):
        load_onnx(path)


def test_files_of_another_program(tmp_path):
    with pytest.raises(CheckpointError, match="was not written by mssedu"):
        load_onnx(file_of(tmp_path, None))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 2}, "has format 2"),
        ({"stems": 7}, "metadata of mssedu"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"segment": "long"}, "segment must be"),
        ({"segment_limit": -1.0}, "segment_limit must be"),
        ({"stem_bandwidth_hz": 0.0}, "stem_bandwidth_hz must be"),
        ({"stems": ["../../dizi", "other"]}, "cannot name files"),
        ({"stems": ["a", "b", "c"]}, "says that it has 3 stems"),
    ],
)
def test_metadata_that_cannot_be(tmp_path, change, word):
    with pytest.raises((CheckpointError, InputError), match=word):
        load_onnx(file_of(tmp_path, {**CONFIG, **change}))


def test_metadata_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr("mssedu.weights.onnx_model.LONGEST", 10)
    with pytest.raises(CheckpointError, match="too long"):
        load_onnx(file_of(tmp_path))


def test_weights_in_other_files_are_refused(tmp_path):
    path = file_of(tmp_path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/hostname")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="weights in other files"):
        load_onnx(path)


def test_operations_that_do_not_exist(tmp_path):
    with pytest.raises(CheckpointError, match="onnxruntime can run"):
        load_onnx(file_of(tmp_path, operation="Multiplication"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package(tmp_path, monkeypatch, package):
    path = file_of(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"{package}.*pip install .mssedu\[export\]"):
        load_onnx(path)
