"""Full disks while training, and files of a run with any content."""

import copy
import dataclasses
import errno
import json
import shutil
from collections import namedtuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssedu.errors import CheckpointError, DiskError, InputError, MssEduError
from mssedu.training.loop import fit
from mssedu.training.record import RunRecord, check_run_room
from mssedu.training.runs import command_of_run, config_of_run, read_run
from mssedu.training.state import TrainState, checkpoint_bytes
from mssedu.weights.checkpoint import read_checkpoint
from tests.evaluation.test_disk import JSON, changed
from tests.training.test_loop import CONFIG, TRAIN, VALID, model
from tests.training.test_record import state, step

__all__ = ["state"]  # a fixture

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch):
    """Sets the free space that every disk reports."""

    def set_free(free):
        usage = Usage(10**12, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)

    return set_free


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# ---- room ---------------------------------------------------------------------------


def test_a_run_never_takes_more_than_was_asked_for(tmp_path, monkeypatch):
    """The peak of the disk's use, as seen at each change of a file."""
    network, asked, seen = model(), [], []

    def usage(folder):
        seen.append(size(tmp_path))
        return Usage(10**12, 0, 10**12)

    def note(folder, n_bytes, purpose):
        asked.append(n_bytes)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr("mssedu.training.record.check_room", note)
    fit(network, TRAIN, VALID, CONFIG, tmp_path)
    assert len(asked) == 1
    largest = checkpoint_bytes(network, CONFIG)
    assert max(seen) + largest <= asked[0]
    assert (tmp_path / "last.safetensors").stat().st_size <= largest


def test_too_little_room_is_told_before_the_first_step(tmp_path, disk):
    disk(500_000)
    text = r"run: the disk is too full: the files of a run of 6 steps need .* are free"
    with pytest.raises(DiskError, match=text):
        fit(model(), TRAIN, VALID, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_files_that_are_there_need_no_more_room(tmp_path, disk, state):
    network, config = state.model, state.config
    last = checkpoint_bytes(network, config)
    disk(2 * last)
    with pytest.raises(DiskError):
        check_run_room(tmp_path, network, config, is_validated=False)
    with (tmp_path / "last.safetensors").open("wb") as file:
        file.truncate(last + 200 * config.steps)
    check_run_room(tmp_path, network, config, is_validated=False)


def test_a_folder_that_cannot_be_is_told_before_the_first_step(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="nothing can be written there"):
        fit(model(), TRAIN, VALID, CONFIG, tmp_path / "file" / "run")


def test_a_disk_that_fills_up_keeps_the_last_state(tmp_path, disk, state):
    text = r"the disk is too full: .* step 2 need .* state of step 1 is kept.*--resume"

    def filled():
        with RunRecord(tmp_path, state, print) as record:
            step(record, 1.0)
            record.keep_state()
            disk(1000)
            step(record, 1.0)
            record.keep_state()

    with pytest.raises(DiskError, match=text):
        filled()
    assert read_checkpoint(tmp_path / "last.safetensors").facts["step"] == 1
    assert not [*tmp_path.glob(".*")]


@pytest.mark.parametrize("place", ["add_scalar", "flush", "close"])
def test_curves_that_do_not_fit_are_told_too(tmp_path, state, monkeypatch, place):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def filled():
        with RunRecord(tmp_path, state, print) as record:
            monkeypatch.setattr(record.curves, place, full)
            step(record, 1.0)
            record.keep_state()

    with pytest.raises(DiskError, match=r"No space left.*disk is full.*--resume"):
        filled()


def test_other_errors_of_the_curves_stay_as_they_are(tmp_path, state, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    def closed(error=None):
        with RunRecord(tmp_path, state, print) as record:
            monkeypatch.setattr(record.curves, "close", failing)
            if error:
                raise error

    with pytest.raises(OSError, match="Input/output"):
        closed()
    with pytest.raises(MssEduError, match="first"):  # the first error counts
        closed(MssEduError("first"))


# ---- any content --------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    command = {"data": "songs", "valid_data": None, "no_valid": False}
    command |= {"on_length": "error", "in_memory": False, "set": ["channels=1"]}
    fit(model(), TRAIN, VALID, CONFIG, folder, command=command)
    return folder


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_settings_of_a_run_are_read_or_refused(run, tmp_path_factory, data):
    document = json.loads((run / "config.json").read_text("utf-8"))
    del document["usdr_without_model"], document["train_tracks"]
    folder = tmp_path_factory.mktemp("changed")
    text = json.dumps(changed(document, data))
    text = data.draw(st.sampled_from([text, text[:-9], "[" * 99999, "3", '"a"']))
    (folder / "config.json").write_text(text)
    try:
        found = read_run(folder)
        assert config_of_run(found).steps >= 1
        assert isinstance(command_of_run(found), dict)
    except (CheckpointError, InputError):
        pass


def test_pairs_have_two_numbers():
    for wrong in ((1.0,), 1.0, (1.0, 2.0, 3.0)):
        with pytest.raises(InputError, match="gain_db must be a tuple of two numbers"):
            dataclasses.replace(CONFIG, gain_db=wrong)


def test_a_model_without_a_name_is_refused(run, tmp_path):
    shutil.copy(run / "last.safetensors", tmp_path)
    document = json.loads((run / "last.json").read_text("utf-8"))
    document["facts"]["train_config"]["model"] = None
    (tmp_path / "last.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"train_config\.model is not a text"):
        TrainState(model(), CONFIG).restore(tmp_path / "last.safetensors")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_facts_of_a_state_are_read_or_refused(run, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("changed")
    for name in ("last.safetensors", "last.json"):
        shutil.copy(run / name, folder / name)
    document = json.loads((folder / "last.json").read_text("utf-8"))
    facts = copy.deepcopy(document["facts"])
    document["facts"] = (
        changed(facts, data)
        if data.draw(st.booleans())
        else {
            **facts,
            data.draw(st.sampled_from([*facts])): data.draw(JSON),
        }
    )
    (folder / "last.json").write_text(json.dumps(document))
    restored = TrainState(model(), CONFIG)
    try:
        options = {"allow_config": True, "allow_data": True}
        restored.restore(folder / "last.safetensors", **options)
    except (CheckpointError, InputError):
        return
    assert restored.step >= 0
