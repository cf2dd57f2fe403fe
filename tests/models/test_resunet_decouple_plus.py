"""What is ResUNetDecouple+'s own; the rest is in test_contract.py and tests/parity."""

import math

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.registry import create_model, model_config
from mssedu.models.resunet_decouple_plus import from_bytesep, turn
from mssedu.models.sizes import outline
from tests.models.noise import noise

TINY = {"n_fft": 64, "hop_length": 16, "widths": (2, 3, 4), "n_blocks": 1}
PUBLISHED = 102_571_278


def small_model(**changes):
    torch.manual_seed(0)
    return create_model("resunet_decouple_plus", "tiny", **(TINY | changes)).eval()


def on_the_meta_device():
    with torch.device("meta"):
        return create_model("resunet_decouple_plus", stems=("vocals",))


def test_published_parameter_count():
    assert sum(p.numel() for p in on_the_meta_device().parameters()) == PUBLISHED


def test_143_layers():
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    names = [n for n, x in on_the_meta_device().named_modules() if isinstance(x, kinds)]
    assert sum("shortcut" not in name for name in names) == 143


def maps_of(mask, cosine, sine, extra):
    """Four maps for one bin, and an empty one above."""
    return torch.tensor([mask, cosine, sine, extra]).reshape(4, 1, 1, 1, 1, 1)


def test_the_maps_turn_and_scale_the_mixture():
    magnitude = torch.full((1, 1, 2, 1), 3.0)
    phase = torch.full((1, 1, 2, 1), 1j)
    quarter = turn(maps_of(0.0, 0.0, 5.0, 0.25), magnitude, phase)
    assert quarter.shape == (1, 1, 1, 2, 1)
    # Half of 3, and 0.25; a quarter turn from i is -1.
    torch.testing.assert_close(quarter[..., 0, 0], torch.full((1, 1, 1), -1.75 + 0j))
    assert not quarter[..., 1, 0].any()


def test_only_the_angle_of_the_turn_counts():
    magnitude = torch.full((1, 1, 2, 1), 1.0)
    phase = torch.full((1, 1, 2, 1), 1.0 + 0j)
    for size in (0.01, 1.0):
        turned = turn(maps_of(0.0, size, size, 0.0), magnitude, phase)[..., 0, 0]
        expected = torch.full((1, 1, 1), 0.5 * (1 + 1j) / math.sqrt(2))
        torch.testing.assert_close(turned, expected.to(turned))


def test_a_magnitude_is_not_negative():
    magnitude, phase = (
        torch.ones(1, 1, 2, 1),
        torch.ones(1, 1, 2, 1, dtype=torch.cfloat),
    )
    assert not turn(maps_of(0.0, 1.0, 0.0, -9.0), magnitude, phase).any()
    louder = turn(maps_of(0.0, 1.0, 0.0, 9.0), magnitude, phase)[..., 0, 0]
    assert louder.abs().item() == pytest.approx(9.5)


@torch.no_grad()
def test_open_masks_and_no_turn_give_the_mixture():
    model, samples = small_model(stems=("all",)), 3000
    output = model.networks[0].output
    output.weight.zero_()
    # mask 1, cosine positive, sine 0, nothing added; in both channels
    output.bias.copy_(torch.tensor([50.0, 1.0, 0.0, 0.0] * 2))
    time = torch.arange(samples) / 44100
    low = torch.sin(2 * torch.pi * 3000 * time).expand(1, 2, -1)  # below the last bin
    inner = slice(100, -100)  # a tone that starts suddenly is not one frequency
    estimate = model(low)[:, 0]
    torch.testing.assert_close(estimate[..., inner], low[..., inner], atol=1e-3, rtol=0)


@torch.no_grad()
def test_half_precision_stays_in_the_networks():
    model, mixture = small_model(), noise(1, 2, 3000)
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(mixture)
    assert estimate.dtype == torch.float32
    assert estimate.isfinite().all()


@pytest.mark.parametrize("frames", [3, 4, 5, 8, 9])
def test_maps_have_the_frames_of_the_mixture(frames):
    maps = small_model().networks[0](torch.rand(2, 2, 33, frames))
    assert maps.shape == (4, 2, 2, 32, frames)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_fft": 72}, "n_fft must be a multiple of 16 for 3 widths, got 72"),
        ({"widths": (4,) * 13}, r"len\(widths\)"),
        ({"kernel": 2}, "kernel must be odd"),
        ({"n_blocks": 0}, "n_blocks"),
        ({"n_bottleneck": 65}, "n_bottleneck must be at most 64"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("resunet_decouple_plus", "tiny", **(TINY | changes))


def test_published_names_are_renamed():
    names = {
        "bn0.weight": "norm.weight",
        "encoder_block1.conv_block1.bn1.bias": "encoder.0.0.norm1.bias",
        "encoder_block5.conv_block1.shortcut.bias": "encoder.4.0.shortcut.bias",
        "conv_block7d.conv_block2.conv1.weight": "bottleneck.3.1.conv1.weight",
        "decoder_block1.conv1.weight": "decoder.0.up.weight",
        "decoder_block2.bn1.running_var": "decoder.1.norm.running_var",
        "decoder_block6.conv_block5.conv2.weight": "decoder.5.blocks.3.conv2.weight",
        "after_conv_block1.conv_block3.abn2.bias": "after.2.norm2.bias",
        "after_conv2.bias": "output.bias",
    }
    state = dict.fromkeys([*names, "stft.conv_real.weight", "istft.x"], torch.ones(1))
    assert list(from_bytesep(state)) == list(names.values())
    kind = type(create_model("resunet_decouple_plus", "tiny"))
    ours = outline(kind, model_config("resunet_decouple_plus"))
    assert {f"networks.0.{name}" for name in names.values()} <= ours.keys()


def test_the_scale_of_inplace_abn_is_absolute():
    name = "encoder_block1.conv_block1.{}.weight"
    state = {name.format(norm): torch.tensor([-2.0]) for norm in ("bn1", "abn2")}
    plain, inplace = from_bytesep(state).values()
    assert plain.item() == -2
    assert inplace.item() == pytest.approx(2.00001)


def test_inplace_abn_gets_the_count_that_it_does_not_store():
    state = {"encoder_block1.conv_block1.abn2.running_var": torch.ones(3)}
    assert from_bytesep(state)["encoder.0.0.norm2.num_batches_tracked"] == 0
