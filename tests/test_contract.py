"""The promise of every model, as far as it can be checked without calling one."""

import pytest
import torch
from torch import nn

from mssedu.checks import InputError
from mssedu.contract import config_of, prepare
from mssedu.registry import create_model, list_models


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_what_inference_needs(name):
    config = config_of(create_model(name, "tiny"))
    assert config.stems
    assert config.sample_rate > 0
    assert config.channels > 0
    assert config.segment > 0


def test_what_lacks_is_named():
    with pytest.raises(InputError, match="Linear without stems, sample_rate, channels"):
        config_of(nn.Linear(1, 1))


def test_prepare_reaches_the_models_that_want_it():
    class Wanting(nn.Module):
        def prepare(self, mixtures):
            self.seen = list(mixtures)

    model = Wanting()
    prepare(model, iter([torch.ones(2, 3)]))
    assert len(model.seen) == 1
    prepare(nn.Linear(1, 1), iter(()))  # most models need none
