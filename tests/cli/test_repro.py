"""`mssedu train RECIPE`, and `mssedu repro`: a run and its exact repetition."""

import json
import shutil

import pytest

from mssedu.cli import commands as cli
from mssedu.errors import CheckpointError, InputError
from mssedu.training.repeat import check_repeatable, compare_runs
from mssedu.training.runs import read_run
from mssedu.weights.checkpoint import read_checkpoint
from tests.cli.songs import RECIPE, make_songs, write_recipe

PLACES = ("train/a", "train/b", "valid/c", "test/d")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_songs(tmp_path_factory.mktemp("data"), PLACES)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("recipes") / "tiny.toml")


@pytest.fixture(scope="module")
def first(data, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    words = ["seed=3", "model.hidden=6", "--learning-rate", "0.01", "-o", out]
    assert run("train", recipe, data, *words) == 0
    return out


def run(command, *args):
    return cli.main([command, *(str(arg) for arg in args)])


# ---- recipes


def test_a_run_follows_its_recipe(first, recipe):
    document = read_run(first)
    config = document["train_config"]
    assert (config["seed"], config["steps"], config["batch_size"]) == (3, 2, 2)
    assert config["learning_rate"] == 0.01  # a flag comes after the recipe
    assert document["model_config"]["hidden"] == 6
    assert document["model_config"]["n_layers"] == 1
    facts = json.loads((first / "manifest.json").read_text("utf-8"))["recipe"]
    assert facts["name"] == "tiny"
    assert facts["settings"] == ["seed=3", "model.hidden=6"]
    assert facts == document["phases"][-1]["command"]["recipe"]


def test_a_run_of_a_recipe_goes_on(data, recipe, tmp_path, capsys):
    out = tmp_path / "run"
    words = [recipe, data, "-o", out, "--resume", "auto"]
    assert run("train", *words) == 0
    assert run("train", *words) == 0
    assert "resumed after step 2" in capsys.readouterr().out
    words.insert(2, "learning_rate=0.5")
    assert run("train", *words) == 2
    assert "learning_rate" in capsys.readouterr().err
    assert run("train", "--resume", out, "--steps", 3, "--allow-config-change") == 0
    facts = json.loads((out / "manifest.json").read_text("utf-8"))
    assert facts["recipe"]["name"] == "tiny"  # also of a run that goes on without it
    assert facts["steps"] == 3


def test_a_recipe_without_stems_goes_on_with_those_of_its_run(data, tmp_path, capsys):
    text = RECIPE.replace('stems = ["vocals", "drums"]\n', "")
    recipe = write_recipe(tmp_path / "free.toml", text)
    out = tmp_path / "run"
    assert run("train", recipe, data, "stems=vocals,drums", "-o", out) == 0
    assert run("train", recipe, data, "-o", out, "--resume", "auto") == 0
    assert "resumed after step 2" in capsys.readouterr().out
    assert read_run(out)["train_config"]["stems"] == ["vocals", "drums"]


def test_mistakes_in_a_recipe_command(data, recipe, tmp_path, capsys):
    wrong = {
        "Did you mean 'steps'": [recipe, data, "step=3"],
        "unknown recipe 'tinny.toml'": ["tinny.toml", data],
        "Did you mean 'hidden'": [recipe, data, "model.hiddn=3", "-o", tmp_path / "x"],
    }
    for text, args in wrong.items():
        assert run("train", *args) == 2
        assert text in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


# ---- repetitions


def test_a_run_is_repeated_bit_by_bit(first, tmp_path, capsys):
    again = tmp_path / "again"
    assert run("repro", first, "-o", again) == 0
    assert "losses, scores and weights are equal" in capsys.readouterr().out
    found = compare_runs(first, again)
    assert found.is_equal
    assert [row[0] for row in found.validations] == [1, 2]
    assert not found.causes
    before, now = (read_checkpoint(p / "last.safetensors") for p in (first, again))
    assert all(before.weights[n].equal(now.weights[n]) for n in before.weights)
    facts = json.loads((again / "manifest.json").read_text("utf-8"))
    assert facts["recipe"]["name"] == "tiny"


def test_differences_are_named(first, data, recipe, tmp_path):
    other = tmp_path / "other"
    words = ["seed=4", "model.hidden=6", "learning_rate=0.01", "-o", other]
    assert run("train", recipe, data, *words) == 0
    found = compare_runs(first, other)
    assert not found.is_equal
    assert found.weights > 0
    assert min(found.differences) > 0
    assert any("seed: 3 -> 4" in cause for cause in found.causes)
    wide = tmp_path / "wide"
    assert run("train", recipe, data, "steps=1", "-o", wide) == 0
    found = compare_runs(first, wide)
    assert found.weights == float("inf")
    assert found.n_other == 1


def test_songs_that_were_moved_or_changed(first, data, tmp_path, capsys):
    moved = shutil.copytree(data, tmp_path / "moved")
    assert run("repro", first, "--data", moved, "-o", tmp_path / "again") == 0
    shutil.rmtree(moved / "train" / "b")
    assert run("repro", first, "--data", moved, "-o", tmp_path / "third") == 2
    assert f"are not those of {first}: their hash is" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_what_cannot_be_repeated(first, tmp_path, capsys):
    assert run("repro", first, "-o", first) == 2
    assert "is the folder of the run itself" in capsys.readouterr().err
    with pytest.raises(InputError, match="is not the folder of a run"):
        check_repeatable(tmp_path)
    copy = shutil.copytree(first, tmp_path / "copy")
    document = json.loads((copy / "config.json").read_text("utf-8"))
    changed = [document["phases"][0], document["phases"][0] | {"data": "other"}]
    (copy / "config.json").write_text(json.dumps(document | {"phases": changed}))
    with pytest.raises(InputError, match="has phases with different data"):
        check_repeatable(copy)
    document["phases"][0]["command"] = None
    (copy / "config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="was not started with mssedu train"):
        check_repeatable(copy)


def test_damaged_runs_are_named(first, tmp_path):
    copy = shutil.copytree(first, tmp_path / "copy")
    (copy / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        compare_runs(first, copy)
    (copy / "history.jsonl").write_text('{"step": "one"}')
    with pytest.raises(CheckpointError, match=r"history\.jsonl is damaged"):
        compare_runs(first, copy)


def test_a_run_by_heart_needs_no_songs_for_validation(recipe, tmp_path, capsys):
    data = make_songs(tmp_path / "data", ("train/a", "train/b"))
    out = tmp_path / "run"
    for words in (["train", recipe, data, "overfit=1", "-o", out], ["repro", out]):
        assert run(*words) == 1  # two steps are too few
        assert "cannot learn 1 example by heart" in capsys.readouterr().err
    assert read_run(out)["phases"][-1]["command"]["no_valid"]
