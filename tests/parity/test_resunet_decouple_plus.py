"""ResUNetDecouple+ against bytesep 0.1.1, same weights."""

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mssedu.errors import CheckpointError
from mssedu.models.registry import create_model
from mssedu.models.resunet_decouple_plus import from_bytesep
from mssedu.weights.loading import load_model
from tests.parity.peers import assert_close, import_reference, load_peer, mixture

pytestmark = pytest.mark.parity


class InPlaceABNSync(nn.Module):
    """What the compiled inplace_abn computes, in PyTorch: it does not build here."""

    def __init__(self, num_features, momentum, activation):
        super().__init__()
        assert activation == "leaky_relu"
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        scale = self.weight.abs() + 1e-5
        statistics = (self.running_mean, self.running_var)
        parts = (*statistics, scale, self.bias, self.training, self.momentum, 1e-5)
        return F.leaky_relu(F.batch_norm(x, *parts), 0.01)


def stubs():
    names = ("inplace_abn", "inplace_abn.abn", "pytorch_lightning")
    modules = {name: ModuleType(name) for name in names}
    modules["inplace_abn.abn"].InPlaceABNSync = InPlaceABNSync
    modules["pytorch_lightning"].LightningModule = nn.Module
    return modules


import_reference("torchlibrosa")
(original,) = load_peer("bytesep", "0.1.1", ["models.resunet_ismir2021"], stubs())
Original = original.ResUNet143_DecouplePlusInplaceABN_ISMIR2021


@pytest.fixture(scope="module")
def state():
    """Weights of the original for one stereo stem, none at its first value."""
    torch.manual_seed(0)
    state = Original(2, 1).state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if name.startswith(("stft.", "istft.")) or not value.is_floating_point():
            continue
        if value.ndim > 1:
            value.normal_(0.0, value[0].numel() ** -0.5, generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("weight"):  # negative ones too
            value.uniform_(-1.5, 1.5, generator=generator)
        else:
            value.normal_(0.0, 0.1, generator=generator)
    return state


@pytest.fixture(scope="module")
def networks():
    return create_model("resunet_decouple_plus", stems=("vocals",)), Original(2, 1)


@pytest.fixture
def pair(networks, state):
    ours, theirs = networks
    theirs.float().eval().load_state_dict(state)
    ours.float().eval().networks[0].load_state_dict(from_bytesep(state))
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize(("samples", "batch"), [(1025, 2), (15_000, 1)])
def test_same_weights_give_the_waveforms_of_the_original(pair, samples, batch):
    ours, theirs = pair
    assert sum(p.numel() for p in ours.parameters()) == 102_571_278
    audio = mixture(samples, batch=batch)
    expected = theirs({"waveform": audio})["waveform"]
    assert_close(ours(audio)[:, 0], expected)


@torch.no_grad()
def test_a_checkpoint_of_the_original_loads(pair, state, tmp_path):
    path = tmp_path / "step=500000.pth"
    torch.save({"step": 500_000, "model": state}, path)
    model = load_model(path, stems=("vocals",))
    assert model.config == pair[0].config
    ours = pair[0].state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours[name]), name
    torch.save(Original(2, 2).state_dict(), path)
    with pytest.raises(CheckpointError, match="do not fit"):  # two targets
        load_model(path, stems=("vocals", "other"))


@pytest.mark.slow
@torch.no_grad()
def test_statistics_move_as_in_the_original(pair):
    ours, theirs = (model.double().train() for model in pair)
    audio = mixture(1025, batch=1).double()
    expected = theirs({"waveform": audio})["waveform"]
    assert_close(ours(audio)[:, 0], expected)
    state = from_bytesep(theirs.state_dict())
    for name, value in ours.networks[0].state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, state[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_gradients(pair):
    """In double precision, so that no rounding changes the side of a leaky relu."""
    ours, theirs = (model.double() for model in pair)
    audio = mixture(1025, batch=1).double()
    ours(audio).abs().mean().backward()
    theirs({"waveform": audio})["waveform"].abs().mean().backward()
    expected = {}
    for name, value in theirs.named_parameters():
        if value.requires_grad:
            (own,) = from_bytesep({name: value.detach()})
            is_abs = name.endswith("abn2.weight")  # |weight|, so it has two signs
            expected[own] = value.grad * (value.detach().sign() if is_abs else 1)
    for name, value in ours.networks[0].named_parameters():
        difference = (value.grad - expected.pop(name)).norm()
        assert difference <= 1e-5 * value.grad.norm(), name
    assert not expected
