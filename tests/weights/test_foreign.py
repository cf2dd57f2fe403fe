"""Files of other programs: read as plain values, or refused before anything runs."""

import argparse
import json
import os
import pickle
import zipfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mssedu.errors import CheckpointError
from mssedu.weights.foreign import read_weights

STATE = {"a.weight": torch.rand(3, 2).half(), "a.steps": torch.tensor(3)}
SETTINGS = Path(__file__).with_name("settings.ckpt")


class Attack:
    """A pickle of this runs a command where it is unpickled carelessly."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def package(klass, **changes):
    return {
        "klass": klass,
        "args": (),
        "kwargs": {"sources": ["b", "a"], "segment": Fraction(39, 5)},
        "state": STATE,
        "training_args": {"optim": {"lr": 3e-4}, "x": [None, True, 1.5]},
        **changes,
    }


def assert_state(weights):
    assert weights.state.keys() == STATE.keys()
    assert weights.state["a.weight"].dtype == torch.float32
    assert torch.equal(weights.state["a.weight"], STATE["a.weight"].float())
    assert weights.state["a.steps"].dtype == torch.int64


def stand_in(name):
    """A class that pickles under another name, as the original would."""
    module, _, short = name.rpartition(".")
    return type(short, (), {"__module__": module, "__qualname__": short})


@pytest.fixture
def save(monkeypatch, tmp_path):
    """torch.save, with the classes of a package that is not installed here."""

    def save(content, *klasses, **options):
        for klass in klasses:
            module = type(os)(klass.__module__)
            setattr(module, klass.__name__, klass)
            monkeypatch.setitem(os.sys.modules, klass.__module__, module)
        torch.save(content, tmp_path / "a.th", **options)
        for klass in klasses:
            monkeypatch.delitem(os.sys.modules, klass.__module__)
        return tmp_path / "a.th"

    return save


@pytest.mark.parametrize("new_format", [True, False])
def test_a_demucs_package_gives_class_name_arguments_and_state(save, new_format):
    klass = stand_in("demucs.htdemucs.HTDemucs")
    path = save(package(klass), klass, _use_new_zipfile_serialization=new_format)
    weights = read_weights(path)
    assert_state(weights)
    assert weights.klass == "demucs.htdemucs.HTDemucs"
    assert weights.arguments == {"sources": ["b", "a"], "segment": Fraction(39, 5)}


def test_a_package_of_demucs_2_holds_a_namespace_and_one_of_demucs_1_is_a_tuple(save):
    klass = stand_in("demucs.model.Demucs")
    path = save(package(klass, training_args=argparse.Namespace(lr=1)), klass)
    assert read_weights(path).arguments["sources"] == ["b", "a"]
    weights = read_weights(save((klass, (["x"],), {"depth": 3}, STATE), klass))
    assert weights.arguments == {"sources": ["x"], "depth": 3}
    assert_state(weights)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model_state_dict": STATE, "optimizer_state_dict": {"state": {}}},
        {"state": {"x": torch.zeros(1)}, "best_state": STATE, "epoch": 3},
        {"state": STATE, "best_state": None},
        {"model": STATE},
    ],
)
def test_a_state_dict_alone(save, content):
    weights = read_weights(save(content))
    assert_state(weights)
    assert weights.klass is None


def test_settings_of_omegaconf_are_passed_over():
    """As PyTorch Lightning writes them, see make_settings.py."""
    assert torch.equal(read_weights(SETTINGS).state["w"], torch.ones(2))


def test_no_stand_in_for_a_setting_takes_arguments(save):
    """A file could ask for the integer of a text of a million digits."""
    for call in ((int, ("9" * 100,)), (list, ([1],))):
        asks = type("Asks", (), {"__reduce__": lambda self, call=call: call})
        content = {"state_dict": STATE, "hyper_parameters": asks()}
        with pytest.raises(CheckpointError, match="takes no arguments"):
            read_weights(save(content))


def test_a_default_dict_calls_nothing(save, tmp_path):
    content = {"state_dict": STATE, "x": defaultdict(list, {"a": [1]})}
    assert_state(read_weights(save(content)))


def test_safetensors_with_and_without_the_arguments(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(STATE, path)
    assert_state(read_weights(path))
    kwargs = {
        "sources": ["b", "a"],
        "segment": {"_type": "fraction", "numerator": 39, "denominator": 5},
    }
    facts = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]"}
    facts["kwargs"] = json.dumps(kwargs)
    safetensors.torch.save_file(STATE, path, facts)
    weights = read_weights(path)
    assert_state(weights)
    assert weights.klass == facts["klass"]
    assert weights.arguments == {"sources": ["b", "a"], "segment": Fraction(39, 5)}


# ---- refused ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["whole", "state", "kwargs"])
@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path, how, place):
    mark, path = tmp_path / "ran", tmp_path / "a.th"
    attack = Attack(mark)
    content = attack if place == "whole" else {place: {"x": attack}, "y": STATE}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError, match=r"plain values: .*No code"):
        read_weights(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(attack))  # the attack itself would have worked
    assert mark.exists()


def test_an_unknown_class_is_named(save):
    klass = stand_in("somewhere.Thing")
    with pytest.raises(CheckpointError, match=r"somewhere\.Thing"):
        read_weights(save({"klass": klass, **STATE}, klass))


def test_the_stand_in_cannot_be_made_to_do_anything(save, tmp_path):
    """A file may call the class it names: an empty one of ours, which takes nothing."""
    klass = stand_in("demucs.htdemucs.HTDemucs")
    klass.__reduce__ = lambda self: (klass, ("touch",))
    with pytest.raises(CheckpointError, match="takes no arguments"):
        read_weights(save(klass(), klass))


def test_quantized_weights_are_refused(save, tmp_path):
    klass = stand_in("demucs.hdemucs.HDemucs")
    quantized = package(klass, state={"__quantized": True, "packed": [1]})
    with pytest.raises(CheckpointError, match="DiffQ"):
        read_weights(save(quantized, klass))
    with pytest.raises(CheckpointError, match="DiffQ"):
        read_weights(save({"compressed": b"x"}))
    path = tmp_path / "a.safetensors"
    facts = {"klass": "demucs.hdemucs.HDemucs", "structure": "{}"}
    safetensors.torch.save_file(STATE, path, facts)
    with pytest.raises(CheckpointError, match="DiffQ"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([1, 2], "state dict, but a list"),
        ({"lr": 1}, "but a dict with 'lr'"),
        ({}, "but a dict with nothing in it"),
    ],
)
def test_what_is_no_state_dict(save, content, match):
    with pytest.raises(CheckpointError, match=match):
        read_weights(save(content))


def test_damaged_files(tmp_path):
    path = tmp_path / "a.th"
    with pytest.raises(CheckpointError, match="there is no file"):
        read_weights(path)
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"Copy or download|No code"):
        read_weights(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", "y")
    with pytest.raises(CheckpointError, match="copy or download it again"):
        read_weights(path)
    path.with_suffix(".safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(CheckpointError, match="as safetensors"):
        read_weights(path.with_suffix(".safetensors"))


def test_an_own_checkpoint_without_its_json_says_so(tmp_path):
    path = tmp_path / "best.safetensors"
    safetensors.torch.save_file(STATE, path, {"mssedu": "0.1.0"})
    with pytest.raises(CheckpointError, match=r"Copy best\.json too"):
        read_weights(path)
