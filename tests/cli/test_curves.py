"""`mssedu curves`: a figure of real runs in each format, and all mistakes."""

import json
from dataclasses import replace

import pytest
import torch

from mssedu.cli import commands as cli
from mssedu.data.track import Track
from mssedu.figures.curves import learning_figure, read_curves
from mssedu.models.registry import create_model
from mssedu.training.config import TrainConfig
from mssedu.training.loop import fit
from mssedu.training.optimizers import learning_rate_at

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


def test_seeds_of_one_recipe_are_a_band(runs, tmp_path):
    for seed in (1, 2):
        model = create_model("open_unmix", "tiny", STEMS, n_layers=1, hidden=4)
        config = replace(CONFIG, seed=seed)
        fit(model, [song(0)], [song(1)], config, tmp_path / f"seed{seed}")
    folders = [runs / "first", tmp_path / "seed1", tmp_path / "seed2"]
    figure = learning_figure(folders, seeds=True)
    panel = next(a for a in figure.axes if a.get_title("left") == "Training loss")
    (line,) = panel.lines
    losses = [read_curves(folder).loss for folder in folders]
    columns = [*zip(*losses, strict=True)]
    assert line.get_ydata().tolist() == pytest.approx([sum(c) / 3 for c in columns])
    (band,) = panel.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(min(map(min, columns)))
    assert heights.max() == pytest.approx(max(map(max, columns)))
    assert run(*folders, "--seeds", "-o", tmp_path / "band.pdf") == 0
    # Without the flag, and for other settings, each run has a line of its own.
    figure = learning_figure(folders)
    panel = next(a for a in figure.axes if a.get_title("left") == "Training loss")
    assert len(panel.lines) == 3
