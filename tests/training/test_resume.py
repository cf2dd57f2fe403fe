"""config.json: settings that come back, phases, and what may differ on going on."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from mssedu.errors import CheckpointError, InputError
from mssedu.training.config import TrainConfig
from mssedu.training.resume import (
    check_allowed,
    check_data,
    check_same_model,
    check_steps,
    command_of_run,
    config_changes,
    config_of_run,
    data_changes,
    goes_on,
    read_run,
    start_folder,
    write_run,
)

CONFIG = TrainConfig(model="open_unmix", stems=("no_vocals",), gain_db=(-3.0, 3.0))


def write(folder, from_step, **changes):
    phase = {"from_step": from_step, "train_config": {"steps": 5}, "command": None}
    write_run(folder, {"train_config": asdict(CONFIG)}, phase | changes)
    return read_run(folder)["phases"]


def test_settings_come_back_as_they_were(tmp_path):
    write(tmp_path, 0, command={"data": "songs"})
    document = read_run(tmp_path)
    assert config_of_run(document) == CONFIG
    assert command_of_run(document) == {"data": "songs"}
    write(tmp_path, 0)
    assert command_of_run(read_run(tmp_path)) == {}


def test_only_what_differs_is_a_phase(tmp_path):
    assert len(write(tmp_path, 0)) == 1
    assert len(write(tmp_path, 3)) == 1
    phases = write(tmp_path, 5, device="cuda:0")
    assert [phase["from_step"] for phase in phases] == [0, 5]
    assert phases[1]["device"] == "cuda:0"


def test_a_phase_without_steps_is_replaced(tmp_path):
    write(tmp_path, 0)
    write(tmp_path, 5, device="cuda:0")  # killed before the first save
    phases = write(tmp_path, 5, device="cuda:1")
    assert [phase.get("device") for phase in phases] == [None, "cuda:1"]
    assert len(write(tmp_path, 0, device="mps")) == 1


def test_a_document_without_phases_was_one_phase(tmp_path):
    old = {"train_config": asdict(CONFIG), "torch": "2.0", "device": "cpu"}
    (tmp_path / "config.json").write_text(json.dumps(old), "utf-8")
    first, second = write(tmp_path, 4)
    assert (first["from_step"], second["from_step"]) == (0, 4)
    assert first["versions"]["torch"] == "2.0"
    assert first["train_config"]["stems"] == ["no_vocals"]


def test_no_document_and_a_damaged_one(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        read_run(tmp_path)
    for text in ("{", "[]", '{"train_config": 3}'):
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
    with pytest.raises(InputError, match="got 'yes'"):
        goes_on(tmp_path, "yes")


def test_a_folder_holds_one_run(tmp_path):
    start_folder(tmp_path / "雨天" / "#1")
    assert (tmp_path / "雨天" / "#1").is_dir()
    (tmp_path / "last.json").touch()
    with pytest.raises(InputError, match=r"already holds a run.*--resume"):
        start_folder(tmp_path)


# ---- what may differ -----------------------------------------------------------------

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


def test_fewer_steps_than_done_are_refused():
    check_steps("run", 5, 5)
    with pytest.raises(InputError, match=r"steps is 4, .* 5 steps"):
        check_steps("run", 5, 4)


def test_allowed_differences_pass_and_others_name_the_flag():
    for check, flag in (
        (check_allowed, "--allow-config-change .*allow_config_change=True in Python"),
        (check_data, "--allow-data-change .*allow_data_change=True in Python"),
    ):
        check("run", "", is_allowed=False)
        check("run", "a: 1 -> 2", is_allowed=True)
        with pytest.raises(CheckpointError, match="a: 1 -> 2.*" + flag):
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
    code = "import sys, mssedu.training.resume\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
