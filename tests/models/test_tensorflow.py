"""Variables of TensorFlow; whole checkpoints are copied in the tests of the models."""

import pytest
import torch

from mssedu.errors import CheckpointError
from mssedu.models.blocks.tensorflow import copy_variables


def test_axes_are_turned_round():
    layer = torch.nn.Conv1d(2, 3, 5)
    kernel, bias = torch.randn(5, 2, 3), torch.randn(3)
    places = [("kernel", layer.weight), ("bias", layer.bias)]
    copy_variables(places, {"kernel": kernel.numpy(), "bias": bias, "Adam": 1})
    for tap in range(5):
        assert torch.equal(layer.weight[..., tap], kernel[tap].T)
    assert torch.equal(layer.bias, bias)


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({}, "no variable bias"),
        ({"bias": torch.ones(4)}, r"bias has the shape \(4,\).*\(3,\)"),
    ],
)
def test_one_that_does_not_fit_leaves_all_alone(variables, match):
    weight, bias = torch.zeros(3, 2), torch.zeros(3)
    variables = {"weight": torch.ones(2, 3), **variables}
    with pytest.raises(CheckpointError, match=match):
        copy_variables([("weight", weight), ("bias", bias)], variables)
    assert not weight.any()


def test_other_frameworks_arrange_the_axes_by_name():
    layer = torch.nn.Linear(2, 3)
    places = [("a/W", layer.weight), ("a/b", layer.bias)]
    variables = {"a/W": torch.randn(3, 2), "a/b": torch.randn(1, 3, 1)}
    copy_variables(
        places, variables, lambda name, x: x if name.endswith("W") else x.flatten()
    )
    assert torch.equal(layer.weight, variables["a/W"])
    assert torch.equal(layer.bias, variables["a/b"].flatten())
