"""D3Net against stored outputs of Sony's graph; see make_d3net_golden.py."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from mssedu.models.d3net import _places, load_official
from mssedu.models.registry import create_model

HERE = Path(__file__).parent
ORIGINAL = runpy.run_path(str(HERE / "make_d3net_golden.py"))
GOLDEN = json.loads((HERE / "d3net_golden.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.parity


def original_shape(name, tensor):
    """The shape that NNabla gives to a variable of this name."""
    if name.endswith("/W"):
        return (*tensor.shape[:2], *reversed(tensor.shape[2:]))
    kind = name.rpartition("/")[2]
    if kind in ("gamma", "beta", "mean", "var"):
        return (1, len(tensor), 1, 1)
    return (len(tensor),) if kind == "b" else (1, 1, 1, len(tensor))


def original_variables(model):
    return {
        f"{stem}/{name}": ORIGINAL["value"](
            f"{stem}/{name}", original_shape(name, tensor)
        )
        for stem, network in zip(model.config.stems, model.networks, strict=True)
        for name, tensor in _places(network)
    }


def assert_same(ours, expected, limit):
    ours = ours.detach().flatten()[ORIGINAL["places"](ours.numel())].double()
    expected = torch.tensor(expected, dtype=torch.float64)
    assert (ours - expected).abs().max() <= limit * expected.abs().max()


@pytest.mark.parametrize("case", sorted(ORIGINAL["CASES"]))
def test_same_weights_give_the_magnitudes_and_gradients_of_the_original(case):
    target, training = ORIGINAL["CASES"][case]
    golden = GOLDEN["cases"][case]
    model = create_model("d3net", stems=(target,)).train(training)
    load_official(model, original_variables(model))
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]

    config, network = model.config, model.networks[0]
    magnitude = torch.from_numpy(ORIGINAL["magnitude"](config.channels, config.bins))
    with torch.no_grad():
        # The batch statistics of few frames enlarge the rounding errors.
        limit = 5e-5 if training else 1e-5
        assert_same(network(magnitude), golden["estimate"], limit)
    network.double()
    load_official(model, original_variables(model))  # again the first statistics
    estimate = network(magnitude := magnitude.double().requires_grad_())
    scalar = estimate * torch.from_numpy(ORIGINAL["weights_of_sum"](estimate.shape))
    (gradient,) = torch.autograd.grad(scalar.sum(), magnitude)
    assert_same(estimate, golden["estimate"], 1e-10)
    assert_same(gradient, golden["gradient"], 1e-10)
    energy = float(estimate.detach().square().sum())
    assert energy == pytest.approx(golden["energy"], rel=1e-10)


def test_golden_file_holds_exactly_the_cases():
    assert sorted(GOLDEN["cases"]) == sorted(ORIGINAL["CASES"])
