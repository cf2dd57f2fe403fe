"""What is Mel-Band RoFormer's own; the rest is in test_contract.py and tests/parity."""

import dataclasses

import numpy as np
import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.mel_band_roformer import PRESETS, mel_bins, mel_edges
from mssedu.models.registry import create_model
from tests.models.noise import noise


def test_published_parameter_counts():
    paper = create_model("mel_band_roformer", stems=("vocals",))
    assert sum(p.numel() for p in paper.parameters()) == 84_193_620
    deeper = create_model("mel_band_roformer", stems=("vocals",), n_layers=12)
    assert sum(p.numel() for p in deeper.parameters()) == 105_501_108
    public = create_model("mel_band_roformer", "public")
    assert sum(p.numel() for p in public.parameters()) == 228_202_852


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_bands"),
    [(44100, 2048, 60), (16000, 512, 20), (900, 64, 1)],
)
def test_every_bin_is_in_one_band_or_two(sample_rate, n_fft, n_bands):
    bins = np.concatenate(mel_bins(sample_rate, n_fft, n_bands))
    counts = np.bincount(bins, minlength=n_fft // 2 + 1)
    assert len(counts) == n_fft // 2 + 1
    assert {*counts.tolist()} <= {1, 2}


def test_edges_are_even_below_1000_hz_and_a_ratio_apart_above():
    edges = mel_edges(44100, 60)
    assert (edges[0], len(edges)) == (0, 62)
    assert abs(edges[-1] - 22050) < 1e-6
    steps, ratios = np.diff(edges[edges < 1000]), edges[1:] / np.maximum(edges[:-1], 1)
    np.testing.assert_allclose(steps, steps[0])
    np.testing.assert_allclose(ratios[edges[:-1] > 1000], ratios[-1])


@torch.no_grad()
@pytest.mark.parametrize("n_bands", [1, 2, 7, 24])
def test_the_mask_of_a_bin_is_the_mean_of_its_bands(n_bands):
    model = create_model("mel_band_roformer", "tiny", n_bands=n_bands)
    masks = noise(1, 3, len(model.bins), 4)
    total = torch.zeros(1, 3, 513, 4).index_add(2, model.bins, masks)
    counts = torch.bincount(model.bins)[:, None]
    ours = sum(model.rows(masks.flatten(2))).unflatten(2, (-1, 4)) * model.shares
    torch.testing.assert_close(ours, total / counts)


def test_weights_hold_no_tables():
    model = create_model("mel_band_roformer", "tiny")
    assert not {"bins", "shares"} & model.state_dict().keys()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"n_bands": 500},
            "n_bands must be so small .*500 for n_fft = 2048 at 44100 Hz",
        ),
        ({"n_bands": 0}, "n_bands must be at least 1"),
        ({"n_bands": 1000}, "n_bands must be at most 999"),
        ({"mask_layers": -1}, "mask_layers must be"),
        ({"mask_scale": 0}, "mask_scale must be"),
        ({"dropout": 1.0}, "dropout must be .*1 excluded"),
        ({"head_width": 7}, "head_width must be even"),
    ],
)
def test_a_config_that_no_model_has_is_named(changes, match):
    with pytest.raises(InputError, match=match):
        dataclasses.replace(PRESETS["paper"], **changes)
