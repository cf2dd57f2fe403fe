"""Conv-TasNet against demucs 2.0.3, one block against torchaudio too, same weights."""

import pytest
import torch
import torch.nn.functional as F

from mssedu.models.conv_tasnet import Block, ConvTasNetConfig
from mssedu.models.registry import create_model
from tests.parity.peers import assert_close, diffq_stub, load_peer, mixture

(original,) = load_peer("demucs", "2.0.3", ["tasnet"], {"diffq": diffq_stub()})

pytestmark = pytest.mark.parity

SMALL = {
    "n_filters": 24,
    "filter_length": 20,
    "hop_length": 10,
    "bottleneck": 16,
    "hidden": 20,
    "n_blocks": 4,
    "n_repeats": 2,
}


def pair(**changes):
    """Our model and the original, with the same weights, none at its default."""
    ours = create_model("conv_tasnet", **changes).eval()
    config = ours.config
    theirs = original.ConvTasNet(
        sources=config.stems,
        N=config.n_filters,
        L=config.filter_length,
        B=config.bottleneck,
        H=config.hidden,
        P=config.kernel_size,
        X=config.n_blocks,
        R=config.n_repeats,
        audio_channels=config.channels,
        norm_type="cLN" if config.causal else "gLN",
        causal=config.causal,
        mask_nonlinear=config.mask,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for name, value in theirs.named_parameters():
        if name.endswith("gamma"):
            value.data.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim > 1 and not name.endswith("beta"):
            scale = value[0].numel() ** -0.5
            value.data.normal_(0.0, scale, generator=generator)
        else:
            value.data.normal_(0.0, 0.3, generator=generator)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_full_size():
    ours, theirs = pair()
    audio = mixture(22050, batch=1)
    with torch.no_grad():
        assert_close(ours(audio), theirs(audio))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channels": 1, "stems": ("instrumental",)},
        {"channels": 3, "stems": ("dizi", "yangqin", "pipa", "other", "voice")},
        {"mask": "softmax"},
        {"causal": True},
        {"kernel_size": 5, "filter_length": 16, "hop_length": 8},
        {"kernel_size": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [20, 1000, 16001])
def test_small(changes, samples):
    ours, theirs = pair(**(SMALL | changes))
    audio = mixture(samples, ours.config.channels)
    hop_length, length = ours.config.hop_length, ours.config.filter_length
    # Ours fills up the last frame with zeros, the original drops what is behind it.
    filled = F.pad(audio, (0, -(samples - length) % hop_length))
    with torch.no_grad():
        assert_close(ours(audio), theirs(filled)[..., :samples])
        assert_close(ours(filled), theirs(filled))


def test_gradients():
    ours, theirs = pair(**SMALL)
    for model in (ours, theirs):
        model.train()(mixture(2000)).square().mean().backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (one.grad - other.grad).abs().max() <= 1e-4 * other.grad.abs().max()


def test_a_block_of_torchaudio():
    # torchaudio's model as a whole is another one: biases, and a sum of skip outputs.
    from torchaudio.models.conv_tasnet import ConvBlock

    theirs = ConvBlock(16, 20, kernel_size=3, padding=4, dilation=4)
    ours = Block(ConvTasNetConfig(**SMALL), dilation=4)
    inner = ours.net[3].net
    parts = [*ours.net[:3], *inner[:3], inner[3]]
    for part, layer in zip(parts, [*theirs.conv_layers, theirs.res_out], strict=True):
        if isinstance(layer, torch.nn.GroupNorm):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias)
            part.gamma.data.copy_(layer.weight.view(1, -1, 1))
            part.beta.data.copy_(layer.bias.view(1, -1, 1))
        else:
            part.weight.data.copy_(layer.weight)
            if isinstance(layer, torch.nn.Conv1d):
                torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 16, 300)
    with torch.no_grad():
        assert_close(ours(x), x + theirs(x)[0])
