"""Settings of a model from words: every type, and every mistake named."""

import pytest

from mssedu.errors import InputError
from mssedu.models import MODELS
from mssedu.models.registry import create_model, model_config, presets_of
from mssedu.training.model_fields import parse_fields

SPLEETER, TASNET = model_config("spleeter", "tiny"), model_config("conv_tasnet", "tiny")


def test_every_type_of_field():
    words = ["channels=1", "dropout = 0", "softmax=Yes", "encoder_activation=relu"]
    assert parse_fields(SPLEETER, [*words, "filters=8, 16"]) == {
        "channels": 1,
        "dropout": 0.0,
        "softmax": True,
        "encoder_activation": "relu",
        "filters": (8, 16),
    }
    assert parse_fields(TASNET, ["mask=softmax", "causal=false"]) == {
        "mask": "softmax",
        "causal": False,
    }
    assert parse_fields(SPLEETER, ["channels=1", "channels=2"]) == {"channels": 2}


def test_the_model_gets_what_was_read():
    changes = parse_fields(SPLEETER, ["channels=1", "sample_rate=48000"])
    config = create_model("spleeter", "tiny", **changes).config
    assert (config.channels, config.sample_rate) == (1, 48000)


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_every_model_can_be_read(name):
    for config in presets_of(name).values():
        for field, value in vars(config).items():
            if field != "stems":
                text = ",".join(map(str, value)) if type(value) is tuple else value
                assert parse_fields(config, [f"{field}={text}"]) == {field: value}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("channels", "FIELD=VALUE, got 'channels'"),
        ("chanels=1", "Did you mean 'channels'"),
        ("channels=one", "a whole number for channels, got 'one'"),
        ("channels=1.5", "a whole number for channels"),
        ("dropout=", "a number for dropout, got ''"),
        ("softmax=2", "true or false for softmax"),
        ("mask_extension=", "a word for mask_extension"),
        ("filters=8,x", "a whole number for filters, got 'x'"),
        ("stems=a", "--stems"),
    ],
)
def test_mistakes_are_named(word, text):
    with pytest.raises(InputError, match=text):
        parse_fields(SPLEETER, [word])


def test_a_word_outside_the_choice_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'softmax'"):
        parse_fields(TASNET, ["mask=soft"])
