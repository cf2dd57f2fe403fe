"""What is D3Net's own; the rest is in test_contract.py, test_dense.py, tests/parity."""

import pytest
import torch

from mssedu.errors import CheckpointError, InputError
from mssedu.models.d3net import _places, load_official
from mssedu.models.registry import create_model, model_config
from tests.models.noise import noise

PUBLISHED = {
    "vocals": 2_967_407,
    "other": 2_967_407,
    "dizi": 2_967_407,
    "drums": 2_873_284,
    "bass": 2_419_822,
}


def tiny_model(**changes):
    torch.manual_seed(0)
    return create_model("d3net", "tiny", **changes)


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("stem", PUBLISHED)
def test_published_parameter_count(stem):
    assert n_parameters(create_model("d3net", stems=(stem,))) == PUBLISHED[stem]


def test_a_network_can_be_chosen_for_all_stems():
    model = create_model("d3net", stems=("drums", "pipa"), network="bass")
    assert n_parameters(model) == 2 * PUBLISHED["bass"]


def test_dilation_costs_no_parameters():
    mixture = noise(1, 2, 9000)
    dilated, compact = (tiny_model(dilated=choice).eval() for choice in (True, False))
    assert n_parameters(dilated) == n_parameters(compact)
    compact.load_state_dict(dilated.state_dict())
    with torch.no_grad():
        assert not torch.allclose(dilated(mixture), compact(mixture))


@torch.no_grad()
def test_bins_above_the_network_are_those_of_the_mixture():
    network = tiny_model().networks[0].eval()
    magnitude = noise(1, 2, 1025, 8).abs()
    estimate = network(magnitude)
    assert torch.equal(estimate[:, :, 512:], magnitude[:, :, 512:])
    assert not torch.allclose(estimate[:, :, :512], magnitude[:, :, :512])


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
    assert (first.deviation == 1).all()
    assert (second.mean > 0).all()
    assert (second.deviation != 1).any()
    model.prepare(iter(()))  # nothing is new: the excerpts are not even read


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network": "piano"}, "network 'piano'.*by_stem"),
        ({"network": "vocals"}, "n_fft must be at least 3198 .*'small'"),
        ({"n_fft": 512, "hop_length": 128}, "n_fft must be at least 1022"),
        ({"wiener_frames": 0}, "wiener_frames"),
        ({"wiener_iterations": -1}, "wiener_iterations"),
    ],
    ids=str,
)
def test_wrong_config_is_named(changes, text):
    with pytest.raises(InputError, match=text):
        model_config("d3net", "tiny", **changes)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda v: v.pop("a/in_offset"), "no variable a/in_offset"),
        (
            lambda v: v.update({"a/decode_bias": torch.ones(9)}),
            r"a/decode_bias .*\(9,\)",
        ),
    ],
    ids=["missing", "wrong shape"],
)
def test_weights_that_do_not_fit_are_named(damage, text):
    model = tiny_model(stems=("a",))
    variables = {f"a/{name}": value for name, value in _places(model.networks[0])}
    damage(variables)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=text):
        load_official(model, variables)
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())


def test_every_tensor_has_a_place_in_the_published_weights():
    model = tiny_model(stems=("a",))
    places = dict(_places(model.networks[0]))
    counters = [n for n in model.state_dict() if n.endswith("num_batches_tracked")]
    assert len(places) == len(model.state_dict()) - len(counters)
    assert len({value.data_ptr() for value in places.values()}) == len(places)
