"""What is SCNet's own; the rest is in test_contract.py and tests/parity."""

import dataclasses

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.registry import create_model, model_config
from mssedu.models.scnet import PRESETS, Separator, compressed, pad_bins
from tests.models.noise import noise


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("paper", 10_578_768),
        ("large", 42_181_232),
        ("xl", 54_006_896),
        ("xl_ihf", 53_466_800),
    ],
)
def test_published_parameter_counts(preset, count):
    model = create_model("scnet", preset)
    assert sum(p.numel() for p in model.parameters()) == count


def test_the_parts_of_each_level():
    config = model_config("scnet")
    assert config.parts(2049) == [359, 803, 887]
    assert sum(compressed(config.parts(2049), config.strides)) == 616
    assert sum(compressed(config.parts(616), config.strides)) == 186
    assert sum(compressed(config.parts(186), config.strides)) == 57


@pytest.mark.parametrize("bins", [1, 15, 16, 17, 33])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 4), (16, 16)])
def test_a_convolution_gives_the_compressed_bins(bins, kernel, stride):
    padded = pad_bins(noise(1, 2, bins, 5), bins, kernel, stride)
    assert padded.shape[-1] == 5
    assert (padded.shape[2] - kernel) % stride == 0
    assert [(padded.shape[2] - kernel) // stride + 1] == compressed([bins], [stride])


@torch.no_grad()
def test_the_level_of_the_mixture_is_that_of_the_estimate():
    torch.manual_seed(0)
    model = create_model("scnet", "tiny").eval()
    mixture = noise(1, 2, 20_000)
    torch.testing.assert_close(
        model(8 * mixture), 8 * model(mixture), rtol=1e-3, atol=1e-3
    )
    torch.manual_seed(0)
    plain = create_model("scnet", "tiny", normalize=False).eval()
    assert not torch.allclose(
        plain(8 * mixture), 8 * plain(mixture), rtol=0.1, atol=0.1
    )


@torch.no_grad()
@pytest.mark.parametrize("frames", [2, 7, 8])
def test_the_transforms_cancel(frames):
    separator = Separator(4, 4)
    for parameter in separator.parameters():
        parameter.zero_()  # each pair of LSTMs adds nothing to its input
    x = noise(2, 4, 5, frames)
    torch.testing.assert_close(separator(x), x)


@pytest.mark.parametrize("samples", [1, 1024, 2048, 2049, 8192, 9000])
def test_the_number_of_frames_is_even(samples):
    model = create_model("scnet", "tiny", hop_length=1024)
    spectrogram = model.stft(noise(1, 2, samples))
    assert spectrogram.shape[-1] % 2 == 0
    estimate = model.istft(spectrogram[:, None], samples)
    torch.testing.assert_close(estimate[:, 0], noise(1, 2, samples), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"strides": (1, 4)}, r"strides must be three numbers .*got \(1, 4\)"),
        ({"depths": (3, 0, 1)}, r"depths must be three numbers .*got \(3, 0, 1\)"),
        ({"n_layers": 3}, "n_layers must be even and at least 2, got 3"),
        ({"n_layers": 0}, "n_layers must be even and at least 2, got 0"),
        ({"n_fft": 2, "hop_length": 1}, "n_fft must be so large .* at level 1"),
        (
            {"low_share": 0.0},
            "n_fft must be so large .* smaller strides or other shares",
        ),
        ({"low_share": 0.8}, "mid_share must be from 0 to 0.2"),
        ({"widths": (32, 0)}, "widths must be at least 1"),
        ({"widths": ()}, r"len\(widths\) must be"),
        ({"compress": 33}, "compress must be from 1 to 32"),
    ],
)
def test_a_config_that_no_model_has_is_named(changes, match):
    with pytest.raises(InputError, match=match):
        dataclasses.replace(PRESETS["paper"], **changes)
