"""config.json: settings that come back, and phases that tell the whole story."""

import json
from dataclasses import asdict

import pytest

from mssedu.errors import CheckpointError, InputError
from mssedu.training.config import TrainConfig
from mssedu.training.run_document import (
    command_of_run,
    config_of_run,
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
    with pytest.raises(InputError, match=r"the folder of a run, got no config\.json"):
        read_run(tmp_path)
    for text in ("{", "[]", '{"train_config": 3}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match="expected the settings of a run"):
            read_run(tmp_path)


def test_a_setting_of_another_version_is_named():
    with pytest.raises(InputError, match=r"got 'stepps'\. Did you mean 'steps'"):
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
    with pytest.raises(InputError, match=r"without a run, got last\.json.*--resume"):
        start_folder(tmp_path)
