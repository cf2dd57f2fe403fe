"""The functions of the contract; test_contract.py checks the models themselves."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mssedu.errors import InputError
from mssedu.models.contract import (
    check_config,
    check_odd,
    check_stft,
    chunk_seconds,
    config_of,
    device_of,
    eval_mode,
    prepare,
    stem_bandwidth_hz,
)
from mssedu.models.registry import create_model, list_models

GOOD = {"stems": ("a", "b"), "sample_rate": 8000, "channels": 1, "segment": 0.5}

# ---- checks of configs --------------------------------------------------------------


def test_good_values_pass():
    assert check_config(SimpleNamespace(**GOOD)) is None
    assert check_config(SimpleNamespace(**GOOD | {"stems": ("雨",)})) is None
    assert check_stft(4096, 2048) is None
    assert check_odd("kernel", 1) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stems", "ab"),
        ("stems", ["a", "b"]),
        ("stems", ()),
        ("stems", ("a", "a")),
        ("stems", ("",)),
        ("stems", (1,)),
        ("sample_rate", 0),
        ("channels", 0),
        ("segment", 0.0),
    ],
)
def test_bad_values_are_named(field, value):
    with pytest.raises(InputError, match=f"^{field} must"):
        check_config(SimpleNamespace(**GOOD | {field: value}))


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "text"),
    [(7, 2, "n_fft"), (0, 1, "n_fft"), (8, 0, "hop_length"), (8, 5, "from 1 to 4")],
)
def test_stft_without_an_inverse_is_named(n_fft, hop_length, text):
    with pytest.raises(InputError, match=text):
        check_stft(n_fft, hop_length)


@pytest.mark.parametrize("size", [0, -1, 4])
def test_kernels_without_a_middle_are_named(size):
    with pytest.raises(InputError, match=f"kernel must be odd.*{size}"):
        check_odd("kernel", size)


# ---- what the rest of the package asks a model --------------------------------------


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_what_inference_needs(name):
    config = config_of(create_model(name, "tiny"))
    assert config.stems
    assert config.sample_rate > 0
    assert config.channels > 0
    assert config.segment > 0


def test_a_model_without_a_config_is_named():
    with pytest.raises(InputError, match="Linear lacks stems, sample_rate, channels"):
        config_of(nn.Linear(1, 1))


def test_prepare_is_called_where_a_model_has_it():
    class Prepared(nn.Module):
        def prepare(self, excerpts):
            self.excerpts = list(excerpts)

    model = Prepared()
    prepare(model, iter([torch.ones(2, 3)]))
    assert len(model.excerpts) == 1
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
    with pytest.warns(UserWarning, match=r"segment is 12\.0 s.*using 7\.8 s"):
        assert chunk_seconds(config, 12) == 7.8
    with pytest.raises(InputError, match=r"segment is 12\.0 s.*at most 7\.8 s"):
        chunk_seconds(config, 12, strict=True)


@pytest.mark.parametrize("segment", [0, -1.0, float("nan")])
def test_a_chunk_takes_time(segment):
    config = SimpleNamespace(segment=5.0)
    with pytest.raises(InputError, match="segment must"):
        chunk_seconds(config, segment)


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
