"""The HTDemucs lab: grids, stored results of notebook 16, and a variant in a file."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import mssedu as ms
from mssedu.training.grid import read_grid

LAB = Path(__file__).resolve().parents[2] / "recipes" / "htdemucs_lab"
GRIDS = ("equal_steps", "equal_seconds", "four_stems")
N_SONGS = 25


@pytest.fixture(params=GRIDS)
def grid(request):
    return request.param, read_grid(LAB / f"{request.param}.toml")


def stems_of(grid):
    return grid.runs[0].recipe.config.stems


def test_all_variants_of_a_grid_differ_in_the_model_only(grid):
    name, found = grid
    assert len(found.variants) >= 2
    assert [len(runs) for runs in found.variants.values()] == [3] * len(found.variants)
    configs = [vars(run.recipe.config) | {"model": ""} for run in found.runs]
    for one in configs:
        assert one | {"seed": 0} == configs[0]
    rates = {run.recipe.model_config().sample_rate for run in found.runs}
    segments = {run.recipe.model_config().segment for run in found.runs}
    assert (rates, segments) == ({16000}, {1.0}), name


def test_the_stored_scores_are_those_of_the_grid(grid):
    name, found = grid
    table = pd.read_csv(LAB / f"{name}.csv", index_col=["song", "stem"])
    runs = [run.folder.replace("/seed", "/") for run in found.runs]
    assert table.columns.tolist() == ["mixture", *runs]
    assert {*table.index.get_level_values("stem")} == {*stems_of(found)}
    assert len({*table.index.get_level_values("song")}) == N_SONGS
    assert table.notna().all(axis=None)
    assert table.index.is_unique
    assert table.abs().max(axis=None) < 60


def test_the_stored_runs_kept_their_budget(grid):
    name, found = grid
    runs = pd.read_csv(LAB / "runs.csv")
    runs = runs[runs["grid"] == name]
    assert len(runs) == len(found.runs)
    config = found.runs[0].recipe.config
    if config.budget_seconds is None:
        assert {*runs["steps"]} == {config.steps}
    else:
        assert runs["processor_seconds"].between(10, 14).all()
    for run in found.runs:
        mine = (runs["variant"] == run.variant) & (runs["seed"] == run.seed)
        (parameters,) = runs.loc[mine, "parameters"]
        model = run.recipe.new_model()
        assert parameters == sum(p.numel() for p in model.parameters())


def test_the_stored_shares_sum_to_one():
    shares = pd.read_csv(LAB / "fusion.csv")
    sums = shares.groupby(["grid", "variant", "seed", "stem"])["share"].sum()
    assert sums.tolist() == pytest.approx([1.0] * len(sums), abs=1e-4)
    four = shares[(shares["grid"] == "four_stems") & (shares["variant"] == "nn")]
    assert four["stem"].nunique() == 4


def test_the_own_variant_keeps_the_contract():
    torch.manual_seed(0)
    name = f"{LAB / 'gated.py'}:HTDemucsGated"
    model = ms.create_model(name, "tiny", stems=("dizi", "pipa", "other")).eval()
    with torch.no_grad():
        for samples in (1, 999, 30000):
            assert model(torch.randn(2, 2, samples)).shape == (2, 3, 2, samples)
        assert not model(torch.zeros(1, 2, 5000)).any()
    model.train()(torch.randn(1, 2, 8000)).square().sum().backward()
    assert model.fusion.conv.weight.grad.any()
    lines = (LAB / "gated.py").read_text("utf-8").splitlines()
    assert len([line for line in lines if line]) <= 30
