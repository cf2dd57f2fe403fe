"""Files without a class: their names say the model, their shapes its config."""

import re

import pytest
import safetensors.torch
import torch

from mssedu.errors import CheckpointError
from mssedu.models.registry import create_model
from mssedu.weights.convert import port
from mssedu.weights.foreign import Weights
from mssedu.weights.layouts import LAYOUTS, ROFORMER, layout_of, read_layout
from mssedu.weights.loading import load_model
from tests.models.noise import noise

STEMS = ("dizi", "pipa")
# Our names back to those of published files
TO_ROFORMER = (
    (r"^transformer\.time_layers\.(\d+)\.", r"layers.\1.0."),
    (r"^transformer\.band_layers\.(\d+)\.", r"layers.\1.1."),
    (r"\.attend\.(norm)\.", r".layers.0.0.\1."),
    (r"\.attend\.(qkv|gates)\.", r".layers.0.0.to_\1."),
    (r"\.attend\.out\.", ".layers.0.0.to_out.0."),
    (r"\.feed_forward\.", ".layers.0.1.net."),
    (r"^split\.networks\.", "band_split.to_features."),
    (r"^masks\.(\d+)\.networks\.(\d+)\.", r"mask_estimators.\1.to_freqs.\2.0."),
    (r"^norm\.", "final_norm."),
    (r"\.gain$", ".gamma"),
)
TO_SCNET = (
    (r"\.down\.", ".SDlayer.convs."),
    (r"\.refine\.(\d+)\.branches\.", r".conv_modules.\1.layers."),
    (r"\.mix\.", ".globalconv."),
    (r"\.merge\.", ".0.conv."),
    (r"\.up\.", ".1.convtrs."),
    (
        r"^separator\.layers\.(\d+)\.bins\.(\w+)\.",
        r"separation_net.dp_modules.\1.\2_layers.0.",
    ),
    (
        r"^separator\.layers\.(\d+)\.frames\.(\w+)\.",
        r"separation_net.dp_modules.\1.\2_layers.1.",
    ),
)


def small(name, **changes):
    torch.manual_seed(0)
    sizes = {
        "bs_roformer": {"mask_layers": 1},
        "mel_band_roformer": {"mask_layers": 2, "zero_dc": True, "hop_length": 441},
        "scnet": {
            "normalize": False,
            "hop_length": 1024,
            "low_share": 0.175,
            "mid_share": 0.392,
        },
    }
    return create_model(name, "tiny", STEMS, **(sizes[name] | changes)).eval()


def as_published(model):
    """The state dict under the names of published files."""
    scnet = type(model).__name__ == "SCNet"
    state = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in TO_SCNET if scnet else TO_ROFORMER:
            name = re.sub(ours, theirs, name)
        if not name.endswith(".speeds"):
            state[name] = tensor
    if not scnet:  # each layer has the speeds of its axis
        for layer in range(model.config.n_layers):
            for axis in (0, 1):
                speeds = model.transformer.time_positions.speeds.clone()
                state[f"layers.{layer}.{axis}.layers.0.0.rotary_embed.freqs"] = speeds
    return state


@torch.no_grad()
@pytest.mark.parametrize("name", ["bs_roformer", "mel_band_roformer", "scnet"])
def test_a_published_file_gives_the_model_back(name, tmp_path):
    model = small(name)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(as_published(model), path)
    again = load_model(path, stems=STEMS)
    differing = {"segment", "hop_length"}  # they leave no trace
    for field, value in vars(again.config).items():
        assert field in differing or value == getattr(model.config, field), field
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    torch.save({"state_dict": as_published(model)}, tmp_path / "weights.ckpt")
    mixture = noise(1, 2, 9000)
    other = load_model(tmp_path / "weights.ckpt", stems=STEMS)
    assert torch.equal(again(mixture), other(mixture))


def test_stems_need_names_where_files_differ_in_their_order():
    for name in ("bs_roformer", "mel_band_roformer", "scnet"):
        state = as_published(small(name))
        with pytest.raises(CheckpointError, match=r"the 2 outputs.*does not name them"):
            port(Weights(state), "x")
        with pytest.raises(CheckpointError, match=r"the 2 outputs.*got dizi"):
            port(Weights(state), "x", ["dizi"])


def test_every_scnet_of_four_stems_has_the_authors_order():
    torch.manual_seed(0)
    state = as_published(create_model("scnet", "tiny"))
    assert port(Weights(state), "x").config["stems"] == LAYOUTS[2].stems


def test_other_files_have_no_layout():
    assert layout_of({"conv1.weight": torch.zeros(1)}) is None
    assert layout_of(create_model("htdemucs", "tiny").state_dict()) is None


def test_a_tensor_that_layers_share_must_be_the_same():
    state = as_published(small("bs_roformer"))
    state["layers.1.0.layers.0.0.rotary_embed.freqs"] *= 2
    with pytest.raises(
        CheckpointError, match=r"x: layers\.1\.0.*the same in all layers"
    ):
        read_layout(LAYOUTS[0], state, "x")


def test_a_variant_that_no_model_has_is_refused(tmp_path):
    state = as_published(small("bs_roformer"))
    state["layers.0.0.layers.0.0.to_value_residual_mix.bias"] = torch.zeros(4)
    path = tmp_path / "variant.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(CheckpointError, match=r"do not fit .* unexpected 1"):
        load_model(path, stems=STEMS)


def test_bands_that_are_no_mel_bands_are_refused(tmp_path):
    state = as_published(small("mel_band_roformer"))
    state["band_split.to_features.3.0.gamma"] = torch.ones(4)
    path = tmp_path / "odd.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(CheckpointError, match=r"do not fit .* misshapen"):
        load_model(path, stems=STEMS)


def test_names_are_renamed_once():
    """A name of ours is no name of theirs, so the order of the rows decides nothing."""
    for pattern, ours in ROFORMER[2:]:
        plain = re.sub(r"\\(\d)", r"\1", ours)
        assert not re.search(pattern, plain)
