"""Oracles: exact where they must be, in the order that theory gives them."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.evaluation.oracles import DEFINITIONS, ORACLES, oracle_estimate
from mssedu.metrics.ratios import usdr

RATE = 8000


def tones(*hz, seconds=2.0):
    """One stem per frequency, each from its own side."""
    time = torch.arange(int(seconds * RATE)) / RATE
    sides = torch.tensor([[1.0, 0.2], [0.2, 1.0]])
    waves = [torch.sin(2 * torch.pi * f * time) for f in hz]
    return torch.stack([s[:, None] * w for s, w in zip(sides, waves, strict=True)])


@pytest.mark.parametrize("name", ORACLES)
def test_the_oracle_in_chunks_equals_the_whole(name):
    """A silent neighbor: the mask is 1 and the oracle exact, at any length."""
    source = torch.randn(1, 2, 25 * RATE)
    sources = torch.cat([source, torch.zeros_like(source)])
    estimate = oracle_estimate(name, sources, sources.sum(0), RATE)
    assert estimate.shape == sources.shape
    assert usdr(reference=sources[0], estimate=estimate[0]) > 60


@pytest.mark.parametrize("name", ORACLES)
def test_what_does_not_overlap_is_separated(name):
    sources = tones(440.0, 1760.0)
    estimate = oracle_estimate(name, sources, sources.sum(0), RATE)
    assert (usdr(reference=sources, estimate=estimate) > 30).all()


def test_direction_helps_where_frequency_cannot():
    """Two noises in all bins, from two sides: a mask is lost, a linear filter not."""
    noise = torch.randn(2, 1, 4 * RATE)
    sides = torch.tensor([[1.0, 0.1], [0.1, 1.0]])[:, :, None]
    sources = noise * sides
    scores = {
        name: usdr(
            reference=sources,
            estimate=oracle_estimate(name, sources, sources.sum(0), RATE),
        ).mean()
        for name in ORACLES
    }
    assert scores["mwf"] > scores["irm"] + 5
    assert scores["mwf"] > scores["ibm"] + 5


def test_masks_share_out_the_mixture():
    sources = torch.randn(3, 1, RATE)
    for name in ("ibm", "irm"):
        estimate = oracle_estimate(name, sources, sources.sum(0), RATE)
        torch.testing.assert_close(estimate.sum(0), sources.sum(0), atol=1e-4, rtol=0)


def test_each_has_a_definition_and_no_other_name_works():
    assert set(ORACLES) == set(DEFINITIONS)
    with pytest.raises(InputError, match="unknown oracle 'psm'"):
        oracle_estimate("psm", torch.zeros(1, 1, 8), torch.zeros(1, 8), RATE)
