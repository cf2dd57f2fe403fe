"""MMDenseLSTM against stored outputs of a port; see make_mmdenselstm_golden.py."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from mssedu.models.registry import create_model

HERE = Path(__file__).parent
ORIGINAL = runpy.run_path(str(HERE / "make_mmdenselstm_golden.py"))
GOLDEN = json.loads((HERE / "mmdenselstm_golden.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.parity


def load_values(network):
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value = ORIGINAL["value"](name, tuple(tensor.shape))
            tensor.copy_(torch.from_numpy(value))


def assert_same(ours, expected, limit):
    ours = ours.detach().flatten()[ORIGINAL["places"](ours.numel())].double()
    expected = torch.tensor(expected, dtype=torch.float64)
    assert (ours - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.parametrize("lstm", sorted(ORIGINAL["CASES"]))
def test_same_weights_give_the_magnitudes_and_gradients_of_the_original(lstm):
    golden = GOLDEN["cases"][lstm]
    model = create_model("mmdenselstm", stems=("vocals",), lstm=lstm).eval()
    network = model.networks[0]
    load_values(network)
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]

    magnitude = torch.from_numpy(ORIGINAL["magnitude"]())
    with torch.no_grad():
        assert_same(network(magnitude), golden["estimate"], 1e-5)
    estimate = network.double()(magnitude := magnitude.double().requires_grad_())
    scalar = estimate * torch.from_numpy(ORIGINAL["weights_of_sum"](estimate.shape))
    (gradient,) = torch.autograd.grad(scalar.sum(), magnitude)
    assert_same(estimate, golden["estimate"], 1e-10)
    assert_same(gradient, golden["gradient"], 1e-10)
    energy = float(estimate.detach().square().sum())
    assert energy == pytest.approx(golden["energy"], rel=1e-10)


def test_golden_file_holds_exactly_the_cases():
    assert sorted(GOLDEN["cases"]) == sorted(ORIGINAL["CASES"])
