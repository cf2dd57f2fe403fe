"""The parts of the Demucs family; whole models are compared in tests/parity."""

import pytest
import torch
from torch import nn

from mssedu.blocks.dconv import (
    BiLSTM,
    DConv,
    LayerScale,
    LocalAttention,
    cut,
    join,
    rescale_,
)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [9, 10, 11, 12, 13, 40])
def test_join_takes_each_frame_from_the_span_whose_ends_are_farthest(frames):
    length = 8
    x = noise(2, 3, frames)
    spans = cut(x, length)
    assert spans.shape[1:] == (3, length)
    assert torch.equal(join(spans, 2)[..., :frames], x)
    n_spans = len(spans) // 2
    marked = torch.arange(length).expand(len(spans), 1, length)
    places = join(marked, 2)[0, 0]
    inner = places[: -(length // 4)][length // 4 :]
    if n_spans > 2:
        assert inner.min() >= length // 4
        assert inner.max() < length - length // 4


@torch.no_grad()
def test_bilstm_reads_long_inputs_in_spans():
    torch.manual_seed(0)
    whole = BiLSTM(4, 2)
    spans = BiLSTM(4, 2, max_frames=8)
    spans.load_state_dict(whole.state_dict())
    short, long = noise(2, 4, 8), noise(2, 4, 30)
    assert torch.equal(whole(short), spans(short))
    assert not torch.allclose(whole(long), spans(long))
    # A frame of an inner span knows nothing beyond that span.
    changed = long.clone()
    changed[..., 20:] = 0
    assert torch.equal(spans(long)[..., :8], spans(changed)[..., :8])
    expected = whole(long[..., 4:12])[..., 2:6]  # the middle half of the second span
    torch.testing.assert_close(spans(long)[..., 6:10], expected)


def test_bilstm_adds_its_input_only_with_skip():
    torch.manual_seed(0)
    plain, added = BiLSTM(4), BiLSTM(4, skip=True)
    added.load_state_dict(plain.state_dict())
    x = noise(1, 4, 5)
    torch.testing.assert_close(added(x), plain(x) + x)


@torch.no_grad()
def test_local_attention_looks_at_others_and_forgets_with_distance():
    torch.manual_seed(0)
    layer = LocalAttention(8, n_heads=2)
    x = noise(1, 8, 40)
    attention = layer.inside(x)["attention"]
    assert attention.shape == (1, 2, 40, 40)
    torch.testing.assert_close(attention.sum(-1), torch.ones(1, 2, 40))
    assert attention.diagonal(dim1=-2, dim2=-1).max() < 1e-6
    layer.query_decay.bias.fill_(20)  # forget as fast as it can
    near = layer.inside(x)["attention"]
    distance = (torch.arange(40)[:, None] - torch.arange(40)).abs()
    assert (near * distance).sum(-1).mean() < 2 < (attention * distance).sum(-1).mean()


@torch.no_grad()
def test_local_attention_is_the_mean_of_contents_by_hand():
    torch.manual_seed(0)
    layer = LocalAttention(8, n_heads=2)
    x = noise(1, 8, 5)
    weights = layer.inside(x)["attention"][0]
    content = layer.content(x)[0]
    heard = torch.zeros(8, 5)
    for head in range(2):
        for query in range(5):
            for key in range(5):
                part = slice(4 * head, 4 * head + 4)
                heard[part, query] += weights[head, query, key] * content[part, key]
    torch.testing.assert_close(layer(x), x + layer.proj(heard[None]))


def test_layer_scale_on_either_axis():
    x = noise(2, 3, 3)
    first, last = LayerScale(3, 0.5), LayerScale(3, 0.5, channel_last=True)
    for layer in (first, last):
        layer.scale.data = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(first(x)[:, 1], 2 * x[:, 1])
    assert torch.equal(last(x)[..., 1], 2 * x[..., 1])


@torch.no_grad()
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("lstm", [False, True])
def test_dconv_starts_as_the_identity_and_keeps_the_shape(lstm, attention):
    torch.manual_seed(0)
    layer = DConv(16, compress=4, depth=2, init=0.0, lstm=lstm, attention=attention)
    x = noise(2, 16, 9)
    assert torch.equal(layer(x), x)
    kinds = [type(part) for part in layer.layers[0]]
    assert (BiLSTM in kinds, LocalAttention in kinds) == (lstm, attention)
    assert [part[0].dilation for part in layer.layers] == [(1,), (2,)]


@torch.no_grad()
def test_rescale_brings_deviations_closer():
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Conv1d(2, 50, 8), nn.Conv2d(8, 20, 3), nn.Linear(9, 9)])
    before = [(layer.weight.clone(), layer.bias.clone()) for layer in layers]
    rescale_(layers, 0.1)
    for layer, (weight, bias) in zip(layers[:2], before, strict=False):
        factor = (weight.std() / 0.1) ** 0.5
        torch.testing.assert_close(layer.weight, weight / factor)
        torch.testing.assert_close(layer.bias, bias / factor)
    assert torch.equal(layers[2].weight, before[2][0])
