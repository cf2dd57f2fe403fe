"""What is BS-RoFormer's own; the rest is in test_contract.py and tests/parity."""

import dataclasses

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.bs_roformer import BANDS, PRESETS
from mssedu.models.registry import create_model, model_config
from mssedu.spectral import stft
from tests.models.noise import noise


@pytest.mark.parametrize(
    ("preset", "count"),
    [("paper", 72_173_340), ("large", 93_476_220), ("public", 74_532_652)],
)
def test_published_parameter_counts(preset, count):
    model = create_model("bs_roformer", preset, stems=("vocals",))
    assert sum(p.numel() for p in model.parameters()) == count


def test_the_bands_are_those_of_the_paper():
    ends_hz = torch.tensor(BANDS).cumsum(0) * 44100 / 2048
    assert len(BANDS) == 62
    for bins, hz in ((2, 1000), (4, 2000), (12, 4000), (24, 8000), (48, 16000)):
        last = max(i for i, band in enumerate(BANDS) if band == bins)
        assert abs(ends_hz[last] - hz) < 0.1 * hz
    assert BANDS[-2:] == (128, 129)


@torch.no_grad()
def test_an_estimate_is_a_complex_mask_times_the_mixture():
    torch.manual_seed(0)
    model = create_model("bs_roformer", "tiny", stems=("vocals",)).eval()
    mixture = noise(1, 2, 20_000)
    # A band that has no sound has none in the estimate either.
    spectrogram = stft(mixture, 1024, 512)
    spectrogram[..., 100:200, :] = 0
    hollow = torch.istft(
        spectrogram[0], 1024, 512, window=torch.hann_window(1024), length=20_000
    )[None]
    estimate = stft(model(hollow)[:, 0], 1024, 512).abs()[..., 5:-5]
    assert estimate[..., 120:180, :].max() < 1e-3 * estimate.max()


@torch.no_grad()
def test_the_lowest_bin_may_be_empty():
    torch.manual_seed(0)
    kept = create_model("bs_roformer", "tiny").eval()
    emptied = create_model("bs_roformer", "tiny", zero_dc=True).eval()
    emptied.load_state_dict(kept.state_dict())
    mixture = 1 + noise(1, 2, 8192) / 10
    missing = kept(mixture) - emptied(mixture)
    power = stft(missing, 1024, 512).abs().square()[..., 3:-3]
    assert power[..., :2, :].sum() > 0.95 * power.sum() > 0  # of the lowest bins only


def test_a_width_of_a_head_is_even():
    with pytest.raises(InputError, match="head_width must be even"):
        model_config("bs_roformer", head_width=47)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"bands": (2, 2, 2)}, "bands must be .* 1025 bins together, got 3 bands"),
        ({"n_fft": 4096}, "bands must be .* 2049 bins together"),
        ({"mask_layers": -1}, "mask_layers must be"),
        ({"mask_scale": 0}, "mask_scale must be"),
        ({"dropout": 1.0}, "dropout must be .*1 excluded"),
    ],
)
def test_a_config_that_no_model_has_is_named(changes, match):
    with pytest.raises(InputError, match=match):
        dataclasses.replace(PRESETS["paper"], **changes)
