"""Weights of other packages become configs of ours, or an error that names why not."""

import inspect
import os
import warnings
from fractions import Fraction
from types import ModuleType

import pytest
import safetensors.torch
import torch

from mssedu.errors import CheckpointError
from mssedu.models.registry import create_model, model_config
from mssedu.weights.convert import ORIGINS, port, port_open_unmix, recognize
from mssedu.weights.foreign import Weights
from tests.parity.peers import import_reference, load_peer

STEMS = ("dizi", "pipa", "other")


def original_class(name):
    """A class of demucs 4, or of 2.0.3 where it is from there."""
    package, _, klass = name.rpartition(".")
    if package in ("demucs.model", "demucs.tasnet"):
        diffq = ModuleType("diffq")
        diffq.DiffQuantizer = diffq.UniformQuantizer = None
        diffq.restore_quantized_state = None
        module = package.partition(".")[2]
        (module,) = load_peer("demucs", "2.0.3", [module], {"diffq": diffq})
        return getattr(module, klass)
    return getattr(import_reference(package), klass)


# ---- arguments of the original class -> config of ours ------------------------------


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
        ("demucs.demucs.Demucs", {"sources": ["a"]}, r"class demucs\.demucs\.Demucs"),
        ("demucs.model.Demucs", {}, "sources is missing"),
        ("demucs.model.Demucs", {"sources": ["a"], "rewrite": False}, "rewrite=False"),
        ("demucs.model.Demucs", {"sources": ["a"], "new": 3}, "new=3"),
        ("demucs.tasnet.ConvTasNet", {"sources": ["a"], "norm_type": "BN"}, "='BN'"),
    ],
)
def test_what_no_model_has_is_named(name, arguments, match):
    with pytest.raises(CheckpointError, match=match):
        port(Weights({}, name, arguments), "x")


def tasnet_state(n_stems):
    model = create_model(
        "conv_tasnet",
        "tiny",
        [f"stem {i}" for i in range(n_stems)],
        n_filters=8,
        filter_length=6,
        hop_length=3,
        bottleneck=4,
        hidden=6,
        n_blocks=2,
        n_repeats=2,
    )
    return Weights(model.state_dict())


def test_a_bare_state_has_the_usual_stems_unless_told():
    demucs = ("drums", "bass", "other", "vocals")
    assert port(tasnet_state(4), "x").config["stems"] == demucs
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
    model = create_model("open_unmix", stems=STEMS, **(small | changes))
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


def test_a_file_of_another_package_is_no_open_unmix():
    with pytest.raises(CheckpointError, match=r"x: .*pipa .*conv1\.weight"):
        port_open_unmix({"pipa": {"conv1.weight": torch.zeros(1)}}, "x")


@pytest.mark.parity
@pytest.mark.parametrize("name", ORIGINS)
def test_every_argument_of_the_original_has_its_place_and_its_default(name):
    origin = ORIGINS[name]
    parameters = inspect.signature(original_class(name)).parameters
    metadata = {"sources", "segment", "segment_length"} & parameters.keys()
    mapped = {*origin.fields, *origin.fixed, *origin.unused}
    assert mapped | metadata == parameters.keys()
    assert origin.fields.keys() == origin.defaults.keys()
    # What stands fixed is the original's default, or its weights would be unreadable.
    for argument, value in {**origin.defaults, **origin.fixed}.items():
        assert parameters[argument].default == value, argument


def test_an_argument_stands_in_one_place():
    for name, origin in ORIGINS.items():
        places = [{*origin.fields}, {*origin.fixed}, {*origin.unused}]
        assert sum(map(len, places)) == len(set.union(*places)), name
        assert len({*origin.fields.values()}) == len(origin.fields), name


# ---- tensors -> original class and its arguments ------------------------------------

NAMES = ["a", "b", "c"]
HTDEMUCS = {"channels": 8, "depth": 4, "t_layers": 3, "t_hidden_scale": 2.0}
HDEMUCS = {"channels": 8, "audio_channels": 1}
DEMUCS = {"channels": 4, "depth": 3, "growth": 1.5, "lstm_layers": 1, "glu": True}
TASNET = {"N": 16, "L": 10, "B": 8, "H": 12, "P": 5, "X": 3, "R": 2}


@pytest.mark.parity
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
    original = original_class(f"{package}.{name}")
    with warnings.catch_warnings(action="ignore"):
        state = original(NAMES, **arguments).state_dict()
    network, n_stems = recognize(state, "x")
    assert (network.klass, n_stems) == (f"{package}.{name}", 3)
    assert {name: network.arguments[name] for name in arguments} == arguments
    assert network.state.keys() == state.keys()


@pytest.mark.parity
def test_torchaudio_is_renamed_to_demucs():
    models = pytest.importorskip("torchaudio.models")
    theirs = models.HDemucs(NAMES, channels=8, nfft=4096, depth=6).state_dict()
    network, _ = recognize(theirs, "x")
    hdemucs = original_class("demucs.hdemucs.HDemucs")
    wanted = hdemucs(NAMES, channels=8).state_dict()
    shapes = {name: value.shape for name, value in wanted.items()}
    assert {name: value.shape for name, value in network.state.items()} == shapes
    assert network.klass == "demucs.hdemucs.HDemucs"


@pytest.mark.parity
@pytest.mark.skipif("MSSEDU_HTDEMUCS" not in os.environ, reason="needs the weights")
def test_the_published_htdemucs_is_recognized():
    state = safetensors.torch.load_file(os.environ["MSSEDU_HTDEMUCS"])
    network, n_stems = recognize(state, "x")
    expected = {"channels": 48, "bottom_channels": 512, "t_layers": 5, "dconv_mode": 3}
    assert expected.items() <= network.arguments.items()
    assert n_stems == 4


def test_other_networks_are_refused():
    with pytest.raises(CheckpointError, match=r"tensors named conv1\.weight"):
        recognize({"conv1.weight": torch.zeros(1)}, "x")
