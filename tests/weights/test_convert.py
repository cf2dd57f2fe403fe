"""Arguments and tensors of the originals become configs of ours, or a named refusal."""

from fractions import Fraction

import pytest
import torch

from mssedu.errors import CheckpointError
from mssedu.models.registry import create_model, model_config
from mssedu.weights.foreign import Weights
from mssedu.weights.official import port, port_open_unmix
from mssedu.weights.origins import ORIGINS

STEMS = ("dizi", "pipa", "other")


@pytest.mark.parametrize("name", ORIGINS)
def test_the_defaults_make_a_config(name):
    ported = port(Weights({}, name, {"sources": list(STEMS)}), "x")
    config = model_config(ported.model, **ported.config)
    assert config.stems == STEMS
    assert config.channels == 2
    assert config.sample_rate == 44100


@pytest.mark.parametrize(
    ("arguments", "segment"),
    [({"segment": Fraction(39, 5)}, 7.8), ({"segment_length": 88200}, 2.0)],
)
def test_the_segment_is_in_seconds(arguments, segment):
    name = "demucs.tasnet.ConvTasNet"
    arguments = {"sources": ["a", "b"], **arguments}
    assert port(Weights({}, name, arguments), "x").config["segment"] == segment


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("demucs.demucs.Demucs", {"sources": ["a"]}, r"got demucs\.demucs\.Demucs"),
        ("demucs.model.Demucs", {}, "got no sources"),
        ("demucs.model.Demucs", {"sources": ["a"], "rewrite": False}, "rewrite=False"),
        ("demucs.model.Demucs", {"sources": ["a"], "new": 3}, "got new=3"),
        ("demucs.tasnet.ConvTasNet", {"sources": ["a"], "norm_type": "BN"}, "='BN'"),
    ],
)
def test_what_no_model_has_is_named(name, arguments, match):
    with pytest.raises(CheckpointError, match=match):
        port(Weights({}, name, arguments), "x")


def tasnet_state(n_stems):
    model = create_model(
        *("conv_tasnet", "tiny", [f"stem {i}" for i in range(n_stems)]),
        **{"n_filters": 8, "filter_length": 6, "hop_length": 3, "bottleneck": 4},
        **{"hidden": 6, "n_blocks": 2, "n_repeats": 2},
    )
    return Weights(model.state_dict())


def test_a_bare_state_has_the_usual_stems_unless_told():
    assert port(tasnet_state(4), "x").config["stems"] == (
        *("drums", "bass", "other", "vocals"),
    )
    assert port(tasnet_state(6), "x").config["stems"][4:] == ("guitar", "piano")
    assert port(tasnet_state(3), "x", STEMS).config["stems"] == STEMS
    for n_stems, stems in ((3, None), (4, STEMS)):
        with pytest.raises(CheckpointError, match=rf"the {n_stems} outputs.*stems=\("):
            port(tasnet_state(n_stems), "x", stems)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bidirectional": False, "n_layers": 2, "hidden": 6},
        {"channels": 1, "n_layers": 1, "bandwidth_hz": 22050.0},
        {"n_fft": 512, "hop_length": 128, "bandwidth_hz": 3000.0},
    ],
)
def test_open_unmix_is_read_from_its_tensors(changes):
    small = {"n_fft": 1024, "hop_length": 256, "hidden": 8, "bandwidth_hz": 16000.0}
    model = create_model("open_unmix", stems=STEMS, **{**small, **changes})
    states = dict(zip(STEMS, (n.state_dict() for n in model.networks), strict=True))
    ported = port_open_unmix(states, "x")
    again = create_model(ported.model, **ported.config)
    again.load_state_dict(ported.state)
    assert again.config.input_bins == model.config.input_bins
    assert again.config.bidirectional == model.config.bidirectional
    assert again.config.channels == model.config.channels
    if not changes:
        assert again.config == model.config
    states["dizi"]["sample_rate"] = torch.tensor(16000)  # some files hold it
    states["dizi"]["stft.window"] = torch.ones(1024)
    assert port_open_unmix(states, "x").config["sample_rate"] == 16000
    assert port_open_unmix(states, "x").state.keys() == ported.state.keys()
