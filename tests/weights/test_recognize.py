"""Networks are told by their tensors: every size that leaves a trace is found again."""

import os
import warnings
from types import ModuleType

import pytest
import safetensors.torch
import torch

from mssedu.errors import CheckpointError
from mssedu.weights.recognize import recognize
from tests.parity.peers import import_reference, load_peer

pytestmark = pytest.mark.parity
NAMES = ["a", "b", "c"]


def old(module):
    diffq = ModuleType("diffq")
    diffq.DiffQuantizer = diffq.UniformQuantizer = diffq.restore_quantized_state = None
    return load_peer("demucs", "2.0.3", [module], {"diffq": diffq})[0]


HTDEMUCS = {"channels": 8, "depth": 4, "t_layers": 3, "t_hidden_scale": 2.0}
HDEMUCS = {"channels": 8, "audio_channels": 1}
DEMUCS = {"channels": 4, "depth": 3, "growth": 1.5, "lstm_layers": 1, "glu": True}
TASNET = {"N": 16, "L": 10, "B": 8, "H": 12, "P": 5, "X": 3, "R": 2}


@pytest.mark.parametrize(
    ("package", "name", "arguments"),
    [
        ("demucs.htdemucs", "HTDemucs", {**HTDEMUCS, "bottom_channels": 16}),
        ("demucs.htdemucs", "HTDemucs", {**HTDEMUCS, "dconv_mode": 3, "dconv_comp": 4}),
        ("demucs.htdemucs", "HTDemucs", {**HTDEMUCS, "bottom_channels": 0}),
        ("demucs.hdemucs", "HDemucs", {**HDEMUCS, "dconv_lstm": 4, "dconv_attn": 4}),
        ("demucs.hdemucs", "HDemucs", {**HDEMUCS, "norm_starts": 2, "context": 2}),
        ("demucs.hdemucs", "HDemucs", {**HDEMUCS, "cac": False, "time_stride": 4}),
        ("demucs.model", "Demucs", DEMUCS),
        ("demucs.model", "Demucs", {**DEMUCS, "glu": False, "context": 1}),
        ("demucs.tasnet", "ConvTasNet", TASNET),
        ("demucs.tasnet", "ConvTasNet", {**TASNET, "audio_channels": 1}),
    ],
)
def test_sizes_are_read_from_the_tensors(package, name, arguments):
    if package in ("demucs.model", "demucs.tasnet"):
        module = old(package.partition(".")[2])
    else:
        module = import_reference(package)
    with warnings.catch_warnings(action="ignore"):
        state = getattr(module, name)(NAMES, **arguments).state_dict()
    found = recognize(state, "x")
    assert (found.klass, found.n_stems) == (f"{package}.{name}", 3)
    assert {name: found.arguments[name] for name in arguments} == arguments
    assert found.state.keys() == state.keys()


def test_torchaudio_is_renamed_to_demucs():
    models = pytest.importorskip("torchaudio.models")
    hdemucs = import_reference("demucs.hdemucs")
    theirs = models.HDemucs(NAMES, channels=8, nfft=4096, depth=6).state_dict()
    found = recognize(theirs, "x")
    wanted = hdemucs.HDemucs(NAMES, channels=8).state_dict()
    shapes = {name: value.shape for name, value in wanted.items()}
    assert {name: value.shape for name, value in found.state.items()} == shapes
    assert found.klass == "demucs.hdemucs.HDemucs"


@pytest.mark.skipif("MSSEDU_HTDEMUCS" not in os.environ, reason="needs the weights")
def test_the_published_htdemucs_is_recognized():
    state = safetensors.torch.load_file(os.environ["MSSEDU_HTDEMUCS"])
    found = recognize(state, "x")
    expected = {"channels": 48, "bottom_channels": 512, "t_layers": 5, "dconv_mode": 3}
    assert expected.items() <= found.arguments.items()
    assert found.n_stems == 4


def test_other_networks_are_refused():
    with pytest.raises(CheckpointError, match=r"tensors named conv1\.weight"):
        recognize({"conv1.weight": torch.zeros(1)}, "x")
