"""Recipes: each file of the repository builds its model, and every mistake is named."""

from pathlib import Path

import pytest

from mssedu.errors import InputError
from mssedu.models import MODELS
from mssedu.models.registry import class_of
from mssedu.models.sizes import outline
from mssedu.training.config import TrainConfig
from mssedu.training.objective import create_loss
from mssedu.training.recipe import find_recipe, read_recipe, take_recipe

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.toml"))
# Others are grids, protocols and lists of songs; only a recipe states its source.
RECIPES = [path for path in RECIPES if "\nsource = " in path.read_text("utf-8")]
HEAD = 'title = "T"\nsource = "S"\nran = "transcribed"\n'


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_builds_its_config_and_its_model(path):
    recipe = read_recipe(path)
    config = recipe.config
    sizes = outline(class_of(config.model), recipe.model_config())
    assert sum(tensor.numel() for tensor in sizes.values()) > 1000
    assert create_loss(config, recipe.model_config())  # its losses exist
    assert config.steps > 1000
    # A recipe holds the difference from the defaults, and nothing else.
    defaults = TrainConfig(model=config.model)
    same = {n for n, v in recipe.train.items() if v == getattr(defaults, n)}
    assert same <= {"model"}


def test_every_model_has_a_recipe_of_its_paper():
    variants = {name for name in MODELS if name.startswith("htdemucs_")}
    names = {path.stem for path in FOLDER.glob("*.toml")}
    assert names == {*MODELS} - variants


def write(folder, text, name="own.toml"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_values_have_the_types_of_the_fields(tmp_path):
    text = HEAD + (
        '[train]\nlearning_rate = 1\nstems = ["vocals"]\nlevel_db = "none"\n'
        "ema_decay = 0.9\n[model]\nhidden = 8\nbidirectional = false\nn_layers = 1\n"
        "dropout = 0.0\n"
    )
    recipe = read_recipe(
        write(tmp_path, text.replace("[train]", '[train]\nmodel = "open_unmix"'))
    )
    config = recipe.config
    assert isinstance(config.learning_rate, float)
    assert config.stems == ("vocals",)
    assert config.level_db is None
    assert config.ema_decay == (0.9,)
    assert recipe.fields == (
        "hidden=8",
        "bidirectional=false",
        "n_layers=1",
        "dropout=0.0",
    )
    assert recipe.model_config().hidden == 8
    assert not recipe.model_config().bidirectional
    assert recipe.ran == "transcribed"


def test_the_command_line_changes_a_recipe(tmp_path):
    recipe = read_recipe(write(tmp_path, HEAD + '[train]\nmodel = "open_unmix"'))
    words = ["steps=10", "loss=waveform_l1=1,magnitude_mse=0.5", "remix=false"]
    words += ["gain_db=[0, 1]", "model.hidden=4", "device=cuda:1", "schedule=cosine"]
    changed = recipe.changed(words)
    config = changed.config
    assert (config.steps, config.remix, config.gain_db) == (10, False, (0.0, 1.0))
    assert config.loss == ("waveform_l1=1", "magnitude_mse=0.5")
    assert (config.device, config.schedule) == ("cuda:1", "cosine")
    assert changed.fields == ("hidden=4",)
    assert changed.facts["settings"] == words
    assert changed.sha256 == recipe.sha256
    assert recipe.config.steps == TrainConfig().steps  # the recipe itself stays


def test_the_hash_of_a_recipe_is_that_of_its_settings(tmp_path):
    settings = '[train]\nmodel = "open_unmix"\nsteps = 9'
    first = read_recipe(write(tmp_path, HEAD + settings)).sha256
    assert read_recipe(write(tmp_path, "# new\n" + HEAD + settings)).sha256 == first
    assert read_recipe(write(tmp_path, HEAD + settings + "0")).sha256 != first


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["step=10"], "Did you mean 'steps'"),
        (["steps"], "must be FIELD=VALUE"),
        (["steps=many"], "steps must be a whole number"),
        (["steps=2.5"], "steps must be a whole number"),
        (["steps=true"], "steps must be a whole number"),
        (["remix=1"], "remix must be true or false"),
        (["learning_rate=fast"], "learning_rate must be a number"),
        (["schedule=cosin"], "Did you mean 'cosine'"),
        (["effects=reverbs"], "Did you mean 'reverb'"),
        (["level_db=loud"], "level_db must be a number"),
    ],
)
def test_wrong_settings_are_named(tmp_path, words, error):
    recipe = read_recipe(write(tmp_path, HEAD))
    with pytest.raises(InputError, match=error):
        recipe.changed(words)


def test_a_field_that_the_model_lacks_is_named(tmp_path):
    recipe = read_recipe(write(tmp_path, HEAD)).changed(["model.hiden=4"])
    with pytest.raises(InputError, match="unknown field in --set 'hiden'"):
        recipe.model_config()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("title = ", "is not a recipe in TOML"),
        ('title = "T"', "source is missing"),
        (HEAD + "steps = 3", "unknown part of a recipe 'steps'"),
        (HEAD + "[train]\nstep = 3", "Did you mean 'steps'"),
        (HEAD.replace("transcribed", "no"), "ran must be 'transcribed' or a table"),
        ('title = "T"\nsource = "S"\n[ran]\ndate = "2026-01-01"', r"\[ran\] must have"),
    ],
)
def test_wrong_recipes_are_named(tmp_path, text, error):
    with pytest.raises(InputError, match=error):
        read_recipe(write(tmp_path, text))


def test_a_recipe_says_what_its_run_took(tmp_path):
    head = 'title = "T"\nsource = "S"\n[ran]\ndate = "2026-01-01"\nhardware = "2 cores"'
    recipe = read_recipe(write(tmp_path, head + "\nhours = 3\nusdr = 2.5"))
    assert recipe.ran["usdr"] == 2.5


def test_recipes_are_found_by_name(tmp_path, monkeypatch):
    own = write(tmp_path, HEAD)
    assert find_recipe(own) == own
    assert find_recipe("htdemucs.toml") == FOLDER / "htdemucs.toml"
    assert find_recipe("open_unmix_small.toml").parent == FOLDER / "races"
    with pytest.raises(InputError, match=r"Did you mean 'htdemucs\.toml'"):
        find_recipe("htdemuc.toml")
    with pytest.raises(InputError) as error:
        find_recipe("protocol")
    others = ("protocol.toml", "songs.toml", "equal_steps.toml")
    assert not [name for name in others if name in str(error.value)]
    monkeypatch.setattr("mssedu.training.recipe.FOLDER", "no such folder")
    with pytest.raises(InputError, match="there is no folder"):
        find_recipe("htdemucs.toml")
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "other.toml")


def test_words_of_a_command_line(tmp_path):
    own = str(write(tmp_path, HEAD))
    recipe, words = take_recipe([own, "songs", "steps=9", "--set", "channels=1"])
    assert recipe.config.steps == 9
    assert words == ["songs", "--set", "channels=1"]
    recipe, words = take_recipe([own, "seed=3", "--resume", "run"])
    assert (recipe.config.seed, words) == (3, ["--resume", "run"])
    assert take_recipe(["songs", "--steps", "3"]) == (None, ["songs", "--steps", "3"])
    assert take_recipe([]) == (None, [])
