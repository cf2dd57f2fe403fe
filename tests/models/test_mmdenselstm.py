"""What is MMDenseLSTM's own; see also test_contract.py, test_dense.py, tests/parity."""

import pytest
import torch

from mssedu.errors import InputError
from mssedu.models.mmdenselstm import NETWORKS, DenseLSTMBlock, PathSizes
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise


def tiny_model(**changes):
    torch.manual_seed(0)
    return create_model("mmdenselstm", "tiny", **changes)


@pytest.mark.parametrize(
    ("lstm", "published"),
    [("after", 1_370_784), ("parallel", 1_370_805), ("before", 1_370_402)],
)
def test_published_parameter_count(lstm, published):
    model = create_model("mmdenselstm", stems=("a", "b"), lstm=lstm)
    assert sum(p.numel() for p in model.parameters()) == 2 * published


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sizes_of_a_path_belong_together(name):
    sizes = NETWORKS[name]
    assert sum(band.bins for band in sizes.bands) == sizes.whole.bins
    for path in (*sizes.bands, sizes.whole):
        assert len(path.growth) == len(path.n_layers) == len(path.hidden)
        assert len(path.growth) % 2 == 1
        # A stage has a dense block, an LSTM, or both; the last is stacked.
        assert all(a or b for a, b in zip(path.n_layers, path.hidden, strict=True))
        assert path.hidden[-1] == 0


def test_bins_are_halved_and_rounded_up():
    path = PathSizes(1025, 1, (1,) * 5, (1,) * 5, (0,) * 5)
    assert [path.bins_at(stage) for stage in range(5)] == [1025, 513, 257, 513, 1025]


@torch.no_grad()
@pytest.mark.parametrize("placement", ["after", "parallel", "before"])
def test_where_the_lstm_stands(placement):
    block = DenseLSTMBlock(3, 2, 2, 5, 4, placement).eval()
    x = noise(1, 3, 5, 6)
    y = block(x)
    if placement == "before":
        expected = block.dense(torch.cat([x, block.lstm(x)], dim=1))
    else:
        dense = block.dense(x)
        read = dense if placement == "after" else x
        expected = torch.cat([dense, block.lstm(read)], dim=1)
    assert y.shape == expected.shape
    torch.testing.assert_close(y, expected)


@torch.no_grad()
@pytest.mark.parametrize("lstm", ["after", "parallel", "before"])
def test_the_lstm_reads_all_frames(lstm):
    network = tiny_model(lstm=lstm).networks[0].eval()
    magnitude = noise(1, 2, 1025, 200).abs()
    changed = magnitude.clone()
    changed[..., :10] *= 3
    before, after = network(magnitude), network(changed)
    assert not torch.equal(before[..., 150:], after[..., 150:])


@torch.no_grad()
def test_training_leaves_out_the_wiener_filter():
    filtered, plain = tiny_model(), tiny_model(wiener_iterations=0)
    mixture = noise(1, 2, 20_000)
    assert torch.equal(filtered(mixture), plain(mixture))
    estimate = filtered.eval()(mixture)
    assert not torch.allclose(estimate, plain.eval()(mixture))
    torch.testing.assert_close(estimate.sum(1), mixture, rtol=0, atol=1e-2)


def test_prepare_sets_new_networks_only():
    model = tiny_model(stems=("a", "b"))
    first, second = (network.standardize for network in model.networks)
    first.mean.data += 1.0
    model.prepare([noise(2, 30_000)])
    assert (first.mean == 1).all()
    assert (second.mean > 0).all()
    assert (second.deviation != 1).any()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network": "tiny"}, "network 'tiny'.*large, small"),
        ({"network": "large"}, "n_fft must be 4096 .*2049 bins"),
        ({"n_fft": 4096}, "n_fft must be 2048 .*1025 bins"),
        ({"lstm": "beside"}, "lstm 'beside'.*parallel"),
        ({"wiener_frames": 0}, "wiener_frames"),
        ({"wiener_iterations": -1}, "wiener_iterations"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("mmdenselstm", "tiny", **changes)
