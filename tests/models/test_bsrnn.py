"""What is Band-Split RNN's own; the rest is in test_contract.py and tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.bsrnn import BAND_SPLITS
from mssedu.models.registry import class_of, create_model, model_config
from mssedu.models.sizes import outline
from tests.models.noise import noise

PUBLISHED = {
    "vocals": 36_417_160,
    "other": 36_417_160,
    "dizi": 36_417_160,
    "drums": 41_024_392,
    "bass": 32_797_192,
}
# Bins of the bands of the paper, by hand from its edges in Hz
VOCALS = [4] * 10 + [11] * 12 + [23] * 8 + [46] * 8 + [92] * 2 + [117]
DRUMS = [2] * 20 + [4] * 10 + [11] * 8 + [23] * 8 + [46] * 8 + [305]
BASS = [2] * 10 + [4] * 5 + [23] * 6 + [46] * 4 + [92] * 4 + [295]


def tiny_model(**changes):
    torch.manual_seed(0)
    return create_model("bsrnn", "tiny", **changes)


@pytest.mark.parametrize("stem", PUBLISHED)
def test_published_parameter_count(stem):
    state = outline(class_of("bsrnn"), model_config("bsrnn", stems=(stem,)))
    assert sum(value.numel() for value in state.values()) == PUBLISHED[stem]


@pytest.mark.parametrize(
    ("stem", "bins"),
    [("vocals", VOCALS), ("pipa", VOCALS), ("drums", DRUMS), ("bass", BASS)],
)
def test_published_bands(stem, bins):
    assert model_config("bsrnn").bins_of(stem) == bins


@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("bands", [*BAND_SPLITS, "by_stem"])
def test_bands_cover_every_bin_once(bands, sample_rate):
    config = model_config("bsrnn", bands=bands, sample_rate=sample_rate, n_fft=4096)
    bins = config.bins_of("vocals")
    assert sum(bins) == 2049
    assert min(bins) >= 1


def test_a_joint_network_shares_all_but_the_masks():
    one, joint = tiny_model(stems=("a",)), tiny_model(joint=True)
    assert len(joint.networks) == 1
    assert len(joint.networks[0].masks) == 4
    masks = sum(p.numel() for p in one.networks[0].masks.parameters())
    whole = sum(p.numel() for p in one.parameters())
    assert sum(p.numel() for p in joint.parameters()) == whole + 3 * masks
    assert model_config("bsrnn", joint=True).bins_of("drums") != DRUMS


@torch.no_grad()
def test_channels_are_apart_until_they_read_their_mean():
    mixture = noise(1, 2, 9000)
    changed = torch.cat([mixture[:, :1], 2 * noise(1, 1, 9000)], dim=1)
    apart = tiny_model().eval()
    torch.testing.assert_close(apart(mixture)[:, :, 0], apart(changed)[:, :, 0])
    averaged = tiny_model(average_channels=True).eval()
    with_mean = averaged(mixture)[:, :, 0], averaged(changed)[:, :, 0]
    assert not torch.allclose(with_mean[0], with_mean[1])
    # The order of the channels does not matter.
    swapped = averaged(mixture.flip(1)).flip(2)
    torch.testing.assert_close(averaged(mixture), swapped)


@torch.no_grad()
def test_masks_follow_the_level():
    """Every band is normalized, so a louder mixture has the same masks."""
    model, mixture = tiny_model().eval(), noise(1, 2, 9000)
    torch.testing.assert_close(
        model(4 * mixture), 4 * model(mixture), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_heads": 2, "attention_features": 3},
        {"average_channels": True, "channels": 1},
        {"average_channels": True, "attention_heads": 4, "joint": True, "channels": 3},
    ],
    ids=str,
)
def test_the_optimized_parts_keep_the_contract(changes):
    model = tiny_model(**changes)
    channels = model.config.channels
    estimate = model(noise(2, channels, 5000))
    assert estimate.shape == (2, 4, channels, 5000)
    estimate.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"bands": "piano"}, "bands 'piano'.*by_stem"),
        ({"bands": "drums", "n_fft": 512, "hop_length": 128}, "n_fft must be larger"),
        ({"attention_heads": 3}, "features must be a multiple of attention_heads=3"),
        ({"features": 0}, "features"),
        ({"attention_features": 0}, "attention_features"),
        ({"lstm_factor": 0}, "lstm_factor"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("bsrnn", "tiny", **changes)
