"""Every check of a training config; fields of a model; config.json; no torch needed."""

import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from mssedu.errors import CheckpointError, InputError
from mssedu.models import MODELS
from mssedu.models.registry import create_model, model_config, presets_of
from mssedu.training.config import TrainConfig, weights
from mssedu.training.fields import parse_fields
from mssedu.training.losses import LOSSES
from mssedu.training.runs import (
    check_same_model,
    config_changes,
    config_of_run,
    goes_on,
    read_run,
    settings_now,
)

WRONG = {
    "stems": [
        ((), "only once"),
        (("vocals", "vocals"), "only once"),
        (("band=bass+drums", "band=bass"), "only once"),
        (("band=",), "NAME=STEM"),
        ("vocals", "a tuple, got 'vocals'"),
    ],
    "steps": [(0, "steps must be")],
    "batch_size": [(0, "batch_size must be")],
    "valid_every": [(0, "valid_every must be")],
    "seed": [(-1, "seed must be")],
    "n_workers": [(-1, "n_workers must be")],
    "clip_norm": [(-1.0, "clip_norm must be")],
    "save_every": [(-1, "save_every must be")],
    "segment": [(0.0, "segment must be")],
    "learning_rate": [
        (0.0, "learning_rate must be"),
        (float("nan"), "learning_rate must be"),
    ],
    "betas": [((0.9, 1.0), r"betas\[1\] must"), ((-0.1, 0.9), r"betas\[0\] must")],
    "ema_decay": [
        (1.0, "ema_decay must be"),
        ((0.9, 0.0), "ema_decay must be"),
        ((0.9, 0.9), "ema_decay has a value twice"),
    ],
    "loss": [
        ((), "at least one loss"),
        (("waveform_l1=x",), r"NAME or NAME=WEIGHT .* got 'waveform_l1=x'"),
        (("waveform_l1=-1",), "at least 0"),
        (("waveform_l1", "waveform_l1=2"), "'waveform_l1' twice"),
    ],
    "stem_weights": [("vocals=2", r"a tuple.*\('vocals=2',\)"), (("=2",), "vocals=2")],
    "accumulate": [(0, "accumulate must be"), (3, "divide batch_size, got 3 parts")],
    "optimizer": [("adamm", "Did you mean 'adam'")],
    "weight_decay": [(-1.0, "weight_decay must be")],
    "svd_penalty": [(-1.0, "svd_penalty must be")],
    "plateau_factor": [(1.0, "plateau_factor must be"), (0.0, "plateau_factor must")],
    "plateau_patience": [(-1, "plateau_patience must be")],
    "valid_tracks": [(-1, "valid_tracks must be")],
    "valid_seconds": [(-1.0, "valid_seconds must be")],
    "early_stop": [(-1, "early_stop must be")],
    "best_metric": [("sdr", "Did you mean 'usdr'")],
    "init_partly": [(True, "init_partly needs init")],
    "warmup_steps": [(20_001, "warmup_steps must be"), (-1, "warmup_steps must be")],
    "schedule": [
        ("cosin", "Did you mean 'cosine'"),
        ("restarts", "restarts needs restart_every"),
        ("decay", "decay needs decay_every.*--decay-every 5000"),
    ],
    "decay_every": [(-1, "decay_every must be")],
    "decay_factor": [(1.0, "decay_factor must be"), (0.0, "decay_factor must be")],
    "restart_every": [(-1, "restart_every must be")],
    "precision": [("fp16", "precision 'fp16'")],
    "gain_db": [((6.0, -10.0), "gain_db must"), ((-200.0, 0.0), "gain_db must")],
}
CASES = [(field, *case) for field, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("field", "value", "text"), CASES)
def test_wrong_values_are_named(field, value, text):
    with pytest.raises(InputError, match=text):
        TrainConfig(**{field: value})


def test_stems_may_say_what_they_are_made_of():
    stems = ("instrumental=-vocals", "no_bass")
    assert TrainConfig(stems=stems).stems == stems
    assert TrainConfig().stems is None  # those of the preset


def test_settings_of_the_first_versions_become_tuples():
    config = TrainConfig(loss="waveform_mse", ema_decay=0.9)
    assert (config.loss, config.ema_decay) == (("waveform_mse",), (0.9,))
    assert TrainConfig(ema_decay=0.0).ema_decay == ()
    old = {"loss": "waveform_mse", "ema_decay": 0.9}
    assert config_of_run({"train_config": old}) == config
    now = settings_now(old)
    assert (now["loss"], now["ema_decay"]) == (("waveform_mse",), (0.9,))
    assert settings_now({"ema_decay": 0.0})["ema_decay"] == ()


def test_weights_are_numbers_by_name():
    assert weights("loss", ("a", "b = 0.5")) == {"a": 1.0, "b": 0.5}


def test_the_default_loss_exists():
    assert {*TrainConfig().loss} <= LOSSES.keys()


def test_needs_no_torch():
    code = "import sys, mssedu.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---- fields of a model --------------------------------------------------------------

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
        ("channels=one", "channels must be a whole number, got 'one'"),
        ("channels=1.5", "channels must be a whole number"),
        ("dropout=", "dropout must be a number, got ''"),
        ("softmax=2", "softmax must be true or false"),
        ("mask_extension=", "mask_extension must be a word"),
        ("filters=8,x", "filters must be a whole number, got 'x'"),
        ("stems=a", "--stems"),
    ],
)
def test_mistakes_are_named(word, text):
    with pytest.raises(InputError, match=text):
        parse_fields(SPLEETER, [word])


def test_a_word_outside_the_choice_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'softmax'"):
        parse_fields(TASNET, ["mask=soft"])


# ---- a run that goes on --------------------------------------------------------------


def test_no_document_and_a_damaged_one(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        read_run(tmp_path)
    no_text = '{"train_config": {"model": null}}'
    for text in ("{", "[]", '{"train_config": 3}', no_text):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match="the settings of a run"):
            read_run(tmp_path)


def test_a_setting_of_another_version_is_named():
    with pytest.raises(
        InputError, match=r"config\.json.*'stepps'\. Did you mean 'steps'"
    ):
        config_of_run({"train_config": {"stepps": 1}})


def test_what_resume_means(tmp_path):
    assert goes_on(tmp_path, True)
    assert not goes_on(tmp_path, False)
    assert not goes_on(tmp_path, "auto")
    (tmp_path / "last.json").touch()
    assert goes_on(tmp_path, "auto")
    with pytest.raises(InputError, match=r"already holds a run.*--resume"):
        goes_on(tmp_path, False)
    with pytest.raises(InputError, match="got 'yes'"):
        goes_on(tmp_path, "yes")


DUO = TrainConfig(stems=("dizi", "pipa"))


def test_fields_that_came_or_went_are_named():
    changes = config_changes({"a": 1, "b": 2, "d": (1,)}, {"b": 2, "c": 3, "d": [1]})
    assert changes == "a: 1 -> None, c: None -> 3"
    assert config_changes({"a": 1, "b": 2}, {"a": 3, "b": 4}, without=["a"]) == (
        "b: 2 -> 4"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"stems": ("pipa", "dizi")},
        {"stems": ("dizi",)},
        {"stems": ("dizi", "pipa=-dizi")},
        {"model": "open_unmix"},
        {"preset": "tiny"},
    ],
    ids=str,
)
def test_another_model_is_never_taken(change):
    old = asdict(DUO)
    check_same_model("run", old, asdict(replace(DUO, seed=5)))
    with pytest.raises(CheckpointError, match=r"never change within a run.*--run-dir"):
        check_same_model("run", old, asdict(replace(DUO, **change)))
