"""Band split and merge: every bin once, each band through its own network."""

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.blocks.bands import (
    MOST_BANDS,
    BandMerge,
    BandSplit,
    as_features,
    as_mask,
    check_bands,
    mask_network,
)
from tests.models.noise import noise

WIDTHS = [2, 2, 5]


class Scaled(nn.Module):
    """Multiplies by 1, 2, 3 … in the order in which the networks are made."""

    def __init__(self, made):
        super().__init__()
        made.append(self)
        self.factor = len(made)

    def forward(self, x):
        return x * self.factor


def test_each_band_goes_through_its_own_network():
    made = []
    split = BandSplit([3, 3], lambda _: Scaled(made))
    x = noise(2, 7, 6)
    expected = torch.stack([x[..., :3], 2 * x[..., 3:]], dim=2)
    assert torch.equal(split(x), expected)
    merge = BandMerge([3, 3], lambda _: Scaled(made))
    assert torch.equal(merge(split(x)), torch.cat([3 * x[..., :3], 8 * x[..., 3:]], -1))


def test_bands_of_any_widths_become_equal_and_differ_again():
    split = BandSplit(WIDTHS, lambda width: nn.Linear(width, 4))
    merge = BandMerge(WIDTHS, lambda width: nn.Linear(4, width))
    bands = split(noise(2, 7, 9))
    assert bands.shape == (2, 7, 3, 4)
    assert merge(bands).shape == (2, 7, 9)


def test_a_band_depends_on_its_own_numbers_only():
    split = BandSplit(WIDTHS, lambda width: nn.Linear(width, 4))
    x = noise(1, 3, 9)
    changed = x.clone()
    changed[..., 2:4] += 1
    differs = (split(x) != split(changed)).any(-1).any(1)[0]
    assert differs.tolist() == [False, True, False]


def test_the_features_may_stand_before_the_frames():
    split = BandSplit(WIDTHS, lambda width: nn.Conv1d(width, 4, 1), axis=-2)
    merge = BandMerge(WIDTHS, lambda width: nn.Conv1d(4, width, 1), axis=-2)
    bands = split(noise(2, 9, 7))
    assert bands.shape == (2, 3, 4, 7)
    assert merge(bands).shape == (2, 9, 7)


@pytest.mark.parametrize("bands", [(1, 1), (4, 0, 4), (9, -1), (5, 4)])
def test_bands_must_cover_all_bins(bands):
    with pytest.raises(
        InputError, match="bands must be at least 1 bin each and 8 bins"
    ):
        check_bands("bands", bands, 8)
    check_bands("bands", (1, 3, 4), 8)


def test_the_number_of_bands_has_limits():
    with pytest.raises(InputError, match=r"len\(bands\) must be from 1 to 999"):
        check_bands("bands", (), 8)
    with pytest.raises(InputError, match=r"len\(bands\) must be from 1 to 999"):
        check_bands("bands", (1,) * (MOST_BANDS + 1), MOST_BANDS + 1)


def test_a_mask_has_the_order_of_the_features():
    spectrogram = torch.complex(noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=2))
    features = as_features(spectrogram)
    assert features.shape == (2, 5, 24)
    # the six numbers of a bin are together: a band of bins is a piece of the features
    assert torch.equal(features[1, 4, 6], spectrogram[1, 0, 1, 4].real)
    assert torch.equal(features[1, 4, 11], spectrogram[1, 2, 1, 4].imag)
    assert torch.equal(as_mask(features, spectrogram), spectrogram)


def test_a_mask_has_the_precision_of_the_spectrogram():
    spectrogram = torch.complex(noise(1, 2, 4, 5), noise(1, 2, 4, 5))
    rounded = as_features(spectrogram).bfloat16()
    assert as_mask(rounded, spectrogram).dtype is torch.complex64
    assert as_mask(rounded, spectrogram.cdouble()).dtype is torch.complex128


@pytest.mark.parametrize("n_hidden", [0, 1, 3])
def test_a_mask_network_has_hidden_layers(n_hidden):
    network = mask_network(5, 6, 7, n_hidden)
    linear = [part for part in network if isinstance(part, nn.Linear)]
    widths = [part.out_features for part in linear]
    assert widths == [7] * n_hidden + [12]
    assert network(noise(2, 5)).shape == (2, 6)
