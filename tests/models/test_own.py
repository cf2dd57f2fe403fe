"""Architectures from a file of the user: contract, checkpoint, command line."""

import json
from pathlib import Path

import pytest
import torch

from mssedu.cli.commands import main
from mssedu.errors import InputError, MssEduWarning
from mssedu.models import own
from mssedu.models.contract import config_of
from mssedu.models.registry import class_of, create_model, presets_of
from mssedu.training.loop import fit
from mssedu.weights.checkpoint import (
    load_checkpoint,
    model_name,
    read_checkpoint,
    save_checkpoint,
)
from mssedu.weights.loading import load_model
from tests.training.test_loop import TRAIN, VALID, change

TEXT = '''
"""A gain for each stem and channel."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class GainConfig:
    stems: tuple[str, ...] = ("hum", "hiss")
    sample_rate: int = 8000
    channels: int = 2
    segment: float = 0.3
    start: float = 0.5


class Gain(nn.Module):
    def __init__(self, config: GainConfig) -> None:
        super().__init__()
        self.config = config
        shape = (len(config.stems), config.channels, 1)
        self.gain = nn.Parameter(torch.full(shape, config.start))

    def forward(self, mixture):
        return self.gain * mixture[:, None]
'''


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(own, "LOADED", {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_net.py"
    path.write_text(TEXT)
    return path


def written(path, old, new):
    assert TEXT.count(old) == 1
    path.write_text(TEXT.replace(old, new))
    return f"{path}:Gain"


def test_a_file_gives_a_model_like_all_others(file):
    net = create_model(f"{file}:Gain", stems=("a", "b", "c"), start=2.0)
    assert config_of(net).stems == ("a", "b", "c")
    assert net(torch.ones(1, 2, 5)).shape == (1, 3, 2, 5)
    assert model_name(net) == "my_net.py:Gain"
    assert class_of("my_net.py:Gain") is type(net)
    assert sorted(presets_of("my_net.py:Gain")) == ["paper"]


def test_a_changed_file_is_run_again_and_an_unchanged_one_is_not(file):
    first = create_model(f"{file}:Gain")
    assert type(create_model(f"{file}:Gain")) is type(first)
    written(file, "start: float = 0.5", "start: float = 0.25")
    second = create_model(f"{file}:Gain")
    assert second.config.start == 0.25
    assert model_name(first) == model_name(second) == "my_net.py:Gain"


def test_its_own_presets_count(file):
    file.write_text(TEXT + '\nPRESETS = {"tiny": GainConfig(start=1.0)}\n')
    assert create_model(f"{file}:Gain", "tiny").config.start == 1.0
    other = create_model(f"{file}:Gain", "tiny", stems=("a", "b", "c"))
    assert other.config.stems == ("a", "b", "c")
    with pytest.raises(InputError, match="unknown preset"):
        create_model(f"{file}:Gain", "paper")


def test_a_checkpoint_runs_no_file(file, monkeypatch, tmp_path):
    net = create_model(f"{file}:Gain", start=3.0)
    path = save_checkpoint(tmp_path / "a.safetensors", net)
    document = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert document["model"] == "my_net.py:Gain"
    assert document["model_file_sha256"] == own.LOADED["my_net.py"].sha256
    monkeypatch.setattr(own, "LOADED", {})
    monkeypatch.chdir(tmp_path)  # where the file is, so that it could be run
    with pytest.raises(InputError, match=r"not loaded.*--model-file my_net\.py"):
        load_model(path)
    assert not own.LOADED
    again = load_model(path, model_file=file)
    assert torch.equal(again.gain, net.gain)
    assert again.config.start == 3.0


def test_another_file_is_told(file, tmp_path):
    path = save_checkpoint(tmp_path / "a.safetensors", create_model(f"{file}:Gain"))
    file.write_text(TEXT + "\n# a comment\n")
    with pytest.warns(MssEduWarning, match=r"my_net\.py:Gain has changed since"):
        load_model(path, model_file=file)


def test_a_run_trains_it_and_goes_on(file, tmp_path):
    config = change(model=f"{file}:Gain", preset="paper", steps=2)
    net = create_model(config.model)
    result = fit(net, TRAIN, VALID, config, tmp_path / "run")
    assert load_checkpoint(result.checkpoint).config.start == 0.5
    longer = change(model="my_net.py:Gain", preset="paper", steps=4)
    options = {"resume": True, "allow_config_change": True}
    more = fit(net, TRAIN, VALID, longer, tmp_path / "run", **options)
    assert [entry["step"] for entry in more.history] == [2, 4]
    assert read_checkpoint(result.checkpoint).model == "my_net.py:Gain"


def test_card_and_its_file(file, tmp_path, capsys, monkeypatch):
    path = save_checkpoint(tmp_path / "a.safetensors", create_model(f"{file}:Gain"))
    monkeypatch.setattr(own, "LOADED", {})
    assert main(["card", str(path), "--device", "cpu"]) == 2
    assert "--model-file my_net.py" in capsys.readouterr().err.replace("\n", " ")
    words = ["--device", "cpu", "--format", "csv"]
    assert main(["card", str(path), "--model-file", str(file), *words]) == 0
    assert "parameters,4" in capsys.readouterr().out
    assert main(["card", f"{file}:Gain", *words]) == 0
    assert "parameters,4" in capsys.readouterr().out


# ---- files and models that cannot work


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("@dataclass(frozen=True)", "@dataclass", "not a frozen dataclass"),
        ("config: GainConfig)", "config)", "does not say what its config is"),
        (' = ("hum", "hiss")', "", "a default for each field"),
        ("    segment: float = 0.3\n", "", "lacks segment"),
        ("segment: float = 0.3", "segment: float = -1.0", "segment must be"),
        ("self.gain * mixture[:, None]", "mixture", r"must return .* got \(1, 2, "),
        ("self.gain * mixture[:, None]", "1", "got int"),
        (
            "return self.gain * mixture[:, None]",
            "return self.gain * mixture.mul_(2)[:, None]",
            "in place",
        ),
        (
            "self.gain * mixture[:, None]",
            "self.gain * mixture.unfold(-1, 9, 1)[:, None]",
            "cannot separate|must return",
        ),
        ("import torch\n", "import no_such_package\n", "cannot be run: ModuleNotFound"),
    ],
)
def test_what_a_file_lacks_is_named(file, old, new, text):
    with pytest.raises(InputError, match=text):
        create_model(written(file, old, new))


def test_names_that_are_no_class_or_no_file(file, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'Gain'"):
        create_model(f"{file}:Gian")
    with pytest.raises(InputError, match=r"no file .*none\.py with a model"):
        create_model(f"{tmp_path / 'none.py'}:Gain")
    with pytest.raises(InputError, match=r"no file .*with a model"):
        load_model("x", model_file=Path(tmp_path))
