"""The parts of the Demucs family; against the originals in tests/parity."""

import pytest
import torch
from torch import nn

from mssedu.models.blocks.dconv import (
    BiLSTM,
    DConv,
    LayerScale,
    LocalAttention,
    cut,
    join,
    rescale_,
)
from tests.models.noise import noise, randomized

# ---- BiLSTM -------------------------------------------------------------------------


@pytest.mark.parametrize("length", [4, 8, 20])
@pytest.mark.parametrize("frames", [21, 25, 40, 41, 63])
def test_joining_undoes_cutting(frames, length):
    x = noise(2, 3, frames)
    spans = cut(x, length)
    assert spans.shape[1:] == (3, length)
    joined = join(spans, batch=2)
    assert torch.equal(joined[..., :frames], x)
    assert not joined[..., frames:].any()


def test_each_frame_comes_from_the_span_where_it_lies_deepest():
    length, frames = 8, 30
    spans = cut(noise(1, 1, frames), length)
    place = torch.arange(length).expand_as(spans)
    depth = torch.minimum(place, length - 1 - place)
    inner = join(depth, batch=1)[0, 0, 2:frames]  # the first span has no left neighbor
    assert inner.min() == length // 4


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_short_inputs_go_through_the_lstm_whole(n_layers, skip):
    part = randomized(BiLSTM(6, n_layers, max_frames=20, skip=skip))
    x = noise(3, 6, 20)
    sequence = part.lstm(x.permute(2, 0, 1))[0]
    expected = part.linear(sequence).permute(1, 2, 0) + (x if skip else 0)
    torch.testing.assert_close(part(x), expected)


def test_long_inputs_go_through_the_lstm_span_by_span():
    part = randomized(BiLSTM(6, 2, max_frames=8, skip=True))
    whole = randomized(BiLSTM(6, 2, skip=True))
    whole.load_state_dict(part.state_dict())
    x = noise(2, 6, 27)
    y = part(x)
    assert y.shape == x.shape
    torch.testing.assert_close(y[..., :6], whole(x[..., :8])[..., :6])
    torch.testing.assert_close(y[..., 6:10], whole(x[..., 4:12])[..., 2:6])
    changed = x.clone()
    changed[..., 12:] = 0  # beyond both spans that frames 0 … 9 come from
    torch.testing.assert_close(part(changed)[..., :10], y[..., :10])


# ---- local attention ----------------------------------------------------------------


@pytest.fixture
def attention():
    return randomized(LocalAttention(12, n_heads=3, n_decays=2))


def test_attention_is_what_forward_uses(attention):
    x = noise(2, 12, 9)
    weights = attention.inside(x)["attention"]
    assert weights.shape == (2, 3, 9, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 9))
    content = attention.content(x).reshape(2, 3, 4, 9)
    mean_content = torch.einsum("bhqk,bhdk->bhdq", weights, content).reshape(2, 12, 9)
    torch.testing.assert_close(attention(x), x + attention.proj(mean_content))


def test_no_frame_attends_to_itself_unless_it_is_alone(attention):
    weights = attention.inside(noise(2, 12, 9))["attention"]
    assert weights.diagonal(dim1=-2, dim2=-1).max() < 1e-6
    alone = attention.inside(noise(2, 12, 1))["attention"]
    assert torch.equal(alone, torch.ones(2, 3, 1, 1))


def test_attention_falls_with_the_distance_at_the_rate_that_the_query_asks_for():
    attention = LocalAttention(4, n_heads=1, n_decays=3)
    for part in (attention.query, attention.query_decay):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)  # every score is 0, every share sigmoid(0) / 2
    weights = attention.inside(noise(1, 4, 12))["attention"][0, 0]
    rate = (1 + 2 + 3) / 4 / 3**0.5
    fall = (weights[0, 1:-1] / weights[0, 2:]).log()
    torch.testing.assert_close(fall, torch.full((10,), rate))


def test_new_attention_reaches_far():
    torch.manual_seed(0)
    weights = LocalAttention(16).inside(noise(2, 16, 20))["attention"]
    assert weights[..., 0, 19].min() > 1e-4


# ---- LayerScale and DConv -----------------------------------------------------------


def test_layer_scale_is_a_factor_a_channel():
    x, scale = noise(2, 3, 5), torch.tensor([1.0, -2.0, 0.5])
    first, last = LayerScale(3, 0.1), LayerScale(3, 0.1, channel_last=True)
    torch.testing.assert_close(first(x), 0.1 * x)
    for part in (first, last):
        part.load_state_dict({"scale": scale})
    torch.testing.assert_close(first(x), x * scale[:, None])
    torch.testing.assert_close(last(x.mT), (x * scale[:, None]).mT)


@pytest.mark.parametrize("frames", [1, 2, 250])
@pytest.mark.parametrize("context", [False, True], ids=["plain", "lstm, attention"])
def test_dconv_keeps_the_shape_and_starts_small(context, frames):
    torch.manual_seed(0)
    part = DConv(16, init=1e-4, lstm=context, attention=context)
    x = noise(2, 16, frames)
    y = part(x)
    assert y.shape == x.shape
    assert 0 < (y - x).abs().max() < 0.01
    assert (randomized(part)(x) - x).abs().max() > 0.1


def test_dconv_looks_wider_from_branch_to_branch():
    part = randomized(DConv(8, compress=2, depth=3))
    for layer in part.layers:  # group norms would let every frame see the others
        layer[1] = layer[4] = nn.Identity()
    x = noise(1, 8, 41).requires_grad_()
    part(x)[0, :, 20].sum().backward()
    reached = x.grad[0].abs().sum(0).nonzero().flatten()
    assert (reached.min(), reached.max()) == (20 - 7, 20 + 7)  # 1 + 2 + 4


def test_dconv_names_its_parameters_as_the_origin_does():
    names = set(DConv(16, depth=1, lstm=True, attention=True).state_dict())
    assert {"layers.0.0.weight", "layers.0.1.bias", "layers.0.8.scale"} <= names
    assert {"layers.0.3.lstm.weight_hh_l1_reverse", "layers.0.4.proj.bias"} <= names
    assert "layers.0.6.scale" in DConv(16, depth=1).state_dict()


def test_rescaling_draws_deviations_closer():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv1d(20, 20, 3),
        nn.ConvTranspose2d(20, 20, (8, 1), bias=False),
        nn.Linear(20, 20),
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    rescale_(module, 0.1)
    after = module.state_dict()
    for name in ("0.weight", "1.weight"):
        expected = (before[name].std() * 0.1).sqrt()
        torch.testing.assert_close(after[name].std(), expected)
    factor = (before["0.weight"].std() / 0.1).sqrt()
    torch.testing.assert_close(after["0.bias"], before["0.bias"] / factor)
    assert torch.equal(after["2.weight"], before["2.weight"])
