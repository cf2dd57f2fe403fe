"""The error budget: each switch changes one thing, and every row is written."""

import csv
import sys
from pathlib import Path

import pytest
import torch

import mssedu

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def budget():
    sys.path.insert(0, str(FOLDER))
    import error_budget

    yield error_budget
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return mssedu.create_model("spleeter", "tiny").eval()


@pytest.fixture(scope="module")
def song(model):
    sound = torch.randn(5, 2, 3 * 44100, generator=torch.Generator().manual_seed(0))
    stems = dict(zip(model.config.stems, 0.1 * sound[:4], strict=True))
    mixture = 0.1 * sound[:4].sum(0) + 0.01 * sound[4]  # as of a codec
    return mssedu.data.Track.from_audio("noise", stems, 44100, mixture=mixture)


def test_a_switch_changes_what_it_says(budget, model, song):
    sources = song.sources()
    summed = budget.summed(song)
    assert torch.allclose(summed.mixture(), sources.sum(0), atol=1e-6)
    assert not torch.allclose(song.mixture(), sources.sum(0), atol=1e-3)
    mono = budget.mono(song)
    assert torch.allclose(mono.sources()[:, 0], sources.mean(1), atol=1e-6)
    assert torch.equal(mono.mixture()[0], mono.mixture()[1])
    rounded = budget.rounded(model)
    pairs = zip(model.parameters(), rounded.parameters(), strict=True)
    ratios = [(b / a - 1).abs().max() for a, b in pairs if (a != 0).all()]
    assert 2**-12 < max(ratios) <= 2**-8


def test_rows_of_all_switches_are_written(budget, model, song, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "PIECE", 1.5)
    names = ["base", "sum", "context"]
    rows = budget.score_context(model, song, names)
    rows += budget.score_switches(model, [song], names, tmp_path)
    budget.write(rows, {"date": "today"}, tmp_path)
    with (tmp_path / "error_budget.csv").open(encoding="utf-8") as file:
        lines = [*csv.DictReader(file)]
    found = {(line["switch"], line["song"]) for line in lines}
    pieces = {(name, f"noise {n}") for name in ("alone", "context") for n in (1, 2)}
    assert found == pieces | {("base", "noise"), ("sum", "noise")}
    assert len(lines) == 4 * len(found)
    scores = {(line["switch"], line["stem"]): line["usdr"] for line in lines}
    assert scores["base", "vocals"] != scores["sum", "vocals"]
    assert all(line["csdr"] for line in lines)


def test_without_a_whole_song_nothing_is_separated(budget, song):
    assert budget.score_context(None, song, ["base"]) == []
