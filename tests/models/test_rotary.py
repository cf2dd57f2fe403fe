"""Rotary attention: distances decide, not positions; each axis is mixed by itself."""

import math

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.blocks.rotary import (
    AxialTransformer,
    RMSNorm,
    RotaryAttention,
    RotaryLayer,
    RotaryPositions,
    check_axial,
    rotate,
)
from tests.models.noise import noise, randomized


def attention(width=12, n_heads=3, head_width=4, dropout=0.0):
    torch.manual_seed(0)
    return RotaryAttention(width, n_heads, head_width, dropout)


def test_a_pair_turns_by_position_times_speed():
    turns = RotaryPositions(4)(6)
    turned = rotate(torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 6), turns)
    for position, (a, b, c, d) in enumerate(turned.tolist()):
        assert math.isclose(a, math.cos(position), abs_tol=1e-6)
        assert math.isclose(b, math.sin(position), abs_tol=1e-6)
        assert math.isclose(c, math.cos(position / 100), abs_tol=1e-6)
        assert math.isclose(d, math.sin(position / 100), abs_tol=1e-6)


def test_turns_keep_lengths_and_types():
    x = noise(2, 3, 50, 8)
    turns = RotaryPositions(8)(50)
    torch.testing.assert_close(rotate(x, turns).norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(rotate(x, turns)[..., 0, :], x[..., 0, :])  # position 0
    assert rotate(x.bfloat16(), turns).dtype is torch.bfloat16
    assert rotate(x.double(), turns.double()).dtype is torch.float64


def test_products_depend_on_the_distance_only():
    turns = RotaryPositions(16)(100)
    query, key = (noise(16, seed=seed).expand(100, 16) for seed in (1, 2))
    products = rotate(query, turns) @ rotate(key, turns).mT
    for distance in (-40, -1, 0, 3, 60):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert not torch.allclose(products[0, :50], products[0, 50:])


def test_the_speeds_are_constants():
    positions = RotaryPositions(10)
    assert [p.requires_grad for p in positions.parameters()] == [False]
    expected = [10000 ** (-pair / 5) for pair in range(5)]
    torch.testing.assert_close(positions.speeds.tolist(), expected)


def test_attention_is_a_mean_of_values_times_gates():
    layer = randomized(attention())
    turns = RotaryPositions(4)(20)
    x = noise(2, 20, 12)
    weights = layer.inside(x, turns)["attention"]
    assert weights.shape == (2, 3, 20, 20)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 20))
    normed = layer.norm(x)
    _, _, values = layer.project(normed, turns)
    gates = layer.gates(normed).sigmoid().mT[..., None]
    mean = (weights @ values * gates).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x, turns), layer.out(mean))


def test_a_later_start_changes_nothing():
    layer, x = randomized(attention()), noise(1, 20, 12)
    turns = RotaryPositions(4)(120)
    first, later = layer(x, turns[:, :20]), layer(x, turns[:, 100:])
    torch.testing.assert_close(first, later, rtol=1e-4, atol=1e-4)
    unordered = layer(x.flip(1), turns[:, :20]).flip(1)
    assert not torch.allclose(first, unordered, rtol=1e-2, atol=1e-2)


def test_dropout_acts_in_training_only():
    layer = RotaryLayer(12, 3, 4, dropout=0.5)
    turns, x = RotaryPositions(4)(20), noise(1, 20, 12)
    assert not torch.equal(layer(x, turns), layer(x, turns))
    layer.eval()
    assert torch.equal(layer(x, turns), layer(x, turns))


def test_the_norm_gives_unit_root_mean_square_and_keeps_zeros():
    norm = RMSNorm(50)
    x = 1000 * noise(3, 50)
    torch.testing.assert_close(norm(x).square().mean(-1), torch.ones(3))
    torch.testing.assert_close(norm(x), norm(x / 1e6))
    assert torch.equal(norm(torch.zeros(3, 50)), torch.zeros(3, 50))


@pytest.mark.parametrize("norm", [False, True])
def test_one_layer_reaches_along_both_axes(norm):
    torch.manual_seed(0)
    transformer = AxialTransformer(1, 12, 3, 4, norm=norm).eval()
    x = noise(2, 6, 5, 12)
    changed = x.clone()
    changed[0, 1, 2] += 1
    differs = (transformer(x) != transformer(changed)).any(-1)
    assert differs[0].all()  # time first, then bands: from one place to all
    assert not differs[1].any()
    assert transformer(x).shape == x.shape


def test_the_axes_have_layers_of_their_own():
    transformer = randomized(AxialTransformer(1, 12, 3, 4))
    x = noise(1, 5, 5, 12)
    assert not torch.allclose(transformer(x).mT, transformer(x.transpose(1, 2)).mT)


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ((0, 1, 1, 2), "width must be at least 1"),
        ((8, 0, 1, 2), "n_layers must be at least 1"),
        ((8, 1, 0, 2), "n_heads must be at least 1"),
        ((8, 1, 1, 3), "head_width must be even and at least 2, got 3"),
        ((8, 1, 1, 0), "head_width must be even and at least 2, got 0"),
    ],
)
def test_sizes_that_no_transformer_has_are_named(sizes, match):
    with pytest.raises(InputError, match=match):
        check_axial(*sizes)
