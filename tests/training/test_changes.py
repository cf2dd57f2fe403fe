"""What may differ when a run goes on: never, if allowed, always."""

import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from mssedu.errors import CheckpointError, InputError
from mssedu.training.changes import (
    check_allowed,
    check_data,
    check_same_model,
    check_steps,
    config_changes,
    data_changes,
)
from mssedu.training.config import TrainConfig

CONFIG = TrainConfig(stems=("dizi", "pipa"))


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
    old = asdict(CONFIG)
    check_same_model("run", old, asdict(replace(CONFIG, seed=5)))
    with pytest.raises(CheckpointError, match=r"never change within a run.*--run-dir"):
        check_same_model("run", old, asdict(replace(CONFIG, **change)))


def test_fewer_steps_than_done_are_refused():
    check_steps("run", 5, 5)
    with pytest.raises(InputError, match="at least the 5 steps that are done"):
        check_steps("run", 5, 4)


def test_allowed_differences_pass_and_others_name_the_flag():
    for check, flag in (
        (check_allowed, "--allow-config-change .*allow_config_change=True in Python"),
        (check_data, "--allow-data-change .*allow_data_change=True in Python"),
    ):
        check("run", "", is_allowed=False)
        check("run", "a: 1 -> 2", is_allowed=True)
        with pytest.raises(CheckpointError, match="got a: 1 -> 2.*" + flag):
            check("run", "a: 1 -> 2", is_allowed=False)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (None, ("a", "b"), ""),
        (("a", "b"), ("a", "b"), ""),
        (("a", None), ("a", "b"), "validation songs"),
        (("a", "b"), ("a", "c"), "other validation songs"),
        (("a", "b"), ("c", None), "other training songs, no validation"),
    ],
)
def test_which_songs_differ(old, new, text):
    names = ("train", "valid")
    before = old and dict(zip(names, old, strict=True))
    assert data_changes(before, dict(zip(names, new, strict=True))) == text


def test_needs_no_torch():
    code = (
        "import sys, mssedu.training.changes, mssedu.training.run_document\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
