"""`mssedu curves`: a figure of real runs in each format, and all mistakes."""

import json

import pytest
import torch

from mssedu.cli import commands as cli
from mssedu.data.track import Track
from mssedu.figures.curves import read_curves
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit, learning_rate_at

STEMS = ("hum", "hiss")
CONFIG = TrainConfig(
    model="open_unmix",
    preset="tiny",
    steps=6,
    valid_every=2,
    batch_size=1,
    segment=0.3,
    warmup_steps=4,
    schedule="cosine",
    device="cpu",
)


def song(seed):
    generator = torch.Generator().manual_seed(seed)
    audio = torch.rand(2, 2, 44100, generator=generator) - 0.5
    return Track.from_audio(f"song {seed}", dict(zip(STEMS, audio, strict=True)), 44100)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        model = create_model("open_unmix", "tiny", STEMS, n_layers=1, hidden=4)
        fit(model, [song(0)], [song(1)], CONFIG, folder / name)
    return folder


def run(*args):
    return cli.main(["curves", *(str(arg) for arg in args)])


@pytest.mark.parametrize(
    ("name", "begin"),
    [("one.pdf", b"%PDF"), ("one.PNG", b"\x89PNG"), ("new/one.svg", b"<?xml")],
)
def test_a_figure_in_each_format(runs, tmp_path, name, begin, capsys):
    out = tmp_path / name
    assert run(runs / "first", runs / "second", "-o", out) == 0
    assert out.read_bytes().startswith(begin)
    assert str(out) in capsys.readouterr().out
    assert run(runs / "first", "-o", out) == 0  # the older figure is replaced
    assert out.read_bytes().startswith(begin)


def test_the_curves_are_those_of_the_run(runs):
    found = read_curves(runs / "first")
    text = (runs / "first" / "history.jsonl").read_text("utf-8")
    entries = [json.loads(line) for line in text.splitlines()]
    assert found.steps == [2, 4, 6]
    assert found.loss == [entry["loss"] for entry in entries]
    assert [*found.usdr] == ["mean", *STEMS]
    assert found.usdr["hum"] == [entry["stems"]["hum"] for entry in entries]
    # A step counts from 0 for the schedule, and the history names steps that are done.
    assert found.learning_rate == [learning_rate_at(s - 1, CONFIG) for s in found.steps]
    assert [*found.baselines] == ["mixture", "silence"]
    assert found.loss_name == "waveform_l1"


def test_what_it_refuses(runs, tmp_path, capsys):
    wrong = {
        "no run is given": [],
        "not the folder of a run": [tmp_path],
        "Did you mean 'png'": [runs / "first", "-o", tmp_path / "one.jpg"],
        "nothing can be written": [runs / "first", "-o", __file__ + "/one.pdf"],
    }
    for text, args in wrong.items():
        assert run(*args) == 2
        assert text in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
