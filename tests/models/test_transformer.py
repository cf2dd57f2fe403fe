"""The parts of the cross-domain transformer; against the original in tests/parity."""

import pytest
import torch
from einops import rearrange

from mssedu.models.blocks.transformer import (
    Attention,
    CrossAttentionLayer,
    CrossDomainTransformer,
    SelfAttentionLayer,
    sines_1d,
    sines_2d,
)
from tests.models.noise import noise, randomized


@pytest.fixture
def attentions():
    ours = randomized(Attention(24, 4))
    theirs = torch.nn.MultiheadAttention(24, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("keys", [1, 7, 30])
def test_attention_is_that_of_torch(attentions, keys, training):
    ours, theirs = (module.train(training) for module in attentions)
    query, other = noise(2, 30, 24), noise(2, keys, 24, seed=2)
    expected, weights = theirs(query, other, other, average_attn_weights=False)
    torch.testing.assert_close(ours(query, other), expected)
    attention = ours.inside(query, other)["attention"]
    assert attention.shape == (2, 4, 30, keys)
    torch.testing.assert_close(attention, weights)


def test_attention_starts_as_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = Attention(64, 4), torch.nn.MultiheadAttention(64, 4)
    for name, value in theirs.state_dict().items():
        mine = ours.state_dict()[name]
        assert mine.shape == value.shape
        assert abs(float(mine.std() - value.std())) < 0.05 * float(value.std()) + 1e-9


def test_attention_drops_weights_in_training_only():
    attention = randomized(Attention(8, 2, dropout=0.5))
    x = noise(1, 20, 8)
    assert not torch.equal(attention(x, x), attention(x, x))
    attention.eval()
    assert torch.equal(attention(x, x), attention(x, x))


def test_attention_gives_a_mean_of_values():
    attention = Attention(8, 2)
    same = noise(1, 1, 8).expand(-1, 10, -1)  # whatever the weights, their mean
    mean_values = attention(noise(1, 3, 8), same)
    torch.testing.assert_close(mean_values[:, 1:], mean_values[:, :1].expand(-1, 2, -1))


def test_sines_tell_positions_apart():
    table = sines_1d(50, 8)
    assert table.shape == (50, 8)
    assert torch.equal(table[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(table[:, 0], torch.arange(50.0).cos())
    torch.testing.assert_close(table[:, 4], torch.arange(50.0).sin())
    torch.testing.assert_close(table[:, 7], (torch.arange(50) / 10000).sin())
    assert torch.pdist(table).min() > 0.1


def test_sines_of_a_spectrogram_tell_frame_and_bin():
    table = sines_2d(bins=5, frames=7, width=8, period=100.0)
    assert table.shape == (7, 5, 8)
    torch.testing.assert_close(table[:, 3, 0], torch.arange(7.0).sin())
    torch.testing.assert_close(table[:, 3, 1], torch.arange(7.0).cos())
    torch.testing.assert_close(table[:, 3, 2], (torch.arange(7.0) / 10).sin())
    torch.testing.assert_close(table[2, :, 4], torch.arange(5.0).sin())
    assert torch.equal(table[0, :, :4], table[0, :1, :4].expand(5, -1))
    assert torch.equal(table[:, 0, 4:], table[:1, 0, 4:].expand(7, -1))


@pytest.mark.parametrize("kind", [SelfAttentionLayer, CrossAttentionLayer])
def test_a_new_layer_only_normalizes(kind):
    layer = kind(16, 32, 2, dropout=0.0)
    x, other = noise(2, 30, 16) * 3 + 1, noise(2, 9, 16)
    y = layer(x) if kind is SelfAttentionLayer else layer(x, other)
    deviation, mean = torch.std_mean(x, dim=(1, 2), correction=0, keepdim=True)
    torch.testing.assert_close(y, (x - mean) / deviation, rtol=0, atol=1e-2)


@torch.no_grad()
def test_self_attention_layer_of_torch():
    ours = randomized(SelfAttentionLayer(16, 32, 2, dropout=0.0)).eval()
    theirs = torch.nn.TransformerEncoderLayer(
        16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True
    )
    for gamma in (ours.gamma_1, ours.gamma_2):
        torch.nn.init.ones_(gamma.scale)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    x = noise(2, 30, 16)
    torch.testing.assert_close(ours(x), ours.normalize(theirs(x)))


def test_layers_take_turns():
    model = CrossDomainTransformer(16, 5, 2)
    kinds = [SelfAttentionLayer, CrossAttentionLayer] * 2 + [SelfAttentionLayer]
    for layers in (model.layers, model.layers_t):
        assert [type(layer) for layer in layers] == kinds
    assert model.layers[0].linear1.out_features == 64


@torch.no_grad()
@pytest.mark.parametrize(("bins", "frames", "frames_t"), [(3, 5, 9), (1, 1, 1)])
def test_shapes_stay(bins, frames, frames_t):
    model = randomized(CrossDomainTransformer(16, 3, 2, hidden_scale=1.5))
    freq, time = noise(2, 16, bins, frames), noise(2, 16, frames_t)
    x, y = model(freq, time)
    assert (x.shape, y.shape) == (freq.shape, time.shape)
    assert x.isfinite().all()
    assert y.isfinite().all()


@torch.no_grad()
def test_branches_depend_on_each_other_from_the_second_layer_on():
    freq, time, other = noise(1, 16, 3, 5), noise(1, 16, 9), noise(1, 16, 9, seed=3)
    for n_layers, depends in ((1, False), (2, True)):
        model = randomized(CrossDomainTransformer(16, n_layers, 2)).eval()
        same = torch.equal(model(freq, time)[0], model(freq, other)[0])
        assert same is not depends


@torch.no_grad()
def test_both_attend_to_the_other_as_it_was_before_the_layer():
    model = randomized(CrossDomainTransformer(16, 2, 2)).eval()
    freq, time = noise(1, 16, 3, 5), noise(1, 16, 9)
    before = CrossDomainTransformer(16, 1, 2).eval()
    before.load_state_dict(model.state_dict(), strict=False)
    freq_before, time_before = before(freq, time)
    x = rearrange(freq_before, "b d f m -> b (m f) d")
    expected = model.layers_t[1](time_before.mT, x)
    torch.testing.assert_close(model(freq, time)[1].mT, expected)


def test_the_published_sizes():
    model = CrossDomainTransformer(512, 5, 8)
    n_layer = 12 * 512**2 + 13 * 512 + 2 * 512 + 2 * 512  # … + scales + norm_out
    cross = 2 * 2 * 2 * 512  # another norm in each of four cross layers
    assert sum(p.numel() for p in model.parameters()) == (
        10 * n_layer + cross + 2 * 2 * 512
    )
    assert torch.all(model.layers[4].gamma_2.scale == 1e-4)
