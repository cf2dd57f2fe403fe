"""Each packed layer against its plain form, for every shape that models give it."""

import pytest
import torch
from torch import nn

from mssedu.models.blocks.dconv import DConv
from mssedu.models.blocks.hybrid import (
    DecoderLayer,
    EncoderLayer,
    FrequencyEmbedding,
    LastConvolution,
)
from mssedu.models.blocks.transformer import Attention
from mssedu.separation.packed import pack

DCONV = {"compress": 4, "init": 0.5}


def lively(module):
    """No parameter at its default: every scale counts, every bias is heard."""
    generator = torch.Generator().manual_seed(0)
    for value in module.parameters():
        value.data = torch.randn(value.shape, generator=generator) / 3 + 0.1
    return module.eval()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("module", "method", "inputs"),
    [
        (DConv(8, **DCONV), "forward", (noise(3, 8, 50),)),
        (DConv(8, depth=3, **DCONV), "forward", (noise(1, 8, 50),)),
        (
            DConv(16, lstm=True, attention=True, **DCONV),
            "forward",
            (noise(2, 16, 250),),
        ),
        (EncoderLayer(4, 8, freq=True, dconv=DCONV), "forward", (noise(2, 4, 32, 9),)),
        (EncoderLayer(4, 8, freq=False, dconv=DCONV), "forward", (noise(2, 4, 35),)),
        (EncoderLayer(4, 8, freq=True, context=1), "forward", (noise(1, 4, 32, 9),)),
        (
            EncoderLayer(4, 8, freq=True, pad=False),
            "forward",
            (noise(2, 4, 8, 9), noise(2, 8, 9)),
        ),
        (
            DecoderLayer(8, 4, freq=True, dconv=DCONV),
            "forward",
            (noise(2, 8, 8, 9), 32, noise(2, 8, 8, 9)),
        ),
        (
            DecoderLayer(8, 4, freq=False, last=True, dconv=DCONV),
            "forward",
            (noise(2, 8, 9), 35, noise(2, 8, 9)),
        ),
        (
            DecoderLayer(8, 4, freq=False, kernel_size=4, stride=2),
            "forward",
            (noise(1, 8, 9), 17, noise(1, 8, 9)),
        ),
        (
            LastConvolution(8, 4, freq=False, n_groups=2),
            "forward",
            (noise(2, 8, 9), 36),
        ),
        (LastConvolution(8, 4, freq=True, n_groups=2), "grow", (noise(2, 8, 1, 9), 4)),
        (FrequencyEmbedding(16, 4), "forward", (noise(2, 4, 16, 9),)),
        (Attention(16, 2), "forward", (noise(2, 30, 16), noise(2, 20, 16))),
        (nn.Linear(16, 8), "forward", (noise(2, 5, 16),)),
        (nn.Linear(16, 8, bias=False), "forward", (noise(7, 16),)),
    ],
)
def test_the_packed_form_gives_the_same(module, method, inputs):
    lively(module)
    with torch.no_grad():
        expected = getattr(module, method)(*inputs)
        packed = pack(module, torch.float32)
        assert packed
        vars(module).update(packed)
        got = getattr(module, method)(*inputs)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_branch_of_dconv_stays_exact_beside_a_large_offset():
    # A variance as the mean square less the squared mean would be noise here.
    module = lively(DConv(8, **DCONV))
    for layer in module.layers:
        layer[3].bias.data += 300.0
    x = noise(2, 8, 50)
    with torch.no_grad():
        expected = module.double()(x.double())
        packed = pack(module.float(), torch.float32)["forward"](x)
    assert (packed - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_layers_with_norms_and_layers_of_other_models_stay_as_they_are():
    assert not pack(EncoderLayer(4, 8, freq=True, n_groups=2), torch.float32)
    assert not pack(nn.Conv1d(2, 2, 1), torch.float32)
    grown = pack(DecoderLayer(8, 4, freq=True, n_groups=2), torch.float32)
    assert list(grown) == ["grow"]
