"""`mssedu race`: songs, training within a budget, rows and their table."""

import json
from pathlib import Path

import pytest

from mssedu.cli import commands as cli
from mssedu.errors import DatasetError, InputError
from mssedu.evaluation.result import load_evaluation
from mssedu.figures.curves import read_curves
from mssedu.reports.races import read_row, write_results
from mssedu.training.race import race_songs
from mssedu.training.recipe import read_recipe
from tests.cli.songs import RECIPE, make_songs, write_recipe

RACES = Path(__file__).resolve().parents[2] / "recipes" / "races"
SONGS = """
layout = "splits"
demo_songs = false
n_train = 2
valid = ["c"]
test = ["d", "e", "f"]
"""
PLACES = ("train/a", "train/b", "train/c", "test/d", "test/e", "test/f")
BUDGET = RECIPE.replace("steps = 2", "steps = 100_000\nbudget_seconds = 1.0").replace(
    "valid_every = 1", "valid_every = 1000"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_songs(tmp_path_factory.mktemp("data"), PLACES)


@pytest.fixture
def races(tmp_path):
    folder = tmp_path / "races"
    folder.mkdir()
    (folder / "songs.toml").write_text(SONGS, "utf-8")
    write_recipe(folder / "tiny.toml", BUDGET)
    return folder


def run(*args):
    return cli.main(["race", *(str(arg) for arg in args)])


def test_the_songs_of_a_race_are_apart(data, races):
    found = race_songs(races / "songs.toml", data)
    names = [[t.name for t in part] for part in (found.train, found.valid, found.test)]
    assert names == [["a", "b"], ["c"], ["d", "e", "f"]]


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ('"c"', '"z"', DatasetError, "lacks songs of the race: z"),
        ("= 2", "= 3", DatasetError, "gives 2 songs for training, and the race has 3"),
        ("n_train = 2", "", InputError, "n_train is missing"),
        ("layout", "layout layout", InputError, "is not TOML"),
    ],
)
def test_wrong_songs_are_named(data, races, old, new, error, words):
    (races / "songs.toml").write_text(SONGS.replace(old, new), "utf-8")
    with pytest.raises(error, match=words):
        race_songs(races / "songs.toml", data)


def test_the_songs_of_the_hour_race():
    text = (RACES / "songs.toml").read_text("utf-8")
    assert text.count(" - ") == 7 + 25
    for path in RACES.glob("*.toml"):
        if path.name != "songs.toml":
            config = read_recipe(path).config
            assert config.budget_seconds in (3600, 7200)
            assert config.n_workers == 0
            assert config.init is None


def test_runs_of_two_seeds_and_their_table(data, races, tmp_path, capsys):
    for seed in (0, 1):
        out = tmp_path / f"run{seed}"
        assert run(races / "tiny.toml", data, f"seed={seed}", "-o", out) == 0
        row = read_row(races / "results" / f"tiny-seed{seed}")
        assert (row.seed, row.budget_seconds) == (seed, 1.0)
        assert 0.5 < 3600 * row.manifest["processor_hours"] < 2.0
        kept = read_curves(races / "results" / f"tiny-seed{seed}")
        assert kept == read_curves(out)
        config = (races / "results" / f"tiny-seed{seed}" / "config.json").read_text()
        assert str(data) not in config
    shown = capsys.readouterr().out
    assert "tiny, seed 1: usdr on the songs for validation" in shown
    scores = load_evaluation(races / "results" / "tiny-seed1")
    assert [*scores.tracks] == ["d", "e", "f"]
    table = (races / "RESULTS.md").read_text("utf-8")
    means = [
        sum(
            load_evaluation(races / "results" / f"tiny-seed{seed}").mean(
                "usdr", "model", stem
            )
            for stem in ("vocals", "drums")
        )
        / 2
        for seed in (0, 1)
    ]
    line = next(line for line in table.splitlines() if line.startswith("| tiny"))
    assert f"| {sum(means) / 2:.2f} |" in line
    assert "| mixture |" in table
    assert "A tiny network" in table
    assert run(races) == 0  # the same table again
    assert (races / "RESULTS.md").read_text("utf-8") == table
    # The same command again trains nothing more.
    history = (tmp_path / "run0" / "history.jsonl").read_text("utf-8")
    assert run(races / "tiny.toml", data, "-o", tmp_path / "run0") == 0
    assert (tmp_path / "run0" / "history.jsonl").read_text("utf-8") == history
    # Results on other songs are of another race.
    path = races / "results" / "tiny-seed1" / "race.json"
    document = json.loads(path.read_text("utf-8"))
    document["manifest"]["data"]["train"] = "other"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(InputError, match="different songs for training"):
        write_results(races / "results", races / "RESULTS.md")


def test_a_search_does_not_touch_the_test(data, races, tmp_path, capsys):
    out = tmp_path / "try"
    words = ["learning_rate=1e-2", "budget_seconds=0.5", "--no-test", "-o", out]
    assert run(races / "tiny.toml", data, *words) == 0
    assert "songs of the test" not in capsys.readouterr().out
    assert not (out / "test").exists()
    assert json.loads((out / "race.json").read_text("utf-8"))["valid_usdr"] is not None
    assert not (races / "results").exists()


def test_what_it_refuses(data, races, tmp_path, capsys):
    free = write_recipe(races / "free.toml")
    wrong = {
        "data set of the race is missing": [races / "tiny.toml"],
        "takes no data": [races, data],
        "holds no results of a race": [races],
        "has no budget_seconds": [free, data],
        "n_workers is 1": [
            races / "tiny.toml",
            data,
            "n_workers=1",
            "-o",
            tmp_path / "w",
        ],
        "which names the songs of the race": [
            write_recipe(tmp_path / "alone.toml", BUDGET),
            data,
        ],
    }
    for text, args in wrong.items():
        assert run(*args) == 2, text
        assert text in capsys.readouterr().err


def test_damaged_results_are_named(tmp_path):
    folder = tmp_path / "results" / "tiny-seed0"
    folder.mkdir(parents=True)
    (folder / "race.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        write_results(tmp_path / "results", tmp_path / "RESULTS.md")
    (folder / "race.json").write_text("{}", "utf-8")
    with pytest.raises(
        InputError, match="is not a result of a race: recipe is missing"
    ):
        write_results(tmp_path / "results", tmp_path / "RESULTS.md")
