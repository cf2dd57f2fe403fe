"""What is Spleeter's own; the rest is in test_contract.py and tests/parity."""

import pytest
import torch

from mssedu.errors import CheckpointError, InputError
from mssedu.models.registry import create_model, model_config
from mssedu.models.spleeter import PRESETS, UNet, load_official
from tests.models.noise import noise

TINY = {"n_fft": 64, "hop_length": 16, "bins": 16, "frames": 32, "filters": (2, 3)}
PUBLISHED = 9_823_749


def small_model(**changes):
    torch.manual_seed(0)
    return create_model("spleeter", "tiny", **(TINY | changes))


@pytest.mark.parametrize(
    ("preset", "n_stems"), [("paper", 4), ("paper_2stems", 2), ("paper_5stems", 5)]
)
def test_published_parameter_count(preset, n_stems):
    model = create_model("spleeter", preset)
    assert sum(p.numel() for p in model.parameters()) == n_stems * PUBLISHED
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == n_stems * (PUBLISHED - 1024)
    statistics = [b for n, b in model.named_buffers() if "running" in n]
    assert sum(b.numel() for b in statistics) == n_stems * 3010


def test_published_variants_differ_as_published():
    two, four, five = (PRESETS[n] for n in ("paper_2stems", "paper", "paper_5stems"))
    assert (two.encoder_activation, two.decoder_activation) == ("leaky_relu", "relu")
    assert (four.encoder_activation, four.decoder_activation) == ("elu", "elu")
    assert [config.softmax for config in (two, four, five)] == [False, False, True]


@torch.no_grad()
def test_without_a_cut_the_stems_sum_to_the_mixture():
    model = small_model(n_fft=32, hop_length=8, bins=16, mask_extension="average")
    mixture = noise(1, 2, 1000)
    total = model.eval()(mixture).sum(1)
    torch.testing.assert_close(total, mixture, rtol=0, atol=1e-5)


@torch.no_grad()
def test_zeros_above_the_cut_remove_what_is_there():
    time = torch.arange(4000) / 44100
    high = torch.sin(2 * torch.pi * 20_000 * time).expand(1, 2, -1)
    inner = slice(100, -100)  # a tone that starts suddenly is not one frequency
    cut = small_model().eval()(high)[..., inner].abs().max()
    shared = small_model(mask_extension="average").eval()(high).sum(1)[..., inner]
    assert cut < 1e-3
    torch.testing.assert_close(shared, high[..., inner], rtol=0, atol=1e-2)


@torch.no_grad()
def test_masks_share_out_evenly_what_no_stem_claims():
    masks = small_model().ratio_masks(torch.zeros(1, 4, 2, 3, 5))
    torch.testing.assert_close(masks, torch.full_like(masks, 0.25))


@torch.no_grad()
def test_exponent_sharpens_the_masks():
    magnitude = torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1, 1)
    for exponent, share in ((1.0, 3 / 4), (2.0, 9 / 10)):
        model = small_model(stems=("a", "b"), mask_exponent=exponent)
        mask = model.ratio_masks(magnitude)[0, 0].item()
        assert mask == pytest.approx(share)


def test_split_and_join_are_inverse():
    model, spectrogram = small_model(), noise(2, 2, 33, 100)
    blocks = model.split(spectrogram)
    assert blocks.shape == (2 * 4, 2, 16, 32)
    joined = model.join(blocks.unsqueeze(1), spectrogram)[:, 0]
    assert torch.equal(joined, spectrogram[..., :16, :])


@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_one_segment_fills_one_block(preset):
    config = model_config("spleeter", preset)
    samples = round(config.segment * config.sample_rate)
    frames = []
    model = create_model("spleeter", preset, filters=(1,), stems=("a",))
    model.networks[0].register_forward_pre_hook(lambda _, x: frames.append(x[0].shape))
    with torch.no_grad():
        model(torch.zeros(1, 2, samples))
        model(torch.zeros(1, 2, samples + config.hop_length))
    block = (2, config.bins, config.frames)
    assert frames == [(1, *block), (2, *block)]


def test_shifting_by_a_level_shifts_the_masks():
    """Padding as TensorFlow pads: even sizes are halved and doubled exactly."""
    network = UNet(model_config("spleeter", "tiny", **TINY)).eval()
    picture = noise(1, 2, 16, 64)
    with torch.no_grad():
        whole, later = network(picture), network(picture.roll(4, -1))
    torch.testing.assert_close(later[..., 24:44], whole[..., 20:40])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bins": 17}, "bins must be a multiple of 4"),
        ({"frames": 30}, "frames must be a multiple of 4"),
        ({"bins": 2000}, "bins"),
        ({"encoder_activation": "ReLU"}, "encoder_activation 'ReLU'"),
        ({"decoder_activation": "gelu"}, "decoder_activation .*elu, leaky_relu, relu"),
        ({"mask_extension": "mean"}, "mask_extension .*average, zeros"),
        ({"mask_exponent": 0.5}, "mask_exponent"),
        ({"dropout": 1.0}, "dropout"),
        ({"frames": 4}, "frames must be at least 6"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("spleeter", "tiny", **(TINY | changes))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda v: v.pop("conv2d/kernel"), "no variable conv2d/kernel"),
        (
            lambda v: v.update({"conv2d_1/bias": torch.zeros(9)}),
            r"conv2d_1/bias .*\(9,\)",
        ),
    ],
    ids=["missing", "wrong shape"],
)
def test_weights_that_do_not_fit_are_named(damage, text):
    model = small_model(stems=("vocals",))
    network, variables = model.networks[0], {}
    for number, layer in enumerate((*network.encoder, network.output)):
        name = f"conv2d_{number}" if number else "conv2d"
        variables[f"{name}/kernel"] = layer.weight.detach().permute(3, 2, 1, 0)
        variables[f"{name}/bias"] = layer.bias.detach()
    damage(variables)
    with pytest.raises(CheckpointError, match=text):
        load_official(model, variables)
