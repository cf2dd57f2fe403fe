"""Oracle masks on signals where the right mask is known."""

import pytest
import torch

from mssedu.masks import (
    apply_mask,
    ideal_binary_mask,
    ideal_ratio_mask,
    phase_sensitive_mask,
    soft_masks,
)

SHAPE = (4, 2, 33, 20)  # stems, channels, bins, frames


def spectrograms(*lead: int) -> torch.Tensor:
    return torch.randn(*lead, *SHAPE, dtype=torch.complex64)


def oracles(sources: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "ibm": ideal_binary_mask(sources),
        "irm": ideal_ratio_mask(sources),
        "power": ideal_ratio_mask(sources, 2.0),
        "psm": phase_sensitive_mask(sources, sources.sum(-4)),
    }


@pytest.mark.parametrize("name", ["ibm", "irm", "power", "psm"])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_masks_are_real_shares_of_the_same_shape(name, lead):
    sources = spectrograms(*lead)
    mask = oracles(sources)[name]
    assert mask.shape == sources.shape
    assert mask.dtype == torch.float32
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["ibm", "irm", "power"])
def test_masks_sum_to_one_so_stems_sum_to_the_mixture(name):
    sources = spectrograms(2)
    mixture = sources.sum(-4)
    mask = oracles(sources)[name]
    torch.testing.assert_close(mask.sum(-4), torch.ones(2, *SHAPE[1:]))
    torch.testing.assert_close(apply_mask(mask, mixture).sum(-4), mixture)


def test_binary_mask_gives_ties_to_the_first():
    mask = ideal_binary_mask(torch.ones(3, 1, 2, 2))
    assert mask[0].eq(1).all()
    assert mask[1:].eq(0).all()


def test_binary_mask_takes_the_loudest():
    sources = torch.tensor([1.0, -3.0, 2.0]).reshape(3, 1, 1, 1)
    assert ideal_binary_mask(sources).flatten().tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["ibm", "irm", "power", "psm"])
def test_disjoint_sources_are_separated_perfectly(name):
    owner = torch.randint(0, 4, SHAPE[1:])
    only = torch.arange(4)[:, None, None, None] == owner
    sources = spectrograms() * only
    estimate = apply_mask(oracles(sources)[name], sources.sum(-4))
    torch.testing.assert_close(estimate, sources, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["ibm", "irm", "power"])
def test_phase_sensitive_mask_is_the_best_real_mask_in_every_bin(name):
    sources = spectrograms()
    mixture = sources.sum(-4)
    masks = oracles(sources)
    best = (apply_mask(masks["psm"], mixture) - sources).abs()
    other = (apply_mask(masks[name], mixture) - sources).abs()
    assert (best <= other + 1e-5).all()
    assert (best < other - 0.1).any()


def test_phase_sensitive_mask_is_the_projection():
    source = torch.tensor([1.0 + 1.0j, 1.0 - 1.0j, 1.0j, -1.0]).reshape(4, 1, 1, 1)
    mixture = torch.tensor(2.0 + 0.0j).reshape(1, 1, 1)
    mask = phase_sensitive_mask(source, mixture)
    torch.testing.assert_close(mask.flatten(), torch.tensor([0.5, 0.5, 0.0, 0.0]))


def test_growing_exponent_approaches_the_binary_mask():
    sources = spectrograms()
    binary = ideal_binary_mask(sources)
    gaps = [(ideal_ratio_mask(sources, p) - binary).abs().mean() for p in (1, 2, 8, 99)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.02


def test_soft_masks_ignore_a_common_gain():
    magnitude = spectrograms().abs()
    torch.testing.assert_close(soft_masks(3.7 * magnitude), soft_masks(magnitude))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_silence_is_shared_equally(exponent):
    mask = soft_masks(torch.zeros(SHAPE), exponent)
    assert mask.eq(0.25).all()


def test_oracles_of_silence_are_finite():
    sources = torch.zeros(SHAPE, dtype=torch.complex64)
    for mask in oracles(sources).values():
        assert mask.isfinite().all()
        assert apply_mask(mask, sources.sum(-4)).eq(0).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
def test_shares_do_not_depend_on_the_level(scale):
    magnitude = torch.tensor([3.0, 1.0]).reshape(2, 1, 1, 1) * scale
    torch.testing.assert_close(
        soft_masks(magnitude, 2.0).flatten(), torch.tensor([0.9, 0.1])
    )


@pytest.mark.parametrize("scale", [1e-15, 1e-9, 1e9, 1e15])
def test_phase_sensitive_mask_does_not_depend_on_the_level(scale):
    sources = spectrograms()
    want = phase_sensitive_mask(sources, sources.sum(-4))
    got = phase_sensitive_mask(sources * scale, sources.sum(-4) * scale)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_soft_masks_pass_finite_gradients_through_silence():
    magnitude = torch.zeros(2, 1, 3, 3)
    magnitude[0, 0, 0, 0] = 1.0
    magnitude.requires_grad_()
    soft_masks(magnitude)[0].sum().backward()
    assert magnitude.grad is not None
    assert magnitude.grad.isfinite().all()
