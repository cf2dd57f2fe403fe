"""ONNX files: the same stems as in PyTorch, at every length, with what they need."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import mssedu
from mssedu.errors import InputError, SetupError
from mssedu.export import export_onnx
from mssedu.models.registry import create_model
from mssedu.separation.tensors import separate
from mssedu.weights import load_model, weights_sha256
from tests.export.small import small

LENGTHS = (1, 777, 30_001, 100_000)


def test_a_file_needs_onnxruntime_only(exported):
    model, path = exported
    session = onnxruntime.InferenceSession(path.read_bytes())
    for samples in (1, 15, 1000, 9001):
        mixture = torch.randn(1, 2, samples)
        (estimate,) = session.run(None, {"mixture": mixture.numpy()})
        with torch.no_grad():
            want = model(mixture).numpy()
        np.testing.assert_allclose(estimate, want, atol=1e-4)


def test_the_metadata_say_what_the_model_is(exported):
    model, path = exported
    marks = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(marks["mssedu"]) == {
        "format": 1,
        "version": mssedu.__version__,
        "model": "Small",
        "stems": ["dizi", "other"],
        "sample_rate": 8000,
        "channels": 2,
        "segment": 0.5,
        "segment_limit": 2.0,
        "weights_sha256": weights_sha256(model),
        "license": "CC0: any use",
        "int8": False,
    }


def test_the_engine_runs_a_file_as_any_model(exported):
    model, path = exported
    mixture = torch.randn(2, 20_000)
    torch.testing.assert_close(
        separate(load_model(path), mixture, batch_size=3),
        separate(model, mixture, batch_size=3),
        atol=1e-4,
        rtol=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv_tasnet", "demucs", "wave_u_net"])
def test_models_give_the_same_stems_as_in_pytorch(name, tmp_path):
    check(name, tmp_path)


def check(name, folder):
    torch.manual_seed(0)
    model = create_model(name, "tiny").eval()
    loaded = load_model(export_onnx(model, folder / "model.onnx"))
    for samples in LENGTHS:
        mixture = torch.randn(2, 2, samples)
        with torch.no_grad():
            want = model(mixture)
        torch.testing.assert_close(loaded(mixture), want, atol=1e-4, rtol=0)


def test_int8_makes_matrices_a_quarter_as_large(tmp_path):
    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = small().config
            self.mix = torch.nn.Sequential(
                torch.nn.Linear(2, 400), torch.nn.ReLU(), torch.nn.Linear(400, 400)
            )

        def forward(self, mixture):
            features = self.mix(mixture.mT).mT.unflatten(1, (100, 2, 2))
            return features.mean(1)

    torch.manual_seed(0)
    model = Wide().eval()
    plain = export_onnx(model, tmp_path / "plain.onnx")
    small_file = export_onnx(model, tmp_path / "int8.onnx", int8=True)
    assert small_file.stat().st_size < 0.35 * plain.stat().st_size
    loaded = load_model(small_file)
    assert loaded.config.int8
    mixture = torch.randn(1, 2, 500)
    error = (loaded(mixture) - model(mixture)).detach()
    assert 0 < error.square().mean() < 1e-3 * model(mixture).square().mean()


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in .onnx, got model\.pt"):
        export_onnx(small(), tmp_path / "model.pt")


def test_models_that_no_file_can_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mssedu.export.onnx_file.LARGEST", 100)
    with pytest.raises(InputError, match="at most 2 GB"):
        export_onnx(small(), tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_install_command(
    package, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"{package}.*pip install .mssedu\[export\]"):
        export_onnx(small(), tmp_path / "model.onnx")
