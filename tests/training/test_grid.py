"""The grid of an ablation: its runs, and every mistake before the first of them."""

import pytest

from mssedu.errors import InputError
from mssedu.training.grid import _word, read_grid
from mssedu.training.recipe import _value

RECIPE = """
title = "T"
source = "S"
ran = "transcribed"
[train]
model = "open_unmix"
preset = "tiny"
"""
GRID = """
title = "Which width?"
recipe = "base.toml"
seeds = [0, 1, 2]
[train]
steps = 5
[variants.narrow]
model.hidden = 4
[variants."wide, with average"]
model.hidden = 8
ema_decay = [0.9]
schedule = "cosine"
remix = false
"""


def write(folder, grid=GRID, recipe=RECIPE):
    (folder / "base.toml").write_text(recipe, "utf-8")
    path = folder / "grid.toml"
    path.write_text(grid, "utf-8")
    return path


def test_a_run_for_each_variant_and_seed(tmp_path):
    grid = read_grid(write(tmp_path))
    assert grid.title == "Which width?"
    assert [run.folder for run in grid.runs] == [
        *(f"narrow/seed{n}" for n in range(3)),
        *(f"wide-with-average/seed{n}" for n in range(3)),
    ]
    assert [len(runs) for runs in grid.variants.values()] == [3, 3]
    last = grid.runs[-1].recipe
    assert (last.config.seed, last.config.steps) == (2, 5)
    assert (last.config.ema_decay, last.config.schedule) == ((0.9,), "cosine")
    assert last.config.remix is False
    assert last.model_config().hidden == 8
    # The words are those of `mssedu train`, and give the same recipe.
    assert "model.hidden=8" in last.settings
    assert 'schedule="cosine"' in last.settings


def test_a_variant_may_have_another_model(tmp_path):
    text = GRID + '[variants.other]\nmodel = "spleeter"\n"model.dropout" = 0.2\n'
    run = read_grid(write(tmp_path, text)).runs[-1].recipe
    assert run.config.model == "spleeter"
    assert run.model_config().dropout == 0.2


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("[0, 1, 2]", "[0, 1, 1]", "seeds has 2 different numbers"),
        ("seeds", "seed", "unknown part of a grid 'seed'"),
        ('"base.toml"', '"bas.toml"', "unknown recipe 'bas.toml'"),
        ('title = "Which width?"', "", "title is missing"),
        ("= 5", "= ", "is not a grid in TOML"),
        ("steps = 5", "step = 5", "variant 'narrow': .*Did you mean 'steps'"),
        ("hidden = 4", "hiden = 4", "variant 'narrow': .*Did you mean 'hidden'"),
        ('"wide, with average"', '"narrow?"', "folder"),
    ],
)
def test_wrong_grids_are_named(tmp_path, old, new, error):
    text = GRID.replace(old, new)
    if new == '"narrow?"':  # and the first one is "narrow-" as a folder, too
        text = text.replace("[variants.narrow]", '[variants."narrow!"]')
    with pytest.raises(InputError, match=error):
        read_grid(write(tmp_path, text))


def test_a_comparison_needs_two_variants(tmp_path):
    text = GRID[: GRID.index('[variants."wide')]
    with pytest.raises(InputError, match="variants has 1 entries"):
        read_grid(write(tmp_path, text))
    with pytest.raises(InputError, match="cannot be read"):
        read_grid(tmp_path / "none.toml")


@pytest.mark.parametrize("text", [r"runs\\train", 'a "b"', "x\ty", "é"])
def test_a_word_comes_back_as_it_was(text):
    assert _value(_word(text)) == text
