"""What is Demucs' own; see also tests/parity."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.inspect.inside import look_inside
from mssedu.models.demucs import Resample, center_pad, center_trim, valid_length
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise

SMALL = {"width": 4, "depth": 3}


def small_model(**changes):
    torch.manual_seed(0)
    return create_model("demucs", "tiny", **(SMALL | changes)).eval()


@pytest.mark.parametrize(
    ("preset", "count"), [("paper", 265_679_496), ("48", 149_462_504)]
)
def test_published_parameter_count(preset, count):
    with torch.device("meta"):  # shapes without memory
        model = create_model("demucs", preset, rescale=0.0)
    assert sum(p.numel() for p in model.parameters()) == count
    names = set(model.state_dict())
    layers = [
        f"{part}.{i}.{j}"
        for part in ("encoder", "decoder")
        for i in range(6)
        for j in (0, 2)
    ]
    wanted = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    wanted |= {
        "lstm.linear.weight",
        "lstm.linear.bias",
        "lstm.lstm.weight_hh_l1_reverse",
    }
    assert wanted <= names
    assert len(names) == 66


# ---- lengths ------------------------------------------------------------------------


def test_published_valid_lengths():
    config = model_config("demucs")
    assert valid_length(config, 441_000) == 447_146
    assert valid_length(config, 44_100) == 49_834
    with pytest.raises(InputError, match="samples"):
        valid_length(config, 0)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{}, {"resample": False}, {"context": 1}, {"kernel_size": 6, "stride": 2}],
    ids=str,
)
@pytest.mark.parametrize("samples", [1, 2, 333, 1000, 1001])
def test_valid_length_is_the_least_that_fills_all_convolutions(changes, samples):
    model = small_model(**changes)
    config = model.config
    length = valid_length(config, samples)
    x = model.upsample(torch.zeros(1, 2, length))
    for layer in model.encoder:
        assert (x.shape[-1] - config.kernel_size) % config.stride == 0
        x = layer(x)
    for layer in model.decoder:
        x = layer(x)
    made = model.downsample(x).shape[-1]
    assert samples <= made <= length
    assert valid_length(config, made) == length
    assert valid_length(config, made + 1) > length


def test_center_pad_and_trim_undo_each_other():
    x = torch.arange(1.0, 6.0)
    assert center_pad(x, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert center_trim(x, 2).tolist() == [2, 3]
    for length in range(5, 12):
        assert torch.equal(center_trim(center_pad(x, length), 5), x)
    assert torch.equal(center_trim(x, 5), x)


# ---- resampling ---------------------------------------------------------------------


def tone(frequency_hz, sample_rate, samples=4000):
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    return torch.sin(2 * torch.pi * frequency_hz * time).view(1, 1, -1)


@pytest.mark.parametrize("frequency_hz", [100, 1000, 10_000, 18_000])
def test_tones_survive_resampling(frequency_hz):
    slow, fast = tone(frequency_hz, 44_100), tone(frequency_hz, 88_200, 8000)
    middle = slice(200, -200)  # the ends are held, a tone is not
    up, down = Resample(1, 2).double(), Resample(2, 1).double()
    assert (up(slow) - fast)[..., middle].abs().max() < 2e-3
    assert (down(fast) - slow)[..., middle].abs().max() < 2e-3


def test_tones_above_the_band_vanish():
    high = Resample(2, 1).double()(tone(25_000, 88_200))
    assert high[..., 200:-200].abs().max() < 1e-3


@pytest.mark.parametrize("length", [1, 2, 7, 100])
def test_a_constant_stays_as_it_is(length):
    constant = torch.full((1, 2, length), 0.3)
    up = Resample(1, 2)(constant)
    torch.testing.assert_close(up, torch.full((1, 2, 2 * length), 0.3))
    torch.testing.assert_close(Resample(2, 1)(up), constant)


# ---- the model ----------------------------------------------------------------------


def test_new_weights_are_scaled_towards_the_reference():
    plain, rescaled = small_model(rescale=0.0), small_model(rescale=0.1)
    for one, other in zip(plain.modules(), rescaled.modules(), strict=True):
        if isinstance(one, nn.Conv1d | nn.ConvTranspose1d):
            scale = (one.weight.std() / 0.1).sqrt()
            torch.testing.assert_close(one.weight / scale, other.weight)
            torch.testing.assert_close(one.bias / scale, other.bias)
    assert torch.equal(plain.lstm.linear.weight, rescaled.lstm.linear.weight)


@torch.no_grad()
def test_normalized_model_follows_level_and_offset_of_its_input():
    model, mixture = small_model(normalize=True), noise(1, 2, 3000)
    mixture = center_pad(mixture, valid_length(model.config, 3000))
    length = mixture.shape[-1]
    expected = model(mixture)
    padding = valid_length(model.config, length) - length
    assert padding > 0  # zeros, hence louder and softer but no offset
    torch.testing.assert_close(
        model(100 * mixture), 100 * expected, rtol=1e-3, atol=0.1
    )
    plain = small_model()
    assert not torch.allclose(plain(100 * mixture), 100 * plain(mixture), rtol=0.1)


@torch.no_grad()
def test_silence_is_exact_for_each_item_alone():
    model = small_model()
    mixture = noise(3, 2, 2000)
    mixture[1] = 0
    mixture[2, :, 1:] = 0  # a single click is not silence
    peaks = model(mixture).abs().amax((1, 2, 3))
    assert peaks[1] == 0
    assert peaks[0] > 0
    assert peaks[2] > 0


@torch.no_grad()
def test_parts_can_be_left_out():
    model = small_model(glu=False, lstm_layers=0, resample=False)
    assert not [m for m in model.modules() if isinstance(m, nn.GLU | nn.LSTM)]
    assert model(noise(1, 2, 2000)).shape == (1, 4, 2, 2000)


@torch.no_grad()
def test_gates_skips_and_states_can_be_seen():
    names = ["encoder.*.gate", "encoder.0", "lstm.lstm.cell"]
    inside = look_inside(small_model(), noise(1, 2, 2000), names)
    assert 0 <= inside["encoder.0.3.gate"].min() < inside["encoder.0.3.gate"].max() <= 1
    assert inside["encoder.0"].shape[1] == 4
    assert inside["lstm.lstm.cell"].shape[-1] == 9


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"width": 0}, "width"),
        ({"growth": 0.5}, "growth"),
        ({"depth": 0}, "depth"),
        ({"stride": 0}, "stride"),
        ({"stride": 9}, "kernel_size must be at least 9"),
        ({"kernel_size": 2, "stride": 2}, "kernel_size must be at least 3"),
        ({"context": 0}, "context"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("demucs", **changes)
