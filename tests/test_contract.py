"""The promise of every model, as far as it can be checked without calling one."""

import pytest
from torch import nn

from mssedu.checks import InputError
from mssedu.contract import config_of
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
