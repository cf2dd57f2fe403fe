"""Dense blocks and paths of them; see also tests/parity of D3Net and MMDenseLSTM."""

import pytest
import torch
from torch import nn

from mssedu.models.blocks.dense import (
    BandsAndWhole,
    DenseBlock,
    GatedOutput,
    MultiScalePath,
    NestedDenseBlock,
    Standardize,
)
from tests.models.noise import noise


def dense_by_definition(block, x):
    """Every layer reads all earlier outputs: the sum of a convolution of each."""
    growth, n_layers = block.growth, len(block.layers)
    outputs = []
    for number in range(n_layers):
        total = 0
        for earlier, layer in enumerate(block.layers[: number + 1]):
            source = x if earlier == 0 else outputs[earlier - 1]
            part = slice((number - earlier) * growth, (number - earlier + 1) * growth)
            total = total + layer(source)[:, part]
        outputs.append(total)
    return outputs[-1]


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_each_layer_reads_all_before_it(n_layers, dilated):
    block = DenseBlock(3, 2, n_layers, dilated=dilated).eval()
    x = noise(2, 3, 9, 8)
    torch.testing.assert_close(block(x), dense_by_definition(block, x))


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_each_inner_block_reads_all_before_it(n_blocks):
    block = NestedDenseBlock(3, 2, 2, n_blocks, dilated=True).eval()
    x = noise(1, 3, 9, 8)
    block.layers = block.blocks  # the same rule, one level up
    torch.testing.assert_close(block(x), dense_by_definition(block, x))


def field(block, size=61):
    """Which bins of the input the middle bin of the output depends on."""
    x = torch.zeros(1, 1, size, size, requires_grad=True)
    block.eval()(x)[0, 0, size // 2, size // 2].backward()
    return x.grad[0, 0].abs().sum(1).nonzero()[:, 0] - size // 2


def all_positive(block):
    for name, value in block.named_parameters():
        value.data.fill_(1.0 if "bias" in name else 0.1)
    return block


@pytest.mark.parametrize(
    ("dilated", "radius"), [(False, 4), (True, 1 + 2 + 4 + 8)], ids=["plain", "dilated"]
)
def test_dilation_widens_the_field_and_leaves_no_gap(dilated, radius):
    block = all_positive(DenseBlock(1, 1, 4, dilated=dilated))
    assert field(block).tolist() == list(range(-radius, radius + 1))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 12), (13, 2)])
def test_a_path_keeps_every_size(size):
    made = []

    def make(stage, n_in):
        made.append((stage, n_in))
        return DenseBlock(n_in, widths[stage], 1, dilated=False)

    widths = (2, 3, 4, 5, 6)
    path = MultiScalePath(1, 8, widths, make).eval()
    assert path(noise(2, 1, *size)).shape == (2, 6, *size)
    # Up: what comes from below, and the shortcut from the way down.
    assert made == [(0, 8), (1, 2), (2, 3), (3, 4 + 3), (4, 5 + 2)]


def test_bands_are_widened_and_stacked():
    paths = [nn.Conv2d(1, width, 1) for width in (2, 4, 3)]
    both = BandsAndWhole(
        (3, 1, 5), [*paths[:2], nn.Conv2d(1, 4, 1)], (2, 4, 4), paths[2]
    )
    x = noise(1, 1, 9, 6)
    y = both.eval()(x)
    assert y.shape == (1, 4 + 3, 9, 6)
    torch.testing.assert_close(y[:, :4, 3:4], paths[1](x[:, :, 3:4]))
    torch.testing.assert_close(y[:, 4:], paths[2](x))


def test_standardize_is_new_until_it_is_set():
    part = Standardize(3)
    x = noise(1, 2, 3, 5)
    assert part.is_new
    assert torch.equal(part(x), x)
    part.mean.data += 1.0
    part.deviation.data *= 2.0
    assert not part.is_new
    torch.testing.assert_close(part(x), (x - 1) / 2)


def test_gates_close_the_output():
    output = GatedOutput(3, 2, 4).eval()
    x = noise(1, 3, 4, 5)
    output.gate.bias.data -= 1e4
    torch.testing.assert_close(output(x), torch.ones(1, 2, 4, 5))
    output.offset.data -= 2.0
    assert torch.equal(output(x), torch.zeros(1, 2, 4, 5))
