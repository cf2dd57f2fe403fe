"""The promise of every model, as far as it can be checked without calling one."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.contract import (
    chunk_seconds,
    config_of,
    device_of,
    eval_mode,
    prepare,
    settle_segment,
    stem_bandwidth_hz,
)
from mssedu.models.registry import create_model, list_models


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


@pytest.mark.parametrize(
    ("limit", "segment", "seconds"),
    [
        (None, None, 5.0),
        (7.8, None, 5.0),
        (None, 60, 60),
        (7.8, 7.8, 7.8),
        (7.8, 1.5, 1.5),
    ],
)
def test_a_chunk_is_as_long_as_asked_for(limit, segment, seconds):
    config = SimpleNamespace(segment=5.0, segment_limit=limit)
    for strict in (False, True):
        with warnings.catch_warnings(action="error"):
            assert chunk_seconds(config, segment, strict=strict) == seconds


def test_a_chunk_longer_than_trained_is_announced_and_shortened():
    config = SimpleNamespace(segment=5.0, segment_limit=7.8)
    with pytest.warns(UserWarning, match=r"12\.0 s > 7\.8 s trained; using 7\.8"):
        assert chunk_seconds(config, 12) == 7.8
    with pytest.raises(InputError, match=r"at most 7\.8 s, as trained, got 12\.0 s"):
        chunk_seconds(config, 12, strict=True)


@pytest.mark.parametrize("segment", [0, -1.0, float("nan")])
def test_a_chunk_takes_time(segment):
    config = SimpleNamespace(segment=5.0)
    with pytest.raises(InputError, match=r"segment in \(0, inf\]"):
        chunk_seconds(config, segment)


def test_the_segment_is_settled_among_the_options():
    config = SimpleNamespace(segment=5.0, segment_limit=7.8)
    options = {"overlap": 0.5, "strict_segment": True}
    assert settle_segment(config, options) == 5.0
    assert options == {"overlap": 0.5, "segment": 5.0}


def test_the_device_is_that_of_the_weights():
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.Identity()) == torch.device("cpu")


def test_eval_mode_gives_every_part_its_own_mode_back():
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    model[1].eval()

    def fails():
        with eval_mode(model):
            assert not any(part.training for part in model.modules())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert [part.training for part in model.modules()] == [True, True, False]


def test_only_a_model_that_writes_no_highs_has_a_bandwidth():
    spleeter = create_model("spleeter", "tiny").config
    assert stem_bandwidth_hz(spleeter) == 512 * 44100 / 2048
    open_unmix = create_model("open_unmix", "tiny").config
    assert open_unmix.bandwidth_hz < 22050  # of what its networks read
    assert stem_bandwidth_hz(open_unmix) == 22050
