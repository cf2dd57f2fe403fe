"""The check of two sounds, and the fit of sources to estimates."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.metrics.pairs import check_pair, fit_sources


@pytest.mark.parametrize(
    ("reference", "estimate", "word"),
    [
        (torch.ones(2, 9), torch.ones(2, 8), r"\(2, 9\) and \(2, 8\)"),
        (torch.ones(9), torch.ones(9), "channels, samples"),
        (torch.ones(3, 2, 0), torch.ones(3, 2, 0), "empty"),
        (torch.ones(3, 0, 9), torch.ones(3, 0, 9), "empty"),
        (torch.ones(2, 9), torch.ones(2, 9, dtype=torch.int16), "float"),
    ],
)
def test_pairs_that_have_no_score(reference, estimate, word):
    with pytest.raises(InputError, match=word):
        check_pair(reference, estimate)


def test_pairs_that_have_one():
    check_pair(torch.ones(4, 3, 2, 9), torch.zeros(4, 3, 2, 9).double())
    check_pair(torch.ones(0, 2, 9), torch.ones(0, 2, 9))  # no stems, no scores
    axes = ("stems", "channels", "samples")
    with pytest.raises(InputError, match="first and second"):
        check_pair(torch.ones(2, 9), torch.ones(2, 9), axes, ("first", "second"))


def test_the_fit_is_that_of_least_squares():
    draw = torch.Generator().manual_seed(0)
    sources = torch.randn(3, 50, generator=draw, dtype=torch.float64)
    sources[1] *= 1e-3  # a quiet source counts as much as a loud one
    estimates = torch.randn(2, 50, generator=draw, dtype=torch.float64)
    gains, cross, _ = fit_sources(sources @ sources.mT, sources @ estimates.mT)
    expected = torch.linalg.lstsq(sources.mT, estimates.mT).solution
    energy = sources.square().sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(gains, expected * energy)
    torch.testing.assert_close(cross, sources @ estimates.mT / energy)


def test_equal_sources_share_their_gain_and_silent_ones_have_none():
    source = torch.randn(1, 50, dtype=torch.float64)
    sources = torch.cat([source, source, torch.zeros_like(source)])
    gains, _, _ = fit_sources(sources @ sources.mT, sources @ source.mT)
    norm = source.square().sum().sqrt()
    torch.testing.assert_close(gains[:2, 0] / norm, torch.full((2,), 0.5).double())
    assert gains[2] == 0
