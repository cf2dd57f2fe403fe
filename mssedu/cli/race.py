"""The command `mssedu race`: train for a budget of computing time, and score.

mssedu race recipes/races/NAME.toml DATA             train, score, write the row
mssedu race recipes/races/NAME.toml DATA seed=1      the same with another seed
mssedu race NAME.toml DATA learning_rate=3e-3 --no-test -o runs/try
mssedu race recipes/races                            write RESULTS.md of all rows
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mssedu.audio.disk import check_folder
from mssedu.cli.console import bar, say, show_steps
from mssedu.errors import InputError

if TYPE_CHECKING:
    from mssedu.data.track import Track
    from mssedu.evaluation.result import Evaluation
    from mssedu.training.loop import FitResult
    from mssedu.training.race import RaceSongs
    from mssedu.training.recipe import Recipe

RUNS = Path("runs/races")
RESULTS = "results"  # folder beside the recipes
TABLE = "RESULTS.md"
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
OutDir = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


def race(
    recipe: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    data: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")
    ] = None,
    settings: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FIELD=VALUE")
    ] = (),
    out_dir: OutDir = None,
    no_test: Flag = False,
) -> int:
    """Train for the budget of a recipe and score on the songs of its race.

    Args:
        recipe: Recipe with budget_seconds, beside the file songs.toml of its race; or
            a folder of recipes, of whose results the table is written.
        data: Folder of the data set that songs.toml names.
        settings: Changes of the recipe, such as seed=1 or model.hidden=256.
        out_dir: Write the run to this folder, or go on with the run that is there
            (default: runs/races/RECIPE-seedN).
        no_test: Do not score the songs of the test, and write no row. Search for
            better settings in this way, on the songs for validation only.
    """
    from mssedu.reports.races import RaceRow, keep_curves, write_results
    from mssedu.training.race import SONGS, race_songs
    from mssedu.training.recipe import find_recipe, read_recipe

    if recipe.is_dir():
        if data is not None:
            raise InputError(
                f"{recipe} is a folder of recipes, and it takes no data: {data}. Leave "
                "it out to write the table, or name one recipe."
            )
        say(f"Table: {write_results(recipe / RESULTS, recipe / TABLE)}")
        return 0
    if data is None:
        raise InputError(
            f"the data set of the race is missing. Write: mssedu race {recipe} DATA."
        )
    path = find_recipe(recipe)
    entry = read_recipe(path).changed(settings)
    if entry.config.budget_seconds is None:
        raise InputError(
            f"{path} has no budget_seconds, which a race needs. Set it in [train]: "
            "7200 is an hour on two processor cores."
        )
    run_dir = out_dir or RUNS / f"{entry.name}-seed{entry.config.seed}"
    check_folder(run_dir)
    songs = race_songs(path.parent / SONGS, data, log=say)
    result = _train(entry, songs, data, run_dir)
    row = RaceRow.of(entry, run_dir, result.score)
    test = None if no_test else _scores(entry, result, songs.test, run_dir)
    row.write(run_dir, test)
    say(row.sentence(test))
    if test is None:
        return 0
    is_entry = all(text.partition("=")[0].strip() == "seed" for text in settings)
    if not is_entry:
        say("The recipe is changed, so its row is not among the results of the race.")
        return 0
    results = path.parent / RESULTS
    folder = results / f"{entry.name}-seed{row.seed}"
    row.write(folder, test)
    keep_curves(run_dir, folder)
    say(f"Table: {write_results(results, path.parent / TABLE)}")
    return 0


def _train(
    entry: "Recipe", songs: "RaceSongs", data: Path, run_dir: Path
) -> "FitResult":
    """Train, or go on with a run that was stopped."""
    from mssedu.training.loop import fit

    command = {"race": str(data.absolute()), "recipe": entry.facts}
    with bar("training") as update:
        return fit(
            entry.new_model(),
            _in_memory(songs.train),
            _in_memory(songs.valid),
            entry.config,
            run_dir,
            resume="auto",
            command=command,
            log=say,
            progress=show_steps(update),
        )


def _in_memory(songs: list["Track"]) -> list["Track"]:
    """The songs, decoded before the time of the race begins."""
    with bar("decoding") as update:
        found = []
        for number, song in enumerate(songs):
            update(number, len(songs), song.name)
            found.append(song.in_memory())
        return found


def _scores(
    entry: "Recipe", result: "FitResult", test: list["Track"], run_dir: Path
) -> "Evaluation":
    """Scores of the best weights on the test songs, beside mixture and ideal mask."""
    from mssedu.evaluation.run import evaluate
    from mssedu.weights.checkpoint import load_checkpoint

    with bar("scoring the test") as update:
        return evaluate(
            load_checkpoint(result.checkpoint),
            test,
            metrics=("usdr",),
            rows=("mixture", "model", "irm"),
            device=entry.config.device,
            folder=run_dir / "test",
            log=say,
            progress=update,
        )
