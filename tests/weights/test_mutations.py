"""Weights with random damage load, or end in an error of the package: nothing else."""

import copy
import dataclasses
import json
import math
import resource
import warnings

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from mssedu.audio.files import as_json, file_sha256
from mssedu.errors import MssEduError
from mssedu.models.registry import (
    class_of,
    create_model,
    list_models,
    model_config,
    presets_of,
)
from mssedu.models.sizes import outline
from mssedu.weights.checkpoint import save_checkpoint
from mssedu.weights.loading import load_model

MOST_MEMORY = 500_000  # kB
SMALL = {
    "conv_tasnet": {"n_filters": 8, "hidden": 8, "bottleneck": 8, "n_blocks": 2},
    "open_unmix": {"hidden": 4, "n_fft": 64, "hop_length": 32, "n_layers": 1},
    "spleeter": {
        "filters": (2, 4),
        "n_fft": 64,
        "hop_length": 16,
        "bins": 32,
        "frames": 16,
    },
    "wave_u_net": {"n_levels": 2, "filters": 2},
}
few = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numbers = st.integers() | st.floats() | st.sampled_from([10**9, 2**63, 10**400, -1, 0])
plain = numbers | st.text() | st.none() | st.booleans()
values = st.recursive(
    plain | st.sampled_from(["x" * 10**5, "../../x", [[]] * 10**4]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def assert_loads_or_refuses(path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = ""
    try:
        with warnings.catch_warnings(action="ignore"):
            assert isinstance(load_model(path), nn.Module)
    except MssEduError as error:
        message = str(error)
    assert len(message) < 2000
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < MOST_MEMORY


def damaged(content, damage):
    """Bytes with others in some places; a place is a share of the length."""
    content = bytearray(content)
    for place, byte in damage:
        content[int(place * len(content))] = byte
    return bytes(content)


places = st.floats(0, 1, exclude_max=True)
damages = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)


@st.composite
def changed(draw, document):
    """A document with values of another kind, without keys, or with more of them."""
    document = target = copy.deepcopy(document)
    if "config" in document and draw(st.integers(0, 3)):
        target = document["config"]
    for key in draw(st.lists(st.sampled_from([*target, "new"]), max_size=3)):
        if draw(st.booleans()) and key in target:
            del target[key]
        else:
            target[key] = draw(values)
    return document


@pytest.fixture(scope="module", params=SMALL)
def own(request, tmp_path_factory):
    """A checkpoint as version 0.1 wrote it, without a hash that protects its config."""
    model = create_model(request.param, "paper", ("a", "b"), **SMALL[request.param])
    path = tmp_path_factory.mktemp(request.param) / "own.safetensors"
    save_checkpoint(path, model)
    safetensors.torch.save_file(model.state_dict(), path, {"mssedu": "0.1.0"})
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    document |= {"sha256": file_sha256(path)}
    path.with_suffix(".json").write_text(json.dumps(document), "utf-8")
    assert load_model(path).config == model.config
    return path, document


@few
@given(data=st.data())
def test_a_json_with_other_values(own, data):
    path, document = own
    text = json.dumps(data.draw(changed(document)))
    path.with_suffix(".json").write_text(text, "utf-8")
    assert_loads_or_refuses(path)


@few
@given(damage=damages)
def test_a_json_with_other_bytes(own, damage):
    path, document = own
    content = damaged(json.dumps(document).encode(), damage)
    path.with_suffix(".json").write_bytes(content)
    assert_loads_or_refuses(path)


@few
@given(name=st.sampled_from(list_models()), data=st.data())
def test_a_config_with_other_values(name, data):
    fields = as_json(dataclasses.asdict(presets_of(name)["tiny"]))
    fields = data.draw(changed(fields))
    known = presets_of(name)["tiny"].__dataclass_fields__
    fields = {key: value for key, value in fields.items() if key in known}
    message = ""
    try:
        assert outline(class_of(name), model_config(name, "tiny", **fields))
    except MssEduError as error:
        message = str(error)
    assert len(message) < 2000


@pytest.fixture(scope="module")
def state():
    model = create_model("conv_tasnet", **SMALL["conv_tasnet"])
    return model.state_dict()


@pytest.mark.parametrize("old", [False, True])
@few
@given(damage=damages, kept=st.floats(0.5, 1))
def test_a_pickle_with_other_bytes(state, tmp_path, old, damage, kept):
    path = tmp_path / "a.th"
    if not path.with_suffix(".good").exists():
        good = path.with_suffix(".good")
        torch.save(state, good, _use_new_zipfile_serialization=not old)
    content = path.with_suffix(".good").read_bytes()
    path.write_bytes(damaged(content[: int(kept * len(content)) + 1], damage))
    assert_loads_or_refuses(path)


@few
@given(damage=damages, kept=st.floats(0.5, 1))
def test_a_header_with_other_bytes(state, tmp_path, damage, kept):
    content = safetensors.torch.save(state, {"a": "b"})
    header = 8 + int.from_bytes(content[:8], "little")
    start = damaged(content[:header], damage)
    path = tmp_path / "a.safetensors"
    path.write_bytes(start + content[header : int(kept * len(content)) + 1])
    assert_loads_or_refuses(path)


ARGUMENTS = {
    "demucs.tasnet.ConvTasNet": {"N": 8, "L": 20, "B": 8, "H": 8, "X": 2, "R": 4},
    "demucs.model.Demucs": {"channels": 4, "depth": 2},
    "demucs.hdemucs.HDemucs": {"channels": 8, "nfft": 4096, "wiener_iters": 0},
    "demucs.htdemucs.HTDemucs": {"channels": 8, "segment": 7.8, "depth": 2},
}


@pytest.mark.parametrize("klass", ARGUMENTS)
@few
@given(data=st.data())
def test_arguments_with_other_values(state, tmp_path, klass, data):
    kwargs = {"sources": ["a", "b", "c", "d"], "samplerate": 8000, **ARGUMENTS[klass]}
    kwargs = data.draw(changed(kwargs))
    facts = {"klass": klass, "args": "[]", "kwargs": json.dumps(kwargs)}
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(state, path, facts)
    assert_loads_or_refuses(path)


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, 2**20]), max_size=4)
NAMES = st.sampled_from(
    [
        "crosstransformer.norm_in.weight",
        "crosstransformer.layers.0.linear1.weight",
        "tencoder.0.conv.weight",
        "freq_encoder.0.conv.weight",
        "freq_emb.embedding.weight",
        "encoder.0.conv.weight",
        "encoder.1.conv.weight",
        "encoder.0.rewrite.weight",
        "decoder.0.rewrite.weight",
        "decoder.0.conv_tr.weight",
        "encoder.0.dconv.layers.0.0.weight",
        "encoder.0.0.weight",
        "encoder.0.2.weight",
        "encoder.x.norm1.weight",
        "encoder.conv1d_U.weight",
        "separator.network.2.0.0.net.0.weight",
        "fc1.weight",
        "input_mean",
        "output_mean",
        "sample_rate",
        "",
        "x",
    ]
)


@settings(few, max_examples=100)
@given(shapes=st.dictionaries(NAMES, SHAPES, min_size=1))
@example(shapes={"fc1.weight": [2, 2], "input_mean": [0], "output_mean": [1]})
def test_tensors_of_other_shapes(tmp_path, shapes):
    path = tmp_path / "vocals.safetensors"
    header, n = {}, 0
    for name, shape in shapes.items():
        n_bytes = 4 * math.prod(shape)
        header[name] = {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [n, n + n_bytes],
        }
        n += n_bytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + min(n, 2**36))
    assert_loads_or_refuses(path)
